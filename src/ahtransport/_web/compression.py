"""Compressed answers (RFC 9110 section 8.4): gzip, for whoever accepts it."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING, Final

import trio

from ahtransport._http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ahtransport._http import Request

__all__ = ["accepts_gzip", "compressing"]

_SHORT: Final = 32768  # bytes that are compressed on the spot; what is longer a thread does, and only its client waits
_LEVEL: Final = 1  # of 9: 80 % of what the best would save, in a quarter of its time
_NOT_AT_ALL: Final = re.compile(r"q=0(\.0{0,3})?", re.IGNORECASE)


def accepts_gzip(header: str) -> bool:
    """Read ``Accept-Encoding`` (RFC 9110 section 12.5.3); a named coding counts for more than ``*``."""
    anything = False
    for choice in header.lower().split(","):
        coding, *parameters = (part.strip(" \t") for part in choice.split(";"))
        wanted = not any(_NOT_AT_ALL.fullmatch(parameter) for parameter in parameters)
        if coding in ("gzip", "x-gzip"):
            return wanted
        if coding == "*":
            anything = wanted
    return anything


def compressing(
    answer: Callable[[Request], Response | Awaitable[Response]], threshold: int
) -> Callable[[Request], Response | Awaitable[Response]]:
    """Give a handler that compresses what ``answer`` answers, from ``threshold`` bytes on."""

    def compressed(request: Request) -> Response | Awaitable[Response]:
        response = answer(request)
        if isinstance(response, Response):
            return response if (response.length or 0) < threshold else _compress(request, response, threshold)
        return later(request, response)

    async def later(request: Request, response: Awaitable[Response]) -> Response:
        return await _compress(request, await response, threshold)

    return compressed


async def _compress(request: Request, response: Response, threshold: int) -> Response:
    body = response.body
    if isinstance(body, bytes) and len(body) >= threshold:
        response.headers = [*response.headers, ("Vary", "Accept-Encoding")]
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            if len(body) <= _SHORT:
                packed = _gzip(body)
            else:
                # The messages in it are on their way: whoever hangs up meanwhile is noticed when they are sent.
                with trio.CancelScope(shield=True):
                    packed = await trio.to_thread.run_sync(_gzip, body)
            if len(packed) < len(body):
                response.body, response.length = packed, len(packed)
                response.headers.append(("Content-Encoding", "gzip"))
    return response


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, _LEVEL, mtime=0)
