"""F1, F2 in small, and what ends an HTTP connection: time, the client, the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ahtransport import Response, Server
from hostile.support import under_attack
from hostile.wire import Raw, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from ahtransport import Request


def routes(server: Server) -> None:
    """A route that reads its body, one that takes its time, and some that stream."""

    async def read(request: Request) -> Response:
        return Response(200, await request.read(1_000_000))

    async def wait(request: Request) -> Response:
        await trio.sleep(0.1)
        return Response(200, "waited")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async def stream(request: Request) -> Response:
        return Response(200, endless(), length=2**40)

    async def long(request: Request) -> Response:
        return Response(200, endless(), length=10)

    async def empty(request: Request) -> Response:
        return Response(204)

    async def odd(request: Request) -> Response:
        return Response(299, "odd")

    for handler in (read, wait, stream, long, empty, odd):
        server.route(f"/{handler.__name__}", handler)


async def test_f1_heads_that_do_not_come_to_an_end() -> None:
    async with under_attack(header_timeout=200) as target:

        async def one(data: bytes, statuses: set[bytes]) -> None:
            raw = await target.raw()
            with trio.fail_after(3):
                async with trio.open_nursery() as nursery:

                    @nursery.start_soon
                    async def drip() -> None:
                        for byte in data:
                            await raw.send(bytes([byte]))
                            await trio.sleep(0.02)

                    got = await raw.rest()
                    nursery.cancel_scope.cancel()
            assert got[9:12] in statuses

        async with trio.open_nursery() as nursery:
            for data, statuses in ((b"", {b""}), (request()[:-2], {b"408"}), (b"\r\n" * 50, {b"", b"408"})):
                for _ in range(20):
                    nursery.start_soon(one, data, statuses)


async def test_f2_bodies_that_do_not_come_to_an_end() -> None:
    async with under_attack(routes, body_timeout=200) as target:
        for lines in ("Content-Length: 5", "Transfer-Encoding: chunked"):
            raw = await target.raw()
            await raw.send(request("POST", "/read", lines, body=b"1"))
            answer = await raw.answer()
            assert (answer.status, answer.header("Connection")) == (408, "close")
            assert await raw.rest() == b""


async def test_a18_line_ends_between_requests_are_tolerated() -> None:
    async with under_attack(routes) as target:
        raw = await target.raw()
        await raw.drip(b"\r\n\r\n" + request("GET", "/read") + b"\r\n" + request("GET", "/read"))
        assert [(await raw.answer()).status for _ in range(2)] == [200, 200]


async def test_a18_an_idle_connection_is_closed_without_a_word() -> None:
    async with under_attack(routes, keep_alive=100) as target:
        raw = await target.raw()
        await raw.send(request("GET", "/empty"))
        answer = await raw.answer()
        assert (answer.status, answer.header("Content-Length"), answer.body) == (204, None, b"")
        with trio.fail_after(3):
            assert await raw.rest() == b""


async def test_a18_requests_that_pile_up_wait_outside() -> None:
    async with under_attack(routes) as target:
        raw = await target.raw()
        count = 4000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raw.send, request("GET", "/wait") + request("GET", "/empty") * count)
            assert (await raw.answer()).body == b"waited"
            for _ in range(count):
                assert (await raw.answer()).status == 204


async def test_gate_bodies_and_statuses_that_do_not_fit() -> None:
    async with under_attack(routes) as target:
        target.tracebacks = 1
        raw = await target.raw()
        await raw.send(request("GET", "/long"))
        assert (await raw.rest()).endswith(b"\r\n\r\n")  # not a byte more than fits
        raw = await target.raw()
        await raw.send(request("GET", "/odd") + request("HEAD", "/stream"))
        assert (await raw.answer()).status == 299
        assert (await raw.answer(bodiless=True)).header("Content-Length") == str(2**40)
        raw = await target.raw()
        await raw.send(request("GET", "/stream"))
        await raw.more()
        raw.hang_up()


async def test_f3_a_client_that_does_not_read_its_response(monkeypatch: pytest.MonkeyPatch) -> None:
    from ahtransport._net.channel import Channel

    opened = Channel.__init__

    def hasty(self: Channel, *args: object, **kwargs: object) -> None:
        opened(self, *args, **kwargs)  # type: ignore[arg-type]
        self.flush_timeout = 0.2  # instead of ten seconds

    monkeypatch.setattr(Channel, "__init__", hasty)
    async with under_attack(routes) as target:
        raw = await target.raw()
        await raw.send(request("GET", "/stream"))
        host = target.server._host
        assert host is not None
        await target.wait_for(lambda: host.open_channels == 2)
        await target.wait_for(lambda: host.open_channels == 1)


async def test_h2_stopping_ends_idle_connections_and_lets_requests_finish() -> None:
    server = Server(port=0)
    routes(server)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        idle, busy = [Raw(await trio.open_tcp_stream("127.0.0.1", server.port)) for _ in range(2)]
        await idle.send(request("GET", "/empty"))
        assert (await idle.answer()).status == 204
        await busy.send(request("GET", "/wait"))
        await trio.sleep(0.03)
        server.shutdown()
        with trio.fail_after(3):
            assert await idle.rest() == b""
            answer = await busy.answer()
            assert (answer.body, answer.header("Connection")) == (b"waited", "close")
            assert await busy.rest() == b""
        idle.hang_up()
        busy.hang_up()
