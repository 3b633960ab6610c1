#!/usr/bin/env python3
"""Measure several servers side by side, in turns, with the same load generator.

The server under test runs on one CPU, the generator on another. A row gives

- per_s      messages (or long-polling round trips) per second, wall clock
- per_cpu_s  messages per second of CPU time that the server used: the figure to compare when the machine is shared
- p50, p99   milliseconds
- kb_per_conn, connect_per_s   (idle) growth of the server's resident memory per connection, and how fast they came in

Every server obeys one convention: a text message that starts with B is sent to every connection, any other is echoed.

    python side_by_side.py --scenario ws-echo-1 \\
        --server 'ours=python app.py {port}' --server 'primus=node peers/primus_server.js {port} websockets'

The others are compared with the first server named. Needs Linux (/proc), gcc, and two CPUs to mean much.
"""

from __future__ import annotations

import argparse
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
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("BENCH_BUILD", Path(tempfile.gettempdir()) / "ahtransport-bench"))
TICK = os.sysconf("SC_CLK_TCK")

ECHO_TEXT = '"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"'  # 32 bytes of JSON
FAN_TEXT = '"Bxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"'
SIO_ECHO, SIO_FAN = '42["message","xxxxxxxxxxxxxxxxxxxxxxxxx"]', '42["message","Bxxxxxxxxxxxxxxxxxxxxxxxx"]'
# How to reach the message layer of each family over a WebSocket, and what to send there.
REACH = {
    "ws": ["--path", "{path}"],
    "eio": ["--path", "{path}?EIO=4&transport=websocket", "--ready", "0{"],
    "sio": ["--path", "{path}?EIO=4&transport=websocket", "--hello", "40", "--ready", "40{"],
}
PATHS = {"ws": "/primus", "eio": "/primus/", "sio": "/socket.io/"}
ECHO = {
    "ws": ["--msg", ECHO_TEXT],
    "eio": ["--msg", "4" + ECHO_TEXT, "--expect", '4"'],
    "sio": ["--msg", SIO_ECHO, "--expect", "42["],
}
FAN = {
    "ws": ["--msg", FAN_TEXT],
    "eio": ["--msg", "4" + FAN_TEXT, "--expect", '4"'],
    "sio": ["--msg", SIO_FAN, "--expect", "42["],
}


@dataclass(frozen=True)
class Scenario:
    """One kind of load: the generator that makes it, and its arguments."""

    generator: str
    arguments: list[str]
    idle: bool = False


def _scenarios() -> dict[str, Scenario]:
    table: dict[str, Scenario] = {}
    for family in REACH:
        for name, conns, window in (("echo-1", 50, 1), ("echo-8", 50, 8), ("echo-1000", 1000, 1)):
            load = ["--mode", "echo", "--conns", str(conns), "--window", str(window)]
            table[f"{family}-{name}"] = Scenario("wsload", REACH[family] + ECHO[family] + load)
        load = ["--mode", "fanout", "--conns", "1000", "--window", "1"]
        table[f"{family}-fanout"] = Scenario("wsload", REACH[family] + FAN[family] + load)
        table[f"{family}-idle"] = Scenario("wsload", [*REACH[family], "--mode", "idle", "--conns", "5000"], idle=True)
    poll = ["--path", "{path}", "--conns", "50"]
    table["eio-poll"] = Scenario("polload", [*poll, *ECHO["eio"]])
    table["sio-poll"] = Scenario("polload", [*poll, "--hello", "40", *ECHO["sio"]])
    return table


SCENARIOS = _scenarios()


@dataclass(frozen=True)
class Contestant:
    """A server to measure. ``command`` has {port} in it; ``path`` replaces the family's usual one."""

    name: str
    command: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Contestant:
        """Read ``name=command`` or ``name@/path=command``."""
        name, sign, command = text.partition("=")
        if not sign or "{port}" not in command:
            raise argparse.ArgumentTypeError(f"expected NAME=COMMAND with {{port}} in it, not {text!r}")
        name, _, path = name.partition("@")
        return cls(name, command, path)


def build(name: str) -> str:
    """Compile one of the C programs beside this file, unless that is done, and give its path."""
    if shutil.which("gcc") is None:
        raise SystemExit("the load generator is C: install gcc (such as: apt-get install gcc libc6-dev)")
    source, program = HERE / f"{name}.c", BUILD / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-O2", "-o", program, source], check=True)
    return str(program)


def pinned(cpu: int) -> list[str]:
    """Give the command prefix that keeps a process on one CPU; nothing where that is not possible."""
    if shutil.which("taskset") is None or cpu not in os.sched_getaffinity(0):
        return []
    return ["taskset", "-c", str(cpu)]


def tree(pid: int) -> list[int]:
    """Give a process and all that it started."""
    pids = [pid]
    for each in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def cpu_seconds(pid: int) -> float:
    """Give the CPU time that a process and its children have used."""
    ticks = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def resident_kb(pid: int) -> int:
    """Give the resident memory of a process and its children."""
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    total += int(line.split()[1])
    return total


