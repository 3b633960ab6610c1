"""One task for all plain sockets: a level-triggered selector, whose own descriptor trio waits for.

With a task per socket, every message would cost trio two rounds of its scheduler and one of epoll. Here a wake-up
serves every socket that has become ready, and an idle connection owns no task.
"""

from __future__ import annotations

from collections import deque
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

import trio

from ahtransport._barrier import contained
from ahtransport._heartbeat import nobody_waits
from ahtransport._net.channel import CHUNK, NOBODY, OnSocket
from ahtransport._net.departures import Departures
from ahtransport._net.poller import READ, WRITE
from ahtransport._sleep import is_asleep, sleep, wake

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from ahtransport._heartbeat import Deadlines
    from ahtransport._net.channel import Channel
    from ahtransport._net.departures import EachSocket
    from ahtransport._net.poller import Poller
    from ahtransport.abc import Timer

__all__ = ["Reactor", "ReactorChannel"]

_BATCH: Final = 256  # sockets that one question to the selector may give
# Seconds after which all other tasks have their turn, whatever else is ready. With a task per connection and a thousand
# of them, four times as much costs an eighth more: by the time they run, what they need has left the caches.
_SLICE: Final = 0.0005
# Seconds past that from which the others have a round of their own. They are served in no order: who became due in a
# turn that was long, as a broadcast is, would else wait for another such turn, half of the time.
_LONG: Final = 0.001
_SENDS: Final = 16  # calls of sendmsg for one connection, before the others have their turn
_PIECES: Final = 64  # pieces that one call of sendmsg takes


class Watched(Protocol):
    """What a reactor has in its table."""

    def ready(self, events: int, now: float) -> None:
        """Learn that the selector has reported this descriptor."""
        ...

    def failed(self) -> None:
        """Learn that :meth:`ready` has raised something, which is logged already."""
        ...

    def end(self) -> None:
        """Learn that the reactor ends: give everything back at once."""
        ...


