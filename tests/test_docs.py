"""The code in README.md and docs/ is run. CONTRIBUTING.md says what the comments before the blocks mean."""

from __future__ import annotations

import ast
import os
import queue
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import socketio
import trio
from trio.testing import MockClock
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from test_examples import chat as socketio_chat
from test_examples import client_of, get, poller_of, running, socketio_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ahtransport import Server

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"(?:^<!-- (?P<how>[^\n]+) -->\n)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SHIPPED = {path.relative_to(ROOT).as_posix() for path in PAGES if not {"_build", "_generated"} & set(path.parts)}


@dataclass(frozen=True)
class Block:
    """A Python block of a page, and how it says that it is tested."""

    page: str
    line: int
    code: str
    verb: str
    scenario: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def run(self) -> SimpleNamespace:
        """Run it as the module of a program would be, but for what stands under ``if __name__ == "__main__"``."""
        names: dict[str, Any] = {"__name__": "documentation"}
        exec(compile(self.code, str(self), "exec", dont_inherit=True), names)
        return SimpleNamespace(**names)


def blocks() -> Iterator[Block]:
    for page in sorted(SHIPPED):
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            verb, _, scenario = (match["how"] or "compile").partition(": ")
            yield Block(page, text.count("\n", 0, match.start()) + 1, match["code"], verb, scenario)


BLOCKS = list(blocks())


async def echo(server: Server) -> None:
    async with client_of(server) as client:
        assert await client.ask({"hello": "world"}) == {"hello": "world"}


async def compressed(server: Server) -> None:
    def ask() -> None:
        with connect(server.url.replace("http", "ws") + "/primus") as client:
            assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]
            client.send('"%s"' % ("long " * 1000))
            assert client.recv(timeout=10) == '"%s"' % ("long " * 1000)

    await trio.to_thread.run_sync(ask)


async def chat(server: Server) -> None:
    async with client_of(server) as one:
        assert await one.receive() == {"text": "1 are here"}
        async with client_of(server) as two:
            assert await one.receive() == await two.receive() == {"text": "2 are here"}
            await two.send({"text": "hello"})
            assert await one.receive() == await two.receive() == {"text": "hello"}


async def counter(server: Server) -> None:
    async with client_of(server) as client:
        assert await client.ask(2) == {"total": 2}
        assert await client.ask(3) == {"total": 5}


async def polled(server: Server) -> None:
    async with poller_of(server) as client:
        await client.send({"hello": "world"})
        assert await client.receive() == {"hello": "world"}


async def reverse(server: Server) -> None:
    async with client_of(server) as client:
        assert await client.ask("stressed") == "desserts"


async def emitter(server: Server) -> None:
    async with client_of(server) as client:
        assert await client.ask({"type": 0, "data": ["add", 2, 3], "id": 1}) == {"type": 1, "id": 1, "data": [5]}
        assert await client.ask({"type": 0, "data": ["hello", "you"]}) == {"type": 0, "data": ["greeting", "hello you"]}
        question = await client.receive()
        assert question["data"] == ["how are you"]
        noted = await client.ask({"type": 1, "id": question["id"], "data": ["fine"]})
        assert noted == {"type": 0, "data": ["noted", "fine"]}


async def namespaces(server: Server) -> None:
    def use() -> None:
        with (
            socketio_client() as stranger,
            pytest.raises(socketio.exceptions.ConnectionError, match="failed to connect: /admin"),
        ):
            stranger.connect(server.url, namespaces=["/admin"], transports=["websocket"])
        with socketio_client() as client:
            news: queue.Queue[str] = queue.Queue()
            client.on("news", news.put)
            spaces = ["/", "/admin", "/game-7"]
            client.connect(server.url, {}, {"token": "open-sesame"}, namespaces=spaces, transports=["websocket"])
            assert client.call("announce", "tea", namespace="/admin", timeout=10) == 1
            assert news.get(timeout=10) == "tea"
            assert client.call("where", namespace="/game-7", timeout=10) == "/game-7"

    await trio.to_thread.run_sync(use)


async def everyone(server: Server) -> None:
    async with client_of(server) as one, poller_of(server) as two:
        await one.send("hello")
        assert await one.receive() == await two.receive() == {"by": "websocket", "message": "hello"}
        await two.send("hi")
        assert await one.receive() == await two.receive() == {"by": "polling", "message": "hi"}


