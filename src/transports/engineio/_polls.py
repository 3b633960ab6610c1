"""How a session polls: what its requests bring, and what they take along."""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache, partial
from math import inf
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from ahtransport.transports.engineio import _codec as codec
from ahtransport.transports.engineio._codec import Kind, Packet
from ahtransport.transports.engineio._state import SessionState, State

from ahtransport.abc import Later, Payload, ProtocolError, Reject, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ahtransport.abc import Pacer, Request

__all__ = ["Polls"]

_BATCH: Final = 128  # packets of a POST before other connections have their turn, as many as frames of a WebSocket
_NOOP_PAUSE: Final = 0.1  # seconds between two noops to a client that polls on while it upgrades
_CHARSET: Final = re.compile(r""";\s*charset\s*=\s*["']?([^\s;"']*)""")
_TEXT: Final = [("Content-Type", "text/plain; charset=UTF-8")]
_OK: Final = [("Content-Type", "text/html")]
# Looking a member up in its enumeration takes several times as long as comparing it.
_POLLING, _PROBING = State.POLLING, State.PROBING
_WEBSOCKET, _CLOSING, _CLOSED = State.WEBSOCKET, State.CLOSING, State.CLOSED


@lru_cache(64)
def _is_utf8(content_type: str) -> bool:
    """Tell whether a body with this type may be read as UTF-8 text; without a charset it may."""
    content_type = content_type.lower()
    charset = _CHARSET.search(content_type)
    return content_type.partition(";")[0].strip() != "application/octet-stream" and (
        charset is None or charset[1] in ("utf-8", "utf8", "us-ascii")
    )


_Pace: TypeAlias = "Callable[[], Awaitable[None]]"


class Polls(SessionState):
    """The half of a session that polls and POSTs go to."""

    __slots__ = ()

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

    def _ring(self) -> None:
        """Have the poll that waits answered, if there is anything to say."""
        if self._polling is not None and self._may_answer():
            self._polling.ready()

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
        buffer = self._buffer
        taken = [buffer.popleft()]
        if buffer:
            size = len(taken[0])
            while buffer and size + 1 + len(buffer[0]) <= self._core.options.max_length:
                payload = buffer.popleft()
                size += 1 + len(payload)
                taken.append(payload)
        self._buffered = sum(map(len, buffer)) if buffer else 0
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
        if self._owing is not None:
            return self._post_slowly(request, None)
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
                await self._settled()
            else:
                await self._turn()
            await self._accept(packets, None)
        except BaseException as error:
            self._post_failed(error)
            raise
        return self._posted()

    async def _turn(self) -> None:
        """Wait until the application takes messages again; in any case others have their turn."""
        if self._taking is not None:
            await self._taking.wait()
        else:
            await trio.lowlevel.checkpoint()

    async def _post_paced(self, request: Request, pacer: Pacer) -> Response:
        """Take the packets of a POST as fast as the client may send them."""
        try:
            body = await request.read(self._core.options.max_length)
            packets = self._decode(body)
            size = len(body) // max(len(packets), 1)
            await self._settled()
            await self._accept(packets, partial(self._pace, pacer, size))
        except BaseException as error:
            self._post_failed(error)
            raise
        return self._posted()

    async def _accept(self, packets: deque[Packet], pace: _Pace | None, *, owed: bool = False) -> None:
        """Take the packets of a POST, each after ``pace`` where the client may send only so fast.

        One that an upgrade waits for is answered all the same, and the rest is ``owed``: until it has that answer the
        client does not poll, so an application that waits for the client to read would wait for ever.
        """
        while packets:
            if pace is not None:
                await pace()
            some = packets if pace is None else deque([packets[0]])
            while not self._receive_all(some):
                if self._noop_at < inf and not owed:
                    self._owing = trio.Event()
                    self._core.start_soon(self._settle, packets, pace, self._owing)
                    return
                await self._turn()
            if pace is None or packets.popleft().kind is Kind.CLOSE:
                return  # what follows a goodbye is for nobody

    async def _settle(self, packets: deque[Packet], pace: _Pace | None, settled: trio.Event) -> None:
        """Take what is left of a POST that has been answered; whatever comes after it waits for that."""
        try:
            await self._accept(packets, pace, owed=True)
        except BaseException as error:
            self._fail_post(error)  # unless the session has ended anyway
            if not isinstance(error, Reject):
                raise
        finally:
            self._owing = None
            settled.set()
            if self._taking is None and self._socket is not None:
                self._socket.resume()

    async def _settled(self) -> None:
        """Wait until nothing is left of a POST that has been answered."""
        if self._owing is not None:
            await self._owing.wait()

    async def _pace(self, pacer: Pacer, size: int) -> None:
        self._slowed = True
        try:
            await pacer.message(size)
        finally:
            self._slowed = False
            self._listened_at = self._core.now()

    def _posted(self) -> Response:
        self._posting = False
        return Response(200, b"ok", _OK)

    def _post_failed(self, error: BaseException) -> None:
        self._posting = False
        self._fail_post(error)

    def _fail_post(self, error: BaseException) -> None:
        """End the session because of what a POST brought, or how fast."""
        if not isinstance(error, Reject):
            self.fail("a POST failed")
        elif error.status == 429:
            self.fail(error.reason, 1008, 1008)
        elif error.status != 413:  # as in npm engine.io, too large a body ends nothing
            self.fail("a POST failed")

    def _decode(self, body: bytes) -> deque[Packet]:
        try:
            return deque(codec.decode_payload(body))
        except ProtocolError as error:
            raise self._transformer.refusal(3) from error

    def _receive_all(self, packets: deque[Packet]) -> bool:
        """Act on packets of a POST, a batch at most. False: some are left; the application may have enough for now."""
        for _ in range(_BATCH):
            if not packets:
                break
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
                return True  # what follows a goodbye is for nobody
        return not packets
