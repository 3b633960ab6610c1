"""Real clients over HTTPS and WSS, npm's and Python's; each checks the certificate."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import engineio
import pytest
import requests
import socketio
import trio
from websockets.sync.client import connect

from ahtransport import Server
from ahtransport.testing import running
from certificates import authority_file, client_context, secured
from clients.app import EchoApp, served
from clients.harness import node_marks, of_transformer, run_node
from test_client_primus import CARRIERS, CASES, write_client

BIG = "x" * 200_000
NODE = [
    pytest.param(kind, transformer, mode, marks=[*node_marks, of_transformer(transformer)])
    for kind, transformer, modes in (
        ("primus6", "websockets", ("websocket",)),
        ("primus7", "websockets", ("websocket",)),
        ("primus8", "websockets", ("websocket",)),
        ("primus8", "engine.io", ("polling", "upgrade")),
        ("engine.io-client", "engine.io", ("websocket", "polling", "upgrade")),
        ("socket.io-client", "socket.io", ("websocket", "polling", "upgrade")),
    )
    for mode in modes
]


@asynccontextmanager
async def echoing(transformer: str, directory: Path) -> AsyncIterator[str]:
    app = EchoApp(transformer=transformer, **secured(directory))
    async with served(app) as url:
        assert url.startswith("https://127.0.0.1:")
        yield url


@pytest.mark.parametrize(("kind", "transformer", "mode"), NODE)
async def test_npm(kind: str, transformer: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", authority_file(tmp_path))
    async with echoing(transformer, tmp_path) as url:
        records = await run_node("tls_driver.cjs", kind, mode, url, json.dumps({"transformer": transformer}))
    transport = "polling" if mode == "polling" else "websocket"
    assert records == [{"echo": True}] * 4 + [{"transport": transport}]


@node_marks[0]
@node_marks[1]
async def test_npm_clients_that_do_not_trust_the_authority(tmp_path: Path) -> None:
    """The check is the client's, and these really make it."""
    async with echoing("engine.io", tmp_path) as url:
        with pytest.raises(AssertionError, match="xhr poll error"):
            await run_node("tls_driver.cjs", "engine.io-client", "polling", url, "{}")


@node_marks[0]
@node_marks[1]
@pytest.mark.parametrize("carrier", CASES)
async def test_the_generated_client(carrier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", authority_file(tmp_path))
    transformer = CARRIERS[carrier]["transformer"]
    file = write_client(tmp_path, transformer=transformer)
    async with echoing(transformer, tmp_path) as url:
        records = await run_node("generated_primus.cjs", file, "big", url, json.dumps(CARRIERS[carrier]))
    assert records[-1] == {"size": 1 << 20, "length": 1 << 20, "same": True}


async def _in_thread(url: str, function: Any) -> None:
    with trio.fail_after(40):
        await trio.to_thread.run_sync(function, url)


async def _gently(talk: Coroutine[Any, Any, None]) -> None:
    """Give asyncio the time to close TLS connections: "Graceful Shutdown" in aiohttp's documentation."""
    await talk
    await asyncio.sleep(0.25)


@of_transformer("websockets")
async def test_websockets(tmp_path: Path) -> None:
    def client(url: str) -> None:
        with connect(url.replace("https", "wss") + "/primus", ssl=client_context(), max_size=None) as peer:
            for message in ("text", "wörld", BIG):
                peer.send(json.dumps(message))
                assert json.loads(peer.recv(timeout=10)) == message

    async with echoing("websockets", tmp_path) as url:
        await _in_thread(url, client)


@of_transformer("engine.io")
@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="-".join)
async def test_python_engineio(transports: list[str], tmp_path: Path) -> None:
    async def talk(url: str) -> None:
        answers: asyncio.Queue[str] = asyncio.Queue()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_context())) as session:
            client = engineio.AsyncClient(http_session=session)
            client.on("message", answers.put)
            await client.connect(url, transports=transports, engineio_path="primus")
            for message in ("text", BIG):
                await client.send(json.dumps(message))
                assert await asyncio.wait_for(answers.get(), 10) == message  # it has read the JSON
            await client.disconnect()

    async with echoing("engine.io", tmp_path) as url:
        await _in_thread(url, lambda url: asyncio.run(_gently(talk(url))))


@of_transformer("socket.io")
@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="-".join)
async def test_python_socketio(transports: list[str], tmp_path: Path) -> None:
    async def talk(url: str) -> None:
        answers: asyncio.Queue[str] = asyncio.Queue()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_context())) as session:
            client = socketio.AsyncClient(http_session=session)
            client.on("message", answers.put)
            await client.connect(url, transports=transports)
            for message in ("text", BIG):
                await client.send(message)
                assert await asyncio.wait_for(answers.get(), 10) == message
            await client.disconnect()

    async with echoing("socket.io", tmp_path) as url:
        await _in_thread(url, lambda url: asyncio.run(_gently(talk(url))))


async def test_requests_and_aiohttp(tmp_path: Path) -> None:
    """Plain HTTPS, several requests on one connection, and a file that takes many records."""
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "big.txt").write_text(BIG * 20)
    verify = authority_file(tmp_path)

    def with_requests(url: str) -> None:
        with requests.Session() as session:
            session.trust_env, session.verify = False, verify
            for _ in range(3):
                assert session.get(f"{url}/big.txt").text == BIG * 20
            assert session.get(f"{url}/primus/spec").json()["pathname"] == "/primus"
        with requests.Session() as session, pytest.raises(requests.exceptions.SSLError):
            session.get(url)  # it does not know the authority
        plain = requests.get(url.replace("https", "http"))
        assert (plain.status_code, plain.json()) == (400, {"error": "this port speaks HTTPS"})

    async def with_aiohttp(url: str) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_context())) as session:
            for _ in range(3):
                async with session.get(f"{url}/big.txt") as response:
                    assert await response.text() == BIG * 20

    server = Server(None, config={}, port=0, public=[str(tmp_path / "public")], **secured(tmp_path))
    async with running(server) as url:
        await _in_thread(url, with_requests)
        await _in_thread(url, lambda url: asyncio.run(_gently(with_aiohttp(url))))
