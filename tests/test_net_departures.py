"""What channels have collected in one turn of the reactor leaves at its end: whole, in order, and before others run."""

from __future__ import annotations

import errno
import select
import socket
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Connection, Server
from ahtransport._net import reactor as reactors
from ahtransport._net.poller import EpollPoller
from ahtransport._net.uring import make_ring
from ahtransport.testing import Record, WebSocketClient, frame_bytes, running
from test_net_channel import Log
from test_net_reactor import World, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from ahtransport._net.channel import Channel

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the reactor's tests need epoll")
WAYS = pytest.mark.parametrize("way", ["ring", "send"])


@pytest.fixture(autouse=True)
def _long_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is ready is served in one turn, however slow the machine is."""
    monkeypatch.setattr(reactors, "_SLICE", 60.0)


class Watched:
    """A ring that is looked at, or something of the kind that tells of trouble."""

    longest, most = 65536, 1024

    def __init__(self, each: Any = None, trouble: Callable[[list[int]], Any] | None = None) -> None:
        self.calls: list[list[bytes]] = []
        self._each = each
        self._trouble = trouble

    def send_each(self, descriptors: list[int], pieces: list[bytes]) -> Any:
        self.calls.append(pieces)
        return self._each.send_each(descriptors, pieces) if self._trouble is None else self._trouble(descriptors)


class Answering(Log):
    """A wire that answers what it gets, as a WebSocket does: what it says leaves at the end of the turn."""

    channel: Channel
    answer: Callable[[bytes], Any] = staticmethod(bytes.upper)

    def data(self, data: bytes, now: float) -> None:
        super().data(data, now)
        self.channel.cork()
        self.channel.write(self.answer(data))
        self.channel.end_turn()


class Crowd:
    """Channels whose wires answer, and their peers."""

    def __init__(self, here: World, count: int) -> None:
        self.wires = [Answering() for _ in range(count)]
        self.channels: list[Any] = []
        self.peers: list[socket.socket] = []
        for wire in self.wires:
            wire.channel, _, peer = here.channel(wire)
            self.channels.append(wire.channel)
            self.peers.append(peer)

    def say(self) -> None:
        """Have all of them send something, which is read in one turn."""
        for number, peer in enumerate(self.peers):
            peer.send(b"say %d" % number)

    def heard(self) -> list[bytes]:
        """Give what each peer has got."""
        found = []
        for peer in self.peers:
            try:
                found.append(peer.recv(100_000))
            except BlockingIOError:
                found.append(b"-")
        return found


@asynccontextmanager
async def crowd(count: int, way: str = "send", watched: Watched | None = None) -> AsyncIterator[tuple[Crowd, Watched]]:
    """Run a reactor and channels; a task looks at each turn's end whether anything has stayed behind."""
    ring = make_ring() if way == "ring" else None
    if way == "ring" and ring is None:
        pytest.skip("this system gives no io_uring")
    watched = watched or Watched(ring)
    try:
        async with world(EpollPoller, watched if watched._trouble or ring else None) as here:
            done = trio.CancelScope()

            async def look() -> None:
                with done:
                    while True:
                        await trio.lowlevel.checkpoint()
                        assert here.reactor._departures.channels == []

            here.nursery.start_soon(look)
            yield Crowd(here, count), watched
            done.cancel()
    finally:
        if ring is not None:
            ring.close()


def fill(sock: socket.socket) -> None:
    """Send until it takes nothing more."""
    for piece in (bytes(1000), b"\0"):
        with suppress(BlockingIOError):
            while True:
                sock.send(piece)


async def all_read(many: Crowd) -> None:
    """Wait until every wire has been given something."""
    for wire in many.wires:
        with trio.fail_after(5):
            await wire.until("data")
    for _ in range(3):
        await trio.lowlevel.checkpoint()


@WAYS
async def test_answers_of_a_turn_leave_together(way: str) -> None:
    async with crowd(20, way) as (many, watched):
        many.say()
        await all_read(many)
        assert many.heard() == [b"SAY %d" % number for number in range(20)]
        assert [len(call) for call in watched.calls] == ([20] if way == "ring" else [])


