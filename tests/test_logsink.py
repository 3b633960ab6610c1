"""Where the log goes: JSON lines, and a sink that blocks or is gone (ACCEPTANCE G12, H16)."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from websockets.trio.client import connect

from ahtransport._log import LogFilter, fields, get_logger, losses
from ahtransport._logsink import MAX_BYTES, MAX_ENTRY, MAX_QUEUE, JSONLines, QueuedHandler, Writer, install

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NASTY = '\r\nINJECTED \x1b[31m\x07\x00\u2028\u2029\u202e\u2066\x85\ud800"\\' + "x\n" * 50_000


def record(text: str, *args: object, name: str = "ahtransport", **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.INFO, "file.py", 1, text, args, None)
    made.__dict__.update(extra)
    return made


# --- JSON lines


def test_json_lines_have_what_the_text_says_as_fields() -> None:
    class Someone:
        _log_fields = {"connection": "c1", "remote": "192.0.2.1"}  # noqa: RUF012

    entry = record("closed with %d", 1000, **fields("connection.closed", Someone(), code=1000, duration=1.5))
    entry.created, entry.msecs = 1.25, 250.0
    assert LogFilter().filter(entry)
    assert json.loads(JSONLines().format(entry)) == {
        "time": "1970-01-01T00:00:01.250Z",
        "level": "INFO",
        "logger": "ahtransport",
        "message": "closed with 1000",
        "event": "connection.closed",
        "connection": "c1",
        "remote": "192.0.2.1",
        "code": 1000,
        "duration": 1.5,
    }


def test_g12_json_lines_whatever_is_in_them() -> None:
    """One line of ASCII, at most 512 characters."""
    for number in range(4):
        extra = dict.fromkeys(("reason", "path", "verb", "what")[:number], NASTY)
        entry = record("a peer said %s", NASTY, **fields("test", **extra))
        assert LogFilter().filter(entry)
        line = JSONLines().format(entry)
        assert re.fullmatch(r"[\x20-\x7e]{200,512}", line)
        read = json.loads(line)
        assert read["event"] == "test"
        assert read["message"].endswith("…")
        assert set(read) == {"time", "level", "logger", "message", "event", *extra}


def test_g12_what_text_can_not_shorten_stays_whole() -> None:
    numbers: dict[str, Any] = {f"number_{number}": number for number in range(100)}
    entry = record("short", **numbers)
    assert json.loads(JSONLines().format(entry))["number_99"] == 99


def test_records_of_the_application_keep_their_fields_and_length() -> None:
    line = JSONLines().format(record("x" * 2000, name="app", user={"id": 5}, thing=object, level="no"))
    read = json.loads(line)
    assert (len(read["message"]), read["user"], read["level"]) == (2000, {"id": 5}, "INFO")


def test_a_traceback_is_a_field_of_its_line_and_ends() -> None:
    try:
        raise ValueError("x" * 100_000)
    except ValueError:
        info = sys.exc_info()
    entry = record("failed")
    entry.exc_info = info
    line = JSONLines().format(entry)
    assert "\n" not in line
    read = json.loads(line)
    assert read["exception"].startswith("Traceback (most recent call last):\n")
    assert len(read["exception"]) == MAX_ENTRY


def test_f14_suppressed_records_are_counted_in_a_field() -> None:
    clock, before = 1.0, losses.suppressed
    limiter = LogFilter(per_second=1, now=lambda: clock)
    assert [limiter.filter(record("a")) for _ in range(5)] == [True, False, False, False, False]
    assert losses.suppressed == before + 4
    clock = 2.0
    entry = record("a")
    assert limiter.filter(entry)
    assert json.loads(JSONLines().format(entry))["suppressed"] == 4


# --- the writer


class Pipe:
    """A pipe that is read when a test says so."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.stream = os.fdopen(writer, "w", buffering=1)

    def read_until(self, word: str) -> str:
        text = b""
        while word.encode() not in text:
            more = os.read(self.reader, 65536)
            assert more, text[-200:]
            text += more
        return text.decode()

    def fill(self) -> None:
        """Put into it what it takes before it blocks."""
        os.set_blocking(self.stream.fileno(), False)
        try:
            while True:
                os.write(self.stream.fileno(), b"." * 4096)
        except BlockingIOError:
            os.set_blocking(self.stream.fileno(), True)

    def close(self) -> None:
        self.stream.close()
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def note(dropped: int) -> bytes:
    return b"dropped %d\n" % dropped


