"""Engine.IO: packets, payloads, and sessions over polls, POSTs and WebSockets."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import trio
from ahtransport.transports.engineio import _codec as codec
from trio.testing import MockClock, wait_all_tasks_blocked

from ahtransport import ProtocolError, Server
from ahtransport.abc import Payload
from ahtransport.testing import frame_bytes, leftovers, memory_host
from fuzz.core import Source, no_tracebacks, target

if TYPE_CHECKING:
    from ahtransport import Connection
    from ahtransport.testing import MemoryHost, MemoryStream

_PAYLOADS = (
    b"4hello\x1ebAAEC\x1e2\x1e3probe\x1e6\x1e1",
    b"4{}\x1e4true\x1e4\xc3\xa9",
    b"\x1e" * 1001,
    b"b***\x1e9\x1e",
    b"bAA\x1ebAAA=\x1ebA",
    "٤hi".encode(),
    b"0{}\x1e5\x1e2probe",
)


@target(_PAYLOADS)
def engineio_payload(data: bytes) -> None:
    """Bodies of POSTs: packets or a ProtocolError; messages are encoded as they were, for either carrier."""
    try:
        packets = codec.decode_payload(data)
    except ProtocolError:
        return
    assert len(packets) <= codec.MAX_PACKETS
    messages = [packet.data for packet in packets if packet.kind is codec.Kind.MESSAGE]
    payloads = [Payload(text.encode() if isinstance(text, str) else text, binary=isinstance(text, bytes))
                for text in messages]  # fmt: skip
    if messages:
        body = codec.join([codec.encode_message(payload, polling=True) for payload in payloads])
        again = [packet.data for packet in codec.decode_payload(body)]
        if not any(isinstance(text, str) and "\x1e" in text for text in messages):
            assert again == messages
    for payload in payloads:
        polled = codec.for_websocket(codec.encode_message(payload, polling=True))
        direct = codec.encode_message(payload, polling=False)
        assert (polled.data, polled.binary) == (direct.data, direct.binary)


class _Line:
    """One stream to the server, and what has come over it."""

    def __init__(self, stream: MemoryStream, *, socket: bool) -> None:
        self.stream = stream
        self.socket = socket
        self.buffer = b""
        self.open = True

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError), trio.move_on_after(1):
            await self.stream.send_all(data)

    async def read(self) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while self.stream.unread:
                self.buffer += await self.stream.receive_some()

    def packets(self) -> list[str]:
        """Take the texts that have come whole."""
        found: list[str] = []
        while True:
            head, blank, rest = self.buffer.partition(b"\r\n\r\n")
            if self.buffer.startswith(b"HTTP/1.1 "):
                if not blank:
                    return found
                name = b"\r\nContent-Length: "
                size = int(head.partition(name)[2].partition(b"\r\n")[0]) if name in head else 0
                if len(rest) < size:
                    return found
                if head.startswith(b"HTTP/1.1 200"):
                    found += rest[:size].decode().split("\x1e")
                self.buffer = rest[size:]
            elif self.socket and len(self.buffer) >= 2 and self.buffer[1] < 126 <= self.buffer[1] + 126:
                size = 2 + self.buffer[1]
                if len(self.buffer) < size:
                    return found
                if self.buffer[0] == 0x81:
                    found.append(self.buffer[2:size].decode())
                self.buffer = self.buffer[size:]
            else:
                return found


class _Walk:
    """A server with one session under test, and everything that may be done to it."""

    def __init__(self, host: MemoryHost, server: Server) -> None:
        self.host = host
        self.server = server
        self.sid = ""
        self.lines: list[_Line] = []
        self.sent = 0  # numbered messages of ours
        self.emitted = 0  # numbered messages of the server's
        self.heard: list[int] = []  # of ours, by the application
        self.received: list[int] = []  # of the server's, by us
        self.closed = 0
        server.on_message(self.on_message)
        server.on_close(self.on_close)

    def on_message(self, connection: Connection, message: Any) -> None:
        assert not self.closed, "a message after the close"
        if isinstance(message, int):
            self.heard.append(message)

    def on_close(self, connection: Connection, code: int, reason: str) -> None:
        self.closed += 1

    async def open(self, data: bytes, *, socket: bool = False) -> _Line:
        line = _Line(self.host.stream(capacity=1 << 20), socket=socket)
        self.lines.append(line)
        await line.send(data)
        return line

    async def look(self) -> None:
        """Read what has come, from polls first: what they carry is older."""
        await wait_all_tasks_blocked()
        for line in sorted(self.lines, key=lambda line: line.socket):
            await line.read()
            for packet in line.packets():
                if packet.startswith("0{") and not self.sid:
                    self.sid = packet.partition('"sid":"')[2].partition('"')[0]
                elif packet[:1] == "4" and packet[1:].isdecimal():
                    self.received.append(int(packet[1:]))

    def target(self, transport: str, extra: str = "") -> bytes:
        sid = f"&sid={self.sid}" if self.sid else ""
        return f"/primus/?EIO=4&transport={transport}{sid}{extra}".encode()

    async def step(self, source: Source) -> None:
        kind = source.byte() % 16
        line = self.lines[source.byte() % len(self.lines)] if self.lines else None
        sockets = [line for line in self.lines if line.socket and line.open]
        match kind:
            case 0 | 1:
                await self.open(b"GET " + self.target("polling") + b" HTTP/1.1\r\nHost: h\r\n\r\n")
            case 2 | 3:
                if not self.sid:
                    return
                body = source.take()
                if kind == 2:
                    self.sent += 1
                    body = b"4%d" % self.sent + (b"\x1e" + body if body else b"")
                head = b"POST " + self.target("polling") + b" HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n"
                length = len(body) + (source.byte() == 255)
                await self.open(head + b"Content-Length: %d\r\n\r\n" % length + body)
            case 4:
                fields = b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
                key = b"Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\n"
                request = b"GET " + self.target("websocket") + b" HTTP/1.1\r\nHost: h\r\n" + fields + key + b"\r\n"
                await self.open(request, socket=True)
            case 5 if sockets:
                await sockets[-1].send(frame_bytes(1, b"2probe"))
            case 6 if sockets:
                await sockets[-1].send(frame_bytes(1, b"5"))
            case 7 if sockets:
                self.sent += 1
                await sockets[-1].send(frame_bytes(1, b"4%d" % self.sent))
            case 8 if sockets:
                text = source.take()
                await sockets[source.byte() % len(sockets)].send(frame_bytes(1 + source.byte() % 2, text))
            case 9 if sockets:
                await sockets[-1].send(source.take())
            case 10 | 11:
                for connection in list(self.server.connections.values()):
                    for _ in range(1 + source.byte() % 4):
                        self.emitted += 1
                        connection.send_nowait(self.emitted)
            case 12:
                await trio.sleep(source.byte() / 8)
            case 13 if line is not None:
                line.open = False
                await trio.aclose_forcefully(line.stream)
            case 14:
                for connection in list(self.server.connections.values()):
                    connection.close(1000 if source.byte() & 1 else 4000)
            case 15:
                extra = "".join(chr(byte) for byte in source.take() if 0x21 <= byte <= 0x7E)
                method = source.pick((b"GET", b"POST", b"PUT", b"OPTIONS", b"DELETE"))
                await self.open(method + b" " + self.target("polling", extra) + b" HTTP/1.1\r\nHost: h\r\n\r\n")


async def _walk(data: bytes) -> None:
    server = Server(config={}, transformer="engine.io", ping_interval=0)
    opened: list[Connection] = []
    server.on_open(opened.append)
    source = Source(data)
    async with memory_host(server) as host:
        walk = _Walk(host, server)
        steps = 0
        while source and steps < 40 and len(opened) < 2:
            steps += 1
            await walk.step(source)
            await walk.look()
        if len(opened) <= 1:
            # Several sessions would count into the same lists.
            assert walk.heard == sorted(set(walk.heard)), walk.heard
            assert walk.received == sorted(set(walk.received)), walk.received
            missing = set(range(1, walk.emitted + 1)) - set(walk.received)
            assert not (missing and walk.received and min(missing) < max(walk.received)), "a hole"
        for line in walk.lines:
            await trio.aclose_forcefully(line.stream)
        await trio.sleep(100)
        assert not leftovers(server), leftovers(server)
        assert walk.closed == len(opened)
        assert len(server._application.deadlines) == 0


def _steps(*steps: bytes) -> bytes:
    return b"".join(step if len(step) > 1 else step + b"\0" for step in steps)


_OPEN, _POLL, _POST, _WS, _PROBE, _UPGRADE, _SEND, _EMIT, _WAIT, _CUT, _CLOSE = (
    b"\0\0", b"\0\0", b"\2\0\0\0", b"\4\0", b"\5\0", b"\6\0", b"\7\0", b"\x0a\0\2", b"\x0c\0\x08", b"\x0d\0",
    b"\x0e\0\1",
)  # fmt: skip


@target(
    [
        _steps(_OPEN, _POLL, _POST, _EMIT, _POST, _POLL, _WAIT, _CLOSE),
        _steps(_OPEN, _POLL, _WS, _PROBE, _EMIT, _UPGRADE, _SEND, _EMIT, _CLOSE),
        _steps(_OPEN, _EMIT, _WS, _PROBE, _EMIT, _POLL, _EMIT, _UPGRADE, _EMIT, _SEND),
        _steps(_OPEN, _WS, _PROBE, _WAIT, _CUT, _POLL, _EMIT),
        _steps(_OPEN, _POLL, _CUT, _EMIT, b"\x0d\1", _POLL),
        _steps(_WS, _SEND, _EMIT, b"\x08\0\x041bye\0\0", b"\x09\0\x02ab", _CLOSE),
        _steps(_OPEN, _POLL, _POLL),
        _steps(_OPEN, b"\3\0\x0542\x1e1x\xff", _POST),
        _steps(_OPEN, b"\x0f\0\x05&j=1x\0", b"\x0f\0\x06&EIO=3\1"),
        _steps(_OPEN, _CLOSE, _WS, _PROBE, _UPGRADE),
        _steps(_OPEN, *([b"\x0c\0\xff"] * 3)),
    ],
    slow=True,
)
def engineio_session(data: bytes) -> None:
    """Anything done to a session: no message lost, doubled or out of order while it lives, and nothing left of it."""
    with no_tracebacks():
        trio.run(_walk, data, clock=MockClock(autojump_threshold=0))