async def test_few_leave_by_a_call_each() -> None:
    async with crowd(4, "ring") as (many, watched):
        many.say()
        await all_read(many)
        assert many.heard() == [b"SAY %d" % number for number in range(4)]
        assert watched.calls == []


@WAYS
async def test_what_others_say_in_the_same_turn_keeps_its_place(way: str) -> None:
    """Each wire writes to the one before, which has answered already, and to the one behind, which has not."""
    async with crowd(10, way) as (many, _):

        def answering(number: int) -> Callable[[bytes], bytes]:
            def answer(data: bytes) -> bytes:
                for other in (number - 1, (number + 1) % 10):
                    many.channels[other].write(b"from %d, " % number)
                return b"own, "

            return answer

        for number, wire in enumerate(many.wires):
            wire.answer = answering(number)
        many.say()
        await all_read(many)
        heard = many.heard()
        assert heard[0] == b"own, from 1, from 9, "
        assert heard[5] == b"from 4, own, from 6, "
        assert heard[9] == b"from 0, from 8, own, "


@WAYS
async def test_long_ones_and_many(way: str) -> None:
    """More than one call takes, some of them too long to be copied: all arrive."""
    async with crowd(40, way) as (many, watched):
        for number, wire in enumerate(many.wires):
            wire.answer = lambda data, number=number: bytes([number]) * (2500 + 100 * number)  # type: ignore[misc]
        for channel in many.channels:
            channel._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # everything fits
        many.say()
        await all_read(many)
        assert many.heard() == [bytes([number]) * (2500 + 100 * number) for number in range(40)]
        if way == "ring":
            assert len(watched.calls) == 1
            assert sum(map(len, watched.calls[0])) == sum(2500 + 100 * number for number in range(16))


@WAYS
async def test_no_call_is_longer_than_it_may_be(way: str) -> None:
    async with crowd(40, way) as (many, watched):
        for wire in many.wires:
            wire.answer = lambda data: data * 500
        for channel in many.channels:
            channel._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        many.say()
        await all_read(many)
        assert many.heard() == [b"say %d" % number * 500 for number in range(40)]
        if way == "ring":
            assert [len(call) for call in watched.calls] == [23, 17]
            assert max(sum(map(len, call)) for call in watched.calls) <= 65536


@WAYS
async def test_who_takes_nothing_or_a_part_gets_the_rest_in_order(way: str) -> None:
    async with crowd(12, way) as (many, _):
        full = many.channels[:4]
        for channel in full:
            fill(channel._sock)
        many.say()
        await all_read(many)
        assert [channel.buffered > 0 for channel in many.channels] == [True] * 4 + [False] * 8
        assert many.heard()[4:] == [b"SAY %d" % number for number in range(4, 12)]
        for channel in full:
            assert not channel.write(b", and more")
        for number, wire in enumerate(many.wires[:4]):
            got = b""
            with trio.fail_after(5):
                while not got.endswith(b"more"):
                    try:
                        got += many.peers[number].recv(100_000)
                    except BlockingIOError:
                        await trio.lowlevel.checkpoint()
            assert got.lstrip(b"\0") == b"SAY %d, and more" % number
            await wire.until("flushed")


@WAYS
async def test_who_is_closed_before_the_turn_is_over(way: str) -> None:
    async with crowd(10, way) as (many, _):

        def last(data: bytes) -> bytes:
            many.channels[0].abort()
            many.channels[1].shutdown()
            many.channels[2].uncork()
            return b"last"

        many.wires[9].answer = last
        many.say()
        await all_read(many)
        assert many.heard() == [b"", *(b"SAY %d" % number for number in range(1, 9)), b"last"]
        assert many.peers[1].recv(10) == b""
        await many.wires[0].until("lost")


async def test_a_peer_that_has_gone_is_told_of() -> None:
    watched = Watched(trouble=lambda descriptors: [(3, -errno.EPIPE)])
    async with crowd(10, watched=watched) as (many, _):
        many.say()
        many.channels[3]._sock.shutdown(socket.SHUT_WR)
        await all_read(many)
        await many.wires[3].until("lost")
        assert ["lost" in wire.events for wire in many.wires].count(True) == 1


