"""HTTP/1.1 on one channel: one request at a time, then perhaps a WebSocket.

======== =================================== ==========================================
state    what is awaited                     next
======== =================================== ==========================================
HEAD     the head of a request               BUSY, or ENDED when it is malformed
BUSY     the response, perhaps the body too  HEAD when kept alive, else ENDED
UPGRADE  the application's word              the channel is the WebSocket's, or ENDED
ENDED    nothing; what arrives is discarded  none
======== =================================== ==========================================

A response that is there at once needs no task, and neither does a :class:`Later`; whatever has to be awaited gets one.
"""

from __future__ import annotations

from collections.abc import Awaitable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import trio

from ahtransport._barrier import contained
from ahtransport._errors import Reject, unwrapped
from ahtransport._http import Later, Request, Response
from ahtransport._net.body import Body, Whole
from ahtransport._net.handshake import accept_headers, check_upgrade
from ahtransport._net.head import Head, HeadReader, parse_head, plain_head
from ahtransport._net.responding import Responding, State, internal_error
from ahtransport._net.response import refusal_response, response_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._heartbeat import Alarm
    from ahtransport._net.channel import Channel
    from ahtransport._net.host import Host
    from ahtransport._net.websocket import WebSocketWire
    from ahtransport.abc import Receiver

__all__ = ["HttpWire"]

_PIPELINE = 65536  # bytes of further requests that wait while one is being served


# Looking a member up in its enumeration takes several times as long as comparing it.
_HEAD, _BUSY, _ENDED = State.HEAD, State.BUSY, State.ENDED


