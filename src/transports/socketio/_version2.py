"""What clients of Socket.IO 2 are told.

They speak Engine.IO 3 and would make nothing of an HTTP error but "xhr poll error". So they get a handshake in their
own protocol, right after it an ERROR packet with a sentence for their user, and the end. No session is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ahtransport.abc import Payload, Response

if TYPE_CHECKING:
    from ahtransport.abc import Request, WebSocket

__all__ = ["EXPLANATION", "Farewell2", "explain", "is_version_2"]

#: Heard by the event ``error`` of the client's sockets.
EXPLANATION: Final = "this server speaks Socket.IO 3 and 4; socket.io-client 2 is too old for it"
_PACKETS: Final = (
    '0{"sid":"none","upgrades":[],"pingInterval":25000,"pingTimeout":5000}',
    f'44"{EXPLANATION}"',
)
_CLOSE: Final = "1"


def is_version_2(request: Request) -> bool:
    """Tell whether this is the handshake of such a client (never one that is named by a sid, or a JSONP poll)."""
    if ("EIO", "3") not in request.query_pairs:
        return False
    query = request.query
    return query.get("EIO") == "3" and "sid" not in query and "j" not in query and request.method == "GET"


def explain() -> Response:
    """Answer a client that polls. Each packet stands behind its length in characters and a colon."""
    body = "".join(f"{len(packet)}:{packet}" for packet in (*_PACKETS, _CLOSE))
    return Response(200, body.encode(), [("Content-Type", "text/plain; charset=UTF-8")])


class Farewell2:
    """Tells a client on a WebSocket, and ends it; whatever it says is for nobody."""

    def __init__(self, socket: WebSocket) -> None:
        for packet in _PACKETS:
            socket.write(Payload.of(packet))
        socket.close(1000)

    def message(self, data: str | bytes) -> None:
        """Drop it."""

    def alive(self, now: float) -> None:
        """Nothing keeps it alive."""

    def writable(self) -> None:
        """Nothing waits."""

    def closed(self, code: int, reason: str) -> None:
        """Nothing is left."""
