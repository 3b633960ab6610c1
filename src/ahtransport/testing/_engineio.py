"""A small Engine.IO client over any of trio's streams, by polling, by WebSocket, and from one to the other."""

from __future__ import annotations

import base64
import contextlib
import functools
import re
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlencode

import msgspec
import trio

from ahtransport._errors import ConnectionClosed, ProtocolError
from ahtransport.testing._clients import PrimusClient
from ahtransport.testing._http import Reader, Refused, read_response, request_bytes
from ahtransport.testing._websocket import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from ahtransport.abc import Parser
    from ahtransport.testing._clients import Dial
    from ahtransport.testing._http import HttpResponse

__all__ = ["EngineIOClient", "Mode", "connect_engineio"]

Mode: TypeAlias = Literal["polling", "websocket", "upgrade"]

_SEPARATOR = "\x1e"
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


class _Line:
    """A stream that carries one request after the other."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.waiting = False  # a request has been sent, its answer has not been read
        self.used = False  # servers hang up on streams that are idle after an answer; then a new one is opened
        self._reader = Reader(stream)

    async def ask(self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> None:
        """Send a request."""
        try:
            await self.stream.send_all(request_bytes(method, target, headers, body))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise EOFError("the server has hung up") from error
        self.waiting = True

    async def answer(self) -> HttpResponse:
        """Read the answer. When this is cancelled, the next call goes on where it was.

        Raises:
            EOFError: it does not come.
        """
        buffer = self._reader.buffer
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            await self._reader.fill()
        length = _LENGTH.search(buffer, 0, end)
        while length is not None and len(buffer) < end + 4 + int(length[1]):
            await self._reader.fill()
        self.waiting = False
        self.used = True
        return await read_response(self._reader)


class EngineIOClient:
    """One Engine.IO session, protocol 4, seen from the client; it is used like a :class:`WebSocketClient`.

    It has no tasks of its own: polls, and the server's pings, are answered while somebody waits in :meth:`receive`.

    Attributes:
        handshake: what the server said in its first packet.
        closed: close code and reason, once it is over; a close packet counts as 1005, since it has neither.
    """

    def __init__(
        self, dial: Callable[[], Awaitable[trio.abc.Stream]], target: str, headers: list[tuple[str, str]]
    ) -> None:
        self.handshake: dict[str, Any] = {}
        self.closed: tuple[int, str] | None = None
        self._dial = dial
        self._target = target
        self._headers = headers
        self._streams: list[trio.abc.Stream] = []
        self._poller: _Line | None = None
        self._poster: _Line | None = None
        self._posting = trio.Lock()
        self._socket: WebSocketClient | None = None
        self._packets: deque[str | bytes] = deque()

    @classmethod
    async def connect(
        cls,
        dial: Callable[[], Awaitable[trio.abc.Stream]],
        path: str,
        *,
        mode: Mode = "polling",
        query: Mapping[str, str] | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> EngineIOClient:
        """Open a session; in the mode "upgrade" it polls until :meth:`upgrade` is called.

        Raises:
            Refused: the server does not want it.
            EOFError: the server hung up.
        """
        target = f"{path}/?{urlencode({'EIO': '4', **(query or {})})}"
        client = cls(dial, target, list(headers))
        try:
            if mode == "websocket":
                client._socket = await client._open_socket()
                packet: Any = await client._socket.receive()
            else:
                client._poller = await client._line()
                await client._poller.ask("GET", client._at("polling"), client._headers)
                response = await client._poller.answer()
                if response.status != 200:
                    raise Refused(response)
                packet, *more = response.body.decode().split(_SEPARATOR)
                client._packets.extend(more)
            if packet[:1] != "0":
                raise ProtocolError(f"the handshake is {packet!r}")
            client.handshake = msgspec.json.decode(packet[1:])
        except BaseException:
            await client.cut()
            raise
        return client

    def _at(self, transport: str) -> str:
        sid = f"&sid={self.handshake['sid']}" if self.handshake else ""
        return f"{self._target}&transport={transport}{sid}"

    async def _line(self) -> _Line:
        try:
            stream = await self._dial()
        except (OSError, RuntimeError) as error:
            raise EOFError("the server accepts nobody any more") from error
        self._streams.append(stream)
        return _Line(stream)

    async def _open_socket(self) -> WebSocketClient:
        stream = await self._dial()
        self._streams.append(stream)
        return await WebSocketClient.connect(stream, self._at("websocket"), self._headers)

    async def upgrade(self) -> bool:
        """Move from polling to a WebSocket; False: the server would not, and polling goes on."""
        try:
            socket = await self._open_socket()
            await socket.send("2probe")
            if await socket.receive() != "3probe":
                raise ProtocolError("the answer to a probe is wrong")
            while self._poller is not None and self._poller.waiting:
                await self._fetch()
            await socket.send("5")
        except (Refused, ConnectionClosed, EOFError):
            return False
        self._socket = socket
        return True

    # -- out

    async def send(self, data: str | bytes) -> None:
        """Send a text or a binary message.

        Raises:
            ConnectionClosed: the server is gone.
        """
        if isinstance(data, str):
            await self._send_packet("4" + data)
        elif self._socket is not None:
            await self._send_packet(data)
        else:
            await self._send_packet("b" + base64.b64encode(data).decode())

    async def _send_packet(self, packet: str | bytes) -> None:
        if self.closed is not None:
            raise ConnectionClosed(*self.closed)
        if self._socket is not None:
            await self._socket.send(packet)
            return
        assert isinstance(packet, str)
        async with self._posting:
            if not await self._post(packet):
                await self._post("1")  # what was refused may have ended nothing; a client gives up then
                self.closed = self.closed or (1006, "")
                raise ConnectionClosed(*self.closed)

    async def _post(self, packet: str) -> bool:
        fresh = self._poster is None or not self._poster.used
        body = packet.encode("utf-8", "surrogatepass")
        headers = [("Content-Type", "text/plain;charset=UTF-8"), *self._headers]
        try:
            if self._poster is None or self._poster.waiting:
                self._poster = await self._line()
            await self._poster.ask("POST", self._at("polling"), headers, body)
            response = await self._poster.answer()
        except EOFError:
            self._poster = None
            return not fresh and await self._post(packet)
        if response.headers.get("connection", "").lower() == "close":
            self._poster = None
        return response.status == 200

    # -- in

    async def receive(self) -> str | bytes:
        """Wait for the next message; pings are answered meanwhile.

        Raises:
            ConnectionClosed: none comes any more; ``closed`` says why.
        """
        while True:
            if self._packets:
                packet = self._packets.popleft()
                if isinstance(packet, bytes):
                    return packet
                if packet[0] == "4":
                    return packet[1:]
                if packet[0] == "b":
                    return base64.b64decode(packet[1:])
                if packet[0] == "2":
                    await self._send_packet("3")
                elif packet[0] == "1":
                    self.closed = self.closed or (1005, "")
                elif packet[0] != "6":
                    raise ProtocolError(f"a server sent {packet!r}")
            elif self.closed is not None:
                await trio.lowlevel.checkpoint()
                raise ConnectionClosed(*self.closed)
            elif self._socket is not None:
                try:
                    self._packets.append(await self._socket.receive())
                except ConnectionClosed as ended:
                    self.closed = (ended.code, ended.reason)
            else:
                await self._fetch()

    async def _fetch(self) -> None:
        """Poll once."""
        fresh = self._poller is None or not self._poller.used
        try:
            if self._poller is None:
                self._poller = await self._line()
            if not self._poller.waiting:
                await self._poller.ask("GET", self._at("polling"), self._headers)
            response = await self._poller.answer()
        except EOFError:
            self._poller = None
            if fresh:
                self.closed = self.closed or (1006, "")
            return
        if response.headers.get("connection", "").lower() == "close":
            self._poller = None
        if response.status == 200:
            self._packets.extend(response.body.decode().split(_SEPARATOR))
        else:
            self.closed = self.closed or (1006, "")

    # -- the end

    async def close(self) -> None:
        """Say goodbye and leave."""
        if self.closed is None:
            if self._socket is not None:
                await self._socket.close()
                self.closed = self._socket.closed
            else:
                async with self._posting:
                    await self._post("1")
        self.closed = self.closed or (1005, "")
        await self.cut()

    async def abort(self) -> None:
        """Vanish in the middle of a poll, or hang up without a word."""
        if self.closed is None and self._socket is None:
            with contextlib.suppress(EOFError):
                if self._poller is None:
                    self._poller = await self._line()
                if not self._poller.waiting:
                    await self._poller.ask("GET", self._at("polling"), self._headers)
        self.closed = self.closed or (1006, "")
        await self.cut()

    async def cut(self) -> None:
        """Cut all streams."""
        with trio.CancelScope(shield=True):  # all of them, also when this is cancelled
            for stream in self._streams:
                await trio.aclose_forcefully(stream)


@asynccontextmanager
async def _connect(
    mode: Mode,
    dial: Dial,
    path: str = "/primus",
    *,
    query: Mapping[str, str] | None = None,
    headers: Iterable[tuple[str, str]] = (),
    parser: Parser | None = None,
) -> AsyncIterator[PrimusClient]:
    query = {"_primuscb": "test", **(query or {})}
    engine = await EngineIOClient.connect(dial, path, mode=mode, query=query, headers=headers)
    try:
        if mode == "upgrade":
            await engine.upgrade()
        yield PrimusClient(engine, parser)
    finally:
        await engine.cut()


def connect_engineio(mode: Mode) -> functools.partial[Any]:
    """Give what connects as a Primus client with the transformer ``engine.io`` in this way, as ``Variant.connect``."""
    return functools.partial(_connect, mode)
