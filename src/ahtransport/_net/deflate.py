"""permessage-deflate (RFC 7692): what is agreed on in the handshake, and the two directions of the codec.

No object of zlib's outlives a message, unless the server keeps its context: what the next message may refer to are a
few kilobytes of the last ones, kept as plain bytes. And nothing is inflated before it is known how long it becomes.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = ["Compression", "Deflater", "Inflater", "Parameters", "TooLong", "deflated", "negotiate"]

_NAME: Final = "permessage-deflate"
_LARGEST: Final = 15
# zlib makes no raw stream with a window of 2**8 bytes, so whoever wants one is declined.
_VALUES: Final = {
    "server_no_context_takeover": re.compile(""),
    "client_no_context_takeover": re.compile(""),
    "server_max_window_bits": re.compile("=(9|1[0-5])"),
    "client_max_window_bits": re.compile("(=(9|1[0-5]))?"),
}
_TAIL: Final = b"\x00\x00\xff\xff"  # the end of a flushed stream, which is not sent (section 7.2.1)
_END: Final = b"\x03\x00"  # a last, empty block: it ends the stream if, and only if, the data was whole
_SLICE: Final = 16384  # bytes of a message that are inflated at once; they become at most a thousand times as many
_STEP: Final = 1 << 18  # bytes that one call of zlib may give, and that are inflated in one turn
_SURE: Final = 1 << 21  # bytes that are inflated before the rest is counted first
_STREAMS: Final = 8  # that a message may consist of: few ever have more than one, and each takes time to begin
_MEMORY: Final = 5  # of 9; at 15 bits some 150 kilobytes for each connection
_SMALL: Final = 16384  # bytes; what is longer is compressed faster and not as well, since everybody waits meanwhile


@dataclass(frozen=True, slots=True)
class Compression:
    """What the server is willing to do.

    Attributes:
        threshold: messages of fewer bytes are sent as they are.
        context_takeover: whether either side may refer to earlier messages (section 7.1.1).
    """

    threshold: int = 1024
    context_takeover: bool = False


@dataclass(frozen=True, slots=True)
class Parameters:
    """What was agreed on (section 7.1).

    Attributes:
        server_no_context_takeover: each message of the server's stands for itself.
        client_no_context_takeover: each message of the client's stands for itself.
        server_max_window_bits: how far back the server may refer, as a power of two.
        client_max_window_bits: how far back the client may refer.
        server_window_named: whether the offer has named the server's, so that the answer has to (section 7.1.2.1).
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = _LARGEST
    client_max_window_bits: int = _LARGEST
    server_window_named: bool = False

    def __str__(self) -> str:
        """Give it as the answer's ``Sec-WebSocket-Extensions``."""
        parts = [_NAME]
        if self.server_no_context_takeover:
            parts.append("server_no_context_takeover")
        if self.client_no_context_takeover:
            parts.append("client_no_context_takeover")
        if self.server_window_named or self.server_max_window_bits < _LARGEST:
            parts.append(f"server_max_window_bits={self.server_max_window_bits}")
        if self.client_max_window_bits < _LARGEST:
            parts.append(f"client_max_window_bits={self.client_max_window_bits}")
        return "; ".join(parts)


def negotiate(headers: Iterable[str], compression: Compression) -> Parameters | None:
    """Take the first offer that can be taken as it stands; None: there is none, so nothing is compressed.

    An offer with an unknown, repeated or impossible parameter is declined, as section 7.1 demands; so are all offers of
    a header with quotation marks, which no client needs.

    Args:
        headers: the values of ``Sec-WebSocket-Extensions``.
        compression: what the server is willing to do.
    """
    for header in headers:
        if '"' not in header:
            for offer in header.split(","):
                name, *parameters = offer.split(";")
                if name.strip(" \t") == _NAME and (found := _read(parameters, compression)) is not None:
                    return found
    return None


def _read(parameters: list[str], compression: Compression) -> Parameters | None:
    """Read the parameters of an offer and give the answer to it; None: it can't be taken."""
    found: dict[str, str] = {}
    for parameter in parameters:
        name, sign, value = (part.strip(" \t") for part in parameter.partition("="))
        if name in found or name not in _VALUES or not _VALUES[name].fullmatch(sign + value):
            return None
        found[name] = value
    alone = not compression.context_takeover
    return Parameters(
        server_no_context_takeover=alone or "server_no_context_takeover" in found,
        client_no_context_takeover=alone or "client_no_context_takeover" in found,
        server_max_window_bits=int(found.get("server_max_window_bits", _LARGEST)),
        client_max_window_bits=int(found.get("client_max_window_bits") or _LARGEST),
        server_window_named="server_max_window_bits" in found,
    )


class TooLong(Exception):
    """A message becomes longer than is allowed when it is inflated."""


