"""A small WebSocket client over any of trio's streams, strict about what it is sent."""

from __future__ import annotations

import base64
import hashlib
import random
import struct
from typing import TYPE_CHECKING, NamedTuple

import trio

from ahtransport._errors import ConnectionClosed, ProtocolError
from ahtransport.testing._http import Reader, Refused, read_response, request_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ahtransport.testing._http import HttpResponse

__all__ = ["Frame", "WebSocketClient", "frame_bytes"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Frame(NamedTuple):
    """One frame (RFC 6455 section 5.2), unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True


def frame_bytes(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes | None = b"\0\0\0\0") -> bytes:
    """Write one frame as a client: masked with ``mask``, or, against the rules, not at all when it is None."""
    size, bit = len(payload), 0 if mask is None else 0x80
    first = opcode | (0x80 if fin else 0)
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if mask is None:
        return head + payload
    key = int.from_bytes(mask * (size // 4 + 1)) >> (32 - size % 4 * 8)
    return head + mask + (int.from_bytes(payload) ^ key).to_bytes(size)


class WebSocketClient:
    """One WebSocket, seen from the client. Made by :meth:`connect`.

    It has no tasks of its own: pings of the server are answered while somebody waits in :meth:`receive`.

    Attributes:
        stream: what carries it; raw bytes may be written to it.
        response: the answer to the handshake.
        closed: close code and reason, once it is over; 1005 for a close frame without a code, 1006 without a frame.
        frames: how many frames have arrived.
    """

    def __init__(self, stream: trio.abc.Stream, reader: Reader, response: HttpResponse) -> None:
        self.stream = stream
        self.response = response
        self.closed: tuple[int, str] | None = None
        self.frames = 0
        self._reader = reader
        self._random = random.Random(0)
        self._parts: list[bytes] = []
        self._kind = 0
        self._close_sent = False

    @classmethod
    async def connect(
        cls, stream: trio.abc.Stream, path: str = "/primus", headers: Iterable[tuple[str, str]] = ()
    ) -> WebSocketClient:
        """Shake hands (RFC 6455 section 4.1).

        Raises:
            Refused: the server answered something else than 101.
            ProtocolError: the answer is not what the standard says.
            EOFError: the server hung up.
        """
        key = base64.b64encode(random.Random(0).randbytes(16)).decode()
        fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key),
            ("Sec-WebSocket-Version", "13"),
            *headers,
        ]
        await stream.send_all(request_bytes("GET", path, fields, upgrade=True))
        reader = Reader(stream)
        response = await read_response(reader)
        if response.status != 101:
            raise Refused(response)
        answer = response.headers
        accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()
        if answer.get("sec-websocket-accept") != accept or answer.get("upgrade", "").lower() != "websocket":
            raise ProtocolError(f"the handshake is wrong: {answer}")
        if "upgrade" not in answer.get("connection", "").lower():
            raise ProtocolError(f"the handshake is wrong: {answer}")
        if "sec-websocket-extensions" in answer or "sec-websocket-protocol" in answer:
            raise ProtocolError("the server chose what nobody had offered")
        return cls(stream, reader, response)

    # -- out

    async def send(self, data: str | bytes) -> None:
        """Send a text or a binary message."""
        if isinstance(data, str):
            await self.send_frame(TEXT, data.encode("utf-8", "surrogatepass"))
        else:
            await self.send_frame(BINARY, data)

    async def ping(self, payload: bytes = b"") -> None:
        """Send a ping frame."""
        await self.send_frame(PING, payload)

    async def send_frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        """Send any frame, with a mask of its own.

        Raises:
            ConnectionClosed: the server is gone.
        """
        try:
            await self.stream.send_all(frame_bytes(opcode, payload, fin=fin, mask=self._random.randbytes(4)))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosed(*(self.closed or (1006, ""))) from error

    # -- in

    async def receive_frame(self) -> Frame:
        """Wait for the next frame, whatever it is.

        Raises:
            EOFError: none comes any more.
            ProtocolError: it breaks the rules.
        """
        reader = self._reader
        while (frame := _parse(reader.buffer)) is None:
            await reader.fill()
        self.frames += 1
        return frame

    async def receive(self) -> str | bytes:
        """Wait for the next message; pings are answered meanwhile, a close frame is returned.

        Raises:
            ConnectionClosed: none comes any more; ``closed`` says why.
            ProtocolError: the server broke the protocol.
        """
        while True:
            if self.closed is not None:
                await trio.lowlevel.checkpoint()
                raise ConnectionClosed(*self.closed)
            try:
                frame = await self.receive_frame()
            except EOFError:
                self.closed = (1006, "")
                continue
            if frame.opcode == PING:
                await self.send_frame(PONG, frame.payload)
            elif frame.opcode == CLOSE:
                await self._closed_by_server(frame.payload)
            elif frame.opcode != PONG:
                message = self._collect(frame)
                if message is not None:
                    return message

    def _collect(self, frame: Frame) -> str | bytes | None:
        if (frame.opcode == CONTINUATION) != bool(self._kind):
            raise ProtocolError("a fragment where none belongs, or the other way round")
        self._kind = self._kind or frame.opcode
        self._parts.append(frame.payload)
        if not frame.fin:
            return None
        data, kind = b"".join(self._parts), self._kind
        self._parts, self._kind = [], 0
        return data.decode() if kind == TEXT else data

    # -- the end

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Shake hands once more (RFC 6455 section 7), drop what still arrives, and close the stream.

        Raises:
            ProtocolError: the server broke the protocol.
        """
        if self.closed is None:
            payload = b"" if code is None else struct.pack("!H", code) + reason.encode()
            self._close_sent = True
            try:
                await self.send_frame(CLOSE, payload)
                while True:
                    await self.receive()
            except ConnectionClosed as ended:
                self.closed = self.closed or (ended.code, ended.reason)
        await self.stream.aclose()

    async def abort(self) -> None:
        """Hang up without a word."""
        self.closed = self.closed or (1006, "")
        await trio.aclose_forcefully(self.stream)

    async def _closed_by_server(self, payload: bytes) -> None:
        if len(payload) == 1:
            raise ProtocolError("a close frame with half a code")
        code, reason = (struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else (1005, "")
        if payload and not (1000 <= code <= 4999 and code not in (1004, 1005, 1006) and not 1015 <= code < 3000):
            raise ProtocolError(f"a close frame with the code {code}")
        self.closed = (code, reason)
        if not self._close_sent:
            self._close_sent = True
            try:
                await self.send_frame(CLOSE, payload[:2])
            except ConnectionClosed:
                return  # the server need not wait for it once it has failed the connection


def _parse(buffer: bytearray) -> Frame | None:
    """Take one frame out of ``buffer``; None: it is not all there yet.

    Raises:
        ProtocolError: it breaks the rules for what servers send.
    """
    if len(buffer) < 2:
        return None
    first, size = buffer[0], buffer[1]
    opcode, fin = first & 0x0F, bool(first & 0x80)
    if first & 0x70 or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        raise ProtocolError(f"a frame begins with {first:#x}")
    if size & 0x80:
        raise ProtocolError("a server does not mask")
    if opcode >= CLOSE and (size > 125 or not fin):
        raise ProtocolError("a control frame is too long, or a fragment")
    start = {126: 4, 127: 10}.get(size, 2)
    if len(buffer) < start:
        return None
    if start > 2:
        size = int.from_bytes(buffer[2:start])
        if size < (126 if start == 4 else 65536):
            raise ProtocolError("a length is not written in its shortest form")
    if len(buffer) < start + size:
        return None
    payload = bytes(buffer[start : start + size])
    del buffer[: start + size]
    return Frame(opcode, payload, fin)
