"""Every example is started as it is, but for the port, and used by a client that others wrote."""

from __future__ import annotations

import importlib.util
import json
import queue
import sys
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
import socketio
import trio
from prometheus_client import REGISTRY
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.trio.client import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
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


async def test_limits() -> None:
    async with running(load("limits").server) as server, client_of(server) as client:
        url = f"ws://127.0.0.1:{server.port}/primus"

        async def refused(address: str) -> int:
            with pytest.raises(InvalidStatus) as refusal:
                async with connect(url, additional_headers={"X-Forwarded-For": address}):
                    pass
            assert refusal.value.response.headers["Retry-After"] == "5"
            return refusal.value.response.status_code

        assert await refused("127.0.0.1") == 429
        async with connect(url, additional_headers={"X-Forwarded-For": "192.0.2.1"}):
            assert await refused("192.0.2.2") == 503
        answers = [
            await client.ask({"event": "action", "params": {"action": "ping"}, "messageId": number})
            for number in range(15)
        ]
        assert all(answer["pong"] for answer in answers[:10])
        assert answers[-1]["error"] == "Error: you are sending too many messages"
        assert answers[-1]["messageId"] == 14

        async def go_on() -> None:
            for _ in range(100):
                await client.ask({"event": "action", "params": {"action": "ping"}})

        with pytest.raises(ConnectionClosedError) as closed:
            await go_on()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize("transformer", ["websockets", "engine.io", "socket.io"])
async def test_emitter(transformer: str) -> None:
    server = load("emitter").server
    server.configure(transformer=transformer)
    async with running(server):
        if transformer == "socket.io":
            await trio.to_thread.run_sync(survey_over_socketio, server.url)
        elif transformer == "engine.io":
            async with poller_of(server) as poller:
                await survey_over_primus(poller)
        else:
            async with client_of(server) as client:
                await survey_over_primus(client)


async def survey_over_primus(client: Client | Poller) -> None:
    """Talk as primus-emitter does."""
    await client.send({"type": 0, "data": ["add", 2, 3], "id": 7})
    assert await client.receive() == {"type": 1, "id": 7, "data": [5]}
    await client.send({"type": 0, "data": ["survey", "Tea?"]})
    question = await client.receive()
    assert question["data"] == ["ask", "Tea?"]
    await client.send({"type": 1, "id": question["id"], "data": ["yes"]})
    assert await client.receive() == {"type": 0, "data": ["result", {"question": "Tea?", "answer": "yes"}]}


def survey_over_socketio(url: str) -> None:
    with socketio_client() as client:
        results: queue.Queue[Any] = queue.Queue()
        client.on("ask", lambda question: "yes")
        client.on("result", results.put)
        client.connect(url, transports=["websocket"])
        assert client.call("add", (2, 3), timeout=10) == 5
        client.emit("survey", "Tea?")
        assert results.get(timeout=10) == {"question": "Tea?", "answer": "yes"}


@contextmanager
def socketio_client() -> Iterator[socketio.Client]:
    """python-socketio's client; it is used in a thread."""
    client = socketio.Client(handle_sigint=False, reconnection=False)
    try:
        yield client
    finally:
        client.disconnect()
        client.eio.wait()


class Chatter:
    """Somebody in the chat, and what he hears."""

    def __init__(self, client: socketio.Client) -> None:
        self.client = client
        self.heard: queue.Queue[tuple[str, Any]] = queue.Queue()
        for event in ("arrived", "said", "left", "connect_error"):
            client.on(event, partial(self._hear, event), namespace="/chat")
        client.on("question", lambda question: f"{question} Yes!", namespace="/chat")

    def _hear(self, event: str, what: Any) -> None:
        self.heard.put((event, what))

    def enter(self, url: str, auth: Any) -> None:
        self.client.connect(url, auth=auth, namespaces=["/chat"], transports=["websocket"], wait_timeout=10)

    def ask(self, event: str, *args: Any) -> Any:
        return self.client.call(event, args, namespace="/chat", timeout=10)

    def hears(self) -> tuple[str, Any]:
        return self.heard.get(timeout=10)


