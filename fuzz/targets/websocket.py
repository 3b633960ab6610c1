"""WebSocket frames (RFC 6455), with and without the fast lane."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any
from unittest import mock

from ahtransport._heartbeat import Deadlines
from ahtransport._net.host import Host
from ahtransport._net.websocket import WebSocketWire
from ahtransport.abc import Payload
from ahtransport.testing import frame_bytes
from ahtransport.testing._wires import FickleReceiver, MemoryChannel, Nobody, SlowWire
from fuzz.core import no_tracebacks, pieces, target

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = {"max_length": 300, "max_fragments": 4, "max_control_frames": 20}
_CLOSE = frame_bytes(8, b"\x03\xe8bye")


class Doubter(FickleReceiver):
    """May pause or close at one of the messages; none may come after the end, or be too long."""

    def __init__(self, what: int, longest: int = LIMITS["max_length"], echo: str = "") -> None:
        mood = ("", "pause", "close", "")[what & 3]
        super().__init__(" and ".join(filter(None, (echo, mood))), what >> 2 & 7)
        self._longest = longest

    def message(self, data: str | bytes) -> None:
        assert not any(isinstance(event, tuple) for event in self.events), "a message after the end"
        assert len(data if isinstance(data, bytes) else data.encode()) <= self._longest
        super().message(data)


def drive(
    make: Callable[[MemoryChannel], WebSocketWire], receiver: Doubter, data: bytes, seed: int
) -> tuple[list[Any], bytes, bool]:
    """Feed bytes in pieces; gives what the receiver was told, what was answered, and whether the peer was let go."""
    # The wire asks for the time, which only a running loop has; a loop for each input would take longer than the rest.
    with mock.patch("trio.current_time", return_value=1.0):
        channel = MemoryChannel()
        wire = make(channel)
        receiver.wire = wire
        wire.accept(receiver, b"", b"")
        for piece in pieces(data, seed):
            if channel.ended or channel.closed:
                break
            channel.work()
            if receiver.paused:
                receiver.paused = False
                wire.resume()
                channel.work()
            wire.data(piece, 1.0)
            assert len(wire._buffer) <= len(data)
            assert wire._size <= wire._max_length or channel.ended
        if receiver.paused:
            wire.resume()
        channel.work()
    closings = [event for event in receiver.events if isinstance(event, tuple)]
    assert len(closings) <= 1
    return receiver.events, bytes(channel.sent), channel.ended


def _drive(kind: type[WebSocketWire], data: bytes, seed: int, what: int) -> tuple[list[Any], bytes, bool]:
    def make(channel: MemoryChannel) -> WebSocketWire:
        channel.corks = not what & 0x80
        return kind(channel, Host(Nobody(), Deadlines(), **LIMITS))  # type: ignore[arg-type]

    return drive(make, Doubter(what, echo=("", "echo", "echo one", "echo")[what >> 5 & 3]), data, seed)


def comparable(outcome: tuple[list[Any], bytes, bool]) -> tuple[list[Any], bytes, bool]:
    """Leave out the words of a reason that is the server's own: they may say more when more is known."""
    events, sent, ended = outcome
    events = [event[:2] if isinstance(event, tuple) else event for event in events]
    at = sent.rfind(b"\x88")
    return events, sent[:at] + sent[at + 2 : at + 4] if ended and at >= 0 else sent, ended


_STREAMS = (
    frame_bytes(1, b"hello") + frame_bytes(2, b"\xff" * 130, mask=b"abcd") + _CLOSE,
    frame_bytes(1, b"a\xf0\x9f", fin=False) + frame_bytes(9, b"p") + frame_bytes(0, b"\x98\x80") + frame_bytes(10, b""),
    frame_bytes(2, b"x", fin=False) + frame_bytes(0, b"", fin=False) * 4,
    frame_bytes(1, b"\xed\xa0\x80"),
    frame_bytes(0, b"nothing"),
    frame_bytes(1, b"unmasked", mask=None),
    frame_bytes(8, b"\x03"),
    frame_bytes(8, b"\x03\xed"),
    frame_bytes(8) + frame_bytes(1, b"late"),
    b"\xc1\x80\0\0\0\0",
    struct.pack("!BBQ", 0x82, 0xFF, 1 << 62) + b"\0\0\0\0x",
    struct.pack("!BBH", 0x81, 0xFE, 5) + b"\0\0\0\0short",
    frame_bytes(9, b"p" * 125) * 22,
    frame_bytes(1, b"1") * 140,
)


@target(bytes((seed, 0)) + stream for stream in _STREAMS for seed in (0, 1, 7))
def frames(data: bytes) -> None:
    """Frames in any pieces: the same messages, answers and end."""
    seed, stream = (data[0] if data else 0), data[2:]
    with no_tracebacks():
        whole = comparable(_drive(WebSocketWire, stream, 0, 0))
        assert comparable(_drive(WebSocketWire, stream, seed, 0)) == whole


_CHAT = frame_bytes(1, b"one") + frame_bytes(9, b"p") + frame_bytes(2, b"two") + frame_bytes(1, b"three") + _CLOSE


@target(
    bytes((seed, what)) + stream
    for stream, moods in (*((stream, (0, 5, 6, 9, 10, 0x20, 0xA6)) for stream in _STREAMS), (_CHAT, (0x20, 0x4A, 0xA9)))
    for seed in (0, 7)
    for what in moods
)
def lane(data: bytes) -> None:
    """The fast lane is invisible: with it and without it, to the byte, also when the receiver pauses, closes or
    answers, and whether answers are collected or leave at once."""
    seed, what = data[0] if data else 0, data[1] if len(data) > 1 else 0
    with no_tracebacks():
        assert _drive(WebSocketWire, data[2:], seed, what) == _drive(SlowWire, data[2:], seed, what)


@target(bytes((kind,)) + text for text in (b"", b"hello", b"\xc3\xa9" * 70, b"x" * 66000) for kind in (0, 1))
def payload(data: bytes) -> None:
    """What the server frames, wsproto reads as it was."""
    from wsproto.connection import Connection, ConnectionType
    from wsproto.events import BytesMessage, TextMessage

    binary, content = bool(data[:1] and data[0] & 1), data[1:]
    if not binary:
        content = content.decode("utf-8", "replace").encode()
    reader = Connection(ConnectionType.CLIENT)
    reader.receive_data(Payload(content, binary=binary).frame())
    whole: bytes = b""
    for event in reader.events():
        assert isinstance(event, BytesMessage if binary else TextMessage), event
        whole += bytes(event.data) if isinstance(event, BytesMessage) else event.data.encode()
    assert whole == content
