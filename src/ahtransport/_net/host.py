"""The embedded host: listens, accepts, and gives each connection a channel and a task.

Everything of it lives in one nursery inside :meth:`Host.serve`: the reactor, the tasks of channels that it can't
serve, the requests in flight. When that nursery ends, nothing is left.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import trio

from ahtransport._barrier import close_nurseries
from ahtransport._http import UNIX
from ahtransport._log import fields, get_logger
from ahtransport._net.acceptor import NOT_OURS, QUIET, RETRY, Acceptor
from ahtransport._net.channel import NO_TRAFFIC
from ahtransport._net.compressed import CompressedWire, agreed
from ahtransport._net.head import Limits
from ahtransport._net.http1 import HttpWire
from ahtransport._net.poller import make_poller
from ahtransport._net.reactor import Reactor, ReactorChannel
from ahtransport._net.secure import Gate, TlsReactorChannel, TlsSocketChannel
from ahtransport._net.tasks import SocketChannel, StreamChannel, TaskChannel
from ahtransport._net.tls import TlsSocket
from ahtransport._net.unix import SocketFile
from ahtransport._net.websocket import WebSocketWire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from ahtransport._errors import Reject
    from ahtransport._heartbeat import Deadlines
    from ahtransport._http import Request, Response
    from ahtransport._net.certificate import Certificate
    from ahtransport._net.channel import Channel
    from ahtransport._net.deflate import Compression
    from ahtransport._net.departures import EachSocket
    from ahtransport._net.head import Head
    from ahtransport.abc import Receiver, WebSocket

__all__ = ["Application", "Host", "peer_of"]

_log = get_logger()
_NO_LISTENER = {errno.EBADF, errno.ENOTSOCK}
_TCP = {socket.AF_INET, socket.AF_INET6}
_BACKLOG = 4096  # clients that the kernel keeps waiting
_ACCEPT_BATCH = 64  # connections accepted before other tasks have their turn


class Application(Protocol):
    """Whom a host calls."""

    def handle_request(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request, at once or (with a ``Later``, or a coroutine) in its time."""
        ...

    def handle_upgrade(self, request: Request, socket: WebSocket) -> Receiver | Awaitable[Receiver]:
        """Take a WebSocket, at once or in its time."""
        ...


