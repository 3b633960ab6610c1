"""TLS: handshakes that stall, break or are none, and connections that end in every way; over real sockets."""

from __future__ import annotations

import random
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Response
from certificates import client_context, secured
from hostile.support import under_attack
from hostile.wire import TEXT, frame, request, upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ahtransport import Connection, Request, Server


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {**secured(tmp_path), "tls": client_context()}


def hello() -> bytes:
    """Make a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "BREW"])
async def test_a4_plain_http_is_told_what_is_spoken_here(options: dict[str, Any], method: str) -> None:
    async with under_attack(**options) as target:
        raw = await target.tcp()
        # More than is read at once: what is left unread must not make TCP swallow the answer.
        await raw.send(request(method, "/", "Content-Length: 200000", body=b"x" * 200000))
        answer = await raw.answer(bodiless=method == "HEAD")
        assert (answer.status, answer.header("Connection")) == (400, "close")
        assert answer.body == (b"" if method == "HEAD" else b'{"error":"this port speaks HTTPS"}')
        assert await raw.rest() == b""
        assert target.log.records == []


async def test_a4_plain_http_in_single_bytes(options: dict[str, Any]) -> None:
    async with under_attack(**options) as target:
        raw = await target.tcp()
        await raw.drip(upgrade())
        assert (await raw.answer()).status == 400
        assert await raw.rest() == b""


async def test_a4_noise_on_the_tls_port(options: dict[str, Any]) -> None:
    """Random bytes, records of odd types and lengths, handshakes that are none: the connection is closed."""
    chance = random.Random(4)
    first = hello()
    attacks = [chance.randbytes(chance.randrange(1, 600)) for _ in range(150)]
    attacks += [b"\x16" + chance.randbytes(chance.randrange(1, 600)) for _ in range(50)]
    attacks += [b"\x16\x03\x01\x00\x05" + chance.randbytes(600) for _ in range(50)]
    attacks += [
        b"\x16\x03\x01\xff\xff" + bytes(70000),
        b"\x80\x2e\x01\x00\x02" + bytes(46),
        b"\x15\x03\x03\x00\x02\x02\x28",
    ]
    attacks += [first[:at] + bytes([chance.randrange(256)]) + first[at + 1 :] for at in range(5, len(first), 9)]
    async with under_attack(**options) as target:

        async def attack(data: bytes) -> None:
            raw = await target.tcp()
            await raw.send(data)
            with suppress(trio.BrokenResourceError):  # it has hung up already
                await raw.tcp.send_eof()
            answer = await raw.rest()
            assert b"HTTP/1.1 2" not in answer
            raw.hang_up()

        with trio.fail_after(30):
            for start in range(0, len(attacks), 25):
                async with trio.open_nursery() as nursery:
                    for data in attacks[start : start + 25]:
                        nursery.start_soon(attack, data)
        assert target.opened == 1


@pytest.mark.parametrize("size", [0, 1, 5, 100])
async def test_f1_handshakes_that_stall(options: dict[str, Any], size: int) -> None:
    """Nothing, a byte, a piece, everything but the end: closed after ``handshake_timeout``."""
    async with under_attack(**options, handshake_timeout=100) as target:
        begin = trio.current_time()
        raws = [await target.tcp() for _ in range(20)]
        with trio.fail_after(5):
            for raw in raws:
                if size:
                    await raw.send(hello()[:size])
            for raw in raws:
                assert await raw.rest() == b""
        assert trio.current_time() - begin >= 0.09


async def test_f1_a_handshake_byte_by_byte_is_not_extended(options: dict[str, Any]) -> None:
    async with under_attack(**options, handshake_timeout=150) as target:
        raw = await target.tcp()
        data = hello()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def drip() -> None:
                    for position in range(len(data)):
                        if not await raw.send(data[position : position + 1]):
                            return
                        await trio.sleep(0.01)

                assert await raw.rest() == b""
                nursery.cancel_scope.cancel()


async def test_f1_a_handshake_that_waits_for_the_client(options: dict[str, Any]) -> None:
    """The whole ClientHello, and then nothing."""
    async with under_attack(**options, handshake_timeout=100) as target:
        raw = await target.tcp()
        await raw.send(hello())
        with trio.fail_after(5):
            assert (await raw.rest())[:1] == b"\x16"  # the server's part of it, then the end


async def test_a_slow_handshake_is_none_the_less_one(options: dict[str, Any]) -> None:
    """In single bytes both ways; then everything works as ever."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    async with under_attack(**options) as target:
        raw = await target.tcp()
        while True:
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                await raw.drip(outgoing.read())
                assert await raw.more()
                incoming.write(bytes(raw.buffer))
                raw.buffer.clear()
            else:
                break
        client.write(request("GET", "/primus/spec"))
        await raw.drip(outgoing.read())
        answer = b""
        while b"pathname" not in answer:
            try:
                answer += client.read(65536)
            except ssl.SSLWantReadError:
                assert await raw.more()
                incoming.write(bytes(raw.buffer))
                raw.buffer.clear()
        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("leave", ["reset", "hang_up"])
async def test_clients_that_vanish(options: dict[str, Any], leave: str) -> None:
    """In the middle of the handshake, after it, in the middle of a request, and as a WebSocket."""
    async with under_attack(**options) as target:
        for _ in range(5):
            raw = await target.tcp()
            await raw.send(hello())
            await raw.more()
            getattr(raw, leave)()
            for data in (b"", b"GET / HT"):
                raw = await target.raw()
                await raw.send(data)
                getattr(raw, leave)()
            raw = await target.websocket()
            getattr(raw, leave)()
        await target.wait_for(lambda: len(target.closed) == 5)
        assert set(target.closed) == {1006}


