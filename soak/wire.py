"""Requests and WebSockets as a client sends them, on plain sockets; it shares no code with the server.

One task reads a socket, any number write to it.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
from typing import Final

import trio

__all__ = ["HTTP", "Closed", "Refused", "WebSocket", "connect"]

_CHUNK: Final = 65536
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


class Closed(Exception):
    """The connection is over; ``code`` is what the close frame said, 1006 without one."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server answered with another status than was hoped for."""


class _Socket:
    """A connected socket with what was read ahead."""

    what = "a WebSocket"

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.deaf_until = 0.0  # trio's clock: before that nothing is read
        self._writing = trio.Lock()

    async def fill(self) -> None:
        """Read some more.

        Raises:
            Closed: there is no more.
        """
        while True:
            if self.deaf_until and self.deaf_until > trio.current_time():
                await trio.sleep_until(self.deaf_until)
            try:
                try:
                    data = self.sock.recv(_CHUNK)
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(self.sock)
                    continue
            except (OSError, trio.ClosedResourceError) as error:
                raise Closed(1006, f"{error}: {self.what}") from None
            if not data:
                raise Closed(1006, f"end of stream: {self.what}")
            self.buffer += data
            return

    async def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            Closed: it can't be sent.
        """
        async with self._writing:
            view = memoryview(data)
            while view:
                try:
                    try:
                        view = view[self.sock.send(view) :]
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(self.sock)
                except (OSError, trio.ClosedResourceError) as error:
                    raise Closed(1006, f"{error}: sending on {self.what}") from None

    @property
    def usable(self) -> bool:
        """Whether this side has not closed it."""
        return self.sock.fileno() >= 0

    def close(self) -> None:
        """Close the socket."""
        if self.usable:
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()

    def reset(self) -> None:
        """Leave with a RST."""
        if self.usable:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()


async def connect(port: int, receive_buffer: int = 0) -> socket.socket:
    """Connect to the server; ``receive_buffer`` in bytes, 0 as the system has it.

    Raises:
        Closed: it does not work.
    """
    sock = socket.socket()
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            sock.connect(("127.0.0.1", port))
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
            if problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise Closed(1006, os.strerror(problem)) from None
    except BaseException:
        sock.close()
        raise
    return sock


class HTTP(_Socket):
    """A connection for one request after the other.

    Attributes:
        served: how many responses came on it.
    """

    served = 0

    @property
    def idle(self) -> bool:
        """Whether nothing has come since the last response: the server may have closed it before the request came."""
        return self.served > 0 and not self.buffer

    async def request(self, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Send a request, given by its request line and headers, and read the response.

        Raises:
            Closed: the connection ended before the response did.
        """
        self.what = f"HTTP, {self.served} served so far, {head[:100]!r} at {trio.current_time():.3f}"
        await self.send(f"{head}\r\nHost: soak\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return await self.response()

    async def response(self, bodyless: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Read a response.

        Raises:
            Closed: the connection ended before the response did.
        """
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            await self.fill()
        first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        del self.buffer[: end + 4]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if bodyless or first[9:12] == "101" else int(headers["content-length"])
        while len(self.buffer) < length:
            await self.fill()
        body = bytes(self.buffer[:length])
        del self.buffer[:length]
        self.served += 1
        return int(first[9:12]), headers, body


class WebSocket(_Socket):
    """The client's end of a WebSocket (RFC 6455)."""

    closing = False

    @classmethod
    async def open(cls, port: int, target: str, headers: str = "", receive_buffer: int = 0) -> WebSocket:
        """Connect and shake hands; ``headers`` are lines that end with CRLF.

        Raises:
            Refused: the server does not want it.
            Closed: the connection ended before that.
        """
        sock = await connect(port, receive_buffer)
        http = HTTP(sock)
        http.what = f"a handshake, {target}"
        try:
            key = base64.b64encode(os.urandom(16)).decode()
            await http.send(
                f"GET {target} HTTP/1.1\r\nHost: soak\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            status, _, body = await http.response()
            if status != 101:
                raise Refused(f"{status} {body!r}")
        except BaseException:
            http.close()
            raise
        opened = cls(sock)
        opened.buffer = http.buffer
        return opened

    async def message(self, data: str | bytes) -> None:
        """Send a message.

        Raises:
            Closed: it can't be sent.
        """
        if isinstance(data, str):
            await self._frame(_TEXT, data.encode())
        else:
            await self._frame(_BINARY, data)

    async def goodbye(self) -> None:
        """Send the close frame; the server's ends :meth:`receive`.

        Raises:
            Closed: it can't be sent.
        """
        if not self.closing:
            self.closing = True
            await self._frame(_CLOSE, b"\x03\xe8")

    async def _frame(self, opcode: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
        elif size < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0xFF, size)
        mask = os.urandom(4)
        whole = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(data) ^ int.from_bytes(whole)).to_bytes(size) if size else b""
        await self.send(head + mask + masked)

    async def receive(self) -> str | bytes:
        """Give the next message.

        Raises:
            Closed: there is none any more.
        """
        buffer = self.buffer
        while True:
            while len(buffer) < 2:
                await self.fill()
            opcode, size, start = buffer[0] & 0x7F, buffer[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                while len(buffer) < start:
                    await self.fill()
                size = int.from_bytes(buffer[2:start])
            while len(buffer) < start + size:
                await self.fill()
            if not buffer[0] & 0x80 or buffer[1] & 0x80:
                raise AssertionError("a frame is fragmented or masked")
            data = bytes(buffer[start : start + size])
            del buffer[: start + size]
            if opcode == _TEXT:
                return data.decode()
            if opcode == _BINARY:
                return data
            if opcode == _CLOSE:
                if not self.closing:
                    await self._frame(_CLOSE, data[:2])
                raise Closed(int.from_bytes(data[:2]) if data else 1005, data[2:].decode())
            if opcode == _PING:
                await self._frame(_PONG, data)
