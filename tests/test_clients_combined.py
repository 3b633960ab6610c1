"""TLS, compression and limits together, with the Python library `websockets` on the other side, by either driver."""

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from ahtransport import Server
from ahtransport._net.compressed import CompressedWire
from ahtransport._net.guarded import MeteredCompressedWire, MeteredWire
from ahtransport.testing import running
from certificates import client_context, secured
from clients.harness import of_transformer
from test_clients_compression import TEXT, counted

#: Where each transformer is, what begins a conversation, a message, and how its echo begins.
WIRES = {
    "websockets": ("/primus", [], "%s", ""),
    "engine.io": ("/eio/?EIO=4&transport=websocket", [], "4%s", "4"),
    "socket.io": ("/sio/?EIO=4&transport=websocket", ["40"], '42["message",%s]', "42"),
}
transformers = pytest.mark.parametrize("name", [pytest.param(name, marks=of_transformer(name)) for name in WIRES])


@pytest.fixture(params=["reactor", "task"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(Server, "_driver", request.param)
    return str(request.param)


def make_server(**options: Any) -> Server:
    transformer = {"websockets": "/primus", "engine.io": "/eio", "socket.io": "/sio"}
    server = Server(config={}, port=0, transformer=transformer, **options)
    server.on_message(lambda connection, message: connection.send_nowait(message))
    return server


def dial(server: Server, path: str = "/primus", **options: Any) -> ClientConnection:
    """Connect, in a thread; over TLS where the server speaks it."""
    tls = client_context() if server.url.startswith("https") else None
    url = server.url.replace("http", "ws", 1) + path
    peer: ClientConnection = connect(url, ssl=tls, max_size=None, close_timeout=5, **options)
    return peer


async def in_thread(client: Callable[[], None]) -> None:
    with trio.fail_after(30):
        await trio.to_thread.run_sync(client)


def wires(server: Server) -> list[type]:
    """Give the types of what the open sockets speak."""
    host = server._host
    assert host is not None
    return [type(getattr(channel, "wire", None)) for channel in host.channels]


def conversation(peer: ClientConnection, name: str) -> tuple[Callable[[Any], None], Callable[[], str]]:
    """Begin one; give functions that send a value and that give the next echo."""
    _, beginning, form, mark = WIRES[name]
    if name != "websockets":
        assert str(peer.recv(timeout=10)).startswith("0{")
    for packet in beginning:
        peer.send(packet)
        assert str(peer.recv(timeout=10)).startswith(packet)

    def hear() -> str:
        while True:
            text = str(peer.recv(timeout=10))
            if text.startswith(mark) and not text.startswith("40"):
                return text.removeprefix(mark)

    return lambda value: peer.send(form % json.dumps(value)), hear


def flood(say: Callable[[Any], None], hear: Callable[[], str]) -> None:
    """Send a lot, and read until it is over."""
    for _ in range(1000):
        say(TEXT[:2000])
    while True:
        hear()


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("takeover", [False, True])
async def test_compression_over_tls(takeover: bool, tmp_path: Path) -> None:
    """Long enough for many records, and mixed with what is too short to be compressed."""
    server = make_server(compression=True, compression_context_takeover=takeover, **secured(tmp_path))

    def client() -> None:
        with dial(server) as peer, counted(peer) as compressed:
            assert wires(server) == [CompressedWire]
            for text in ("short", TEXT, TEXT * 20):
                peer.send(json.dumps(text))
                assert json.loads(peer.recv(timeout=10)) == text
            assert compressed == [False, True, True]

    async with running(server):
        await in_thread(client)


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("secure", [False, True])
@transformers
async def test_f7_compressed_messages_at_the_rate(name: str, secure: bool, tmp_path: Path) -> None:
    """Slowed down, with nothing lost, and everything in order."""
    tls = secured(tmp_path) if secure else {}
    server = make_server(compression=True, message_rate=100, message_burst=10, rate_patience=0, **tls)

    def client() -> None:
        with dial(server, WIRES[name][0]) as peer, counted(peer) as compressed:
            assert wires(server) == [MeteredCompressedWire]
            say, hear = conversation(peer, name)
            for number in range(40):
                say([number, TEXT])
            for number in range(40):
                assert f"{number}," in hear()[:20]
            assert sum(compressed) == 40

    async with running(server):
        began = trio.current_time()
        await in_thread(client)
        assert trio.current_time() - began > 0.25


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("compression", [False, True])
@transformers
async def test_f7_too_many_messages_over_tls(name: str, compression: bool, tmp_path: Path) -> None:
    options = {"message_rate": 20, "rate_patience": 200, "compression": compression}
    server = make_server(**options, **secured(tmp_path))

    def client() -> None:
        with dial(server, WIRES[name][0], compression="deflate" if compression else None) as peer:
            assert wires(server) == [MeteredCompressedWire if compression else MeteredWire]
            say, hear = conversation(peer, name)
            with pytest.raises(ConnectionClosed) as closed:
                flood(say, hear)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "too many messages")

    async with running(server):
        await in_thread(client)
        with trio.fail_after(5):
            while server._host and server._host.open_channels:  # noqa: ASYNC110 -- there is nothing that would tell
                await trio.sleep(0.005)
    assert server.statistics().closed == {1008: 1}


@pytest.mark.usefixtures("driver")
@transformers
async def test_f5_as_many_clients_as_allowed_over_tls(name: str, tmp_path: Path) -> None:
    server = make_server(max_connections=1, retry_after="7 s", **secured(tmp_path))
    path = WIRES[name][0]

    def client() -> None:
        with dial(server, path) as peer:
            say, hear = conversation(peer, name)
            with pytest.raises(InvalidStatus) as refused, dial(server, path):
                pass
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"] == "7"
            say("still here")
            assert "still here" in hear()

    async with running(server):
        await in_thread(client)
        assert server.statistics().limited == {"max_connections": 1}


@pytest.mark.usefixtures("driver")
async def test_f5_as_many_sockets_as_allowed_over_tls(tmp_path: Path) -> None:
    """Who is one too many is told by TLS itself: no handshake is made to say no."""
    server = make_server(max_sockets=1, message_rate=1000, **secured(tmp_path))

    def again() -> None:
        with dial(server) as peer:
            peer.ping().wait(10)

    def client() -> None:
        with dial(server) as peer:
            with pytest.raises((ssl.SSLError, ConnectionError, EOFError)) as refused, dial(server):
                pass
            if isinstance(refused.value, ssl.SSLError):  # else the reset was faster
                assert "INTERNAL_ERROR" in str(refused.value)
            peer.send('"still here"')
            assert peer.recv(timeout=10) == '"still here"'

    async with running(server):
        await in_thread(client)
        assert server.statistics().limited == {"max_sockets": 1}
        with trio.fail_after(5):
            while server._overloaded:  # noqa: ASYNC110 -- there is nothing that would tell
                await trio.sleep(0.005)
        await in_thread(again)
