"""WebSocket frames as bytes (RFC 6455 section 5.2): reading a header, and the fast lane for ordinary messages."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._net.channel import Channel
    from ahtransport.abc import Receiver

__all__ = ["FastLane", "apply_mask", "make_frame", "parse_header", "xor"]

_TEXT: Final = 0x81  # FIN and the opcode; no reserved bit
_BINARY: Final = 0x82
_MASKED: Final = 0x80
_SMALLEST: Final = 6  # bytes: a masked frame without payload


def xor(data: bytes, mask: bytes, /) -> bytes:
    """Mask or unmask a payload (RFC 6455 section 5.3), as a number: no loop in Python, whatever its length."""
    size = len(data)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(data, "little") ^ key).to_bytes(size, "little")


apply_mask: Callable[[bytes, bytes], bytes]
try:  # compiled code, where there is any for this platform
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover
    apply_mask = xor


class FastLane:
    """Takes whole, unfragmented messages straight from the bytes, and leaves everything else to wsproto.

    Nine of ten frames are such messages, and wsproto takes several times as long for one as all the rest together. The
    lane never decides that anything is wrong: what it does not know, it does not touch.
    """

    __slots__ = ("_between", "_channel", "_max_length", "_open", "_receiver", "_turn")

    _between: bool  # whether the next byte begins a message, since nothing is left of the one before
    _channel: Channel
    _max_length: int
    _open: bool  # whether messages are delivered
    _receiver: Receiver
    _turn: int  # frames that are left of this connection's turn

    def _lane(self, data: bytes) -> bytes:
        """Deliver the messages at the beginning of ``data``; gives what is left.

        Only between messages, when wsproto has had every byte before ``data``. It ends at the first frame that is not
        all there, not plain or not right; when the receiver has had enough; and at the end of the turn.

        Args:
            data: bytes from the network.
        """
        size = len(data)
        at = 0
        limit = self._max_length
        message = self._receiver.message
        unmask = apply_mask
        channel = self._channel
        turn = self._turn
        while size - at >= _SMALLEST:
            kind = data[at]
            length = data[at + 1] - _MASKED
            if length < 0 or (kind != _TEXT and kind != _BINARY):
                break
            start = at + 6
            # The shortest form of a length is the only right one; "short" ones are for wsproto to refuse.
            if length == 126:
                length = int.from_bytes(data[at + 2 : at + 4])
                start = at + 8
                if length < 126:
                    break
            elif length == 127:
                length = int.from_bytes(data[at + 2 : at + 10])
                start = at + 14
                if length < 65536:
                    break
            end = start + length
            if end > size or length > limit:
                break
            payload = unmask(data[start:end], data[start - 4 : start])
            if kind == _TEXT:
                try:
                    text = payload.decode()
                except UnicodeDecodeError:
                    break
                at = end
                message(text)
            else:
                at = end
                message(payload)
            turn -= 1
            if channel._paused or not turn or not self._open:
                break
        self._turn = turn
        return data[at:] if at < size else b""


def parse_header(data: bytes, start: int = 0) -> tuple[int, bool, int, int] | None:
    """Give opcode, FIN, the header's size and the payload's of the frame at ``start``; None: not all there yet."""
    have = len(data) - start
    if have < 2:
        return None
    first, second = data[start], data[start + 1]
    length = second & 0x7F
    size = 2 + (4 if second & _MASKED else 0)
    if length == 126:
        if have < 4:
            return None
        size += 2
        length = int.from_bytes(data[start + 2 : start + 4])
    elif length == 127:
        if have < 10:
            return None
        size += 8
        length = int.from_bytes(data[start + 2 : start + 10])
    return first & 0x0F, bool(first & 0x80), size, length


def make_frame(first: int, data: bytes) -> bytes:
    """Make a frame that is not masked.

    Args:
        first: its first byte: FIN, the reserved bits and the opcode.
        data: its payload.
    """
    size = len(data)
    if size < 126:
        return bytes((first, size)) + data
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + data
    return struct.pack("!BBQ", first, 127, size) + data
