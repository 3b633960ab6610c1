"""Engine.IO packets, by way of python-engineio.

The library's packets are classes with settings of their own and a habit of reading JSON, so all of it is kept behind
this file. Messages, which are nearly everything, are encoded and decoded directly: one character and the text. A test
holds that against the library.
"""

from __future__ import annotations

import base64
import binascii
import enum
from typing import Any, Final, NamedTuple, NoReturn

import msgspec
from engineio import packet as library

from ahtransport.abc import Payload, ProtocolError

__all__ = ["CLOSE", "MAX_PACKETS", "NOOP", "PING", "PROBE", "SEPARATOR", "Kind", "Packet", "decode", "decode_payload",
           "encode_message", "encode_open", "for_websocket", "join"]  # fmt: skip

#: How many packets one payload may have.
MAX_PACKETS: Final = 1000
#: Between the packets of a payload.
SEPARATOR: Final = b"\x1e"


class Kind(enum.IntEnum):
    """What a packet is for; the digit with which it begins."""

    OPEN = library.OPEN
    CLOSE = library.CLOSE
    PING = library.PING
    PONG = library.PONG
    MESSAGE = library.MESSAGE
    UPGRADE = library.UPGRADE
    NOOP = library.NOOP


class Packet(NamedTuple):
    """A decoded packet; ``data`` is the text after the digit, or bytes of a binary message."""

    kind: Kind
    data: str | bytes


class _NoJson:
    """The library would turn messages that look like JSON into values; that is the parser's business."""

    @staticmethod
    def loads(text: str) -> NoReturn:
        raise ValueError("messages stay text")

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        return msgspec.json.encode(value).decode()


class _LibraryPacket(library.Packet):  # type: ignore[misc]
    json = _NoJson


def _control(kind: Kind, data: str | None = None) -> Payload:
    return Payload.of(_LibraryPacket(int(kind), data).encode())


CLOSE: Final = _control(Kind.CLOSE)
PING: Final = _control(Kind.PING)
NOOP: Final = _control(Kind.NOOP)
#: Answers a WebSocket that asks whether it would do.
PROBE: Final = _control(Kind.PONG, "probe")


def encode_open(sid: str, upgrades: list[str], ping_interval: float, ping_timeout: float, max_payload: int) -> Payload:
    """Encode the handshake; both times in seconds."""
    handshake = {
        "sid": sid,
        "upgrades": upgrades,
        "pingInterval": _milliseconds(ping_interval),
        "pingTimeout": _milliseconds(ping_timeout),
        "maxPayload": max_payload,
    }
    return Payload.of(_LibraryPacket(library.OPEN, handshake).encode())


def _milliseconds(seconds: float) -> int | float:
    milliseconds = round(seconds * 1000, 3)
    return int(milliseconds) if milliseconds == int(milliseconds) else milliseconds


def encode_message(payload: Payload, *, polling: bool) -> Payload:
    """Encode one message: text after a 4; bytes as they are, or after a b in base64 where only text can travel."""
    if not payload.binary:
        return Payload(b"4" + payload.data, binary=False)
    if polling:
        return Payload(b"b" + base64.b64encode(payload.data), binary=False)
    return payload


def for_websocket(payload: Payload) -> Payload:
    """Give a packet that was encoded for polls the form that it has on a WebSocket."""
    if not payload.binary and payload.data[:1] == b"b":  # text begins with the digit of its kind
        return Payload(base64.b64decode(payload.data[1:]), binary=True)
    return payload


def _from_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError as error:
        raise ProtocolError("a binary packet is not base64") from error


def decode(encoded: str | bytes) -> Packet:
    """Decode one packet.

    Raises:
        ProtocolError: it is none.
    """
    if isinstance(encoded, bytes):
        return Packet(Kind.MESSAGE, encoded)
    first = encoded[:1]
    if first == "4":
        return Packet(Kind.MESSAGE, encoded[1:])
    if first == "b":
        return Packet(Kind.MESSAGE, _from_base64(encoded[1:]))
    if first not in ("0", "1", "2", "3", "5", "6"):
        raise ProtocolError("there is no such packet type")
    return Packet(Kind(_LibraryPacket(encoded_packet=first).packet_type), encoded[1:])


def decode_payload(body: bytes) -> list[Packet]:
    """Decode the body of a POST.

    Raises:
        ProtocolError: it is not UTF-8, has too many packets, or one that is none.
    """
    if body.count(SEPARATOR) >= MAX_PACKETS:
        raise ProtocolError(f"a payload may have {MAX_PACKETS} packets")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("a payload must be UTF-8") from error
    return [decode(encoded) for encoded in text.split("\x1e")] if body.find(SEPARATOR) >= 0 else [decode(text)]


def join(payloads: list[Payload]) -> bytes:
    """Make the body that answers a poll."""
    return payloads[0].data if len(payloads) == 1 else SEPARATOR.join(payload.data for payload in payloads)
