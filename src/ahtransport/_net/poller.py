"""A level-triggered selector that trio can wait for: epoll on Linux, kqueue on macOS and the BSDs.

Where neither is there (Windows), nothing of this is used: each connection then has a task.
"""

from __future__ import annotations

import select
import selectors
from typing import Final, Protocol

__all__ = ["READ", "WRITE", "EpollPoller", "Poller", "SelectorPoller", "make_poller"]

# epoll's own numbers, so that what it reports need not be translated; it adds others for broken sockets.
READ: Final = 1
WRITE: Final = 4


class Poller(Protocol):
    """What the reactor asks which sockets are ready."""

    def fileno(self) -> int:
        """Give the descriptor that is readable while any socket is ready."""
        ...

    def register(self, fd: int, interest: int) -> None:
        """Watch ``fd`` for ``READ`` and ``WRITE``, or-ed together."""
        ...

    def modify(self, fd: int, interest: int) -> None:
        """Watch a registered ``fd`` for something else."""
        ...

    def unregister(self, fd: int) -> None:
        """Watch ``fd`` no longer."""
        ...

    def poll(self, timeout: float, maximum: int) -> list[tuple[int, int]]:
        """Give descriptors and what they are ready for; other bits than READ and WRITE mean that something broke."""
        ...

    def close(self) -> None:
        """Give the descriptor back."""
        ...


class EpollPoller:
    """Linux' epoll. What it reports goes through untouched: this is asked for every batch of messages."""

    def __init__(self) -> None:
        epoll = self._epoll = select.epoll()
        self.fileno = epoll.fileno
        self.register = epoll.register
        self.modify = epoll.modify
        self.unregister = epoll.unregister
        self.poll = epoll.poll
        self.close = epoll.close


class SelectorPoller:
    """Any selector of the standard library that has a descriptor of its own."""

    _READ: Final = selectors.EVENT_READ
    _WRITE: Final = selectors.EVENT_WRITE

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._turn = 0

    def fileno(self) -> int:
        """Give the selector's descriptor."""
        number: int = self._selector.fileno()  # type: ignore[attr-defined]
        return number

    def register(self, fd: int, interest: int) -> None:
        """Watch ``fd``."""
        # A selector can't watch for nothing; a socket that nobody asks about is simply not in it.
        if interest:
            self._selector.register(fd, self._events(interest))

    def modify(self, fd: int, interest: int) -> None:
        """Watch ``fd`` for something else."""
        watched = fd in self._selector.get_map()
        if watched and interest:
            self._selector.modify(fd, self._events(interest))
        elif watched:
            self._selector.unregister(fd)
        else:
            self.register(fd, interest)

    def unregister(self, fd: int) -> None:
        """Watch ``fd`` no longer."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def poll(self, timeout: float, maximum: int) -> list[tuple[int, int]]:
        """Give what is ready."""
        ready = self._selector.select(timeout)
        if len(ready) > maximum:
            # Selectors begin at the same end each time; whoever had to wait comes first, then the others in their turn.
            self._turn = (self._turn + maximum) % len(ready)
            ready = [*ready[self._turn :], *ready[: self._turn]][:maximum]
        return [(key.fd, self._interest(events)) for key, events in ready]

    def close(self) -> None:
        """Give the descriptor back."""
        self._selector.close()

    def _events(self, interest: int) -> int:
        return (self._READ if interest & READ else 0) | (self._WRITE if interest & WRITE else 0)

    def _interest(self, events: int) -> int:
        return (READ if events & self._READ else 0) | (WRITE if events & self._WRITE else 0)


def make_poller() -> Poller | None:
    """Make the platform's poller; None: it has none that trio could wait for."""
    if hasattr(select, "epoll"):
        return EpollPoller()
    if hasattr(selectors, "KqueueSelector"):  # pragma: no cover -- macOS and the BSDs
        return SelectorPoller(selectors.KqueueSelector())
    return None  # pragma: no cover -- Windows
