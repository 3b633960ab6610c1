"""One server under test, with the generator that loads it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from readings import cpu_seconds, quiet_kb

if TYPE_CHECKING:
    from side_by_side import Contestant

HERE = Path(__file__).resolve().parent


def two_cpus() -> list[int]:
    """Give a CPU for the server and one for the generator, as far apart as can be. Empty: there is but one."""
    cpus = sorted(os.sched_getaffinity(0))
    return [cpus[0], cpus[-1]] if shutil.which("taskset") and len(cpus) > 1 else []


def pinned(which: int) -> list[str]:
    """Give the command prefix that keeps the server (0) or the generator (1) on its CPU."""
    cpus = two_cpus()
    return ["taskset", "-c", str(cpus[which])] if cpus else []


def free_port() -> int:
    """Give a port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Trial:
    """A server and its generator, from their start to their end: a context manager.

    The generator stops at gates, each named by a word, until it is let through: while it stands at one, nothing is
    asked of the server, and others can be measured. After ``longest`` seconds it is ended, whatever happens; before it
    begins the server has ``settle`` seconds for its start.

    Attributes:
        notes: what the generator has complained about.
        kb: resident memory by gate: ``first`` and ``connected``.
        slices: what has been measured: messages, CPU time and seconds of each slice.
        spans: when each slice began and ended, by the monotonic clock.
    """

    def __init__(self, contestant: Contestant, generator: list[str], *, settle: float, longest: float) -> None:
        self.contestant = contestant
        self.notes: list[str] = []
        self.kb: dict[str, int] = {}
        self.slices: list[dict[str, float]] = []
        self.spans: list[tuple[float, float]] = []
        self._generator = generator
        self._settle = settle
        self._longest = longest
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Trial:
        with self._stack:
            self._log = self._stack.enter_context(tempfile.NamedTemporaryFile("w+", prefix="ahtransport-bench-"))
            port = free_port()
            command = [*pinned(0), *shlex.split(self.contestant.command.format(port=port))]
            self._server = subprocess.Popen(
                command, stdout=self._log, stderr=self._log, cwd=HERE, start_new_session=True
            )
            self._stack.callback(self._stop)
            self._wait_for(port)
            time.sleep(self._settle)
            self._load = self._stack.enter_context(
                subprocess.Popen(
                    [*pinned(1), *self._generator, "--port", str(port), "--gated", "1"],
                    text=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
            self._stack.callback(self._load.kill)
            limit = threading.Timer(self._longest, self._load.kill)
            limit.start()
            self._stack.callback(limit.cancel)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def advance(self) -> bool:
        """Measure until the generator waits at the next slice; False: it is done."""
        for line in _pipe(self._load.stderr):
            word, _, count = line.strip().partition(" ")
            if word in ("first", "connected"):
                self.kb[word] = quiet_kb(self._server.pid, 2.0 if self._settle else 0.2)
            elif word == "measuring":
                begun, cpu = time.monotonic(), cpu_seconds(self._server.pid)
            elif word == "measured":
                used, ended = cpu_seconds(self._server.pid) - cpu, time.monotonic()
                self.slices.append({"count": int(count), "cpu": used, "time": ended - begun})
                self.spans.append((begun, ended))
            elif word != "waiting":
                self.notes.append(line.strip())
                continue
            else:
                return True
            self._pass()
        return False

    def go(self) -> bool:
        """Let the generator go on from where :meth:`advance` left it, to the next slice."""
        self._pass()
        return self.advance()

    def _pass(self) -> None:
        _pipe(self._load.stdin).write("\n")
        _pipe(self._load.stdin).flush()

    def report(self) -> dict[str, Any]:
        """Give what the generator reports in the end."""
        found = _pipe(self._load.stdout).read()
        if self._load.wait() or not found:
            why = " ".join(self.notes)[:400] or self._load.returncode
            raise SystemExit(f"the generator failed on {self.contestant.name}: {why}")
        report: dict[str, Any] = json.loads(found)
        return report

    def end(self) -> str:
        """Stop the server, and give what it has written."""
        self._stop()
        return self._written()

    def _written(self) -> str:
        return Path(self._log.name).read_text()

    def _wait_for(self, port: int) -> None:
        """Wait until the server takes connections."""
        for _ in range(300):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            if self._server.poll() is not None:
                raise SystemExit(f"{self._named()} ended at once: {self._written()[-2000:]}")
            time.sleep(0.05)
        raise SystemExit(f"{self._named()} does not listen: {self._written()[-2000:]}")

    def _named(self) -> str:
        return f"{self.contestant.name} ({self.contestant.command})"

    def _stop(self) -> None:
        """End the server and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGTERM)
        try:
            self._server.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()


def _pipe(stream: IO[str] | None) -> IO[str]:
    """Give the pipe of a process that was started with one."""
    assert stream is not None
    return stream