async def test_what_fails_costs_those_of_that_turn_only(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows who was sent what, so none of them may go on as if nothing had happened."""

    def fail(descriptors: list[int]) -> None:
        raise MemoryError

    async with crowd(10, watched=Watched(trouble=fail)) as (many, _):
        for peer in many.peers[:6]:
            peer.send(b"say")
        for wire in many.wires[:6]:
            await wire.until("lost")
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        many.peers[9].send(b"go on")
        await many.wires[9].until("data")
        await trio.lowlevel.checkpoint()
        assert many.heard()[9] == b"GO ON"


@WAYS
async def test_before_others_have_their_turn(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that takes too long is cut; what was collected by then has left when other tasks run."""
    monkeypatch.setattr(reactors, "_SLICE", 0.001)
    async with crowd(30, way) as (many, _):
        seen: list[int] = []

        def slowly(data: bytes) -> bytes:
            time.sleep(0.0004)
            return data

        for wire in many.wires:
            wire.answer = slowly
        many.say()
        heard = 0
        while heard < 30:
            await trio.lowlevel.checkpoint()
            heard += sum(each != b"-" for each in many.heard())
            seen.append(heard)
            assert heard == sum("data" in wire.events for wire in many.wires)
        assert len({*seen}) > 4


async def test_outside_of_a_turn_it_leaves_at_once() -> None:
    async with crowd(1) as (many, _):
        (channel,) = many.channels
        channel.cork()
        channel.write(b"now")
        channel.end_turn()
        assert many.heard() == [b"now"]


async def test_what_is_left_over_is_answered_in_its_own_turn() -> None:
    """Whoever resumes is served by an errand, where the reactor sleeps."""
    async with crowd(1) as (many, _):
        (channel,), (wire,) = many.channels, many.wires
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        wire.answer = lambda data: b"rest"
        channel.pause()
        channel.resume()
        await wire.until("go on")
        await trio.lowlevel.checkpoint()
        assert many.heard() == [b"rest"]


async def test_a_wire_that_fails_has_sent_what_it_said_before(caplog: pytest.LogCaptureFixture) -> None:
    async with crowd(3) as (many, _):

        def fail(data: bytes) -> bytes:
            many.channels[1].cork()
            many.channels[1].write(b"last words")
            raise RuntimeError("on purpose")

        many.wires[1].answer = fail
        many.say()
        await many.wires[1].until("lost")
        assert many.heard() == [b"SAY 0", b"last words", b"SAY 2"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_nobody_collects_without_end() -> None:
    """Others write to one who takes nothing, in one turn: what waits is soon counted."""
    async with crowd(100) as (many, _):
        slow = many.channels[0]
        results: list[bool] = []

        def write(data: bytes) -> bytes:
            results.append(slow.write(bytes(10_000)))
            return data

        for wire in many.wires[1:]:
            wire.answer = write
        many.say()
        await all_read(many)
        assert results.index(False) < 16
        assert slow.buffered + slow._sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > 10_000 * 80


async def test_what_is_worth_nothing_late_does_not_wait_behind_an_answer(tmp_path: Path) -> None:
    """A handler's volatile event to one who has been answered in the same turn, and whose socket is full."""
    path = str(tmp_path / "socket")
    server = Server(config={}, transformer="websockets", socket=path, blocking_warning=0)
    record = Record(server)
    taken: list[bool] = []

    @server.on_message
    def answer(connection: Connection, message: Any) -> None:
        if connection is record.opened[0]:
            connection.send_nowait("answer")
        else:
            taken.append(record.opened[0].volatile("position", 1))

    async with running(server):
        clients = []
        for _ in range(10):
            clients.append(await WebSocketClient.connect(await trio.open_unix_socket(path)))
            await record.until(lambda: len(record.opened) == len(clients))
        sock = record.opened[0]._link._channel._sock  # type: ignore[attr-defined]
        fill(sock)
        for client in clients:
            client.stream.socket._sock.send(frame_bytes(1, b"1"))  # type: ignore[attr-defined]
        with trio.fail_after(5):
            while len(taken) < 9:
                await trio.lowlevel.checkpoint()
        assert taken == [False] * 9
        for client in clients:
            await client.abort()
