"""Socket.IO: packets of both parsers, and clients."""

from __future__ import annotations

from typing import Any

import trio
from ahtransport.transports.socketio._codec import (
    MAX_ATTACHMENTS,
    RESERVED,
    Codec,
    Frame,
    Kind,
    MessagePackCodec,
    TextCodec,
)
from trio.testing import MockClock, wait_all_tasks_blocked

from ahtransport import Connection, ConnectionClosed, ProtocolError, Reject, Request, Server
from ahtransport._parsers import JSONParser, MessagePackParser
from ahtransport.testing import WebSocketClient, leftovers, memory_host
from ahtransport.testing._engineio import EngineIOClient
from fuzz.core import Source, no_tracebacks, target

_LIMIT = 100  # bytes of all attachments of a packet
_HELD = b'{"_placeholder":true,"num":%d}'


def _messages(data: bytes) -> list[str | bytes]:
    """Read messages: each a byte that says of what kind it is, another that says how long, and its content."""
    source, messages = Source(data), list[str | bytes]()
    while source and len(messages) < 20:
        kind, content = source.byte(), source.take()
        messages.append(content.decode("utf-8", "replace") if kind < 128 else content)
    return messages


def _packed(*messages: str | bytes) -> bytes:
    return b"".join(
        (b"\0" if isinstance(one, str) else b"\xff") + bytes((len(content),)) + content
        for one in messages
        for content in [one.encode() if isinstance(one, str) else one]
    )


def _check(frame: Frame) -> None:
    assert isinstance(frame.namespace, str)
    assert frame.id is None or 0 <= frame.id < 2**53
    if frame.kind is Kind.EVENT:
        assert type(frame.data[0]) is str
        assert frame.data[0] not in RESERVED
    elif frame.kind is Kind.ACK:
        assert type(frame.data) is list


def _again(writer: Codec, reader: Codec, frame: Frame) -> None:
    """What was decoded is encoded and decoded to itself."""
    if frame.kind in (Kind.EVENT, Kind.ACK) and "_placeholder" in repr(frame.data):
        return  # plain data that looks like one may come, but no application would send it
    result: Frame | None = None
    for payload in writer.encode(frame):
        assert result is None
        result = reader.decode(payload.data if payload.binary else payload.data.decode())
    assert repr(result) == repr(frame)


_TEXTS = (
    _packed('2["name",1,"x"]', '21["ack"]', "3/admin,5[null]", "0", '0/admin,{"a":1}', "1", '4{"message":"no"}'),
    _packed(b"early", f'52-["b",{_HELD.decode() % 0},{_HELD.decode() % 1}]', b"x", b"y", '2["after"]'),
    _packed('51-["b",{"_placeholder":true,"num":1}]'),
    _packed('50-["b"]', "599999999999-", '511-["b"]', "6", "7", "-", ""),
    _packed('61-/n,7[{"a":[' + _HELD.decode() % 0 + "]}]", b"z" * 101),
    _packed('2["connect"]', "2[1]", "2[]", "2{}", "2[1e400]", '2[-0.0,"\\ud800"]', '299999999999999999["x"]'),
    _packed("2/a,b,[]", '2/?x=1,["y"]', "2" + "[" * 70 + "]" * 70),
)


@target(_TEXTS)
def socketio_text(data: bytes) -> None:
    """Packets as text with attachments: frames or a ProtocolError; back to the same packet."""
    parser = JSONParser(16)
    reader, writer, other = (TextCodec(parser, _LIMIT) for _ in range(3))
    pending = 0
    for message in _messages(data):
        try:
            frame = reader.decode(message)
        except ProtocolError:
            return
        if frame is None:
            pending += 1
            assert pending <= MAX_ATTACHMENTS
            assert reader.waiting
            continue
        pending = 0
        assert not reader.waiting
        _check(frame)
        if pending == 0 and frame.kind in (Kind.EVENT, Kind.ACK):
            _again(writer, other, frame)


_PACKS = (
    b"\x83\xa4type\x02\xa4data\x91\xa1a\xa3nsp\xa1/",
    b"\x84\xa4type\x03\xa4data\x91\xc4\x01x\xa3nsp\xa2/a\xa2id\x05",
    b"\x82\xa4type\x00\xa3nsp\xa1/",
    b"\x83\xa4type\xa12\xa4data\x91\xa1a\xa3nsp\xa1/",
    b"\x83\xa4type\x02\xa4data\x91\xa7connect\xa3nsp\xa1/",
    b"\x83\xa4type\x02\xa4data\x92\x01\x81\x01\x02\xa3nsp\xa1/",
    b"\x84\xa4type\x02\xa4data\x91\xa1a\xa3nsp\xa1/\xa2id\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\x83\xa4type\x02\xa4data\x92\xcb\x7f\xf8\0\0\0\0\0\0\x01\xa3nsp\xa1/",
    b"\xc1",
)


@target(_PACKS)
def socketio_msgpack(data: bytes) -> None:
    """Packets as MessagePack likewise."""
    codec = MessagePackCodec(MessagePackParser(16))
    try:
        frame = codec.decode(data)
    except ProtocolError:
        return
    assert frame is not None
    _check(frame)
    _again(codec, codec, frame)


