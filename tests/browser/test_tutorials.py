"""The documentation's tutorials, followed to the letter: their files in an empty directory, and two windows."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from .support import PATIENCE, Tab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    OpenTab = Callable[..., Tab]

pytestmark = pytest.mark.browser

DOCS = Path(__file__).resolve().parents[2] / "docs"
# "Put this into `app.py`:" and the block that follows.
FILE = re.compile(r"this into `([\w./]+)`:\n\n(?:<!--[^\n]*-->\n)?```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGE = re.compile(r"Make `(public/index\.html)`:\n\n```html\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files_of(page: str) -> list[str]:
    """Write the files of a tutorial into the working directory."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = [*FILE.findall(text), *PAGE.findall(text)]
    for name, content in found:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(content, encoding="utf-8")
    return sorted(name for name, _ in found)


class Serving:
    """``ahtransport serve FILE``, on a port that was free a moment ago."""

    def __init__(self, file: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.file = file
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "ahtransport", "serve", self.file, "--port", str(self.port), *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                urlopen(self.url, timeout=PATIENCE).close()
                return
            except URLError:
                assert self._process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(PATIENCE)
            finally:
                self._process.kill()
                self._process.wait()
            self._process = None


@contextmanager
def serving(file: str) -> Iterator[Serving]:
    server = Serving(file)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def say(tab: Tab, text: str) -> None:
    tab.page.fill("input", text)
    tab.page.press("input", "Enter")


def test_from_an_empty_directory_to_a_chat(tab: OpenTab) -> None:
    assert files_of("chat-tutorial.md") == ["app.py", "public/chat.js", "public/index.html"]
    with serving("app.py") as server:
        one, two = tab(server, "/"), tab(server, "/")
        for page in (one, two):
            page.sees("#state", "connected by websocket")
        say(one, "<b>milk?</b>")
        one.sees("#said li", "you: <b>milk?</b>")
        two.sees("#said li", ": <b>milk?</b>")
        later = tab(server, "/")
        later.sees("#said li", ": <b>milk?</b>")
        later.page.close()
        for end in ("js", "min.js", "mjs", "d.ts"):
            assert Path(f"public/javascript/ActionheroWebsocketClient.{end}").stat().st_size > 0

        server.stop()
        for page in (one, two):
            page.sees("#state", "no connection, attempt")
        say(two, "said to nobody")
        server.start("--transformer", "websockets")
        for page in (one, two):
            page.sees("#state", "connected by websocket")
            page.sees("#said li", "said to nobody")
        assert one.page.locator("#said li").all_inner_texts()[-1].endswith(": said to nobody")

        server.stop()
        server.start("--transformer", "engine.io")
        one.goto("/")
        one.sees("#state", "connected by websocket")
        assert one.run("() => client.primus.transformer") == "engine.io"


def test_the_first_minutes(tab: OpenTab) -> None:
    assert files_of("tutorial.md") == ["echo.py", "public/index.html"]
    with serving("echo.py") as server:
        page = tab(server, "/")
        page.sees("li", "connected")
        say(page, "hello")
        page.sees("li", "hello")
        server.stop()
        page.sees("li", "the connection is gone")


def test_the_chat_on_a_server_without_the_demos_actions(tab: OpenTab) -> None:
    with serving(str(DOCS.parent / "examples" / "actionhero.py") + ":server") as server:
        one, two = tab(server, "/chat.html"), tab(server, "/chat.html")
        for page in (one, two):
            page.sees("#status-text", "websockets · websocket")
            page.until("() => document.getElementById('count').textContent !== '0'")
        one.page.fill("#text", "hello")
        one.page.press("#text", "Enter")
        one.sees("#messages .own .bubble", "hello")
        two.sees("#messages .bubble", "hello")
        assert one.page.locator("#outbox li").count() == 0
        one.goto("/")
        one.page.click("text=A chat")
        one.sees("#status-text", "websockets · websocket")
    assert not (DOCS.parent / "examples" / "public" / "javascript").exists()


def test_a_project_to_start_from(tab: OpenTab) -> None:
    subprocess.run([sys.executable, "-m", "ahtransport", "init", "."], check=True, stdout=subprocess.DEVNULL)
    with serving("app.py") as server:
        page = tab(server, "/")
        page.sees("#log li", "joined defaultRoom")
        page.sees("#log li", "Welcome to the")
        assert page.page.locator("#state").inner_text() == "connected"
        page.page.fill("#greet input", "<b>Ada</b>")
        page.page.press("#greet input", "Enter")
        page.sees("#log li", "Hello, <b>Ada</b>!")
        page.page.fill("#say input", "hello")
        page.page.press("#say input", "Enter")
        page.sees("#log li", "in defaultRoom: hello")
