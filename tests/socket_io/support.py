"""A small application, clients that know every packet by hand, and what must hold after each test.

Invariants, as for every attack. I1: a bystander is served. I2: no traceback but those that are due, at most one log
line per stream. I3: connections, sessions, tasks, streams and timers are gone once nobody keeps them alive. I4: every
open has its one close. I5: memory is within 32 MiB of what it was.

The application is that of ``tests/clients/oracle_socketio_raw.cjs``, line by line.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import trio
import trio.testing
from ahtransport.transports.socketio import SocketIOTransformer

from ahtransport import Connection, ConnectionClosed, ProtocolError, Reject, Request, Server
from ahtransport.testing import WebSocketClient, fetch, leftovers, memory_host
from invariants import Memory, Records

if TYPE_CHECKING:
    from types import EllipsisType

PATH = "/socket.io/?EIO=4"
CLOSED = "closed"
SEPARATOR = "\x1e"

Dial: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]
#: A packet to send; one made of what has come so far; or ``...``: wait for one to come.
Step: TypeAlias = "str | bytes | Callable[[list[str | bytes]], str] | EllipsisType"


# -- the application


def populate(server: Server) -> None:
    """Give a server the application."""
    for place in (server, server.of("/other"), server.of("/admin"), server.of(re.compile(r"/dynamic-\d+"))):
        place.on("*")(_anything)

    @server.of("/admin").authorize
    def ask(request: Request) -> None:
        auth = request.auth or {}
        if auth.get("token") != "right":
            raise Reject(403, "not you", data={"code": 7} if "why" in auth else None)


def _anything(connection: Connection, name: str, *args: Any) -> Any:
    """Do as the event says."""
    match name:
        case "echo":
            connection.emit("echo", *args)
        case "return":
            return args
        case "add":
            return args[0] + args[1]
        case "nothing":
            return None
        case "two":
            return 1, 2
        case "bytes":
            return b"\1\2\3"
        case "blobs":
            connection.emit("blobs", b"\1", {"deep": [b"\2"]})
        case "ask":
            connection.start_soon(_ask, connection)
        case "auth":
            connection.emit("auth", connection.auth or {})
        case "leave":
            connection.close()
        case _:
            connection.emit("any", name, *args)
    return None


async def _ask(connection: Connection) -> None:
    answer = await connection.call("question", 6, 7)
    connection.emit("answered", *answer if isinstance(answer, list) else () if answer is None else (answer,))


# -- clients


class Wire(Protocol):
    """What carries a client's packets."""

    handshake: dict[str, Any]

    async def send(self, *packets: str | bytes) -> None:
        """Send packets, in one go where that is possible."""
        ...

    async def receive(self) -> str | bytes:
        """Wait for a packet; ConnectionClosed: there are no more."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class SocketWire:
    """By WebSocket."""

    def __init__(self, socket: WebSocketClient) -> None:
        self.socket = socket
        self.handshake: dict[str, Any] = {}

    @classmethod
    async def open(cls, dial: Dial, path: str = PATH) -> SocketWire:
        """Open a session."""
        wire = cls(await WebSocketClient.connect(await dial(), path + "&transport=websocket"))
        first = await wire.socket.receive()
        assert isinstance(first, str)
        assert first[0] == "0"
        wire.handshake = json.loads(first[1:])
        return wire

    async def send(self, *packets: str | bytes) -> None:
        """Send packets."""
        for packet in packets:
            await self.socket.send(packet if isinstance(packet, bytes) else f"4{packet}")

    async def receive(self) -> str | bytes:
        """Wait for a packet; pings are answered."""
        while True:
            try:
                message = await self.socket.receive()
            except EOFError:
                raise ConnectionClosed(1006, "") from None
            if isinstance(message, bytes):
                return message
            if message == "2":
                await self.socket.send("3")
            elif message[0] == "4":
                return message[1:]

    async def close(self) -> None:
        """Hang up."""
        await trio.aclose_forcefully(self.socket.stream)


class PollWire:
    """By polling, each request over a stream of its own."""

    def __init__(self, dial: Dial, path: str = PATH) -> None:
        self._dial = dial
        self._path = path
        self._waiting: deque[str] = deque()
        self.handshake: dict[str, Any] = {}
        self.posted: list[int] = []

    @classmethod
    async def open(cls, dial: Dial, path: str = PATH) -> PollWire:
        """Open a session."""
        wire = cls(dial, path)
        body = (await wire._request("GET"))[1]
        assert body[0] == "0"
        wire.handshake = json.loads(body[1:])
        return wire

    async def _request(self, method: str, body: bytes = b"") -> tuple[int, str]:
        sid = f"&sid={self.handshake['sid']}" if self.handshake else ""
        stream = await self._dial()
        try:
            headers = [("Content-Type", "text/plain;charset=UTF-8")] if method == "POST" else []
            answer = await fetch(stream, method, f"{self._path}&transport=polling{sid}", headers, body)
        except ProtocolError:
            return 400, ""  # npm's refusals come in chunks, which this client does not read
        finally:
            await trio.aclose_forcefully(stream)
        return answer.status, answer.body.decode()

    async def send(self, *packets: str | bytes) -> None:
        """Post packets, in one payload."""
        encoded = [_base64(packet) if isinstance(packet, bytes) else f"4{packet}" for packet in packets]
        status, _ = await self._request("POST", SEPARATOR.join(encoded).encode())
        self.posted.append(status)

    async def receive(self) -> str | bytes:
        """Wait for a packet; pings are answered."""
        while True:
            while not self._waiting:
                try:
                    status, body = await self._request("GET")
                except EOFError:
                    raise ConnectionClosed(1006, "") from None
                if status != 200:
                    raise ConnectionClosed(1006, f"status {status}")
                self._waiting += body.split(SEPARATOR)
            packet = self._waiting.popleft()
            match packet[0]:
                case "1":
                    raise ConnectionClosed(1000, "closed by a packet")
                case "2":
                    await self._request("POST", b"3")
                case "4":
                    return packet[1:]
                case "b":
                    return _from_base64(packet[1:])

    async def close(self) -> None:
        """Say goodbye; harmless when the session is gone."""
        await self._request("POST", b"1")


def _base64(data: bytes) -> str:
    return "b" + base64.b64encode(data).decode()


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


OPEN: Mapping[str, Callable[[Dial], Awaitable[Wire]]] = {"websocket": SocketWire.open, "polling": PollWire.open}

_SID = re.compile(r'"sid":"[^"]*"')
_QUESTION = re.compile(r'2((?:/[^,]*,)?)([0-9]+)\["question"')


def normal(packet: str | bytes) -> str | bytes:
    """Replace what differs from run to run: session ids, and the numbers of the server's questions."""
    if isinstance(packet, bytes):
        return packet
    return _SID.sub('"sid":"-"', _QUESTION.sub(r'2\1#["question"', packet))


