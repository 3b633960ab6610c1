"""HTTP/1.1 on one channel: one request at a time, then perhaps a WebSocket.

======== =================================== ==========================================
state    what is awaited                     next
======== =================================== ==========================================
HEAD     the head of a request               BUSY, or ENDED when it is malformed
BUSY     the response, perhaps the body too  HEAD when kept alive, else ENDED
UPGRADE  the application's word              the channel is the WebSocket's, or ENDED
ENDED    nothing; what arrives is discarded  none
======== =================================== ==========================================
"""

from __future__ import annotations

import enum
import re
from email.utils import formatdate
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Any

import trio

from ahtransport._barrier import contained
from ahtransport._errors import Reject
from ahtransport._http import Request, Response
from ahtransport._net.body import Body
from ahtransport._net.handshake import accept_headers, check_upgrade
from ahtransport._net.head import Head, HeadReader, parse_head

if TYPE_CHECKING:
    from ahtransport._net.channel import Channel
    from ahtransport._net.host import Host

__all__ = ["HttpWire"]

_PIPELINE = 65536  # bytes of further requests that wait while one is being served
_SAFE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SAFE_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class State(enum.Enum):
    """Where a connection stands; the table is in the module's docstring."""

    HEAD = enum.auto()
    BUSY = enum.auto()
    UPGRADE = enum.auto()
    ENDED = enum.auto()


