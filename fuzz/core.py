"""What the targets have in common: how they are registered, and how bytes become decisions."""

from __future__ import annotations

import logging
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from ahtransport._log import LogFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["TARGETS", "Source", "Target", "no_tracebacks", "pieces", "target", "text_of"]

T = TypeVar("T")


Function: TypeAlias = "Callable[[bytes], None]"


class Target(NamedTuple):
    """One target.

    Attributes:
        name: of the function.
        run: takes any input; raises when something is wrong.
        seeds: inputs to begin with.
        slow: whether one run takes milliseconds rather than microseconds: a whole server is made for it.
    """

    name: str
    run: Function
    seeds: tuple[bytes, ...]
    slow: bool


TARGETS: Final[dict[str, Target]] = {}
"""All targets by name; filled when the modules of :mod:`fuzz.targets` are imported."""


def target(seeds: Iterable[bytes], *, slow: bool = False) -> Callable[[Function], Function]:
    """Register a function as a target."""

    def register(function: Function) -> Function:
        name = function.__name__
        assert name not in TARGETS
        TARGETS[name] = Target(name, function, tuple(seeds), slow)
        return function

    return register


class Source:
    """Makes decisions out of bytes; when they have come to an end, every decision is 0.

    Only from the front: so a change in the middle of an input leaves the decisions before it as they were.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        """Give the next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def pick(self, options: Sequence[T]) -> T:
        """Give one of them."""
        return options[self.byte() % len(options)]

    def take(self) -> bytes:
        """Give as many bytes as the next byte says."""
        size = self.byte()
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def text(self) -> str:
        """Give some text, lone surrogates included."""
        return text_of(self.take())

    def rest(self) -> bytes:
        """Give all that is left."""
        rest = self._data[self._at :]
        self._at = len(self._data)
        return rest


def pieces(data: bytes, seed: int) -> list[bytes]:
    """Cut ``data``: 0 leaves it whole, 1 makes single bytes of it, others cut it anywhere."""
    if seed == 0:
        return [data]
    if seed == 1:
        return [data[at : at + 1] for at in range(len(data))]
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 9)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def text_of(data: bytes) -> str:
    """Make text of any bytes; lone surrogates come through, what else is no UTF-8 is replaced."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


class _Failures(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.first: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and self.first is None:
            self.first = record


@contextmanager
def no_tracebacks() -> Iterator[None]:
    """Check that no crash barrier inside of a server has caught anything: bad input is no failure.

    Raises:
        AssertionError: one has; its cause is what was caught.
    """
    logger = logging.getLogger("ahtransport")
    filters = [one for one in logger.filters if isinstance(one, LogFilter)]
    failures = _Failures()
    logger.addHandler(failures)
    propagate, logger.propagate = logger.propagate, False
    for one in filters:
        logger.removeFilter(one)  # it lets ten of a kind pass per second, and there may be thousands of runs
    try:
        yield
    finally:
        logger.propagate = propagate
        logger.removeHandler(failures)
        for one in filters:
            logger.addFilter(one)
    if failures.first is not None and failures.first.exc_info:
        raise AssertionError(f"caught by a barrier: {failures.first.getMessage()}") from failures.first.exc_info[1]
