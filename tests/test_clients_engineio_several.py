"""Several transformers at once: clients of each in one room, on one pathname or on pathnames of their own."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ahtransport import Connection, Server
from ahtransport.testing import running
from clients.app import EchoApp, served
from clients.harness import Record, drive_primus, node_marks, of_transformer, run_node

pytestmark = [*node_marks, of_transformer("engine.io")]

KINDS = ("websockets", "engine.io", "engine.io-client")
TRANSPORT = {"engine.io": {"ping_interval": 500}}


def room_server(transformer: Sequence[str] | Mapping[str, Any], **options: Any) -> Server:
    """Whoever comes is in the lobby; what is said there all hear, once."""
    server = Server(port=0, transformer=transformer, **options)

    @server.on_open
    def join(connection: Connection) -> None:
        server.rooms.join(connection, "lobby")

    @server.on_message
    async def hear(connection: Connection, message: Any) -> None:
        match message:
            case {"do": "who"}:
                you = {"transformer": connection.transformer, "transport": connection.transport}
                await connection.send({"you": {**you, "type": connection.type}})
            case {"say": text}:
                server.broadcast({"from": connection.transformer, "text": text}, room="lobby")

    return server


async def drive(server: Server, paths: Mapping[str, str]) -> list[Record]:
    async with running(server):
        clients = [{"name": kind, "kind": kind, "url": server.url, "path": paths[kind]} for kind in KINDS]
        return await run_node("several_driver.cjs", json.dumps(clients))


def expected() -> list[Record]:
    transformers = {"websockets": "websockets", "engine.io": "engine.io", "engine.io-client": "engine.io"}
    who = [
        {"name": kind, "you": {"transformer": transformers[kind], "transport": "websocket", "type": "websocket"}}
        for kind in KINDS
    ]
    heard = [
        {"name": kind, "heard": [{"from": transformers[kind], "text": f"hello from {kind}"}] * len(KINDS)}
        for kind in KINDS
    ]
    return who + heard


@pytest.mark.parametrize("order", [["websockets", "engine.io"], ["engine.io", "websockets"]])
async def test_on_one_pathname(order: list[str]) -> None:
    """Which is meant shows in the query, whichever is named first."""
    server = room_server(order, transport=TRANSPORT)
    assert await drive(server, dict.fromkeys(KINDS, "/primus")) == expected()


@pytest.mark.parametrize("tables", [False, True])
async def test_on_pathnames_of_their_own(tables: bool) -> None:
    paths = {"websockets": "/sockets", "engine.io": "/engine"}
    transformer: dict[str, Any] = dict(paths)
    if tables:
        transformer["engine.io"] = {"pathname": "/engine", "transport": TRANSPORT["engine.io"]}
    server = room_server(transformer)
    assert await drive(server, {**paths, "engine.io-client": "/engine"}) == expected()


@pytest.mark.parametrize("transformer", ["websockets", "engine.io"])
async def test_primus_comes_back_after_a_restart(transformer: str) -> None:
    """A client that reconnects finds its transformer again."""
    async with served(EchoApp(transformer=["websockets", "engine.io"])) as url:
        records = await drive_primus("8", "restart", url, json.dumps({"transformer": transformer}))
    events = [record["event"] for record in records if "event" in record]
    assert events == ["open", "close", "reconnect scheduled", "reconnected", "open"]
    assert records[-1] == {"got": "back"}
