"""Backpressure, measured: what waits is bounded, whoever is slow, and no message is torn or lost."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Connection, ConnectionClosed, Server
from ahtransport._payload import Payload
from ahtransport.testing import PrimusClient, Record, WebSocketClient, connect_websocket, memory_host, running
from ahtransport.testing._http import Reader

if TYPE_CHECKING:
    from trio.testing import MockClock


def make_server(handler: Any = None, **options: Any) -> Server:
    return Server(handler, config={}, transformer="websockets", port=0, **options)


def resident() -> int:
    """Give this process's resident memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


# -- many senders, some of them cancelled


@pytest.mark.slow
async def test_concurrent_sends_never_interleave(autojump_clock: MockClock) -> None:
    """Fifty tasks send over one connection, some are cancelled: what a call has sent arrives whole, nothing else does.

    A thousand times, each with other sizes, pauses, cancellations and another schedule.
    """

    async def opened(connection: Connection) -> None:
        connections.append(connection)

    async def sender(connection: Connection, chance: random.Random, number: int, sent: list[Any]) -> None:
        message = [number, "x" * chance.choice((0, 1, 130, 1000, 3000))]
        with trio.move_on_after(chance.choice((0, 0.001, 0.002, 0.01, 10))) as scope:
            await trio.sleep(chance.choice((0, 0, 0.001)))
            await connection.send(message)
            sent.append(message)
        assert scope.cancelled_caught == (message not in sent)

    async def reader(client: PrimusClient, chance: random.Random, received: list[Any]) -> None:
        while True:
            received.append(await client.receive())
            if received[-1] == "end":
                return
            await trio.sleep(chance.choice((0, 0, 0.0005)))

    connections: list[Connection] = []
    server = make_server(high_water=2000, timeout=0, ping_interval=0)
    server.on_open(lambda connection: connections.append(connection))
    cancelled = 0
    async with memory_host(server) as host:
        for seed in range(1000):
            chance = random.Random(seed)
            sent: list[Any] = []
            received: list[Any] = []
            stream = host.stream(capacity=chance.choice((1, 100, 5000)) + 200)
            client = PrimusClient(await WebSocketClient.connect(stream))
            (connection,) = connections
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader, client, chance, received)
                async with trio.open_nursery() as senders:
                    for number in range(50):
                        senders.start_soon(sender, connection, chance, number, sent)
                await connection.send("end")
            assert received.pop() == "end"
            assert received == sent, f"seed {seed}"
            cancelled += 50 - len(sent)
            await client.close()
            connections.clear()
    assert 1000 < cancelled < 49_000  # both happened, often


async def test_senders_that_wait_learn_of_the_end(autojump_clock: MockClock) -> None:
    async def sender(connection: Connection) -> None:
        try:
            while True:
                await connection.send("x" * 1000)
        except ConnectionClosed as closed:
            codes.append(closed.code)
            raise

    codes: list[int] = []
    server = make_server(high_water=2000)
    record = Record(server)
    async with memory_host(server) as host:
        client = await WebSocketClient.connect(host.stream(capacity=1000))
        await record.until(lambda: record.opened)
        for _ in range(5):
            record.opened[0].start_soon(sender, record.opened[0])
        await trio.testing.wait_all_tasks_blocked()
        assert not codes
        await client.abort()
        await record.until(lambda: record.closed)
    # Tasks end with their connection: by cancellation, or because they heard of it first.
    assert set(codes) <= {1006}
    assert not record.errors


# -- a slow handler


