"""How a response is written: its head, a body that is streamed, and the response that a refusal becomes."""

from __future__ import annotations

import re
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Any, Final

import trio

from ahtransport._errors import Answered
from ahtransport._http import Response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ahtransport._errors import Reject
    from ahtransport._net.channel import Channel

__all__ = ["refusal_response", "response_head", "send_pieces"]

_SAFE_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SAFE_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_KEPT: Final = 256  # heads that are remembered, without what changes from one response to the next


def response_head(
    status: int, headers: Iterable[tuple[str, str]], length: int | None = None, *, keep_alive: bool = True
) -> bytes:
    """Write the head of a response.

    Args:
        status: 101, or 200 to 599.
        headers: without ``Date``, ``Content-Length`` and ``Connection``, which a 101 has not or brings along.
        length: bytes of the body; None: that is not told.
        keep_alive: whether the connection goes on.

    Raises:
        ValueError: a header would break out of its line (response splitting), or the status is none.
    """
    if status == 101:
        return _lines(status, tuple(headers)) + b"\r\n"
    lines = _known_lines(status, tuple(headers))
    end = _end(int(time()), keep_alive)
    return lines + end if length is None else b"%bContent-Length: %d\r\n%b" % (lines, length, end)


def _lines(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    if status != 101 and not 200 <= status <= 599:
        raise ValueError(f"{status} is not the status of a response")
    for name, value in headers:
        if not _SAFE_NAME.fullmatch(name) or not _SAFE_VALUE.fullmatch(value):
            raise ValueError(f"the header {name!r} has characters that no header may have")
    lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in headers), ""]
    return "\r\n".join(lines).encode("latin-1")


_known_lines = lru_cache(_KEPT)(_lines)


@lru_cache(2)
def _end(second: int, keep_alive: bool) -> bytes:
    connection = "keep-alive" if keep_alive else "close"
    return f"Date: {formatdate(second, usegmt=True)}\r\nConnection: {connection}\r\n\r\n".encode()


async def send_pieces(channel: Channel, response: Response, *, send: bool) -> None:
    """Write a streamed body, each piece when the one before has left; then, or at the client's end, close its iterator.

    Args:
        channel: where to; it is ``cut`` afterwards if the client has gone.
        response: whose body.
        send: false: it is closed, and that is all.

    Raises:
        ValueError: the body is longer or shorter than its length.
    """
    pieces: Any = response.body
    left = response.length or 0
    try:
        if send:
            async for piece in pieces:
                left -= len(piece)
                if left < 0:
                    raise ValueError("the body is longer than its length")
                channel.write(piece)
                await channel.drain()
                if left and channel.closed:
                    channel.cut = True
                    return  # nobody is there any more
            if left:
                raise ValueError("the body is shorter than its length")
    finally:
        if hasattr(pieces, "aclose"):
            with trio.CancelScope(shield=True):
                await pieces.aclose()


def refusal_response(refusal: Reject) -> Response:
    """Turn a refusal into its response, as Primus does: ``{"error": reason}``."""
    if isinstance(refusal, Answered):
        return refusal.response
    if refusal.body is not None:
        return Response(refusal.status, refusal.body, refusal.headers)
    reason = refusal.reason or _phrase(refusal.status)
    return Response.json(refusal.status, {"error": reason}, refusal.headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
