"""One task for every deadline of the server: heartbeats, time-outs, handshakes.

Most deadlines move with every message, so a timer is never moved: when it fires, its callback looks at what happened
meanwhile and asks for another one. That keeps the hot path to one attribute assignment.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from ahtransport._log import fields, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._connection import Connection

__all__ = ["Alarm", "Deadlines", "Watch", "nobody_waits"]

_log = get_logger()

# A process that was stopped, or whose machine slept, finds all deadlines gone by at once, although its peers may be
# alive. So the task of the deadlines looks at the clock every few seconds: when it comes that much too late it was not
# the peers who were silent.
STALL = 5.0
CATCH_UP = 1.0  # seconds for reading what came meanwhile before anybody is judged, at most
#: Seconds that a wake-up may be late before it counts as the loop having stood still.
_LATE: Final = 0.02
#: How many turns all others have then, at least, before anybody is judged.
_TURNS: Final = 100


class Alarm:
    """One deadline; compares by time, then by age."""

    __slots__ = ("callback", "number", "owner", "when")

    def __init__(self, owner: Deadlines, when: float, number: int, callback: Callable[[], None]) -> None:
        self.owner = owner
        self.when = when
        self.number = number
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: Alarm) -> bool:
        return (self.when, self.number) < (other.when, other.number)

    def cancel(self) -> None:
        """Make it not happen."""
        if self.callback is not None:
            self.callback = None
            self.owner._cancelled()


def nobody_waits() -> float:
    """Tell how often one task has served everybody who was ready, where there is no such task: often enough."""
    return inf


class Deadlines:
    """A heap of timers served by :meth:`run`.

    Attributes:
        awake_since: since when the loop has been running without a long pause, seconds of trio's clock; -inf: always.
        rounds: tells how often the task that reads for all, if there is one, has served everybody who was ready; inf:
            nobody waits for it.
    """

    def __init__(self) -> None:
        self.awake_since = -inf
        self.rounds: Callable[[], float] = nobody_waits
        self._heap: list[Alarm] = []
        self._number = 0
        self._dead = 0
        self._planned = inf  # when the next turn of run() should be
        self._sleeper = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def at(self, when: float, callback: Callable[[], None]) -> Alarm:
        """Call ``callback`` once trio's clock reaches ``when`` (seconds); it must not wait."""
        self._number += 1
        timer = Alarm(self, when, self._number, callback)
        heappush(self._heap, timer)
        if self._heap[0] is timer:
            self._planned = max(when, trio.current_time())  # one that is over already is not late
            self._sleeper.cancel()
        return timer

    def clear(self) -> None:
        """Forget everything, since a run is over: the next one's clock begins elsewhere."""
        for timer in self._heap:
            timer.callback = None  # or it would be counted, should anybody cancel it now
        self._heap = []
        self._dead = 0
        self._planned = inf
        self.awake_since = -inf

    def _cancelled(self) -> None:
        # Cancelled timers stay in the heap until they come up; many of them are swept out together.
        self._dead += 1
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            self._heap = [timer for timer in self._heap if timer.callback is not None]
            heapify(self._heap)
            self._dead = 0

    async def _on_time(self) -> float:
        """Give the time, as soon as it is what was planned; if it is late, once everybody else has had a turn.

        The loop has stood still then, or the machine had no time for it. What came meanwhile is to be read before
        anybody is judged by his silence: who has sent something is not silent because nobody looked. After a long stop
        that takes a while, and peers have to be asked again before they are judged: see ``awake_since``.
        """
        late = trio.current_time() - self._planned
        if late >= STALL:
            await trio.sleep(CATCH_UP)
        if late >= _LATE:
            for _ in range(_TURNS):
                await trio.lowlevel.checkpoint()
            # One round may be what had begun before; whoever is ready by now is served in the next.
            enough, until = self.rounds() + 2, trio.current_time() + CATCH_UP
            while self.rounds() < enough and trio.current_time() < until:
                await trio.lowlevel.checkpoint()
        if late >= STALL:
            self.awake_since = trio.current_time()
        return trio.current_time()

    async def run(self) -> None:
        """Serve the deadlines for ever."""
        while True:
            now = await self._on_time()
            while self._heap and self._heap[0].when <= now:
                timer = heappop(self._heap)
                callback, timer.callback = timer.callback, None
                if callback is None:
                    self._dead -= 1
                    continue
                try:
                    callback()
                except Exception:
                    _log.exception("a deadline's callback failed", extra=fields("failure", what="a deadline"))
                callback = None  # whose it was need not live until the next
            self._planned = min(self._heap[0].when, now + STALL) if self._heap else inf
            with trio.CancelScope() as self._sleeper:
                await trio.sleep_until(self._planned)


class Watch:
    """Primus' heartbeat and time-out for one connection.

    Clients from Primus 7 on hang up when no ``primus::ping::`` comes, whatever else does; so they are pinged every
    ``ping_interval`` seconds. Clients up to Primus 6 ping by themselves and don't know the server's pings; whoever has
    pinged is never pinged. Any traffic proves life: after ``timeout`` seconds without any a client counts as gone.
    Time in which the server itself stood still counts for nobody: after that all are pinged first, and judged
    ``timeout`` seconds later.
    """

    __slots__ = ("_connection", "_deadlines", "_ping_at", "_ping_interval", "_timeout", "_timer")

    def __init__(self, connection: Connection, deadlines: Deadlines, ping_interval: float, timeout: float) -> None:
        self._connection = connection
        self._deadlines = deadlines
        self._ping_interval = ping_interval or inf
        self._timeout = timeout or inf
        now = trio.current_time()
        self._ping_at = now + self._ping_interval
        self._timer: Alarm | None = None
        self._again(now)

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self, now: float) -> None:
        silent_at = self._connection.last_seen + self._timeout
        if silent_at <= now:  # silence of our own making: reading is paused
            silent_at = now + self._timeout
        when = min(silent_at, self._ping_at)
        self._timer = self._deadlines.at(when, self._look) if when < inf else None

    def _look(self) -> None:
        connection = self._connection
        now = trio.current_time()
        silent_since = max(connection.last_seen, self._deadlines.awake_since)
        if now - silent_since >= self._timeout and not connection.is_paused:
            connection.expire()
            return
        due = now >= self._ping_at
        if due:
            self._ping_at = inf if connection.pings_itself else now + self._ping_interval
        self._again(now)  # before a ping, which a parser may fail to encode
        if due and not connection.pings_itself:
            connection.ping()
