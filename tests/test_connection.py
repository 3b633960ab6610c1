"""A connection's own rules: what the contract leaves to units."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Connection, ConnectionClosed, Server
from ahtransport.testing import Record, WebSocketClient, connect_websocket, memory_host

if TYPE_CHECKING:
    from trio.testing import MockClock


def make_server(handler: Any = None, **options: Any) -> Server:
    return Server(handler, config={}, transformer="websockets", port=0, **options)


# -- reading


async def test_a_parser_whose_error_can_not_be_put_into_words(caplog: pytest.LogCaptureFixture) -> None:
    """The message is dropped, and the connection lives."""

    class Speechless(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    class Parser:
        binary = False

        def encode(self, value: Any) -> bytes:
            return json.dumps(value).encode()

        def decode(self, data: str | bytes) -> Any:
            if "bad" in str(data):
                raise Speechless
            return json.loads(data)

    server = Server(config={}, parser=Parser())
    record = Record(server)
    server.on_message(lambda connection, message: connection.send_nowait(message))
    caplog.set_level(logging.INFO, "ahtransport")
    async with memory_host(server) as host:
        socket = await WebSocketClient.connect(host.stream())
        await socket.send('"bad"')
        await socket.send('"good"')
        assert await socket.receive() == '"good"'
        assert [type(error) for _, error in record.errors] == [Speechless]
        await socket.close()
    assert "Speechless, which can't be put into words: RuntimeError" in caplog.text


@pytest.mark.parametrize("how", ["cancelled", "given a message"])
async def test_who_is_about_to_go_makes_room(how: str) -> None:
    async def handler(connection: Connection) -> None:
        async def read() -> None:
            with scope:
                got.append(await anext(connection))

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            if how == "cancelled":
                scope.cancel()
            else:
                connection.message('"to the first"')  # as a host gives it
            await connection.send("now")
            got.append(await anext(connection))

    got: list[str] = []
    async with memory_host(make_server(handler)) as host, connect_websocket(host.dial) as client:
        assert await client.receive() == "now"
        await client.send("to the second")
        with pytest.raises(ConnectionClosed):
            await client.receive()
    assert got == (["to the first"] if how != "cancelled" else []) + ["to the second"]


async def test_only_one_task_reads() -> None:
    async def handler(connection: Connection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, connection)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await anext(connection)
            nursery.cancel_scope.cancel()
        # Who was cancelled has left: the next may read.
        await connection.send(await anext(connection))

    async with memory_host(make_server(handler)) as host, connect_websocket(host.dial) as client:
        await trio.testing.wait_all_tasks_blocked()
        await client.send("to the second")
        assert await client.receive() == "to the second"


async def test_a_cancelled_reader_loses_no_message() -> None:
    async def handler(connection: Connection) -> None:
        with trio.move_on_after(0):
            await anext(connection)
        waiting.set()
        await more.wait()
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(connection)
        assert scope.cancelled_caught
        async for message in connection:
            await connection.send(message)

    waiting, more = trio.Event(), trio.Event()
    async with memory_host(make_server(handler)) as host, connect_websocket(host.dial) as client:
        await waiting.wait()
        for number in range(3):
            await client.send(number)
        await trio.testing.wait_all_tasks_blocked()
        more.set()
        assert [await client.receive() for _ in range(3)] == [0, 1, 2]


async def test_the_loop_ends_for_good() -> None:
    async def handler(connection: Connection) -> None:
        async for message in connection:
            seen.append(message)
        for _ in range(3):
            with pytest.raises(StopAsyncIteration):
                await anext(connection)
        assert [message async for message in connection] == []
        seen.append("end")

    seen: list[Any] = []
    server = make_server(handler)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send(1)
        await client.close()
        await record.until(lambda: record.closed)
    assert seen == [1, "end"]


async def test_messages_that_a_transform_still_holds_are_waited_for() -> None:
    async def later(envelope: Any) -> None:
        await trio.testing.wait_all_tasks_blocked()

    async def handler(connection: Connection) -> None:
        seen.extend([message async for message in connection])

    seen: list[Any] = []
    server = make_server(handler)
    server.transform("incoming", later)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        for number in range(5):
            await client.send(number)
        await client.close()
        await record.until(lambda: record.closed)
    assert seen == [0, 1, 2, 3, 4]


# -- closing


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000])
async def test_codes_that_may_not_be_sent(code: int) -> None:
    await check_close(ValueError, code, "")


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1014, 3000, 4999])
async def test_codes_that_may_be_sent(code: int) -> None:
    await check_close(None, code, "")


async def test_how_long_a_reason_may_be() -> None:
    await check_close(None, 1000, "x" * 123)
    await check_close(None, 1000, "ü" * 61)
    await check_close(ValueError, 1000, "x" * 124)
    await check_close(ValueError, 1000, "ü" * 62)


async def check_close(error: type[Exception] | None, code: int, reason: str) -> None:
    server = make_server()
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await record.until(lambda: record.opened)
        (connection,) = record.opened
        if error is not None:
            with pytest.raises(error):
                connection.close(code, reason)
            assert connection.state == "open"
        else:
            connection.close(code, reason)
            connection.close(code, reason)
            with pytest.raises(ConnectionClosed):
                await client.receive()
            assert client.closed == (code, reason)


async def test_closing_in_on_open_leaves_no_handler_to_start() -> None:
    async def handler(connection: Connection) -> None:
        raise AssertionError("it must not run")

    server = make_server(handler)
    server.on_open(lambda connection: connection.close(4001, "full"))
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        with pytest.raises(ConnectionClosed, match="4001: full"):
            await client.receive()
        await record.until(lambda: record.closed)
    assert not record.errors


async def test_what_is_sent_in_on_open_comes_first() -> None:
    async def handler(connection: Connection) -> None:
        await connection.send("third")

    server = make_server(handler)
    server.on_open(lambda connection: connection.send_nowait("first"))
    server.on_open(lambda connection: connection.emit("second"))
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        assert await client.receive() == "first"
        assert (await client.receive()).name == "second"
        assert await client.receive() == "third"


async def test_nothing_arrives_after_the_end() -> None:
    server = make_server()
    record = Record(server, messages=True)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send("before")
        await record.until(lambda: record.messages)
        record.opened[0].close()
        await client.send("after")
        with pytest.raises(ConnectionClosed):
            await client.receive()
        await trio.testing.wait_all_tasks_blocked()
    assert [message for _, message in record.messages] == ["before"]


async def test_a_client_that_does_not_answer_a_close_is_cut_off(autojump_clock: MockClock) -> None:
    server = make_server()
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial):
        await record.until(lambda: record.opened)
        record.opened[0].close()
        assert len(record.closed) == 1  # the application need not wait for that
        await trio.sleep(4.9)
        assert server._host is not None
        assert server._host.open_channels == 1
        await trio.sleep(0.2)
        assert server._host.open_channels == 0


# -- tasks


async def test_the_session_without_a_cookie_is_the_connections_own() -> None:
    async def handler(connection: Connection) -> None:
        async with connection.session.change() as data:
            data["number"] = data.get("number", 0) + 1
        await connection.send(dict(connection.session))

    async with memory_host(make_server(handler)) as host:
        for _ in range(2):
            async with connect_websocket(host.dial) as client:
                assert await client.receive() == {"number": 1}


async def test_many_sends_let_others_have_their_turn() -> None:
    turns = 0

    async def handler(connection: Connection) -> None:
        connection.start_soon(count)
        for number in range(320):
            await connection.send(number)
        await connection.send({"turns": turns})

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with memory_host(make_server(handler)) as host, connect_websocket(host.dial) as client:
        assert [await client.receive() for _ in range(320)] == list(range(320))
        assert (await client.receive())["turns"] >= 5


async def test_a_task_started_at_the_last_moment_ends_at_once() -> None:
    async def late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append("ended")

    def opened(connection: Connection) -> None:
        connection.start_soon(late)
        connection.close()

    seen: list[str] = []
    server = make_server()
    server.on_open(opened)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial):
        await record.until(lambda: record.closed)
    assert seen == ["ended"]


@pytest.mark.parametrize("style", ["handler", "message", "task", "group"])
async def test_an_application_that_only_learns_that_the_client_is_gone_has_not_failed(
    style: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def keep_sending(connection: Connection, *args: Any) -> None:
        while True:
            await connection.send("x" * 1000)

    async def keep_sending_twice(connection: Connection, *args: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_sending, connection)
            nursery.start_soon(keep_sending, connection)

    server = make_server(keep_sending if style == "handler" else None)
    if style == "task":
        server.on_open(lambda connection: connection.start_soon(keep_sending, connection))
    elif style != "handler":
        server.on_message(keep_sending if style == "message" else keep_sending_twice)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send("go")
        await client.receive()
        await client.abort()
        await record.until(lambda: record.closed)
    assert not record.errors
    assert [code for _, code, _ in record.closed] == [1006]
    assert not [entry for entry in caplog.records if entry.levelname == "ERROR"]


# -- the order of what is called


@pytest.mark.parametrize("when", ["on_open", "on_message"])
async def test_nothing_is_called_after_on_close(when: str) -> None:
    """Whoever closes in the first function has not closed before the last."""

    async def later(connection: Connection, *message: Any) -> None:
        calls.append("later")

    def first(connection: Connection, *message: Any) -> None:
        calls.append("first")
        connection.close(4000)

    calls: list[str] = []
    server = make_server()
    register = getattr(server, when)
    register(first)
    register(lambda connection, *message: calls.append("second"))
    register(later)
    server.on_close(lambda connection, code, reason: calls.append("closed"))
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send("a message")
        with pytest.raises(ConnectionClosed):
            await client.receive()
        await trio.testing.wait_all_tasks_blocked()
    assert calls == (["first", "second", "later", "closed"] if when == "on_open" else ["first", "closed"])