class Reactor:
    """Serves every descriptor in its table until it is cancelled."""

    def __init__(self, poller: Poller, deadlines: Deadlines, each: EachSocket | None = None) -> None:
        self.deadlines = deadlines
        self._departures = Departures(each)
        self._poller = poller
        self._table: dict[int, Watched] = {}
        self._muted: set[int] = set()  # those in the table that the selector is not asked about
        self._soon: deque[Callable[[], None]] = deque()
        self._turning = False  # whether the reactor itself is running, and will see what is to be done soon or sent
        self._errand: trio.lowlevel.Task | None = None  # who does it, where it is not
        self._idle = False  # whether it waits for the selector
        self._rounds = 0

    def __len__(self) -> int:
        return len(self._table)

    def rounds(self) -> float:
        """Tell how often every socket that was ready has been served; inf: none is."""
        return inf if self._idle else self._rounds

    def add(self, fd: int, watched: Watched, interest: int = READ) -> None:
        """Watch a descriptor."""
        self._poller.register(fd, interest)
        self._table[fd] = watched

    def watch(self, fd: int, interest: int) -> None:
        """Watch a descriptor that is in the table for something else; 0 for nothing but its breaking."""
        if fd in self._muted:
            self._muted.remove(fd)
            self._poller.register(fd, interest)
        else:
            self._poller.modify(fd, interest)

    def mute(self, fd: int) -> None:
        """Watch a descriptor not even for its breaking, until :meth:`watch`; it stays in the table."""
        if fd not in self._muted:
            self._muted.add(fd)
            self._poller.unregister(fd)

    def remove(self, fd: int) -> None:
        """Watch a descriptor no longer; to be called before it is closed."""
        if self._table.pop(fd, None) is None:
            return
        if fd in self._muted:
            self._muted.remove(fd)
        else:
            self._poller.unregister(fd)

    def soon(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` after whatever is going on."""
        self._soon.append(callback)
        self._call()

    def next(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` after whatever is going on, and before all else that is to be done :meth:`soon`."""
        self._soon.appendleft(callback)
        self._call()

    def collect(self, channel: OnSocket) -> bool:
        """Have what a channel has collected sent at the end of this turn; False: this is no turn of the reactor."""
        if self._turning:
            self._departures.channels.append(channel)
        return self._turning

    def _call(self) -> None:
        if not self._turning and self._errand is not None and is_asleep(self._errand, self):
            wake(self._errand)

    async def _errands(self) -> None:
        """Do what is to be done soon when it was somebody else than the reactor's own loop who said so."""
        self._errand = task = trio.lowlevel.current_task()
        try:
            while True:
                if self._soon:
                    await trio.lowlevel.checkpoint()
                else:
                    await sleep(task, self)
                self._turning = True
                self._run_soon()
                self._turning = False
        finally:
            self._errand = None  # nobody is to be woken any more; whoever closes something now must not fail

    def _run_soon(self) -> None:
        # Those that come while these run are for the next turn: one connection must not keep the others waiting. Nor
        # must all of them together, when thousands are closed at once.
        until = perf_counter() + _SLICE
        for _ in range(len(self._soon)):
            callback = self._soon.popleft()
            with contained("a connection's protocol"):
                callback()
            if perf_counter() > until:
                break
        self._depart()

    def _depart(self) -> None:
        """Send what the channels of this turn have collected."""
        channels = self._departures.channels
        if channels:
            try:
                self._departures.leave()
            except BaseException as error:
                for channel in channels:  # nobody knows what was sent, and a gap is worse than an end
                    channel.abort()
                with contained("sending what was collected"):
                    raise error

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve for ever; when cancelled, everything in the table is ended."""
        self.deadlines.rounds = self.rounds
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._errands)
                task_status.started()
                await self._serve()
        finally:
            self.deadlines.rounds = nobody_waits
            for watched in list(self._table.values()):
                with contained("closing a connection"):
                    watched.end()
            while self._soon:
                self._run_soon()
            self._poller.close()

    async def _serve(self) -> None:
        poll, table, soon, descriptor = self._poller.poll, self._table, self._soon, self._poller.fileno()
        events: Sequence[tuple[int, int]] = ()
        until = 0.0
        while True:
            if soon or (events and perf_counter() > until):
                until = await self._let_others(until)
            elif not events:
                self._idle = True
                await trio.lowlevel.wait_readable(descriptor)
                self._idle = False
                until = perf_counter() + _SLICE
            # As long as some were ready, others may be by now, and to ask costs a tenth of going through trio.
            self._turning = True
            now = trio.current_time()
            events = poll(0, _BATCH)
            for fd, flags in events:
                watched = table.get(fd)
                if watched is None:
                    continue
                try:
                    watched.ready(flags, now)
                except BaseException as error:
                    self._contain(watched, error)
                if perf_counter() > until:
                    self._depart()
                    # The rest of the batch comes right after, or those behind would never have their turn. A
                    # descriptor that is somebody else's by then finds nothing to read, and that is all.
                    self._turning = False
                    until = await self._let_others(until)
                    self._turning = True
                    now = trio.current_time()
            self._depart()
            if len(events) < _BATCH:
                self._rounds += 1
            if soon:
                self._run_soon()
            self._turning = False

    async def _let_others(self, until: float) -> float:
        """Let all other tasks have their turn after one that was to end at ``until``; gives when the next is to end."""
        was_long = perf_counter() > until + _LONG
        await trio.lowlevel.checkpoint()
        if was_long:
            await trio.lowlevel.checkpoint()
        return perf_counter() + _SLICE

    def _contain(self, watched: Watched, error: BaseException) -> None:
        try:
            with contained("a connection's protocol"):
                raise error
        finally:
            del error  # its traceback holds this frame, and so everything in it
        watched.failed()


class ReactorChannel(OnSocket):
    """A channel on a plain, connected, non-blocking socket that a reactor watches."""

    __slots__ = ("_eof", "_going_on", "_interest", "_on_lost", "_patience", "_progress", "_reactor")

    def __init__(
        self, sock: socket.socket, reactor: Reactor, peer: tuple[str, int], on_lost: Callable[[Channel], None]
    ) -> None:
        super().__init__(sock, reactor.deadlines, peer)
        self._reactor = reactor
        self._on_lost = on_lost
        self._interest = READ
        self._going_on = False  # whether what is left over is to be taken before anything is read
        self._eof = False  # whether the peer has ended its side while something waited for it
        self._progress = 0.0  # when some of the backlog left last
        self._patience: Timer | None = None  # looks after the backlog

    def start(self) -> None:
        """Be served from now on."""
        self._reactor.add(self.descriptor, self)

    # -- what the reactor calls

    def ready(self, events: int, now: float) -> None:
        """Read, or write what waits."""
        if self.closed:
            return
        if events & self._interest & WRITE:
            self._flush(now)
            if self.closed or events == WRITE:
                return
        if self._paused or self._eof:
            # Not before it matters: most pauses are over before anything more arrives.
            self._want(self._interest & ~READ)
            if events & ~(READ | WRITE):
                # Broken: it would be reported for ever; whoever resumes will see it.
                self._reactor.mute(self.descriptor)
                self._interest = 0
            return
        if self._going_on:
            return  # the end of the stream, say, must not come before what is left over
        try:
            data = self._sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        if self._ending:
            if not data:
                if self._backlog:
                    self._eof = True
                else:
                    self.abort()
        elif data:
            self.wire.data(data, now)
        else:
            self.wire.eof()
            if not self._ending:
                self.abort()

    def failed(self) -> None:
        """The wire has failed, and is of no use any more; what it has answered before that leaves as far as it can."""
        self.uncork()
        self.abort()

    def end(self) -> None:
        """The reactor ends; what a handler has sent just before that leaves as far as it can."""
        self.uncork()
        self.abort()

    def end_turn(self) -> None:
        """Send what was collected, together with what others have to send in this turn."""
        if not (self._corked and self._reactor.collect(self)):
            self.uncork()

    def _want(self, interest: int) -> None:
        if interest != self._interest:
            self._interest = interest
            self._reactor.watch(self.descriptor, interest)

    # -- writing

    def _start_flush(self) -> None:
        self._progress = trio.current_time()
        self._want(self._interest | WRITE)
        self._wait()

    def _flush(self, now: float) -> None:
        for _ in range(_SENDS):
            backlog = self._backlog
            if not backlog:
                break
            pieces = [piece for piece, _ in zip(backlog, range(_PIECES), strict=False)]
            try:
                self._sent(self._sock.sendmsg(pieces))
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.abort()
                return
            self._progress = now
        if not self._backlog:
            self._want(self._interest & ~WRITE)
            self._stop_waiting()
            self._all_sent()
            if self._eof:
                self.abort()

    def _wait(self) -> None:
        """See to it that the wire is told when nothing leaves."""
        if self._patience is None and self.flush_timeout < inf:
            self._patience = self._deadlines.at(self._progress + self.flush_timeout, self._look)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _look(self) -> None:
        self._patience = None
        if self.closed or not self._backlog:
            return
        now = trio.current_time()
        if now >= self._progress + self.flush_timeout:
            self._progress = now
            self.wire.stalled()
        if self._backlog and not self.closed:
            self._wait()

    # -- reading

    def soon(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the other connections have had their turn."""
        self._reactor.soon(callback)

    def next(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the running task has nothing more to do for now."""
        self._reactor.next(callback)

    def _resumed(self) -> None:
        if not self._going_on:
            self._going_on = True
            self._reactor.soon(self._go_on)

    def _go_on(self) -> None:
        """Read again, beginning with what is left over."""
        self._going_on = False
        if not self.closed and not self._ending and not self._paused:
            try:
                self.wire.data(b"", trio.current_time())
            except BaseException:
                self.failed()
                raise
        if not self.closed and not self._paused and not self._going_on:
            self._want(self._interest | READ)

    # -- ending

    def _aborted(self) -> None:
        self._reactor.remove(self.descriptor)
        self._reactor.soon(self._bury)

    def _bury(self) -> None:
        self._stop_waiting()
        self._forget()
        self._sock.close()
        try:
            self.wire.lost()
        finally:
            self.wire = NOBODY
            self._on_lost(self)
