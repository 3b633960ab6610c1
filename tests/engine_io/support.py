"""A server in memory, a client that knows every packet by hand, and what must hold after each test.

Invariants, as for every attack. I1: a bystander is served. I2: no traceback, at most one log line per stream. I3:
connections, sessions, tasks, streams and timers are gone once nobody keeps them alive. I4: every open has its one
close. I5: memory is within 32 MiB of what it was.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
import trio.testing
from ahtransport.transports.engineio import EngineIOTransformer

from ahtransport import Server
from ahtransport.testing import WebSocketClient, fetch, leftovers, memory_host
from invariants import Memory, Records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from ahtransport import Connection
    from ahtransport.testing import HttpResponse, MemoryHost, MemoryStream

EIO = "/primus/?EIO=4"
SEPARATOR = "\x1e"
PLAIN_TEXT = [("Content-Type", "text/plain;charset=UTF-8")]


class Plain:
    """A parser that carries text and bytes as they are."""

    def encode(self, value: str | bytes) -> str | bytes:
        """Pass it on."""
        return value

    def decode(self, data: str | bytes) -> str | bytes:
        """Pass it on."""
        return data


class Arena:
    """A running server and what its application has seen.

    Attributes:
        server: the server.
        opened: its connections in the order in which they came.
        closed: connection, code and reason of each that is over.
        messages: what the application got.
        echo: whether messages are sent back.
        tracebacks: how many log records with a traceback are all right.
    """

    def __init__(self, server: Server, host: MemoryHost) -> None:
        self.server = server
        self.opened: list[Connection] = []
        self.closed: list[tuple[Connection, int, str]] = []
        self.messages: list[Any] = []
        self.echo = True
        self.tracebacks = 0
        self.log = Records()
        self._memory = Memory()
        self._streams = 0
        self._host = host
        self._news = trio.lowlevel.ParkingLot()

    # -- what the application sees

    def on_open(self, connection: Connection) -> None:
        """Note it."""
        self.opened.append(connection)
        self._news.unpark_all()

    def on_close(self, connection: Connection, code: int, reason: str) -> None:
        """Note it."""
        self.closed.append((connection, code, reason))
        self._news.unpark_all()

    def on_message(self, connection: Connection, message: Any) -> None:
        """Note it, and send it back unless ``echo`` is false."""
        self.messages.append(message)
        self._news.unpark_all()
        if self.echo:
            connection.send_nowait(message)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; looks again after each note."""
        while not condition():
            await self._news.park()

    @property
    def reasons(self) -> list[str]:
        """Why connections ended."""
        return [reason for _, _, reason in self.closed]

    @property
    def transformer(self) -> EngineIOTransformer:
        """The transformer."""
        (transformer,) = self.server.transformers
        assert isinstance(transformer, EngineIOTransformer)
        return transformer

    # -- what clients do

    def stream(self, capacity: int = 65536) -> MemoryStream:
        """Connect."""
        self._streams += 1
        return self._host.stream(capacity=capacity)

    async def request(
        self,
        method: str = "GET",
        target: str = EIO,
        body: str | bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
    ) -> HttpResponse:
        """Send one request over a stream of its own; EOFError: it is cut without an answer."""
        stream = self.stream()
        try:
            return await fetch(stream, method, target, headers, body.encode() if isinstance(body, str) else body)
        finally:
            await trio.aclose_forcefully(stream)

    async def upgrade(self, target: str = EIO + "&transport=websocket", *, capacity: int = 65536) -> WebSocketClient:
        """Open a WebSocket; Refused: it is not wanted."""
        return await WebSocketClient.connect(self.stream(capacity), target)

    async def open(self, query: str = "") -> Polling:
        """Open a session by polling."""
        answer = await self.request("GET", f"{EIO}&transport=polling{query}")
        assert answer.status == 200, answer
        assert answer.body[:1] == b"0"
        return Polling(self, json.loads(answer.body[1:]))

    # -- the invariants

    async def settle(self) -> None:
        """Check the invariants, see above."""
        offenders = self._streams
        self.echo = True
        client = await self.upgrade()
        with trio.fail_after(1):
            assert (await client.receive())[:1] == "0"
            await client.send("4canary")
            assert await client.receive() == "4canary"
        await client.close()
        transformer = self.transformer
        with trio.move_on_after(transformer.ping_interval + transformer.ping_timeout * 2 + 1):
            await self.until(lambda: len(self.opened) == len(self.closed))
        await trio.sleep(self.server.config.servers.websocket.server.close_timeout + 1)
        ended = [connection.id for connection, _, _ in self.closed]
        assert sorted(ended) == sorted(connection.id for connection in self.opened)
        assert not transformer._sessions
        assert not transformer._polling
        await trio.sleep(30)  # idle streams are hung up, reading ends
        assert leftovers(self.server) == []
        assert len(self.server._application.deadlines) == 0
        self.log.check(offenders, self.tracebacks)
        self._memory.check()


class Polling:
    """A client's view of one session, polls and POSTs made by hand.

    Attributes:
        handshake: what the server said of it.
        sid: its id.
    """

    def __init__(self, arena: Arena, handshake: dict[str, Any]) -> None:
        self.handshake = handshake
        self.sid: str = handshake["sid"]
        self._arena = arena

    def target(self, transport: str = "polling") -> str:
        """Give the URL of the session."""
        return f"{EIO}&transport={transport}&sid={self.sid}"

    async def raw_poll(self) -> HttpResponse:
        """Poll."""
        return await self._arena.request("GET", self.target())

    async def poll(self) -> list[str]:
        """Poll, and give the packets."""
        answer = await self.raw_poll()
        assert answer.status == 200, answer
        return answer.body.decode().split(SEPARATOR)

    async def post(self, body: str | bytes, headers: Iterable[tuple[str, str]] = PLAIN_TEXT) -> HttpResponse:
        """Post a payload."""
        return await self._arena.request("POST", self.target(), body, headers)

    async def send(self, *packets: str) -> None:
        """Post packets, which must be taken."""
        answer = await self.post(SEPARATOR.join(packets))
        assert (answer.status, answer.body) == (200, b"ok")

    async def probe(self) -> WebSocketClient:
        """Open a WebSocket that asks to take over, and hear that it may."""
        socket = await self._arena.upgrade(self.target("websocket"))
        await socket.send("2probe")
        assert await socket.receive() == "3probe"
        return socket

    async def upgrade(self) -> WebSocketClient:
        """Move to a WebSocket as a client should: no poll waits any more when it says so."""
        socket = await self.probe()
        while await self.poll() != ["6"]:
            pass
        await socket.send("5")
        return socket


@asynccontextmanager
async def arena(
    prepare: Callable[[Server], object] | None = None, *, handler: Any = None, **options: Any
) -> AsyncIterator[Arena]:
    """Run a server in memory that echoes (unless told otherwise), and check the invariants afterwards.

    ``transport`` takes the transformer's options.
    """
    settings: dict[str, Any] = {
        "transformer": "engine.io",
        "port": 0,
        "parser": Plain,
        "blocking_warning": 0,
        "origins": "http://example.com",
        "client_js_name": "",  # the parser has no client side, which would be logged
    }
    server = Server(handler, config={}, **{**settings, **options})
    async with memory_host(server) as host:
        place = Arena(server, host)
        server.on_open(place.on_open)
        server.on_close(place.on_close)
        if handler is None:
            server.on_message(place.on_message)
        if prepare is not None:
            prepare(server)
        with place.log.attached():
            yield place
            await place.settle()
