"""Channels that are driven by tasks of their own: for streams that are no plain sockets, and where no selector can be
waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ahtransport._barrier import contained
from ahtransport._net.channel import CHUNK, NOBODY, Channel, OnSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._heartbeat import Deadlines

__all__ = ["SocketChannel", "StreamChannel", "TaskChannel"]


class TaskChannel(Channel):
    """A channel with a task that reads, and one that flushes while something waits."""

    __slots__ = ("_flusher", "_going_on", "_nursery", "_parked", "_scope", "_spoilt", "_wake")

    def __init__(self, deadlines: Deadlines, peer: tuple[str, int], *, secure: bool = False) -> None:
        super().__init__(deadlines, peer, secure=secure)
        self._spoilt = False  # whether nothing more can be sent, since nobody knows where the peer is
        self._parked = False  # whether the reading task waits for resume(), not for bytes
        self._going_on = False  # whether what is left over is to be taken before anything that came later
        self._wake = trio.Event()
        self._scope = trio.CancelScope()
        self._flusher: trio.CancelScope | None = None
        self._nursery: trio.Nursery | None = None

    async def run(self, nursery: trio.Nursery) -> None:
        """Read until the stream is closed. Children (a flush) live in ``nursery`` and end with the channel."""
        self._nursery = nursery
        try:
            with contained("a connection's protocol"), self._scope:
                await self._read_loop()
        finally:
            self.uncork()  # what a handler has sent just before this leaves as far as it can
            self.abort()
            self._forget()
            with trio.CancelScope(shield=True), contained("closing a connection"):
                await self._close()
            wire, self.wire = self.wire, NOBODY
            with contained("closing a connection"):
                wire.lost()

    async def _read_loop(self) -> None:
        data: bytes | None = None
        while not self.closed:
            if self._paused:
                self._wake = trio.Event()
                self._parked = True
                await self._wake.wait()
                self._parked = False
                continue
            if self._going_on:
                self._take_rest()
                continue
            if data is None:
                data = await self._receive()  # perhaps paused meanwhile, and the end must not come before the rest
                continue
            got, data = data, None
            if self._ending:
                if not got:
                    await self.drain()
                    return
            elif got:
                self.wire.data(got, trio.current_time())
            else:
                self.wire.eof()
                if not self._ending:
                    return

    def _take_rest(self) -> None:
        """Have the wire go on with what is left over."""
        if self._going_on and not self._paused:
            self._going_on = False
            if not self.closed and not self._ending:
                self.wire.data(b"", trio.current_time())

    def _resumed(self) -> None:
        self._going_on = True
        if self._parked:
            self._wake.set()
        elif self._nursery is not None:
            # The reading task waits for bytes, and what is left over must not wait for them, too.
            self._nursery.start_soon(self._go_on)

    async def _go_on(self) -> None:
        with contained("a connection's protocol") as trouble:
            self._take_rest()
        if trouble.caught is not None:
            self.abort()

    def soon(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when other tasks have had their turn."""
        if self._nursery is not None:
            self._nursery.start_soon(self._later, callback)

    async def _later(self, callback: Callable[[], None]) -> None:
        with contained("a connection's protocol") as trouble:
            callback()
        if trouble.caught is not None:
            self.abort()

    def _aborted(self) -> None:
        self._scope.cancel()
        if self._flusher is not None:
            self._flusher.cancel()

    def _start_flush(self) -> None:
        if self._flusher is None and self._nursery is not None:
            self._flusher = trio.CancelScope()
            self._nursery.start_soon(self._flush, self._flusher)

    async def _flush(self, scope: trio.CancelScope) -> None:
        with scope, contained("a connection's output") as trouble:
            while self._backlog and not self.closed:
                before = self.buffered
                with trio.move_on_after(self.flush_timeout) as patience:
                    await self._flush_some()
                if patience.cancelled_caught and self.buffered >= before:
                    self.wire.stalled()
                if self._spoilt:
                    self.abort()
            self._flusher = None
            if not self.closed:
                self._all_sent()
        if trouble.caught is not None:
            self.abort()

    # -- what subclasses know

    async def _flush_some(self) -> None:
        """Wait until some of the backlog can leave, and send it."""
        raise NotImplementedError  # pragma: no cover

    async def _receive(self) -> bytes:
        """Wait for bytes; ``b""`` at the end of the stream or when it broke."""
        raise NotImplementedError  # pragma: no cover

    async def _close(self) -> None:
        """Give the descriptor back."""
        raise NotImplementedError  # pragma: no cover


class SocketChannel(OnSocket, TaskChannel):
    """A channel on a plain, connected, non-blocking socket of the standard library."""

    __slots__ = ()

    async def _flush_some(self) -> None:
        try:
            await trio.lowlevel.wait_writable(self._sock)
        except (OSError, trio.ClosedResourceError):
            self.abort()
            return
        while self._backlog:
            pieces = [piece for piece, _ in zip(self._backlog, range(64), strict=False)]
            try:
                self._sent(self._sock.sendmsg(pieces))
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.abort()
                return

    async def _receive(self) -> bytes:
        while True:
            try:
                await trio.lowlevel.wait_readable(self._sock)
                return self._sock.recv(CHUNK)
            except (BlockingIOError, InterruptedError):
                continue
            except (OSError, trio.ClosedResourceError):
                self.abort()
                return b""

    async def _close(self) -> None:
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


class StreamChannel(TaskChannel):
    """A channel on any of trio's streams: TLS of somebody else's, a pair in memory."""

    __slots__ = ("_stream",)

    def __init__(
        self, stream: trio.abc.Stream, deadlines: Deadlines, peer: tuple[str, int], *, secure: bool = False
    ) -> None:
        super().__init__(deadlines, peer, secure=secure)
        self._stream = stream

    # (A stream can only be written to by waiting, so everything goes by way of the backlog.)

    async def _flush_some(self) -> None:
        assert self._backlog is not None
        piece = bytes(memoryview(self._backlog[0])[:CHUNK])  # progress can be seen between pieces only
        self._torn = True
        try:
            await self._stream.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.abort()
            return
        except trio.Cancelled:
            self._spoilt = True  # nobody can tell how much of the piece has left
            raise
        self._traffic = (self._traffic[0], self._traffic[1] + len(piece))
        self._sent(len(piece))

    async def _receive(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.abort()
            return b""
        self._traffic = (self._traffic[0] + len(data), self._traffic[1])
        return data

    def _end_output(self) -> None:
        # Nothing waits any more. TLS can't be closed one way only, so the whole stream ends here.
        self.abort()

    async def _close(self) -> None:
        await trio.aclose_forcefully(self._stream)
