"""One Engine.IO session: what outlives the requests and sockets that carry it.

It is the link of its connection: where the application's messages go now.

=========== =========================================== ==========================================================
state       what carries it                             next
=========== =========================================== ==========================================================
POLLING     polls and POSTs                             PROBING: a WebSocket asks; CLOSING, CLOSED
PROBING     still polls and POSTs; a WebSocket is here  WEBSOCKET: it sends "5"; POLLING: it fails; CLOSING, CLOSED
WEBSOCKET   a WebSocket                                 CLOSED
CLOSING     what waits, and then a close packet; or     CLOSED: it was fetched, or nobody came for it
            without that by the WebSocket that asked
CLOSED      nothing                                     none
=========== =========================================== ==========================================================
"""

from __future__ import annotations

import enum
import re
from collections import deque
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio
from ahtransport.transports.engineio import _codec as codec
from ahtransport.transports.engineio._codec import Kind, Packet
from ahtransport.transports.engineio._heartbeat import Heartbeat

from ahtransport.abc import Later, Payload, ProtocolError, Receiver, Reject, Response, Seat

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ahtransport.transports.engineio._transformer import EngineIOTransformer

    from ahtransport.abc import Link, Outlet, Pacer, Request, Timer, WebSocket

__all__ = ["NO_SEAT", "Session", "State"]

_ABNORMAL: Final = 1006
_NOOP_PAUSE: Final = 0.1  # seconds between two noops to a client that polls on while it upgrades
_CHARSET: Final = re.compile(r""";\s*charset\s*=\s*["']?([^\s;"']*)""")
NO_SEAT: Final = Seat()  # for what belongs to a session that has its seat
_NO_BUFFER: Final[Any] = ()  # what a session has that never polls, or no longer
_TEXT: Final = [("Content-Type", "text/plain; charset=UTF-8")]
_OK: Final = [("Content-Type", "text/html")]


@lru_cache(64)
def _is_utf8(content_type: str) -> bool:
    """Tell whether a body with this type may be read as UTF-8 text; without a charset it may."""
    content_type = content_type.lower()
    charset = _CHARSET.search(content_type)
    return content_type.partition(";")[0].strip() != "application/octet-stream" and (
        charset is None or charset[1] in ("utf-8", "utf8", "us-ascii")
    )


class State(enum.Enum):
    """Where a session stands; the table is in the module's docstring."""

    POLLING = enum.auto()
    PROBING = enum.auto()
    WEBSOCKET = enum.auto()
    CLOSING = enum.auto()
    CLOSED = enum.auto()


# Looking a member up in its enumeration takes several times as long as comparing it.
_POLLING, _PROBING = State.POLLING, State.PROBING
_WEBSOCKET, _CLOSING, _CLOSED = State.WEBSOCKET, State.CLOSING, State.CLOSED
_MESSAGE: Final = Kind.MESSAGE


class Carried(Receiver, Protocol):
    """What a session carries: the connection, or something that has several."""

    def opened(self) -> None:
        """Learn that the handshake is done."""
        ...


class _Gone:
    """What a session carries when it has ended."""

    def opened(self) -> None:
        """It has ended."""

    def message(self, data: str | bytes) -> None:
        """It is for nobody any more."""

    def alive(self, now: float) -> None:
        """It has ended."""

    def writable(self) -> None:
        """Nothing is written any more."""

    def closed(self, code: int, reason: str) -> None:
        """It is known already."""


_GONE: Final = _Gone()


