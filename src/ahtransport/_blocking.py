"""Notice code that blocks the event loop: everybody waits for it, and nobody sees why.

Measured once per turn of trio's loop, not per task: from the moment the kernel had news to the moment trio asks it
again. That costs nothing that could be measured, and a handler that calls ``time.sleep`` shows.
"""

from __future__ import annotations

from time import monotonic, perf_counter

import trio

from ahtransport._log import fields, get_logger

__all__ = ["BlockingWatch"]

_log = get_logger()
_QUIET = 1.0  # seconds between two warnings
_WINDOW = 10.0  # seconds


class BlockingWatch(trio.abc.Instrument):
    """Warns when one turn of the loop takes longer than ``limit`` seconds.

    Attributes:
        count: how many turns were too long.
    """

    def __init__(self, limit: float = 0.1) -> None:
        self.limit = limit
        self.count = 0
        self._longest = 0.0  # in this window
        self._previous = 0.0  # in the one before
        self._before = 0.0  # in all that were before
        self._until = perf_counter() + _WINDOW
        self._since = perf_counter()
        self._warned = -_QUIET

    @property
    def worst(self) -> float:
        """The longest turn so far, seconds."""
        return max(self._before, self._previous, self._longest)

    def recent(self) -> float:
        """Give the longest turn of the last ten to twenty seconds, in seconds."""
        now = perf_counter()
        if now > self._until:
            self._turn_over(now)
        return max(self._previous, self._longest)

    def _turn_over(self, now: float) -> None:
        """Begin a new window."""
        self._before = self.worst
        self._previous = self._longest if now <= self._until + _WINDOW else 0.0
        self._longest = 0.0
        self._until = now + _WINDOW

    def after_io_wait(self, timeout: float) -> None:
        """The kernel had news: a turn begins."""
        self._since = perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        """The turn is over."""
        end = perf_counter()
        took = end - self._since
        if end > self._until:
            self._turn_over(end)
        if took > self._longest:
            self._longest = took
        if took > self.limit:
            self.count += 1
            now = monotonic()
            if now - self._warned >= _QUIET:
                self._warned = now
                _log.warning(
                    "the event loop was blocked for %.0f ms: a handler computes or waits without trio "
                    "(trio.to_thread.run_sync is for such work), or the machine is overloaded",
                    took * 1000,
                    extra=fields("loop.blocked", duration=round(took, 3)),
                )
