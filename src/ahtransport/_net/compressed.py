"""A WebSocket whose messages may be compressed: permessage-deflate (RFC 7692) around the one that knows no extension.

A compressed message is handed to wsproto as a binary one, for the protocol's sake, and inflated when it is whole. So
``max_length`` counts twice: for what arrives, as ever, and for what it becomes.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from ahtransport._net.deflate import Deflater, Inflater, TooLong, deflated, negotiate
from ahtransport._net.frames import make_frame
from ahtransport._net.websocket import WebSocketWire

if TYPE_CHECKING:
    from collections.abc import Generator

    from ahtransport._net.channel import Channel
    from ahtransport._net.deflate import Compression, Parameters
    from ahtransport._net.head import Head
    from ahtransport._net.host import Host
    from ahtransport._payload import Payload

__all__ = ["CompressedWire", "agreed"]

_RSV1: Final = 0x40
_RESERVED: Final = 0x70
_TEXT, _BINARY = 1, 2
_MOST: Final = 1 << 20  # bytes; what is longer is sent as it is, or everybody would wait too long for its compression


def agreed(head: Head, compression: Compression | None) -> Parameters | None:
    """Give what an upgrade request and the server agree on; None: nothing is compressed."""
    if compression is None:
        return None
    return negotiate(head.headers.get_all("sec-websocket-extensions"), compression)


class CompressedWire(WebSocketWire):
    """One upgraded socket on which permessage-deflate was agreed on."""

    __slots__ = ("_bits", "_deflater", "_inflater", "_inflating", "_kind", "_packed", "_threshold", "extensions")

    def __init__(self, channel: Channel, host: Host, parameters: Parameters) -> None:
        super().__init__(channel, host)
        assert host.compression is not None
        self.extensions = [("Sec-WebSocket-Extensions", str(parameters))]
        self._bits = parameters.server_max_window_bits
        self._threshold = host.compression.threshold
        self._inflater = Inflater(parameters)
        self._deflater = None if parameters.server_no_context_takeover else Deflater(parameters)
        self._packed = 0  # the opcode of the compressed message that is arriving
        self._kind = 0  # that of the one that is being inflated
        self._inflating: Generator[None, None, bytes] | None = None

    @property
    def outlet(self) -> None:
        """None: not every frame leaves as it is."""
        return

    def write(self, payload: Payload) -> bool:
        """Send one message, compressed if that is worth it; see :meth:`WebSocketWire.write`."""
        if self._open and self._threshold <= len(payload.data) <= _MOST:
            return self._channel.write(self._frame(payload))
        return super().write(payload)

    def _frame(self, payload: Payload) -> bytes:
        first = 0xC2 if payload.binary else 0xC1  # FIN, RSV1 and the opcode
        if self._deflater is not None:
            return make_frame(first, self._deflater.deflate(payload.data))
        made = payload._deflated
        if made is not None and made[0] <= self._bits:
            return made[1]
        bits, data = deflated(payload.data, self._bits)
        frame = make_frame(first, data) if len(data) < len(payload.data) else payload.frame()
        payload._deflated = bits, frame  # whoever may look back further can read it, too
        return frame

    def _slow(self, data: bytes, now: float) -> bytes | None:
        """Hand one frame on; see :meth:`WebSocketWire._slow`. RSV1 is right on the first of a message only (6.1)."""
        if not self._left and data[0] & _RESERVED == _RSV1 and data[0] & 0x0F in (_TEXT, _BINARY):
            self._packed = data[0] & 0x0F
            data = bytes((data[0] & 0x80 | _BINARY,)) + data[1:]
        return super()._slow(data, now)

    def _take(self, data: bytes, now: float) -> None:
        """Handle what has come; first of all a message of which only a part has been inflated."""
        if self._inflating is not None:
            data, self._buffer = self._buffer + data, b""
            if not self._channel.paused:
                self._inflate()
            if self._inflating is not None:
                self._buffer = data
                return
        super()._take(data, now)
        if self._inflating is not None:
            self._between = False

    def _deliver(self, data: str | bytes) -> None:
        if self._packed and self._open and isinstance(data, bytes):
            self._kind, self._packed = self._packed, 0
            self._inflating = self._inflater.steps(data, self._host.max_length)
            self._inflate()
        else:
            super()._deliver(data)

    def _inflate(self) -> None:
        """Inflate the next part of a message, and deliver it when it is whole. A few bytes may become megabytes, so all
        others have their turn between two parts; nothing is read meanwhile."""
        steps, self._inflating = self._inflating, None
        if steps is None or not self._open:
            return  # it is for nobody any more
        try:
            next(steps)
        except StopIteration as done:
            data: bytes = done.value
        except TooLong:
            self._fail(1009, f"a message may have {self._host.max_length} bytes")
            return
        except zlib.error:
            self._fail(1007, "not permessage-deflate")
            return
        else:
            self._inflating = steps
            self._channel.pause()
            self._channel.soon(self._next_turn)
            return
        self._turn -= len(data) >> 16  # it may have been very short on the wire
        try:
            message = data.decode() if self._kind == _TEXT else data
        except UnicodeDecodeError:
            self._fail(1007, "not UTF-8")
            return
        super()._deliver(message)
