"""G6, G7, G8, G12, G18: files, logs and error pages give nothing away."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import trio
from ahtransport.transports import engineio

import ahtransport
from ahtransport import ActionServer, Connection, Reject, Response, Server
from ahtransport._logsink import JSONLines
from hostile.support import under_attack
from hostile.wire import TEXT, frame, request, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ahtransport import Request
    from hostile.wire import Raw

SECRET = b"nobody may read this"


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A public directory with everything around it that must not be reached."""
    directory = tmp_path / "public"
    (directory / "sub").mkdir(parents=True)
    for name in ("index.html", "page.html", "sub/index.html", "sub/in.txt"):
        (directory / name).write_text(f"public {name}")
    (tmp_path / "public-secret").mkdir()
    for name in ("secret.txt", "public-secret/secret.txt", "public/.hidden", "public/unreadable"):
        (tmp_path / name).write_bytes(SECRET)
    (directory / "out.txt").symlink_to(tmp_path / "secret.txt")
    (directory / "outside").symlink_to(tmp_path / "public-secret")
    (directory / "round").symlink_to("round")
    (directory / "in.txt").symlink_to("sub/in.txt")
    (directory / "empty").mkdir()
    os.mkfifo(directory / "fifo")
    (directory / "unreadable").chmod(0)
    yield directory
    (directory / "unreadable").chmod(0o600)


PATHS = [
    "/../secret.txt",
    "/public/../../secret.txt",
    "/public/../../../../../../../../etc/hostname",
    "/..%2fsecret.txt",
    "/%2e%2e/secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/..%5csecret.txt",
    "/..\\secret.txt",
    "/%252e%252e/secret.txt",
    "//etc/hostname",
    "/public//etc/hostname",
    "/%2fetc/hostname",
    "/page.html%00.txt",
    "/%00",
    "/;/../secret.txt",
    "/sub;/../../secret.txt",
    "/....//secret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/%c0%ae%c0%ae%c0%afsecret.txt",
    "/%e0%80%ae%e0%80%ae/secret.txt",
    "/../public-secret/secret.txt",
    "/public-secret/secret.txt",
    "/outside/secret.txt",
    "/out.txt",
    "/round",
    "/fifo",
    "/empty",
    "/empty/",
    "/.hidden",
    "/page.html/",
    "/page.html/x",
    "/PAGE.HTML",
    "/page.html.",
    "/page.html%20",
    "/page.html::$DATA",
    "/con",
    "/dev/null",
    "/" + "a" * 300,
    "/" + "a/" * 2000,
    "/%",
    "/%zz",
]


async def test_g8_paths_that_lead_elsewhere(public: Path) -> None:
    """404 for all of them alike, so that nothing can be learnt; what is there is served with its type."""
    async with under_attack(public=[str(public)]) as target:
        reference = await target.exchange(request("GET", "/nothing"))
        for path in PATHS:
            for method in ("GET", "HEAD"):
                answer = await target.exchange(request(method, path), bodiless=method == "HEAD")
                assert answer.status == 404, path
                assert SECRET not in answer.body
                assert [name for name, _ in answer.headers] == [name for name, _ in reference.headers]
                assert answer.body == (reference.body if method == "GET" else b"")
                assert answer.header("X-Content-Type-Options") == "nosniff"
        if os.getuid() != 0:  # nothing is unreadable to root
            assert (await target.exchange(request("GET", "/unreadable"))).status == 404
        for path, name in {
            "/": "index.html",
            "/public": "index.html",
            "/public/": "index.html",
            "/page.html": "page.html",
            "/public/page.html?x=../y": "page.html",
            "/p%61ge.html": "page.html",
            "/sub": "sub/index.html",
            "/sub/": "sub/index.html",
            "/in.txt": "sub/in.txt",
        }.items():
            answer = await target.exchange(request("GET", path))
            assert (answer.status, answer.body.decode()) == (200, f"public {name}"), path
            assert answer.header("X-Content-Type-Options") == "nosniff"
            kind = "text/html" if name.endswith("html") else "text/plain"
            assert answer.header("Content-Type") == f"{kind}; charset=utf-8"


