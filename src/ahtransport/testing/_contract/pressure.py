"""Backpressure: neither side has to keep more than it can take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel

from ahtransport._errors import ConnectionClosed
from ahtransport.abc import Ack, Event
from ahtransport.testing._contract.tools import OnStage, ask, ended, take
from ahtransport.testing._stage import Record

if TYPE_CHECKING:
    from ahtransport._connection import Connection
    from ahtransport.testing._clients import MessageClient
    from ahtransport.testing._stage import Stage

BLOCK = "x" * 60_000
# More than the buffers of a kernel hold in one direction.
MANY = 400


class Pressure(OnStage):
    """Slow clients and slow handlers."""

    @pytest.mark.parametrize("style", ["loop", "events"])
    async def test_a_slow_handler_slows_its_client_and_loses_nothing(self, stage: Stage, style: str) -> None:
        gate, received, waiting = trio.Event(), list[int](), list[int]()

        async def take_one(connection: Connection, message: Any) -> None:
            await gate.wait()
            received.append(message[0])
            waiting.append(len(connection._inbox) + len(connection._jobs))

        async def handler(connection: Connection) -> None:
            async for message in connection:
                await take_one(connection, message)

        async def send_all(client: MessageClient) -> None:
            for number in range(3000):
                await client.send([number, "x" * 1000])
                sent.append(number)

        sent: list[int] = []
        server = stage.server(handler if style == "loop" else None, inbox=8)
        record = Record(server)
        if style == "events":
            server.on_message(take_one)
        async with stage.serving(server), stage.connect(capacity=4096) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_all, client)
                await stage.eventually(lambda: record.opened and record.opened[0].is_paused)
                if stage.kind == "memory":
                    await trio.testing.wait_all_tasks_blocked()
                    assert len(sent) < 150  # what one read, the inbox and the stream hold
                gate.set()
            await stage.eventually(lambda: len(received) == 3000)
            assert received == list(range(3000))
            assert max(waiting) <= 8

    async def test_a_client_that_does_not_read_is_closed(self, stage: Stage) -> None:
        server = stage.server()
        record = Record(server)
        async with stage.serving(server), stage.connect() as slow, stage.connect() as quick:
            await record.until(lambda: len(record.opened) == 2)
            for number in range(MANY):
                server.broadcast([number, BLOCK])
                assert await quick.receive() == [number, BLOCK]
            ((connection, code, reason),) = record.closed
            assert (connection, code) == (record.opened[0], 1013)
            numbers = [number for number, _ in await ended(slow)]
            assert numbers == list(range(len(numbers)))  # the tail is lost, and nothing else
            stage.check_closed(slow, 1013, reason)
            server.broadcast("still here")
            assert await quick.receive() == "still here"

    async def test_send_waits_for_a_slow_client(self, stage: Stage) -> None:
        async def handler(connection: Connection) -> None:
            for number in range(MANY):
                await connection.send([number, BLOCK])
                done.append(connection._link.buffered)

        done: list[int] = []
        server = stage.server(handler, overflow="wait", max_backlog=100_000, high_water=50_000)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            await record.until(lambda: record.opened)
            await stage.eventually(lambda: record.opened[0]._link.buffered > 50_000)
            assert len(done) < MANY
            with pytest.raises(trio.WouldBlock):
                record.opened[0].send_nowait("more")
            with pytest.raises(trio.WouldBlock):
                record.opened[0].emit("more")
            assert [number for number, _ in await take(client, MANY)] == list(range(MANY))
        assert max(done) <= 50_000 + len(BLOCK) + 100

    async def test_volatile_events_are_dropped_when_anything_waits(self, stage: Stage) -> None:
        def volatile(connection: Connection, number: int) -> bool:
            return connection.volatile("position", number)

        server = stage.server()
        record = Record(server)
        server.on("where")(volatile)
        async with stage.serving(server), stage.connect() as client:
            await record.until(lambda: record.opened)
            (connection,) = record.opened
            while not connection._link.buffered:
                connection.emit("block", BLOCK)
                await trio.lowlevel.checkpoint()
            assert [connection.volatile("position", number) for number in range(100)] == [False] * 100
            connection.emit("last")
            names: list[str] = []
            while not names or names[-1] != "last":
                names.append((await client.receive()).name)
            assert "position" not in names
            await stage.eventually(lambda: not connection._link.buffered)
            await client.send_packet(Event("where", [5], 1))
            assert await client.receive() == Event("position", [5])
            assert await client.receive() == Ack(1, [True])
            await client.close()
            await record.until(lambda: record.closed)
            with pytest.raises(ConnectionClosed):
                connection.volatile("position", 6)

    async def test_the_policy_drop_drops(self, stage: Stage) -> None:
        server = stage.server(overflow="drop", max_backlog=200_000)
        server.on_message(lambda connection, message: connection.send_nowait(message))
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            await record.until(lambda: record.opened)
            for number in range(MANY):
                server.broadcast([number, BLOCK])
            dropped = server._application.dropped
            assert dropped > 0
            numbers = [number for number, _ in await take(client, MANY - dropped)]
            assert sorted(set(numbers)) == numbers
            assert await ask(client, "still here") == "still here"
        assert [code for _, code, _ in record.closed] != [1013]

    async def test_a_cancelled_send_sends_nothing(self, stage: Stage) -> None:
        async def handler(connection: Connection) -> None:
            number = 0
            while connection._link.buffered <= 65536:
                await connection.send([number, BLOCK])
                number += 1
            with trio.CancelScope() as scope:
                scope.cancel()
                await connection.send("never")
            assert scope.cancelled_caught
            waiting.set()
            await connection.send("last")
            await trio.sleep_forever()

        waiting = trio.Event()
        async with stage.serving(stage.server(handler)), stage.connect() as client:
            await waiting.wait()
            messages: list[Any] = []
            while not messages or messages[-1] != "last":
                messages.append(await client.receive())
            assert "never" not in messages
