"""Every example is started as it is, but for the port, and used by a client that others wrote."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import deque
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
import trio
from websockets.exceptions import InvalidStatus
from websockets.trio.client import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import ModuleType

    from websockets.trio.client import ClientConnection

    from ahtransport import Server

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def load(name: str) -> ModuleType:
    """Run an example as a module of its own, anew for every test."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Client:
    """A WebSocket that speaks JSON."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def receive(self) -> Any:
        with trio.fail_after(10):
            return json.loads(await self.socket.recv())

    async def ask(self, message: Any) -> Any:
        await self.send(message)
        return await self.receive()


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    """Serve on a free port."""
    server.configure(port=0)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def client_of(
    server: Server, path: str = "/primus", headers: Mapping[str, str] | None = None
) -> AsyncIterator[Client]:
    url = server.url.replace("http", "ws", 1) + path
    async with connect(url, proxy=None, additional_headers=headers) as socket:
        yield Client(socket)


class Poller:
    """A client of Engine.IO that has nothing but HTTP, and speaks JSON."""

    def __init__(self, server: Server, path: str = "/primus/") -> None:
        self._url = f"{server.url}{path}?EIO=4&transport=polling"
        self._waiting: deque[str] = deque()

    async def open(self) -> None:
        handshake = json.loads((await self._fetch())[1:])
        self._url += f"&sid={handshake['sid']}"

    async def send(self, message: Any) -> None:
        assert await self._fetch("4" + json.dumps(message)) == "ok"

    async def receive(self) -> Any:
        while not self._waiting:
            self._waiting += (await self._fetch()).split("\x1e")
        packet = self._waiting.popleft()
        assert packet[0] == "4"
        return json.loads(packet[1:])

    async def close(self) -> None:
        await self._fetch("1")

    async def _fetch(self, body: str | None = None) -> str:
        def fetch() -> str:
            request = Request(
                self._url, data=None if body is None else body.encode(), headers={"Content-Type": "text/plain"}
            )
            with urlopen(request, timeout=10) as response:
                text: str = response.read().decode()
                return text

        return await trio.to_thread.run_sync(fetch)


@asynccontextmanager
async def poller_of(server: Server, path: str = "/primus/") -> AsyncIterator[Poller]:
    poller = Poller(server, path)
    await poller.open()
    yield poller
    await poller.close()


async def get(server: Server, path: str, headers: Mapping[str, str] | None = None) -> tuple[Any, Mapping[str, str]]:
    """Ask for JSON over HTTP."""

    def fetch() -> tuple[Any, Mapping[str, str]]:
        with urlopen(Request(server.url + path, headers=dict(headers or {})), timeout=10) as response:
            return json.load(response), dict(response.headers)

    return await trio.to_thread.run_sync(fetch)


async def test_echo() -> None:
    async with running(load("echo").server) as server, client_of(server) as client:
        for message in ({"hello": "wörld"}, [1, None], "text", 1.5):
            assert await client.ask(message) == message


async def test_events() -> None:
    async with running(load("events").server) as server, client_of(server) as one:
        assert await one.receive() == {"online": 1}
        async with client_of(server) as two:
            assert await two.receive() == {"online": 2}
            await two.send("hello")
            heard = await one.receive()
            assert heard["message"] == "hello"
            assert await two.receive() == heard
        assert await one.receive() == {"gone": heard["from"], "code": 1000}


async def test_authorize() -> None:
    async with running(load("authorize").server) as server:
        with pytest.raises(InvalidStatus) as refused:
            async with client_of(server):
                pass
        assert refused.value.response.status_code == 401
        assert refused.value.response.headers["WWW-Authenticate"] == "Bearer"
        assert b"a token is required" in refused.value.response.body
        with pytest.raises(InvalidStatus) as refused:
            async with client_of(server, "/primus?token=guess"):
                pass
        assert refused.value.response.status_code == 403
        async with client_of(server, "/primus?token=open-sesame") as client:
            assert await client.receive() == {"welcome": "Ali Baba"}
            assert await client.ask("hi") == {"user": "Ali Baba", "said": "hi"}


async def test_emitter() -> None:
    async with running(load("emitter").server) as server, client_of(server) as client:
        assert await client.ask({"type": 0, "data": ["add", 2, 3], "id": 7}) == {"type": 1, "id": 7, "data": [5]}
        question = await client.ask({"type": 0, "data": ["survey", "Tea?"]})
        assert question["data"] == ["ask", "Tea?"]
        result = await client.ask({"type": 1, "id": question["id"], "data": ["yes"]})
        assert result == {"type": 0, "data": ["result", {"question": "Tea?", "answer": "yes"}]}


async def test_rooms_broadcast() -> None:
    async with running(load("rooms_broadcast").server) as server, client_of(server) as one, client_of(server) as two:
        assert await one.ask({"join": "tea"}) == {"joined": "tea", "members": 1}
        assert "error" in await two.ask({"to": "tea", "text": "not a member"})
        assert await two.ask({"join": "tea"}) == {"joined": "tea", "members": 2}
        await two.send({"to": "tea", "text": "hello"})
        assert await one.receive() == {"room": "tea", "text": "hello"}
        assert await two.ask({"leave": "tea"}) == {"left": "tea", "was_in_it": True}  # and not its own words
        assert "error" in await two.ask({"join": "x" * 300})


async def test_custom_parser() -> None:
    async with running(load("custom_parser").server) as server, client_of(server) as client:
        await client.socket.send('one,"two, three",four')
        assert await client.socket.recv() == 'four,"two, three",one'
        await client.socket.send("primus::ping::123")
        assert await client.socket.recv() == "primus::pong::123"


async def test_sessions() -> None:
    async with running(load("sessions").server) as server:
        answer, headers = await get(server, "/count")
        assert answer == {"visits": 1}
        cookie = {"Cookie": headers["Set-Cookie"].partition(";")[0]}
        assert (await get(server, "/count", cookie))[0] == {"visits": 2}
        async with client_of(server, headers=cookie) as client:
            assert await client.ask("look") == {"visits": 2}
            assert await client.ask("reset") == {"visits": 0}
        assert (await get(server, "/count", cookie))[0] == {"visits": 1}
        async with client_of(server) as stranger:
            assert await stranger.ask("look") == {"visits": 0}


async def test_transforms() -> None:
    async with running(load("transforms").server) as server:
        assert (await get(server, "/clock"))[0]["epoch_ms"] > 1_500_000_000_000
        with pytest.raises(InvalidStatus) as refused:
            async with client_of(server, headers={"User-Agent": "a robot"}):
                pass
        assert refused.value.response.status_code == 403
        async with client_of(server) as client:
            assert await client.ask("a") == {"number": 1, "message": "a"}
            await client.send("a secret")
            assert await client.ask("b") == {"number": 3, "message": "b"}


async def test_several_transformers() -> None:
    async with (
        running(load("several_transformers").server) as server,
        client_of(server) as one,
        poller_of(server) as two,
        client_of(server, "/primus/?EIO=4&transport=websocket") as three,
    ):
        assert (await three.socket.recv())[:2] == "0{"
        await one.send("hello")
        heard = {"came by": "websockets by websocket", "message": "hello"}
        assert await one.receive() == await two.receive() == heard
        assert json.loads((await three.socket.recv())[1:]) == heard
        await two.send("and to you")
        heard = {"came by": "engine.io by polling", "message": "and to you"}
        assert await one.receive() == await two.receive() == heard
        await three.socket.send('4"good day"')
        heard = {"came by": "engine.io by websocket", "message": "good day"}
        assert await one.receive() == await two.receive() == heard


async def test_nursery() -> None:
    example = load("nursery")
    async with running(example.server) as server, client_of(server) as client:
        assert (await client.receive())["tick"] > 0
    example.server.configure(port=0)
    with trio.fail_after(10):
        await example.main(seconds=0.1)


def test_every_example_has_a_test() -> None:
    examples = {path.stem for path in EXAMPLES.glob("*.py")} - {"actionhero"}  # the npm client tests that one
    tested = {name.removeprefix("test_") for name in vars(sys.modules[__name__]) if name.startswith("test_")}
    assert examples <= tested, f"no test for {examples - tested}"
