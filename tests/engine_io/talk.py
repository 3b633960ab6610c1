"""One script of raw requests for two servers: each step notes what came back, in a form that can be compared."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from ahtransport import ConnectionClosed
from ahtransport.abc import ProtocolError
from ahtransport.testing import Refused, WebSocketClient

if TYPE_CHECKING:
    from collections.abc import Iterable

POLLING = "EIO=4&transport=polling"
WEBSOCKET = "EIO=4&transport=websocket"
_SID = re.compile(r"""(sid\\?":\\?")[\w-]{20,22}(?=\\?")""")
PLAIN_TEXT = ("Content-Type: text/plain;charset=UTF-8",)


class Talk:
    """A client of one server.

    Attributes:
        notes: what came back, step by step.
    """

    def __init__(self, url: str, nursery: trio.Nursery, *, headers: Iterable[str] = ()) -> None:
        self.notes: list[str] = []
        self._address = urlsplit(url)
        self._nursery = nursery
        self._headers = tuple(name.lower() for name in headers)  # that are noted
        self._sids: list[str] = []
        self._streams: list[trio.abc.Stream] = []

    # -- HTTP

    async def dial(self) -> trio.SocketStream:
        """Connect."""
        stream = await trio.open_tcp_stream(self._address.hostname or "", self._address.port or 0)
        self._streams.append(stream)
        return stream

    async def start(
        self,
        method: str,
        query: str,
        body: bytes | str = b"",
        headers: Iterable[str] = (),
        *,
        path: str = "/primus/",
        length: int | None = None,
    ) -> trio.SocketStream:
        """Send a request; ``length`` is a claim, 0 makes none."""
        body = body.encode() if isinstance(body, str) else body
        lines = [f"{method} {path}?{query} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        size = len(body) if length is None else length
        if size or (length is None and method in ("POST", "PUT")):
            lines.append(f"Content-Length: {size}")
        stream = await self.dial()
        with suppress(trio.BrokenResourceError):  # refused before all of it was sent
            await stream.send_all("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return stream

    async def read(self, stream: trio.SocketStream) -> str:
        """Read the answer: status, type and body in a line; "cut" when there is none."""
        data = b""
        with suppress(trio.BrokenResourceError):
            async for piece in stream:
                data += piece
        await stream.aclose()
        if not data:
            return "cut"
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if fields.get("transfer-encoding") == "chunked":
            body = _unchunk(body)
        elif "content-length" in fields and body:
            assert len(body) == int(fields["content-length"])
        status = first.split(" ")[1]
        kind = _kind(fields.get("content-type", "-")) if body else "-"
        told = [status, kind, self._anonymous(body.decode())]
        if status == "200" and "no-store" not in fields.get("cache-control", ""):
            told.append("may be stored")
        told += [f"{name}: {fields[name]}" for name in self._headers if name in fields]
        return " | ".join(told)

    async def http(
        self,
        method: str,
        query: str = POLLING,
        body: bytes | str = b"",
        headers: Iterable[str] = (),
        *,
        path: str = "/primus/",
    ) -> None:
        """Send a request and note the answer."""
        self.notes.append(await self.read(await self.start(method, query, body, headers, path=path)))

    async def wait(self, what: str, stream: trio.SocketStream) -> None:
        """Note the answer to what was started."""
        self.notes.append(f"{what}: {await self.read(stream)}")

    # -- sessions

    async def open(self) -> str:
        """Open a session by polling; gives the query of its requests."""
        stream = await self.start("GET", POLLING)
        data = b""
        async for piece in stream:
            data += piece
        sid = json.loads(data[data.index(b"\r\n\r\n0{") + 5 :])["sid"]
        self._sids.append(sid)
        return f"{POLLING}&sid={sid}"

    async def post(self, session: str, body: bytes | str, *headers: str) -> None:
        """Post to a session and note the answer."""
        await self.http("POST", session, body, headers or PLAIN_TEXT)

    async def poll(self, session: str) -> None:
        """Poll a session and note the answer."""
        await self.http("GET", session)

    async def held_poll(self, session: str) -> trio.SocketStream:
        """Begin a poll that waits."""
        stream = await self.start("GET", session)
        await trio.sleep(0.05)
        return stream

    async def check(self, session: str) -> None:
        """Note whether a session still works."""
        await self.post(session, "4check")
        await self.poll(session)

    # -- WebSockets

    async def websocket(self, query: str = WEBSOCKET, *headers: str, path: str = "/primus/") -> WebSocketClient | None:
        """Open a WebSocket and note it, or how it was refused."""
        fields = [(name, value) for name, _, value in (header.partition(": ") for header in headers)]
        try:
            socket = await WebSocketClient.connect(await self.dial(), f"{path}?{query}", fields)
        except Refused as refused:
            answer = refused.response
            self.notes.append(
                " | ".join([str(answer.status), _kind(answer.headers["content-type"]), answer.body.decode()])
            )
            return None
        self.notes.append("101")
        return socket

    async def direct(self) -> WebSocketClient:
        """Open a session by WebSocket."""
        socket = await self.websocket()
        assert socket is not None
        handshake = await socket.receive()
        assert isinstance(handshake, str)
        self._sids.append(json.loads(handshake[1:])["sid"])
        self.notes.append(self._anonymous(handshake))
        return socket

    async def hear(self, socket: WebSocketClient, count: int = 1) -> None:
        """Note so many messages, or the end."""
        for _ in range(count):
            try:
                message = await socket.receive()
            except ConnectionClosed:
                self.notes.append("closed")
                return
            except ProtocolError:
                self.notes.append("no frame")
                return
            self.notes.append(self._anonymous(message) if isinstance(message, str) else repr(message))

    async def exchange(self, socket: WebSocketClient, *messages: str | bytes) -> None:
        """Send, and note what comes back for each."""
        for message in messages:
            try:
                await socket.send(message)
            except ConnectionClosed:
                self.notes.append("gone")
                return
            await self.hear(socket)

    async def probe(self, session: str) -> WebSocketClient:
        """Open a WebSocket for a session and ask whether it will do."""
        socket = await self.websocket(session.replace("polling", "websocket"))
        assert socket is not None
        await self.exchange(socket, "2probe")
        return socket

    def hang_up(self) -> None:
        """Leave nothing open."""
        for stream in self._streams:
            if isinstance(stream, trio.SocketStream):
                stream.socket.close()

    def _anonymous(self, text: str) -> str:
        """Put a name in the place of ids, those of handshakes included."""
        for number, sid in enumerate(self._sids):
            text = text.replace(sid, f"<sid {number}>")
        text = _SID.sub(r"\1<sid>", text)
        return text if len(text) < 200 else f"{text[:40]}… {len(text)}"


def _kind(content_type: str) -> str:
    """Leave out what ours adds to some types: that they are UTF-8."""
    return content_type.removesuffix("; charset=utf-8")


def _unchunk(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return body
