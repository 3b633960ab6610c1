"""First gate: whatever a peer sends or the application raises ends one connection, never the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Connection, Reject, Response, Server
from hostile.support import Target, under_attack
from hostile.wire import TEXT, frame, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ahtransport._http import Request


def failure(kind: str) -> BaseException:
    """Make something to raise."""
    return {
        "Exception": RuntimeError("on purpose"),
        "ExceptionGroup": ExceptionGroup("two", [ValueError("one"), ExceptionGroup("in", [KeyError("two")])]),
        "BaseExceptionGroup": BaseExceptionGroup("worse", [SystemExit(3), ValueError("one")]),
        "SystemExit": SystemExit(3),
        "RecursionError": RecursionError("deep"),
        "MemoryError": MemoryError(),
    }[kind]


FAILURES = ["Exception", "ExceptionGroup", "BaseExceptionGroup", "SystemExit", "RecursionError", "MemoryError"]


@pytest.mark.parametrize("kind", FAILURES)
async def test_gate_message_handlers_that_raise_end_their_connection_alone(kind: str) -> None:
    """Inline, in the worker and in a task of the connection: 1011, one record each, everybody else is served."""

    def prepare(server: Server) -> None:
        @server.on("inline")
        def inline(connection: Connection) -> None:
            raise failure(kind)

        @server.on("waiting")
        async def waiting(connection: Connection) -> None:
            await trio.lowlevel.checkpoint()
            raise failure(kind)

        @server.on("task")
        def task(connection: Connection) -> None:
            async def fail() -> None:
                await trio.lowlevel.checkpoint()
                raise failure(kind)

            connection.start_soon(fail)

    async with under_attack(prepare) as target:
        for event in ("inline", "waiting", "task"):
            ws = await target.websocket()
            target.tracebacks += 1
            await ws.send(frame(TEXT, b'{"type":0,"data":["%s"]}' % event.encode()))
            assert await ws.closing() == 1011
        assert len(target.log.records) == 3


@pytest.mark.parametrize("kind", FAILURES)
async def test_gate_iterating_handlers_that_raise_end_their_connection_alone(kind: str) -> None:
    async def handler(connection: Connection) -> None:
        async for message in connection:
            if message == "fail":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    raise failure(kind)
            await connection.send(message)

    async with under_attack(handler=handler) as target:
        ws = await target.websocket()
        target.tracebacks = 1
        await ws.send(frame(TEXT, b'"fail"'))
        assert await ws.closing() == 1011


@pytest.mark.parametrize("kind", FAILURES)
async def test_gate_callbacks_around_a_connection_that_raise(kind: str) -> None:
    """on_open fails, on_close fails: the connection ends, or was ending anyway."""

    def prepare(server: Server) -> None:
        @server.on_open
        def opened(connection: Connection) -> None:
            if "fail" in connection.query:
                raise failure(kind)

        @server.on_close
        def closed(connection: Connection, code: int, reason: str) -> None:
            if "late" in connection.query:
                raise failure(kind)

    async with under_attack(prepare) as target:
        target.tracebacks = 2
        assert await (await target.websocket(target="/primus?fail")).closing() == 1011
        (await target.websocket(target="/primus?late")).hang_up()


@pytest.mark.parametrize("kind", FAILURES)
async def test_gate_request_handlers_that_raise_are_answered_with_500(kind: str) -> None:
    def prepare(server: Server) -> None:
        async def fail(request: Request) -> Response:
            await trio.lowlevel.checkpoint()
            raise failure(kind)

        server.route("/fail", fail)

    async with under_attack(prepare) as target:
        target.tracebacks = 1
        answer = await target.exchange(request("GET", "/fail"))
        assert (answer.status, answer.body) == (500, b'{"error":"internal server error"}')


async def _short() -> AsyncIterator[bytes]:
    yield b"12"


async def _broken() -> AsyncIterator[bytes]:
    yield b"12"
    raise RuntimeError("on purpose")


@pytest.mark.parametrize(
    "answer",
    [None, {"status": 200}, Response(99), Response(600), Response(200, b"", [("X", 5)]), Response(200, b"", [("X",)])],  # type: ignore[list-item]
    ids=["nothing", "a mapping", "status 99", "status 600", "a number as a header", "half a header"],
)
async def test_gate_answers_that_are_none_become_500(answer: Any) -> None:
    def prepare(server: Server) -> None:
        async def handle(request: Request) -> Response:
            return answer  # type: ignore[no-any-return]

        server.route("/odd", handle)

    async with under_attack(prepare) as target:
        target.tracebacks = 1
        assert (await target.exchange(request("GET", "/odd"))).status == 500


@pytest.mark.parametrize("body", [_short, _broken])
async def test_gate_streams_that_break_off_end_the_connection(body: Any) -> None:
    """The client must not take what came for the whole: the connection closes before the promised length."""

    def prepare(server: Server) -> None:
        async def handle(request: Request) -> Response:
            return Response(200, body(), length=4)

        server.route("/short", handle)

    async with under_attack(prepare) as target:
        target.tracebacks = 1
        raw = await target.raw()
        await raw.send(request("GET", "/short"))
        got = await raw.rest()
        assert b"Content-Length: 4\r\n" in got
        assert got.endswith(b"\r\n\r\n12")


@pytest.mark.parametrize("kind", FAILURES)
async def test_gate_middleware_and_authorizers_that_raise_refuse(kind: str) -> None:
    def prepare(server: Server) -> None:
        @server.use
        def look(request: Request) -> None:
            if "middleware" in request.query:
                raise failure(kind)

        @server.authorize
        async def decide(request: Request) -> None:
            await trio.lowlevel.checkpoint()
            if "authorizer" in request.query:
                raise failure(kind)

    async with under_attack(prepare) as target:
        target.tracebacks = 2
        assert await _refusal(target, "middleware") == 500
        assert await _refusal(target, "authorizer") == 403
        assert target.opened == 1


async def _refusal(target: Target, which: str) -> int:
    from hostile.wire import upgrade

    return (await target.exchange(upgrade(target=f"/primus?{which}"))).status


async def test_gate_a_header_that_breaks_the_handshake_opens_nothing() -> None:
    """The application's own headers break the 101: 500, and the connection that was opened for it is closed again."""

    def prepare(server: Server) -> None:
        @server.use
        def add(request: Request) -> None:
            if "split" in request.query:
                request.response_headers.append(("X-Split", "a\r\nSet-Cookie: b=c"))

    async with under_attack(prepare) as target:
        target.tracebacks = 1
        assert await _refusal(target, "split") == 500
        assert len(target.closed) == target.opened - 1


async def test_gate_a_refusal_with_an_impossible_header_is_a_500() -> None:
    def prepare(server: Server) -> None:
        @server.authorize
        def decide(request: Request) -> None:
            if "no" in request.query:
                raise Reject(401, "no \ud800", [("WWW-Authenticate", "a\nb")])

    async with under_attack(prepare) as target:
        target.tracebacks = 1
        assert await _refusal(target, "no") == 500
