"""The reactor: whom it serves, when, and how it and its channels end."""

from __future__ import annotations

import errno
import select
import selectors
import socket
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from ahtransport._heartbeat import Deadlines
from ahtransport._net import acceptor as acceptors
from ahtransport._net import channel as channels
from ahtransport._net import reactor as reactors
from ahtransport._net.acceptor import Acceptor
from ahtransport._net.host import Host
from ahtransport._net.poller import READ, WRITE, EpollPoller, SelectorPoller
from ahtransport._net.reactor import Reactor, ReactorChannel
from ahtransport.testing._wires import Nobody
from test_net_channel import Log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ahtransport._net.departures import EachSocket
    from ahtransport._net.poller import Poller

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="both pollers need epoll here")


def selector_poller() -> Poller:
    return SelectorPoller(selectors.EpollSelector())


POLLERS = pytest.mark.parametrize("make_poller", [EpollPoller, selector_poller], ids=["epoll", "selector"])


def empty(peer: socket.socket) -> None:
    """Read all that is there."""
    while True:
        try:
            peer.recv(1_000_000)
        except BlockingIOError:
            return


@POLLERS
def test_whoever_is_ready_has_a_turn(make_poller: Callable[[], Poller]) -> None:
    """More are ready, again and again, than one answer tells of."""
    pairs = [socket.socketpair() for _ in range(10)]
    poller = make_poller()
    for here, there in pairs:
        there.send(b"x")
        poller.register(here.fileno(), READ)
    turns = Counter(fd for _ in range(10) for fd, _ in poller.poll(0, 4))
    assert set(turns) == {here.fileno() for here, _ in pairs}
    assert set(turns.values()) == {4}
    poller.close()
    for pair in pairs:
        for one in pair:
            one.close()


class Counting:
    """A poller that counts how often it is asked."""

    def __init__(self, poller: Poller) -> None:
        self.polls = 0
        self._poll = poller.poll
        for name in ("fileno", "register", "modify", "unregister", "close"):
            setattr(self, name, getattr(poller, name))

    def poll(self, timeout: float, maximum: int) -> list[tuple[int, int]]:
        self.polls += 1
        return self._poll(timeout, maximum)