async def _say(client: WebSocketClient | EngineIOClient, packet: str | bytes) -> None:
    """Send a packet of Engine.IO's, be it one or not; what polls has to write bytes as text."""
    if isinstance(client, WebSocketClient) or isinstance(packet, bytes):
        await client.send(packet)
    else:
        await client._send_packet(packet)


async def _hear(client: WebSocketClient | EngineIOClient) -> None:
    """Read what has come; what polls does so until nothing comes any more."""
    if isinstance(client, EngineIOClient):
        with trio.move_on_after(0.1):
            while True:
                await client.receive()
    else:
        while client.stream.unread:  # type: ignore[attr-defined]
            await client.receive()


async def _play(data: bytes) -> None:
    source = Source(data)
    flags, steps = source.byte(), 0
    msgpack, polls = flags & 1, flags & 2
    options: dict[str, Any] = {"parser": "msgpack"} if msgpack else {}
    server = Server(config={}, transformer="socket.io", transport=options, ping_interval=0, max_length=2000)
    opened: list[Connection] = []
    closed: list[Connection] = []

    async def judge(request: Request) -> None:
        await trio.lowlevel.checkpoint()
        if request.auth == {"token": "wrong"}:
            raise Reject(401, "no")

    async def ask(connection: Connection, *args: Any) -> Any:
        try:
            return await connection.call("question", 1, timeout=5)
        except (TimeoutError, ConnectionClosed):
            return None

    def on_close(connection: Connection, code: int, reason: str) -> None:
        closed.append(connection)

    server.authorize(judge)
    server.on_open(opened.append)
    server.on_close(on_close)
    server.on_message(lambda connection, message: connection.send_nowait(message))
    server.on("echo")(lambda connection, *args: [*args])
    server.on("ask")(ask)
    server.on("join")(lambda connection, *args: server.rooms.join(connection, "room"))
    server.on("leave")(lambda connection, *args: connection.close(1000))
    server.on("all")(lambda connection, *args: server.emit("all", *args, room="room"))
    server.of("/admin").on("echo")(lambda connection, *args: [*args])
    async with memory_host(server) as host:
        client: WebSocketClient | EngineIOClient
        if polls:
            client = await EngineIOClient.connect(host.dial, "/socket.io")
        else:
            stream = host.stream(capacity=1 << 20)
            client = await WebSocketClient.connect(stream, "/socket.io/?EIO=4&transport=websocket")
            await client.receive()
        while source and steps < 30:
            steps += 1
            kind, content = source.byte(), source.take()
            try:
                if kind == 100:
                    await trio.sleep(len(content) / 4)
                elif kind == 101:
                    for connection in list(server.connections.values()):
                        connection.emit("tick", content)
                elif kind < 128:
                    await _say(client, ("4" if kind < 120 else "") + content.decode("utf-8", "replace"))
                else:
                    await _say(client, content)
                await wait_all_tasks_blocked()
                await _hear(client)
            except (ConnectionClosed, trio.BrokenResourceError, EOFError):
                break
        if isinstance(client, EngineIOClient):
            await client.cut()
        else:
            await trio.aclose_forcefully(client.stream)
        await trio.sleep(100)
        assert not leftovers(server), leftovers(server)
        assert "room" not in server.rooms
        assert sorted(map(id, opened)) == sorted(map(id, closed))
        assert len(server._application.deadlines) == 0


@target(
    [
        *(b"\0" + _packed("0") + text for text in _TEXTS),
        b"\0" + _packed("0", '21["echo",1]', '2["join"]', '2["all",2]', '2["ask"]', "30[7]", '2["leave"]', "0"),
        b"\0" + _packed('0/admin,{"token":"wrong"}', "0/admin,", '2/admin,3["echo"]', "1/admin,", "0/nobody,"),
        b"\0" + _packed("0", '51-["echo",{"_placeholder":true,"num":0}]', b"x", '2["message",1]', '2["unknown"]'),
        b"\0" + _packed("0") + b"\x65\x02ab\x64\xff" + bytes(255) + _packed('2["ask"]', "1"),
        b"\1"
        + b"\xff\x0f\x82\xa4type\x00\xa3nsp\xa1/"
        + b"".join(b"\xff" + bytes((len(one),)) + one for one in _PACKS),
        b"\0" + _packed("0") + b"\x7f\x013\x7f\x011",
        b"\2" + _packed("0", '21["echo",1]', '2["join"]', '2["all",2]', '2["ask"]', "30[7]", '2["leave"]', "0"),
        b"\2" + _packed("0", '51-["echo",{"_placeholder":true,"num":0}]', b"x", '0/admin,\x1e42["all"]\x1ebAA==\x1e1'),
        b"\2" + _packed("0") + b"\x65\x02ab\x64\xff" + bytes(255) + _packed('2["ask"]', "1") + b"\x7f\x013",
        b"\3" + _packed(*_PACKS[2:3], *_PACKS),
    ],
    slow=True,
)
def socketio_client(data: bytes) -> None:
    """Anything said by a client: no barrier catches anything, every open has its close, and nothing is left."""
    with no_tracebacks():
        trio.run(_play, data, clock=MockClock(autojump_threshold=0))
