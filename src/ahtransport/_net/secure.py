"""Channels that speak TLS, and what they do until the handshake is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import trio

from ahtransport._log import fields, get_logger
from ahtransport._net.channel import CHUNK, Channel
from ahtransport._net.http1 import HttpWire
from ahtransport._net.poller import WRITE
from ahtransport._net.reactor import Reactor, ReactorChannel
from ahtransport._net.response import response_head
from ahtransport._net.tasks import SocketChannel
from ahtransport._net.tls import State, TlsSocket

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ahtransport._heartbeat import Deadlines
    from ahtransport._net.host import Host

__all__ = ["Gate", "TlsReactorChannel", "TlsSocketChannel"]

_log = get_logger()
_PLAIN_HTTP: Final = b'{"error":"this port speaks HTTPS"}'


class OverTls(Channel):
    """What both kinds have in common."""

    __slots__ = ()

    tls: TlsSocket
    _sock: socket.socket

    @property
    def straight(self) -> None:
        """Never: who sends straight to a socket knows nothing of TLS."""

    @straight.setter
    def straight(self, sock: socket.socket | None) -> None:
        """Stay as it is."""

    def _send_now(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.abort()
            return 0

    def drop_backlog(self) -> None:
        """Forget what waits, except for what is encrypted already: the peer would miss it."""
        keep = max(self.tls.ahead, int(self._torn))
        kept = []
        while keep > 0 and self._backlog:
            kept.append(self._backlog.popleft())
            keep -= len(kept[-1])
        if self._backlog:
            self._backlog.clear()
        if self._backlog is not None:
            self._backlog.extend(kept)
        self.buffered = sum(map(len, kept))


class TlsReactorChannel(OverTls, ReactorChannel):
    """TLS on a socket that a reactor watches."""

    __slots__ = ("tls",)

    def __init__(
        self, tls: TlsSocket, reactor: Reactor, peer: tuple[str, int], on_lost: Callable[[Channel], None]
    ) -> None:
        super().__init__(cast("socket.socket", tls), reactor, peer, on_lost)
        self.tls = tls

    def ready(self, events: int, now: float) -> None:
        """Read, or write what waits."""
        super().ready(events, now)
        self._follow()

    def _go_on(self) -> None:
        super()._go_on()
        self._follow()

    def _follow(self) -> None:
        """Do what the selector will not ask for: end when the peer has said goodbye, and send what TLS wants to say."""
        if self.closed:
            return
        if self.tls.at_end and not (self._ending or self._paused or self._going_on):
            self.wire.eof()
            if not self._ending:
                self.abort()
        elif self.tls.unsent and not self._backlog:
            self._want(self._interest | WRITE)

    def _flush(self, now: float) -> None:
        waiting = len(self.tls.unsent)
        if waiting:
            try:
                left = self.tls.flush()
            except OSError:
                self.abort()
                return
            if len(self.tls.unsent) < waiting:
                self._progress = now
            if not left:
                return
        if self._backlog is not None:
            super()._flush(now)
        else:
            self._want(self._interest & ~WRITE)

    def _end_output(self) -> None:
        super()._end_output()
        if self.tls.unsent and not self.closed:
            self._want(self._interest | WRITE)


class TlsSocketChannel(OverTls, SocketChannel):
    """TLS on a socket that has a task."""

    __slots__ = ("tls",)

    def __init__(self, tls: TlsSocket, deadlines: Deadlines, peer: tuple[str, int]) -> None:
        super().__init__(cast("socket.socket", tls), deadlines, peer)
        self.tls = tls

    async def _receive(self) -> bytes:
        tls = self.tls
        while not tls.at_end:
            try:
                if tls.unsent and tls.state is State.HANDSHAKE:  # later there may be another who waits for this
                    await trio.lowlevel.wait_writable(self._sock)
                    tls.flush()
                await trio.lowlevel.wait_readable(self._sock)
                return tls.recv(CHUNK)
            except (BlockingIOError, InterruptedError):
                continue
            except (OSError, trio.ClosedResourceError):
                self.abort()
                return b""
        return b""


class Gate:
    """The wire of a TLS channel until the handshake is done; then HTTP has it."""

    def __init__(self, channel: TlsReactorChannel | TlsSocketChannel, host: Host) -> None:
        self._channel = channel
        self._host = host
        self._timer = host.deadlines.at(trio.current_time() + host.handshake_timeout, channel.abort)
        channel.tls.on_secure = self._secure

    def _secure(self) -> None:
        self._timer.cancel()
        self._channel.secure = True
        self._channel.wire = HttpWire(self._channel, self._host)

    def data(self, data: bytes, now: float) -> None:
        """Take bytes that are no TLS: whoever seems to speak HTTP is told, all others are noise."""
        self._timer.cancel()
        if not b"A" <= data[:1] <= b"Z":
            self._channel.abort()
            return
        head = response_head(
            400, [("Content-Type", "application/json; charset=utf-8")], len(_PLAIN_HTTP), keep_alive=False
        )
        self._channel.write(head if data.startswith(b"HEAD ") else head + _PLAIN_HTTP)
        self._channel.shutdown()

    def eof(self) -> None:
        """The peer has left before anything came of it."""
        self._channel.abort()

    def flushed(self) -> None:
        """Nothing to do."""

    def stalled(self) -> None:
        """Give up on a peer that does not read."""
        self._channel.abort()

    def lost(self) -> None:
        """The channel is closed."""
        self._timer.cancel()
        if failure := self._channel.tls.failure:
            remote = self._channel.peer[0]
            _log.debug(
                "the TLS handshake with %s failed: %s", remote, failure, extra=fields("tls.failed", remote=remote)
            )

    def close_if_idle(self) -> None:
        """End the connection: nobody has asked for anything yet."""
        self._channel.abort()
