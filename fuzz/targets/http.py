"""HTTP/1.1 as it arrives: heads, bodies, chunks, and whole connections."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h11
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ahtransport import Request, Response, Server
from ahtransport._errors import Reject
from ahtransport._heartbeat import Deadlines
from ahtransport._net.body import Body
from ahtransport._net.chunked import ChunkedDecoder
from ahtransport._net.handshake import accept_headers, check_upgrade
from ahtransport._net.head import Head, HeadReader, Limits, parse_head, plain_head
from ahtransport.testing import frame_bytes, leftovers, memory_host
from fuzz.core import no_tracebacks, pieces, target

if TYPE_CHECKING:
    from ahtransport import Connection
    from ahtransport.testing import MemoryStream

_GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"
_UPGRADE = (
    b"GET /primus HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\n\r\n"
)
_SMALL = Limits(request_line=120, line=100, total=300, fields=8)
_HEADS = (
    _GET,
    _UPGRADE,
    b"POST http://h/x HTTP/1.1\r\nHost: h:80\r\nContent-Length: 3\r\nConnection: close, x\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b"OPTIONS * HTTP/1.0\r\nCookie: a=\xe9\r\nX_Y: z\r\n\r\n",
    b"\r\n\r\nHEAD / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\nHost: h\n\n",
)


def _read(data: bytes, seed: int) -> tuple[str, int]:
    """Look for a head in ``data``: where it ends, the status of the refusal, or nothing yet."""
    reader, buffer = HeadReader(_SMALL), bytearray()
    for piece in pieces(data, seed):
        buffer += piece
        try:
            end = reader.end(buffer)
        except Reject as refusal:
            return "refused", refusal.status
        if end is not None:
            try:
                parse_head(bytes(buffer[:end]))
            except Reject as refusal:
                assert refusal.status in (400, 501, 505)
                return "refused", refusal.status
            return "head", end
    return "more", 0


@target(bytes((seed,)) + head for head in _HEADS for seed in (0, 1, 7))
def head(data: bytes) -> None:
    """Heads: pieces don't matter; what is taken is unambiguous, to h11 as well."""
    seed, stream = (data[0] if data else 0), data[1:]
    whole, cut = _read(stream, 0), _read(stream, seed)
    assert cut[0] == whole[0]
    assert cut == whole or whole[0] == "refused"  # perhaps for another reason, when less of it is there
    plain = plain_head(stream, _SMALL)
    if whole[0] != "head":
        assert plain is None
        return
    raw = stream[: whole[1]]
    parsed = parse_head(raw)
    if plain is not None:
        assert plain[1] == whole[1]
        assert all(getattr(plain[0], name) == getattr(parsed, name) for name in Head.__slots__)
    assert parsed.target.startswith("/") or parsed.target == "*"
    assert parsed.length is None or parsed.length >= 0
    for name, value in parsed.headers.items():
        assert not re.search("[\r\n\0]", name + value)
    _as_h11(raw, parsed)


def _as_h11(raw: bytes, parsed: Head) -> None:
    """Another implementation finds the same request: whoever stands in front of the server can't be of two minds."""
    other = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    other.receive_data(raw)
    event = other.next_event()
    assert isinstance(event, h11.Request), event
    assert event.method.decode() == parsed.method
    assert event.target.decode().endswith(parsed.target[1:])
    kept = [name for name, _ in event.headers if b"_" not in name]
    assert len(kept) == sum(len(parsed.headers.get_all(name)) for name in parsed.headers)
    if parsed.length == 0:
        assert isinstance(other.next_event(), h11.EndOfMessage)


@target([b"\x00" + _UPGRADE, b"\x00" + _UPGRADE.replace(b"13", b"8"), b"\x00" + _UPGRADE.replace(b"c2l4", b"c2l4=")])
def handshake(data: bytes) -> None:
    """The server's half of the opening handshake: an answer that RFC 6455 wants, or a refusal that is one."""
    try:
        parsed = parse_head(data[1:])
        check_upgrade(parsed)
    except Reject as refusal:
        assert refusal.status in (400, 405, 426, 501, 505)
        return
    answer = dict(accept_headers(parsed))
    assert re.fullmatch(r"[A-Za-z0-9+/]{27}=", answer["Sec-WebSocket-Accept"])
    assert parsed.method == "GET"
    assert parsed.http11
    assert parsed.length == 0


_CHUNKS = (
    b"5\r\nabcde\r\n0\r\n\r\nrest",
    b"1;a=b\r\nx\r\n0\r\n\r\n",
    b"1 \t;a=b\r\nx\r\n0\r\n\r\n",
    b"ffffffff\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"1\r\nab",
)


def _decode(data: bytes, seed: int) -> tuple[bytes, bool, bytes] | None:
    """Decode chunks: the body, whether it is complete, what follows it. None: refused."""
    decoder, out, parts = ChunkedDecoder(), b"", pieces(data, seed)
    try:
        while parts and not decoder.finished:
            out += decoder.feed(parts.pop(0))
    except Reject as refusal:
        assert refusal.status == 400
        return None
    return out, decoder.finished, decoder.rest() + b"".join(parts) if decoder.finished else b""


