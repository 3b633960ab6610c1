"""One byte stream to one peer, with the one gate through which everything that is written passes.

If nothing waits, bytes go to the socket at once; what does not fit waits in a backlog, counted in bytes, and leaves
when the socket is writable again. All bytes take this way (handshake, messages, pongs, close frames), so their order
holds; and progress is recorded between waits, so that no cancellation ever tears a frame.

Who drives a channel is a subclass's business: the reactor (``_net.reactor``), or tasks of its own (``_net.tasks``).
"""

from __future__ import annotations

import socket
import struct
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._heartbeat import Deadlines
    from ahtransport.abc import Timer

__all__ = ["CHUNK", "NOBODY", "Channel", "Wire"]

#: Bytes that are read, or written from a stream's backlog, at once.
CHUNK: Final = 65536
# A server that closes while unread bytes wait in its kernel makes TCP send a reset, which can overtake the last
# answer. So reading goes on for this long after the last byte was written (RFC 9112 section 9.6).
_LINGER: Final = 2.0
# What is collected while corked leaves when a piece is of so many bytes, or there are so many pieces. (And where a
# backlog waits, it joins that at once: there is nothing to be gained, and it is to be counted.)
_LARGE: Final = 16384
_MANY: Final = 16
_NOTHING_YET: Final[Any] = ()  # what a channel has collected that was corked just now: most turns bring one answer
#: What has been received and sent where nothing has.
NO_TRAFFIC: Final = (0, 0)
# Where the kernel counts: tcpi_bytes_acked and tcpi_bytes_received of struct tcp_info in linux/tcp.h.
_COUNTED: Final = sys.platform == "linux"
_COUNTS: Final = struct.Struct("=QQ").unpack_from


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


class _Nobody:
    """The wire of a channel that is closed: without it, a channel and its wire would keep each other alive."""

    def data(self, data: bytes, now: float) -> None:
        """Nothing arrives any more."""

    def eof(self) -> None:
        """It is over already."""

    def flushed(self) -> None:
        """Nothing waits any more."""

    def stalled(self) -> None:
        """Nothing waits any more."""

    def lost(self) -> None:
        """It is known already."""


#: What a closed channel has for a wire.
NOBODY: Final = _Nobody()


class Touched:
    """What nearly every message reads of a channel. Slots lie in memory class by class, in the order of the alphabet:
    so these share a line or two of the CPU's cache, which is felt from some hundred connections on."""

    __slots__ = ("_corked", "_paused", "_sock", "closed", "descriptor", "straight", "wire")

    _corked: list[bytes] | None
    _paused: bool
    _sock: socket.socket  # where there is one
    closed: bool
    descriptor: int  # the socket's, where there is one
    straight: socket.socket | None
    wire: Wire


