"""What a task sends while more messages wait for it leaves in one piece, and is late for nothing else."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel

from ahtransport import Connection, ConnectionClosed, Server
from ahtransport.testing import PrimusClient, connect_websocket, running
from ahtransport.testing._contract.tools import Gate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ahtransport._net.channel import OnSocket

drivers = pytest.mark.parametrize("driver", ["reactor", "task"])


class CountingSocket:
    """A socket that notes how much each ``send`` was given."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.sent: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        self.sent.append(len(data))
        count: int = self._sock.send(data)
        return count


def count_sends(connection: Connection) -> list[int]:
    channel: OnSocket = connection._link._channel  # type: ignore[attr-defined]
    assert channel.straight is channel._sock
    counting = channel._sock = channel.straight = CountingSocket(channel._sock)  # type: ignore[assignment]
    return counting.sent


@asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[tuple[PrimusClient, trio.SocketStream]]:
    """Connect to a server that runs; gives the client and its stream."""

    stream = await trio.open_tcp_stream(*server.addresses[0])

    async def dial() -> trio.abc.Stream:
        return stream

    async with connect_websocket(dial) as client:
        yield client, stream


async def holding(gate: Gate, count: int) -> Connection:
    """Wait until so many messages are there."""
    while not gate.holds(count):  # noqa: ASYNC110 -- nobody tells
        await trio.sleep(0.001)
    assert gate.connection is not None
    return gate.connection


async def answers(answer: Callable[[Connection, Any], Awaitable[None]], count: int = 8) -> tuple[list[Any], list[int]]:
    """Give what came back to so many messages, and how much each ``send`` was given."""
    gate = Gate(answer)
    server = Server(gate.handle, config={}, transformer="websockets", port=0)
    async with running(server), client_of(server) as (client, _):
        with trio.fail_after(60):
            for number in range(count):
                await client.send(number)
            sent = count_sends(await holding(gate, count))
            gate.begin.set()
            got = [await client.receive() for _ in range(count)]
            # And one by one again, at once.
            await client.send(9)
            got.append(await client.receive())
    return got, sent


async def echo(connection: Connection, message: Any) -> None:
    await connection.send(message)


async def test_answers_leave_together() -> None:
    got, sent = await answers(echo)
    assert got == [*range(8), 9]
    assert sent == [8 * 3, 3]


async def test_what_is_large_leaves_at_once() -> None:
    async def much(connection: Connection, message: Any) -> None:
        await connection.send([message, "x" * 20_000])

    got, sent = await answers(much)
    assert [number for number, _ in got] == [*range(8), 9]
    assert len(sent) == 9


async def test_a_task_that_waits_for_something_else_holds_nothing_up() -> None:
    async def pause(connection: Connection, message: Any) -> None:
        await connection.send(message)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    got, sent = await answers(pause)
    assert got == [*range(8), 9]
    assert sent == [3] * 9


async def test_a_task_that_computes_holds_nothing_up() -> None:
    async def compute(connection: Connection, message: Any) -> None:
        await connection.send(message)
        time.sleep(0.003)  # noqa: ASYNC251 -- as somebody's handler may do

    got, sent = await answers(compute)
    assert got == [*range(8), 9]
    assert max(sent) <= 2 * 3


async def test_what_is_sent_behind_a_backlog_counts_at_once() -> None:
    refused: list[int] = []
    done = trio.Event()

    async def handle(connection: Connection) -> None:
        gate.connection = connection
        await gate.begin.wait()
        while not connection._link.buffered:
            connection.send_nowait("x" * 8000)  # until the kernel takes no more
        await anext(connection)  # with more that wait
        for number in range(60):
            try:
                connection.send_nowait("y" * 16_000)
            except trio.WouldBlock:
                refused.append(number)
                break
        done.set()
        await trio.sleep_forever()

    gate = Gate(echo)
    server = Server(handle, config={}, transformer="websockets", port=0)
    async with running(server), client_of(server) as (client, _):
        with trio.fail_after(60):
            for number in range(5):
                await client.send(number)
            await holding(gate, 5)
            gate.begin.set()
            await done.wait()
        assert refused
        assert refused[0] <= 5  # at high_water, 64 KiB


async def serve_until(
    stop: trio.CancelScope, server: Server, *, task_status: trio.TaskStatus[list[tuple[str, int]]]
) -> None:
    with stop:
        await server.serve(task_status=task_status)


@drivers
async def test_what_was_sent_before_the_server_is_cancelled_leaves(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "_driver", driver)
    for _ in range(10):  # the order in which trio runs tasks is a matter of chance
        stop = trio.CancelScope()

        async def last(connection: Connection, message: Any, stop: trio.CancelScope = stop) -> None:
            await connection.send(message)
            stop.cancel()
            await trio.sleep_forever()

        gate = Gate(last)
        server = Server(gate.handle, config={}, transformer="websockets", port=0)

        async with trio.open_nursery() as nursery:
            await nursery.start(serve_until, stop, server)
            async with client_of(server) as (client, _):
                with trio.fail_after(60):
                    for number in range(5):
                        await client.send(number)
                    await holding(gate, 5)
                    gate.begin.set()
                    assert await client.receive() == 0


@drivers
async def test_who_says_no_more_still_hears(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "_driver", driver)

    async def handle(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message)
            await trio.lowlevel.checkpoint()

    server = Server(handle, config={}, transformer="websockets", port=0)
    async with running(server):
        for _ in range(10):
            async with client_of(server) as (client, stream):
                await stream.send_all(b"".join(b"\x81\x81\0\0\0\0%d" % number for number in range(5)))
                await stream.send_eof()
                got = []
                with trio.fail_after(60), suppress(ConnectionClosed):
                    while True:
                        got.append(await client.receive())
                assert got[:1] == [0]  # what the handler has sent by then