async def authorize(server: Server) -> None:
    assert (await get(server, "/health"))[0] == {"connections": 0}
    refusals: list[tuple[str, dict[str, str], int]] = [
        ("/primus", {}, 401),
        ("/primus?token=open-sesame", {"User-Agent": "robot"}, 403),
        ("/primus?token=open-sesame", {"Origin": "https://evil.example"}, 403),
    ]
    for path, headers, status in refusals:
        with pytest.raises(InvalidStatus) as refused:
            async with client_of(server, path, headers):
                pass
        assert refused.value.response.status_code == status
    async with client_of(server, "/primus?token=open-sesame", {"Origin": "https://example.com"}) as client:
        assert await client.receive() == "welcome"


async def limited(server: Server) -> None:
    async with client_of(server) as one, client_of(server):
        with pytest.raises(InvalidStatus) as refused:
            async with client_of(server):
                pass
        assert refused.value.response.status_code == 503
        for number in range(20):
            await one.send(number)
        assert [await one.receive() for _ in range(20)] == list(range(20))


async def act(server: Server, action: str, **params: Any) -> Any:
    """Run an action over the websocket, and take from the answer what every answer has."""
    async with client_of(server) as client:
        assert (await client.receive())["context"] == "api"
        answer = await client.ask({"event": "action", "params": {"action": action, **params}, "messageId": "m"})
        assert (answer.pop("messageId"), answer.pop("context")) == ("m", "response")
        return answer


async def actions(server: Server) -> None:
    assert await act(server, "add", a=1, b=2) == {"sum": 3}
    assert await act(server, "add") == {"error": "a is a required parameter for this action"}
    assert (await get(server, "/api/add?a=1&b=2"))[0]["sum"] == 3
    assert (await get(server, "/api?action=add&a=1"))[0]["sum"] == 2


async def middleware(server: Server) -> None:
    assert await act(server, "hello") == {"hello": "world", "by": "hello"}
    assert await act(server, "treasure", secret="open-sesame") == {"gold": 7, "by": "treasure"}
    assert await act(server, "treasure", secret="guess") == {"error": "members only"}


async def rooms(server: Server) -> None:
    async with client_of(server) as client:
        await client.receive()
        refused = await client.ask({"event": "roomAdd", "room": "staff", "messageId": 1})
        assert refused["error"] == "Error: staff only"
        assert (await client.ask({"event": "roomAdd", "room": "tea", "messageId": 2}))["status"] == "OK"
        await client.send({"event": "say", "room": "tea", "message": "hello", "messageId": 3})
        heard = [await client.receive(), await client.receive()]
        assert [message["message"] for message in heard if message["context"] == "user"] == ["HELLO"]


async def session(server: Server) -> None:
    answer, headers = await get(server, "/api/visit")
    assert answer["visits"] == 1
    cookie = {"Cookie": headers["Set-Cookie"].partition(";")[0]}
    assert (await get(server, "/api/visit", cookie))[0]["visits"] == 2
    async with client_of(server, headers=cookie) as client:
        await client.receive()
        answer = await client.ask({"event": "action", "params": {"action": "visit"}, "messageId": 1})
        assert answer["visits"] == 3


async def tea(server: Server) -> None:
    async with client_of(server) as client:
        await client.receive()
        assert (await client.ask({"event": "roomAdd", "room": "tea", "messageId": 1}))["status"] == "OK"
        await client.send({"event": "say", "room": "tea", "message": "milk?", "messageId": 2})
        (heard,) = [one for one in (await client.receive(), await client.receive()) if one["context"] == "user"]
        assert heard["message"] == "milk?"
    assert (await get(server, "/api/history"))[0]["said"] == [heard]


SCENARIOS: dict[str, Callable[[Server], Awaitable[None]]] = {
    scenario.__name__: scenario
    for scenario in (
        actions,
        authorize,
        compressed,
        limited,
        chat,
        counter,
        echo,
        emitter,
        everyone,
        middleware,
        namespaces,
        polled,
        reverse,
        rooms,
        session,
        tea,
    )
}


