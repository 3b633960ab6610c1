"""Measure several servers side by side, in turns, with the same load generator.

The server under test runs on one CPU, the generator on another. Every server is started anew for each measurement, and
obeys one convention: a text message that starts with B is sent to every connection, any other is echoed. Needs Linux
(/proc), gcc, and two CPUs to mean much.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios import Scenario

HERE = Path(__file__).resolve().parent
# One for every copy of this directory: their programs may differ.
_NAME = f"ahtransport-bench-{os.getuid()}-{zlib.crc32(bytes(HERE)):08x}"
BUILD = Path(os.environ.get("BENCH_BUILD", Path(tempfile.gettempdir()) / _NAME))
#: What must not happen: connections lost, messages lost, doubled, out of order, or not what was sent.
TROUBLES = ("dead", "lost", "doubled", "reordered", "wrong", "silent")
_LONGEST = 300  # seconds that one measurement may take, whatever happens


@dataclass(frozen=True)
class Contestant:
    """A server to measure. ``command`` has {port} in it, and is run in this file's directory."""

    name: str
    command: str
    conns: int | None = None  # another number of connections than the scenario's

    @property
    def ours(self) -> bool:
        """Whether it is ahtransport."""
        return self.name.startswith("ahtransport")


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 3
    seconds: float = 3.0
    warm: float = 1.0
    settle: float = 0.7  # seconds that a server has to finish starting up
    share: int = 1  # of the connections: one in so many


def build(name: str) -> str:
    """Compile one of the C programs beside this file, unless that is done, and give its path."""
    if shutil.which("gcc") is None:
        raise SystemExit("the load generator is C: install gcc (such as: apt-get install gcc libc6-dev)")
    program = BUILD / name
    newest = max((HERE / source).stat().st_mtime for source in (f"{name}.c", "load.h"))
    if not program.exists() or program.stat().st_mtime < newest:
        BUILD.mkdir(parents=True, exist_ok=True)
        print(f"compiling {name}.c", flush=True)
        subprocess.run(["gcc", "-O2", "-o", f"{program}.new", HERE / f"{name}.c"], check=True)
        os.replace(f"{program}.new", program)
    return str(program)


def two_cpus() -> list[int]:
    """Give a CPU for the server and one for the generator, as far apart as can be. Empty: there is but one."""
    cpus = sorted(os.sched_getaffinity(0))
    return [cpus[0], cpus[-1]] if shutil.which("taskset") and len(cpus) > 1 else []


def pinned(which: int) -> list[str]:
    """Give the command prefix that keeps the server (0) or the generator (1) on its CPU."""
    cpus = two_cpus()
    return ["taskset", "-c", str(cpus[which])] if cpus else []


def tree(pid: int) -> list[int]:
    """Give a process and all that it started."""
    pids = [pid]
    for each in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def cpu_seconds(pid: int) -> float:
    """Give the CPU time that a process and its children have used, all threads, user and kernel."""
    total = 0.0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            total += time.clock_gettime((~each << 3) | 2)  # the clock that clock_getcpuclockid(3) gives
    return total


def resident_kb(pid: int) -> int:
    """Give the resident memory of a process and its children."""
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    total += int(line.split()[1])
    return total


def quiet_kb(pid: int, shortest: float) -> int:
    """Give the resident memory once it has not changed for a while: after what a garbage collector does when idle."""
    best, since, begun = resident_kb(pid), time.monotonic(), time.monotonic()
    while time.monotonic() - since < shortest and time.monotonic() - begun < 6 * shortest:
        time.sleep(0.1)
        if (size := resident_kb(pid)) != best:
            best, since = size, time.monotonic()
    return best