@target(bytes((seed,)) + chunks for chunks in _CHUNKS for seed in (0, 1, 7))
def chunked(data: bytes) -> None:
    """Chunks: pieces don't matter; a body that is taken is the one that h11 finds, and so is what follows it."""
    seed, stream = (data[0] if data else 0), data[1:]
    whole = _decode(stream, 0)
    assert _decode(stream, seed) == whole
    if whole is None or not whole[1]:
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + stream)
    body = b""
    try:
        while not isinstance(event := other.next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Request | h11.Data), event
            body += bytes(event.data) if isinstance(event, h11.Data) else b""
    except h11.RemoteProtocolError:
        # It does not know the whitespace before an extension that RFC 9112 section 7.1.1 has a recipient take.
        assert re.search(rb"[0-9A-Fa-f][ \t]+;", stream)
        return
    assert body == whole[0]
    assert other.trailing_data[0] == whole[2]


def _collect(length: int | None, data: bytes, seed: int) -> tuple[bytes, bool, bytes, bool]:
    """Feed a body: what was collected, whether that is all, what belongs to the next request, whether it is broken."""
    body = Body(length, 10.0, Deadlines(), lambda: None, lambda: None)
    parts, rest = pieces(data, seed), b""
    while parts and not body.complete:
        rest = body.feed(parts.pop(0))
    rest += b"".join(parts) if body.complete else b""
    return b"".join(body._chunks), body.complete, rest, body._broken is not None


@target(bytes((size, seed)) + chunks for chunks in _CHUNKS for size in (255, 1, 4) for seed in (0, 1, 7))
def body(data: bytes) -> None:
    """Bodies, chunked or with a length: pieces don't matter, and no byte is invented or lost."""
    length = None if data[:1] == b"\xff" else max(1, data[0] if data else 0)  # without any there is no Body
    seed, stream = (data[1] if len(data) > 1 else 0), data[2:]
    whole = _collect(length, stream, 0)
    cut = _collect(length, stream, seed)
    if whole[3]:  # what came before it broke depends on how much was there, and nobody gets it
        assert cut[3]
        assert not cut[1]
        return
    assert cut == whole
    if length is not None:
        assert whole[0] == stream[:length]
        assert whole[1] == (len(stream) >= length)
        assert whole[2] == stream[length:]


async def _page(request: Request) -> Response:
    return Response.text(200, f"{request.method} {len(await request.read(1000))}")


def _echo(connection: Connection, message: Any) -> None:
    connection.send_nowait(message)


async def _nothing_else(request: Request) -> Response | None:
    # Files are looked for in a thread, for which a virtual clock does not wait.
    return None if request.path in ("/a", "/primus") else Response.text(404, "nothing here")


async def _serve(data: bytes, seed: int) -> bytes:
    """Send bytes to a server in pieces, and give everything that it has to say to them."""
    server = Server(config={}, max_request_line=120, max_header_line=100, max_headers=300, ping_interval=0)
    server.on_message(_echo)
    server.route("/a", _page)
    server.use(_nothing_else)
    async with memory_host(server) as host:
        stream: MemoryStream = host.stream(capacity=1 << 20)
        answer = bytearray()
        try:
            for piece in pieces(data, seed):
                await stream.send_all(piece)
                await wait_all_tasks_blocked()
        except trio.BrokenResourceError:
            pass  # it has hung up; what it said before is still to be read
        with trio.move_on_after(100), suppress(trio.BrokenResourceError):
            while some := await stream.receive_some():
                answer += some
        await trio.aclose_forcefully(stream)
        await trio.sleep(30)
        assert not leftovers(server), leftovers(server)
        assert len(server._application.deadlines) == 0
    return re.sub(rb"\r\nDate: [^\r]*", b"", bytes(answer))


_TALKS = (
    *_HEADS,
    _GET * 3,
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" + _GET,
    b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + _GET,
    _UPGRADE + frame_bytes(1, b'"hi"') + frame_bytes(9, b"p") + frame_bytes(8, b"\x03\xe8"),
    _UPGRADE + b"x",
    b"GET /primus HTTP/1.1\r\nHost: h\r\nOrigin: http://h\r\n\r\n",
)


@target((bytes((seed,)) + talk for talk in _TALKS for seed in (0, 9)), slow=True)
def connection(data: bytes) -> None:
    """A whole connection to a server in memory: the same answers however the bytes come, and nothing stays behind."""
    seed, stream = (data[0] if data else 0), data[1:]
    with no_tracebacks():
        whole = trio.run(_serve, stream, 0, clock=MockClock(autojump_threshold=0))
        if seed:
            cut = trio.run(_serve, stream, seed if seed > 1 else 2, clock=MockClock(autojump_threshold=0))
            # What is refused may be refused for another reason, when less of it is there.
            refused = whole[9:10] >= b"4" and b"Connection: close" in cut
            assert cut[:15] == whole[:15] or (refused and cut[9:10] >= b"4"), (whole, cut)
