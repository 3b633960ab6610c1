"""A1 to A10, A17 to A20: malformed and awkward HTTP."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
import trio

from ahtransport import Response, Server
from hostile.carriers import Carrier, all_under_attack, over_each
from hostile.support import statuses, under_attack
from hostile.wire import request, upgrade

if TYPE_CHECKING:
    from ahtransport._http import Request

LINE = 8192


def routes(server: Server) -> None:
    """Let the tests see what a request looks like to the application."""

    async def show(request: Request) -> Response:
        body = await request.read(100_000)
        fields = {name: request.headers[name] for name in request.headers}
        return Response.json(200, {"path": request.path, "headers": fields, "body": body.decode("latin-1")})

    async def query(request: Request) -> Response:
        return Response.json(200, dict(request.query))

    async def split(request: Request) -> Response:
        return Response(200, b"", [("X-Name", "a\r\nSet-Cookie: b=c")])

    for path, handler in {"/show": show, "/query": query, "/split": split}.items():
        server.route(path, handler)


def fill(size: int) -> str:
    """Make one header line of exactly ``size`` bytes."""
    return "X-Fill: " + "f" * (size - 8)


@pytest.mark.parametrize("piece", [None, 64, 1], ids=["whole", "in pieces", "byte by byte"])
async def test_a1_a_request_line_over_the_limit(piece: int | None) -> None:
    limit = 256 if piece == 1 else LINE
    async with under_attack(routes, max_request_line=limit) as target:
        for size, status in ((limit, 200), (limit + 1, 414), (limit + limit // 8, 414)):
            line = f"GET /show?{'q' * (size - len('GET /show? HTTP/1.1'))} HTTP/1.1\r\n"
            assert len(line) - 2 == size
            answer = await target.exchange(line.encode() + b"Host: h\r\n\r\n", piece=piece)
            assert answer.status == status
        # One that never ends is refused as soon as it is too long.
        assert (await target.exchange(b"GET /" + b"q" * limit, piece=piece)).status == 414


@pytest.mark.parametrize("piece", [None, 64, 1], ids=["whole", "in pieces", "byte by byte"])
async def test_a2_headers_over_the_limits(piece: int | None) -> None:
    limit = 256 if piece == 1 else LINE
    async with under_attack(routes, max_header_line=limit, max_header_bytes=2 * limit) as target:
        for size, status in ((limit, 200), (limit + 1, 431)):
            assert (await target.exchange(request("GET", "/show", fill(size)), piece=piece)).status == status
        others = len("Host: localhost") + 2 + 2 * (limit // 2 + 2) + 2
        for total, status in ((2 * limit, 200), (2 * limit + 1, 431), (2 * limit + limit // 8, 431)):
            lines = [fill(limit // 2), fill(limit // 2), fill(total - others)]
            assert (await target.exchange(request("GET", "/show", *lines), piece=piece)).status == status
        endless = b"GET / HTTP/1.1\r\nX-Fill: " + b"f" * (limit + 1)
        assert (await target.exchange(endless, piece=piece)).status == 431


async def test_a3_too_many_headers() -> None:
    async with under_attack(routes) as target:
        for count, plain, upgraded in ((100, 200, 101), (101, 431, 431), (2000, 431, 431)):
            assert (await target.exchange(request("GET", "/show", *["A: b"] * (count - 1)))).status == plain
            assert (await target.exchange(upgrade(*["A: b"] * (count - 5)))).status == upgraded


def client_hello() -> bytes:
    """What a TLS client says first (RFC 8446 section 4.1.2), well enough."""
    hello = b"\x03\x03" + bytes(range(32)) + b"\x00\x00\x02\x13\x01\x01\x00" + b"\x00\x00"
    handshake = b"\x01" + len(hello).to_bytes(3) + hello
    return b"\x16\x03\x01" + len(handshake).to_bytes(2) + handshake


async def test_a4_other_protocols_and_noise() -> None:
    async with under_attack(header_timeout=300) as target:
        for noise in (client_hello(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 100, b"\n" * 100, b"SSH-2.0-x\r\n"):
            assert (await target.exchange(noise)).status in (400, 505)

        async def one(seed: int, limit: trio.CapacityLimiter) -> None:
            async with limit:
                raw = await target.raw()
                await raw.send(random.Random(seed).randbytes(seed % 300 + 1))
                got = await raw.rest()
                assert got == b"" or got.split(b" ")[1] in (b"400", b"408", b"505"), (seed, got)

        limit = trio.CapacityLimiter(100)
        async with trio.open_nursery() as nursery:
            for seed in range(1000):
                nursery.start_soon(one, seed, limit)
        assert target.log.records == []


PLACES = {
    "target": ("GET /show?%s HTTP/1.1\r\nHost: h\r\n\r\n", False),
    "method": ("G%sT /show HTTP/1.1\r\nHost: h\r\n\r\n", False),
    "host": ("GET /show HTTP/1.1\r\nHost: %s\r\n\r\n", False),
    "name": ("GET /show HTTP/1.1\r\nHost: h\r\nX%s: v\r\n\r\n", False),
    "origin": ("GET /show HTTP/1.1\r\nHost: h\r\nOrigin: %s\r\n\r\n", True),
    "cookie": ("GET /show HTTP/1.1\r\nHost: h\r\nCookie: a=%s\r\n\r\n", True),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a6_every_byte_value_everywhere(place: str) -> None:
    """Where only ASCII may stand, the rest is 400; a value is latin-1; control characters stand nowhere."""
    form, takes_latin1 = PLACES[place]
    async with under_attack(routes) as target:
        for value in range(256):
            answer = await target.exchange((form % chr(value)).encode("latin-1"))
            if value in (0, 10, 13, 127) or (value < 32 and value != 9):
                assert answer.status == 400, value
            elif value >= 128:
                assert answer.status == (200 if takes_latin1 else 400), value
                if takes_latin1:
                    shown = answer.body.decode()
                    assert f'"{place}":"' in shown
                    assert chr(value) in shown or value in (0x85, 0xA0), value
            else:
                assert answer.status in (200, 400, 501), value


@over_each
@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("name", ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"])
async def test_a6_every_byte_value_in_a_handshake(name: str, compression: bool, carrier: Carrier) -> None:
    """What no offer may contain is declined; neither is answered."""
    seen: list[str] = []

    def prepare(server: Server) -> None:
        @server.authorize
        def look(request: Request) -> None:
            seen.append(request.headers.get(name) or "")

    async with all_under_attack(prepare, compression=compression) as target:
        seen.clear()
        expected = []
        for value in range(256):
            answer = await target.exchange(upgrade(f"{name}: a{chr(value)}b", target=carrier.target))
            if value == 127 or (value < 32 and value != 9):
                assert answer.status == 400, value
                continue
            assert answer.status == 101, value
            assert answer.header(name) is None, value
            expected.append(f"a{chr(value)}b")
        assert seen == ([] if carrier.asks else expected)


@pytest.mark.parametrize(
    "lines",
    [
        *[
            (f"Content-Length: {text}",)
            for text in ("+5", "-1", "0x5", "5,5", "5, 5", "5,6", "1e9", "", "5 5", "\u0665", "5;")
        ],
        ("Content-Length: " + "9" * 400,),
        ("Content-Length: " + "0" * 399 + "5",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5", "Content-Length: 5"),
    ],
    ids=lambda lines: " & ".join(lines).replace("Content-Length", "CL")[:20],
)
async def test_a7_odd_content_lengths(lines: tuple[str, ...]) -> None:
    async with under_attack(routes) as target:
        head = "\r\n".join(["POST /show HTTP/1.1", "Host: h", *lines, "", ""]).encode()
        answer = await target.exchange(head + b"12345" + request("GET", "/show"))
        assert answer.status == 400
        assert answer.header("Connection") == "close"


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([CHUNKED, "Content-Length: 5"], b"0\r\n\r\n"),
        (["Content-Length: 5", CHUNKED], b"0\r\n\r\n"),
        (["Transfer-Encoding: chunked, gzip"], b"0\r\n\r\n"),
        (["Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n"),
        (["Transfer-Encoding: identity"], b""),
        (["Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
        ([CHUNKED, CHUNKED], b"0\r\n\r\n"),
        ([CHUNKED], b"5\r\nabcdeX\r\n0\r\n\r\n"),
        ([CHUNKED], b"5\r\nabcdefg\r\n0\r\n\r\n"),
        ([CHUNKED], b"5\nabcde\n0\n\n"),
        ([CHUNKED], b"5\r\nabcde\n0\r\n\r\n"),
        ([CHUNKED], b"1" + b"0" * 20 + b"\r\nabc"),
        ([CHUNKED], b"+5\r\nabcde\r\n0\r\n\r\n"),
        ([CHUNKED], b"-5\r\nabcde\r\n0\r\n\r\n"),
        ([CHUNKED], b"0x5\r\nabcde\r\n0\r\n\r\n"),
        ([CHUNKED], b" 5\r\nabcde\r\n0\r\n\r\n"),
        ([CHUNKED], b"5;" + b"e" * 16384 + b"\r\nabcde\r\n0\r\n\r\n"),
        ([CHUNKED], b"5;\x01\r\nabcde\r\n0\r\n\r\n"),
        ([CHUNKED], b"0\r\nX-Trailer: y\r\n\r\n"),
        ([CHUNKED], b"\r\n0\r\n\r\n"),
        (["X-Folded: a", " b"], b""),
        (["X-Blank : a"], b""),
        ([": a"], b""),
        (["X-Line: a\nX-Other: b"], b""),
        (["X-Line: a\rX-Other: b"], b""),
    ],
)
async def test_a8_ambiguous_requests(headers: list[str], body: bytes) -> None:
    """Where two programs might disagree about the end of a request, it is refused and nothing after it runs."""
    ran = []

    def prepare(server: Server) -> None:
        routes(server)

        async def second(request: Request) -> Response:
            ran.append(request.path)
            return Response(200)

        server.route("/second", second)

    async with under_attack(prepare) as target:
        for piece in (None, 1 if len(body) < 100 else 1000):
            attack = request("POST", "/show", *headers, body=body) + request("GET", "/second")
            answer = await target.exchange(attack, piece=piece)
            assert answer.status == 400
            assert answer.header("Connection") == "close"
    assert ran == []


async def test_a8_chunks_that_are_right_are_read() -> None:
    async with under_attack(routes) as target:
        body = b"5\r\nabcde\r\nA;name=value\r\n0123456789\r\n0\r\n\r\n"
        attack = request("POST", "/show", CHUNKED, body=body)
        for piece in (None, 1, 3):
            answer = await target.exchange(attack, piece=piece)
            assert answer.status == 200
            assert b'"body":"abcde0123456789"' in answer.body


async def test_a9_control_characters_in_values() -> None:
    async with under_attack(routes) as target:
        for text in ("a\rb", "a\nb", "a\0b", "a\r\n b", "\x7f", "a\x0bb", "\x1b[31m"):
            assert (await target.exchange(request("GET", "/show", f"X-Value: {text}"))).status == 400
        target.tracebacks = 1
        answer = await target.exchange(request("GET", "/split"))
        assert answer.status == 500
        assert answer.header("Set-Cookie") is None
        assert answer.header("X-Name") is None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (b"GET /\r\n", 400),
        (b"GET / \r\n\r\n", 400),
        (b"GET /\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a:99999999\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /show HTTP/1.1\r\nHost: xn--999999b\r\n\r\n", 200),  # never decoded, so it is as good as any
        (b"GET /show HTTP/1.1\r\nHost: " + b"a" * 200 + b"\r\n\r\n", 200),
        (b"GET /show HTTP/1.1\r\nHost: a..b\r\n\r\n", 200),
        (b"GET /show HTTP/1.0\r\n\r\n", 200),
    ],
    ids=lambda value: value[:40].decode("ascii", "replace") if isinstance(value, bytes) else str(value),
)
async def test_a10_versions_and_hosts(data: bytes, expected: int) -> None:
    async with under_attack(routes) as target:
        assert (await target.exchange(data)).status == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nowhere", {404}),
        ("BREW", "/show", {501}),
        ("get", "/show", {501}),
        ("CONNECT", "/show", {501}),
        ("CONNECT", "localhost:80", {501}),
        ("TRACE", "/show", {501}),
        ("OPTIONS", "*", {404, 405}),
        ("GET", "*", {400}),
        ("GET", "show", {400}),
        ("GET", "ftp://localhost/show", {400}),
        ("GET", "http://localhost/show", {200}),  # RFC 9112 section 3.2.2: a server must take it
    ],
)
async def test_a17_methods_and_targets(method: str, path: str, expected: set[int]) -> None:
    async with under_attack(routes) as target:
        answer = await target.exchange(request(method, path))
        assert answer.status in expected
        assert b"Traceback" not in answer.body


async def test_a17_head_has_no_body() -> None:
    async with under_attack(routes) as target:
        raw = await target.raw()
        for path, status in (("/show", 200), ("/nowhere", 404)):
            await raw.send(request("HEAD", path))
            answer = await raw.answer(bodiless=True)
            assert answer.status == status
            assert answer.header("Content-Length") != "0"
        await raw.send(request("GET", "/show", "Connection: close"))
        assert (await raw.answer()).status == 200  # had a body come, it would stand here
        assert await raw.rest() == b""


async def test_a18_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    running = most = 0

    def prepare(server: Server) -> None:
        async def slow(request: Request) -> Response:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await trio.sleep(0.001)
            running -= 1
            return Response(200, request.query_string)

        server.route("/slow", slow)

    async with under_attack(prepare) as target:
        raw = await target.raw()
        last = request("GET", "/slow?99", "Connection: close")
        await raw.send(b"".join(request("GET", f"/slow?{number}") for number in range(99)) + last + request())
        for number in range(100):
            answer = await raw.answer()
            assert answer.body == str(number).encode()
            assert answer.header("Connection") == ("close" if number == 99 else "keep-alive")
        assert await raw.rest() == b""
    assert most == 1


async def test_a18_expect_100_continue() -> None:
    async with under_attack(routes) as target:
        raw = await target.raw()
        await raw.send(request("POST", "/show", "Expect: 100-continue", "Content-Length: 5"))
        assert (await raw.answer()).status == 100
        await raw.send(b"12345")
        assert b'"body":"12345"' in (await raw.answer()).body
        # Nobody wants this body, so nobody asks for it, and the connection can't go on.
        await raw.send(request("POST", "/nowhere", "Expect: 100-continue", "Content-Length: 5"))
        answer = await raw.answer()
        assert (answer.status, answer.header("Connection")) == (405, "close")


async def test_a19_header_names_with_underscores_are_dropped() -> None:
    async with under_attack(routes) as target:
        answer = await target.exchange(request("GET", "/show", "X_Forwarded_For: 1.2.3.4", "X-Other: 5"))
        assert b"1.2.3.4" not in answer.body
        assert b'"x-other":"5"' in answer.body
        both = request("POST", "/show", "Content_Length: 5", "Transfer_Encoding: chunked")
        assert (await target.exchange(both)).status == 200


async def test_a20_large_cookies_and_queries() -> None:
    async with under_attack(routes) as target:
        jar = "; ".join(f"c{number}=v" for number in range(9000))
        assert len(jar) > 64 * 1024
        many = "&".join("a" for _ in range(1000))
        cases = {
            request("GET", "/show", f"Cookie: {jar}"): 431,
            request("GET", "/show", f"Cookie: {jar[:8000]}"): 200,
            request("GET", f"/query?{many}"): 200,
            request("GET", f"/query?{many}&a"): 400,
            request("GET", "/query?" + "%41" * 2700): 200,
            request("GET", "/query?" + "%41" * 3400): 414,
            request("GET", "/query?a=%zz&b=%00&%=%&=&&&c=%ff%fe"): 200,
        }
        assert await statuses(target, cases) == list(cases.values())
        start = time.thread_time()
        await statuses(target, cases)
        assert (time.thread_time() - start) / len(cases) < 0.02