def answer(form: str) -> Callable[[list[str | bytes]], str]:
    """Give a step that answers the last question: ``#`` in ``form`` is its number."""

    def step(got: list[str | bytes]) -> str:
        found = _QUESTION.match(str(got[-1]))
        assert found, got
        return form.replace("#", found[2])

    return step


async def play(wire: Wire, steps: Iterable[Step]) -> list[str | bytes]:
    """Play a script over a fresh session, and give what came of it: packets, and ``CLOSED`` at the end if it was.

    At the end comes a question whose answer says that everything before it has been seen to: an echo in "/" or, where
    the client is not there, a namespace that nobody has.
    """
    got: list[str | bytes] = []
    inside = False
    try:
        for step in steps:
            if step is ...:
                got.append(await wire.receive())
                inside = (inside or str(got[-1]).startswith('0{"sid"')) and got[-1] != "1"
                continue
            packet = step if isinstance(step, str | bytes) else step(got)
            inside = inside and packet not in ("1", "15")
            try:
                await wire.send(packet)
            except (ConnectionClosed, EOFError, OSError, trio.BrokenResourceError):
                break  # what has come before is still to be read
        mark, reply = ('2["echo","."]',) * 2 if inside else ("0/nowhere,", '4/nowhere,{"message":"Invalid namespace"}')
        with suppress(ConnectionClosed, EOFError, OSError, trio.BrokenResourceError):
            await wire.send(mark)
        while (packet := await wire.receive()) != reply:
            got.append(packet)
    except ConnectionClosed:
        got.append(CLOSED)
    return [normal(packet) for packet in got]


# -- the server in memory, and the invariants


