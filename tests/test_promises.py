"""What a connection promises when a parser, a transform or a wrapped function is not as simple as most."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Connection, ConnectionClosed, Envelope, Server
from ahtransport.abc import Ack, Event
from ahtransport.testing import PrimusClient, Record, WebSocketClient, connect_websocket, memory_host
from socket_io.support import hall

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock


class ObjectsOnly:
    """A parser that does not carry texts, and so none of Primus' control messages."""

    def encode(self, value: Any) -> str:
        if not isinstance(value, dict):
            raise TypeError("only objects")
        return json.dumps(value)

    def decode(self, data: str | bytes) -> Any:
        return json.loads(data)


def make_server(handler: Any = None, **options: Any) -> Server:
    return Server(handler, config={}, **{"transformer": "websockets", "port": 0, **options})


def later(function: Callable[..., Any]) -> Callable[..., Any]:
    """Hide that a function is async, as decorators do that are not written for it."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    del wrapper.__wrapped__
    return wrapper


async def everything(client: PrimusClient) -> None:
    """Read to the end."""
    while True:
        await client.receive()


# -- the goodbye and the heartbeat go through the parser


@pytest.mark.parametrize("how", ["the handler ends", "it closes", "a transform is at work", "the server stops"])
async def test_a_parser_that_can_not_say_goodbye(how: str, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(connection: Connection) -> None:
        async for _ in connection:
            if how == "it closes":
                connection.close()
            elif how == "a transform is at work":
                connection.send_nowait({"a": 2})
                connection.close()
            elif how == "the server stops":
                server.shutdown()
            else:
                return

    async def slow(envelope: Envelope) -> None:
        await trio.lowlevel.checkpoint()

    server = make_server(handler, parser=ObjectsOnly(), destroy_clients_on_shutdown=True)
    if how == "a transform is at work":
        server.transform("outgoing", slow)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send({"a": 1})
        with pytest.raises(ConnectionClosed):
            await everything(client)
        if how != "the server stops":
            async with connect_websocket(host.dial):
                await record.until(lambda: len(record.opened) == 2)
    assert len(record.closed) == len(record.opened)
    assert "the goodbye to connection" in caplog.text


async def test_a_ping_that_fails_is_not_the_last(autojump_clock: MockClock) -> None:
    class Moody(ObjectsOnly):
        fails = 1

        def encode(self, value: Any) -> str:
            if str(value).startswith("primus::ping::") and self.fails:
                self.fails -= 1
                raise ValueError("not now")
            return json.dumps(value)

    server = make_server(parser=Moody(), ping_interval=10_000, timeout=35_000)
    record = Record(server)
    async with memory_host(server) as host:
        await WebSocketClient.connect(host.stream())  # it says nothing
        await record.until(lambda: record.opened)
        began = trio.current_time()
        await record.until(lambda: record.closed)
        assert trio.current_time() - began <= 36
    assert record.closed[0][1] == 1001


# -- what can't be carried is the sender's mistake


@pytest.mark.parametrize("kind", ["none", "plain"])
async def test_a_broadcast_that_can_not_be_carried_is_its_callers_mistake(kind: str) -> None:
    def see(envelope: Envelope) -> None:
        """Change nothing."""

    server = make_server()
    if kind == "plain":
        server.transform("outgoing", see)
    record = Record(server)
    async with (
        memory_host(server) as host,
        connect_websocket(host.dial) as first,
        connect_websocket(host.dial) as second,
    ):
        await record.until(lambda: len(record.opened) == 2)
        for send in (server.broadcast, functools.partial(server.emit, "news")):
            with pytest.raises(TypeError):
                send(object())
        server.broadcast("fine")
        assert [await client.receive() for client in (first, second)] == ["fine"] * 2
        assert not record.closed


async def test_what_an_async_transform_makes_and_nobody_can_carry(caplog: pytest.LogCaptureFixture) -> None:
    """Who waits is told; else the log is, and on_error. The clients have done nothing."""

    async def spoil(envelope: Envelope) -> None:
        await trio.lowlevel.checkpoint()
        if envelope.data == "spoil":
            envelope.data = object()

    server = make_server()
    server.transform("outgoing", spoil)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await record.until(lambda: record.opened)
        (connection,) = record.opened
        with pytest.raises(TypeError):
            await connection.send("spoil")
        with pytest.raises(TypeError):
            await connection.call("question", object())
        assert not record.errors
        connection.send_nowait("spoil")
        server.broadcast("spoil")
        await connection.send("fine")
        assert await client.receive() == "fine"
        assert not record.closed
    assert [type(error) for _, error in record.errors] == [TypeError] * 2
    assert caplog.text.count("can't be carried") == 2


# -- calls


async def test_a_call_takes_no_longer_than_it_may(autojump_clock: MockClock) -> None:
    """Whatever it waits for: the answer, a client that does not read, a transform."""

    async def slow(envelope: Envelope) -> None:
        await trio.sleep(100)

    server = make_server()
    server.transform("outgoing", slow)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial):
        await record.until(lambda: record.opened)
        began = trio.current_time()
        with pytest.raises(trio.TooSlowError, match="no answer in time"):
            await record.opened[0].call("question", timeout=5)
        assert trio.current_time() - began == 5
        record.opened[0].close()


async def test_a_call_that_its_own_connections_messages_keep_waiting_says_so(autojump_clock: MockClock) -> None:
    async def ask(connection: Connection) -> None:
        try:
            await connection.call("question", timeout=5)
        except trio.TooSlowError as error:
            errors.append(str(error))

    errors: list[str] = []
    server = make_server(inbox=2)
    server.on("ask")(ask)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        for _ in range(4):
            await client.send_packet(Event("ask", []))
        await trio.sleep(6)
    assert "it is paused" in errors[0]


# -- on_open comes first


@pytest.mark.parametrize("hidden", [False, True])
async def test_a_handler_begins_when_on_open_is_done(hidden: bool, autojump_clock: MockClock) -> None:
    async def on_open(connection: Connection) -> None:
        await trio.sleep(1)
        seen.append("opened")

    async def handler(connection: Connection) -> None:
        async for message in connection:
            seen.append(message)

    seen: list[Any] = []
    server = make_server(handler)
    server.on_open(later(on_open) if hidden else on_open)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        for number in range(3):
            await client.send(number)
        await trio.sleep(2)
    await record.until(lambda: record.closed)
    assert seen == ["opened", 0, 1, 2]


@pytest.mark.parametrize("end", ["closes", "fails"])
async def test_a_handler_does_not_begin_where_on_open_ends_the_connection(end: str, autojump_clock: MockClock) -> None:
    async def on_open(connection: Connection) -> None:
        await trio.sleep(1)
        if end == "fails":
            raise ValueError("no")
        connection.close(4003, "not you")
        await trio.sleep(1)

    async def handler(connection: Connection) -> None:
        begun.append(connection)

    begun: list[Connection] = []
    server = make_server(handler)
    server.on_open(on_open)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send("secret")
        with pytest.raises(ConnectionClosed):
            await client.receive()
        await record.until(lambda: record.closed)
    assert not begun


# -- functions that are async, and do not look like it


@pytest.mark.parametrize("transformer", ["websockets", "socket.io"])
@pytest.mark.parametrize("busy", [False, True])
async def test_events_of_wrapped_async_functions(busy: bool, transformer: str, autojump_clock: MockClock) -> None:
    async def add(connection: Connection, one: int, two: int) -> int:
        await trio.lowlevel.checkpoint()
        return one + two

    async def wait(connection: Connection) -> None:
        await trio.lowlevel.checkpoint()

    if transformer == "socket.io":
        async with hall() as place:
            place.server.on("add")(later(add))
            place.server.on("wait")(wait)
            wire = await place.connected()
            if busy:
                await wire.send('2["wait"]')
            await wire.send('21["add",1,2]')
            assert await wire.receive() == "31[3]"
            await wire.socket.close()
        return
    server = make_server()
    server.on("add")(later(add))
    server.on("wait")(wait)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        if busy:
            await client.send_packet(Event("wait", []))
        await client.send_packet(Event("add", [1, 2], 1))
        assert await client.receive() == Ack(1, [3])


async def test_an_on_close_that_is_async_and_does_not_look_like_it() -> None:
    async def on_close(connection: Connection, code: int, reason: str) -> None:
        await trio.lowlevel.checkpoint()
        told.append(code)
        done.set()

    told: list[int] = []
    done = trio.Event()
    server = make_server()
    server.on_close(later(on_close))
    async with memory_host(server) as host:
        async with connect_websocket(host.dial):
            pass
        with trio.fail_after(5):
            await done.wait()
    assert len(told) == 1


@pytest.mark.parametrize("direction", ["incoming", "outgoing"])
async def test_a_transform_that_is_async_and_does_not_look_like_it_lets_nothing_through(direction: str) -> None:
    async def no_secrets(envelope: Envelope) -> bool:
        return str(envelope.data) != "secret"

    server = make_server()
    server.transform(direction, later(no_secrets))  # type: ignore[arg-type]
    record = Record(server, messages=True)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await record.until(lambda: record.opened)
        if direction == "incoming":
            await client.send("secret")
        else:
            server.broadcast("secret")
        with pytest.raises(ConnectionClosed, match="1011"):
            await client.receive()
    assert not record.messages
    assert [type(error) for _, error in record.errors] == [TypeError]
