"""The life of one client, from its first request to its end, with everything that a server can do in between.

:func:`play` plays it with a fault at one step, and looks at what is left.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import trio

from ahtransport import Connection, ConnectionClosed, ProtocolError, Request, Response, Server
from ahtransport.abc import Ack, Event
from ahtransport.testing import MemoryStream, Record, Refused, SocketIOClient, connect_websocket, fetch, leftovers
from sabotage import SCHEDULE, every_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport.testing import Stage
    from sabotage import Saboteur, Strike


class Story:
    """A server that uses everything, and the life of one of its clients.

    Attributes:
        lines: the client's connections.
        done: whether the client has come to the end of what it had to say.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        variant = stage.variant
        # The canary is a plain WebSocket whatever the variant: while nobody talks to it, it has no steps.
        own = variant.transformer_name == "websockets"
        both = {variant.transformer_name: variant.pathname, "websockets": "/canary"}
        self.canary_path = variant.pathname if own else "/canary"
        self.server = server = self.stage.server(
            self.handler,
            inbox=4,
            ping_interval=0,
            timeout=0,
            max_connections=100,
            transformer="websockets" if own else both,
        )
        self.record = Record(server)
        self.later: list[Connection] = []
        self.lines: list[Any] = []
        self.done = False
        self.scope = trio.CancelScope()
        self.canary: Connection | None = None
        server.use(self.middleware)
        server.authorize(self.authorize)
        server.transform("incoming", self.transform)
        server.transform("outgoing", self.transform)
        server.on("add")(self.add)
        server.on_open(self.opened)
        server.on_close(self.closed)
        server.route("/page", self.page)
        # Clients of Socket.IO are in a second namespace for a while, which has a room, too.
        self.other = other = server.of("/other")
        self.second = Record(cast("Server", other))
        other.authorize(self.authorize)
        other.on_message(self.echo)
        other.on_open(self.opened_other)
        other.on_close(self.closed)

    async def middleware(self, request: Request) -> None:
        await trio.lowlevel.checkpoint()

    async def authorize(self, request: Request) -> None:
        await trio.lowlevel.checkpoint()

    async def transform(self, envelope: Any) -> None:
        await trio.lowlevel.checkpoint()

    async def add(self, connection: Connection, a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + b

    async def opened(self, connection: Connection) -> None:
        await trio.lowlevel.checkpoint()

    async def closed(self, connection: Connection, code: int, reason: str) -> None:
        self.later.append(connection)
        await trio.lowlevel.checkpoint()

    async def echo(self, connection: Connection, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        await connection.send(message)

    async def opened_other(self, connection: Connection) -> None:
        self.other.rooms.join(connection, "second room")
        await trio.lowlevel.checkpoint()

    async def page(self, request: Request) -> Response:
        return Response.text(200, (await request.read(1000)).decode())

    async def handler(self, connection: Connection) -> None:
        if "canary" not in connection.query and connection.state == "open":
            self.server.rooms.join(connection, "room")
            connection.start_soon(self.ticker, connection)
        async for message in connection:
            match message:
                case "call":
                    await connection.send(await connection.call("question", 1, timeout=5))
                case "broadcast":
                    self.server.broadcast("to all", room="room")
                case "close":
                    connection.close(4000)
                case _:
                    await connection.send(message)

    async def ticker(self, connection: Connection) -> None:
        while True:
            await trio.sleep(5)
            connection.emit("tick")

    async def dial(self) -> trio.abc.Stream:
        """Connect once more.

        Raises:
            EOFError: the server hung up.
        """
        stream = await self.stage.dial()
        self.lines.append(stream)
        return stream

    def cut(self) -> bool:
        """Cut the client's connections; False: it has none."""
        for stream in self.lines:
            assert isinstance(stream, MemoryStream)
            stream.reset()
        return bool(self.lines)

    async def visit(self, client: SocketIOClient) -> None:
        """Join a second namespace, say something there, and leave it."""
        await client.connect({"token": 1})
        await client.send("hello there")
        # (A client that polls may say something twice, where it did not get to know that it was heard.)
        while await client.receive() != "hello there":
            pass
        self.other.broadcast("to the second room", room="second room")
        while await client.receive() != "to the second room":
            pass
        await client._send("1")

    async def client(self) -> None:
        """Do everything, until something goes wrong."""
        gone = (EOFError, ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError)
        with suppress(Refused, ProtocolError, *gone):
            page = await self.dial()
            try:
                await fetch(page, "POST", "/page", [("Content-Length", "3")], b"abc")
            finally:
                await trio.aclose_forcefully(page)
            self.lines.clear()
            async with self.stage.variant.connect(self.dial, self.stage.variant.pathname) as client:
                if isinstance(client, SocketIOClient):
                    await self.visit(SocketIOClient(client.engine, "/other"))
                await client.send("hello")
                await client.send_packet(Event("add", [1, 2], 7))
                await client.send("call")
                await client.send("broadcast")
                expected: set[Any] = {"hello", 3, "answer", "to all"}
                while expected:
                    message = await client.receive()
                    if isinstance(message, Event) and message.ack is not None:
                        await client.send_packet(Ack(message.ack, ["answer"]))
                    elif isinstance(message, Ack):
                        expected.discard(message.args[0])
                    elif isinstance(message, str):
                        expected.discard(message)
                await trio.sleep(6)
                await client.send("close")
                self.done = True
                while True:
                    await client.receive()


def sessions(server: Server) -> int:
    """Count the sessions beneath the connections, where a transformer has some."""
    return sum(len(getattr(transformer, "_sessions", ())) for transformer in server.transformers)


def descriptors() -> int:
    """Count what the process has open."""
    return len(os.listdir("/dev/fd"))


def play(story: Story, saboteur: Saboteur) -> None:
    """Play the story once, with a fault, and look at what is left."""
    SCHEDULE.seed(0)
    stage, server, record = story.stage, story.server, story.record
    variant = stage.variant

    async def main() -> None:
        with trio.fail_after(1000), story.scope:
            async with (
                stage.serving(server),
                connect_websocket(stage.dial, story.canary_path, query={"canary": "1"}) as canary,
            ):
                await canary.send("canary")
                assert await canary.receive() == "canary"
                (story.canary,) = record.opened
                await trio.testing.wait_all_tasks_blocked()
                before = descriptors()
                saboteur.arm()
                with trio.move_on_after(60) as patience:
                    await story.client()
                saboteur.disarm()
                # Where a failing handler does not end its connection, the client may wait for its answer in vain.
                assert variant.surviving or not patience.cancelled_caught, "the client was left hanging"
                # Reading goes on for a moment after the last byte, a handler may tidy up, and who polled has his time.
                await trio.sleep(15 if variant.transformer_name == "websockets" else 60)
                assert list(server.connections.values()) == [story.canary]
                assert "room" not in server.rooms
                assert "second room" not in story.other.rooms
                assert len(story.other.connections) == 0
                assert sessions(server) == 0
                assert server._host is not None
                assert server._host.open_channels == 1
                assert descriptors() == before
                assert server._application.shared.busy == 1
                assert len(server._application.deadlines) == 0
                assert [connection for connection, _, _ in record.closed] == record.opened[1:]
                await canary.send("still here")
                assert await canary.receive() == "still here"

    saboteur.story = story
    trio.run(main, clock=stage.clock, instruments=[saboteur])
    assert not leftovers(server)
    assert {connection for connection, _, _ in record.closed} == set(record.opened)
    assert len(record.closed) == len(record.opened)
    assert [connection for connection, _, _ in story.second.closed] == story.second.opened
    assert sessions(server) == 0
    # (Who is cancelled together with the server has no time to wait for anything.)
    assert len(story.later) == len(record.opened) + len(story.second.opened)
    assert saboteur.struck or story.done, "nothing was broken, and yet something went wrong"


def play_every_step(make: Callable[[], Story], strike: Strike) -> int:
    """Play the story with a fault at each of its steps; gives how many times."""
    count = 0
    for saboteur in every_step(strike):
        try:
            play(make(), saboteur)
        except BaseException as error:
            error.add_note(f"{strike.__name__} at step {saboteur.at}, in {saboteur.struck}")
            raise
        count += 1
    return count
