"""Message transforms: what the contract leaves to units."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from ahtransport import Connection, ConnectionClosed, Envelope, Server
from ahtransport._transforms import is_async
from ahtransport.abc import Ack, Event
from ahtransport.testing import PrimusClient, Record, connect_websocket, memory_host
from socket_io.support import hall


def make_server(handler: Any = None, **options: Any) -> Server:
    return Server(handler, config={}, transformer="websockets", port=0, **options)


async def echo(connection: Connection) -> None:
    async for message in connection:
        await connection.send(message)


async def ask(client: PrimusClient, message: Any) -> Any:
    await client.send(message)
    return await client.receive()


class Callable_:
    async def __call__(self) -> None: ...


def test_what_is_async() -> None:
    async def function() -> None: ...

    assert is_async(function)
    assert is_async(Callable_())
    assert is_async(Callable_().__call__)
    assert not is_async(lambda: None)
    assert not is_async(Callable_)
    assert not is_async(5)


def test_there_are_two_directions() -> None:
    with pytest.raises(ValueError, match="sideways"):
        make_server().transform("sideways", lambda envelope: None)  # type: ignore[arg-type]


async def test_they_run_in_order_of_registration_and_may_be_mixed() -> None:
    def mark(letter: str) -> Any:
        def transform(envelope: Envelope) -> None:
            envelope.data += letter

        async def transform_later(envelope: Envelope) -> None:
            await trio.lowlevel.checkpoint()
            envelope.data += letter

        return transform if letter.islower() else transform_later

    server = make_server(echo)
    for letter in "aBcD":
        server.transform("incoming", mark(letter))
    for letter in "xYz":
        server.transform("outgoing", mark(letter))
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        assert await ask(client, "-") == "-aBcDxYz"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("wrong", [None, [], "say", [5, 1], ("say",)])
async def test_an_event_stays_a_list_that_begins_with_its_name(wrong: Any, asynchronous: bool) -> None:
    def transform(envelope: Envelope) -> None:
        envelope.data = wrong

    async def transform_later(envelope: Envelope) -> None:
        envelope.data = wrong

    server = make_server()
    server.on("say")(lambda connection, *args: None)
    server.transform("incoming", transform_later if asynchronous else transform)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Event("say", [1]))
        with pytest.raises(ConnectionClosed, match="1011"):
            await client.receive()
        await record.until(lambda: record.closed)
    assert [type(error) for _, error in record.errors] == [TypeError]


async def test_acknowledgements_pass_untouched() -> None:
    server = make_server()
    server.on("ask")(lambda connection, value: value)
    server.transform("outgoing", lambda envelope: False)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Event("ask", [5], 1))
        assert await client.receive() == Ack(1, [5])


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_acknowledgement_comes_after_what_was_sent_before_it(asynchronous: bool) -> None:
    """And is still none of the transforms' business."""

    def see(envelope: Envelope) -> None:
        seen.append(envelope.data)

    async def see_later(envelope: Envelope) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(envelope.data)

    def ask(connection: Connection, *values: int) -> int:
        for value in values:
            connection.emit("before", value)
        return len(values)

    seen: list[Any] = []
    server = make_server()
    server.on("ask")(ask)
    server.transform("outgoing", see_later if asynchronous else see)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Event("ask", [5, 6], 1))
        assert [await client.receive() for _ in range(3)] == [Event("before", [5]), Event("before", [6]), Ack(1, [2])]
        await client.send_packet(Event("ask", [], 2))  # nothing is before this one
        assert await client.receive() == Ack(2, [0])
    assert seen == [["before", 5], ["before", 6]]


async def test_an_answer_that_can_t_be_sent_is_its_functions_failure_behind_a_transform_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """With Socket.IO it costs the acknowledgement, and the connection lives on."""

    async def later(envelope: Envelope) -> None:
        await trio.lowlevel.checkpoint()

    def ask(connection: Connection, value: int) -> object:
        connection.emit("before", value)
        return object() if value else "answer"

    def prepare(server: Server) -> None:
        server.on("ask")(ask)
        server.transform("outgoing", later)

    async with hall(prepare) as place:
        wire = await place.connected()
        await wire.send('21["ask",1]')
        assert await wire.receive() == '2["before",1]'
        await wire.send('22["ask",0]')
        assert [await wire.receive() for _ in range(2)] == ['2["before",0]', '32["answer"]']
        place.tracebacks = 1
        await wire.close()


async def test_an_acknowledgement_leaves_before_a_close_too() -> None:
    async def later(envelope: Envelope) -> None:
        await trio.lowlevel.checkpoint()

    def ask(connection: Connection) -> str:
        connection.emit("before")
        connection.start_soon(close, connection)
        return "answer"

    async def close(connection: Connection) -> None:
        connection.close(4000)

    server = make_server(close_timeout=10_000)
    server.on("ask")(ask)
    server.transform("outgoing", later)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Event("ask", [], 1))
        assert [await client.receive(), await client.receive()] == [Event("before", []), Ack(1, ["answer"])]
        with pytest.raises(ConnectionClosed, match="4000"):
            await client.receive()


