"""The attacking side: plain sockets and hand-made bytes, no library of any protocol."""

from __future__ import annotations

import base64
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = base64.b64encode(b"sixteen bytes ok").decode()
MASK = b"\x12\xab\x56\xef"


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    length: int | None = None,
    form: int | None = None,
) -> bytes:
    """Make a frame, right or wrong: ``length`` is a claim, ``form`` (7, 16 or 64) how many bits say it."""
    size = len(payload) if length is None else length
    if form is None:
        form = 7 if size < 126 else 16 if size < 65536 else 64
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    masked = 0 if mask is None else 0x80
    if form == 7:
        head = struct.pack("!BB", first, masked | size)
    elif form == 16:
        head = struct.pack("!BBH", first, masked | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked | 127, size)
    if mask is None:
        return head + payload
    key = int.from_bytes((mask * (len(payload) // 4 + 1))[: len(payload)])
    return head + mask + (int.from_bytes(payload) ^ key).to_bytes(len(payload))


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Make a close frame."""
    return frame(CLOSE, code.to_bytes(2) + reason)


def request(method: str = "GET", target: str = "/", *headers: str, body: bytes = b"") -> bytes:
    """Make a request; Host comes first, each header is a whole line."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def upgrade(*headers: str, target: str = "/primus", without: Iterable[str] = ()) -> bytes:
    """Make an upgrade request, perhaps without some of the headers that it needs."""
    needed = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    lines = [f"{name}: {value}" for name, value in needed.items() if name not in set(without)]
    return request("GET", target, *lines, *headers)


@dataclass
class Answer:
    """A response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Give a header's value; None when it is not there."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Raw:
    """One attacking socket."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self.tcp = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self.buffer = bytearray()
        self.ended = False

    async def send(self, data: bytes) -> bool:
        """Send; False: the server has hung up."""
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError:
            return False
        return True

    async def drip(self, data: bytes, size: int = 1) -> bool:
        """Send in pieces of ``size`` bytes, each in a segment of its own."""
        for start in range(0, len(data), size):
            if not await self.send(data[start : start + size]):
                return False
            await trio.lowlevel.checkpoint()
        return True

    async def more(self) -> bool:
        """Read what comes; False at the end, whether clean or by a reset."""
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        self.buffer += data
        self.ended = not data
        return bool(data)

    async def rest(self) -> bytes:
        """Read to the end."""
        while not self.ended and await self.more():
            pass
        rest = bytes(self.buffer)
        self.buffer.clear()
        return rest

    async def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not await self.more():
                raise EOFError(f"the server hung up after {bytes(self.buffer)!r}")
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Read one response; EOFError: there is none."""
        while b"\r\n\r\n" not in self.buffer:
            if not await self.more():
                raise EOFError(f"the server hung up after {bytes(self.buffer)!r}")
        head = await self._take(self.buffer.index(b"\r\n\r\n") + 4)
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        answer = Answer(int(status), [(line.split(": ", 1)[0], line.split(": ", 1)[1]) for line in lines], b"")
        length = answer.header("Content-Length")
        if length is not None and not bodiless:
            answer.body = await self._take(int(length))
        return answer

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame, which must be a server's: whole, unmasked, no reserved bits."""
        first, size = await self._take(2)
        assert first & 0x70 == 0
        assert first & 0x80
        assert size < 128
        if size == 126:
            size = int.from_bytes(await self._take(2))
        elif size == 127:
            size = int.from_bytes(await self._take(8))
        return first & 15, await self._take(size)

    async def text(self) -> str:
        """Read one text message, skipping Primus' pings."""
        while True:
            opcode, payload = await self.frame()
            assert opcode == TEXT, (opcode, payload)
            if not payload.startswith(b'"primus::'):
                return payload.decode()

    async def closing(self, *, reply: bool = True) -> int:
        """Read to the close frame and give its code (1005: none in it); after it nothing may follow but the end."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                break
        if reply:
            await self.send(frame(CLOSE, payload))  # so that a server that closes politely need not wait
        assert await self.rest() == b""
        return int.from_bytes(payload[:2]) if payload else 1005

    def reset(self) -> None:
        """Vanish with a TCP reset."""
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tcp.socket.close()

    def hang_up(self) -> None:
        """Close the socket."""
        self.tcp.socket.close()