async def test_g7_the_file_verb_reaches_no_further(public: Path) -> None:
    names = [path[1:] for path in PATHS if path != "/PAGE.HTML"]
    names += [*map(quote, names), *PATHS, str(public / "page.html"), "\ud800", "a\nb", "C:\\page.html", "~", "$HOME"]
    async with under_attack(make=ActionServer, public=[str(public)]) as target:
        ws = await target.websocket()
        while "welcome" not in await ws.text():
            pass
        answers = set()
        for name in [*names, 5, {}, ["page.html"], True]:
            message = json.dumps({"event": "file", "file": name, "messageId": 1})
            await ws.send(frame(TEXT, message.encode()))
            answers.add(await ws.text())
        assert len(answers) == 1
        (answer,) = answers
        assert json.loads(answer)["error"] == "that file is not found"
        for name in ("page.html", "in.txt", "sub/in.txt"):
            await ws.send(frame(TEXT, json.dumps({"event": "file", "file": name, "messageId": 1}).encode()))
            assert json.loads(await ws.text())["content"].startswith("public ")


NASTY = "\r\nINJECTED \x1b[31m\x07\x00\u2028\u2029\u202e\u2066\x85" + "x" * 2**20
SAFE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]{1,512}")


async def test_g12_log_lines_whatever_peers_send() -> None:
    """What of it reaches the log is one line of printable characters, at most 512."""

    def prepare(server: Server) -> None:
        async def fail(request: Request) -> Response:
            raise RuntimeError("on purpose")

        server.route("/fail", fail)

        @server.on_error
        def seen(connection: Connection, error: BaseException) -> None:
            pass

    async with under_attack(prepare) as target:
        target.tracebacks = 2
        path = quote(NASTY[:800])
        await target.exchange(request("GET", f"/fail/{path[:7000]}"))
        await target.exchange(request("GET", "/fail/\\\"'%0d%0a%1b[31m"))
        await target.exchange(request("GET", f"/{path[:7000]}", "User-Agent: \xe9\xff", "Origin: \x85"))
        await target.exchange(upgrade(target=f"/primus?sid={path[:4000]}"))
        for text in (NASTY, json.dumps(NASTY)[:-1], "[" * 100, '{"\u202e": nan}', "\x1b]0;title\x07"):
            ws = await target.websocket()
            await ws.send(frame(TEXT, text.encode()) * 3 + frame(8, b"\x0f\xa0" + NASTY.encode()[:100]))
            await ws.closing()
        lines = [record.getMessage() for record in target.log.records]
        assert len(lines) == 7
        for line in lines:
            assert SAFE.fullmatch(line), line


