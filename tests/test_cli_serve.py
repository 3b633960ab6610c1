"""The command line with a running server: demo, serve, a new project, signals, --reload."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from ahtransport import Connection, Server, __version__
from ahtransport._cli import reload
from ahtransport._cli.reload import changes, snapshot, supervise
from ahtransport._cli.running import _Runner, set_up_logging, signals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")

APP = """
from ahtransport import Server

server = Server(port=1, host="203.0.113.1", server_name="one")
"""


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Command:
    """``python -m ahtransport …`` in a process of its own."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.url = ""
        self._unread = b""

    async def line(self) -> str:
        """Give the next line of its output."""
        assert self.process.stdout is not None
        while b"\n" not in self._unread:
            more = await self.process.stdout.receive_some()
            assert more, "it ended"
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    async def listening(self) -> str:
        """Wait for the line that says where it listens; give the line."""
        line = await self.line()
        self.url = line.split(" on ")[1].split(" ")[0]
        return line

    async def get(self, path: str) -> tuple[str, bytes]:
        """Make a GET request; give the status line and the body."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        async with stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            data = b"".join([chunk async for chunk in stream])
        head, _, body = data.partition(b"\r\n\r\n")
        return head.split(b"\r\n")[0].decode(), body


@asynccontextmanager
async def command(*args: str) -> AsyncIterator[Command]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "ahtransport", *args], stdout=-1, start_new_session=True
    )
    try:
        with trio.fail_after(30):
            yield Command(process)
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.terminate()
                with trio.move_on_after(10):
                    await process.wait()
            if process.poll() is None:
                process.kill()
                await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()


# --- demo, serve, init -------------------------------------------------------------------------------------------


async def test_the_demo_says_where_it_is_and_stops_when_told() -> None:
    async with command("demo", "--port", "0") as demo:
        line = await demo.listening()
        assert line == f"ahtransport {__version__}: websockets on {demo.url} (Ctrl+C stops)"
        assert demo.url.startswith("http://127.0.0.1:")
        status, body = await demo.get("/")
        assert status == "HTTP/1.1 200 OK"
        assert b"<!doctype html>" in body.lower()
        demo.process.send_signal(signal.SIGINT)
        assert await demo.process.wait() == 0


async def test_what_stands_on_the_command_line_wins_over_the_application(tmp_path: Path) -> None:
    (tmp_path / "live.py").write_text(APP)
    (tmp_path / "x.toml").write_text("[servers.websocket.server]\npathname = '/rt'\n")
    options = ("--host", "127.0.0.1", "--port", "0", "--transformer", "WS", "--config", "x.toml")
    async with command("serve", "live.py", *options) as live:
        line = await live.listening()
        assert " websockets on http://127.0.0.1:" in line
        assert (await live.get("/rt"))[0].startswith("HTTP/1.1 426 ")
        assert (await live.get("/primus"))[0].startswith("HTTP/1.1 404 ")
        live.process.terminate()
        assert await live.process.wait() == 0


async def test_a_new_project_runs(tmp_path: Path) -> None:
    async with command("init", "new") as init:
        assert await init.process.wait() == 0
    os.chdir(tmp_path / "new")
    async with command("serve", "app.py", "--port", "0") as live:
        await live.listening()
        status, body = await live.get("/api/greet?name=Ada")
        assert status == "HTTP/1.1 200 OK"
        answer = json.loads(body)
        assert answer["greeting"] == "Hello, Ada!"
        assert answer["serverInformation"]["serverName"] == "new"
        status, body = await live.get("/")
        assert status == "HTTP/1.1 200 OK"
        assert b"<code>greet</code>" in body


# --- signals -----------------------------------------------------------------------------------------------------


def test_signals_and_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    assert signals() == (signal.SIGINT, signal.SIGTERM)
    seen: list[Any] = []
    monkeypatch.setattr("ahtransport._cli.running.install", seen.append)
    for verbosity in range(4):
        set_up_logging(verbosity)
    assert seen == [30, 20, 10, 10]


async def listening(server: Server) -> None:
    while not server.addresses:  # noqa: ASYNC110
        await trio.sleep(0.01)


async def shake_hands(server: Server) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    await stream.send_all(
        b"GET /primus HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
    return stream


async def test_h2_the_first_signal_drains(capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(port=0, config={})
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_Runner(server).run)
            await listening(server)
            signal.raise_signal(signal.SIGTERM)
    output = capsys.readouterr()
    assert output.out.startswith(f"ahtransport {__version__}: websockets on http://127.0.0.1:")
    assert output.err == "stopping; once more ends at once\n"


async def test_h2_the_second_signal_ends_at_once() -> None:
    inside, told = trio.Event(), trio.Event()

    async def handler(connection: Connection) -> None:
        inside.set()
        try:
            await trio.sleep_forever()
        finally:
            told.set()

    server = Server(handler, port=0, config={}, shutdown_grace="1 hour")
    code: list[Any] = []

    async def running() -> None:
        try:
            await _Runner(server).run()
        except SystemExit as end:
            code.append(end.code)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running)
            await listening(server)
            async with await shake_hands(server):
                await inside.wait()
                signal.raise_signal(signal.SIGINT)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert not told.is_set()
                signal.raise_signal(signal.SIGTERM)
                await told.wait()
    assert code == [128 + signal.SIGTERM]


async def test_a_signal_before_it_listens_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(*_: Any, **__: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    monkeypatch.setattr("trio.open_tcp_listeners", late)
    with trio.fail_after(10), pytest.raises(SystemExit) as info:
        await _Runner(Server(port=0, config={})).run()
    assert info.value.code == 128 + signal.SIGINT


# --- reload ------------------------------------------------------------------------------------------------------


def test_the_snapshot_sees_sources_and_settings_only(tmp_path: Path) -> None:
    for name in (
        "a.py",
        "b.toml",
        "c.txt",
        "sub/d.py",
        ".git/e.py",
        "node_modules/f.py",
        "venv/g.py",
        "venv/pyvenv.cfg",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    before = snapshot([tmp_path])
    names = ["a.py", "b.toml", os.path.join("sub", "d.py")]
    assert sorted(os.path.relpath(path, tmp_path) for path in before) == names
    assert changes(before, before) == []
    (tmp_path / "a.py").write_text("xy")
    (tmp_path / "b.toml").unlink()
    (tmp_path / "new.py").write_text("")
    changed = [os.path.relpath(path, tmp_path) for path in changes(before, snapshot([tmp_path]))]
    assert changed == ["a.py", "b.toml", "new.py"]


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "_POLL", 0.02)
    monkeypatch.setattr(reload, "_PATIENCE", 0.2)


class Child:
    """A program that notes its starts in a file, then does what its script says; ``go.py`` is what it watches."""

    def __init__(self, directory: Path, script: str) -> None:
        self.starts = directory / "starts"
        self.starts.write_text("")
        self.roots = [directory]
        note = f"open({str(self.starts)!r}, 'a').write('x')"
        self.command = [sys.executable, "-c", f"import os, signal, time, sys\n{script}\n".replace("READY", note)]

    async def started(self, times: int) -> None:
        while len(self.starts.read_text()) < times:  # noqa: ASYNC110
            await trio.sleep(0.01)


@pytest.mark.usefixtures("_quick")
async def test_a_child_that_ends_well_ends_it(tmp_path: Path) -> None:
    child = Child(tmp_path, "READY")
    with trio.fail_after(20):
        assert await supervise(child.command, child.roots) == 0
    assert child.starts.read_text() == "x"


@pytest.mark.usefixtures("_quick")
async def test_a_change_starts_a_new_child(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child = Child(tmp_path, "READY\nif not os.path.exists('done.py'): time.sleep(60)")
    code: list[int] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def supervising() -> None:
                code.append(await supervise(child.command, child.roots))

            await child.started(1)
            (tmp_path / "done.py").write_text("")
    assert code == [0]
    assert child.starts.read_text() == "xx"
    assert capsys.readouterr().err == "changed: done.py; starting again\n"


@pytest.mark.usefixtures("_quick")
async def test_a_child_that_fails_waits_for_a_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child = Child(tmp_path, "READY\nsys.exit(0 if os.path.exists('d.py') else 3)")
    code: list[int] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def supervising() -> None:
                code.append(await supervise(child.command, child.roots))

            await child.started(1)
            while "exit code 3" not in (said := capsys.readouterr().err):  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert said == "ended with exit code 3; starting again when a file changes\n"
            for name in "abcd":
                (tmp_path / f"{name}.py").write_text("")
    assert code == [0]


@pytest.mark.usefixtures("_quick")
async def test_a_stubborn_child_is_killed_on_a_change(tmp_path: Path) -> None:
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nREADY\nif not os.path.exists('done.py'): time.sleep(60)"
    child = Child(tmp_path, script)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervise, child.command, child.roots)
            await child.started(1)
            (tmp_path / "done.py").write_text("")
    assert child.starts.read_text() == "xx"


async def supervised(child: Child, *numbers: int, wait: float = 0.0) -> int:
    """Supervise a child, send these signals to ourselves one after the other, and give the exit code."""
    code: list[int] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def supervising() -> None:
                code.append(await supervise(child.command, child.roots))

            await child.started(1)
            await trio.sleep(wait)
            for count, number in enumerate(numbers, 1):
                signal.raise_signal(number)
                if count < len(numbers):
                    await child.started(1 + count)
    return code[0]


@pytest.mark.usefixtures("_quick")
async def test_a_signal_is_handed_on(tmp_path: Path) -> None:
    script = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\nREADY\ntime.sleep(60)"
    assert await supervised(Child(tmp_path, script), signal.SIGINT) == 5
    assert await supervised(Child(tmp_path, "READY\ntime.sleep(60)"), signal.SIGINT) == 128 + signal.SIGTERM


@pytest.mark.usefixtures("_quick")
async def test_a_second_signal_is_handed_on_too(tmp_path: Path) -> None:
    script = """
def first(*_):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(6))
    READY
signal.signal(signal.SIGTERM, first)
READY
while True: time.sleep(1)
"""
    assert await supervised(Child(tmp_path, script), signal.SIGINT, signal.SIGTERM) == 6


@pytest.mark.usefixtures("_quick")
async def test_a_signal_while_it_waits_for_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.echo", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert await supervised(Child(tmp_path, "READY\nsys.exit(3)")) == 128 + signal.SIGINT


async def test_serve_reload_serves_what_the_file_says_now(tmp_path: Path) -> None:
    (tmp_path / "live.py").write_text(APP)
    (tmp_path / "ahtransport.toml").write_text("[servers.websocket.server]\npathname = '/one'\n")
    async with command("serve", "--reload", "live.py", "--host=127.0.0.1", "--port=0", "-v") as live:
        await live.listening()
        assert (await live.get("/one"))[0].startswith("HTTP/1.1 426 ")
        (tmp_path / "ahtransport.toml").write_text("[servers.websocket.server]\npathname = '/other'\n")
        await live.listening()
        assert (await live.get("/other"))[0].startswith("HTTP/1.1 426 ")
        live.process.send_signal(signal.SIGINT)
        assert await live.process.wait() == 0
