"""The door for testers is tested, too: a lenient client would prove nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import ahtransport.testing
from ahtransport import ConnectionClosed, ProtocolError, Request, Response, Server
from ahtransport.testing import (
    MemoryStream,
    Record,
    Refused,
    Stage,
    Variant,
    WebSocketClient,
    connect_websocket,
    fetch,
    frame_bytes,
    leftovers,
    memory_host,
    memory_stream_pair,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: umjqBFP4+jvmr41seP+Svs7j2P0=\r\n\r\n"
)


def test_every_name_is_there() -> None:
    for name in ahtransport.testing.__all__:
        assert getattr(ahtransport.testing, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ahtransport.testing.nonsense


# -- streams


async def test_trio_finds_nothing_wrong_with_the_streams() -> None:
    async def make() -> tuple[MemoryStream, MemoryStream]:
        return memory_stream_pair(100)

    async def make_clogged() -> tuple[MemoryStream, MemoryStream]:
        one, other = memory_stream_pair(100)
        await one.send_all(b"x" * 100)
        await other.send_all(b"x" * 100)
        return one, other

    await trio.testing.check_half_closeable_stream(make, make_clogged)


async def test_a_stream_holds_so_much_and_no_more() -> None:
    one, other = memory_stream_pair(10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, b"x" * 25)
        await trio.testing.wait_all_tasks_blocked()
        assert (one.unsent, other.unread) == (10, 10)
        assert await other.receive_some() == b"x" * 10
        await trio.testing.wait_all_tasks_blocked()
        assert other.unread == 10
        with trio.move_on_after(0.01):
            await one_more(other)
    assert other.unread in (0, 5)


async def one_more(stream: MemoryStream) -> None:
    while True:
        await stream.receive_some()


async def test_a_reset_loses_what_was_under_way() -> None:
    one, other = memory_stream_pair()
    await one.send_all(b"lost")
    one.reset()
    with pytest.raises(trio.BrokenResourceError):
        await other.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await other.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await one.receive_some()


# -- HTTP


async def answered(raw: bytes) -> Any:
    """What ``fetch`` makes of these bytes."""
    client, server = memory_stream_pair()
    await server.send_all(raw)
    await server.send_eof()
    return await fetch(client)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: nothing\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad : blank\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_malformed_responses(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        await answered(raw)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour"])
async def test_responses_that_are_not_whole(raw: bytes) -> None:
    with pytest.raises(EOFError):
        await answered(raw)


async def test_responses_without_a_body() -> None:
    for status in (204, 304):
        response = await answered(b"HTTP/1.1 %d X\r\n\r\n" % status)
        assert (response.status, response.body) == (status, b"")


async def test_requests_on_one_stream() -> None:
    async def echo(request: Request) -> Response:
        return Response.json(200, [request.method, (await request.read(100)).decode(), request.headers["host"]])

    server = Server(config={}, port=0)
    server.route("/echo", echo)
    async with memory_host(server) as host:
        stream = host.stream(peer=("10.0.0.1", 7))
        assert (await fetch(stream, "GET", "/echo")).json() == ["GET", "", "localhost"]
        assert (await fetch(stream, "POST", "/echo")).json() == ["POST", "", "localhost"]
        assert (await fetch(stream, "PUT", "/echo", [("Host", "x")], b"body")).json() == ["PUT", "body", "x"]
        head = await fetch(stream, "HEAD", "/echo")
        assert (head.status, head.body) == (200, b"")
        assert (await fetch(stream, "GET", "/echo")).status == 200


# -- WebSocket


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4), st.integers(0, 15), st.booleans())
def test_frames_are_masked_as_the_standard_says(payload: bytes, mask: bytes, opcode: int, fin: bool) -> None:
    frame = frame_bytes(opcode, payload, fin=fin, mask=mask)
    start = 2 if len(payload) < 126 else 4
    assert frame[0] == opcode | (0x80 if fin else 0)
    assert frame[1] & 0x80
    assert frame[start : start + 4] == mask
    assert bytes(byte ^ mask[at % 4] for at, byte in enumerate(frame[start + 4 :])) == payload
    assert frame_bytes(opcode, payload, fin=fin, mask=None)[start:] == payload


async def connected(raw: bytes = b"") -> tuple[WebSocketClient, MemoryStream]:
    """A client, and the other end of its stream, on which ``raw`` has been sent after the handshake."""
    ours, theirs = memory_stream_pair(10**6)
    await theirs.send_all(ACCEPT + raw)
    return await WebSocketClient.connect(ours), theirs


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.replace(b"Accept: ", b"Accept: A"),
        lambda raw: raw.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        lambda raw: raw.replace(b"Connection: Upgrade", b"Connection: close"),
        lambda raw: raw.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: x\r\n\r\n"),
        lambda raw: raw.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
    ],
)
async def test_wrong_handshakes(change: Callable[[bytes], bytes]) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(change(ACCEPT))
    with pytest.raises(ProtocolError):
        await WebSocketClient.connect(ours)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x91\x00",  # RSV3
        b"\xc1\x00",  # RSV1 without an extension
        b"\x83\x00",  # opcode 3
        b"\x8b\x00",  # opcode 11
        frame_bytes(1, b"x"),  # masked
        b"\x09\x00",  # a fragment of a ping
        b"\x89\x7e\x00\x7e" + b"x" * 126,  # a ping of 126 bytes
        b"\x82\x7e\x00\x05hello",  # a length in two bytes for five
        b"\x82\x7f" + bytes(7) + b"\x05hello",  # and in eight
        b"\x80\x01x",  # a continuation of nothing
        b"\x01\x01x\x81\x01x",  # a message inside another
        b"\x88\x01x",  # half a close code
        b"\x88\x02\x03\xed",  # 1005
        b"\x88\x02\x03\xe7",  # 999
        b"\x88\x02\x07\xd0",  # 2000
    ],
)
async def test_servers_that_break_the_rules(raw: bytes) -> None:
    client, _ = await connected(raw)
    with pytest.raises(ProtocolError):
        await client.receive()


async def test_what_is_not_utf8() -> None:
    client, _ = await connected(b"\x81\x01\xff")
    with pytest.raises(UnicodeDecodeError):
        await client.receive()


@given(st.lists(st.text(max_size=200) | st.binary(max_size=200), max_size=5), st.lists(st.integers(0, 400), max_size=8))
def test_messages_in_any_pieces(messages: list[str | bytes], cuts: list[int]) -> None:
    async def main() -> None:
        raw = b""
        for message in messages:
            opcode, data = (1, message.encode()) if isinstance(message, str) else (2, message)
            half = len(data) // 2
            raw += frame_bytes(opcode, data[:half], fin=False, mask=None)
            raw += frame_bytes(10, b"unasked", mask=None)
            raw += frame_bytes(0, b"", fin=False, mask=None) + frame_bytes(0, data[half:], mask=None)
        raw += frame_bytes(8, b"\x03\xe8bye", mask=None)
        client, server = await connected()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                start = 0
                for cut in [*sorted(min(cut, len(raw)) for cut in cuts), len(raw)]:
                    await server.send_all(raw[start:cut])
                    start = cut
                    await trio.testing.wait_all_tasks_blocked()

            nursery.start_soon(send)
            assert [await client.receive() for _ in messages] == messages
            for _ in range(2):
                with pytest.raises(ConnectionClosed, match="1000: bye"):
                    await client.receive()

    trio.run(main)


async def test_pings_are_answered_and_closes_returned() -> None:
    client, server = await connected(
        frame_bytes(9, b"ping", mask=None) + frame_bytes(1, b"x", mask=None) + frame_bytes(8, mask=None)
    )
    await server.receive_some()  # the handshake
    assert await client.receive() == "x"
    assert (await server.receive_some())[:2] == b"\x8a\x84"
    with pytest.raises(ConnectionClosed):
        await client.receive()
    assert client.closed == (1005, "")
    assert (await server.receive_some())[:2] == b"\x88\x80"
    await client.close()


async def test_the_server_vanishes() -> None:
    client, server = await connected()
    await server.aclose()
    with pytest.raises(ConnectionClosed, match="1006"):
        await client.receive()
    with pytest.raises(ConnectionClosed, match="1006"):
        await client.send("x")
    await client.close()
    client, server = await connected()
    server.reset()
    await client.close()
    assert client.closed == (1006, "")


# -- stages


def make_server() -> Server:
    return Server(config={}, transformer="websockets", port=0)


async def test_leftovers_are_found() -> None:
    server = make_server()
    record = Record(server)
    assert leftovers(server) == []
    async with memory_host(server) as host, connect_websocket(host.dial):
        await record.until(lambda: record.opened)
        (connection,) = record.opened
        server.rooms.join(connection, "room")
        connection.start_soon(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        assert leftovers(server) == [
            "1 open connections",
            "1 rooms with members",
            "1 running tasks",
            "1 open streams",
        ]
    assert leftovers(server) == []


async def test_a_stage_checks_how_connections_end() -> None:
    stage = Stage(Variant("mine", "websockets", connect_websocket), "memory")
    silent = Stage(Variant("mine", "websockets", connect_websocket, codes=False), "memory")
    assert repr(stage) == "<Stage mine memory>"
    server = stage.server()
    record = Record(server)
    async with stage.serving(server), stage.connect() as client:
        with pytest.raises(AssertionError, match="open"):
            stage.check_closed(client, 1000)
        await record.until(lambda: record.opened)
        record.opened[0].close(4000, "why")
        with pytest.raises(ConnectionClosed):
            await client.receive()
        stage.check_closed(client, 4000)
        stage.check_closed(client, 4000, "why")
        for code, reason in ((4001, None), (4000, "other")):
            with pytest.raises(AssertionError, match="4000"):
                stage.check_closed(client, code, reason)
            silent.check_closed(client, code, reason)


async def test_a_stage_tells_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(Variant("mine", "websockets", connect_websocket), "memory")
    server = stage.server()
    monkeypatch.setattr("ahtransport.testing._stage.leftovers", lambda server: ["5 open streams"])
    with pytest.raises(AssertionError, match="5 open streams"):
        async with stage.serving(server):
            pass


async def test_who_is_refused_learns_why() -> None:
    server = make_server()
    server.authorize(lambda request: False)
    async with memory_host(server) as host:
        with pytest.raises(Refused, match=r"401.*not authorized") as refused:
            await WebSocketClient.connect(host.stream())
        assert refused.value.response.json() == {"error": "not authorized"}


async def test_a_record_can_be_asked_again() -> None:
    record, answers = Record(make_server()), [False, True]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(record.until, lambda: answers.pop(0))
        await trio.testing.wait_all_tasks_blocked()
        record.notify()
    assert not answers