async def test_g12_names_of_events_rooms_and_namespaces() -> None:
    """As for all that peers send, whether nobody knows the name, a function fails on it, or says it as its reason: in
    lines and in JSON, with every level and the access lines."""
    short, room = (
        NASTY[:40],
        "31m\u2028\u2029\u202e\u2066\x85",
    )  # in a room's name there is no control character of ASCII
    records: list[logging.LogRecord] = []

    class Everything(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    def prepare(server: Server) -> None:
        @server.on("join")
        def join(connection: Connection, room: str) -> None:
            server.rooms.join(connection, room)

        @server.on(short)
        def leave(connection: Connection) -> None:
            connection.close(4000, short)

        @server.on("leave")
        def leave_room(connection: Connection) -> None:
            connection.close(4000, max(connection.rooms))

    def event(*data: str) -> bytes:
        return json.dumps({"type": 0, "data": data}).encode()

    def emit(*data: str) -> bytes:
        return b"42" + json.dumps(data).encode()

    attacks = {"/primus": (event, b'"mark"'), "/sio/?EIO=4&transport=websocket": (emit, b'42["message","mark"]')}
    names = [(NASTY,), ("join", NASTY), ("join", ""), (short,), ("nothing", NASTY)]
    everything = Everything()
    logger = logging.getLogger("ahtransport")
    logger.addHandler(everything)
    try:
        async with under_attack(prepare, transformer={"websockets": "/primus", "socket.io": "/sio"}) as target:
            target.tracebacks = 4
            for path, (write, mark) in attacks.items():
                for name in names:
                    await _say(await target.websocket(target=path), path, write(*name), mark)
                joined = await target.websocket(target=path)
                await _say(joined, path, write("join", room), mark)
                assert room in target.server.rooms
                await _say(joined, "", write("leave"), mark)
            for packet in (b"40/" + NASTY.encode(), b"42/" + NASTY.encode() + b',["x"]', b"42[" + NASTY.encode()):
                await _say(await target.websocket(target=path), path, packet, b'42["message","mark"]')
    finally:
        logger.removeHandler(everything)
    reasons = [record.__dict__["reason"] for record in records if record.__dict__["event"] == "connection.closed"]
    assert len([reason for reason in reasons if "31m" in reason and "\\u2028" in reason]) == 4
    for record in records:
        entry = json.loads(JSONLines().format(record))
        entry.pop("exception", None)
        assert len(json.dumps(entry, separators=(",", ":"))) <= 512
        for text in (record.getMessage(), *(value for value in entry.values() if isinstance(value, str) and value)):
            assert SAFE.fullmatch(text), text


async def _say(ws: Raw, path: str, data: bytes, mark: bytes) -> None:
    """Say something, and wait until it has been dealt with; where there is a path, enter what it leads to first."""
    with trio.fail_after(60):
        if "EIO" in path:
            await ws.send(frame(TEXT, b"40"))
            while b"40{" not in ws.buffer:
                assert await ws.more()
        await ws.send(frame(TEXT, data) + frame(TEXT, mark))
        ws.buffer.clear()
        while mark not in ws.buffer and await ws.more():
            pass


async def test_g12_verbs_whose_words_are_nasty() -> None:
    """Names of verbs, rooms, files and actions: not a line for what is merely unknown, a safe one for what fails."""

    def make(**options: Any) -> Server:
        server = ActionServer(config={}, welcome_message="", starting_chat_rooms=[room], **options)

        def fail(connection: Connection, room: str) -> None:
            raise RuntimeError(room)

        server.chat.use("guard", join=fail)
        return server

    room = "\u2028\u2029\u202e\u2066\x85" + "x" * 250
    asked = [
        {"event": NASTY},
        *({"event": verb, "room": NASTY, "message": NASTY} for verb in ("roomAdd", "roomLeave", "roomView", "say")),
        {"event": "file", "file": NASTY},
        {"event": "action", "params": {"action": NASTY, "apiVersion": NASTY}},
        {"event": "detailsView", "messageId": NASTY},
        {"event": "roomAdd", "room": room, NASTY: NASTY},
    ]
    async with under_attack(make=make) as target:
        target.tracebacks = 1
        ws = await target.websocket()
        for message in asked:
            await ws.send(frame(TEXT, json.dumps(message).encode()))
            assert "context" in json.loads(await ws.text())
        (line,) = [record.getMessage() for record in target.log.records]
        assert SAFE.fullmatch(line)


async def test_g12_a_flood_of_bad_requests_is_not_a_flood_of_lines() -> None:
    def prepare(server: Server) -> None:
        async def fail(request: Request) -> Response:
            raise RuntimeError("on purpose")

        server.route("/fail", fail)

    async with under_attack(prepare) as target:
        target.tracebacks = 30
        raw = await target.raw()
        for _ in range(300):
            await raw.send(request("GET", "/fail"))
            assert (await raw.answer()).status == 500
        assert 1 <= len(target.log.records) <= 30


async def test_g18_error_pages_tell_nothing(public: Path) -> None:
    def prepare(server: Server) -> None:
        async def fail(request: Request) -> Response:
            raise RuntimeError(f"on purpose, in {__file__}")

        server.route("/fail", fail)

    attacks = {
        request("GET", "/nothing"): 404,
        request("POST", "/nothing"): 405,
        request("GET", "/fail"): 500,
        request("GET", "/primus"): 426,
        request("BREW", "/"): 501,
        b"nonsense\r\n\r\n": 400,
        b"GET / HTTP/3.0\r\n\r\n": 505,
        b"GET /" + b"x" * 9000: 414,
        request("GET", "/", "X: " + "x" * 9000): 431,
        upgrade("Sec-WebSocket-Key: 5"): 400,
        upgrade(target="/elsewhere"): 404,
    }
    async with under_attack(prepare, public=[str(public)]) as target:
        target.tracebacks = 1
        for attack, status in attacks.items():
            answer = await target.exchange(attack)
            assert answer.status == status
            assert answer.header("Server") is None
            assert answer.header("X-Powered-By") is None
            everything = repr((answer.headers, answer.body)).lower()
            for word in ("ahtransport", "python", "trio", "traceback", "purpose", str(public).lower(), ".py", "/tmp"):
                assert word not in everything


async def test_g6_no_secret_is_ever_logged() -> None:
    """Ids of sessions, fingerprints, tokens in queries, headers and CONNECT, whatever goes wrong: not in the log, which
    has the levels down to DEBUG and the access lines here."""
    lines: list[str] = []

    class Everything(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record) + repr(record.__dict__))

    def prepare(server: Server) -> None:
        async def fail(request: Request) -> Response:
            raise RuntimeError("on purpose")

        server.route("/fail", fail)

        @server.authorize
        def decide(request: Request) -> None:
            if "deny" in request.query:
                raise Reject(403, "no")
            if "break" in request.query:
                raise RuntimeError("on purpose")

    everything = Everything()
    everything.setFormatter(JSONLines())
    logger = logging.getLogger("ahtransport")
    logger.addHandler(everything)
    transformers = {"websockets": "/primus", "engine.io": "/eio", "socket.io": "/sio"}
    secrets = ["hunter2-query", "hunter2-header", "hunter2-cookie", "hunter2-auth"]
    query, header, cookie, auth = secrets
    headers = f"Authorization: Bearer {header}", f"Cookie: sessionID={cookie}; token={cookie}"
    try:
        async with under_attack(prepare, transformer=transformers, max_connections=4) as target:
            target.tracebacks = 2
            for path in ("/eio/", "/sio/"):
                wanted = f"{path}?EIO=4&transport=polling&token={query}"
                opening = await target.exchange(request("GET", wanted, *headers))
                secrets.append(json.loads(opening.body[1:])["sid"])
                again = f"{wanted}&sid={secrets[-1]}"
                packet = b"9" if path == "/eio/" else b'40{"token":"%s"' % auth.encode()
                await target.exchange(request("POST", again, *headers, f"Content-Length: {len(packet)}", body=packet))
                answer = await target.exchange(request("GET", again, *headers))
                assert answer.status == (400 if path == "/eio/" else 200)
            for end in ("", "&deny", "&break"):
                wanted = f"/primus?token={query}{end}"
                raw = await target.raw()
                await raw.send(upgrade(*headers, target=wanted))
                assert (await raw.answer()).status == (403 if end else 101)
                await raw.send(frame(TEXT, b"{"))
            await target.exchange(request("GET", f"/fail?token={query}", *headers))
            await target.exchange(request("GET", f"/nothing?token={query}", *headers))
            assert (await target.exchange(request("GET", f"/eio/?EIO=4&transport=polling&sid={query}"))).status == 400
            await target.wait_for(lambda: target.opened - len(target.closed) >= 1)
    finally:
        logger.removeHandler(everything)
    assert len(lines) > 5
    for line in lines:
        for secret in secrets:
            assert secret not in line


def test_g6_secrets_are_keys_of_tables_and_never_compared() -> None:
    """A look-up by hash tells nothing of how much of a guess was right; ``==`` might, by the time that it takes."""
    names = {"sid", "fingerprint", "token", "session_key", "cookie", "secret"}
    found: list[str] = []
    sources = Path(ahtransport.__file__).parent, Path(engineio.__file__).parent.parent
    for path in (path for source in sources for path in source.rglob("*.py") if "testing" not in path.parts):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                sides = [node.left, *node.comparators]
                said = {getattr(side, "id", getattr(side, "attr", "")).strip("_") for side in sides}
                if said & names:
                    found.append(f"{path.name}:{node.lineno}")
    assert found == []
