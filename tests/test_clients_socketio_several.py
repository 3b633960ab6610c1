"""One room with clients of three transformers at once, Socket.IO's among them."""

import json
from typing import Any

from ahtransport import Connection, Server
from ahtransport.testing import running
from clients.harness import Record, node_marks, of_transformer, run_node

pytestmark = [*node_marks, of_transformer("socket.io")]

KINDS = {"websockets": "websockets", "engine.io-client": "engine.io", "socket.io-client": "socket.io"}
PATHS = {"websockets": "/primus", "engine.io-client": "/primus", "socket.io-client": "/socket.io"}


async def test_what_is_broadcast_to_a_room_is_a_native_event() -> None:
    server = Server(config={}, port=0, transformer=["websockets", "engine.io", "socket.io"])

    @server.on_open
    def join(connection: Connection) -> None:
        server.rooms.join(connection, "lobby")

    @server.on_message
    async def hear(connection: Connection, message: Any) -> None:
        match message:
            case {"do": "who"}:
                await connection.send({"you": connection.transformer, "transport": connection.transport})
            case {"say": text}:
                server.broadcast({"from": connection.transformer, "text": text}, room="lobby")

    async with running(server):
        clients = [{"name": kind, "kind": kind, "url": server.url, "path": PATHS[kind]} for kind in KINDS]
        records: list[Record] = await run_node("several_driver.cjs", json.dumps(clients))
    assert records == [
        *({"name": kind, "you": name, "transport": "websocket"} for kind, name in KINDS.items()),
        *({"name": kind, "heard": [{"from": name, "text": f"hello from {kind}"}] * 3} for kind, name in KINDS.items()),
    ]