def test_lines_are_written_in_order(pipe: Pipe) -> None:
    writer = Writer(pipe.stream, note)
    for number in range(500):
        writer.put(b"%d\n" % number)
    writer.flush()
    assert pipe.read_until("499\n").split() == [str(number) for number in range(500)]
    writer.close()
    before = losses.dropped
    writer.put(b"too late")
    assert losses.dropped == before + 1


@pytest.mark.parametrize("size", [10, 5000])
def test_h16_a_blocked_pipe_stalls_nothing_and_losses_are_told(pipe: Pipe, size: int) -> None:
    pipe.fill()
    writer = Writer(pipe.stream, note)
    before = losses.dropped
    count = 20_000
    for _ in range(count):
        writer.put(b"x" * (size - 1) + b"\n")
    kept = min(MAX_QUEUE, MAX_BYTES // size)
    assert losses.dropped - before == count - kept
    writer.flush(0.01)  # gives up
    text = pipe.read_until(f"dropped {count - kept}\n")
    assert text.strip(".") == ("x" * (size - 1) + "\n") * kept + f"dropped {count - kept}\n"
    writer.put(b"and on it goes\n")
    assert pipe.read_until("goes\n") == "and on it goes\n"
    writer.close()


def test_h16_closing_does_not_wait_for_who_does_not_read(pipe: Pipe) -> None:
    writer = Writer(pipe.stream, note)
    for _ in range(1000):
        writer.put(b"x" * 1000)
    writer.close(0.01)
    assert writer._over
    assert writer._thread.is_alive()  # it is in the middle of a write
    pipe.read_until("x" * 1000)
    while writer._thread.is_alive():
        os.read(pipe.reader, 65536)
        writer._thread.join(0.01)


def test_h16_a_pipe_that_nobody_holds_any_more(pipe: Pipe) -> None:
    writer = Writer(pipe.stream, note)
    os.close(pipe.reader)
    pipe.reader = -1
    before = losses.dropped
    for _ in range(100):
        writer.put(b"x\n")
    writer.flush()
    assert losses.dropped == before + 100
    writer.close()


def test_h16_a_descriptor_that_does_not_block(pipe: Pipe) -> None:
    os.set_blocking(pipe.stream.fileno(), False)
    writer = Writer(pipe.stream, note)
    for number in range(500):
        writer.put(b"%0500d\n" % number)
    assert pipe.read_until("499\n").split() == [f"{number:0500d}" for number in range(500)]
    writer.close()


def test_h16_the_program_closes_its_stderr(pipe: Pipe) -> None:
    """Nothing is written to whatever gets that number next."""
    handler = QueuedHandler(pipe.stream)
    number = pipe.stream.fileno()
    other_reader, other = os.pipe()
    pipe.stream.close()
    os.dup2(other, number)
    handler.emit(record("still here"))
    assert pipe.read_until("here\n").endswith(" INFO ahtransport: still here\n")
    os.set_blocking(other_reader, False)
    with pytest.raises(BlockingIOError):
        os.read(other_reader, 100)
    handler.close()
    for one in (number, other, other_reader):
        os.close(one)


def test_a_stream_without_a_descriptor_and_none_at_all() -> None:
    stream = io.StringIO()
    handler = QueuedHandler(stream, "json")
    handler.emit(record("one"))
    handler.say("a word", "server.stopping", signal="SIGTERM")
    handler.use("text")
    handler.say("another", "server.stopping")
    handler.flush()
    first, second, third = stream.getvalue().splitlines()
    assert json.loads(first)["message"] == "one"
    word = json.loads(second)
    assert word.pop("time")
    assert word == {
        "level": "INFO",
        "logger": "ahtransport",
        "message": "a word",
        "event": "server.stopping",
        "signal": "SIGTERM",
    }
    assert third == "another"
    before = losses.dropped
    stream.close()
    handler.emit(record("two"))
    handler.flush()
    handler.close()
    nowhere = QueuedHandler(None)
    nowhere.emit(record("three"))
    nowhere.emit(record("%d", "no number"))  # nor does a mistake of who logs go anywhere
    nowhere.close()
    assert losses.dropped == before + 3


def test_who_has_set_up_logging_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    assert root.handlers  # pytest's
    assert install(logging.INFO) is None
    level = root.level
    monkeypatch.setattr(root, "handlers", [])
    handler = install(logging.WARNING, "json")
    assert handler is not None
    assert root.handlers == [handler]
    handler.uninstall()
    root.setLevel(level)
    assert not root.handlers
    assert not [thread for thread in threading.enumerate() if thread.name == "ahtransport-log" and not thread.daemon]


# --- a whole program

APP = """
import logging
from ahtransport import Server

server = Server(port=0, log_format="json", shutdown_grace=2000)
log = logging.getLogger("app")

@server.on_message
def answer(connection, message):
    for _ in range(int(message)):
        log.error("x" * 1000)
    connection.send_nowait(message)

@server.on_open
def opened(connection):
    print(connection.headers["host"], flush=True)

if __name__ == "__main__":
    print("ready", flush=True)
    server.run()
"""


class Program:
    """A server in a process of its own whose stderr is a pipe."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.url = ""

    async def echo(self, message: int) -> None:
        """See whether it answers, within a second or so whatever it has to log."""
        with trio.fail_after(10):
            async with connect(self.url, proxy=None) as socket:
                await socket.send(str(message))
                assert await socket.recv() == str(message)

    async def log(self, until: str) -> str:
        """Read its stderr until a word comes."""
        assert self.process.stderr is not None
        text = b""
        with trio.fail_after(10):
            while until.encode() not in text:
                more = await self.process.stderr.receive_some(65536)
                assert more, text[-500:]
                text += more
        return text.decode()

    async def close_stderr(self) -> None:
        assert self.process.stderr is not None
        await self.process.stderr.aclose()

    async def end(self) -> None:
        self.process.terminate()
        with trio.fail_after(10):
            assert await self.process.wait() == 0


@asynccontextmanager
async def program(tmp_path: Path, kind: str) -> AsyncIterator[Program]:
    """Start it on a port that was free just now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "app.py").write_text(APP.replace("port=0", f"port={port}"))
    arguments = ["app.py"] if kind == "run" else ["-m", "ahtransport", "serve", "app.py", "-v"]
    process = await trio.lowlevel.open_process([sys.executable, *arguments], stdout=-1, stderr=-1, cwd=tmp_path)
    made = Program(process)
    made.url = f"ws://127.0.0.1:{port}/primus"
    try:
        with trio.fail_after(30):
            while True:
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.05)
        yield made
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    await stream.aclose()


