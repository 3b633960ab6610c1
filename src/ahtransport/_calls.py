"""Calls that wait for the client's acknowledgement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ahtransport._errors import ConnectionClosed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

__all__ = ["Calls"]


class _Slot:
    """One call that waits."""

    __slots__ = ("_answer", "_arrived", "_calls", "_error", "number")

    def __init__(self, calls: Calls, number: int) -> None:
        self._calls = calls
        self.number = number
        self._arrived = trio.Event()
        self._answer: Sequence[Any] = ()
        self._error: ConnectionClosed | None = None

    def __enter__(self) -> _Slot:
        self._calls._slots[self.number] = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._calls._slots.pop(self.number, None)

    async def wait(self) -> Any:
        """Wait for the answer: nothing gives None, one value itself, several a list."""
        await self._arrived.wait()
        if self._error is not None:
            # One of its own: an error holds the frames that it went through, and they hold this.
            raise ConnectionClosed(self._error.code, self._error.reason)
        return None if not self._answer else self._answer[0] if len(self._answer) == 1 else list(self._answer)

    def _settle(self, answer: Sequence[Any], error: ConnectionClosed | None) -> None:
        self._answer, self._error = answer, error
        self._arrived.set()


class Calls:
    """The calls of one connection; at most ``limit`` wait at a time."""

    __slots__ = ("_last", "_limit", "_slots")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last = 0
        self._slots: dict[int, _Slot] = {}

    def pending(self) -> _Slot:
        """Begin a call, in a ``with`` block.

        Raises:
            trio.WouldBlock: too many wait already.
        """
        if len(self._slots) >= self._limit:
            raise trio.WouldBlock
        self._last += 1
        return _Slot(self, self._last)

    def answer(self, number: int, args: Sequence[Any]) -> None:
        """Settle a call; an unknown number, or one answered already, is ignored."""
        slot = self._slots.pop(number, None)
        if slot is not None:
            slot._settle(args, None)

    def fail(self, error: ConnectionClosed) -> None:
        """Settle all calls: the connection is gone."""
        for slot in self._slots.values():
            slot._settle((), error)
        self._slots.clear()