async def test_events_keep_their_acknowledgement() -> None:
    def rename(envelope: Envelope) -> None:
        envelope.data = ["renamed", *envelope.data[1:]]

    server = make_server()
    server.on("renamed")(lambda connection, value: value)
    server.on("old name")(lambda connection, value: "wrong")
    server.transform("incoming", rename)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Event("old name", [5], 1))
        assert await client.receive() == Ack(1, [5])


async def test_a_slow_outgoing_transform_keeps_the_order() -> None:
    async def later(envelope: Envelope) -> None:
        for _ in range(5 if envelope.data % 2 else 1):
            await trio.lowlevel.checkpoint()

    async def handler(connection: Connection) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(connection.send, number)
                await trio.testing.wait_all_tasks_blocked()
        for number in range(10, 20):
            connection.send_nowait(number)
        await connection.send(20)

    server = make_server(handler)
    server.transform("outgoing", later)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        assert [await client.receive() for _ in range(21)] == list(range(21))


async def test_a_transform_that_hangs_ends_with_the_connection() -> None:
    async def hang(envelope: Envelope) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(envelope.data)

    async def handler(connection: Connection) -> None:
        connection.send_nowait("second")
        await connection.send("first")

    ended: list[Any] = []
    server = make_server(handler, close_timeout=10)
    server.transform("outgoing", hang)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await record.until(lambda: record.opened)
        await client.abort()
        await record.until(lambda: record.closed)
    assert ended == ["second"]


async def test_messages_that_wait_for_a_transform_are_limited() -> None:
    async def hang(envelope: Envelope) -> None:
        await trio.sleep_forever()

    server = make_server(max_backlog_messages=10, close_timeout=10)
    server.transform("outgoing", hang)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await record.until(lambda: record.opened)
        for number in range(12):
            server.broadcast(number)
        with pytest.raises(ConnectionClosed, match="1013"):
            await client.receive()
        await record.until(lambda: record.closed)
    assert [reason for _, _, reason in record.closed] == ["an outgoing transform is too slow"]


async def test_the_policy_drop_drops_what_would_wait_for_a_transform() -> None:
    async def hold(envelope: Envelope) -> None:
        await go_on.wait()

    go_on = trio.Event()
    server = make_server(max_backlog_messages=10, overflow="drop")
    server.transform("outgoing", hold)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await record.until(lambda: record.opened)
        for number in range(15):
            server.broadcast(number)
        await record.opened[0].send("dropped as well")
        assert server.statistics().dropped == 6
        go_on.set()
        assert [await client.receive() for _ in range(10)] == list(range(10))
        server.broadcast("next")
        assert await client.receive() == "next"
        assert not record.closed


async def test_messages_and_events_that_wait_for_a_transform_have_the_same_limit() -> None:
    async def hang(envelope: Envelope) -> None:
        await trio.sleep_forever()

    server = make_server(inbox=4, max_backlog_messages=100)
    server.transform("outgoing", hang)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial):
        await record.until(lambda: record.opened)
        (connection,) = server.connections.values()
        for number in range(4):
            connection.emit("number", number)
        with pytest.raises(trio.WouldBlock):
            connection.emit("number", 5)
        with pytest.raises(trio.WouldBlock):
            connection.send_nowait(5)
        assert connection.state == "open"


async def test_what_was_sent_before_a_close_goes_first() -> None:
    async def later(envelope: Envelope) -> None:
        await trio.sleep(1)

    async def handler(connection: Connection) -> None:
        connection.send_nowait("first")
        connection.send_nowait("second")
        connection.close(4000, "done")

    server = make_server(handler, close_timeout=10_000)
    server.transform("outgoing", later)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        assert [await client.receive(), await client.receive()] == ["first", "second"]
        with pytest.raises(ConnectionClosed, match="4000"):
            await client.receive()


async def test_a_send_that_is_cancelled_while_a_transform_waits_sends_nothing() -> None:
    async def later(envelope: Envelope) -> None:
        await trio.sleep(1)

    async def handler(connection: Connection) -> None:
        with trio.move_on_after(0.5):
            await connection.send("changed my mind")
        await connection.send("sent")

    server = make_server(handler)
    server.transform("outgoing", later)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        assert await client.receive() == "sent"


@pytest.mark.parametrize("verdict", ["it passes", "it is dropped", "it fails"])
async def test_a_send_says_when_the_client_has_gone_meanwhile(verdict: str) -> None:
    """Of a message that a transform drops there is nothing to say."""

    async def hold(envelope: Envelope) -> bool | None:
        holding.set()
        await go_on.wait()
        if verdict == "it fails":
            raise RuntimeError("on purpose")
        return False if verdict == "it is dropped" else None

    async def handler(connection: Connection) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(send, connection, number)

    async def send(connection: Connection, message: object) -> None:
        try:
            await connection.send(message)
        except ConnectionClosed as error:
            outcomes.append(error.code)
        else:
            outcomes.append("sent")

    holding, go_on = trio.Event(), trio.Event()
    outcomes: list[Any] = []
    server = make_server(handler, close_timeout=60_000)
    server.transform("outgoing", hold)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await holding.wait()
        (connection,) = server.connections.values()
        await client.abort()
        while connection.state != "closed":
            await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        await record.until(lambda: record.closed)
    assert outcomes == (["sent", "sent"] if verdict == "it is dropped" else [1006, 1006])


