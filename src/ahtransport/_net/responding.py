"""The responses of an HTTP/1.1 connection: written at once or piece by piece, and what follows when one has left."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import trio

from ahtransport._barrier import contained
from ahtransport._http import Response
from ahtransport._net.body import EMPTY
from ahtransport._net.response import response_head, send_pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._http import Request
    from ahtransport._net.body import Body, Whole
    from ahtransport._net.channel import Channel
    from ahtransport._net.host import Host

__all__ = ["Responding", "State", "internal_error"]


class State(enum.Enum):
    """Where a connection stands; the table is in the docstring of :mod:`ahtransport._net.http1`."""

    HEAD = enum.auto()
    BUSY = enum.auto()
    UPGRADE = enum.auto()
    ENDED = enum.auto()


# Looking a member up in its enumeration takes several times as long as comparing it.
_HEAD, _BUSY, _ENDED = State.HEAD, State.BUSY, State.ENDED


def internal_error() -> Response:
    """Make the response to a request whose handler has failed: it tells nothing."""
    return Response.json(500, {"error": "internal server error"})


class Responding:
    """The half of :class:`HttpWire` that answers; the other half reads requests."""

    def __init__(self, channel: Channel, host: Host) -> None:
        self._channel = channel
        self._host = host
        self._state = _HEAD
        self._buffer = bytearray()  # what has come of the next requests
        self._body: Body | Whole = EMPTY
        self._task: trio.CancelScope | None = None
        self._keep_alive = True
        self._leaving = False  # whether the rest of a response waits for the client to read
        self._on_sent: Callable[[bool], None] | None = None  # of a response that has not left yet

    def flushed(self) -> None:
        """The rest of a response has left. (A task that streams a body looks for itself.)"""
        if self._leaving:
            self._leaving = False
            self._sent()

    def _send(self, request: Request, response: Response) -> None:
        """Write a response, and go on when it has left."""
        self._on_sent = response.on_sent
        if self._state is _ENDED:
            self._tell(False)
            self._discard(response)
            return
        if not self._body.complete:
            self._keep_alive = False  # nobody wants the rest of the body, so nobody can find the next request
            self._body.on_first_read = None  # "100 Continue" would stand in the middle of the response
        headers = [*response.headers, *request.response_headers]
        length = None if response.status in (204, 304) else response.length
        try:
            head = response_head(response.status, headers, length, keep_alive=self._keep_alive)
        except BaseException as error:
            with contained(f"the response to {request.method} {request.path!r}", about=request):
                raise error
            self._tell(False)
            self._discard(response)
            response = internal_error()
            length = response.length
            head = response_head(500, response.headers, length, keep_alive=self._keep_alive)
        with_body = request.method != "HEAD" and length is not None
        if isinstance(response.body, bytes):
            self._channel.write(head + response.body if with_body else head)
            self._written()
        else:
            self._channel.write(head)
            self._task = trio.CancelScope()
            self._host.spawn(self._stream, request, response, with_body, self._task)

    def _discard(self, response: Response) -> None:
        """Close a body that nobody will get."""
        if not isinstance(response.body, bytes):
            self._host.spawn(self._close_body, response)

    async def _close_body(self, response: Response) -> None:
        with contained("closing the body of a response"):
            await send_pieces(self._channel, response, send=False)

    async def _stream(self, request: Request, response: Response, with_body: bool, scope: trio.CancelScope) -> None:
        done = False
        try:
            with contained(f"the response to {request.method} {request.path!r}", about=request), scope:
                await send_pieces(self._channel, response, send=with_body)
                done = True
        finally:
            if not done:
                self._tell(False)
        with contained("an HTTP connection"):
            if done:
                self._task = None
                self._written()
            elif not self._channel.closed:
                self._hang_up()

    def _written(self) -> None:
        """All of a response is written. The next request has to wait until it has left: a client that asks and asks,
        and reads nothing, must not pile up answers."""
        if self._channel.buffered:
            self._leaving = True
        else:
            self._sent()

    def _sent(self) -> None:
        if self._on_sent is not None:
            self._tell(True)
        if self._state is _ENDED:
            return
        if not self._keep_alive:
            self._hang_up()
            return
        self._body = EMPTY
        self._channel.resume()
        if self._buffer:
            self._channel.soon(self._take_next)  # other connections have their turn first
        else:
            self._expect_head()

    def _take_next(self) -> None:
        if self._state is _BUSY:
            self._expect_head()
            self._next_request()

    def _tell(self, sent: bool) -> None:
        """Tell what became of a response, if anybody wants to know and has not been told."""
        on_sent, self._on_sent = self._on_sent, None
        if on_sent is not None:
            try:
                on_sent(sent and not self._channel.cut)
            except BaseException as error:
                with contained("what follows a response"):
                    raise error

    # -- the other half

    def _expect_head(self) -> None:
        """Wait for the next request."""
        raise NotImplementedError

    def _next_request(self) -> None:
        """Begin with the next request, if all of its head is in the buffer."""
        raise NotImplementedError

    def _hang_up(self) -> None:
        """End the connection, once what is written has left."""
        raise NotImplementedError
