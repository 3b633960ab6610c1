"""One connection that floods takes no more than its share of the loop."""

from __future__ import annotations

import os
import socket
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Server
from ahtransport.testing import WebSocketClient, frame_bytes, memory_host, running
from certificates import dial, secured

if TYPE_CHECKING:
    from pathlib import Path

    from ahtransport import Connection

FRAMES = 3000


async def test_a_read_full_of_small_frames_is_handled_in_turns(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    received: list[int] = []
    turns = [0]
    first = trio.Event()

    @server.on_message
    def note(connection: Connection, message: Any) -> None:
        received.append(message)
        first.set()

    async def others(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        while len(received) < FRAMES:
            turns.append(len(received))
            await trio.lowlevel.checkpoint()

    async with memory_host(server) as host:
        client = await WebSocketClient.connect(await host.dial(), "/primus")
        await client.send("0")
        await first.wait()
        async with trio.open_nursery() as nursery:
            await nursery.start(others)
            await client.stream.send_all(b"".join(frame_bytes(1, b"%d" % n) for n in range(1, FRAMES)))
        assert received == list(range(FRAMES))
    # No two turns of the others are further apart than a turn of the flood; 128 is what _net/websocket.py says.
    assert max(after - before for before, after in pairwise(turns)) <= 128


# -- under either driver: real sockets, and time measured in turns, not in seconds


class Turns(trio.abc.Instrument):
    """Counts trio's rounds: in each of them every task that can run has its turn."""

    def __init__(self) -> None:
        self.rounds = 0

    def before_io_wait(self, timeout: float) -> None:
        self.rounds += 1


class Flood:
    """A peer that fills its socket's buffers again and again, without ever reading."""

    def __init__(self, sock: socket.socket, chunk: bytes) -> None:
        self.sock = sock
        self.chunk = chunk
        self.rest = b""

    def go_on(self) -> None:
        try:
            while True:
                self.rest = self.rest or self.chunk
                self.rest = self.rest[self.sock.send(self.rest) :]
        except BlockingIOError:
            return


async def go_on_for_ever(stream: trio.abc.Stream, chunk: bytes) -> None:
    """Be such a peer where what is sent has to be encrypted first."""
    while True:
        await stream.send_all(chunk)


async def connected(server: Server) -> WebSocketClient:
    return await WebSocketClient.connect(await trio.open_tcp_stream(*server.addresses[0]))


async def test_who_floods_over_tls_takes_no_more_than_its_share(tmp_path: Path) -> None:
    """As below: what one read brings is decrypted at once, but not handled at once."""
    server = Server(config={}, port=0, **secured(tmp_path))
    flooded = 0

    @server.on_message
    def echo(connection: Connection, message: Any) -> None:
        nonlocal flooded
        if message == "flood":
            flooded += 1
        else:
            connection.send_nowait(message)

    async with running(server), trio.open_nursery() as nursery:
        flood = await WebSocketClient.connect(await dial(server.addresses[0]))
        clients = [await WebSocketClient.connect(await dial(server.addresses[0])) for _ in range(10)]
        nursery.start_soon(go_on_for_ever, flood.stream, frame_bytes(1, b'"flood"') * 1000)
        while not flooded:
            await trio.lowlevel.checkpoint()
        begun, delays = flooded, []
        for number in range(20):
            for client in clients:
                await client.send(str(number))
            before = flooded
            for client in clients:
                assert await client.receive() == str(number)
            delays.append(flooded - before)
        nursery.cancel_scope.cancel()
    for client in (flood, *clients):
        await trio.aclose_forcefully(client.stream)
    assert flooded - begun > 128  # it was one
    # To take what has come and to decrypt it costs each of the ten a turn or two; one read has thousands of frames.
    assert max(delays) <= 32 * 128


@pytest.mark.parametrize("frames", ["messages", "fragments"])
async def test_who_floods_takes_no_more_than_its_share(frames: str) -> None:
    """While one connection floods, the echoes of others come within a few turns of the flood's."""
    server = Server(config={}, port=0)
    counts: Counter[Connection] = Counter()
    flooding: list[Connection] = []
    answered = 0

    @server.on_message
    def echo(connection: Connection, message: Any) -> None:
        if message == "flood":
            if not flooding:
                flooding.append(connection)
            counts[connection] += 1
        else:
            connection.send_nowait(message)

    chunk = frame_bytes(1, b'"flood"')
    if frames == "fragments":
        chunk = frame_bytes(1, b'"flo', fin=False) + frame_bytes(0, b'od"')
    async with running(server):
        flood = await trio.open_tcp_stream(*server.addresses[0])
        await WebSocketClient.connect(flood)
        sock = socket.socket(fileno=os.dup(flood.socket.fileno()))
        sock.setblocking(False)
        pump = Flood(sock, chunk * 1000)
        clients = [await connected(server) for _ in range(10)]
        delays: list[int] = []
        pump.go_on()
        while not flooding:
            await trio.lowlevel.checkpoint()
        for number in range(20):
            for client in clients:
                await client.send(str(number))
            pump.go_on()
            before = counts[flooding[0]]
            for client in clients:
                assert await client.receive() == str(number)
                answered += 1
            delays.append(counts[flooding[0]] - before)
        sock.close()
        for stream in (flood, *(client.stream for client in clients)):
            await trio.aclose_forcefully(stream)
    assert answered == 200
    assert counts[flooding[0]] > 128  # it was one
    # All ten get theirs within a few turns of the flood, which has 128 frames in each of them.
    assert max(delays) <= 16 * 128


async def test_a_ticker_runs_on_under_full_load() -> None:
    """Twenty floods at once: a task of the same program has its turn again and again, however long their queues are."""
    server = Server(config={}, port=0)
    handled = 0
    most = 0
    since = 0

    @server.on_message
    def take(connection: Connection, message: Any) -> None:
        nonlocal handled, since, most
        handled += 1
        since += 1
        most = max(most, since)

    turns = Turns()
    ticks = 0
    async with running(server):
        streams = []
        pumps = []
        for _ in range(20):
            stream = await trio.open_tcp_stream(*server.addresses[0])
            await WebSocketClient.connect(stream)
            sock = socket.socket(fileno=os.dup(stream.socket.fileno()))
            sock.setblocking(False)
            streams.append(stream)
            pumps.append(Flood(sock, frame_bytes(1, b"1") * 2000))
        trio.lowlevel.add_instrument(turns)
        while handled < 100_000:
            since = 0
            ticks += 1
            for pump in pumps:
                pump.go_on()
            await trio.lowlevel.checkpoint()
        trio.lowlevel.remove_instrument(turns)
        found = most
        for pump, stream in zip(pumps, streams, strict=True):
            pump.sock.close()
            await trio.aclose_forcefully(stream)
    # Between two ticks each connection has at most its turn with what it reads, and one with what was left over.
    assert found <= 2 * 20 * 128
    assert ticks >= turns.rounds - 1  # it was never left out of a round
    assert ticks >= 100_000 // (2 * 20 * 128)
