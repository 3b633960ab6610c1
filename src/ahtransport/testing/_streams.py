"""A byte stream in memory that behaves like a TCP connection: it holds only so much, it can be half-closed and cut."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["MemoryStream", "memory_stream_pair"]


class _Alone:
    """Raises when a second task comes in."""

    __slots__ = ("_busy", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(f"another task is {self._what} this stream")
        self._busy = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._busy = False


class _Pipe:
    """One direction."""

    __slots__ = ("broken", "capacity", "data", "ended", "waiting")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.ended = False  # nothing more is written
        self.broken = False  # nobody reads any more, or the connection was cut
        self.waiting = trio.lowlevel.ParkingLot()

    def wake(self) -> None:
        self.waiting.unpark_all()


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory.

    Up to ``capacity`` bytes fit into each direction; who writes more waits until the other end has read, as with the
    buffers of a kernel.
    """

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._in = incoming
        self._out = outgoing
        self._closed = False
        self._reading = _Alone("reading from")
        self._writing = _Alone("writing to")

    @property
    def unread(self) -> int:
        """How many bytes wait here to be read."""
        return len(self._in.data)

    @property
    def unsent(self) -> int:
        """How many bytes the other end has not read yet."""
        return len(self._out.data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``, waiting while the other end is full.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BrokenResourceError: the other end is closed, or the connection was cut.
            trio.BusyResourceError: another task is sending.
        """
        with self._writing:
            await trio.lowlevel.checkpoint()
            pipe, view = self._out, memoryview(data)
            while True:
                if self._closed or pipe.ended:
                    raise trio.ClosedResourceError("this end is closed")
                if pipe.broken:
                    raise trio.BrokenResourceError("the other end is closed")
                if not view:
                    return
                room = max(0, pipe.capacity - len(pipe.data))
                if room:
                    pipe.data += view[:room]
                    view = view[room:]
                    pipe.wake()
                else:
                    await pipe.waiting.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room at the other end.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: another task is sending.
        """
        with self._writing:
            await trio.lowlevel.checkpoint()
            pipe = self._out
            while not self._closed and not pipe.broken and len(pipe.data) >= pipe.capacity:
                await pipe.waiting.park()
            if self._closed:
                raise trio.ClosedResourceError("this end is closed")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; ``b""`` when the other end sends no more.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BrokenResourceError: the connection was cut.
            trio.BusyResourceError: another task is receiving.
            TypeError, ValueError: ``max_bytes`` is no positive number.
        """
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._reading:
            await trio.lowlevel.checkpoint()
            pipe = self._in
            while True:
                if self._closed:
                    raise trio.ClosedResourceError("this end is closed")
                if pipe.data:
                    size = len(pipe.data) if max_bytes is None else max_bytes
                    data = bytes(pipe.data[:size])
                    del pipe.data[:size]
                    pipe.wake()
                    return data
                if pipe.ended:
                    return b""
                if pipe.broken:
                    raise trio.BrokenResourceError("the connection was cut")
                await pipe.waiting.park()

    async def send_eof(self) -> None:
        """Tell the other end that no more follows; receiving goes on.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: another task is sending.
        """
        with self._writing:
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError("this end is closed")
            self._out.ended = True
            self._out.wake()

    async def aclose(self) -> None:
        """Close this end. What it has sent can still be read at the other end."""
        self._close()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Cut the connection, as a TCP reset does: what was sent is lost, and both ends fail."""
        self._out.data.clear()
        self._out.broken = True
        self._close()
        self._out.ended = False

    def _close(self) -> None:
        self._closed = True
        self._out.ended = True
        self._in.broken = True
        self._in.data.clear()
        self._in.wake()
        self._out.wake()


def memory_stream_pair(capacity: int = 65536) -> tuple[MemoryStream, MemoryStream]:
    """Make both ends of a connection that holds ``capacity`` bytes in each direction."""
    one, other = _Pipe(capacity), _Pipe(capacity)
    return MemoryStream(one, other), MemoryStream(other, one)