@pytest.mark.parametrize("style", ["loop", "events"])
async def test_ten_thousand_messages_to_a_slow_handler(autojump_clock: MockClock, style: str) -> None:
    """Nothing is lost, and memory stays flat: 20 MB are sent, of which never more than a few hundred KB are here."""

    async def take(connection: Connection, message: Any) -> None:
        await trio.sleep(0.001)
        numbers.append(message[0])
        waiting.append(len(connection._inbox) + len(connection._jobs))

    async def loop(connection: Connection) -> None:
        async for message in connection:
            await take(connection, message)

    numbers: list[int] = []
    waiting: list[int] = []
    server = make_server(loop if style == "loop" else None)
    record = Record(server)
    if style == "events":
        server.on_message(take)
    text = "x" * 2000
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        for number in range(100):
            await client.send([number, text])
        before = peak = resident()
        for number in range(100, 10_000):
            await client.send([number, text])
            if number % 100 == 0:
                peak = max(peak, resident())
        await client.close()
        await record.until(lambda: record.closed)
    assert numbers == list(range(10_000))
    assert max(waiting) <= 16
    assert peak - before < 4 * 2**20


# -- a slow client


@pytest.mark.slow
async def test_a_client_that_never_reads_pays_alone() -> None:
    """200 MB are broadcast over real sockets: one client never reads, and is closed; the others get every byte."""

    async def read_all(stream: trio.abc.Stream, number: int, surplus: bytes | bytearray) -> None:
        data: bytes | bytearray = surplus
        while progress[number] < count * len(frame):
            start = progress[number] % len(frame)
            assert twice.startswith(bytes(data[: len(frame)]), start), "the stream is torn"
            progress[number] += len(data)
            news.unpark_all()
            if progress[number] < count * len(frame):
                data = await stream.receive_some(65536)
                assert data, "the server has hung up"
        assert progress[number] == count * len(frame)

    message = "x" * 65_000
    frame = Payload.of(f'"{message}"').frame()
    twice, count = frame + frame, 200_000_000 // len(frame) + 1
    progress, news = [0, 0, 0], trio.lowlevel.ParkingLot()
    # It learns why at the very end, which may be far away on a busy machine.
    server = make_server(timeout=0, ping_interval=0, close_timeout=100_000, flush_timeout=100_000)
    record = Record(server)
    with trio.fail_after(120):
        async with running(server), trio.open_nursery() as nursery:
            slow = await trio.open_tcp_stream(*server.addresses[0])
            await WebSocketClient.connect(slow)
            await record.until(lambda: record.opened)
            clients = [
                await WebSocketClient.connect(await trio.open_tcp_stream(*server.addresses[0])) for _ in progress
            ]
            for number, client in enumerate(clients):
                nursery.start_soon(read_all, client.stream, number, client._reader.buffer)
            await record.until(lambda: len(record.opened) == 4)
            before = peak = resident()
            for sent in range(count):
                server.broadcast(message)
                while min(progress) < (sent - 7) * len(frame):  # the others are slow, too, on a busy machine
                    await news.park()
                if sent % 100 == 0:
                    peak = max(peak, resident())
            while min(progress) < count * len(frame):
                await news.park()
            assert [(connection, code) for connection, code, _ in record.closed] == [(record.opened[0], 1013)]
            assert len(server.connections) == 3
            # It can tell why: what was on the way, then the close frame.
            reader = Reader(slow)
            with suppress(EOFError):
                while b"\x03\xf5the client does not read" not in reader.buffer:
                    del reader.buffer[:-200]
                    await reader.fill()
            assert b"\x03\xf5the client does not read" in reader.buffer
            for stream in (slow, *(client.stream for client in clients)):
                await stream.aclose()
    assert peak - before < 32 * 2**20


async def test_a_client_that_takes_nothing_for_ten_seconds_is_closed(autojump_clock: MockClock) -> None:
    """Even when what waits is far below every limit in bytes."""
    server = make_server(timeout=0, ping_interval=0)
    record = Record(server)
    async with memory_host(server) as host:
        await WebSocketClient.connect(host.stream(capacity=1000))
        await record.until(lambda: record.opened)
        server.broadcast("x" * 2000)
        start = trio.current_time()
        await record.until(lambda: record.closed)
        assert trio.current_time() - start == pytest.approx(10)
        assert [(code, reason) for _, code, reason in record.closed] == [(1013, "the client does not read")]
        await trio.testing.wait_all_tasks_blocked()
        assert server._host is not None
        assert server._host.open_channels == 0
