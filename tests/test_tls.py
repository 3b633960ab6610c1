"""HTTPS and WSS: the certificate and its reload, what the server says of itself, and how it ends."""

from __future__ import annotations

import os
import signal
import ssl
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

from ahtransport import ConfigError, Connection, ConnectionClosed, Request, Response, Server
from ahtransport.testing import WebSocketClient, fetch, leftovers, memory_host, running
from certificates import NAMES, authority, client_context, dial, secured, shake_hands
from test_cli_serve import command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


async def echo(connection: Connection) -> None:
    async for message in connection:
        await connection.send(message)


def make_server(directory: Path, handler: Any = echo, **options: Any) -> Server:
    settings = {"config": {}, "transformer": "websockets", "port": 0, "ping_interval": 0}
    return Server(handler, **{**settings, **secured(directory), **options})


async def serial(server: Server) -> int:
    """Give the serial number of the certificate that a new connection gets."""
    stream = await dial(server.addresses[0])
    found = stream.getpeercert()["serialNumber"]
    await trio.aclose_forcefully(stream)
    return int(found, 16)


async def connect(server: Server) -> WebSocketClient:
    return await WebSocketClient.connect(await dial(server.addresses[0]))


async def test_one_port_for_both(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    assert server.url.startswith("https://127.0.0.1:")
    async with running(server) as url:
        assert url == f"https://127.0.0.1:{server.port}"
        stream = await dial(server.addresses[0])
        assert (await fetch(stream, "GET", "/primus/spec")).status == 200
        assert (await fetch(stream, "GET", "/nowhere")).status == 404
        client = await connect(server)
        await client.send('"hello"')
        assert await client.receive() == '"hello"'
        await trio.aclose_forcefully(stream)
        await client.abort()
    assert not leftovers(server)


async def test_a_file_that_holds_both(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    authority().issue_cert(*NAMES).private_key_and_cert_chain_pem.write_to_path(both)
    for server in (
        Server(echo, config={}, port=0, secure=True, cert=str(both)),
        Server(echo, config={}, port=0, secure=True, cert=both, key=both),
    ):
        async with running(server):
            await serial(server)


@pytest.mark.parametrize("driver", ["reactor", "task"])
async def test_what_goes_to_many_is_encrypted_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    """Neither broadcasts nor answers of one turn go straight to the sockets."""
    monkeypatch.setattr(Server, "_driver", driver)
    server = make_server(tmp_path, None)
    server.on_message(lambda connection, message: connection.send_nowait(message))
    async with running(server):
        clients = [await connect(server) for _ in range(12)]
        for number in range(3):
            server.broadcast(f"to all, {number}")
            for client in clients:
                await client.send(f'"to one, {number}"')
        for client in clients:
            with trio.fail_after(5):
                got = {await client.receive() for _ in range(6)}
            assert got == {f'"to {whom}, {number}"' for whom in ("all", "one") for number in range(3)}
            await client.abort()
    assert not leftovers(server)


def test_without_tls_nothing_is_read() -> None:
    server = Server(echo, config={}, cert="nowhere.pem", key="nowhere.key")
    assert server.url == "http://127.0.0.1:8080"


def _missing(cert: Path, key: Path) -> None:
    cert.unlink()


def _no_key(cert: Path, key: Path) -> None:
    key.unlink()


def _directory(cert: Path, key: Path) -> None:
    key.unlink()
    key.mkdir()


def _empty(cert: Path, key: Path) -> None:
    cert.write_bytes(b"")


def _swapped(cert: Path, key: Path) -> None:
    cert_bytes = cert.read_bytes()
    cert.write_bytes(key.read_bytes())
    key.write_bytes(cert_bytes)


def _other_key(cert: Path, key: Path) -> None:
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(key)


def _wrong_order(cert: Path, key: Path) -> None:
    cert.write_bytes(authority().cert_pem.bytes() + cert.read_bytes())


def _cut(cert: Path, key: Path) -> None:
    cert.write_bytes(cert.read_bytes()[:200])


def _garbled(cert: Path, key: Path) -> None:
    key.write_bytes(key.read_bytes()[:120])


def _encrypted(cert: Path, key: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    private = load_pem_private_key(key.read_bytes(), None)
    locked = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    key.write_bytes(locked)


MISTAKES = {
    _missing: r"servers\.web\.cert: there is no file .*cert\.pem",
    _no_key: r"servers\.web\.key: there is no file .*key\.pem",
    _directory: r"servers\.web\.key: .*key\.pem can't be read: Is a directory",
    _empty: r"servers\.web\.cert: there is no certificate in .*cert\.pem, which has to be a PEM file",
    _swapped: r"servers\.web\.cert: there is no certificate in .*cert\.pem",
    _other_key: r"servers\.web\.key: the key in .*key\.pem is not that of the certificate in .*cert\.pem",
    _wrong_order: r"is not that of the certificate in .*cert\.pem \(whose own must come first\)",
    _cut: r"servers\.web\.cert: .*cert\.pem and .*key\.pem can't be used: ",
    _garbled: r"servers\.web\.cert: .*cert\.pem and .*key\.pem can't be used: ",
    _encrypted: r"servers\.web\.key: the key in .*key\.pem is encrypted; .*openssl pkey -in .*key\.pem",
}


@pytest.mark.parametrize("spoil", MISTAKES, ids=lambda spoil: spoil.__name__[1:])
async def test_certificates_that_are_none(spoil: Any, tmp_path: Path) -> None:
    """One clear error at the start; while running, the certificate from before stays."""
    server = make_server(tmp_path)
    async with running(server):
        before = await serial(server)
        spoil(tmp_path / "cert.pem", tmp_path / "key.pem")
        with pytest.raises(ConfigError, match=MISTAKES[spoil]):
            await server.reload_certificate()
        assert await serial(server) == before
    with pytest.raises(ConfigError, match=MISTAKES[spoil]):
        Server(secure=True, cert=tmp_path / "cert.pem", key=tmp_path / "key.pem", config={})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_key_that_is_somebody_elses(tmp_path: Path) -> None:
    options = secured(tmp_path)
    (tmp_path / "key.pem").chmod(0)
    with pytest.raises(ConfigError, match=r"servers\.web\.key: .* can't be read: Permission denied"):
        Server(config={}, **options)


async def test_the_certificate_is_exchanged_while_clients_are_connected(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    async with running(server):
        old = await connect(server)
        before = await serial(server)
        secured(tmp_path, authority().issue_cert(*NAMES))
        assert await serial(server) == before  # not before it is told
        await server.reload_certificate()
        assert await serial(server) != before
        new = await connect(server)
        for client in (old, new):
            await client.send("1")
            assert await client.receive() == "1"
            await client.abort()


async def test_a_server_without_a_certificate_has_none_to_read() -> None:
    with pytest.raises(RuntimeError, match=r"servers\.web\.secure is off"):
        await Server(config={}).reload_certificate()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so; looks every few milliseconds."""
    while not condition():  # noqa: ASYNC110 -- there is nothing that would tell
        await trio.sleep(0.002)


@posix
async def test_sighup(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server = make_server(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server._run)
        await until(lambda: server.addresses)
        before = await serial(server)
        secured(tmp_path, authority().issue_cert(*NAMES))
        signal.raise_signal(signal.SIGHUP)
        with trio.fail_after(5):
            await until(lambda: "the certificate was read again" in caplog.text)
            after = await serial(server)
            assert after != before
            (tmp_path / "key.pem").unlink()
            signal.raise_signal(signal.SIGHUP)
            await until(lambda: "the certificate from before stays" in caplog.text)
        assert caplog.text.count("there is no file") == 1
        assert await serial(server) == after
        server.shutdown()


@posix
async def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything by configuration; SIGHUP exchanges the certificate, and a bad one ends nothing."""
    options = secured(tmp_path)
    for name, value in options.items():
        monkeypatch.setenv(f"AHTRANSPORT__SERVERS__WEB__{name.upper()}", str(value))

    async def serial_of(url: str) -> str:
        stream = await dial(("127.0.0.1", int(url.rpartition(":")[2])))
        found = stream.getpeercert()["serialNumber"]
        await trio.aclose_forcefully(stream)
        return str(found)

    async with command("demo", "--port=0") as demo:
        assert " on https://127.0.0.1:" in await demo.listening()
        before = await serial_of(demo.url)
        (tmp_path / "key.pem").unlink()
        demo.process.send_signal(signal.SIGHUP)
        secured(tmp_path, authority().issue_cert(*NAMES))
        with trio.fail_after(10):
            while await serial_of(demo.url) == before:
                demo.process.send_signal(signal.SIGHUP)
                await trio.sleep(0.02)
        demo.process.send_signal(signal.SIGTERM)
        assert await demo.process.wait() == 0


@posix
def test_without_tls_a_terminal_that_closes_ends_the_server() -> None:
    from ahtransport._hangup import hangup_signals

    assert hangup_signals(Server(config={})) == ()


async def test_g17_the_cookie_is_secure(tmp_path: Path) -> None:
    server = make_server(tmp_path)

    @server.use
    def tell(request: Request) -> Response:
        server.session_for(request)
        return Response(200, f"{request.secure}")

    async with running(server):
        stream = await dial(server.addresses[0])
        response = await fetch(stream)
        assert response.body == b"True"
        assert response.headers["set-cookie"].endswith("; HttpOnly; SameSite=Lax; Secure")
        assert "strict-transport-security" not in response.headers  # that is the site's decision, not this port's
        await trio.aclose_forcefully(stream)


async def test_a_page_without_tls_is_another_origin(tmp_path: Path) -> None:
    server = make_server(tmp_path, None)
    linked = []
    server.on_open(lambda connection: linked.append(connection.fingerprint))
    async with running(server):
        host = f"localhost:{server.port}"
        for scheme in ("https", "http"):
            headers = [("Host", host), ("Origin", f"{scheme}://{host}"), ("Cookie", "sessionID=abc")]
            stream = await dial(server.addresses[0])
            client = await WebSocketClient.connect(stream, headers=headers)
            await client.abort()
        assert linked[0] == "abc"
        assert linked[1] != "abc"


@pytest.mark.parametrize("readers", [True, False])
async def test_shutdown_drains(tmp_path: Path, readers: bool) -> None:
    """Everybody is told; those that shake hands, or never read, hold nothing up."""
    server = make_server(tmp_path, shutdown_grace=1000)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        clients = [await connect(server) for _ in range(10)]
        idle = await dial(server.addresses[0])
        shaking = await trio.open_tcp_stream(*server.addresses[0])
        await shaking.send_all(b"\x16\x03\x01")
        server.shutdown()
        with trio.fail_after(8):
            if readers:
                for client in clients:
                    with pytest.raises(ConnectionClosed, match="1012"):
                        await client.receive()
            await server._ended.wait()
        for stream in (idle, shaking):
            await trio.aclose_forcefully(stream)
        for client in clients:
            await client.abort()
    assert not leftovers(server)


async def test_resumed_sessions(tmp_path: Path) -> None:
    """A client that comes back with a ticket is served, before a reload and after it."""
    server = make_server(tmp_path)
    async with running(server):
        context = ssl.create_default_context()
        authority().configure_trust(context)
        context.maximum_version = ssl.TLSVersion.TLSv1_2

        async def visit(ticket: Any) -> tuple[Any, bool]:
            tcp = await trio.open_tcp_stream(*server.addresses[0])
            stream = trio.SSLStream(tcp, context, server_hostname="localhost", https_compatible=True)
            if ticket is not None:
                stream._ssl_object.session = ticket
            assert (await fetch(stream, "GET", "/primus/spec")).status == 200
            found = stream._ssl_object.session, stream._ssl_object.session_reused
            await trio.aclose_forcefully(stream)
            return found

        ticket, reused = await visit(None)
        assert not reused
        ticket, reused = await visit(ticket)
        assert reused
        await server.reload_certificate()
        ticket, reused = await visit(ticket)
        assert not reused


async def test_attached_streams_are_as_secure_as_they_are_said_to_be(tmp_path: Path) -> None:
    """The certificate is for what is listened on: a stream that is attached speaks as its owner has it."""
    async with memory_host(make_server(tmp_path)) as host:
        assert (await fetch(host.stream(), "GET", "/primus/spec")).status == 200


async def test_the_wrong_name_is_the_clients_to_notice(tmp_path: Path) -> None:
    server = make_server(tmp_path, None)
    async with running(server):
        context = client_context()
        tcp = await trio.open_tcp_stream(*server.addresses[0])
        stream = trio.SSLStream(tcp, context, server_hostname="other.example")
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)
        again = await shake_hands(await trio.open_tcp_stream(*server.addresses[0]))
        assert (await fetch(again, "GET", "/primus/spec")).status == 200
        await trio.aclose_forcefully(again)