def free_port() -> int:
    """Give a port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, server: subprocess.Popen[bytes], contestant: Contestant, log: Path) -> None:
    """Wait until the server takes connections."""
    for _ in range(300):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        if server.poll() is not None:
            raise SystemExit(f"{contestant.name} ended at once: {contestant.command}\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
    raise SystemExit(f"{contestant.name} does not listen: {contestant.command}\n{log.read_text()[-2000:]}")


def pipe(stream: IO[str] | None) -> IO[str]:
    """Give the pipe of a process that was started with one."""
    assert stream is not None
    return stream


def measure(contestant: Contestant, scenario: Scenario, effort: Effort) -> dict[str, Any]:
    """Start the server, load it once, stop it; gives what the generator reports, and what the server has used."""
    program = build(scenario.generator)
    port = free_port()
    BUILD.mkdir(parents=True, exist_ok=True)
    log = BUILD / f"server-{os.getpid()}.log"
    with log.open("wb") as output:
        command = [*pinned(0), *shlex.split(contestant.command.format(port=port))]
        server = subprocess.Popen(command, stdout=output, stderr=output, cwd=HERE, start_new_session=True)
    try:
        wait_for(port, server, contestant, log)
        time.sleep(effort.settle)
        conns = max((contestant.conns or scenario.conns) // effort.share, min(scenario.conns, 50))
        times = ["--secs", str(effort.seconds), "--warm", str(effort.warm), "--gated", "1"]
        row, moments = drive(
            [*pinned(1), program, "--port", str(port), *scenario.generator_arguments(conns), *times],
            server.pid,
            contestant,
            2.0 if effort.settle else 0.2,
        )
    finally:
        stop(server)
    if scenario.kind == "idle":
        del row["p50_ms"], row["p99_ms"]
        grown = moments["connected"]["kb"] - moments["first"]["kb"]
        row["kb_per_conn"] = round(grown / (conns - conns // 11), 2)
    else:
        used = moments["measured"]["cpu"] - moments["measuring"]["cpu"]
        row["cpu_share"] = round(used / (moments["measured"]["time"] - moments["measuring"]["time"]), 3)
        row["per_cpu_s"] = round(row["count"] / max(used, 1e-6))
        row["us_each"] = round(1e6 * used / max(row["count"], 1), 3)
    if scenario.kind == "ticker":
        row |= lateness(log, moments["measuring"]["time"], moments["measured"]["time"])
    row["silent"] = int(row["count"] == 0)
    if contestant.ours and (said := unexpected(log)):
        row["wrong"] += 1
        row["notes"] += said
    log.unlink()
    return row


def drive(
    command: list[str], pid: int, contestant: Contestant, quiet: float
) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Run the generator; at each of its gates it waits until the server's clock or memory is read."""
    moments: dict[str, dict[str, float]] = {}
    notes: list[str] = []
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as generator:
        limit = threading.Timer(_LONGEST, generator.kill)
        limit.start()
        try:
            for line in pipe(generator.stderr):
                word = line.strip()
                if word in ("first", "connected"):
                    moments[word] = {"kb": quiet_kb(pid, quiet)}
                elif word in ("measuring", "measured"):
                    moments[word] = {"cpu": cpu_seconds(pid), "time": time.monotonic()}
                else:
                    notes.append(word)
                    continue
                pipe(generator.stdin).write("\n")
                pipe(generator.stdin).flush()
            report = pipe(generator.stdout).read()
        finally:
            limit.cancel()
            generator.kill()
    if generator.returncode or not report:
        raise SystemExit(f"the generator failed on {contestant.name}: {' '.join(notes)[:400] or generator.returncode}")
    return {**json.loads(report), "notes": notes}, moments


def lateness(log: Path, begin: float, end: float) -> dict[str, float]:
    """Give how late the ticks of app.py were between two moments."""
    ticks = json.loads(log.read_text().splitlines()[-1])["ticks"]
    late = sorted(1000 * by for at, by in ticks if begin <= at <= end)
    if not late:
        raise SystemExit("the ticker did not tick at all")
    return {
        "late_p50_ms": round(late[len(late) // 2], 2),
        "late_p99_ms": round(late[int(len(late) * 0.99)], 2),
        "late_max_ms": round(late[-1], 2),
        "ticks": len(late),
    }


def unexpected(log: Path) -> list[str]:
    """Give the beginning of what ours has logged, if any of it is a warning or worse."""
    return [line for line in log.read_text().splitlines() if " ERROR " in line or line.startswith("Traceback")][:3]


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def compare(contestants: list[Contestant], scenario: Scenario, effort: Effort) -> list[dict[str, Any]]:
    """Measure all of them in turns; a row each, of medians, with the rounds in it."""
    rounds: dict[str, list[dict[str, Any]]] = {each.name: [] for each in contestants}
    for number in range(effort.rounds):
        for each in contestants:
            progress(f"{scenario.name}, round {number + 1} of {effort.rounds}: {each.name}")
            rounds[each.name].append(measure(each, scenario, effort))
    progress("")
    return [summary(each, scenario, rounds[each.name]) for each in contestants]


def progress(text: str) -> None:
    """Say what is going on, on a line that the next word replaces; nothing where nobody watches."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="", flush=True)


def summary(contestant: Contestant, scenario: Scenario, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Make one row of several rounds: medians of figures, sums of troubles."""
    row: dict[str, Any] = {"scenario": scenario.name, "server": contestant.name, "conns": rounds[0]["conns"]}
    for key in ("per_cpu_s", "per_s", "p50_ms", "p99_ms", "kb_per_conn", "us_each", "cpu_share",
                "late_p50_ms", "late_p99_ms", "late_max_ms"):  # fmt: skip
        if key in rounds[0]:
            row[key] = statistics.median(one[key] for one in rounds)
    row["troubles"] = {key: total for key in TROUBLES if (total := sum(one[key] for one in rounds))}
    row["notes"] = [note for one in rounds for note in one["notes"]][:3]
    row["rounds"] = [{key: one[key] for key in row if key in one and key not in ("notes", "conns")} for one in rounds]
    return row