def chat(url: str) -> None:
    """Use the chat; it behaves like its model, which tests/test_docs.py puts through the same."""
    with socketio_client() as nobody:
        stranger = Chatter(nobody)
        with pytest.raises(socketio.exceptions.ConnectionError):
            stranger.enter(url, {"name": ""})
        assert stranger.hears() == ("connect_error", {"message": "who are you?", "data": {"field": "name"}})
    with socketio_client() as one:
        ann = Chatter(one)
        ann.enter(url, {"name": "Ann"})
        assert ann.ask("join", "tea") == {"room": "tea", "members": 1}
        assert ann.ask("ask_everybody", "Alone?") == []
        with socketio_client() as two:
            bob = Chatter(two)
            bob.enter(url, {"name": "Bob"})
            assert ann.hears() == ("arrived", "Bob")
            assert bob.ask("say", "tea", "let me in") == 0
            assert bob.ask("join", "tea") == {"room": "tea", "members": 2}
            assert [bob.ask("say", "tea", text) for text in ("hello", "hi")] == [1, 2]
            assert sorted(ann.hears()[1]["text"] for _ in range(2)) == ["hello", "hi"]  # it has a thread for each
            assert ann.ask("say", "tea", "hello Bob") == 1
            assert bob.hears() == ("said", {"from": "Ann", "text": "hello Bob"})
            assert ann.ask("ask_everybody", "Tea?") == ["Tea? Yes!"]
            assert bob.heard.empty()
        assert ann.hears() == ("left", "Bob")


async def test_socketio_chat() -> None:
    async with running(load("socketio_chat").server) as server:
        await trio.to_thread.run_sync(chat, server.url)
        with socketio_client() as client:
            ann = Chatter(client)
            await trio.to_thread.run_sync(ann.enter, server.url, {"name": "Ann"})
            answer = await trio.to_thread.run_sync(ann.ask, "join", "x" * 300)
            assert "error" in answer
            await trio.to_thread.run_sync(client.disconnect)


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
        client_of(server, "/socket.io/?EIO=4&transport=websocket") as four,
    ):
        assert (await three.socket.recv())[:2] == (await four.socket.recv())[:2] == "0{"
        await four.socket.send("40")
        assert (await four.socket.recv())[:3] == "40{"
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
        await four.socket.send('42["message","hi there"]')
        heard = {"came by": "socket.io by websocket", "message": "hi there"}
        assert await one.receive() == await two.receive() == heard
        said = [json.loads((await four.socket.recv())[2:]) for _ in range(4)]
        assert said[3] == ["message", heard]


async def test_nursery() -> None:
    example = load("nursery")
    async with running(example.server) as server, client_of(server) as client:
        assert (await client.receive())["tick"] > 0
    example.server.configure(port=0)
    with trio.fail_after(10):
        await example.main(seconds=0.1)


async def test_operating() -> None:
    example = load("operating")
    try:
        async with running(example.server) as server, client_of(server) as client:
            assert await client.ask("hello") == "hello"
            assert (await get(server, "/healthz"))[0] == {"status": "ok"}
            assert (await get(server, "/busy"))[0] == {"connections": 1, "backlog": 0}

            def scrape() -> list[str]:
                with urlopen(server.url + "/metrics", timeout=10) as answer:
                    return answer.read().decode().splitlines()  # type: ignore[no-any-return]

            lines = await trio.to_thread.run_sync(scrape)
            assert "chat_messages_total 1.0" in lines
            assert 'ahtransport_connections{transformer="websockets",transport="websocket"} 1.0' in lines
    finally:
        REGISTRY.unregister(example.messages)


def test_every_example_has_a_test() -> None:
    examples = {path.stem for path in EXAMPLES.glob("*.py")} - {"actionhero"}  # the npm client tests that one
    tested = {name.removeprefix("test_") for name in vars(sys.modules[__name__]) if name.startswith("test_")}
    assert examples <= tested, f"no test for {examples - tested}"