async def test_a_goodbye_is_heard(options: dict[str, Any]) -> None:
    """A client that says TLS's goodbye, and leaves the TCP connection open, is gone."""
    async with under_attack(**options) as target:
        raw = await target.websocket()
        assert isinstance(raw.stream, trio.SSLStream)
        raw.stream._https_compatible = False  # say goodbye, and wait for the server's
        stream = raw.stream
        with trio.fail_after(3):
            await stream.unwrap()
        await target.wait_for(lambda: len(target.closed) == 1)
        assert target.closed == [1006]


async def test_a_goodbye_is_said(options: dict[str, Any]) -> None:
    """A response that ends the connection is followed by TLS's goodbye: nobody in between has cut it off."""
    async with under_attack(**options) as target:
        for head in ("Connection: close", "Content-Length: x"):
            raw = await target.raw()
            assert isinstance(raw.stream, trio.SSLStream)
            raw.stream._https_compatible = False  # an end without it is an error now
            await raw.send(request("GET", "/", head))
            assert (await raw.answer()).status in (400, 404)
            assert await raw.stream.receive_some(1) == b""


async def test_a_goodbye_that_nobody_answers(options: dict[str, Any]) -> None:
    """The server does not wait for the client's: it has closed after two seconds."""
    async with under_attack(**options) as target:
        raw = await target.raw()
        await raw.send(request("GET", "/", "Connection: close"))
        host = target.server._host
        assert host is not None
        await target.wait_for(lambda: host.open_channels == 1, 4)  # the bystander's


@pytest.mark.parametrize("junk", [b"\x17\x03\x03\x00\x20" + b"x" * 32, b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100])
async def test_records_that_are_none(options: dict[str, Any], junk: bytes) -> None:
    """After the handshake, and after a WebSocket's upgrade: that connection ends, and says so with an alert."""
    async with under_attack(**options) as target:
        for connect in (target.raw, target.websocket):
            raw = await connect()
            await raw.tcp.send_all(junk)
            with trio.fail_after(3):
                while await raw.tcp.receive_some(65536):
                    pass
        await target.wait_for(lambda: len(target.closed) == 1)


@pytest.mark.parametrize(
    ("version", "works"),
    [
        (ssl.TLSVersion.TLSv1_3, True),
        (ssl.TLSVersion.TLSv1_2, True),
        pytest.param(ssl.TLSVersion.TLSv1_1, False, marks=pytest.mark.filterwarnings("ignore::DeprecationWarning")),
        pytest.param(ssl.TLSVersion.TLSv1, False, marks=pytest.mark.filterwarnings("ignore::DeprecationWarning")),
    ],
)
async def test_versions(options: dict[str, Any], version: ssl.TLSVersion, works: bool) -> None:
    rules = ssl.create_default_context(cadata=None)
    rules.check_hostname, rules.verify_mode = False, ssl.CERT_NONE
    if not works:
        rules.set_ciphers("ALL:@SECLEVEL=0")
    rules.minimum_version = rules.maximum_version = version
    async with under_attack(**options) as target:
        raw = await target.tcp()
        if works:
            raw = await target.secured(raw, rules)
            await raw.send(request("GET", "/primus/spec"))
            assert (await raw.answer()).status == 200
            assert isinstance(raw.stream, trio.SSLStream)
            assert raw.stream.version() == {"TLSv1_3": "TLSv1.3", "TLSv1_2": "TLSv1.2"}[version.name]
        else:
            with pytest.raises(trio.BrokenResourceError):
                await target.secured(raw, rules)


@pytest.mark.parametrize(
    ("offer", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
)
async def test_alpn(options: dict[str, Any], offer: list[str], chosen: str | None) -> None:
    rules = ssl.create_default_context()
    rules.check_hostname, rules.verify_mode = False, ssl.CERT_NONE
    if offer:
        rules.set_alpn_protocols(offer)
    async with under_attack(**options) as target:
        raw = await target.secured(await target.tcp(), rules)
        assert isinstance(raw.stream, trio.SSLStream)
        assert raw.stream.selected_alpn_protocol() == chosen


async def test_f3_a_client_that_does_not_read(options: dict[str, Any]) -> None:
    """A body without an end, encrypted: cut off as any other, and little is kept for it."""

    def prepare(server: Server) -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 65536

        async def stream(request: Request) -> Response:
            return Response(200, endless(), length=2**40)

        server.route("/stream", stream)

    async with under_attack(prepare, **options) as target:
        host = target.server._host
        assert host is not None
        raw = await target.raw()
        raw.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for channel in list(host._channels):
            channel.flush_timeout = 0.2
        await raw.send(request("GET", "/stream"))
        await target.wait_for(lambda: any(channel.buffered for channel in host._channels))
        await target.wait_for(lambda: host.open_channels == 1)


async def test_everything_arrives_however_slowly_it_is_read(options: dict[str, Any]) -> None:
    """Messages of all sizes to a client that reads a little at a time; some are written while others wait."""

    async def echo(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message)

    async with under_attack(handler=echo, **options) as target:
        raw = await target.raw()
        raw.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        await raw.send(upgrade())
        assert (await raw.answer()).status == 101
        sizes = [random.Random(7).randrange(0, 200_000) for _ in range(60)]
        texts = [f'"{number}{"x" * size}"' for number, size in enumerate(sizes)]
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def write() -> None:
                for text in texts:
                    await raw.send(frame(TEXT, text.encode()))

            with trio.fail_after(30):
                for text in texts:
                    assert await raw.text() == text
