"""Handlers: inline and async ones, those that fail, and tasks that belong to a connection."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel

from ahtransport._errors import ConnectionClosed
from ahtransport.abc import Event
from ahtransport.testing._contract.tools import CLOSE, Gate, OnStage, ask, echo, ended, in_memory, take
from ahtransport.testing._stage import Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ahtransport._connection import Connection
    from ahtransport._server import Server
    from ahtransport.testing._clients import MessageClient
    from ahtransport.testing._stage import Stage


class Trouble(BaseException):
    """Not even an Exception."""


async def fail_plainly() -> None:
    raise RuntimeError("a bug")


async def fail_in_a_group() -> None:
    raise BaseExceptionGroup("several", [ValueError("one"), BaseExceptionGroup("more", [Trouble("two")])])


async def fail_in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_plainly)
        nursery.start_soon(trio.sleep_forever)


async def leave() -> None:
    raise SystemExit(3)


async def fail_gravely() -> None:
    raise Trouble("very bad")


async def leak_a_cancellation() -> None:
    kept: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            kept.append(error)
            raise
    raise kept[0]


FAILURES = [fail_plainly, fail_in_a_group, fail_in_a_nursery, leave, fail_gravely, leak_a_cancellation]


@asynccontextmanager
async def held(stage: Stage, answer: Callable[[Connection, Any], Awaitable[object]]) -> AsyncIterator[MessageClient]:
    """Connect a client to a task that begins with five messages waiting for it, the numbers 0 to 4."""
    gate = Gate(answer)
    async with stage.serving(stage.server(gate.handle)), stage.connect() as client:
        for number in range(5):
            await client.send(number)
        await stage.eventually(lambda: gate.holds(5))
        gate.begin.set()
        yield client


class EventStyle:
    """An application in the style of events, inline or not."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def on_open(self, connection: Connection) -> None:
        self.calls.append("open")

    async def on_message(self, connection: Connection, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.calls.append(message)
        await connection.send(message)

    def on_close(self, connection: Connection, code: int, reason: str) -> None:
        self.calls.append("close")


class Handlers(OnStage):
    """The application's functions, and what becomes of a connection when one fails."""

    async def test_an_object_with_handlers(self, stage: Stage) -> None:
        events = EventStyle()
        async with stage.serving(stage.server(events)):
            async with stage.connect() as client:
                for number in range(50):
                    await client.send(number)
                assert await take(client, 50) == list(range(50))
                await client.close()
            await stage.eventually(lambda: len(events.calls) == 52)
        assert events.calls == ["open", *range(50), "close"]

    async def test_inline_handlers_need_no_task(self, stage: Stage) -> None:
        server = stage.server()
        record = Record(server, messages=True)

        @server.on_message
        def answer(connection: Connection, message: Any) -> None:
            connection.send_nowait([message, server._application.shared.busy])

        async with stage.serving(server), stage.connect() as client:
            for number in range(10):
                await client.send(number)
            assert await take(client, 10) == [[number, 0] for number in range(10)]
        assert [message for _, message in record.messages] == list(range(10))

    async def test_inline_and_async_handlers_keep_one_order(self, stage: Stage) -> None:
        calls: list[Any] = []
        server = stage.server()

        @server.on_open
        async def opened(connection: Connection) -> None:
            await trio.sleep(0.01)
            calls.append("open")

        @server.on("slow")
        async def slow(connection: Connection, value: Any) -> None:
            await trio.sleep(0.01)
            calls.append(value)

        @server.on_message
        def message(connection: Connection, value: Any) -> None:
            calls.append(value)
            if value == "last":
                connection.send_nowait("done")

        async with stage.serving(server), stage.connect() as client:
            await client.send(1)
            await client.send_packet(Event("slow", [2]))
            await client.send(3)
            await client.send_packet(Event("slow", [4]))
            await client.send("last")
            assert await client.receive() == "done"
        assert calls == ["open", 1, 2, 3, 4, "last"]

    @pytest.mark.parametrize("failure", FAILURES)
    @pytest.mark.parametrize("where", ["handler", "on_message", "on_open", "event", "task", "incoming", "outgoing"])
    async def test_a_handler_that_fails_ends_its_own_connection(
        self, stage: Stage, where: str, failure: Callable[[], Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        server = stage.server(echo if where in ("event", "task", "incoming", "outgoing", "on_open") else None)
        record = Record(server)
        install(server, where, failure)
        async with stage.serving(server), stage.connect(query={"canary": "1"}) as canary:
            async with stage.connect() as client:
                if where == "event":
                    await client.send_packet(Event("fail", [], 1))
                    if stage.variant.surviving:
                        await record.until(lambda: record.errors)
                        assert await ask(client, "still here") == "still here"
                        assert [connection.state for connection, _ in record.errors] == ["open"]
                        return
                elif where != "on_open":
                    with suppress(ConnectionClosed):  # a task may have failed before
                        await client.send("fail")
                await ended(client)
                stage.check_closed(client, 1011)
                assert CLOSE not in client.control  # it may come back
            await record.until(lambda: record.closed)
            assert await ask(canary, "still here") == "still here"
            assert [code for _, code, _ in record.closed] == [1011]
            assert len(record.errors) == 1
            assert record.errors[0][0] is record.closed[0][0]
        assert len([line for line in caplog.records if line.levelname == "ERROR"]) <= 1

    @pytest.mark.parametrize("failure", [RuntimeError, SystemExit, Trouble])
    @pytest.mark.parametrize("where", ["on_message", "on_open", "event", "incoming", "outgoing"])
    async def test_an_inline_handler_that_fails_ends_its_own_connection(
        self, stage: Stage, where: str, failure: type[BaseException]
    ) -> None:
        def fail(*args: Any) -> None:
            raise failure("a bug")

        server = stage.server(None if where == "on_message" else echo)
        record = Record(server)
        install(server, where, fail, inline=True)
        async with stage.serving(server), stage.connect(query={"canary": "1"}) as canary:
            async with stage.connect() as client:
                if where == "event":
                    await client.send_packet(Event("fail", [], 1))
                    if stage.variant.surviving:
                        await record.until(lambda: record.errors)
                        assert await ask(client, "still here") == "still here"
                        assert [connection.state for connection, _ in record.errors] == ["open"]
                        return
                elif where != "on_open":
                    await client.send("fail")
                await ended(client)
                stage.check_closed(client, 1011)
            await record.until(lambda: record.closed)
            assert await ask(canary, "still here") == "still here"
            assert len(record.closed) == len(record.errors) == 1

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_on_close_and_on_error_may_fail(self, stage: Stage, asynchronous: bool) -> None:
        def fail(*args: Any) -> None:
            raise Trouble("a bug")

        async def fail_later(*args: Any) -> None:
            await trio.lowlevel.checkpoint()
            raise Trouble("a bug")

        server = stage.server(echo)
        server.on_close(fail_later if asynchronous else fail)
        server.on_error(fail)
        record = Record(server)
        async with stage.serving(server), stage.connect() as canary:
            async with stage.connect() as client:
                if stage.variant.forgiving:
                    await client.send_encoded("{")
                assert await ask(client, 1) == 1
                await client.close()
            await record.until(lambda: record.closed)
            assert await ask(canary, "still here") == "still here"

    async def test_what_a_task_has_sent_does_not_wait_for_it(self, stage: Stage) -> None:
        go_on = trio.Event()

        async def answer(connection: Connection, message: Any) -> None:
            await connection.send(message)
            if message == 1:  # with more that wait
                await go_on.wait()

        async with held(stage, answer) as client:
            assert await take(client, 2) == [0, 1]
            go_on.set()
            assert await take(client, 3) == [2, 3, 4]
            assert await ask(client, "and then") == "and then"

    @pytest.mark.parametrize("how", ["fails", "closes", "returns"])
    async def test_what_a_task_has_sent_before_its_end_arrives(self, stage: Stage, how: str) -> None:
        async def answer(connection: Connection, message: Any) -> str:
            await connection.send(message)
            if message == 2:
                if how == "fails":
                    raise RuntimeError("a bug")
                if how == "closes":
                    connection.close(4000, "enough")
                    await trio.sleep_forever()
                return "over"
            return "more"

        async with held(stage, answer) as client:
            assert await ended(client) == [0, 1, 2]
            stage.check_closed(client, {"fails": 1011, "closes": 4000, "returns": 1000}[how])

    async def test_a_handler_that_returns_ends_its_connection(self, stage: Stage) -> None:
        async def handler(connection: Connection) -> None:
            await connection.send(await anext(connection))

        server = stage.server(handler)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            await client.send("only one")
            assert await ended(client) == ["only one"]
            stage.check_closed(client, 1000)
            assert client.control == [CLOSE]
        assert [code for _, code, _ in record.closed] == [1000]

    async def test_a_handler_that_closes_may_go_on(self, stage: Stage) -> None:
        seen: list[Any] = []

        async def handler(connection: Connection) -> None:
            connection.close(4000, "enough")
            connection.close(4001, "twice")
            seen.append(connection.state)
            seen.extend([message async for message in connection])
            for sending in (connection.send, connection.call):
                with pytest.raises(ConnectionClosed) as closed:
                    await sending("too late")
                seen.append((closed.value.code, closed.value.reason))
            for sending_now in (connection.send_nowait, connection.emit):
                with pytest.raises(ConnectionClosed):
                    sending_now("too late")
            with pytest.raises(ConnectionClosed):
                connection.start_soon(trio.sleep, 0)
            seen.append("the end")

        server = stage.server(handler)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            assert await ended(client) == []
            stage.check_closed(client, 4000, "enough")
            await record.until(lambda: record.closed)
        assert seen[0] in ("closing", "closed")  # where there is nothing to wait for, it is closed at once
        assert seen[1:] == [(4000, "enough"), (4000, "enough"), "the end"]
        assert [(code, reason) for _, code, reason in record.closed] == [(4000, "enough")]

    @in_memory
    async def test_a_handler_that_does_not_notice_the_end_is_cancelled(self, stage: Stage) -> None:
        async def handler(connection: Connection) -> None:
            started.set()
            try:
                await trio.sleep_forever()
            finally:
                ended_at.append(trio.current_time())

        started, ended_at = trio.Event(), list[float]()
        server = stage.server(handler)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            await started.wait()
            await client.abort()
            start = trio.current_time()
            await record.until(lambda: record.closed)
            assert ended_at == pytest.approx([start + 5])  # close_timeout

    async def test_tasks_end_with_their_connection(self, stage: Stage) -> None:
        async def tick(connection: Connection, word: str) -> None:
            try:
                await connection.send(word)
                await trio.sleep_forever()
            finally:
                stopped.append((word, len(record.closed)))

        def opened(connection: Connection) -> None:
            connection.start_soon(tick, connection, "tick")
            connection.start_soon(tick, connection, "tock")

        stopped: list[tuple[str, int]] = []
        server = stage.server()
        server.on_open(opened)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            assert sorted(await take(client, 2)) == ["tick", "tock"]
            await client.close()
            await record.until(lambda: record.closed)
            assert sorted(stopped) == [("tick", 0), ("tock", 0)]


def install(server: Server, where: str, failure: Callable[..., Any], *, inline: bool = False) -> None:
    """Have a server fail somewhere, for everybody but canaries."""

    async def maybe(connection: Connection, *args: Any) -> Any:
        if "canary" not in connection.query:
            await failure()

    def maybe_now(connection: Connection, *args: Any) -> None:
        if "canary" not in connection.query:
            failure()

    async def maybe_echo(connection: Connection, message: Any) -> None:
        await maybe(connection)
        await connection.send(message)

    def maybe_echo_now(connection: Connection, message: Any) -> None:
        maybe_now(connection)
        connection.send_nowait(message)

    async def handler(connection: Connection) -> None:
        async for message in connection:
            await maybe_echo(connection, message)

    call = maybe_now if inline else maybe
    match where:
        case "handler":
            server._take(handler)
        case "on_message":
            server.on_message(maybe_echo_now if inline else maybe_echo)
        case "on_open":
            server.on_open(call)
        case "event":
            server.on("fail")(call)
        case "task":
            server.on_open(lambda connection: connection.start_soon(maybe, connection))
        case "incoming" | "outgoing":
            transform = (
                (lambda envelope: maybe_now(envelope.connection))
                if inline
                else (lambda envelope: maybe(envelope.connection))
            )
            server.transform(where, transform if inline else _asynchronous(transform))


def _asynchronous(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def call(argument: Any) -> Any:
        return await function(argument)

    return call