async def test_a_send_whose_transform_fails_has_not_sent() -> None:
    async def fail(envelope: Envelope) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("on purpose")

    async def handler(connection: Connection) -> None:
        with pytest.raises(ConnectionClosed, match="1011"):
            await connection.send("anything")
        raised.append(True)

    raised: list[bool] = []
    server = make_server(handler)
    server.transform("outgoing", fail)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial):
        await record.until(lambda: record.closed)
    assert raised == [True]


async def test_who_has_failed_is_not_asked_again() -> None:
    seen = []
    server = make_server()

    @server.on_message
    async def fail(connection: Connection, message: object) -> None:
        seen.append(message)
        await trio.sleep(1)
        raise RuntimeError("on purpose")

    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        for number in range(3):
            await client.send(number)
        await record.until(lambda: record.closed)
    assert seen == [0]


async def test_what_a_message_leaves_to_be_awaited_comes_before_the_next_message() -> None:
    """Also where the next one's transform has been waiting for longer."""

    async def transform(envelope: Envelope) -> None:
        await trio.lowlevel.checkpoint()

    async def later(connection: Connection, message: str) -> None:
        order.append(f"{message} begins")
        await trio.sleep(0.001)
        order.append(f"{message} ends")

    def note(connection: Connection, message: str) -> None:
        order.append(f"{message} noted")
        if message == "3":
            connection.send_nowait("done")

    order: list[str] = []
    server = make_server()
    server.transform("incoming", transform)
    server.on_message(lambda connection, message: later(connection, message))
    server.on_message(note)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        for message in ("1", "2", "3"):
            await client.send(message)
        assert await client.receive() == "done"
    assert order == [f"{number} {what}" for number in "123" for what in ("begins", "ends", "noted")]


async def test_a_message_that_fails_behind_a_transform_leaves_nothing_to_be_done() -> None:
    async def transform(envelope: Envelope) -> None:
        await trio.lowlevel.checkpoint()

    def fail(connection: Connection, message: str) -> None:
        seen.append(message)
        raise RuntimeError("on purpose")

    seen: list[str] = []
    server = make_server()
    server.transform("incoming", transform)
    server.on_message(fail)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        for message in ("1", "2", "3"):
            await client.send(message)
        with pytest.raises(ConnectionClosed, match="1011"):
            await client.receive()
    assert seen == ["1"]


async def test_a_message_that_fails_behind_a_transform_is_the_last_for_all_functions() -> None:
    """Also for those after the one that fails, which would have to wait for their turn."""

    async def transform(envelope: Envelope) -> None:
        await trio.lowlevel.checkpoint()

    def fail(connection: Connection, message: str) -> None:
        seen.append(f"{message} fails")
        raise RuntimeError("on purpose")

    async def later(connection: Connection, message: str) -> None:
        seen.append(f"{message} later")

    seen: list[str] = []
    server = make_server()
    server.transform("incoming", transform)
    server.on_message(fail)
    server.on_message(later)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        for message in ("1", "2", "3"):
            await client.send(message)
        await record.until(lambda: record.closed)
    assert seen == ["1 fails"]
    assert len(record.errors) == 1


async def test_an_incoming_transform_that_closes_has_the_last_word(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing of a connection reaches the application after its ``on_close``."""
    seen: list[str] = []

    def prepare(server: Server) -> None:
        server.transform("incoming", lambda envelope: envelope.connection.close(1008, "too many"))
        server.on("x")(lambda connection: seen.append("event"))
        server.on_message(lambda connection, message: seen.append("message"))
        server.on_close(lambda connection, code, reason: seen.append(reason))

    async with hall(prepare) as place:
        for packet in ('2["x"]', '2["message",1]'):
            wire = await place.connected()
            await wire.send(packet)
            assert await wire.receive() == "1"
            assert seen == ["too many"]
            seen.clear()
            await wire.close()


async def test_an_outgoing_transform_that_closes_has_the_last_word(autojump_clock: trio.testing.MockClock) -> None:
    def close(envelope: Envelope) -> None:
        if "secret" in str(envelope.data):
            envelope.connection.close()

    def prepare(server: Server) -> None:
        server.transform("outgoing", close)
        server.on("emit")(lambda connection: connection.emit("secret"))
        server.on("broadcast")(lambda connection: server.broadcast("secret"))

    async with hall(prepare) as place:
        for name in ("emit", "broadcast"):
            wire = await place.connected()
            await wire.send(f'2["{name}"]')
            assert await wire.receive() == "1"
            await wire.send("0")
            assert '"sid"' in str(await wire.receive())  # the session is still there, and this is next
            await wire.close()
