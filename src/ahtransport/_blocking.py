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


class BlockingWatch(trio.abc.Instrument):
    """Warns when one turn of the loop takes longer than ``limit`` seconds.

    Attributes:
        worst: the longest turn so far, seconds.
        count: how many were too long.
    """

    def __init__(self, limit: float = 0.1) -> None:
        self.limit = limit
        self.worst = 0.0
        self.count = 0
        self._since = perf_counter()
        self._warned = -_QUIET

    def after_io_wait(self, timeout: float) -> None:
        """The kernel had news: a turn begins."""
        self._since = perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        """The turn is over."""
        took = perf_counter() - self._since
        self.worst = max(self.worst, took)
        if took > self.limit:
            self.count += 1
            now = monotonic()
            if now - self._warned >= _QUIET:
                self._warned = now
                _log.warning(
                    "the event loop was blocked for %.0f ms: a handler computes or waits without trio; "
                    "trio.to_thread.run_sync is for such work",
                    took * 1000,
                    extra=fields("loop.blocked", duration=round(took, 3)),
                )