class World:
    """A reactor that runs, and channels on it."""

    def __init__(self, poller: Poller, nursery: trio.Nursery, each: EachSocket | None = None) -> None:
        self.poller = Counting(poller)
        self.deadlines = Deadlines()
        self.reactor = Reactor(self.poller, self.deadlines, each)  # type: ignore[arg-type]
        self.nursery = nursery
        self.gone: list[ReactorChannel] = []
        self.ends: list[socket.socket] = []

    def channel(self, log: Log | None = None) -> tuple[ReactorChannel, Log, socket.socket]:
        """Make a channel that is served, its wire, and the peer's end."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.ends.append(theirs)
        channel = ReactorChannel(ours, self.reactor, ("peer", 1), self.gone.append)  # type: ignore[arg-type]
        channel.wire = log = log or Log()
        channel.start()
        return channel, log, theirs

    async def quiet(self) -> None:
        """Let all that can happen happen."""
        await trio.testing.wait_all_tasks_blocked(0.02)

    async def asleep(self) -> int:
        """Check that the reactor sleeps; gives how often the selector was asked in the meantime."""
        await self.quiet()
        before = self.poller.polls
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        await trio.sleep(0.02)
        return self.poller.polls - before


@asynccontextmanager
async def world(
    make_poller: Callable[[], Poller] = EpollPoller, each: EachSocket | None = None
) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        here = World(make_poller(), nursery, each)
        nursery.start_soon(here.deadlines.run)
        await nursery.start(here.reactor.run)
        try:
            yield here
        finally:
            nursery.cancel_scope.cancel()
            for end in here.ends:
                end.close()


@POLLERS
async def test_reading_writing_and_hanging_up(make_poller: Callable[[], Poller]) -> None:
    async with world(make_poller) as here:
        channel, log, peer = here.channel()
        assert len(here.reactor) == 1
        peer.send(b"question")
        await log.until("data")
        assert channel.write(b"answer")
        assert peer.recv(100) == b"answer"
        assert await here.asleep() == 0
        peer.close()
        await log.until("lost")
        assert log.received == b"question"
        assert log.events == ["data", "eof", "lost"]
        assert here.gone == [channel]
        assert len(here.reactor) == 0
        assert channel.wire is channels.NOBODY


@POLLERS
async def test_a_backlog_leaves_in_pieces_while_others_are_served(make_poller: Callable[[], Poller]) -> None:
    async with world(make_poller) as here:
        channel, log, peer = here.channel()
        _, other, friend = here.channel()
        sent = b"".join(bytes([number % 251]) * 700 for number in range(3000))
        for number in range(3000):
            channel.write(bytes([number % 251]) * 700)
        assert channel.queued > 64  # more than one call of sendmsg takes
        got = bytearray()
        while len(got) < len(sent):
            try:
                got += peer.recv(1_000_000)
            except BlockingIOError:
                await trio.lowlevel.checkpoint()
            if len(got) > len(sent) // 2 and "data" not in other.events:
                friend.send(b"me, too")
                await other.until("data")
                assert channel.buffered > 0
        assert got == sent
        await log.until("flushed")
        assert channel.buffered == 0
        assert await here.asleep() == 0


@POLLERS
async def test_a_dropped_backlog_leaves_nobody_waiting_for_writability(make_poller: Callable[[], Poller]) -> None:
    async with world(make_poller) as here:
        channel, log, peer = here.channel()
        channel.write(b"x" * 1_000_000)
        await here.quiet()
        channel._backlog.clear()  # type: ignore[union-attr] # as when the last piece ended exactly where the kernel was full
        channel.buffered = 0
        empty(peer)
        await log.until("flushed")
        assert await here.asleep() == 0
        assert channel.write(b"y")


@POLLERS
@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_socket_that_breaks_while_paused_keeps_nobody_busy(make_poller: Callable[[], Poller], how: str) -> None:
    async with world(make_poller) as here:
        channel, log, peer = here.channel()
        channel.pause()
        peer.send(b"last words")
        await here.quiet()
        if how == "reset":
            channel.write(b"unread, so that closing is a reset")
        peer.close()
        assert await here.asleep() == 0
        assert log.events == []
        channel.resume()
        await log.until("lost")
        assert log.events[0] == "go on"
        if how == "end":
            assert log.events == ["go on", "data", "eof", "lost"]
            assert log.received == b"last words"


@POLLERS
async def test_a_broken_socket_nobody_reads_ends_with_the_reactor(make_poller: Callable[[], Poller]) -> None:
    async with world(make_poller) as here:
        channel, log, peer = here.channel()
        channel.pause()
        peer.close()
        await here.quiet()
        channel.pause()
        assert len(here.reactor) == 1
    assert log.events == ["lost"]
    assert here.gone == [channel]


async def test_a_muted_descriptor_is_watched_again_and_removed() -> None:
    async with world() as here:
        channel, log, peer = here.channel()
        here.reactor.mute(channel.descriptor)
        here.reactor.mute(channel.descriptor)
        peer.send(b"1")
        await here.quiet()
        assert log.events == []
        here.reactor.watch(channel.descriptor, READ)
        await log.until("data")
        here.reactor.mute(channel.descriptor)
        channel.abort()
        await log.until("lost")


async def test_what_is_left_over_comes_before_the_end_of_the_stream() -> None:
    class Hungry(Log):
        def data(self, data: bytes, now: float) -> None:
            super().data(data, now)
            if data:
                channel.pause()

    async with world() as here:
        channel, log, peer = here.channel(Hungry())
        peer.send(b"one")
        await log.until("data")
        peer.close()
        await here.quiet()
        for _ in range(5):  # in any order of tasks
            channel.resume()
            channel.pause()
        channel.resume()
        await log.until("lost")
        assert log.events == ["data", "go on", "eof", "lost"]


async def test_errands_are_run_while_it_sleeps_and_in_turns() -> None:
    async with world() as here:
        assert await here.asleep() == 0
        done: list[int] = []
        turns = 0

        def again() -> None:
            done.append(turns)
            if len(done) < 5:
                here.reactor.soon(again)

        here.reactor.soon(again)
        assert done == []  # never before the caller has returned
        while len(done) < 5:
            turns += 1
            await trio.lowlevel.checkpoint()
        # An errand of an errand is for the next turn; trio shuffles those who run in one round.
        assert max(Counter(done).values()) <= 2
        assert await here.asleep() == 0


async def test_an_errand_that_fails_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as here:
        done = trio.Event()

        def fail() -> None:
            raise RuntimeError("on purpose")

        here.reactor.soon(fail)
        here.reactor.soon(done.set)
        await done.wait()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("where", ["data", "go on", "eof", "lost", "flushed"])
async def test_a_wire_that_fails_hurts_its_channel_only(where: str, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Log):
        def note(self, event: str) -> None:
            super().note(event)
            if event == where:
                raise RuntimeError("on purpose")

    async with world() as here:
        channel, log, peer = here.channel(Broken())
        _, other, friend = here.channel()
        if where == "go on":
            channel.pause()
            channel.resume()
        elif where == "flushed":
            channel.write(b"x" * 300_000)
            while "flushed" not in log.events:
                empty(peer)
                await trio.lowlevel.checkpoint()
        if where == "data":
            peer.send(b"x")
        elif where != "flushed":
            peer.close()
        await log.until("lost")
        assert log.events.count("lost") == 1
        assert here.gone == [channel]
        friend.send(b"y")
        await other.until("data")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_ctrl_c_in_a_wire_passes_and_everything_ends() -> None:
    class Interrupted(Log):
        def data(self, data: bytes, now: float) -> None:
            raise KeyboardInterrupt

    logs = []
    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        async with world() as here:
            _, log, peer = here.channel(Interrupted())
            _, other, _ = here.channel()
            logs = [log, other]
            peer.send(b"x")
            await trio.sleep_forever()
    assert [log.events for log in logs] == [["lost"], ["lost"]]


async def test_cancellation_ends_everything_once() -> None:
    logs: list[Log] = []
    async with world() as here:
        for number in range(5):
            channel, log, _ = here.channel()
            logs.append(log)
            if number == 1:
                channel.pause()
            elif number == 2:
                channel.write(b"x" * 1_000_000)
            elif number == 3:
                channel.shutdown()
            elif number == 4:
                channel.abort()
        here.reactor.soon(lambda: here.reactor.soon(lambda: None))
    assert [log.events for log in logs] == [["lost"]] * 5
    assert len(here.gone) == 5
    assert len(here.reactor) == 0
    here.reactor.soon(lambda: None)  # too late, and harmless


async def test_who_closes_something_while_it_ends_does_not_fail() -> None:
    async with world() as here:
        channel, _, _ = here.channel()

        async def tidy() -> None:
            try:
                await trio.sleep_forever()
            finally:
                channel.pause()
                channel.resume()
                channel.shutdown()
                channel.abort()

        for _ in range(3):
            here.nursery.start_soon(tidy)
        await here.quiet()
    assert here.gone == [channel]


async def test_reading_goes_on_for_a_while_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as here:
        channel, log, peer = here.channel()
        channel.write(b"answer")
        channel.shutdown()
        peer.send(b"more of the question")
        await here.quiet()
        assert (peer.recv(100), peer.recv(100)) == (b"answer", b"")
        assert (log.events, channel.closed) == ([], False)
        peer.close()
        await log.until("lost")
        monkeypatch.setattr(channels, "_LINGER", 0.01)
        channel, log, peer = here.channel()
        channel.shutdown()
        await log.until("lost")  # although the peer stays


async def test_a_peer_that_ends_its_side_still_gets_what_waits_for_it() -> None:
    async with world() as here:
        channel, log, peer = here.channel()
        channel.write(b"x" * 300_000)
        channel.shutdown()
        peer.shutdown(socket.SHUT_WR)
        assert await here.asleep() == 0  # nothing to read, nothing to write
        got = b""
        while len(got) < 300_000:
            try:
                got += peer.recv(1_000_000)
            except BlockingIOError:
                await trio.lowlevel.checkpoint()
        await log.until("lost")
        assert log.events == ["lost"]


async def test_who_does_not_read_is_reported_until_the_wire_ends_it() -> None:
    async with world() as here:
        channel, log, _ = here.channel()
        channel.flush_timeout = 0.01
        channel.write(b"x" * 1_000_000)
        await log.until("stalled")
        while log.events.count("stalled") < 2:
            await log.news.park()
        log.events.clear()
        channel.abort()
        await log.until("lost")
        assert log.events == ["lost"]
        assert channel.cut
        patient, other, _ = here.channel()
        patient.flush_timeout = float("inf")
        patient.write(b"x" * 1_000_000)
        await trio.sleep(0.02)
        assert other.events == []


async def test_a_descriptor_that_is_used_again_in_the_same_turn() -> None:
    """What was reported about the old socket is nothing to the new one."""
    async with world() as here:
        first, log, _ = here.channel()
        number = first.descriptor
        first.abort()
        await log.until("lost")
        again, other, peer = here.channel()
        assert again.descriptor == number
        for flags in (READ, WRITE, READ | WRITE, select.EPOLLHUP | READ):
            again.ready(flags, 0.0)
        assert (other.events, again.closed) == ([], False)
        peer.send(b"x")
        await other.until("data")
        again.abort()
        again.ready(READ, 0.0)
        assert other.events == ["data"]


async def test_events_for_nobody_are_ignored() -> None:
    async with world() as here:
        ours, theirs = socket.socketpair()
        here.ends += [ours, theirs]
        real = here.poller._poll
        here.poller._poll = lambda timeout, maximum: [(99999, READ), *real(timeout, maximum)]
        _, log, peer = here.channel()
        peer.send(b"x")
        await log.until("data")
        here.reactor.remove(99999)


class Rounds:
    """Another task of the program, which counts how often it has its turn."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        while True:
            self.count += 1
            await trio.lowlevel.checkpoint()


