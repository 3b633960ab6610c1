"""Clients that speak in values: what the contract talks to a server with, whatever carries it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import urlencode

import trio

from ahtransport._parsers import JSONParser
from ahtransport.abc import Ack, Control, Event, Message
from ahtransport.testing._websocket import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from ahtransport.abc import Packet, Parser

__all__ = ["Dial", "MessageClient", "PrimusClient", "connect_websocket"]

Dial: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]
"""Opens one more byte stream to the server; a client that polls needs several."""


class MessageClient(Protocol):
    """What a client of a transformer can do. It answers heartbeats while somebody waits in :meth:`receive`.

    Attributes:
        control: Primus' control messages that have come so far, such as ``"primus::server::close"``.
    """

    control: list[str]

    @property
    def closed(self) -> tuple[int, str] | None:
        """Close code and reason once the connection is over; a wire without codes has 1005 for a goodbye."""
        ...

    async def send(self, value: Any) -> None:
        """Send one message.

        Raises:
            ConnectionClosed: the server is gone.
        """
        ...

    async def send_packet(self, packet: Packet) -> None:
        """Send a message, an event, an acknowledgement or one of Primus' control messages.

        Raises:
            ConnectionClosed: the server is gone.
        """
        ...

    async def send_encoded(self, data: str | bytes) -> None:
        """Send as one message what no parser has made.

        Raises:
            ConnectionClosed: the server is gone.
        """
        ...

    async def receive(self) -> Any:
        """Wait for the next message; of an event the :class:`ahtransport.abc.Event`, likewise an ``Ack``.

        Raises:
            ConnectionClosed: none comes any more.
        """
        ...

    async def close(self) -> None:
        """Say goodbye, and leave."""
        ...

    async def abort(self) -> None:
        """Vanish without a word."""
        ...


class Carrier(Protocol):
    """What carries a client's messages: a WebSocket, or a session of several requests."""

    @property
    def closed(self) -> tuple[int, str] | None:
        """Close code and reason once it is over."""
        ...

    async def send(self, data: str | bytes) -> None:
        """Send one message."""
        ...

    async def receive(self) -> str | bytes:
        """Wait for the next message."""
        ...

    async def close(self) -> None:
        """Say goodbye."""
        ...

    async def abort(self) -> None:
        """Vanish."""
        ...


class PrimusClient:
    """Primus' messages over one WebSocket, or whatever else carries them.

    Attributes:
        socket: what is below.
        control: see :class:`MessageClient`.
        answer_pings: whether ``primus::ping::`` is answered.
    """

    def __init__(self, socket: Carrier, parser: Parser | None = None) -> None:
        self.socket = socket
        self.control: list[str] = []
        self.answer_pings = True
        self._parser: Parser = parser or JSONParser()

    @property
    def closed(self) -> tuple[int, str] | None:
        """Close code and reason once the connection is over."""
        return self.socket.closed

    async def send(self, value: Any) -> None:
        """Send one message."""
        await self.send_packet(Message(value))

    async def send_packet(self, packet: Packet) -> None:
        """Send a packet as Primus and primus-emitter write it."""
        if isinstance(packet, Event):
            value: Any = {"type": 0, "data": [packet.name, *packet.args]}
            if packet.ack is not None:
                value["id"] = packet.ack
        elif isinstance(packet, Ack):
            value = {"type": 1, "id": packet.ack, "data": list(packet.args)}
        else:
            value = packet.text if isinstance(packet, Control) else packet.data
        encoded = self._parser.encode(value)
        if isinstance(encoded, bytes) and getattr(self._parser, "binary", True) is False:
            encoded = encoded.decode()
        await self.send_encoded(encoded)

    async def send_encoded(self, data: str | bytes) -> None:
        """Send text or bytes as they are."""
        await self.socket.send(data)

    async def receive(self) -> Any:
        """Wait for the next message, event or acknowledgement."""
        while True:
            value = self._parser.decode(await self.socket.receive())
            if isinstance(value, str) and value.startswith("primus::"):
                self.control.append(value)
                if value.startswith("primus::ping::") and self.answer_pings:
                    await self.send("primus::pong::" + value.removeprefix("primus::ping::"))
                continue
            if isinstance(value, dict) and value.keys() <= {"type", "data", "id"} and value.get("type") in (0, 1):
                if value["type"] == 0:
                    return Event(value["data"][0], value["data"][1:], value.get("id"))
                return Ack(value["id"], value["data"])
            return value

    async def close(self) -> None:
        """Shake hands and leave."""
        await self.socket.close()

    async def abort(self) -> None:
        """Vanish."""
        await self.socket.abort()


@asynccontextmanager
async def connect_websocket(
    dial: Dial,
    path: str = "/primus",
    *,
    query: Mapping[str, str] | None = None,
    headers: Iterable[tuple[str, str]] = (),
    parser: Parser | None = None,
) -> AsyncIterator[PrimusClient]:
    """Connect as a Primus client with the transformer ``websockets`` does; whatever is open afterwards is cut.

    Raises:
        Refused: the server does not want it.
    """
    stream = await dial()
    try:
        target = path + ("?" + urlencode(query) if query else "")
        yield PrimusClient(await WebSocketClient.connect(stream, target, headers), parser)
    finally:
        await trio.aclose_forcefully(stream)
