"""Channels that are driven by tasks of their own: for streams that are no plain sockets, and where no selector can be
waited for."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from ahtransport._barrier import contained
from ahtransport._log import get_logger
from ahtransport._net.channel import CHUNK, Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._heartbeat import Deadlines

__all__ = ["SocketChannel", "StreamChannel", "TaskChannel"]

_log = get_logger()


class TaskChannel(Channel):
    """A channel with a task that reads, and one that flushes while something waits."""

    __slots__ = ("_flusher", "_nursery", "_parked", "_scope", "_spoilt", "_wake")

    def __init__(self, deadlines: Deadlines, peer: tuple[str, int], *, secure: bool = False) -> None:
        super().__init__(deadlines, peer, secure=secure)
        self._spoilt = False  # whether nothing more can be sent, since nobody knows where the peer is
        self._parked = False  # whether the reading task waits for resume(), not for bytes
        self._wake = trio.Event()
        self._scope = trio.CancelScope()
        self._flusher: trio.CancelScope | None = None
        self._nursery: trio.Nursery | None = None

    async def run(self, nursery: trio.Nursery) -> None:
        """Read until the stream is closed. Children (a flush) live in ``nursery`` and end with the channel."""
        self._nursery = nursery
        try:
            with self._scope:
                await self._read_loop()
        except Exception:
            _log.exception("a connection's protocol failed")
        finally:
            self.abort()
            self._forget()
            with trio.CancelScope(shield=True), contained("closing a connection"):
                await self._close()
            self.wire.lost()

    async def _read_loop(self) -> None:
        while not self.closed:
            if self._paused:
                self._wake = trio.Event()
                self._parked = True
                await self._wake.wait()
                self._parked = False
                if not self._ending:
                    self.wire.data(b"", trio.current_time())
                continue
            data = await self._receive()
            if self.closed:
                return
            if self._ending:
                if not data:
                    await self.drain()
                    return
            elif data:
                self.wire.data(data, trio.current_time())
            else:
                self.wire.eof()
                if not self._ending:
                    return

    def _resumed(self) -> None:
        if self._parked:
            self._wake.set()
        elif self._nursery is not None:
            # The reading task waits for bytes, and what is left over must not wait for them, too.
            self._nursery.start_soon(self._go_on)

    async def _go_on(self) -> None:
        with contained("a connection's protocol") as trouble:
            if not self.closed and not self._ending:
                self.wire.data(b"", trio.current_time())
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
        if trouble.caught is not None:
            self.abort()
        self._flusher = None
        if not self.closed and not self._backlog:
            self._all_sent()

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


class SocketChannel(TaskChannel):
    """A channel on a plain, connected, non-blocking socket of the standard library."""

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket, deadlines: Deadlines, peer: tuple[str, int]) -> None:
        super().__init__(deadlines, peer)
        self._sock = sock

    def _send_now(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.abort()
            return 0

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

    def _end_output(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()

    async def _close(self) -> None:
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


class StreamChannel(TaskChannel):
    """A channel on any of trio's streams: TLS, a Unix socket, a pair in memory."""

    __slots__ = ("_stream",)

    def __init__(
        self, stream: trio.abc.Stream, deadlines: Deadlines, peer: tuple[str, int], *, secure: bool = False
    ) -> None:
        super().__init__(deadlines, peer, secure=secure)
        self._stream = stream

    def _send_now(self, data: bytes) -> int:
        return 0  # a stream can only be written to by waiting, so everything goes by way of the backlog

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
        self._sent(len(piece))

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.abort()
            return b""

    def _end_output(self) -> None:
        # Nothing waits any more. TLS can't be closed one way only, so the whole stream ends here.
        self.abort()

    async def _close(self) -> None:
        await trio.aclose_forcefully(self._stream)
