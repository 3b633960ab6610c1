"""Sessions: what the web requests and the connections of one browser share, keyed by their fingerprint.

A session is read like any mapping and changed in one way only, ``async with session.change() as data``, which is
atomic: one change at a time per session, seen by the others when its block has ended, and not at all when the block
raised or was cancelled. What a reader gets is its own: no reader can change a session behind the lock.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import trio

__all__ = ["MemorySessions", "Session", "SessionStore"]

_NOTHING: Mapping[str, Any] = {}
# Types of which a copy is the value itself.
_ATOMS = frozenset({str, int, float, bool, bytes, type(None)})


class SessionStore(Protocol):
    """Where sessions are kept. Write another one to keep them elsewhere."""

    def session(self, key: str) -> Session:
        """Give the session of this key; it need not have anything in it yet."""
        ...

    def read(self, key: str) -> Mapping[str, Any]:
        """Give the committed values of ``key``, for :class:`Session` only: they are not copied."""
        ...

    def change(self, key: str) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Do the work of :meth:`Session.change`."""
        ...


class Session(Mapping[str, Any]):
    """The values under one fingerprint. It holds none itself, so all that share a key see the same, live.

    Attributes:
        key: the fingerprint.
    """

    __slots__ = ("_store", "key")

    def __init__(self, key: str, store: SessionStore) -> None:
        self.key = key
        self._store = store

    def change(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Change the session: ``async with session.change() as data`` gives a copy of all the values, a dict.

        Waits for changes of the same session that came first. When the block ends normally, what ``data`` then holds
        becomes the session, at once; when it raises or is cancelled nothing has happened. Emptied of everything, a
        session vanishes.

        Raises:
            RuntimeError: on entering, the same task is in the middle of changing this session already.
            Exception: on leaving, whatever :func:`copy.deepcopy` raises for a value that can't be copied.
        """
        return self._store.change(self.key)

    def __getitem__(self, name: str) -> Any:
        value = self._store.read(self.key)[name]
        return value if type(value) in _ATOMS else copy.deepcopy(value)

    def __contains__(self, name: object) -> bool:
        return name in self._store.read(self.key)

    def __iter__(self) -> Iterator[str]:
        # A snapshot: a commit while a reader iterates must not upset it.
        return iter(tuple(self._store.read(self.key)))

    def __len__(self) -> int:
        return len(self._store.read(self.key))

    def __repr__(self) -> str:
        # Neither the key, which is a secret of the browser, nor the values belong into a log.
        return f"<Session with {len(self)} values>"


class _Record:
    __slots__ = ("data", "used")

    def __init__(self, data: dict[str, Any], used: float) -> None:
        self.data = data
        self.used = used


class _Turn:
    """A lock that exists as long as somebody holds it or waits for it."""

    __slots__ = ("interested", "lock")

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.interested = 0


class MemorySessions:
    """Sessions in the memory of this process. What nobody has changed yet takes none.

    Args:
        expires: seconds without any use, reading included, after which a session is forgotten.
        max_sessions: beyond so many, the one unused for longest is forgotten.
        now: a clock that never goes back, in seconds.
    """

    def __init__(
        self, expires: float = 3600.0, max_sessions: int = 100_000, now: Callable[[], float] = time.monotonic
    ) -> None:
        if expires <= 0 or max_sessions < 1:
            raise ValueError("expires must be positive, and max_sessions at least 1")
        self.expires = expires
        self.max_sessions = max_sessions
        self._now = now
        self._records: OrderedDict[str, _Record] = OrderedDict()  # the least recently used first
        self._turns: dict[str, _Turn] = {}

    def __len__(self) -> int:
        """Count the sessions that have something in them."""
        self._sweep()
        return len(self._records)

    def session(self, key: str) -> Session:
        """Give the session of this key."""
        return Session(key, self)

    def read(self, key: str) -> Mapping[str, Any]:
        """Give the committed values of ``key``, not copied. Counts as use."""
        record = self._records.get(key)
        if record is None:
            return _NOTHING
        now = self._now()
        if now - record.used >= self.expires:
            del self._records[key]
            return _NOTHING
        record.used = now
        self._records.move_to_end(key)
        return record.data

    @contextlib.asynccontextmanager
    async def change(self, key: str) -> AsyncIterator[dict[str, Any]]:
        """As :meth:`Session.change`."""
        turn = self._turns.setdefault(key, _Turn())
        turn.interested += 1
        try:
            async with turn.lock:
                data = copy.deepcopy(dict(self.read(key)))
                yield data
                # No checkpoint from here on: it is committed entirely or not at all. The copy is for those who keep
                # ``data`` after the block.
                self._commit(key, copy.deepcopy(data))
        finally:
            turn.interested -= 1
            if not turn.interested:
                del self._turns[key]

    def _commit(self, key: str, data: dict[str, Any]) -> None:
        self._records.pop(key, None)
        if data:
            self._records[key] = _Record(data, self._now())
        self._sweep()

    def _sweep(self) -> None:
        """Forget what has expired, and what is too much. The order of use is also that of expiry."""
        deadline = self._now() - self.expires
        while self._records:
            key, record = next(iter(self._records.items()))
            if record.used > deadline and len(self._records) <= self.max_sessions:
                return
            del self._records[key]
