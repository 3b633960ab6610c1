"""A fault at every step: whatever is cancelled or raises, at whichever checkpoint, costs one connection at most.

The life of one client is played through in memory, under a virtual clock and a fixed schedule. An instrument counts the
steps of the server's tasks, and at the n-th one does its worst. That is repeated for every n until nothing is left to
break.
"""

from __future__ import annotations

import inspect
import itertools
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest
import trio

from ahtransport import Connection, ConnectionClosed, ProtocolError, Request, Response, Server
from ahtransport.abc import Ack, Event
from ahtransport.testing import (
    MemoryStream,
    Record,
    Refused,
    SocketIOClient,
    Stage,
    Variant,
    connect_websocket,
    fetch,
    leftovers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trio.lowlevel import Task


# The tasks that are the server itself; a fault in one of them ends the server, which is as it should be.
INFRASTRUCTURE = ("Deadlines.run", "Host.serve", "Server._serve")


SCHEDULE = random.Random()
"""Where trio gets the order of its tasks from."""

Strike: TypeAlias = "Callable[[Task, Story], bool]"


class Fault(RuntimeError):
    """What is raised."""


class Saboteur(trio.abc.Instrument):
    """Counts the steps of a server's tasks, and strikes at one of them.

    Attributes:
        steps: how many there were.
        struck: the name of the task that was hit.
    """

    def __init__(self, at: int, strike: Strike) -> None:
        self.at = at
        self.strike = strike
        self.steps = 0
        self.struck: str | None = None
        self.story: Story

        self._bystanders: set[Task] | None = None

    def arm(self) -> None:
        """Count from now on; tasks that are there already are left in peace."""
        self._bystanders = set(tasks_below(trio.lowlevel.current_root_task()))

    def disarm(self) -> None:
        """Do no more harm."""
        self._bystanders = None

    def before_task_step(self, task: Task) -> None:
        if self._bystanders is None or task in self._bystanders or not is_servers(task):
            return
        self.steps += 1
        if self.steps >= self.at and self.struck is None and self.strike(task, self.story):
            self.struck = task.name


def tasks_below(task: Task | None) -> Iterator[Task]:
    """Give a task and all its children."""
    if task is not None:
        yield task
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                yield from tasks_below(child)


def is_servers(task: Task) -> bool:
    """Tell whether a task belongs to a server, but is not the server itself."""
    if task.name.endswith(INFRASTRUCTURE):
        return False
    while task.parent_nursery is not None:
        task = task.parent_nursery.parent_task
        if task.name.endswith("Server._serve"):
            return True
    return False


def raise_here(task: Task, story: Story) -> bool:
    """Have what the task waits for raise. (It has come already, so nothing else is upset by that.)"""
    if inspect.getcoroutinestate(task.coro) == inspect.CORO_CREATED:
        return False  # it waits for nothing yet
    task._next_send_fn = task.coro.throw
    task._next_send = Fault("injected")
    return True


def cancel_here(task: Task, story: Story) -> bool:
    """Cancel the innermost cancel scope that is around the task, unless that is the server's."""
    status = task._cancel_status
    assert task.parent_nursery is not None
    if status is task.parent_nursery._cancel_status:
        return False  # the task has none of its own
    if any(status._scope in connection._scopes for connection in (*story.record.opened, *story.second.opened)):
        return close_here(task, story)  # such a scope ends with its connection, and never before
    status._scope.cancel()
    return True


def close_here(task: Task, story: Story) -> bool:
    """Have the server close the connection."""
    for connection in story.server.connections.values():
        if connection is not story.canary:
            connection.close(4001, "struck", reconnect=True)
            return True
    return False


def hang_up_here(task: Task, story: Story) -> bool:
    """Cut the client's connection."""
    for stream in story.streams:
        stream.reset()
    return bool(story.streams)


def end_here(task: Task, story: Story) -> bool:
    """Cancel everything."""
    story.scope.cancel()
    return True


class Story:
    """A server that uses everything, and the life of one of its clients."""

    def __init__(self, variant: Variant) -> None:
        self.stage = Stage(variant, "memory")
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
        self.streams: list[MemoryStream] = []
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

    async def dial(self) -> MemoryStream:
        assert self.stage.host is not None
        self.streams.append(self.stage.host.stream())
        return self.streams[-1]

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
            assert self.stage.host is not None
            self.streams.append(self.stage.host.stream())
            await fetch(self.streams[0], "POST", "/page", [("Content-Length", "3")], b"abc")
            await trio.aclose_forcefully(self.streams.pop())
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
                while True:
                    await client.receive()


def sessions(server: Server) -> int:
    """Count the sessions beneath the connections, where a transformer has some."""
    return sum(len(getattr(transformer, "_sessions", ())) for transformer in server.transformers)


def play(variant: Variant, saboteur: Saboteur) -> None:
    """Play the story once, with a fault, and look at what is left."""
    SCHEDULE.seed(0)
    story = Story(variant)
    stage, server, record = story.stage, story.server, story.record

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


def every_step(strike: Strike) -> Iterator[Saboteur]:
    """Give a saboteur for each step, until one has found nothing left to strike at."""
    for at in itertools.count(1):
        saboteur = Saboteur(at, strike)
        yield saboteur
        if saboteur.struck is None:
            return


@pytest.fixture(autouse=True)
def _fixed_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have trio run tasks in an order that is the same each time."""
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr("trio._core._run._r", SCHEDULE)


@pytest.mark.parametrize("strike", [raise_here, cancel_here, close_here, hang_up_here, end_here])
def test_h14_a_fault_at_any_step_costs_one_connection(variant: Variant, strike: Strike) -> None:
    count = 0
    for saboteur in every_step(strike):
        try:
            play(variant, saboteur)
        except BaseException as error:
            error.add_note(f"{strike.__name__} at step {saboteur.at}, in {saboteur.struck}")
            raise
        count += 1
    assert count > 40