class HttpWire:
    """Serves one channel."""

    def __init__(self, channel: Channel, host: Host) -> None:
        self._channel = channel
        self._host = host
        self._state = State.HEAD
        self._buffer = bytearray()
        self._reader = HeadReader(host.limits)
        self._body: Body | None = None
        self._task: trio.CancelScope | None = None
        self._keep_alive = True
        self._timer = host.deadlines.at(trio.current_time() + host.header_timeout, self._head_late)

    # -- what the channel calls

    def data(self, data: bytes, now: float) -> None:
        """Take bytes from the network."""
        if self._state is State.ENDED:
            return
        if self._body is not None and not self._body.complete:
            data = self._body.feed(data)
        self._buffer += data
        if self._state is State.HEAD:
            self._next_request(now)
        elif len(self._buffer) > _PIPELINE:
            self._channel.pause()

    def eof(self) -> None:
        """The client has hung up: nobody is interested in an answer any more."""
        self._end()
        self._channel.shutdown()

    def flushed(self) -> None:
        """Nothing to do: who streams a body waits by itself."""

    def stalled(self) -> None:
        """Give up on a client that does not read its response."""
        self._channel.abort()

    def lost(self) -> None:
        """The channel is closed."""
        self._end()

    # -- requests

    def _end(self) -> None:
        self._state = State.ENDED
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _head_late(self) -> None:
        if self._state is State.HEAD:
            if self._buffer:
                self._refuse(Reject(408, "the request comes too slowly"))
            else:
                self._end()
                self._channel.shutdown()

    def close_if_idle(self) -> None:
        """End a connection that has no request under way; one that has ends with its response."""
        self._keep_alive = False
        if self._state is State.HEAD:
            self._end()
            self._channel.shutdown()

    def _next_request(self, now: float) -> None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # tolerated before a request line, RFC 9112 section 2.2
            del buffer[:2]
            self._reader = HeadReader(self._host.limits)
        if not buffer:
            return
        try:
            end = self._reader.end(buffer)
            if end is None:
                return
            head = parse_head(bytes(buffer[:end]))
        except Reject as refusal:
            self._refuse(refusal)
            return
        del buffer[:end]
        self._reader = HeadReader(self._host.limits)
        self._timer.cancel()
        self._keep_alive = self._keep_alive and head.keep_alive
        self._body = Body(head.length, self._host.body_timeout, self._channel.pause, self._channel.resume)
        request = Request(
            head.method,
            head.target,
            head.headers,
            peer=self._channel.peer,
            secure=self._channel.secure,
            read=self._body.read,
        )
        if head.http11 and head.headers.get("expect", "").lower() == "100-continue":
            self._body.on_first_read = self._continue
        if not self._body.complete:
            rest = self._body.feed(bytes(buffer))
            buffer[:] = rest
        self._task = trio.CancelScope()
        if head.websocket:
            self._state = State.UPGRADE
            self._host.spawn(self._upgrade, request, head, self._task)
        else:
            self._state = State.BUSY
            self._host.spawn(self._serve, request, self._task)

    def _continue(self) -> None:
        if self._body is not None and not self._body.complete:
            self._channel.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _serve(self, request: Request, scope: trio.CancelScope) -> None:
        with scope, contained("an HTTP connection"):
            response = await self._ask(request)
            if await self._send(request, response):
                return
        if not self._channel.closed:
            self._channel.shutdown()

    async def _ask(self, request: Request) -> Response:
        """Get the application's response, whatever it raises."""
        response: Any = None
        with contained(f"{request.method} {request.path!r}") as trouble:
            try:
                response = await self._host.application.handle_request(request)
            except Reject as refusal:
                response = refusal_response(refusal)
            if not isinstance(response, Response):
                raise TypeError(f"a request is answered with a Response, not with {type(response).__name__}")
        return Response.json(500, {"error": "internal server error"}) if trouble.caught else response

    async def _upgrade(self, request: Request, head: Head, scope: trio.CancelScope) -> None:
        websocket = self._host.make_websocket(self._channel, request)
        response: Response | None = None
        with scope, contained("an HTTP connection"):
            with contained(f"upgrade of {request.path!r}") as trouble:
                try:
                    check_upgrade(head)
                    receiver = await self._host.application.handle_upgrade(request, websocket)
                except Reject as refusal:
                    response = refusal_response(refusal)
                else:
                    # No checkpoint since the application has said yes: this can't be cancelled half-way.
                    try:
                        lines = self._head_lines(101, [*accept_headers(head), *request.response_headers])
                    except Exception:
                        receiver.closed(1006, "")
                        request.response_headers.clear()  # or the refusal would fail for the same reason
                        raise
                    self._timer.cancel()
                    self._state = State.ENDED
                    websocket.accept(receiver, lines, bytes(self._buffer))
                    return
            if trouble.caught:
                response = Response.json(500, {"error": "internal server error"})
            if response is not None:
                self._keep_alive = False
                await self._send(request, response)
        self._end()
        self._channel.shutdown()

    # -- responses

    def _refuse(self, refusal: Reject) -> None:
        """Answer a request that could not be understood, and hang up."""
        response = refusal_response(refusal)
        self._keep_alive = False
        body = response.body if isinstance(response.body, bytes) else b""
        self._channel.write(self._head_lines(response.status, response.headers, len(body)) + body)
        self._end()
        self._buffer.clear()
        self._channel.shutdown()

    def _head_lines(self, status: int, headers: list[tuple[str, str]], length: int | None = None) -> bytes:
        """Write the head of a response.

        Raises:
            ValueError: a header would break out of its line (response splitting), or the status is none.
        """
        if status != 101 and not 200 <= status <= 599:
            raise ValueError(f"{status} is not the status of a response")
        for name, value in headers:
            if not _SAFE_NAME.fullmatch(name) or not _SAFE_VALUE.fullmatch(value):
                raise ValueError(f"the header {name!r} has characters that no header may have")
        lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in headers)]
        if status != 101:
            lines.append(f"Date: {http_date()}")
            if length is not None:
                lines.append(f"Content-Length: {length}")
            lines.append("Connection: keep-alive" if self._keep_alive else "Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def _send(self, request: Request, response: Response) -> bool:
        """Write a response. True: the connection goes on with the next request."""
        tell = response.on_sent
        written = False
        try:
            if self._state is State.ENDED:
                return False
            body = self._body
            if body is not None and not body.complete:
                self._keep_alive = False  # nobody wants the rest of the body, so nobody can find the next request
            length = None if response.status in (204, 304) else response.length
            what = f"the response to {request.method} {request.path!r}"
            with contained(what) as trouble:
                head = self._head_lines(response.status, [*response.headers, *request.response_headers], length)
            whole = trouble.caught is None
            if not whole:
                response = Response.json(500, {"error": "internal server error"})
                length = response.length
                head = self._head_lines(500, response.headers, length)
            with contained(what) as trouble:
                if isinstance(response.body, bytes):
                    self._channel.write(head if request.method == "HEAD" or length is None else head + response.body)
                else:
                    self._channel.write(head)
                    await self._stream(response, send=request.method != "HEAD" and length is not None)
                written = whole
                if tell is not None:
                    await self._channel.drain()
            if trouble.caught or not self._keep_alive:
                self._end()
                self._channel.shutdown()
                return False
            self._go_on()
            return True
        finally:
            if tell is not None:
                with trio.CancelScope(shield=True):  # a client that has hung up may have read all of it before
                    await self._channel.drain()
                with contained(f"what follows {request.method} {request.path!r}"):
                    tell(written and not self._channel.cut)

    async def _stream(self, response: Response, *, send: bool) -> None:
        pieces: Any = response.body
        left = response.length or 0
        try:
            if send:
                async for piece in pieces:
                    left -= len(piece)
                    if left < 0:
                        raise ValueError("the body is longer than its length")
                    self._channel.write(piece)
                    await self._channel.drain()
                    if left and self._channel.closed:
                        self._channel.cut = True
                        return  # nobody is there any more
                if left:
                    raise ValueError("the body is shorter than its length")
        finally:
            if hasattr(pieces, "aclose"):
                with trio.CancelScope(shield=True):
                    await pieces.aclose()

    def _go_on(self) -> None:
        """Wait for the next request, or take the one that is here already."""
        now = trio.current_time()
        self._state = State.HEAD
        self._task = None
        self._body = None
        self._timer = self._host.deadlines.at(now + self._host.keep_alive, self._head_late)
        self._channel.resume()
        if self._buffer:
            self._next_request(now)


def refusal_response(refusal: Reject) -> Response:
    """Turn a refusal into its response, as Primus does: ``{"error": reason}``."""
    if refusal.body is not None:
        return Response(refusal.status, refusal.body, refusal.headers)
    reason = refusal.reason or _phrase(refusal.status)
    return Response.json(refusal.status, {"error": reason}, refusal.headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


_date = (0, "")


def http_date() -> str:
    """Give the current date as HTTP writes it (RFC 9110 section 5.6.7), made once a second."""
    global _date
    second = int(time())
    if _date[0] != second:
        _date = (second, formatdate(second, usegmt=True))
    return _date[1]
