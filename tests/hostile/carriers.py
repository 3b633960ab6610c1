"""What a WebSocket carries: Primus' messages, packets of Engine.IO, packets of Socket.IO. All made by hand, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from hostile.support import Target, under_attack
from hostile.wire import TEXT, frame

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from hostile.wire import Raw

#: Everything is served at once; the bystander speaks to the first.
MOUNTS = {"websockets": "/primus", "engine.io": "/eio", "socket.io": "/sio"}


@dataclass(frozen=True)
class Carrier:
    """One of them.

    Attributes:
        name: the transformer's.
        target: where it opens a WebSocket.
        greets: whether the server speaks first, with the session's ``0{…}``.
        asks: whether there is no connection before a CONNECT.
        before: what stands before a message's JSON.
        behind: what stands behind it.
        events: an event without arguments, but for its name.
    """

    name: str
    target: str
    greets: bool = False
    asks: bool = False
    before: bytes = b""
    behind: bytes = b""
    events: bytes = b'{"type":0,"data":["%s"]}'

    def wrapped(self, message: bytes) -> bytes:
        """Give the payload of a message that is this JSON."""
        return self.before + message + self.behind

    def frame(self, message: bytes) -> bytes:
        """Give the frame of a message that is this JSON."""
        return frame(TEXT, self.wrapped(message))

    def event(self, name: str) -> bytes:
        """Give the frame of an event without arguments."""
        return frame(TEXT, self.events % name.encode())

    def asking(self, name: str) -> str:
        """Give the target with a parameter more."""
        return f"{self.target}{'&' if '?' in self.target else '?'}{name}"

    async def greeted(self, ws: Raw) -> None:
        """Read what the server says first."""
        if self.greets:
            opcode, payload = await ws.frame()
            assert (opcode, payload[:2]) == (TEXT, b"0{"), payload

    async def begin(self, ws: Raw) -> None:
        """Go from the 101 to where messages can be sent."""
        await self.greeted(ws)
        if self.asks:
            await ws.send(frame(TEXT, b"40"))
            await self.connected(ws)

    async def connected(self, ws: Raw) -> None:
        """Read the answer to a CONNECT."""
        text = await ws.text()
        assert text.startswith("40{"), text

    async def open(self, target: Target, *headers: str) -> Raw:
        """Open a WebSocket over which messages can be sent."""
        ws = await target.websocket(*headers, target=self.target)
        await self.begin(ws)
        return ws

    async def heard(self, ws: Raw) -> str:
        """Read one message and give its JSON, skipping pings."""
        while (text := await ws.text()) == "2" and self.greets:
            pass
        before, behind = self.before.decode(), self.behind.decode()
        assert text.startswith(before), text
        assert text.endswith(behind), text
        return text[len(before) : len(text) - len(behind)]


_QUERY = "?EIO=4&transport=websocket"
WEBSOCKETS = Carrier("websockets", "/primus")
ENGINE_IO = Carrier("engine.io", "/eio" + _QUERY, greets=True, before=b"4", events=b'4{"type":0,"data":["%s"]}')
SOCKET_IO = Carrier(
    "socket.io", "/sio" + _QUERY, greets=True, asks=True, before=b'42["message",', behind=b"]", events=b'42["%s"]'
)
CARRIERS = [
    pytest.param(carrier, id=carrier.name, marks=pytest.mark.transformer(carrier.name))
    for carrier in (WEBSOCKETS, ENGINE_IO, SOCKET_IO)
]

#: For tests that are to run over each of them.
over_each = pytest.mark.parametrize("carrier", CARRIERS)


def all_under_attack(*args: Any, **options: Any) -> AbstractAsyncContextManager[Target]:
    """Run a server that serves all of them: ``support.under_attack`` otherwise."""
    return under_attack(*args, transformer=MOUNTS, **options)
