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

    __slots__ = ("_bits", "_deflater", "_inflater", "_packed", "_threshold", "extensions")

    def __init__(self, channel: Channel, host: Host, parameters: Parameters) -> None:
        super().__init__(channel, host)
        assert host.compression is not None
        self.extensions = [("Sec-WebSocket-Extensions", str(parameters))]
        self._bits = parameters.server_max_window_bits
        self._threshold = host.compression.threshold
        self._inflater = Inflater(parameters)
        self._deflater = None if parameters.server_no_context_takeover else Deflater(parameters)
        self._packed = 0  # the opcode of the compressed message that is arriving

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

    def _deliver(self, data: str | bytes) -> None:
        if self._packed and self._open and isinstance(data, bytes):
            kind, self._packed = self._packed, 0
            limit = self._host.max_length
            try:
                data = self._inflater.inflate(data, limit)
                self._turn -= len(data) >> 16  # it may have been very short on the wire
                if kind == _TEXT:
                    data = data.decode()
            except TooLong:
                self._fail(1009, f"a message may have {limit} bytes")
                return
            except (zlib.error, UnicodeDecodeError) as error:
                self._fail(1007, "not UTF-8" if isinstance(error, UnicodeDecodeError) else "not permessage-deflate")
                return
        super()._deliver(data)
