"""Clients that compress, and others: the Python library `websockets`, npm's `ws`, and what is built on them."""

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.sync.client import ClientConnection, connect

from clients.app import EchoApp, served
from clients.harness import node_marks, of_transformer, run_node
from test_clients_engineio_python import Client, closing

TEXT = " ".join(f"word {number % 40}" for number in range(2000))
SIZES = [0, 1, 1021, 1022, 1023, 5000, 100_000, 2_000_000]

node = [*node_marks]
drive = functools.partial(run_node, "compression_driver.cjs")
takeovers = pytest.mark.parametrize("takeover", [False, True])


@contextmanager
def counted(peer: ClientConnection) -> Iterator[list[bool]]:
    """Note of each data frame that comes whether it is compressed."""
    (extension,) = peer.protocol.extensions
    notes: list[bool] = []
    decode = extension.decode

    def noting(frame: Frame, **options: Any) -> Frame:
        notes.append(frame.rsv1)
        return decode(frame, **options)

    extension.decode = noting  # type: ignore[method-assign]
    yield notes


async def talk(app: EchoApp, client: Callable[[ClientConnection], None], **options: Any) -> None:
    """Serve the application and run *client* on a connection to it, in a thread."""

    def run(url: str) -> None:
        with connect(url.replace("http", "ws") + "/primus", **{"max_size": None, **options}) as peer:
            client(peer)

    async with served(app) as url:
        with trio.fail_after(30):
            await trio.to_thread.run_sync(run, url)


@of_transformer("websockets")
@takeovers
@pytest.mark.parametrize(
    "asked",
    [
        {"client_max_window_bits": True},  # as it asks by itself
        {"client_no_context_takeover": True, "server_no_context_takeover": True},
        {"server_max_window_bits": 9, "client_max_window_bits": 9},
        {"server_max_window_bits": 12, "client_no_context_takeover": True},
        {"server_max_window_bits": 15},
        {"server_no_context_takeover": True, "client_max_window_bits": 11},
    ],
)
async def test_python_websockets(asked: dict[str, Any], takeover: bool) -> None:
    def client(peer: ClientConnection) -> None:
        with counted(peer) as compressed:
            for size in SIZES:
                text = (TEXT * (size // len(TEXT) + 1))[:size]
                peer.send(json.dumps(text))
                assert json.loads(peer.recv(timeout=10)) == text
        assert compressed == [False] * 3 + [True] * 4 + [False]  # from 1,024 bytes on, quotation marks included
        peer.send(iter(['"in ', TEXT, '"']))
        assert json.loads(peer.recv(timeout=10)) == f"in {TEXT}"

    app = EchoApp(compression=True, compression_context_takeover=takeover)
    await talk(app, client, extensions=[ClientPerMessageDeflateFactory(**asked)])


@of_transformer("websockets")
async def test_python_websockets_without() -> None:
    def client(peer: ClientConnection) -> None:
        assert peer.protocol.extensions == []
        peer.send(json.dumps(TEXT))
        assert json.loads(peer.recv(timeout=10)) == TEXT

    await talk(EchoApp(compression=True), client, compression=None)


@of_transformer("engine.io")
@pytest.mark.parametrize("compression", [False, True])
async def test_python_engineio_polls(compression: bool) -> None:
    """`requests` asks for gzip; whether it got it, it does not tell its user."""
    encodings: list[str | None] = []

    def scenario(url: str) -> None:
        with closing(Client(url, "polling")) as client:
            client.session.hooks["response"].append(
                lambda response, **_: encodings.append(response.headers.get("Content-Encoding"))
            )
            client.connect()
            for text in ("short", TEXT, TEXT * 20):
                assert client.ask(json.dumps(text)) == text

    async with served(EchoApp(transformer="engine.io", compression=compression)) as url:
        with trio.fail_after(30):
            await trio.to_thread.run_sync(scenario, url)
    assert encodings.count("gzip") == (2 if compression else 0)
    assert None in encodings


class TestNode:
    """npm's clients."""

    pytestmark = node

    @of_transformer("websockets")
    @takeovers
    @pytest.mark.parametrize(
        "asked",
        ["{}", '{"serverNoContextTakeover": true, "clientNoContextTakeover": true}', '{"serverMaxWindowBits": 10}'],
    )
    async def test_ws(self, takeover: bool, asked: str) -> None:
        app = EchoApp(compression=True, compression_context_takeover=takeover)
        async with served(app) as url:
            first, *echoes, order, end = await drive("echo", url, asked)
        assert first == {"extensions": "permessage-deflate"}
        assert all(echo["same"] for echo in echoes)
        assert [echo["bytes"] < echo["size"] for echo in echoes] == [False] * 3 + [True] * 4 + [False]
        assert max(echo["bytes"] for echo in echoes[:-1]) < 20_000
        assert (order, end) == ({"inOrder": True}, {"code": 1000})

    @of_transformer("websockets")
    @takeovers
    async def test_a_broadcast(self, takeover: bool) -> None:
        app = EchoApp(compression=True, compression_context_takeover=takeover)
        async with served(app) as url:
            *same, counts = await drive("broadcast", url)
        assert same == [{"same": True}] * 3
        one, other, plain = counts["bytes"]
        assert one < 2000
        assert other < 2000
        assert plain > len(TEXT)

    @of_transformer("websockets")
    async def test_a_message_that_becomes_too_long(self) -> None:
        async with served(EchoApp(compression=True)) as url:
            assert await drive("bomb", url) == [{"code": 1009}]

    @of_transformer("engine.io")
    async def test_engine_io_client(self) -> None:
        async with served(EchoApp(transformer="engine.io", compression=True)) as url:
            polled, socket = await drive("engine", url)
        assert polled == {"name": "fetch", "encodings": ["gzip", "null"]}
        assert socket["extensions"] == "permessage-deflate"

    @of_transformer("socket.io")
    async def test_socket_io_client(self) -> None:
        async with served(EchoApp(transformer="socket.io", compression=True)) as url:
            *same, last = await drive("socket", url)
        assert same == [{"same": True}] * 3
        assert last == {"extensions": "permessage-deflate"}