class Channel(Touched):
    """What hosts build their protocols on. Subclasses know how bytes get in and out.

    An idle channel is kept small: what only a busy one needs is made when it is needed.

    Attributes:
        wire: who gets what arrives.
        peer: address and port of the other end.
        secure: whether TLS is spoken.
        buffered: bytes that wait to be sent.
        closed: whether the stream is closed, or is just being closed.
        straight: the socket, as long as bytes for the peer may go there at once: nothing waits, nothing is being
            collected, and the stream is not ending.
        cut: whether it ended before all that was to be written had left.
        flush_timeout: seconds without progress after which the wire is told that the peer has stalled.
    """

    __slots__ = (
        "__weakref__",
        "_backlog",
        "_deadlines",
        "_drained",
        "_ending",
        "_half_closed",
        "_lingering",
        "_torn",
        "_traffic",
        "buffered",
        "cut",
        "flush_timeout",
        "peer",
        "secure",
    )

    def __init__(self, deadlines: Deadlines, peer: tuple[str, int], *, secure: bool = False) -> None:
        self.straight = None
        self.peer = peer
        self.secure = secure
        self.buffered = 0
        self.flush_timeout = 10.0
        self.closed = False
        self.cut = False
        self._deadlines = deadlines
        self._backlog: deque[memoryview | bytes] | None = None
        self._torn = False  # whether the first piece of the backlog has been sent in part
        self._corked: list[bytes] | None = None
        self._ending = False  # no more is written; the backlog leaves, then the stream is closed
        self._half_closed = False
        self._paused = False
        self._drained: trio.Event | None = None  # for those who wait for an empty backlog
        self._lingering: Timer | None = None
        self._traffic = NO_TRAFFIC  # bytes received and sent; where the kernel counts them, once it is closed

    # -- writing

    def write(self, data: bytes) -> bool:
        """Send or queue ``data``. False: something waits now, or the channel is closing."""
        sock = self.straight
        if sock is not None:
            try:
                sent = sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self.abort()
                sent = 0
            return sent == len(data) or self.keep(data, sent)
        corked = self._corked
        if corked is not None:
            if corked:
                corked.append(data)
            else:
                self._corked = [data]
            if self._backlog or len(data) > _LARGE or len(corked) == _MANY:
                self.uncork()
                self.cork()
            return not self._backlog
        if self._ending or self.closed:
            self.cut = True
            return False
        if not self._backlog:
            sent = self._send_now(data)
            return sent == len(data) or self.keep(data, sent)
        if data:  # no progress would ever take an empty piece out again
            self._backlog.append(data)
            self.buffered += len(data)
        return False

    def keep(self, data: bytes, sent: int) -> bool:
        """Begin a backlog with what is left of ``data``, of which ``sent`` bytes have gone :attr:`straight` out. False,
        as :meth:`write` gives when something waits."""
        if self.closed:
            self.cut = True
        else:
            self.straight = None
            self._torn = sent > 0
            self._backlog = deque([memoryview(data)[sent:]])
            self.buffered = len(data) - sent
            self._start_flush()
        return False

    def _straighten(self) -> None:
        """See whether nothing is in the way of bytes any more; only a subclass knows what :attr:`straight` is."""

    @property
    def queued(self) -> int:
        """How many pieces wait to be sent."""
        return len(self._backlog) if self._backlog else 0

    def cork(self) -> None:
        """Collect what is written until :meth:`uncork`, to send it in one piece."""
        if self._corked is None:
            self.straight = None
            self._corked = _NOTHING_YET

    def uncork(self) -> None:
        """Send what was collected."""
        pieces = self._corked
        self._corked = None
        self._straighten()
        if not pieces:
            return
        if len(pieces) == 1:
            self.write(pieces[0])
        elif self._backlog:
            for piece in pieces:
                self.write(piece)
        else:
            self.write(b"".join(pieces))

    def end_turn(self) -> None:
        """Send what was collected; where that may be together with what others have to send, before any other task
        runs."""
        self.uncork()

    def drop_backlog(self) -> None:
        """Forget what waits, except for the rest of a piece of which the peer has a part already."""
        if self._backlog:
            first = self._backlog[0]
            self._backlog.clear()
            self.buffered = 0
            if self._torn:
                self._backlog.append(first)
                self.buffered = len(first)
            else:
                self._straighten()

    async def drain(self) -> None:
        """Wait until nothing waits any more, or the channel is closed."""
        await trio.lowlevel.checkpoint()  # a real one: who writes without end must let others have their turn
        while self._backlog and not self.closed:
            if self._drained is None:
                self._drained = trio.Event()
            await self._drained.wait()

    def _sent(self, count: int) -> None:
        """Note that ``count`` more bytes of the backlog have left."""
        backlog = self._backlog
        assert backlog is not None
        self.buffered -= count
        while count:
            first = backlog[0]
            if count < len(first):
                backlog[0] = memoryview(first)[count:]
                self._torn = True
                return
            count -= len(first)
            backlog.popleft()
            self._torn = False

    def _all_sent(self) -> None:
        """The backlog has left: whoever waited for that goes on."""
        self._backlog = None
        self._release()
        if self._ending:
            self._half_close()
        else:
            self._straighten()
            self.wire.flushed()

    def _release(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set()

    # -- reading

    def pause(self) -> None:
        """Stop reading; the peer feels it through TCP's window."""
        self._paused = True

    def resume(self) -> None:
        """Go on reading; nothing arrives before this returns."""
        if self._paused:
            self._paused = False
            if not self.closed:
                self._resumed()

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
            self.straight = None
            self.resume()
            if not self._backlog:
                self._half_close()

    def abort(self) -> None:
        """Close now, whatever waits."""
        if not self.closed:
            self.closed = True
            self.straight = None
            self.cut = self.cut or self.buffered > 0
            self._corked = None
            self._release()
            self._aborted()

    def _half_close(self) -> None:
        if not self._half_closed and not self.closed:
            self._half_closed = True
            self._end_output()
            self._lingering = self._deadlines.at(trio.current_time() + _LINGER, self.abort)

    def traffic(self) -> tuple[int, int]:
        """Give the bytes that it has received and sent so far."""
        return self._traffic

    def _forget(self) -> None:
        """Let go of what a closed channel does not need; the last step before its descriptor is given back."""
        self._backlog = None
        self.buffered = 0
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    # -- what subclasses know

    def soon(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when other connections have had their turn."""
        raise NotImplementedError  # pragma: no cover

    def next(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the running task has nothing more to do for now."""
        self.soon(callback)

    def _send_now(self, data: bytes) -> int:
        """Send what leaves without waiting, and tell how much that was: nothing, unless a subclass knows how."""
        return 0

    def _start_flush(self) -> None:
        """See to it that the backlog, which has begun just now, leaves; then call :meth:`_all_sent`."""
        raise NotImplementedError  # pragma: no cover

    def _resumed(self) -> None:
        """Read again, and soon call ``wire.data(b"")``, unless the channel is ending."""
        raise NotImplementedError  # pragma: no cover

    def _aborted(self) -> None:
        """Stop everything, give the descriptor back, and call ``wire.lost``; not before the caller has returned."""
        raise NotImplementedError  # pragma: no cover

    def _end_output(self) -> None:
        """Tell the peer that no more bytes follow."""
        raise NotImplementedError  # pragma: no cover


class OnSocket(Channel):
    """What channels on a plain, connected, non-blocking socket have in common, whoever drives them."""

    __slots__ = ()

    def __init__(self, sock: socket.socket, deadlines: Deadlines, peer: tuple[str, int]) -> None:
        super().__init__(deadlines, peer)
        self._sock = self.straight = sock
        self.descriptor = sock.fileno()

    def uncork(self) -> None:
        """Send what was collected."""
        data = self.take()
        if data:
            self.write(data)

    def take(self) -> bytes:
        """Collect no longer, and give what was collected: the caller sends it :attr:`straight`, before anybody can
        write more. Empty: there is nothing to send, or it waits behind the backlog, or it is too late."""
        if self._backlog or self._ending or self.closed:
            super().uncork()
            return b""
        # The end of nearly every turn: without a detour.
        pieces = self._corked
        self._corked = None
        self.straight = self._sock
        if not pieces:
            return b""
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _straighten(self) -> None:
        if not (self._backlog or self._ending or self.closed) and self._corked is None:
            self.straight = self._sock

    def traffic(self) -> tuple[int, int]:
        """Give the bytes received, and sent and acknowledged, as the kernel counts them (RFC 4898): that costs nothing
        while they flow."""
        if self._traffic is NO_TRAFFIC and _COUNTED:
            try:
                sent, received = _COUNTS(self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136), 120)
            except (OSError, struct.error):  # it is closed, or no TCP, or the kernel is older than 4.1
                return NO_TRAFFIC
            return received, sent
        return self._traffic

    def _forget(self) -> None:
        self._traffic = self.traffic()
        super()._forget()

    def _end_output(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()
