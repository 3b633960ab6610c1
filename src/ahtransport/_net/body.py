"""The body of one request, read only as far as somebody asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ahtransport._errors import Reject
from ahtransport._net.chunked import ChunkedDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._heartbeat import Deadlines

__all__ = ["EMPTY", "Body", "Whole"]

_AHEAD = 65536  # bytes taken from the network before anybody has asked for the body


class Body:
    """Collects a body while it arrives.

    Args:
        length: bytes, at least one; None: the chunks say where it ends.
        timeout: seconds that a reader waits for the next bytes.
        deadlines: the server's clock: it does not blame the peer for a time in which nobody read what had come.
        pause, resume: stop reading from the network, and go on.

    Attributes:
        complete: whether all of it has arrived.
    """

    __slots__ = (
        "_broken",
        "_channel_pause",
        "_channel_resume",
        "_chunks",
        "_deadlines",
        "_decoder",
        "_left",
        "_limit",
        "_size",
        "_timeout",
        "_wake",
        "complete",
        "on_first_read",
    )

    def __init__(
        self,
        length: int | None,
        timeout: float,
        deadlines: Deadlines,
        pause: Callable[[], None],
        resume: Callable[[], None],
    ) -> None:
        self._decoder = ChunkedDecoder() if length is None else None
        self._left = length or 0
        self._limit = _AHEAD
        self._size = 0
        self._timeout = timeout
        self._deadlines = deadlines
        self._chunks: list[bytes] = []
        self._wake: trio.Event | None = None
        self._broken: tuple[int, str] | None = None  # status and reason
        self._channel_pause = pause
        self._channel_resume = resume
        self.complete = False
        self.on_first_read: Callable[[], None] | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the network; give back those that belong to the next request."""
        rest = b""
        if self._broken is not None:
            return b""  # nobody can tell what these bytes mean
        if self._decoder is not None:
            try:
                piece = self._decoder.feed(data)
            except Reject as error:
                self._broken = (error.status, error.reason)
                self.complete = False
                self._notify()
                return b""
            if self._decoder.finished:
                self.complete = True
                rest = self._decoder.rest()
        else:
            piece, rest = data[: self._left], data[self._left :]
            self._left -= len(piece)
            self.complete = self._left == 0
        if piece:
            self._size += len(piece)
            self._chunks.append(piece)
        if self._size > self._limit and not self.complete:
            self._channel_pause()
        self._notify()
        return rest

    def _notify(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def read_now(self, limit: int) -> bytes | None:
        """Give all of it if it is here and within the limit; see :meth:`ahtransport.Request.read_now`."""
        return b"".join(self._chunks) if self.complete and self._size <= limit else None

    async def read(self, limit: int) -> bytes:
        """Read all of it; see :meth:`ahtransport.Request.read`."""
        self._limit = limit
        try:
            while True:
                if self._broken is not None:
                    raise Reject(*self._broken)
                if self._size + self._left > limit:
                    raise Reject(413, f"the body is larger than {limit} bytes")
                if self.complete:
                    await trio.lowlevel.checkpoint_if_cancelled()
                    return b"".join(self._chunks)
                if self.on_first_read is not None:  # not before it is known that the body will be taken
                    ask, self.on_first_read = self.on_first_read, None
                    ask()
                    continue
                self._wake = trio.Event()
                self._channel_resume()
                with trio.CancelScope() as patience:
                    alarm = self._deadlines.at(trio.current_time() + self._timeout, patience.cancel)
                    try:
                        await self._wake.wait()
                    finally:
                        alarm.cancel()
                if patience.cancelled_caught:
                    raise Reject(408, "the body comes too slowly")
        finally:
            self._wake = None


class Whole:
    """A body that was there with its head; what a :class:`Body` is once it has arrived, for a fraction of the work."""

    __slots__ = ("_data", "on_first_read")

    complete: Final = True

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.on_first_read: Callable[[], None] | None = None  # there is no need to ask for it

    def feed(self, data: bytes) -> bytes:
        """Take nothing: all of it belongs to the next request."""
        return data

    def read_now(self, limit: int) -> bytes | None:
        """Give all of it if it is within the limit; see :meth:`ahtransport.Request.read_now`."""
        return self._data if len(self._data) <= limit else None

    async def read(self, limit: int) -> bytes:
        """Read all of it; see :meth:`ahtransport.Request.read`."""
        if len(self._data) > limit:
            raise Reject(413, f"the body is larger than {limit} bytes")
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._data


#: The body of a request that has none.
EMPTY: Final = Whole(b"")
