"""The server's half of the opening handshake (RFC 6455 section 4.2)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Final

from ahtransport._errors import Reject

if TYPE_CHECKING:
    from ahtransport._net.head import Head

__all__ = ["accept_headers", "check_upgrade"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")


def check_upgrade(head: Head) -> None:
    """Check what RFC 6455 section 4.2.1 demands.

    Raises:
        Reject: 400, 405 for another method than GET, 426 for another version of the protocol.
    """
    headers = head.headers
    if head.method != "GET":
        raise Reject(405, "a WebSocket begins with GET", [("Allow", "GET")])
    if not head.http11:
        raise Reject(400, "a WebSocket needs HTTP/1.1")
    if head.length != 0:
        raise Reject(400, "an upgrade request has no body")
    if headers.get_all("sec-websocket-version") != ["13"]:
        raise Reject(426, "only version 13 is spoken here", [("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")])
    keys = headers.get_all("sec-websocket-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise Reject(400, "Sec-WebSocket-Key must be 16 bytes in base64, once")


def accept_headers(head: Head) -> list[tuple[str, str]]:
    """Give the headers that accept the upgrade (RFC 6455 section 4.2.2). No subprotocol is taken."""
    digest = hashlib.sha1(head.headers["sec-websocket-key"].encode() + _GUID).digest()
    return [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", base64.b64encode(digest).decode()),
    ]