async def test_a_long_batch_lets_other_tasks_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many sockets are ready: after its slice of time the reactor lets the rest of the program go on."""
    monkeypatch.setattr(reactors, "_SLICE", 0.0)
    rounds = Rounds()
    seen: list[int] = []

    class Noted(Log):
        def data(self, data: bytes, now: float) -> None:
            seen.append(rounds.count)

    async with world() as here:
        peers = [here.channel(Noted())[2] for _ in range(20)]
        for peer in peers:
            peer.send(b"x")
        here.nursery.start_soon(rounds.run)
        while len(seen) < 20:
            await trio.lowlevel.checkpoint()
    assert max(Counter(seen).values()) <= 2  # trio shuffles those who run in one round


@pytest.mark.parametrize("within", ["a turn", "another task"])
async def test_many_errands_let_other_tasks_in(monkeypatch: pytest.MonkeyPatch, within: str) -> None:
    """Thousands of connections may be closed at once; and an errand that fails takes no other with it."""
    monkeypatch.setattr(reactors, "_SLICE", 0.0)
    rounds = Rounds()
    seen: list[int] = []

    def errand() -> None:
        seen.append(rounds.count)
        if len(seen) == 5:
            raise ValueError("on purpose")

    def many() -> None:
        for _ in range(20):
            here.reactor.soon(errand)

    class Busy(Log):
        def data(self, data: bytes, now: float) -> None:
            many()

    async with world() as here:
        here.nursery.start_soon(rounds.run)
        if within == "a turn":
            here.channel(Busy())[2].send(b"x")
        else:
            many()
        while len(seen) < 20:
            await trio.lowlevel.checkpoint()
    assert max(Counter(seen).values()) <= 2


class Door:
    """A listening socket that does what it is told when somebody is let in."""

    def __init__(self, outcomes: list[Any]) -> None:
        self.outcomes = outcomes
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.setblocking(False)

    def fileno(self) -> int:
        return self.sock.fileno()

    def accept(self) -> Any:
        if self.outcomes and (outcome := self.outcomes.pop(0)):
            raise OSError(outcome, "on purpose")
        return self.sock.accept()

    def close(self) -> None:
        self.sock.close()


async def test_who_is_due_in_a_long_turn_does_not_wait_for_the_next() -> None:
    """As a ticker beside broadcasts; trio shuffles those who run in one round."""
    began: list[float] = []

    class Busy(Log):
        def data(self, data: bytes, now: float) -> None:
            began.append(trio.current_time())
            time.sleep(0.003)

    async with world() as here:
        for _ in range(60):
            _, _, peer = here.channel(Busy())
            peer.send(b"x")
        waited = 0
        for _ in range(25):
            due = trio.current_time() + 0.001
            await trio.sleep_until(due)
            waited += any(start > due for start in began)
        assert 10 < len(began) < 60
    assert waited <= 5  # by chance it would be half of them; one may become due just before a turn begins


@POLLERS
async def test_accepting_goes_on_whatever_happens(
    make_poller: Callable[[], Poller], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acceptors, "RETRY", 0.01)
    door = Door([errno.ECONNABORTED, errno.EPROTO, errno.EMFILE, errno.EMFILE, errno.EAGAIN])
    accepted: list[socket.socket] = []
    news = trio.Event()

    def take(client: socket.socket, address: object) -> None:
        accepted.append(client)
        news.set()

    async with world(make_poller) as here:
        acceptor = Acceptor(door, here.reactor, take)  # type: ignore[arg-type]
        for number in (1, 2):
            news = trio.Event()
            here.ends.append(socket.create_connection(door.sock.getsockname()))
            await news.wait()
            assert len(accepted) == number
        assert [record.levelname for record in caplog.records] == ["ERROR"]  # said once, not each time
        acceptor.failed()
        acceptor.end()
        acceptor.end()
        acceptor._retry()
        assert door.fileno() == -1
    for client in accepted:
        client.close()


async def test_a_connection_that_the_selector_has_no_room_for(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as here:
        host = Host(Nobody(), here.deadlines)
        host._reactor = here.reactor

        def full(fd: int, interest: int) -> None:
            raise OSError(errno.ENOSPC, "no more watches")

        here.poller.register = full  # type: ignore[attr-defined]
        ours, theirs = socket.socketpair()
        with theirs:
            host._accepted(ours, ("127.0.0.1", 1))
            assert host.open_channels == 1
            await here.quiet()
            assert host.open_channels == 0
            assert theirs.recv(1) == b""
    assert "no more watches" in caplog.text


async def test_a_selector_can_watch_for_nothing() -> None:
    poller = selector_poller()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        poller.register(ours.fileno(), 0)
        assert poller.poll(0, 10) == []
        poller.modify(ours.fileno(), READ)
        assert poller.poll(0, 10) == [(ours.fileno(), READ)]
        poller.modify(ours.fileno(), READ | WRITE)
        assert poller.poll(0, 10) == [(ours.fileno(), READ | WRITE)]
        assert poller.poll(0, 0) == []
        poller.modify(ours.fileno(), WRITE)
        assert poller.poll(0, 10) == [(ours.fileno(), WRITE)]
        poller.modify(ours.fileno(), 0)
        assert poller.poll(0, 10) == []
        poller.unregister(ours.fileno())
        poller.unregister(ours.fileno())
    poller.close()
