"""The WebSocket transformer: one WebSocket per connection, one message per WebSocket message.

In Primus the names ``websockets``, ``faye`` and ``uws`` differ only in the library behind the server; on the wire they
are the same, and all of them mean this one.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar

from ahtransport.abc import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from ahtransport.abc import Core, Packet, Payload, Receiver, Request, Seat, WebSocket

__all__ = ["WebSocketTransformer"]


class WebSocketTransformer:
    """Messages over a plain WebSocket (RFC 6455), as the npm package ``primus`` with its transformer ``websockets``."""

    name: ClassVar[str] = "websockets"
    default_pathname: ClassVar[str | None] = None

    def __init__(self, core: Core, options: Mapping[str, Any]) -> None:
        """Take the seam to the application; there are no options.

        Raises:
            ValueError: there are some.
        """
        for option in options:
            raise ValueError(f"unknown option {option!r}: the websockets transformer has none")
        self._core = core
        self._encode = core.codec.encode

    def claims(self, request: Request) -> bool:
        """Leave requests with ``EIO=`` in their query to Engine.IO, where both share a pathname."""
        return "EIO" not in request.query

    async def handle_request(self, request: Request) -> Response:
        """Say that a plain request is of no use here, as Primus does: 426. Who would be refused is told so: browsers
        keep to themselves how a WebSocket was refused, so their clients ask once more in plain HTTP.

        Raises:
            Reject: the application does not want the client.
        """
        if request.method in ("GET", "HEAD"):
            self._core.admit(request).leave()
            await self._core.authorize(request)
        return Response.text(426, "Upgrade Required", [("Upgrade", "websocket"), ("Connection", "Upgrade")])

    def handle_upgrade(self, request: Request, socket: WebSocket) -> Receiver | Awaitable[Receiver]:
        """Open a connection on this WebSocket.

        Raises:
            Reject: the application does not want the client.
        """
        if self._core.asks():
            return self._ask(request, socket)
        return self._connect(request, socket, self._core.admit(request))

    async def _ask(self, request: Request, socket: WebSocket) -> Receiver:
        seat = self._core.admit(request)
        try:
            await self._core.authorize(request)
        except BaseException:
            seat.leave()
            raise
        return self._connect(request, socket, seat)

    def _connect(self, request: Request, socket: WebSocket, seat: Seat) -> Receiver:
        try:
            peer = self._core.connect(request, socket, self, seat=seat)
        except BaseException:
            seat.leave()
            raise
        peer.opened()
        return peer

    @classmethod
    def client_modules(cls) -> Mapping[str, str]:
        """Give the client's side, for the generated browser client."""
        return {"websockets": _client()}

    def encode(self, packet: Packet, wire: str) -> Sequence[Payload]:
        """Encode a packet as one message."""
        return (self._encode(packet),)


@functools.cache
def _client() -> str:
    return (resources.files("ahtransport.transports") / "ws.js").read_text(encoding="utf-8")