async def numbered(names: SimpleNamespace) -> None:
    from ahtransport import Server

    server = Server(transformer=names.NumberedTransformer)

    @server.on_message
    def answer(connection: Any, message: Any) -> None:
        connection.send_nowait([message])

    async with running(server), client_of(server) as client:
        await client.socket.send('1:"hello"')
        assert await client.socket.recv() == '1:["hello"]'
        await client.socket.send('2:"primus::ping::5"')
        assert await client.socket.recv() == '2:"primus::pong::5"'


async def own_tests(names: SimpleNamespace) -> None:
    await names.test_it_echoes()
    await names.test_it_is_well()

    def in_no_time() -> None:
        trio.run(names.test_silent_clients_are_sent_away, None, clock=MockClock(autojump_threshold=0))

    await trio.to_thread.run_sync(in_no_time)


DEFINITIONS: dict[str, Callable[[SimpleNamespace], Awaitable[None]]] = {"numbered": numbered, "testing": own_tests}


def chosen(verb: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", [block for block in BLOCKS if block.verb == verb], ids=str)


@chosen("serve")
async def test_served_blocks(block: Block) -> None:
    async with running(block.run().server) as server:
        await SCENARIOS[block.scenario](server)


@chosen("define")
async def test_defining_blocks(block: Block) -> None:
    await DEFINITIONS[block.scenario](block.run())


@chosen("run")
def test_blocks_that_are_programs(block: Block) -> None:
    program = [sys.executable, "-W", "error", "-c", block.code]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert done.returncode == 0, done.stderr


async def test_the_chat_behaves_like_the_program_that_it_was_ported_from() -> None:
    block = next(block for block in BLOCKS if block.page.endswith("python-socketio.md") and "sio = " in block.code)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = block.code.replace("port=8080", f'host="127.0.0.1", port={port}, print=None')
    assert program != block.code

    async def kill(process: trio.Process) -> None:
        process.kill()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.run_process, [sys.executable, "-c", program], deliver_cancel=kill))
        with trio.fail_after(30):
            await listening(port)
        await trio.to_thread.run_sync(socketio_chat, f"http://127.0.0.1:{port}")
        nursery.cancel_scope.cancel()


async def listening(port: int) -> None:
    """Wait until somebody listens there."""
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.1)
        else:
            await stream.aclose()
            return


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_compiles_and_imports_what_there_is(block: Block) -> None:
    tree = ast.parse(block.code, str(block))
    imports: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), str(block), "exec", dont_inherit=True), {})


def test_every_comment_is_understood() -> None:
    known = {("compile", ""), ("run", "")}
    known |= {("serve", name) for name in SCENARIOS} | {("define", name) for name in DEFINITIONS}
    assert {(block.verb, block.scenario) for block in BLOCKS} <= known
    used = {block.scenario for block in BLOCKS}
    assert used >= SCENARIOS.keys() | DEFINITIONS.keys()
    comments = sum((ROOT / page).read_text(encoding="utf-8").count("\n<!-- ") for page in sorted(SHIPPED))
    assert comments == sum(block.verb != "compile" for block in BLOCKS), "a comment stands before no Python block"


LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("page", sorted(SHIPPED))
def test_links_between_pages_lead_somewhere(page: str) -> None:
    folder = (ROOT / page).parent
    broken = [
        target for target in LINK.findall((ROOT / page).read_text(encoding="utf-8")) if not (folder / target).exists()
    ]
    assert not broken


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Give every call of a logger's method in the package, and where it stands."""
    levels = {"debug", "info", "warning", "error", "exception"}
    for path in sorted((ROOT / "src").glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in levels:
                logger = node.func.value
                if isinstance(logger, ast.Name) and logger.id in {"_log", "_access", "logger"}:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_every_log_line_has_an_event() -> None:
    calls = list(log_calls())
    assert len(calls) > 20
    assert [where for where, call in calls if "extra" not in {keyword.arg for keyword in call.keywords}] == []


def test_the_events_in_the_log_are_those_of_the_documentation() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").glob("**/*.py")]
    known = {event for text in sources for event in re.findall(r'\bfields\(\s*"([a-z.]+)"', text)}
    page = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    rows = page.partition("| event | level | says |\n")[2].partition("\n\n")[0].splitlines()
    assert {event for row in rows for event in re.findall(r"`([a-z.]+)`", row.split("|")[1])} == known
