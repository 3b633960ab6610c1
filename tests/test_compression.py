"""Compressed answers: what is compressed for whom."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import pytest
import trio

from ahtransport import Request, Response, Server
from ahtransport._web.compression import accepts_gzip, compressing
from ahtransport.testing import fetch, memory_host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SHORT, LONG, VERY_LONG = "s" * 1023, "l" * 1024, "very long" * 10_000


@pytest.mark.parametrize("header", ["gzip", "deflate, GZIP", "br;q=1, gzip;q=0.1", "*", "x-gzip", "gzip ; q=1, *;q=0"])
def test_who_accepts(header: str) -> None:
    assert accepts_gzip(header)


@pytest.mark.parametrize(
    "header", ["", "deflate, br", "gzip;q=0", "gzip; q=0.000, *", "*;q=0", "identity", "gzippy", ",;=,;q=", "\xff"]
)
def test_who_does_not(header: str) -> None:
    assert not accepts_gzip(header)


async def asked(handler: Callable[[Request], Response | Awaitable[Response]], accept: str = "gzip") -> Response:
    response = handler(Request("GET", "/", [("Accept-Encoding", accept)]))
    return response if isinstance(response, Response) else await response


async def answered(body: str, accept: str = "gzip", threshold: int = 1024) -> Response:
    async def answer(request: Request) -> Response:
        return Response.text(200, body)

    return await asked(compressing(answer, threshold), accept)


@pytest.mark.parametrize("body", [LONG, VERY_LONG])
async def test_long_answers_are_compressed(body: str) -> None:
    response = await answered(body)
    assert isinstance(response.body, bytes)
    assert response.length == len(response.body) < 1024
    assert gzip.decompress(response.body).decode() == body
    assert response.headers[1:] == [("Vary", "Accept-Encoding"), ("Content-Encoding", "gzip")]


async def test_others_are_not() -> None:
    short, unwanted, dense = await answered(SHORT), await answered(LONG, "br"), await answered("ab", threshold=1)
    assert (short.body, short.headers[1:]) == (SHORT.encode(), [])
    assert (unwanted.body, unwanted.headers[1:]) == (LONG.encode(), [("Vary", "Accept-Encoding")])
    assert (dense.body, dense.headers[1:]) == (b"ab", [("Vary", "Accept-Encoding")])


async def test_an_answer_that_is_there_and_short_needs_no_task() -> None:
    answers = [Response.text(200, SHORT), Response.text(200, LONG)]
    handler = compressing(lambda request: answers.pop(0), 1024)
    assert isinstance(handler(Request("GET", "/")), Response)
    assert gzip.decompress((await asked(handler)).body).decode() == LONG  # type: ignore[arg-type]


async def test_streams_are_not() -> None:
    async def pieces() -> object:
        yield b"x" * 2000

    async def answer(request: Request) -> Response:
        return Response(200, pieces(), length=2000)  # type: ignore[arg-type]

    response = await asked(compressing(answer, 1))
    assert response.length == 2000
    assert response.headers == []


async def test_whoever_hangs_up_meanwhile_is_noticed() -> None:
    """The answer comes back, with what tells the session what became of it."""
    with trio.CancelScope() as scope:
        scope.cancel()
        told: list[bool] = []

        async def answer(request: Request) -> Response:
            response = Response.text(200, VERY_LONG)
            response.on_sent = told.append
            return response

        response = await asked(compressing(answer, 1))
        assert response.on_sent is not None
        response.on_sent(False)
    assert told == [False]


@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("transformer", ["engine.io", "socket.io"])
async def test_polls(transformer: str, compression: bool) -> None:
    server = Server(transformer=transformer, compression=compression, origins=["https://example.com"], pathname="/eio")
    server.on_open(lambda connection: connection.send_nowait(VERY_LONG))
    accept = [("Accept-Encoding", "gzip")]
    async with memory_host(server) as host:
        opened = await fetch(host.stream(), "GET", "/eio/?EIO=4&transport=polling", accept)
        found = re.search(rb'"sid":"([^"]+)"', opened.body)
        assert found is not None
        target = f"/eio/?EIO=4&transport=polling&sid={found[1].decode()}"
        if transformer == "socket.io":
            await fetch(host.stream(), "POST", target, [("Content-Type", "text/plain")], b"40")
        answer = await fetch(host.stream(), "GET", target, accept)
        assert answer.headers.get("content-encoding") == ("gzip" if compression else None)
        assert VERY_LONG.encode() in (gzip.decompress(answer.body) if compression else answer.body)
        assert ("Accept-Encoding" in answer.headers.get_all("vary")) is compression
