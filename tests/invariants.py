"""What has to hold of the log (I2) and of memory (I5) after each test, whatever was done to the server."""

from __future__ import annotations

import gc
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = 32 << 20  # bytes that may be in use afterwards and were not before

_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = "/proc/self/statm"


def resident() -> int:
    """Give this process's resident memory, bytes."""
    gc.collect()
    with open(_STATM, encoding="ascii") as file:
        return int(file.read().split()[1]) * _PAGE


class Records(logging.Handler):
    """Keeps what is logged, but for the access lines: each connection has its own, whether it attacks or not."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        if record.name != "ahtransport.access":
            self.records.append(record)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Hear everything that ahtransport has to say."""
        logger = logging.getLogger("ahtransport")
        level = logger.level
        logger.addHandler(self)
        logger.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.setLevel(level)

    def tracebacks(self) -> list[str]:
        """Give what was logged with a traceback."""
        return [record.getMessage() for record in self.records if record.exc_info]

    def check(self, offenders: int, tracebacks: int) -> None:
        """I2: so many tracebacks at most, and one line more for each of so many connections."""
        assert len(self.tracebacks()) <= tracebacks, self.tracebacks()
        lines = [record.getMessage() for record in self.records if not record.exc_info]
        assert len(lines) <= offenders, (offenders, lines)


class Memory:
    """How much memory there is from here on; ``allowed`` None, or no /proc: it is not looked at."""

    def __init__(self, allowed: int | None = MEMORY) -> None:
        self._allowed = allowed if os.path.exists(_STATM) else None
        self._before = 0 if self._allowed is None else resident()

    def check(self) -> None:
        """I5: it has not grown by what is allowed."""
        if self._allowed is not None:
            grown = resident() - self._before
            assert grown < self._allowed, f"{grown} bytes more than before"