class HttpWire(Responding):
    """Serves one channel."""

    def __init__(self, channel: Channel, host: Host) -> None:
        super().__init__(channel, host)
        self._reader = HeadReader(host.limits)
        self._waiting: tuple[Request, Later] | None = None
        self._until = trio.current_time() + host.header_timeout  # when a head has to be there
        self._begun = True  # whether that counts from its beginning; the first one's does from the connection's
        self._alarm: Alarm | None = host.deadlines.at(self._until, self._look)

    # -- what the channel calls

    def data(self, data: bytes, now: float) -> None:
        """Take bytes from the network."""
        if self._state is _ENDED:
            return
        if not self._body.complete:
            data = self._body.feed(data)
        if self._state is _HEAD and not self._buffer and (plain := plain_head(data, self._host.limits)) is not None:
            self._begin(plain[0], data[plain[1] :])
            return
        self._buffer += data
        if self._state is _HEAD:
            self._next_request()
        elif len(self._buffer) > _PIPELINE:
            self._channel.pause()

    def eof(self) -> None:
        """The client has hung up: nobody is interested in an answer any more."""
        self._end()
        self._channel.shutdown()

    def stalled(self) -> None:
        """Give up on a client that does not read its response."""
        self._channel.abort()

    def lost(self) -> None:
        """The channel is closed. (A task that streams a body tells of it by itself.)"""
        self._end()
        if self._task is None:
            self._tell(True)

    # -- requests

    def _end(self) -> None:
        self._state = _ENDED
        self._body.on_first_read = None  # the two would keep each other alive
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._task is not None:
            self._task.cancel()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            request, later = waiting
            with contained(f"the end of {request.method} {request.path!r}", about=request):
                later.gone()

    def _expect_head(self) -> None:
        """Wait for the next request, for a while."""
        self._state = _HEAD
        self._begun = False
        self._wait(self._host.keep_alive)

    def _wait(self, seconds: float) -> None:
        """Look at the head again by then. The alarm goes off no later than that, and is seldom moved."""
        self._until = trio.current_time() + seconds
        if self._alarm is not None and self._alarm.when > self._until:
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None:
            self._alarm = self._host.deadlines.at(self._until, self._look)

    def _look(self) -> None:
        self._alarm = None
        if self._state is not _HEAD:
            return
        if trio.current_time() < self._until:
            self._alarm = self._host.deadlines.at(self._until, self._look)
        elif self._buffer:
            self._refuse(Reject(408, "the request comes too slowly"))
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        self._end()
        self._channel.shutdown()

    def close_if_idle(self) -> None:
        """End a connection that has no request under way; one that has ends with its response."""
        self._keep_alive = False
        if self._state is _HEAD:
            self._hang_up()

    def _next_request(self) -> None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # tolerated before a request line, RFC 9112 section 2.2
            del buffer[:2]
            self._reader.begin()
        if not buffer:
            return
        try:
            end = self._reader.end(buffer)
            if end is None:
                if not self._begun:
                    self._begun = True
                    self._wait(self._host.header_timeout)
                return
            head = parse_head(bytes(buffer[:end]))
        except Reject as refusal:
            self._refuse(refusal)
            return
        del buffer[:end]
        rest = b""
        if head.length != 0:
            rest = bytes(buffer)
            buffer.clear()
        self._begin(head, rest)

    def _refuse(self, refusal: Reject) -> None:
        """Answer a request that could not be understood, and hang up."""
        response = refusal_response(refusal)
        self._host.refused[refusal.status] += 1
        body = response.body if isinstance(response.body, bytes) else b""
        self._channel.write(response_head(response.status, response.headers, len(body), keep_alive=False) + body)
        self._buffer.clear()
        self._hang_up()

    def _begin(self, head: Head, rest: bytes) -> None:
        """Have a request served; ``rest`` is what has come after its head and is not in the buffer."""
        self._keep_alive = self._keep_alive and head.keep_alive
        if head.length != 0:
            rest = self._begin_body(head, rest)
        if rest:
            self._buffer += rest
        request = Request(
            head.method,
            head.target,
            head.headers,
            peer=self._channel.peer,
            secure=self._channel.secure,
            read=self._body.read,
            read_now=self._body.read_now,
        )
        if head.websocket:
            self._state = State.UPGRADE
            self._upgrade(request, head)
        else:
            self._state = _BUSY
            self._serve(request, self._host.application.handle_request, request)

    def _begin_body(self, head: Head, rest: bytes) -> bytes:
        """Begin with a body; give what is behind it already."""
        if head.length == len(rest):
            self._body = Whole(rest)
            return b""
        host, channel = self._host, self._channel
        self._body = body = Body(head.length, host.body_timeout, host.deadlines, channel.pause, channel.resume)
        if head.continues:
            body.on_first_read = self._continue
        return body.feed(rest)

    def _continue(self) -> None:
        if not self._body.complete:
            self._channel.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _serve(self, request: Request, function: Callable[..., Any], *args: Any) -> None:
        """Send the response that a function gives, now or later, or what becomes of whatever it raises."""
        try:
            answer = function(*args)
        except Reject as refusal:
            if not args and self._host.late is not None:
                self._host.late(request, refusal)  # a Later's; of others who refuses them knows
            answer = refusal_response(refusal)
        except BaseException as error:
            answer = internal_error()
            with contained(f"{request.method} {request.path!r}", about=request):
                raise error
        if isinstance(answer, Response):
            self._send(request, answer)
        elif type(answer) is Later:
            self._waiting = request, answer
            answer.when_ready(self._ready)
        else:
            self._task = trio.CancelScope()
            self._host.spawn(self._wait_for, request, answer, self._task)

    def _ready(self) -> None:
        self._channel.soon(self._take_waiting)

    def _take_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            request, later = waiting
            self._serve(request, later.make)

    async def _wait_for(self, request: Request, answer: Any, scope: trio.CancelScope) -> None:
        with contained("an HTTP connection"), scope:
            response: Any = None
            with contained(f"{request.method} {request.path!r}", about=request) as trouble:
                try:
                    response = await answer if isawaitable(answer) else answer
                except Reject as refusal:
                    response = refusal_response(refusal)
                except BaseExceptionGroup as group:
                    refused = unwrapped(group)  # as a nursery hands on what its only task has raised
                    if not isinstance(refused, Reject):
                        raise
                    response = refusal_response(refused)
                if not isinstance(response, Response):
                    raise TypeError(f"a request is answered with a Response, not with {type(response).__name__}")
            self._task = None
            self._send(request, internal_error() if trouble.caught else response)
            return
        if not self._channel.closed:
            self._hang_up()

    def _check_upgrade(self, head: Head) -> None:
        """Check a request to upgrade, and count it if it is none.

        Raises:
            Reject: see :func:`check_upgrade`.
        """
        try:
            check_upgrade(head)
        except Reject as refusal:
            self._host.refused[refusal.status] += 1
            raise

    def _upgrade(self, request: Request, head: Head) -> None:
        """Have the application take a WebSocket, now or later, or refuse it."""
        try:
            self._check_upgrade(head)
            websocket = self._host.make_websocket(self._channel, request, head)
            receiver = self._host.application.handle_upgrade(request, websocket)
            if isinstance(receiver, Awaitable):
                self._task = trio.CancelScope()
                self._host.spawn(self._upgrade_later, request, head, websocket, receiver, self._task)
            else:
                self._accept(request, head, websocket, receiver)
        except Reject as refusal:
            self._decline(request, refusal_response(refusal))
        except BaseException as error:
            with contained(f"upgrade of {request.path!r}", about=request):
                raise error
            self._decline(request, internal_error())

    async def _upgrade_later(
        self,
        request: Request,
        head: Head,
        websocket: WebSocketWire,
        waiting: Awaitable[Receiver],
        scope: trio.CancelScope,
    ) -> None:
        with contained("an HTTP connection"), scope:
            response: Response | None = None
            with contained(f"upgrade of {request.path!r}", about=request) as trouble:
                try:
                    receiver = await waiting
                except Reject as refusal:
                    response = refusal_response(refusal)
                else:
                    # No checkpoint since the application has said yes: this can't be cancelled half-way.
                    self._accept(request, head, websocket, receiver)
                    return
            if trouble.caught:
                response = internal_error()
            if response is not None:
                self._decline(request, response)
                return
        self._hang_up()

    def _accept(self, request: Request, head: Head, websocket: WebSocketWire, receiver: Receiver) -> None:
        """Answer with 101; the channel is the WebSocket's from here on."""
        try:
            headers = [*accept_headers(head), *websocket.extensions, *request.response_headers]
            lines = response_head(101, headers)
        except Exception:
            receiver.closed(1006, "")
            request.response_headers.clear()  # or the refusal would fail for the same reason
            raise
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._state = _ENDED
        websocket.accept(receiver, lines, bytes(self._buffer))

    def _decline(self, request: Request, response: Response) -> None:
        """Answer an upgrade with something else than 101, and hang up."""
        self._keep_alive = False
        self._task = None
        self._send(request, response)
