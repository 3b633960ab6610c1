"""What goes over the wire: encoded once, shared by every recipient."""

from __future__ import annotations

import struct
from typing import Self

import msgspec

__all__ = ["Payload"]

_FIN_TEXT, _FIN_BINARY = 0x81, 0x82
# The heads of short frames, which most are.
_TEXT_HEADS = [bytes((_FIN_TEXT, size)) for size in range(126)]
_BINARY_HEADS = [bytes((_FIN_BINARY, size)) for size in range(126)]


class Payload(msgspec.Struct, eq=False, gc=False):
    """One encoded message.

    A broadcast hands the same object to every member of a room, so what can be computed once is kept here.

    Attributes:
        data: the bytes; UTF-8 when ``binary`` is false.
        binary: whether it travels as a binary message.
    """

    # A struct, because one is made for every message: msgspec makes it five times as fast as Python makes an object.
    data: bytes
    binary: bool = True
    _frame: bytes | None = None
    _deflated: tuple[int, bytes] | None = None  # the frame with the data deflated, and the window it needs; once made

    @classmethod
    def of(cls, data: str | bytes) -> Self:
        """Wrap text, or bytes that are a binary message."""
        return cls(data.encode(), False) if isinstance(data, str) else cls(data, True)

    def frame(self) -> bytes:
        """Give the whole, unmasked WebSocket frame (RFC 6455 section 5.2): servers don't mask, so all get the same."""
        frame = self._frame
        if frame is None:
            size = len(self.data)
            first = _FIN_BINARY if self.binary else _FIN_TEXT
            if size < 126:
                head = (_BINARY_HEADS if self.binary else _TEXT_HEADS)[size]
            elif size < 65536:
                head = struct.pack("!BBH", first, 126, size)
            else:
                head = struct.pack("!BBQ", first, 127, size)
            frame = self._frame = head + self.data
        return frame

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        kind = "binary" if self.binary else "text"
        return f"<Payload {kind} {len(self.data)} bytes>"