class Inflater:
    """The client's messages, inflated."""

    __slots__ = ("_keep", "_window")

    def __init__(self, parameters: Parameters) -> None:
        self._window = b""  # what the next message may refer to
        self._keep = 0 if parameters.client_no_context_takeover else 1 << parameters.client_max_window_bits

    def inflate(self, data: bytes, limit: int) -> bytes:
        """Give the message that ``data`` is, all its fragments together; see :meth:`steps`."""
        steps = self.steps(data, limit)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                message: bytes = done.value
                return message

    def steps(self, data: bytes, limit: int) -> Generator[None, None, bytes]:
        """Inflate a message in steps of some hundred kilobytes, so that others may have their turn; returns it.

        Whatever it becomes, what is allocated meanwhile is the message itself, if it is not too long, and some three
        megabytes: of long ones the rest is counted before it is kept.

        Raises:
            TooLong: it has more than ``limit`` bytes.
            zlib.error: it is no such message, or not all of one.
        """
        inflating = _Inflating(data, self._window)
        pieces: list[bytes] = []
        left = limit
        turn = _STEP
        sure = False
        while not inflating.over:
            piece = inflating.step(left + 1)
            left -= len(piece)
            if left < 0:
                raise TooLong
            pieces.append(piece)
            if not sure and limit - left > _SURE:
                sure = True
                yield from _count(inflating.copy(), left)
            turn -= len(piece)
            if turn <= 0 and not inflating.over:
                turn = _STEP
                yield
        if self._keep:
            self._window = inflating.window[-self._keep :]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _count(inflating: _Inflating, left: int) -> Generator[None, None, None]:
    turn = _STEP
    while not inflating.over:
        size = len(inflating.step(left + 1))
        left -= size
        if left < 0:
            raise TooLong
        turn -= size
        if turn <= 0:
            turn = _STEP
            yield


class _Inflating:
    """One message on its way through zlib.

    Attributes:
        over: whether all of it is inflated.
        window: the last bytes of what came out, and before that of earlier messages.
    """

    __slots__ = ("_at", "_data", "_rest", "_stream", "_streams", "over", "window")

    def __init__(self, data: bytes, window: bytes) -> None:
        self.over = False
        self.window = window
        self._data = memoryview(data + _TAIL + _END)
        self._at = 0
        self._rest: bytes | memoryview = b""
        self._streams = 0
        self._begin()

    def _begin(self) -> None:
        self._streams += 1
        if self._streams > _STREAMS:
            raise zlib.error("too many streams in one message")
        # With a window of its own size, so that nothing depends on how a peer rounds; it may always refer to less.
        self._stream = (
            zlib.decompressobj(-_LARGEST, zdict=self.window) if self.window else zlib.decompressobj(-_LARGEST)
        )

    def copy(self) -> _Inflating:
        """Give another that goes on from here."""
        twin = object.__new__(_Inflating)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        twin._stream = self._stream.copy()
        return twin

    def step(self, most: int) -> bytes:
        """Inflate some more, to at most ``most`` bytes.

        Raises:
            zlib.error: this is no DEFLATE (RFC 1951), or it ends where it must not.
        """
        piece = self._rest
        if not piece:
            piece = self._data[self._at : self._at + _SLICE]
            if not piece:
                raise zlib.error("the message ends within a block")
            self._at += len(piece)
        stream = self._stream
        out = stream.decompress(piece, min(most, _STEP))
        self._rest = stream.unconsumed_tail
        if out:
            self.window = (out if len(out) >= 1 << _LARGEST else self.window + out)[-(1 << _LARGEST) :]
        if stream.eof:
            # Ours is the last block of all. One of the peer's own is followed by another stream (section 7.2.3.4).
            self._rest = stream.unused_data
            if self._rest or self._at < len(self._data):
                self._begin()
            else:
                self.over = True
        return out


class Deflater:
    """The server's messages, deflated: one after the other, each may refer to those before it."""

    __slots__ = ("_stream",)

    def __init__(self, parameters: Parameters) -> None:
        self._stream = zlib.compressobj(wbits=-parameters.server_max_window_bits, memLevel=_MEMORY)

    def deflate(self, data: bytes) -> bytes:
        """Give the message that ``data`` becomes; it has to be sent."""
        return (self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)] or b"\0"


def deflated(data: bytes, most: int) -> tuple[int, bytes]:
    """Deflate a message that stands for itself, so that all may have the same.

    Args:
        data: the message.
        most: how far back it may refer, as a power of two.

    Returns:
        how far back it does refer at most, as a power of two, and the message.
    """
    # Small messages get a small window and small tables: to set up the largest takes longer than to deflate 4 KB.
    size = max(9, (len(data) - 1).bit_length())
    bits = min(size, most)
    level = 6 if len(data) <= _SMALL else 1
    stream = zlib.compressobj(level, wbits=-bits, memLevel=min(size - 7, 8))
    return bits, (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]
