"""Named events beside messages: what the contract leaves to units."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from ahtransport import Connection, ConnectionClosed, Server
from ahtransport.abc import Ack, Event
from ahtransport.testing import Record, connect_websocket, memory_host


def make_server(handler: Any = None, **options: Any) -> Server:
    return Server(handler, config={}, transformer="websockets", port=0, **options)


async def test_without_functions_for_events_they_are_messages() -> None:
    server = make_server()
    record = Record(server, messages=True)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Event("say", [1], 1))
        await record.until(lambda: record.messages)
    assert record.messages[0][1] == {"type": 0, "data": ["say", 1], "id": 1}


async def test_events_without_a_function_are_messages_too() -> None:
    server = make_server()
    server.on("known")(lambda connection: "known")
    record = Record(server, messages=True)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Event("unknown", [], 1))
        await client.send_packet(Event("known", [], 2))
        assert await client.receive() == Ack(2, ["known"])
    assert [message for _, message in record.messages] == [{"type": 0, "data": ["unknown"], "id": 1}]


async def test_names_are_looked_up_and_nothing_else() -> None:
    server = make_server()
    server.on("known")(lambda connection: None)
    record = Record(server, messages=True)
    names = ["__init__", "close", "send", "constructor", "*", "", "on_message"]
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        for name in names:
            await client.send_packet(Event(name, []))
        await record.until(lambda: len(record.messages) == len(names))
        assert len(server.connections) == 1


async def test_wrong_arguments_end_the_connection() -> None:
    server = make_server()
    server.on("two")(lambda connection, a, b: a)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Event("two", [1], 1))
        with pytest.raises(ConnectionClosed, match="1011"):
            await client.receive()
        await record.until(lambda: record.closed)
    assert [type(error) for _, error in record.errors] == [TypeError]


async def test_a_loop_and_events_side_by_side() -> None:
    async def handler(connection: Connection) -> None:
        async for message in connection:
            await connection.send(["message", message])

    server = make_server(handler)

    @server.on("slow")
    async def slow(connection: Connection, value: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return value

    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Event("slow", [1], 1))
        await client.send("text")
        answers = [await client.receive(), await client.receive()]
        assert Ack(1, [1]) in answers
        assert ["message", "text"] in answers


async def test_an_answer_that_comes_too_late_is_dropped() -> None:
    server = make_server()
    record = Record(server)

    @server.on("leave")
    def leave(connection: Connection) -> str:
        connection.close()
        return "too late"

    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Event("leave", [], 1))
        with pytest.raises(ConnectionClosed, match="1000"):
            await client.receive()
    assert not record.errors


async def test_an_answer_that_can_not_be_encoded_ends_the_connection() -> None:
    server = make_server()
    server.on("bad")(lambda connection: object())
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Event("bad", [], 1))
        with pytest.raises(ConnectionClosed, match="1011"):
            await client.receive()
    assert len(record.errors) == 1


async def test_a_call_that_can_not_be_encoded_leaves_nothing_behind() -> None:
    async def handler(connection: Connection) -> None:
        for _ in range(5):
            with pytest.raises((TypeError, ValueError)):
                await connection.call("ask", object())
        answers.append(await connection.call("ask", 1))

    answers: list[Any] = []
    async with (
        memory_host(make_server(handler, max_calls=1)) as host,
        connect_websocket(host.dial) as client,
    ):
        event = await client.receive()
        await client.send_packet(Ack(event.ack, ["fine"]))
        with pytest.raises(ConnectionClosed):
            await client.receive()
    assert answers == ["fine"]


async def test_acknowledgements_that_nobody_waits_for_are_messages_without_events() -> None:
    server = make_server()
    record = Record(server, messages=True)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Ack(5, ["x"]))
        await record.until(lambda: record.messages)
        assert record.messages[0][1] == {"type": 1, "id": 5, "data": ["x"]}


async def test_acknowledgements_that_nobody_waits_for_are_ignored_with_events() -> None:
    server = make_server()
    server.on("known")(lambda connection: "known")
    record = Record(server, messages=True)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send_packet(Ack(5, ["x"]))
        await client.send_packet(Event("known", [], 1))
        assert await client.receive() == Ack(1, ["known"])
    assert not record.messages
