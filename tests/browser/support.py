"""What the browser tests work with: a server in a process of its own, tabs, and the ways to carry messages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from playwright.sync_api import Page

HERE = Path(__file__).resolve().parent
SCREENSHOTS = Path(os.environ.get("AHTRANSPORT_SCREENSHOTS") or HERE.parents[1] / ".nox" / "screenshots")
PATIENCE = 20.0  # s that anything may take on a slow machine


@dataclass(frozen=True)
class Mode:
    """One way for a client to reach a server.

    Attributes:
        name: for the tests' ids.
        transformer: the server's.
        transport: what carries the messages once it has settled.
        options: the client's.
    """

    name: str
    transformer: str
    transport: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


MODES = (
    Mode("websockets", "websockets", "websocket"),
    Mode("engine.io", "engine.io", "websocket"),
    Mode("socket.io", "socket.io", "websocket"),
    Mode("engine.io-polling", "engine.io", "polling", {"websockets": False}),
    Mode("socket.io-polling", "socket.io", "polling", {"websockets": False}),
)
SOON = {"reconnect": {"min": 50, "max": 400, "retries": 200}}
"""Options for clients whose server comes back, so that nobody waits long for them."""


class Host:
    """``app.py``, which starts the servers."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def begin(self, options: dict[str, Any]) -> tuple[int, int]:
        """Start a server; give its process id and its port when it listens."""
        if self._process is None:
            command = [sys.executable, str(HERE / "app.py")]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(options) + "\n")
        self._process.stdin.flush()
        pid, port = map(int, self._process.stdout.readline().split())  # "failed" when it did, and stderr says why
        return pid, port

    def stop(self) -> None:
        """End it, and all that it started."""
        if self._process is not None:
            process, self._process = self._process, None
            process.communicate(timeout=PATIENCE)


HOST = Host()


class Site:
    """A server of ``app.py`` in a process of its own; started again, it listens on the same port.

    Attributes:
        options: the server's; they count from the next start on.
        port: where it listens.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.port = 0
        self._pid: int | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        assert self._pid is None
        self._pid, self.port = HOST.begin({"shutdown_grace": 500, **self.options, "port": self.port})

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._pid is not None
        os.kill(self._pid, number)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it, the hard way unless another signal is given, and wait until it is gone."""
        if self._pid is None:
            return
        self.send(number)
        deadline = time.monotonic() + PATIENCE
        try:
            while True:
                os.kill(self._pid, 0)
                if time.monotonic() > deadline:
                    os.kill(self._pid, signal.SIGKILL)
                    raise AssertionError("the server does not end")
                time.sleep(0.01)
        except ProcessLookupError:
            self._pid = None


class Served(Protocol):
    """Something with an address."""

    @property
    def url(self) -> str: ...


class Tab:
    """A page with a client in it, see ``pages/bench.js``.

    Attributes:
        page: Playwright's.
        errors: what nobody caught, and what the page wrote to the console as an error.
    """

    def __init__(self, page: Page, site: Served) -> None:
        self.page = page
        self.site = site
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def goto(self, path: str) -> Tab:
        """Open a page of the site."""
        self.page.goto(self.site.url + path)
        return self

    def run(self, script: str, argument: Any = None) -> Any:
        """Run a JavaScript function with one argument; give what it returns, or what its promise brings."""
        return self.page.evaluate(script, argument)

    def until(self, script: str, argument: Any = None, patience: float = PATIENCE) -> Any:
        """Ask again and again until the answer is true; give it."""
        deadline = time.monotonic() + patience
        while True:
            found = self.run(script, argument)
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"in vain: {script}; events: {self.run('() => window.bench && bench.events')}")
            self.page.wait_for_timeout(30)

    def sees(self, selector: str, text: str, patience: float = PATIENCE) -> None:
        """Wait until an element shows this text (somewhere in it)."""
        self.page.locator(selector, has_text=text).first.wait_for(timeout=patience * 1000)

    def sees_member(self, name: str) -> None:
        """Wait until the chat knows that somebody is here, whether or not it shows who."""
        self.until("(name) => document.getElementById('members').textContent.includes(name)", name)

    # With bench.js

    def connect(self, mode: Mode, **options: Any) -> Any:
        """Make a client and connect it; give its details."""
        return self.run("(options) => bench.connect(options)", {**mode.options, **options})

    def events(self, *names: str) -> list[Any]:
        """Give the client's events so far, those of these names."""
        found: list[Any] = self.run("() => bench.events")
        return [event for event in found if not names or event[0] in names]

    def wait_for(self, name: str, count: int = 1) -> list[Any]:
        """Wait for so many events of this name; give the last."""
        found: list[Any] = self.until(
            "([name, count]) => { const all = bench.events.filter((one) => one[0] === name); "
            "return all.length >= count && all[all.length - 1] }",
            [name, count],
        )
        return found

    def settled(self, mode: Mode) -> None:
        """Wait until it is on the transport that it stays on."""
        self.until("(transport) => bench.client.transport === transport", mode.transport)