class Host:
    """The embedded host.

    Attributes:
        addresses: what is listened on, as (host, port) pairs, or a Unix socket's path and 0; filled when listening
            begins.
        drained: set when every connection is closed after :meth:`stop`.
        refused: how many requests it could not understand and sockets it had no room for, by the status of the answer;
            where a server gave it, with all that the server refuses.
        late: told of a refusal that a ``Later`` came to; None: nobody is.
        gone: the bytes that the sockets which are closed have received and sent.
        each: what sends to many sockets at once, each its own; None: the system has nothing that does.
    """

    def __init__(
        self,
        application: Application,
        deadlines: Deadlines,
        *,
        limits: Limits | None = None,
        header_timeout: float = 10.0,
        body_timeout: float = 10.0,
        keep_alive: float = 5.0,
        max_length: int = 10_485_760,
        max_fragments: int = 1024,
        max_control_frames: int = 100,
        flush_timeout: float = 10.0,
        close_timeout: float = 5.0,
        compression: Compression | None = None,
        reactor: bool = True,
        refused: Counter[int] | None = None,
        certificate: Certificate | None = None,
        handshake_timeout: float = 10.0,
        late: Callable[[Request, Reject], None] | None = None,
    ) -> None:
        self.application = application
        self.deadlines = deadlines
        self.limits = limits or Limits()
        self.header_timeout = header_timeout
        self.body_timeout = body_timeout
        self.keep_alive = keep_alive
        self.max_length = max_length
        self.max_fragments = max_fragments
        self.max_control_frames = max_control_frames
        self.flush_timeout = flush_timeout
        self.close_timeout = close_timeout
        self.compression = compression
        self.addresses: list[tuple[str, int]] = []
        self.refused: Counter[int] = Counter() if refused is None else refused
        self.late = late
        self.gone = NO_TRAFFIC
        self.each: EachSocket | None = None
        self.handshake_timeout = handshake_timeout
        self._certificate = certificate
        self._use_reactor = reactor
        self._reactor: Reactor | None = None
        self._acceptors: list[Acceptor] = []
        self._file: SocketFile | None = None
        self._channels: set[Channel] = set()
        self._nursery: trio.Nursery | None = None
        self._accepting = trio.CancelScope()
        self._closes_idle = False  # whether nobody may begin anything any more
        self._drained = trio.Event()
        self.drained = trio.Event()

    @property
    def open_channels(self) -> int:
        """How many sockets are open, WebSockets and others."""
        return len(self._channels)

    @property
    def channels(self) -> Collection[Channel]:
        """The sockets that are open."""
        return self._channels

    def spawn(self, fn: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run ``fn`` beside everything else; it must have a crash barrier of its own."""
        if self._nursery is None:
            raise RuntimeError("the host is not serving")
        self._nursery.start_soon(self._apart, fn, *args, name=fn)

    async def _apart(self, fn: Callable[..., Awaitable[object]], *args: Any) -> None:
        try:
            await fn(*args)
        finally:
            close_nurseries()

    async def serve(
        self,
        host: str | None,
        port: int,
        path: str = "",
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on ``host`` and ``port`` (0: any free one), until :meth:`stop`, then serve what is open to its end.

        With ``path``, listen on that Unix socket instead. Else ``host`` None listens nowhere: connections come from
        :meth:`attach` only.

        Raises:
            OSError: the address can't be listened on.
        """
        listeners: list[trio.SocketListener] = []
        try:
            if path:
                self._file = SocketFile(path, _BACKLOG)
                listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(self._file.sock))]
                self.addresses = [(path, 0)]
            elif host is not None:
                listeners = await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
                self.addresses = [listener.socket.getsockname()[:2] for listener in listeners]
            async with trio.open_nursery() as self._nursery, trio.open_nursery() as engine:
                poller = make_poller() if listeners and self._use_reactor else None
                if poller is not None:
                    self._reactor = Reactor(poller, self.deadlines, self.each)
                    await engine.start(self._reactor.run)
                with self._accepting:
                    async with trio.open_nursery() as accepting:
                        for listener in listeners:
                            if self._reactor is None:
                                accepting.start_soon(self._accept, listener.socket)
                            else:
                                sock = socket.socket(fileno=listener.socket.detach())
                                sock.setblocking(False)
                                self._acceptors.append(Acceptor(sock, self._reactor, self._accepted))
                        task_status.started()
                        await trio.sleep_forever()
                for listener in listeners:
                    await trio.aclose_forcefully(listener)
                await self._until_drained()
                self.drained.set()
                engine.cancel_scope.cancel()
        finally:
            self._nursery = None
            self._remove_file()
            with trio.CancelScope(shield=True):
                for listener in listeners:
                    await trio.aclose_forcefully(listener)

    @property
    def keeps_alive(self) -> bool:
        """Whether a connection is open on which requests may come."""
        return any(isinstance(channel.wire, HttpWire | Gate) for channel in self._channels)

    def close_idle(self) -> None:
        """End the connections that have no request under way, those that begin later too; the others end with their
        response."""
        self._closes_idle = True
        for channel in list(self._channels):
            if isinstance(channel.wire, HttpWire | Gate):
                channel.wire.close_if_idle()

    def stop(self) -> None:
        """Stop accepting, at once; :meth:`serve` returns once every connection is closed."""
        self._remove_file()
        for acceptor in self._acceptors:
            acceptor.end()  # now, not when serve has its turn: the next server may want this very port
        self._accepting.cancel()

    def _remove_file(self) -> None:
        if self._file is not None:
            self._file.remove()
            self._file = None

    async def _until_drained(self) -> None:
        while self._channels:
            self._drained = trio.Event()
            await self._drained.wait()

    async def _accept(self, listener: trio.socket.SocketType) -> None:
        accepted = 0
        quiet_until = 0.0
        while True:
            try:
                client, address = await listener.accept()
            except OSError as error:
                if error.errno in _NO_LISTENER:
                    raise
                if error.errno not in NOT_OURS:
                    # Mostly a lack of descriptors or memory: whoever is connected stays so; who waits outside is taken
                    # when something is free again.
                    if trio.current_time() >= quiet_until:
                        quiet_until = trio.current_time() + QUIET
                        _log.error("can't accept connections for now: %s", error, extra=fields("accept.failed"))
                    await trio.sleep(RETRY)
                continue
            self._accepted(socket.socket(fileno=client.detach()), address)
            accepted += 1
            if accepted % _ACCEPT_BATCH == 0:
                await trio.lowlevel.checkpoint()

    def _accepted(self, sock: socket.socket, address: object) -> None:
        """Serve a socket that has just been accepted."""
        sock.setblocking(False)
        try:
            if sock.family in _TCP:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # the client has gone already
            sock.close()
            return
        peer = peer_of(address)
        if self._reactor is None:
            self._start(self._with_task(sock, peer))
            return
        channel: ReactorChannel
        if self._certificate is None:
            channel = ReactorChannel(sock, self._reactor, peer, self._lost)
            channel.wire = HttpWire(channel, self)
        else:
            tls = TlsSocket(sock, self._certificate.context)
            channel = secured = TlsReactorChannel(tls, self._reactor, peer, self._lost)
            channel.wire = Gate(secured, self)
        self._channels.add(channel)
        try:
            channel.start()
        except OSError as error:  # the kernel has no room for it in the selector
            _log.error("can't serve a connection: %s", error, extra=fields("accept.failed", remote=peer[0]))
            channel.abort()

    def attach(
        self, stream: trio.abc.Stream, peer: tuple[str, int] = ("127.0.0.1", 0), *, secure: bool = False
    ) -> None:
        """Serve a stream that somebody else has opened: a Unix socket, a pair in memory, TLS of their own."""
        channel = StreamChannel(stream, self.deadlines, peer, secure=secure)
        channel.wire = HttpWire(channel, self)
        self._start(channel)

    def _with_task(self, sock: socket.socket, peer: tuple[str, int]) -> TaskChannel:
        if self._certificate is None:
            channel = SocketChannel(sock, self.deadlines, peer)
            channel.wire = HttpWire(channel, self)
            return channel
        secured = TlsSocketChannel(TlsSocket(sock, self._certificate.context), self.deadlines, peer)
        secured.wire = Gate(secured, self)
        return secured

    def _start(self, channel: TaskChannel) -> None:
        self._channels.add(channel)
        self.spawn(self._run, channel)
        # A task that has a connection already when it is to stop accepting still brings it.
        if self._closes_idle and isinstance(channel.wire, HttpWire | Gate):
            channel.wire.close_if_idle()

    async def _run(self, channel: TaskChannel) -> None:
        try:
            if self._nursery is not None:
                await channel.run(self._nursery)
        finally:
            self._lost(channel)

    def make_websocket(self, channel: Channel, request: Request, head: Head) -> WebSocketWire:
        """Make what speaks WebSocket on a channel, should this request to upgrade be granted: compressed if both sides
        want it."""
        parameters = agreed(head, self.compression)
        return WebSocketWire(channel, self) if parameters is None else CompressedWire(channel, self, parameters)

    def _lost(self, channel: Channel) -> None:
        self._channels.discard(channel)
        received, sent = channel.traffic()
        self.gone = (self.gone[0] + received, self.gone[1] + sent)
        self._drained.set()


def peer_of(address: Any) -> tuple[str, int]:
    """Give address and port; an IPv4 address in IPv6's clothes as IPv4 (RFC 4291 section 2.5.5.2). A Unix socket has
    neither: "unix" and 0."""
    if isinstance(address, tuple) and len(address) >= 2:
        host = str(address[0]).split("%", 1)[0]
        return (host[7:] if host.startswith("::ffff:") and "." in host else host, int(address[1]))
    return (UNIX, 0)
