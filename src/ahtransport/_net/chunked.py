"""The chunked transfer coding (RFC 9112 section 7.1), strict: what is not exactly as written there is refused."""

from __future__ import annotations

import re
from typing import Final

from ahtransport._errors import Reject

__all__ = ["ChunkedDecoder"]

# A chunk's size line: up to 8 hexadecimal digits, perhaps an extension, of which a little is tolerated.
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]{0,128})?")
_LINE: Final = 160


class ChunkedDecoder:
    """Feed it bytes; it gives the body's bytes back and knows where the body ends.

    Attributes:
        finished: whether the last chunk has been seen.
    """

    __slots__ = ("_buffer", "_left", "_trailer", "finished")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = -1  # bytes of the current chunk still to come, its closing CRLF included; -1: a size line comes
        self._trailer = False
        self.finished = False

    def feed(self, data: bytes) -> bytes:
        """Decode ``data`` and give what it holds of the body.

        Raises:
            Reject: 400, the coding is broken.
        """
        buffer = self._buffer
        buffer += data
        out = bytearray()
        while buffer and not self.finished:
            if self._left > 2:
                size = min(self._left - 2, len(buffer))
                out += buffer[:size]
                del buffer[:size]
                self._left -= size
            elif self._left == 2:
                if not b"\r\n".startswith(buffer[:2]):
                    raise Reject(400, "a chunk does not end where it said")
                if len(buffer) < 2:
                    break
                del buffer[:2]
                self._left = -1
            elif not self._size_line(buffer):
                break
        return bytes(out)

    def rest(self) -> bytes:
        """Give what came after the end of the body."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _size_line(self, buffer: bytearray) -> bool:
        line = self._line(buffer)
        if line is None:
            return False
        if self._trailer:
            if line:
                raise Reject(400, "trailer fields are not supported")
            self.finished = True
            return True
        match = _SIZE.fullmatch(line)
        if not match:
            raise Reject(400, "the size of a chunk is malformed")
        size = int(match[1], 16)
        if size:
            self._left = size + 2
        else:
            self._trailer = True
        return True

    @staticmethod
    def _line(buffer: bytearray) -> bytes | None:
        end = buffer.find(b"\r\n", 0, _LINE + 2)
        if end < 0:
            if len(buffer) > _LINE or b"\n" in buffer:
                raise Reject(400, "a chunk is malformed")
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        return line