def free_port() -> int:
    """Give a port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, server: subprocess.Popen[bytes], contestant: Contestant, log: Path) -> None:
    """Wait until the server takes connections."""
    for _ in range(150):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        if server.poll() is not None:
            raise SystemExit(f"{contestant.name} ended at once: {contestant.command}\n{log.read_text()[-2000:]}")
        time.sleep(0.1)
    raise SystemExit(f"{contestant.name} does not listen: {contestant.command}\n{log.read_text()[-2000:]}")


def lines(stream: IO[str] | None) -> IO[str]:
    """Give the pipe of a process that was started with one."""
    assert stream is not None
    return stream


def measure(contestant: Contestant, name: str, seconds: float) -> dict[str, Any]:
    """Start the server, load it once, stop it."""
    scenario = SCENARIOS[name]
    program = build(scenario.generator)
    path = contestant.path or PATHS[name.partition("-")[0]]
    port = free_port()
    BUILD.mkdir(parents=True, exist_ok=True)
    log = BUILD / "server.log"
    with log.open("wb") as output:
        command = [*pinned(0), *shlex.split(contestant.command.format(port=port))]
        server = subprocess.Popen(command, stdout=output, stderr=output, cwd=HERE, start_new_session=True)
    try:
        wait_for(port, server, contestant, log)
        time.sleep(0.7)  # let it finish starting up
        before = resident_kb(server.pid)
        arguments = [argument.replace("{path}", path) for argument in scenario.arguments]
        command = [*pinned(1), program, "--port", str(port), "--secs", str(seconds), *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as generator:
            try:
                if scenario.idle:
                    return idle(generator, server.pid, before)
                return busy(generator, server.pid, contestant)
            finally:
                generator.kill()
    finally:
        stop(server)


def idle(generator: subprocess.Popen[str], pid: int, before: int) -> dict[str, Any]:
    """Read the generator's report that all are connected, and weigh the server."""
    report = lines(generator.stdout).readline()
    if not report:
        raise SystemExit(f"the generator failed: {lines(generator.stderr).read()[:400]}")
    row: dict[str, Any] = json.loads(report)
    time.sleep(1)
    row["kb_per_conn"] = round((resident_kb(pid) - before) / max(row["conns"], 1), 2)
    return row


def busy(generator: subprocess.Popen[str], pid: int, contestant: Contestant) -> dict[str, Any]:
    """Watch the generator to its end, and note the server's CPU time at both ends of its measurement."""
    begin = end = 0.0
    errors: list[str] = []
    for line in lines(generator.stderr):
        if line.startswith("measuring"):
            begin = cpu_seconds(pid)
        elif line.startswith("measured"):
            end = cpu_seconds(pid)
        else:
            errors.append(line)
    report = lines(generator.stdout).read()
    if generator.wait() or not report:
        raise SystemExit(f"the generator failed on {contestant.name}: {''.join(errors)[:400]}")
    row: dict[str, Any] = json.loads(report)
    row["per_cpu_s"] = round(row["count"] / max(end - begin, 0.01))
    return row


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def compare(contestants: list[Contestant], name: str, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Measure all of them in turns; a row each, with medians and what the first one's are times this one's."""
    rows: dict[str, list[dict[str, Any]]] = {each.name: [] for each in contestants}
    for _ in range(rounds):
        for each in contestants:
            rows[each.name].append(measure(each, name, seconds))
    keys = ["kb_per_conn", "connect_per_s"] if SCENARIOS[name].idle else ["per_s", "per_cpu_s", "p50_ms", "p99_ms"]
    first = rows[contestants[0].name]
    result = []
    for each in contestants:
        own = rows[each.name]
        row: dict[str, Any] = {"scenario": name, "server": each.name}
        row |= {key: statistics.median(one[key] for one in own) for key in keys}
        for key in keys[:2]:
            ratios = [ours[key] / max(theirs[key], 1e-9) for ours, theirs in zip(first, own, strict=True)]
            row[f"ratio_{key}"] = round(statistics.median(ratios), 3)
        row["lost"] = sum(one.get("dead", 0) + one.get("errors", 0) for one in own)
        result.append(row)
    return result


def show(table: list[dict[str, Any]], rounds: int) -> None:
    """Print one scenario's rows."""
    print(f"\n{table[0]['scenario']}: median of {rounds}; xN is {table[0]['server']} divided by that server")
    for row in table:
        figures = {key: value for key, value in row.items() if key not in ("scenario", "server", "lost")}
        values = [f"{key}={value:<9g}" for key, value in figures.items() if not key.startswith("ratio_")]
        ratios = [
            f"x{value:.2f} {key.removeprefix('ratio_')}" for key, value in figures.items() if key.startswith("ratio_")
        ]
        lost = f"  LOST {row['lost']} connections" if row["lost"] else ""
        print(f"  {row['server']:24s} {'  '.join(values)}  {'  '.join(ratios)}{lost}")
    sys.stdout.flush()


def main() -> None:
    """Read the command line, measure, print, and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", action="append", required=True, choices=SCENARIOS, metavar="|".join(SCENARIOS))
    parser.add_argument(
        "--server",
        action="append",
        required=True,
        type=Contestant.parse,
        help="NAME=COMMAND with {port}, run in this file's directory; NAME@/path=COMMAND sets the path",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=3, help="how long each measurement takes")
    parser.add_argument("--json", type=Path, help="also write every row to this file")
    options = parser.parse_args()
    everything = []
    for scenario in options.scenario:
        table = compare(options.server, scenario, options.rounds, options.secs)
        show(table, options.rounds)
        everything += table
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
