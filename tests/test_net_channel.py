"""Channels: one gate for everything that is written, on sockets and on streams in memory."""

from __future__ import annotations

import random
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest
import trio

from ahtransport._heartbeat import Deadlines
from ahtransport._net.poller import make_poller
from ahtransport._net.reactor import Reactor, ReactorChannel
from ahtransport._net.tasks import SocketChannel, StreamChannel, TaskChannel
from ahtransport.testing import memory_stream_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from ahtransport._net.channel import Channel

Kind = Literal["reactor", "socket", "memory"]
KINDS: list[Kind] = ["reactor", "socket", "memory"]


class Log:
    """A wire that writes down what it is told."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.events: list[str] = []
        self.news = trio.lowlevel.ParkingLot()

    def data(self, data: bytes, now: float) -> None:
        self.received += data
        self.note("data" if data else "go on")

    def eof(self) -> None:
        self.note("eof")

    def flushed(self) -> None:
        self.note("flushed")

    def stalled(self) -> None:
        self.note("stalled")

    def lost(self) -> None:
        self.note("lost")

    def note(self, event: str) -> None:
        self.events.append(event)
        self.news.unpark_all()

    async def until(self, event: str) -> None:
        while event not in self.events:
            await self.news.park()


@asynccontextmanager
async def channel_and_peer(kind: Kind, capacity: int = 1000) -> AsyncIterator[tuple[Channel, Log, trio.abc.Stream]]:
    deadlines, log = Deadlines(), Log()
    channel: Channel
    peer: trio.abc.Stream
    reactor: Reactor | None = None
    if kind != "memory":
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        if kind == "socket":
            channel = SocketChannel(ours, deadlines, ("peer", 1))
        else:
            poller = make_poller()
            assert poller is not None
            reactor = Reactor(poller, deadlines)
            channel = ReactorChannel(ours, reactor, ("peer", 1), lambda channel: None)
    else:
        peer, stream = memory_stream_pair(capacity)
        channel = StreamChannel(stream, deadlines, ("peer", 1))
    channel.wire = log
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        if isinstance(channel, ReactorChannel):
            assert reactor is not None
            await nursery.start(reactor.run)
            channel.start()
        else:
            assert isinstance(channel, TaskChannel)
            nursery.start_soon(channel.run, nursery)
        await trio.testing.wait_all_tasks_blocked()
        yield channel, log, peer
        channel.abort()
        await log.until("lost")
        assert log.events.count("lost") == 1
        assert log.events[-1] == "lost"
        await peer.aclose()
        nursery.cancel_scope.cancel()


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    data = b""
    while piece := await stream.receive_some():
        data += piece
    return data


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_written_arrives_in_order_and_then_the_end(kind: Kind) -> None:
    async with channel_and_peer(kind) as (channel, log, peer):
        chance, expected = random.Random(1), b""
        for number in range(200):
            piece = bytes([number]) * chance.randrange(1, 3000)
            expected += piece
            channel.write(piece)
        assert channel.buffered > 0
        assert channel.queued > 0
        channel.shutdown()
        assert not channel.write(b"too late")
        channel.shutdown()
        assert await read_to_end(peer) == expected
        await peer.aclose()
        await log.until("lost")
        assert (channel.buffered, channel.queued) == (0, 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_corked_pieces_leave_together(kind: Kind) -> None:
    async with channel_and_peer(kind, 10**6) as (channel, _, peer):
        channel.cork()
        channel.cork()
        channel.write(b"one ")
        channel.write(b"two ")
        await trio.testing.wait_all_tasks_blocked()
        channel.uncork()
        channel.uncork()
        assert await peer.receive_some() == b"one two "
        # What is corked has a limit of its own, and keeps its place behind what waits already.
        expected = b""
        channel.cork()
        for number in range(50):
            channel.write(bytes([number]) * 10_000)
            expected += bytes([number]) * 10_000
        channel.shutdown()
        assert await read_to_end(peer) == expected


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", ["reactor", "socket"])
async def test_what_goes_straight_out_keeps_its_place(kind: Kind, seed: int) -> None:
    chance, expected, got, straight = random.Random(seed), bytearray(), bytearray(), 0
    async with channel_and_peer(kind) as (channel, _, peer):
        for number in range(300):
            piece = bytes([number & 255]) * chance.choice([1, 10, 500, 5000])
            match chance.randrange(6):
                case 0:
                    channel.cork()
                case 1:
                    channel.uncork()
                case 2:
                    got += await peer.receive_some() if len(got) < len(expected) and channel.queued else b""
                    await trio.testing.wait_all_tasks_blocked()
                case 3:
                    channel.write(piece)
                    expected += piece
                case _:
                    sock = channel.straight
                    assert sock is None or not channel.queued
                    if sock is not None:
                        straight += 1
                        try:
                            sent = sock.send(piece)
                        except BlockingIOError:
                            channel.write(piece)
                        else:
                            assert sent == len(piece) or not channel.keep(piece, sent)
                        expected += piece
        assert straight > 5
        channel.shutdown()
        assert channel.straight is None
        got += await read_to_end(peer)
    assert got == expected


@pytest.mark.parametrize("kind", KINDS)
async def test_reading_pauses_and_goes_on(kind: Kind) -> None:
    async with channel_and_peer(kind) as (channel, log, peer):
        await peer.send_all(b"one")
        await log.until("data")
        channel.pause()
        assert channel.paused
        await peer.send_all(b"two")
        await trio.testing.wait_all_tasks_blocked(0.01)
        await peer.send_all(b"three")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(log.received) <= 6  # at most the read that was under way
        channel.resume()
        channel.resume()
        while log.received != b"onetwothree":
            await log.news.park()
        assert "go on" in log.events


@pytest.mark.parametrize("kind", KINDS)
async def test_the_peer_hangs_up(kind: Kind) -> None:
    async with channel_and_peer(kind) as (channel, log, peer):
        await peer.send_all(b"bye")
        await peer.aclose()
        await log.until("lost")
        assert log.received == b"bye"
        assert log.events[-2:] == ["eof", "lost"]
        assert channel.closed
        assert not channel.write(b"too late")


@pytest.mark.parametrize("kind", KINDS)
async def test_the_peer_vanishes_while_something_waits(kind: Kind) -> None:
    async with channel_and_peer(kind) as (channel, log, peer):
        channel.write(b"x" * 1_000_000)
        await peer.aclose()
        await log.until("lost")
        await channel.drain()  # it does not wait for what never leaves


@pytest.mark.parametrize("kind", KINDS)
async def test_flushed_and_drained(kind: Kind) -> None:
    async with channel_and_peer(kind) as (channel, log, peer):
        channel.write(b"x" * 100_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.drain)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert "flushed" not in log.events
            got = 0
            while got < 100_000:
                got += len(await peer.receive_some())
        await log.until("flushed")
        assert channel.buffered == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_an_empty_piece_does_not_wait(kind: Kind) -> None:
    async with channel_and_peer(kind) as (channel, _, peer):
        assert channel.write(b"")
        assert not channel.write(b"x" * 100_000)
        queued = channel.queued
        assert not channel.write(b"")
        channel.cork()
        channel.write(b"")
        channel.uncork()
        assert (channel.queued, channel.buffered > 0) == (queued, True)
        channel.write(b"end")
        channel.shutdown()
        with trio.fail_after(5):
            assert await read_to_end(peer) == b"x" * 100_000 + b"end"


async def test_a_peer_that_does_not_read_is_reported(autojump_clock: MockClock) -> None:
    async with channel_and_peer("memory") as (channel, log, _):
        channel.flush_timeout = 10
        start = trio.current_time()
        channel.write(b"x" * 5000)
        await log.until("stalled")
        assert trio.current_time() - start == pytest.approx(10)


async def test_a_peer_that_reads_slowly_is_not(autojump_clock: MockClock) -> None:
    async with channel_and_peer("memory", 20_000) as (channel, log, peer):
        channel.flush_timeout = 10
        channel.write(b"x" * 500_000)
        left = 500_000
        while left:
            await trio.sleep(2)
            left -= len(await peer.receive_some(20_000))
        await log.until("flushed")
        assert "stalled" not in log.events


@pytest.mark.parametrize("kind", KINDS)
async def test_dropping_the_backlog_tears_no_piece(kind: Kind) -> None:
    async with channel_and_peer(kind) as (channel, _, peer):
        channel.drop_backlog()  # nothing to drop
        for letter in (b"a", b"b", b"c"):
            channel.write(letter * 300_000)
        await trio.testing.wait_all_tasks_blocked(0.01)
        channel.drop_backlog()
        assert channel.queued == 1
        channel.write(b"end")
        channel.shutdown()
        data = await read_to_end(peer)
        assert data == b"a" * 300_000 + b"end"


async def test_a_piece_of_which_nothing_has_left_is_dropped() -> None:
    async with channel_and_peer("memory", 10) as (channel, log, peer):
        channel.write(b"a" * 10)
        await peer.receive_some(10)
        await log.until("flushed")
        channel.write(b"never begun")
        channel.drop_backlog()
        assert (channel.buffered, channel.queued) == (0, 0)


async def test_reading_goes_on_for_a_moment_after_the_last_byte() -> None:
    """Else TCP's reset could overtake the answer (RFC 9112 section 9.6)."""
    async with channel_and_peer("socket") as (channel, log, peer):
        channel.write(b"answer")
        channel.shutdown()
        await peer.send_all(b"more of the question")
        assert await read_to_end(peer) == b"answer"
        assert not channel.closed
        assert log.received == b""
        await peer.aclose()
        await log.until("lost")


async def test_a_wire_that_fails_ends_its_channel(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Log):
        def data(self, data: bytes, now: float) -> None:
            raise RuntimeError("a bug")

    for kind in KINDS:
        async with channel_and_peer(kind) as (channel, log, peer):
            channel.wire = broken = Broken()
            await peer.send_all(b"x")
            await broken.until("lost")
            log.note("lost")
    assert len([entry for entry in caplog.records if entry.levelname == "ERROR"]) == len(KINDS)


async def test_streams_that_raise_something_else() -> None:
    """A stream of somebody else's may raise what it likes: its connection ends, and nothing else."""

    class Rude(trio.abc.Stream):
        async def send_all(self, data: Any) -> None:
            raise OSError("no")

        async def wait_send_all_might_not_block(self) -> None: ...

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.sleep_forever()
            raise AssertionError

        async def aclose(self) -> None:
            raise OSError("no")

    deadlines, log = Deadlines(), Log()
    channel = StreamChannel(Rude(), deadlines, ("peer", 1))
    channel.wire = log
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run, nursery)
        await trio.testing.wait_all_tasks_blocked()
        channel.write(b"x")
    assert log.events == ["lost"]
