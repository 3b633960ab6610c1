"""One byte stream to one peer, with the one gate through which everything that is written passes.

If nothing waits, bytes go to the socket at once; what does not fit waits in a backlog, counted in bytes, and leaves
when the socket is writable again. All bytes take this way (handshake, messages, pongs, close frames), so their order
holds; and progress is recorded between waits, so that no cancellation ever tears a frame.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING, Protocol

import trio

from ahtransport._barrier import contained
from ahtransport._log import get_logger

if TYPE_CHECKING:
    from ahtransport._heartbeat import Deadlines
    from ahtransport.abc import Timer

__all__ = ["Channel", "SocketChannel", "StreamChannel", "Wire"]

_log = get_logger()

_CHUNK = 65536
# A server that closes while unread bytes wait in its kernel makes TCP send a reset, which can overtake the last
# answer. So reading goes on for this long after the last byte was written (RFC 9112 section 9.6).
_LINGER = 2.0


class Wire(Protocol):
    """What speaks over a channel: HTTP first, a WebSocket after the upgrade. It never waits."""

    def data(self, data: bytes, now: float) -> None:
        """Take bytes; ``b""`` after reading was resumed, to go on with what is left over."""
        ...

    def eof(self) -> None:
        """Learn that the peer sends no more."""
        ...

    def flushed(self) -> None:
        """Learn that the backlog is empty again."""
        ...

    def stalled(self) -> None:
        """Learn that the backlog has made no progress for ``flush_timeout`` seconds."""
        ...

    def lost(self) -> None:
        """Learn, once and last of all, that the channel is closed."""
        ...


class Channel:
    """What hosts build their protocols on. Subclasses know how bytes get in and out.

    Attributes:
        wire: who gets what arrives.
        peer: address and port of the other end.
        secure: whether TLS is spoken.
        buffered: bytes that wait to be sent.
        closed: whether the stream is closed, or is just being closed.
        cut: whether it ended before all that was to be written had left.
        flush_timeout: seconds without progress after which the wire is told that the peer has stalled.
    """

    def __init__(self, deadlines: Deadlines, peer: tuple[str, int], *, secure: bool = False) -> None:
        self.wire: Wire
        self.peer = peer
        self.secure = secure
        self.buffered = 0
        self.flush_timeout = 10.0
        self.closed = False
        self.cut = False
        self._deadlines = deadlines
        self._backlog: deque[memoryview | bytes] = deque()
        self._torn = False  # whether the first piece of the backlog has been sent in part
        self._spoilt = False  # whether nothing more can be sent, since nobody knows where the peer is
        self._corked: list[bytes] | None = None
        self._corked_size = 0
        self._ending = False  # no more is written; the backlog leaves, then the stream is closed
        self._half_closed = False
        self._paused = False
        self._parked = False  # whether the reading task waits for resume(), not for bytes
        self._wake = trio.Event()
        self._drained = trio.Event()
        self._scope = trio.CancelScope()
        self._flusher: trio.CancelScope | None = None
        self._lingering: Timer | None = None
        self._nursery: trio.Nursery | None = None

    # -- writing

    def write(self, data: bytes) -> bool:
        """Send or queue ``data``. False: something waits now, or the channel is closing."""
        if self._corked is not None:
            self._corked.append(data)
            self._corked_size += len(data)
            if self._corked_size > _CHUNK:
                self.uncork()
                self.cork()
            return not self._backlog
        if self._ending or self.closed:
            self.cut = True
            return False
        if not self._backlog:
            sent = self._send_now(data)
            if sent == len(data):
                return True
            if self.closed:
                self.cut = True
                return False
            self._torn = sent > 0
            self._backlog.append(memoryview(data)[sent:])
            self.buffered = len(data) - sent
            self._start_flush()
            return False
        self._backlog.append(data)
        self.buffered += len(data)
        return False

    @property
    def queued(self) -> int:
        """How many pieces wait to be sent."""
        return len(self._backlog)

    def cork(self) -> None:
        """Collect what is written until :meth:`uncork`, to send it in one piece."""
        if self._corked is None:
            self._corked = []
            self._corked_size = 0

    def uncork(self) -> None:
        """Send what was collected."""
        pieces, self._corked = self._corked, None
        if pieces:
            if self._backlog:
                for piece in pieces:
                    self.write(piece)
            else:
                self.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def drop_backlog(self) -> None:
        """Forget what waits, except for the rest of a piece of which the peer has a part already."""
        if self._backlog:
            first = self._backlog[0]
            self._backlog.clear()
            self.buffered = 0
            if self._torn:
                self._backlog.append(first)
                self.buffered = len(first)

    async def drain(self) -> None:
        """Wait until nothing waits any more, or the channel is closed."""
        await trio.lowlevel.checkpoint()  # a real one: who writes without end must let others have their turn
        while self._backlog and not self.closed:
            await self._drained.wait()

    # -- reading

    def pause(self) -> None:
        """Stop reading; the peer feels it through TCP's window."""
        self._paused = True

    def resume(self) -> None:
        """Go on reading; nothing arrives before this returns."""
        if self._paused:
            self._paused = False
            if self._parked:
                self._wake.set()
            elif self._nursery is not None and not self.closed:
                # The reading task waits for bytes, and what is left over must not wait for them, too.
                self._nursery.start_soon(self._go_on)

    @property
    def paused(self) -> bool:
        """Whether reading has stopped."""
        return self._paused

    # -- ending

    def shutdown(self) -> None:
        """Close once the backlog has left. Nothing can be written after this."""
        if not self._ending and not self.closed:
            if self._corked is not None:
                self.uncork()
            self._ending = True
            self.resume()
            if not self._backlog:
                self._half_close()

    def abort(self) -> None:
        """Close now, whatever waits."""
        if not self.closed:
            self.closed = True
            self.cut = self.cut or self.buffered > 0
            self._corked = None
            self._scope.cancel()
            if self._flusher is not None:
                self._flusher.cancel()
            self._drained.set()

    def _half_close(self) -> None:
        if not self._half_closed:
            self._half_closed = True
            self._end_output()
            self._lingering = self._deadlines.at(trio.current_time() + _LINGER, self.abort)

    # -- the two loops

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
            self._backlog.clear()
            self.buffered = 0
            if self._lingering is not None:
                self._lingering.cancel()
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

    async def _go_on(self) -> None:
        with contained("a connection's protocol") as trouble:
            if not self.closed and not self._ending:
                self.wire.data(b"", trio.current_time())
        if trouble.caught is not None:
            self.abort()

    def _start_flush(self) -> None:
        if self._flusher is None and self._nursery is not None:
            self._drained = trio.Event()
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
            self._drained.set()
            if self._ending:
                self._half_close()
            else:
                self.wire.flushed()

    def _sent(self, count: int) -> None:
        """Note that ``count`` more bytes of the backlog have left."""
        self.buffered -= count
        while count:
            first = self._backlog[0]
            if count < len(first):
                self._backlog[0] = memoryview(first)[count:]
                self._torn = True
                return
            count -= len(first)
            self._backlog.popleft()
            self._torn = False

    # -- what subclasses know

    def _send_now(self, data: bytes) -> int:
        """Send what the kernel takes without waiting and tell how much that was."""
        raise NotImplementedError  # pragma: no cover

    async def _flush_some(self) -> None:
        """Wait until some of the backlog can leave, and send it."""
        raise NotImplementedError  # pragma: no cover

    async def _receive(self) -> bytes:
        """Wait for bytes; ``b""`` at the end of the stream or when it broke."""
        raise NotImplementedError  # pragma: no cover

    def _end_output(self) -> None:
        """Tell the peer that no more bytes follow."""
        raise NotImplementedError  # pragma: no cover

    async def _close(self) -> None:
        """Give the descriptor back."""
        raise NotImplementedError  # pragma: no cover


class SocketChannel(Channel):
    """A channel on a plain, connected, non-blocking socket of the standard library."""

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
                return self._sock.recv(_CHUNK)
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


class StreamChannel(Channel):
    """A channel on any of trio's streams: TLS, a Unix socket, a pair in memory."""

    def __init__(
        self, stream: trio.abc.Stream, deadlines: Deadlines, peer: tuple[str, int], *, secure: bool = False
    ) -> None:
        super().__init__(deadlines, peer, secure=secure)
        self._stream = stream

    def _send_now(self, data: bytes) -> int:
        return 0  # a stream can only be written to by waiting, so everything goes by way of the backlog

    async def _flush_some(self) -> None:
        piece = bytes(memoryview(self._backlog[0])[:_CHUNK])  # progress can be seen between pieces only
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
            return bytes(await self._stream.receive_some(_CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.abort()
            return b""

    def _end_output(self) -> None:
        # Nothing waits any more. TLS can't be closed one way only, so the whole stream ends here.
        self.abort()

    async def _close(self) -> None:
        await trio.aclose_forcefully(self._stream)
