"""What carries a raw client's messages; the simplest of it: a WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from soak.wire import Closed, WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Carrier", "Plain", "ended"]


class Carrier(Protocol):
    """Carries messages of one client."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def run(self, take: Callable[[str | bytes], None]) -> None:
        """Hand over what comes until it is over, which raises Closed."""
        ...

    async def write(self, *messages: str | bytes) -> None:
        """Send messages, together and in order."""
        ...

    async def leave(self) -> None:
        """Say goodbye; ``run`` ends then."""
        ...

    def reset(self) -> None:
        """Leave with a RST."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...

    def deafen(self, seconds: float) -> None:
        """Read nothing for so long."""
        ...

    async def abandoned(self) -> bool:
        """After a long silence: tell whether the server has ended it."""
        ...


class Plain:
    """A WebSocket, a message a message."""

    def __init__(self, port: int, target: str, headers: str = "", receive_buffer: int = 0) -> None:
        self._port, self._target, self._headers, self._buffer = port, target, headers, receive_buffer
        self.socket: WebSocket | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            Refused, Closed: it does not work.
        """
        self.socket = await WebSocket.open(self._port, self._target, self._headers, self._buffer)

    async def run(self, take: Callable[[str | bytes], None]) -> None:
        """Hand over what comes.

        Raises:
            Closed: it is over.
        """
        assert self.socket is not None
        while True:
            take(await self.socket.receive())

    async def write(self, *messages: str | bytes) -> None:
        """Send messages.

        Raises:
            Closed: they can't be sent.
        """
        assert self.socket is not None
        for message in messages:
            await self.socket.message(message)

    async def leave(self) -> None:
        """Begin to close.

        Raises:
            Closed: it is closed.
        """
        assert self.socket is not None
        await self.socket.goodbye()

    def reset(self) -> None:
        """Leave with a RST."""
        if self.socket is not None:
            self.socket.reset()

    def close(self) -> None:
        """Close what is open."""
        if self.socket is not None:
            self.socket.close()

    def deafen(self, seconds: float) -> None:
        """Read nothing for so long."""
        if self.socket is not None:
            self.socket.deaf_until = trio.current_time() + seconds

    async def abandoned(self) -> bool:
        """Tell whether the server has ended it."""
        return self.socket is not None and await ended(self.socket)


async def ended(stream: WebSocket) -> bool:
    """Tell whether the other side has ended it; reads, and forgets, what is still to be read."""
    stream.deaf_until = 0.0
    with trio.move_on_after(5):
        try:
            while True:
                stream.buffer.clear()
                await stream.fill()
        except Closed:
            return True
    return False
