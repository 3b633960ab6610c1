"""Messages: values, order, rooms, events, transforms, parsers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel

from ahtransport._errors import ConnectionClosed
from ahtransport._parsers import MessagePackParser
from ahtransport.abc import Ack, Event, Message
from ahtransport.testing._contract.tools import CountingParser, OnStage, ask, echo, ended, in_memory, take
from ahtransport.testing._stage import Record

if TYPE_CHECKING:
    from ahtransport._connection import Connection
    from ahtransport._transforms import Envelope
    from ahtransport.testing._clients import MessageClient
    from ahtransport.testing._stage import Stage

VALUES: list[Any] = [
    None,
    True,
    0,
    -1.5,
    2**53 - 1,
    "",
    "text",
    "wörld \u2028\u2029 \U0001f9a9 \x7f \\u2028",
    "\ud800 alone",
    [],
    {},
    {"a": [{"b": None}], "": "empty"},
    ["primus", "primus:", 4, "4x"],
    "x" * 70_000,
]


class Messages(OnStage):
    """What is sent arrives, once, whole and in order."""

    async def test_values_come_back_as_they_are(self, stage: Stage) -> None:
        async with stage.serving(stage.server(echo)), stage.connect() as client:
            for value in VALUES:
                assert await ask(client, value) == value

    async def test_many_messages_keep_their_order(self, stage: Stage) -> None:
        async def send_all(client: MessageClient) -> None:
            for number in range(1000):
                await client.send(number)

        async with (
            stage.serving(stage.server(echo)),
            stage.connect() as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(send_all, client)
            assert await take(client, 1000) == list(range(1000))

    async def test_big_messages_pass_whole(self, stage: Stage) -> None:
        async with stage.serving(stage.server(echo)), stage.connect() as client:
            for size in (125, 126, 65_535, 65_536, 2_000_000):
                value = "ü" * (size // 2)
                assert await ask(client, value) == value

    async def test_messages_at_the_limit_pass_and_longer_ones_end_the_connection(self, stage: Stage) -> None:
        server = stage.server(echo, max_length=1000 + stage.variant.overhead)
        record = Record(server)
        async with stage.serving(server), stage.connect() as canary:
            async with stage.connect() as client:
                assert await ask(client, "x" * 998) == "x" * 998
                with contextlib.suppress(ConnectionClosed):  # who sends by requests is told at once
                    await client.send("x" * 100_000)
                await ended(client)
                stage.check_closed(client, 1009)
            await record.until(lambda: record.closed)
            assert await ask(canary, "still here") == "still here"

    async def test_clients_do_not_mix(self, stage: Stage) -> None:
        async def one(number: int) -> None:
            async with stage.connect() as client:
                for step in range(20):
                    assert await ask(client, [number, step]) == [number, step]

        async with stage.serving(stage.server(echo)), trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)

    async def test_what_cannot_be_decoded_is_reported_and_harms_nobody(self, stage: Stage) -> None:
        garbage = ("{", "NaN", "[1,]", "\ufeff1", "[" * 1000)
        server = stage.server(echo)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            if not stage.variant.forgiving:
                for text in garbage:
                    async with stage.connect() as culprit:
                        await culprit.send_encoded(text)
                        assert await ended(culprit) == []
                await record.until(lambda: len(record.closed) == len(garbage))
                assert await ask(client, "still here") == "still here"
                return
            for text in garbage:
                await client.send_encoded(text)
            assert await ask(client, "still here") == "still here"
        assert len(record.errors) == 5
        assert {connection for connection, _ in record.errors} == set(record.opened)
        assert all(isinstance(error, ValueError) for _, error in record.errors)

    async def test_messagepack(self, stage: Stage) -> None:
        if not stage.variant.parsers:
            pytest.skip("does not write messages with the server's parser")
        async with (
            stage.serving(stage.server(echo, parser="msgpack")),
            stage.connect(parser=MessagePackParser()) as client,
        ):
            value = {"a": [1, b"\x00\xff", "ü", None, 1.5]}
            assert await ask(client, value) == value

    async def test_a_parser_of_the_users_own(self, stage: Stage) -> None:
        if not stage.variant.parsers:
            pytest.skip("does not write messages with the server's parser")
        server = stage.server(echo, parser=CountingParser)
        record = Record(server)
        async with stage.serving(server), stage.connect(parser=CountingParser()) as client:
            assert await ask(client, "text") == "text"
            assert await ask(client, 5) == 5
            await client.send_encoded("nonsense")
            assert await ask(client, 6) == 6
        assert len(record.errors) == 1

    async def test_values_that_no_parser_carries_fail_in_the_sender(self, stage: Stage) -> None:
        async def handler(connection: Connection) -> None:
            async for _ in connection:
                with pytest.raises((TypeError, ValueError)):
                    await connection.send(object())
                with pytest.raises((TypeError, ValueError)):
                    connection.send_nowait(object())
                with pytest.raises((TypeError, ValueError)):
                    server.broadcast(object())
                await connection.send("fine")

        server = stage.server(handler)
        async with stage.serving(server), stage.connect() as client:
            assert await ask(client, 1) == "fine"

    # -- broadcasts

    async def test_a_broadcast_is_encoded_once(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        def counting(packet: Any, wire: str) -> Any:
            encoded.append(packet)
            return encode(packet, wire)

        encoded: list[Any] = []
        server = stage.server()
        record = Record(server)
        async with stage.serving(server), stage.connect() as one, stage.connect() as two, stage.connect() as three:
            await record.until(lambda: len(record.opened) == 3)
            await stage.eventually(lambda: {peer.transport for peer in record.opened} == {stage.variant.transport})
            (transformer,) = server.transformers
            encode = transformer.encode
            monkeypatch.setattr(transformer, "encode", counting)
            server.broadcast("to all")
            assert [await client.receive() for client in (one, two, three)] == ["to all"] * 3
            assert encoded == [Message("to all")]

    async def test_rooms(self, stage: Stage) -> None:
        def on_message(connection: Connection, message: Any) -> None:
            verb, room = message
            joined = server.rooms.join(connection, room) if verb == "join" else server.rooms.leave(connection, room)
            connection.send_nowait(joined)

        server = stage.server()
        server.on_message(on_message)
        record = Record(server)
        async with stage.serving(server), stage.connect() as one, stage.connect() as two, stage.connect() as three:
            for client, room in ((one, "red"), (two, "red"), (two, "blue"), (three, "blue")):
                assert await ask(client, ["join", room]) is True
            assert await ask(one, ["join", "red"]) is False
            first, second, third = record.opened
            assert list(server.rooms.members("red")) == [first, second]
            assert second.rooms == {"red", "blue"}
            server.broadcast("red", room="red")
            server.broadcast("blue", room="blue", exclude=[second])
            server.broadcast("all", exclude={first})
            server.broadcast("nobody", room="green")
            assert await ask(one, ["leave", "red"]) == "red"
            assert await one.receive() is True
            assert await take(two, 2) == ["red", "all"]
            assert await take(three, 2) == ["blue", "all"]
            await two.close()
            await record.until(lambda: record.closed)
            assert server.rooms.list() == ["blue"]
            assert list(server.rooms.members("blue")) == [third]

    # -- events

    async def test_events_and_acknowledgements(self, stage: Stage) -> None:
        server = stage.server()
        record = Record(server, messages=True)

        async def slowly(connection: Connection, value: Any) -> Any:
            await trio.lowlevel.checkpoint()
            return [value]

        def note(connection: Connection) -> None:
            connection.emit("noted", 1, "two")

        server.on("add")(lambda connection, a, b: a + b)
        server.on("nothing")(lambda connection: None)
        server.on("pair")(lambda connection: (1, 2))
        server.on("slowly")(slowly)
        server.on("note")(note)
        async with stage.serving(server), stage.connect() as client:
            expected: list[tuple[str, list[Any], list[Any]]] = [
                ("add", [1, 2], [3]),
                ("nothing", [], []),
                ("pair", [], [1, 2]),
                ("slowly", ["x"], [["x"]]),
            ]
            for number, (name, args, answer) in enumerate(expected, 1):
                await client.send_packet(Event(name, args, number))
                assert await client.receive() == Ack(number, answer)
            await client.send_packet(Event("note", []))
            assert await client.receive() == Event("noted", [1, "two"])
            await client.send_packet(Event("slowly", ["nobody asks"]))
            await client.send("a message")
            await record.until(lambda: record.messages)
            assert record.messages[0][1] == "a message"

    async def test_events_without_a_function_go_to_the_catch_all(self, stage: Stage) -> None:
        server = stage.server()
        server.on("known")(lambda connection, *args: "known")
        server.on("*")(lambda connection, name, *args: [name, *args])
        async with stage.serving(server), stage.connect() as client:
            await client.send_packet(Event("known", [], 1))
            await client.send_packet(Event("other", [1, 2], 2))
            assert await take(client, 2) == [Ack(1, ["known"]), Ack(2, [["other", 1, 2]])]

    async def test_call(self, stage: Stage) -> None:
        answers: list[Any] = []

        async def handler(connection: Connection) -> None:
            for name in ("none", "one", "several"):
                answers.append(await connection.call(name, 1))
            with pytest.raises(ConnectionClosed):
                await connection.call("never")

        async with stage.serving(stage.server(handler)), stage.connect() as client:
            for answer in ([], ["a"], [1, [2]]):
                event = await client.receive()
                assert isinstance(event, Event)
                assert event.ack
                await client.send_packet(Ack(event.ack + 1000, ["to nobody"]))
                await client.send_packet(Ack(event.ack, answer))
                await client.send_packet(Ack(event.ack, ["twice"]))
            assert (await client.receive()).name == "never"
            await client.close()
        assert answers == [None, "a", [1, [2]]]

    @in_memory
    async def test_a_call_takes_no_longer_than_it_may(self, stage: Stage) -> None:
        times: list[float] = []

        async def handler(connection: Connection) -> None:
            for timeout in (3.0, None):
                start = trio.current_time()
                with pytest.raises(trio.TooSlowError):
                    await connection.call("never", timeout=timeout)
                times.append(trio.current_time() - start)

        async with stage.serving(stage.server(handler, call_timeout=7000)), stage.connect() as client:
            assert [event.name for event in await ended(client)] == ["never", "never"]
        assert times == pytest.approx([3, 7])

    async def test_at_most_so_many_calls_wait(self, stage: Stage) -> None:
        async def handler(connection: Connection) -> None:
            for _ in range(3):
                connection.start_soon(connection.call, "never")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.WouldBlock):
                await connection.call("too many")
            connection.close()

        async with stage.serving(stage.server(handler, max_calls=3)), stage.connect() as client:
            assert [event.name for event in await ended(client)] == ["never"] * 3

    # -- transforms

    @pytest.mark.parametrize("asynchronous", [False, True])
    async def test_transforms(self, stage: Stage, asynchronous: bool) -> None:
        def incoming(envelope: Envelope) -> bool | None:
            assert envelope.connection.id in server.connections
            if envelope.data == "drop":
                return False
            envelope.data = ["in", envelope.data] if isinstance(envelope.data, str) else envelope.data
            return None

        def outgoing(envelope: Envelope) -> bool | None:
            if envelope.data == ["in", "swallow"]:
                return False
            if isinstance(envelope.data, list) and envelope.data[0] == "event":
                envelope.data = ["EVENT", *envelope.data[1:], "more"]
            elif isinstance(envelope.data, list):
                envelope.data = ["out", *envelope.data]
            return None

        async def incoming_later(envelope: Envelope) -> bool | None:
            await trio.lowlevel.checkpoint()
            return incoming(envelope)

        async def outgoing_later(envelope: Envelope) -> bool | None:
            await trio.lowlevel.checkpoint()
            return outgoing(envelope)

        server = stage.server(echo)
        server.on("ask")(lambda connection, value: connection.emit("event", value))
        server.transform("incoming", incoming_later if asynchronous else incoming)
        server.transform("outgoing", outgoing_later if asynchronous else outgoing)
        async with stage.serving(server), stage.connect() as client:
            for message in ("drop", "one", "swallow", "two"):
                await client.send(message)
            assert await take(client, 2) == [["out", "in", "one"], ["out", "in", "two"]]
            await client.send_packet(Event("ask", [5]))
            assert await client.receive() == Event("EVENT", [5, "more"])
            server.broadcast(["to all"])
            assert await client.receive() == ["out", "to all"]