class Hall:
    """A running server and what its application has seen.

    Attributes:
        server: the server.
        opened: the connections of all namespaces, in the order in which they came.
        closed: connection, code and reason of each that is over.
        heard: namespace, and name and arguments of an event or what a plain message says.
        tracebacks: how many log records with a traceback are due.
    """

    def __init__(self, server: Server, dial: Dial) -> None:
        self.server = server
        self._dial = dial
        self.opened: list[Connection] = []
        self.closed: list[tuple[Connection, int, str]] = []
        self.heard: list[tuple[str, Any]] = []
        self.tracebacks = 0
        self.log = Records()
        self._memory = Memory()
        self._streams = 0
        self._news = trio.lowlevel.ParkingLot()
        for application in self.places():
            application.on_open.append((self._on_open, True))
            application.on_close.append((self._on_close, True))
            application.incoming.add(self._on_packet)

    def places(self) -> list[Any]:
        """Give the applications of all namespaces, and the models of those that come and go."""
        namespaces = self.server._namespaces
        return [*namespaces, *(model for _, model in namespaces._patterns)]

    def _on_open(self, connection: Connection) -> None:
        self.opened.append(connection)
        self._news.unpark_all()

    def _on_close(self, connection: Connection, code: int, reason: str) -> None:
        self.closed.append((connection, code, reason))
        self._news.unpark_all()

    def _on_packet(self, envelope: Any) -> None:
        self.heard.append((envelope.connection.namespace, envelope.data))
        self._news.unpark_all()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; looks again after each note."""
        while not condition():
            await self._news.park()

    @property
    def reasons(self) -> list[str]:
        """Why connections ended."""
        return [reason for _, _, reason in self.closed]

    @property
    def transformer(self) -> SocketIOTransformer:
        """The transformer."""
        (transformer,) = self.server.transformers
        assert isinstance(transformer, SocketIOTransformer)
        return transformer

    async def dial(self) -> trio.abc.Stream:
        """Connect."""
        self._streams += 1
        return await self._dial()

    async def socket(self, *packets: str | bytes, path: str = PATH) -> SocketWire:
        """Open a session by WebSocket and send packets."""
        wire = await SocketWire.open(self.dial, path)
        await wire.send(*packets)
        return wire

    async def connected(self, namespace: str = "/") -> SocketWire:
        """Open a session by WebSocket and connect to a namespace."""
        prefix = "" if namespace == "/" else f"{namespace},"
        wire = await self.socket(f"0{prefix}")
        assert normal(await wire.receive()) == f'0{prefix}{{"sid":"-"}}'
        return wire

    async def settle(self) -> None:
        """Check the invariants, see above."""
        offenders = self._streams
        with trio.fail_after(1):
            wire = await self.connected("/canary")
            await wire.send('2/canary,1["sing"]')
            assert await wire.receive() == '3/canary,1["tweet"]'
            await wire.socket.close()
        transformer = self.transformer
        with trio.move_on_after(transformer.ping_interval + transformer.ping_timeout * 2 + 1):
            await self.until(lambda: len(self.opened) == len(self.closed))
        await trio.sleep(transformer.connect_timeout + 60)  # whoever is in no namespace, or idle, is hung up
        assert len({connection.id for connection, _, _ in self.closed}) == len(self.closed) == len(self.opened)
        assert {connection.id for connection, _, _ in self.closed} == {connection.id for connection in self.opened}
        assert not transformer._sessions
        assert leftovers(self.server) == []
        assert len(self.server._application.deadlines) == 0
        namespaces = self.server._namespaces
        assert not namespaces._passing
        assert not any(application.connections for application in self.places())
        self.log.check(offenders, self.tracebacks)
        assert len(self.log.tracebacks()) == self.tracebacks  # none that is due is missing
        self._memory.check()


@asynccontextmanager
async def hall(
    prepare: Callable[[Server], object] = populate, *, handler: Any = None, **options: Any
) -> AsyncIterator[Hall]:
    """Run a server in memory with the application (or what ``prepare`` makes of it), and check the invariants."""
    settings: dict[str, Any] = {"transformer": "socket.io", "port": 0, "blocking_warning": 0}
    server = Server(handler, config={}, **{**settings, **options})
    server.of("/canary").on("sing")(lambda connection: "tweet")
    prepare(server)
    async with memory_host(server) as host:
        place = Hall(server, host.dial)
        with place.log.attached():
            yield place
            await place.settle()
