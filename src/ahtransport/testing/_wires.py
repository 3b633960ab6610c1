"""A WebSocket's frames without a network: a channel in memory, and a receiver that does as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ahtransport._heartbeat import Deadlines
from ahtransport._net.channel import Channel
from ahtransport._net.websocket import WebSocketWire
from ahtransport._payload import Payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._http import Request, Response
    from ahtransport.abc import Receiver, WebSocket

__all__ = ["FickleReceiver", "MemoryChannel", "Nobody", "SlowWire"]


class MemoryChannel(Channel):
    """A channel that keeps what is written. Errands wait for :meth:`work`, as a driver would run them: in order, after
    whatever is going on.

    Attributes:
        sent: what was written.
        corks: whether what is written while corked is collected, as by any other channel; else it is sent at once.
        room: how many bytes it still takes.
        ended: whether the peer was told that no more follow.
        errands: what waits.
    """

    def __init__(self) -> None:
        super().__init__(Deadlines(), ("test", 1))
        self.sent = bytearray()
        self.corks = True
        self.room = 1 << 30
        self.ended = False
        self.errands: list[Callable[[], None]] = []

    def soon(self, callback: Callable[[], None]) -> None:
        self.errands.append(callback)

    def cork(self) -> None:
        if self.corks:
            super().cork()

    def _send_now(self, data: bytes) -> int:
        taken = data[: self.room]
        self.sent += taken
        self.room -= len(taken)
        return len(taken)

    def _start_flush(self) -> None:
        pass

    def _resumed(self) -> None:
        self.errands.append(self._go_on)

    def _go_on(self) -> None:
        if not self.closed and not self._ending and not self._paused:
            self.wire.data(b"", 1.0)

    def _aborted(self) -> None:
        pass

    def _end_output(self) -> None:
        self.ended = True

    def work(self) -> None:
        """Run the errands, and those that come of them."""
        while self.errands:
            self.errands.pop(0)()


class Nobody:
    """An application that is not asked."""

    async def handle_request(self, request: Request) -> Response:
        raise AssertionError

    def handle_upgrade(self, request: Request, socket: WebSocket) -> Receiver:
        raise AssertionError


class SlowWire(WebSocketWire):
    """Everything goes to wsproto."""

    __slots__ = ()

    def _lane(self, data: bytes) -> bytes:
        return data


class FickleReceiver:
    """A receiver that does something with one of the messages, and notes all it is told.

    Args:
        what: "pause", "close", "pause and close", "cut" or "raise"; anything else: nothing. "echo", alone or with
            " and " before one of these, writes back every message, and first of all; "echo one" only the one.
        at: with which message, the first being 1.

    Attributes:
        events: the messages, and ``("closed", code, reason)``.
        seen: how many messages there were.
        wire: who tells; to be set by whoever has it.
        paused: whether it has paused; whoever resumes sets it back.
    """

    def __init__(self, what: str = "", at: int = 0) -> None:
        echo, _, rest = what.partition(" and ") if what.startswith("echo") else ("", "", what)
        self.echo, self.what, self.at = echo, rest, at
        self.seen = 0
        self.events: list[Any] = []
        self.wire: WebSocketWire
        self.paused = False

    def message(self, data: str | bytes) -> None:
        self.events.append(data)
        self.seen += 1
        if self.echo == "echo" or (self.echo and self.seen == self.at):
            self.wire.write(Payload.of(data))
        if self.seen != self.at:
            return
        if self.what == "pause":
            self.paused = True
            self.wire.pause()
        elif self.what == "pause and close":
            self.wire.pause()
            self.wire.close(4001, "enough")
        elif self.what == "close":
            self.wire.close(4000, "enough")
        elif self.what == "cut":
            self.wire.close(1006)
        elif self.what == "raise":
            raise RuntimeError("on purpose")

    def alive(self, now: float) -> None:
        pass

    def writable(self) -> None:
        pass

    def closed(self, code: int, reason: str) -> None:
        self.events.append(("closed", code, reason))
