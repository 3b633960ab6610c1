"""What an idle connection is made of: objects with slots, of which none has a dictionary."""

from __future__ import annotations

import gc
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
import trio
from ahtransport.transports.engineio import Session
from ahtransport.transports.engineio._heartbeat import Heartbeat
from ahtransport.transports.engineio._sockets import SocketReceiver
from ahtransport.transports.socketio._client import NamespaceLink
from wsproto.frame_protocol import FrameProtocol

from ahtransport import Connection, ConnectionClosed, Server
from ahtransport._heartbeat import Alarm, Watch
from ahtransport._net.reactor import ReactorChannel
from ahtransport._net.tasks import SocketChannel, StreamChannel
from ahtransport._net.websocket import WebSocketWire
from ahtransport.testing import VARIANTS, WebSocketClient, running

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOTTED: list[type] = [Connection, ReactorChannel, SocketChannel, StreamChannel, WebSocketWire, Session, Heartbeat]
SLOTTED += [SocketReceiver, NamespaceLink, Watch, Alarm]


@pytest.mark.parametrize("kind", SLOTTED, ids=lambda kind: kind.__name__)
def test_no_instance_has_a_dictionary(kind: type) -> None:
    assert not any("__dict__" in vars(base) for base in kind.__mro__[:-1]), f"{kind.__name__} has a __dict__"
    for base in kind.__mro__[:-1]:
        assert "__slots__" in vars(base), f"{base.__name__} has no __slots__"


def owned(connection: Connection, server: Server) -> Iterator[Any]:
    """Everything that is there for this connection alone, as far as this project made it."""
    seen: set[int] = set()
    shared = {id(server), id(server._namespaces.shared), id(server._host), id(connection._application)}
    waiting: list[Any] = [connection]
    while waiting:
        one = waiting.pop()
        kind = type(one)
        if (
            id(one) in seen
            or id(one) in shared
            or isinstance(one, Enum)
            or not kind.__module__.startswith("ahtransport")
        ):
            continue
        elsewhere = ("Mount", "Deadlines", "Reactor", "Host", "Seat", "_Nowhere")
        if kind.__name__ in elsewhere or kind.__name__.endswith("Transformer"):
            continue
        seen.add(id(one))
        yield one
        for name in {slot for base in kind.__mro__ for slot in getattr(base, "__slots__", ())}:
            waiting.append(getattr(one, name, None))
        waiting += vars(one).values() if hasattr(one, "__dict__") else ()


@pytest.mark.parametrize(
    ("name", "objects", "size"),
    [("websockets", 6, 1200), ("engine.io websocket", 10, 1600)],
    ids=["websockets", "engine.io"],
)
async def test_an_idle_connection_is_small(name: str, objects: int, size: int) -> None:
    variant = VARIANTS[name]
    opened: list[Connection] = []
    server = Server(config={}, port=0, transformer=variant.transformer)
    server.on_open(opened.append)

    async def dial() -> trio.abc.Stream:
        return await trio.open_tcp_stream(*server.addresses[0])

    async with running(server), variant.connect(dial, variant.pathname) as client:
        await client.send("1")
        await trio.testing.wait_all_tasks_blocked(0.01)
        parts = list(owned(opened[0], server))
        found = sorted(type(part).__name__ for part in parts)
        with_dictionaries = [type(part).__name__ for part in parts if hasattr(part, "__dict__")]
        assert with_dictionaries == []
        assert {"Connection", "WebSocketWire", "Watch"} <= set(found)
        assert len(parts) <= objects, found
        assert sum(map(sys.getsizeof, parts)) <= size, found


@pytest.mark.parametrize("end", ["by the client", "by the server", "by the server alone", "by its breaking"])
async def test_what_is_over_leaves_nothing_to_the_collector(end: str) -> None:
    """It looks rarely (``tune_gc``), and what lived through one of its rounds waits for a long time."""
    server, over = Server(port=0, config={}, close_timeout=100), trio.Event()

    @server.on_message
    def answer(connection: Connection, message: str) -> None:
        connection.send_nowait(message)
        if message == "close":
            connection.close()

    @server.on_close
    def closed(connection: Connection, code: int, reason: str) -> None:
        over.set()

    def machines() -> int:
        return sum(isinstance(one, FrameProtocol) and not one.client for one in gc.get_objects())

    async with running(server):
        gc.collect()
        gc.disable()
        try:
            before = machines()
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            client = await WebSocketClient.connect(stream, "/primus")
            if end != "by the server alone":
                await client.ping()  # nothing for the fast lane
            await client.send('"close"' if "server" in end else '"hello"')
            await client.receive()
            assert machines() == before + 1
            if end == "by the client":
                await client.close()
            elif end == "by the server":
                assert await client.receive() == '"primus::server::close"'
                with pytest.raises(ConnectionClosed):
                    await client.receive()
            elif end == "by the server alone":  # the client never answers
                await over.wait()
                await trio.sleep(0.3)
            await stream.aclose()
            await over.wait()
            await trio.testing.wait_all_tasks_blocked()
            assert machines() == before
        finally:
            gc.enable()