@pytest.mark.parametrize("kind", ["run", "serve"])
async def test_h16_a_log_that_nobody_reads(tmp_path: Path, kind: str) -> None:
    async with program(tmp_path, kind) as live:
        await live.echo(3000)  # three megabytes into a pipe that takes 64 KB
        await live.echo(0)
        lines = (await live.log("log.dropped")).splitlines()
        entries = [json.loads(line) for line in lines[:-1]]
        assert {entry["logger"] for entry in entries} <= {"app", "ahtransport", "ahtransport.access"}
        assert sum(entry["logger"] == "app" for entry in entries) < 3000
        closed = [entry for entry in entries if entry.get("event") == "connection.closed"]
        assert all(entry["code"] == 1000 and entry["transformer"] == "websockets" for entry in closed)
        await live.echo(3000)
        await live.end()  # with the pipe full once more


@pytest.mark.parametrize("kind", ["run", "serve"])
async def test_h16_a_log_that_has_gone(tmp_path: Path, kind: str) -> None:
    async with program(tmp_path, kind) as live:
        await live.close_stderr()
        await live.echo(100)
        await live.echo(100)
        await live.end()


# --- access lines


async def test_g12_connections_come_and_go_in_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    from ahtransport import Server
    from hostile.support import under_attack
    from hostile.wire import frame

    caplog.set_level(logging.DEBUG, "ahtransport.access")
    async with under_attack() as target:
        assert isinstance(target.server, Server)
        caplog.clear()
        ws = await target.websocket()
        await ws.send(frame(8, b"\x0f\xa0" + NASTY.replace("\ud800", "").encode()[:100]))
        await ws.closing()
        await target.wait_for(lambda: len(caplog.records) == 2)
        opened, closed = (record.__dict__ for record in caplog.records)
        assert (opened["event"], opened["levelname"]) == ("connection.opened", "DEBUG")
        assert (closed["event"], closed["levelname"]) == ("connection.closed", "INFO")
        assert opened["connection"] == closed["connection"]
        assert (closed["remote"], closed["transformer"], closed["code"]) == ("127.0.0.1", "websockets", 4000)
        assert closed["transport"] == "websocket"
        assert closed["duration"] >= 0
        for text in (closed["reason"], caplog.messages[1]):
            assert re.fullmatch(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]{1,512}", text), text
        assert caplog.messages[1].startswith(f"connection {closed['connection']} from 127.0.0.1 by websockets closed")


def test_access_lines_have_a_logger_of_their_own() -> None:
    assert any(isinstance(one, LogFilter) for one in get_logger("ahtransport.access").filters)
