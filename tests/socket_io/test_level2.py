"""Actions, verbs and rooms for clients of Socket.IO, whose messages are the event ``message``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import ActionServer
from ahtransport.testing import MemoryHost, SocketIOClient, connect_socketio, connect_websocket, memory_host
from ahtransport.testing._contract.tools import ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ahtransport import Connection
    from ahtransport.testing import MessageClient

pytestmark = pytest.mark.transformer("socket.io")
each_mode = pytest.mark.parametrize("mode", ["polling", "websocket", "upgrade"])


@asynccontextmanager
async def running(transformer: str | list[str] = "socket.io") -> AsyncIterator[MemoryHost]:
    """Run an application of level 2."""
    server = ActionServer(config={}, transformer=transformer, port=0, starting_chat_rooms=["lobby"])

    @server.action
    async def add(connection: Connection, a: int, b: int) -> dict[str, int]:
        """Add two numbers."""
        await trio.lowlevel.checkpoint()
        return {"sum": a + b}

    with trio.fail_after(30):
        async with memory_host(server) as host:
            yield host


async def ask(client: MessageClient, number: int, event: str, **fields: Any) -> Any:
    """Send a verb, and give its answer."""
    await client.send({"event": event, "messageId": number, **fields})
    answer = await client.receive()
    assert answer["messageId"] == number
    return answer


@each_mode
async def test_verbs(mode: Any) -> None:
    async with running() as host, connect_socketio(mode)(host.dial) as client:
        assert (await client.receive())["context"] == "api"
        assert (await ask(client, 1, "action", params={"action": "add", "a": 1, "b": 2}))["sum"] == 3
        missing = await ask(client, 2, "action", params={"action": "add", "a": 1})
        assert "b is a required parameter for this action" in str(missing["error"])
        details = (await ask(client, 3, "detailsView"))["data"]
        assert details["id"] == client.sid
        assert "add" in str(await ask(client, 4, "documentation"))
        assert "not found or not allowed" in str((await ask(client, 5, "__init__"))["error"])
        await client.send({"event": "quit"})
        assert await ended(client) == []
        assert client.control == ["primus::server::close"]


@each_mode
async def test_what_is_said_in_a_room_is_heard_by_members_of_every_transformer(mode: Any) -> None:
    async with (
        running(["websockets", "engine.io", "socket.io"]) as host,
        connect_socketio(mode)(host.dial) as one,
        connect_websocket(host.dial) as two,
    ):
        clients: list[SocketIOClient | Any] = [one, two]
        for client in clients:
            await client.receive()
            assert (await ask(client, 1, "roomAdd", room="lobby"))["status"] == "OK"
        for speaker in clients:
            await speaker.send({"event": "say", "room": "lobby", "message": "hello", "messageId": 2})
            for client in clients:
                messages = [await client.receive() for _ in range(2 if client is speaker else 1)]
                heard = [message for message in messages if message["context"] == "user"]
                assert [(message["message"], message["room"]) for message in heard] == [("hello", "lobby")]
        assert (await ask(one, 3, "roomView", room="lobby"))["data"]["membersCount"] == 2
        host.server.broadcast("to all")
        assert [await client.receive() for client in clients] == ["to all"] * 2