class Session:
    """One session; made by the transformer, known by its ``sid``.

    Attributes:
        wire: how messages are encoded for what carries it now: "polling" or "websocket".
        now: when bytes came over its WebSocket last, seconds of trio's clock.
    """

    __slots__ = (
        "_buffer",
        "_buffered",
        "_closing_timer",
        "_core",
        "_goodbye",
        "_heartbeat",
        "_noop_at",
        "_pacer",
        "_polling",
        "_posting",
        "_probe",
        "_probe_timer",
        "_socket",
        "_taking",
        "_transformer",
        "now",
        "peer",
        "seat",
        "sid",
        "state",
        "wire",
    )

    def __init__(
        self,
        sid: str,
        transformer: EngineIOTransformer,
        socket: WebSocket | None = None,
        seat: Seat = NO_SEAT,
        pacer: Pacer | None = None,
    ) -> None:
        self.sid = sid
        self.seat = seat
        self._pacer = pacer
        self.state = State.POLLING if socket is None else State.WEBSOCKET
        self.peer: Carried
        self.wire = "polling" if socket is None else "websocket"
        self.now = 0.0
        self._transformer = transformer
        self._core = transformer.core
        self._socket = socket
        self._probe: WebSocket | None = None
        self._buffer: deque[Payload] = deque() if socket is None else _NO_BUFFER
        self._buffered = 0
        self._polling: Later | None = None  # the poll that waits
        self._posting = False
        self._taking: trio.Event | None = None  # for POSTs that wait until the application takes messages again
        self._noop_at = inf  # when the next noop may leave; only while upgrading
        self._heartbeat: Heartbeat
        self._closing_timer: Timer | None = None
        self._probe_timer: Timer | None = None
        self._goodbye = (1000, "")  # how the application closed it

    def begin(self, peer: Carried) -> None:
        """Take the connection's other end; from now on the client has to answer pings."""
        self.peer = peer
        transformer = self._transformer
        self._heartbeat = Heartbeat(
            self._core, transformer.ping_interval, transformer.ping_timeout, self._ping, self._expire
        )

    # -- as the link of its connection

    @property
    def transport(self) -> str:
        """What carries it now."""
        return self.wire

    @property
    def carrier(self) -> Link:
        """What to write to: the WebSocket, or this session as long as it polls."""
        return self if self._socket is None else self._socket

    @property
    def outlet(self) -> Outlet | None:
        """That of its WebSocket; None while it polls."""
        return self._socket.outlet if self._socket is not None else None

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client to fetch or read."""
        return self._socket.buffered if self._socket is not None else self._buffered

    @property
    def queued(self) -> int:
        """Messages that wait."""
        return self._socket.queued if self._socket is not None else len(self._buffer)

    def write(self, payload: Payload) -> bool:
        """Send a packet over the WebSocket, or keep it for the next poll."""
        socket = self._socket
        if socket is not None:
            return socket.write(payload)  # it takes nothing once it is closing
        state = self.state
        if state is _CLOSED or state is _CLOSING:
            return False
        return self._send(payload)

    def _send(self, payload: Payload) -> bool:
        if self._socket is not None:
            return self._socket.write(payload)
        self._buffer.append(payload)
        self._buffered += len(payload)
        self._ring()
        return False

    def _ring(self) -> None:
        """Have the poll that waits answered, if there is anything to say."""
        if self._polling is not None and self._may_answer():
            self._polling.ready()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the session once what waits has been fetched, with a close packet."""
        if self.state in (State.CLOSING, State.CLOSED):
            return
        if self._socket is not None:
            socket = self._socket
            self._end(code, reason)
            socket.close(code, reason)
            return
        # A WebSocket that asks may stay: a client that has stopped polling by now fetches what waits there.
        self.state = State.CLOSING
        self._goodbye = (code, reason)
        if not self._buffer and not self._polling:
            self._buffer.append(codec.NOOP)  # as npm engine.io does: a late poll gets both
        self._buffer.append(codec.CLOSE)
        self._heartbeat.stop()
        self._closing_timer = self._core.at(self._core.now() + self._core.options.close_timeout, self._never_fetched)
        self._ring()
        self._take_again()

    def _never_fetched(self) -> None:
        self._end(_ABNORMAL, "")

    def overflow(self, code: int, reason: str) -> None:
        """End the session and forget what waits: the client does not fetch it."""
        if self._socket is not None:
            socket = self._socket
            self._end(code, reason)
            socket.overflow(code, reason)
        else:
            self._buffer.clear()
            self._buffered = 0
            self.close(code, reason)

    def pause(self) -> None:
        """Take no messages: POSTs wait for their answer, a WebSocket is not read."""
        if self._taking is None:
            self._taking = trio.Event()
        if self._socket is not None:
            self._socket.pause()

    def resume(self) -> None:
        """Take messages again."""
        self._take_again()
        if self._socket is not None:
            self._socket.resume()

    def _take_again(self) -> None:
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.set()

    # -- polls and POSTs

    def poll(self) -> Response | Later:
        """Answer a poll: with what waits, as soon as something does.

        Raises:
            Reject: 400, a poll waits already; that ends the session.
        """
        if self._polling is not None:
            self.fail("two polls at once")
            raise Reject(400, body=b"")
        if self._may_answer():
            return self._answer()
        self._polling = Later(self._answer, self._aborted)
        if self._noop_at < inf:
            self._core.at(self._noop_at, self._ring)
        return self._polling

    def _may_answer(self) -> bool:
        """Tell whether a poll has waited long enough: for what it can take along, or for a noop."""
        return bool(self._buffer) or self.state not in (_POLLING, _PROBING) or self._core.now() >= self._noop_at

    def _answer(self) -> Response:
        if self._buffer:
            packets = self._take()
        else:
            packets = [codec.NOOP]
            if self._noop_at < inf:
                self._noop_at = self._core.now() + _NOOP_PAUSE
        self._polling = None
        if self.state is _CLOSING and not self._buffer:
            self._end(1000, "")
        response = Response(200, codec.join(packets), _TEXT)
        if packets != [codec.NOOP]:
            response.on_sent = self._poll_sent
        return response

    def _aborted(self) -> None:
        """The client has hung up while it polled."""
        self._polling = None
        if self.state is not _WEBSOCKET:
            self.fail("the poll was aborted")

    def _poll_sent(self, done: bool) -> None:
        """What was taken for a poll has left, or is lost; then so is the session, whatever carries it by now."""
        if not done:
            self.fail("the poll was aborted")

    def _take(self) -> list[Payload]:
        """Take what one poll may carry: never more than ``maxPayload``, but always one packet."""
        taken = [self._buffer.popleft()]
        size = len(taken[0])
        while self._buffer and size + 1 + len(self._buffer[0]) <= self._core.options.max_length:
            payload = self._buffer.popleft()
            size += 1 + len(payload)
            taken.append(payload)
        self._buffered = sum(map(len, self._buffer))
        if codec.PING in taken:
            self._heartbeat.fetched()
        if not self._buffered and self.state in (_POLLING, _PROBING):
            self.peer.writable()
        return taken

    def post(self, request: Request) -> Response | Awaitable[Response]:
        """Take the packets of a POST; it is answered when the application has taken them.

        Raises:
            Reject: 400 for packets that are none or a second POST at once (both end the session); 413, 415.
        """
        if self._posting:
            self.fail("two POSTs at once")
            raise Reject(400, body=b"")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Reject(415, "bodies are not compressed here")
        if not _is_utf8(request.headers.get("content-type", "")):
            self.fail("a body must be UTF-8 text")
            raise Reject(400, body=b"")
        self._posting = True
        if self._pacer is not None:
            return self._post_paced(request, self._pacer)
        body = request.read_now(self._core.options.max_length)
        packets = None
        if body is not None:
            try:
                packets = self._decode(body)
                if self._receive_all(packets):
                    return self._posted()
            except BaseException as error:
                self._post_failed(error)
                raise
        return self._post_slowly(request, packets)

    async def _post_slowly(self, request: Request, packets: deque[Packet] | None) -> Response:
        """Take the packets of a POST: those that are left, or all when None of its body has been read."""
        try:
            if packets is None:
                packets = self._decode(await request.read(self._core.options.max_length))
            while not self._receive_all(packets):
                if self._taking is not None:
                    await self._taking.wait()
        except BaseException as error:
            self._post_failed(error)
            raise
        return self._posted()

    async def _post_paced(self, request: Request, pacer: Pacer) -> Response:
        """Take the packets of a POST as fast as the client may send them."""
        try:
            body = await request.read(self._core.options.max_length)
            packets = self._decode(body)
            size = len(body) // max(len(packets), 1)
            while packets:
                await pacer.message(size)
                packet = packets.popleft()
                one = deque([packet])
                while not self._receive_all(one):
                    if self._taking is not None:
                        await self._taking.wait()
                if packet.kind is Kind.CLOSE:
                    break
        except BaseException as error:
            if isinstance(error, Reject) and error.status == 429:
                self.fail(error.reason, 1008)
            self._post_failed(error)
            raise
        return self._posted()

    def _posted(self) -> Response:
        self._posting = False
        return Response(200, b"ok", _OK)

    def _post_failed(self, error: BaseException) -> None:
        self._posting = False
        if not isinstance(error, Reject) or error.status != 413:  # as in npm engine.io, too large a body ends nothing
            self.fail("a POST failed")

    def _decode(self, body: bytes) -> deque[Packet]:
        try:
            return deque(codec.decode_payload(body))
        except ProtocolError as error:
            raise self._transformer.refusal(3) from error

    def _receive_all(self, packets: deque[Packet]) -> bool:
        """Act on the packets of a POST. False: the application takes no more for now, and some are left."""
        while packets:
            if self._taking is not None:
                return False
            if self.state is _CLOSED:
                raise self._transformer.refusal(1)  # whatever ended it: "ok" would be untrue
            packet = packets.popleft()
            try:
                self.receive(packet)
            except ProtocolError as error:
                raise self._transformer.refusal(3) from error
            if packet.kind is Kind.CLOSE:
                break  # what follows a goodbye is for nobody
        return True

    # -- packets

    def receive(self, packet: Packet) -> None:
        """Act on a packet, however it came.

        Raises:
            ProtocolError: only servers send this.
        """
        kind, data = packet
        if self.state is _CLOSED or (self.state is _CLOSING and kind is not Kind.CLOSE):
            return
        self.peer.alive(self._core.now())
        if kind is Kind.PONG:
            self._heartbeat.pong()
            return
        self._heartbeat.heard()
        if kind is _MESSAGE:
            self.peer.message(data)
            return
        match kind:
            case Kind.CLOSE:
                self._leave()
            case Kind.PING | Kind.OPEN:
                raise ProtocolError("only servers send this packet")
            case _:
                pass  # noop, or an upgrade that is none

    def _leave(self) -> None:
        """The client says goodbye; a poll that waits gets a noop."""
        socket = self._socket
        self._end(1000, "")
        if socket is not None:
            socket.close(1000)

    # -- heartbeat

    def _ping(self) -> bool:
        self._send(codec.PING)
        return self._socket is not None

    def _expire(self) -> None:
        self.fail("ping timeout", 1001)

    # -- upgrading

    def begin_probe(self, socket: WebSocket) -> None:
        """A WebSocket would like to take over."""
        self.state = State.PROBING
        self._probe = socket
        limit = self._core.now() + self._transformer.upgrade_timeout
        self._probe_timer = self._core.at(limit, lambda: self.stop_probe(socket))

    def probed(self, socket: WebSocket) -> None:
        """The WebSocket has asked: the poll that waits is let go, so that the client can stop polling."""
        if self._probe is socket and not socket.buffered:  # who asks again and again is answered while it listens
            socket.write(codec.PROBE)
            if self._noop_at == inf:
                self._noop_at = self._core.now()
                self._ring()  # a poll that waits looks at the time again

    def upgrade(self, socket: WebSocket) -> bool:
        """Move to the WebSocket: what waits goes first. False: it is not the one that may, or no longer."""
        if self._probe is not socket:
            return False
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        self._probe = None
        self._socket = socket
        self.wire = "websocket"
        closing = self.state is State.CLOSING
        self.state = State.WEBSOCKET
        for payload in self._buffer:
            if payload not in (codec.NOOP, codec.CLOSE):  # only polls need these
                socket.write(codec.for_websocket(payload))
        self._buffer = _NO_BUFFER
        self._buffered = 0
        if closing:
            self.close(*self._goodbye)
            return True
        self._heartbeat.fetched()
        self._ring()
        if self._taking is not None:
            socket.pause()
        self._transformer.moved(self)
        if not socket.buffered:
            self.peer.writable()
        return True

    def stop_probe(self, socket: WebSocket) -> None:
        """The WebSocket has failed or takes too long; polling goes on."""
        if self._probe is socket:
            if self.state is State.PROBING:
                self.state = State.POLLING
            self._noop_at = inf
            self._stop_probe()

    def _stop_probe(self) -> None:
        probe, self._probe = self._probe, None
        if self._probe_timer is not None:
            self._probe_timer.cancel()
            self._probe_timer = None
        if probe is not None:
            probe.close(1000)

    # -- ending

    def lost(self, code: int, reason: str) -> None:
        """The WebSocket is gone."""
        self._end(code, reason)

    def stop(self) -> None:
        """End at once: the server is gone."""
        self._end(_ABNORMAL, "")

    def fail(self, reason: str, code: int = 1002) -> None:
        """End the session because of something the client did, or did not do; ``code`` is for its WebSocket."""
        socket = self._socket
        if self.state is not State.CLOSED and self._polling and socket is None:
            self._buffer.clear()
            self._buffer.append(codec.CLOSE)  # for the poll that waits
        self._end(_ABNORMAL, reason)
        if socket is not None:
            socket.close(code, reason)

    def _end(self, code: int, reason: str) -> None:
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._heartbeat.stop()
        if self._closing_timer is not None:
            self._closing_timer.cancel()
        self._stop_probe()
        self._take_again()
        self._ring()
        self._transformer.forget(self)
        peer, self.peer = self.peer, _GONE  # the two would keep each other alive
        peer.closed(code, reason)
