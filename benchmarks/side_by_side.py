"""Measure several servers side by side, in turns, with the same load generator.

The server under test runs on one CPU, the generator on another. Every server obeys one convention: a text message that
starts with B is sent to every connection, any other is echoed. Needs Linux (/proc), gcc, and two CPUs to mean much.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trial import Trial

if TYPE_CHECKING:
    from scenarios import Scenario

HERE = Path(__file__).resolve().parent
# One for every copy of this directory: their programs may differ.
_NAME = f"ahtransport-bench-{os.getuid()}-{zlib.crc32(bytes(HERE)):08x}"
BUILD = Path(os.environ.get("BENCH_BUILD", Path(tempfile.gettempdir()) / _NAME))
#: What must not happen: connections lost, messages lost, doubled, out of order, or not what was sent.
TROUBLES = ("dead", "lost", "doubled", "reordered", "wrong", "silent")


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
    """How much is measured. In each round the servers are started anew, and take turns, a slice each."""

    rounds: int = 3
    seconds: float = 3.0  # of each server in a round
    warm: float = 1.0
    settle: float = 0.7  # seconds that a server has to finish starting up
    share: int = 1  # of the connections, and of what a scenario lasts at least: one in so many
    least: int = 5  # slices

    @property
    def slices(self) -> int:
        """In how many slices each server is measured in a round: while one has its turn, the others answer no pings."""
        return max(self.least, ceil(self.seconds / 0.6))


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


def compare(contestants: list[Contestant], scenario: Scenario, effort: Effort) -> list[dict[str, Any]]:
    """Measure all of them in turns; a row each, of medians, with the rounds in it."""
    rounds: dict[str, list[dict[str, Any]]] = {each.name: [] for each in contestants}
    for number in range(effort.rounds):
        progress(f"{scenario.name}, round {number + 1} of {effort.rounds}")
        if scenario.sliced:
            found = in_slices(contestants, scenario, effort)
        else:
            found = [row for each in contestants for row in in_slices([each], scenario, effort)]
        for each, row in zip(contestants, found, strict=True):
            rounds[each.name].append(row)
    progress("")
    return [summary(each, scenario, rounds[each.name]) for each in contestants]


def in_slices(contestants: list[Contestant], scenario: Scenario, effort: Effort) -> list[dict[str, Any]]:
    """Start all of them, and load one after the other, a slice each, until all slices are measured; a row for each.

    A machine that others use is faster now and slower then, for seconds or minutes. So what is to be compared is
    measured within seconds, and every other time the other way round.
    """
    program = build(scenario.generator)
    slices = effort.slices if scenario.sliced else 1
    seconds = max(effort.seconds, scenario.seconds / effort.share)
    longest = 300 + len(contestants) * (seconds + slices + effort.warm)
    reports: dict[Trial, dict[str, Any]] = {}
    with ExitStack() as stack:
        trials = []
        for each in contestants:
            conns = max((each.conns or scenario.conns) // effort.share, min(scenario.conns, 50))
            command = [program, *scenario.generator_arguments(conns), "--secs", f"{seconds}"]
            command += ["--warm", f"{effort.warm}"] + (["--slices", f"{slices}"] if scenario.sliced else [])
            trial = stack.enter_context(Trial(each, command, settle=effort.settle, longest=longest))
            trials.append(trial)
            if not trial.advance():
                reports[trial] = trial.report()
        for number in range(slices):
            for trial in trials if number % 2 == 0 else reversed(trials):
                if trial not in reports and not trial.go():
                    reports[trial] = trial.report()
        return [row_of(trial, reports[trial], scenario) for trial in trials]


def row_of(trial: Trial, report: dict[str, Any], scenario: Scenario) -> dict[str, Any]:
    """Give the figures of one server in one round."""
    row = {**report, "notes": trial.notes, "silent": int(report["count"] == 0)}
    if scenario.kind == "idle":
        del row["p50_ms"], row["p99_ms"]
        grown = trial.kb["connected"] - trial.kb["first"]
        conns = report["conns"]
        row["kb_per_conn"] = round(grown / (conns - conns // 11), 2)
    else:
        row["slices"] = [round(each["count"] / max(each["cpu"], 1e-6)) for each in trial.slices]
        used = sum(each["cpu"] for each in trial.slices)
        row["cpu_share"] = round(used / sum(each["time"] for each in trial.slices), 3)
        row["per_cpu_s"] = round(row["count"] / max(used, 1e-6))
        row["us_each"] = round(1e6 * used / max(row["count"], 1), 3)
    written = trial.end()
    if scenario.kind == "ticker":
        row["late"] = late_by(written, trial.spans)
        row |= lateness(row["late"])
    if trial.contestant.ours and (said := unexpected(written)):
        row["wrong"] += 1
        row["notes"] += said
    return row


def late_by(written: str, spans: list[tuple[float, float]]) -> list[float]:
    """Give by how many milliseconds each tick of app.py was late, of those within one of the spans."""
    ticks = json.loads(written.splitlines()[-1])["ticks"]
    return [1000 * by for at, by in ticks if any(begin <= at <= end for begin, end in spans)]


def lateness(late: list[float]) -> dict[str, float]:
    """Give how late ticks were that were so many milliseconds late."""
    if not late:
        raise SystemExit("the ticker did not tick at all")
    late = sorted(late)
    return {
        "late_p50_ms": round(late[len(late) // 2], 2),
        "late_p99_ms": round(late[int(len(late) * 0.99)], 2),
        "late_max_ms": round(late[-1], 2),
        "ticks": len(late),
    }


def unexpected(written: str) -> list[str]:
    """Give the beginning of what ours has logged, if any of it is a warning or worse."""
    return [line for line in written.splitlines() if " ERROR " in line or line.startswith("Traceback")][:3]


def progress(text: str) -> None:
    """Say what is going on, on a line that the next word replaces; nothing where nobody watches."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="", flush=True)


def summary(contestant: Contestant, scenario: Scenario, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Make one row of several rounds: medians of figures, sums of troubles; all ticks are judged together."""
    row: dict[str, Any] = {"scenario": scenario.name, "server": contestant.name, "conns": rounds[0]["conns"]}
    for key in ("per_cpu_s", "per_s", "p50_ms", "p99_ms", "kb_per_conn", "us_each", "cpu_share"):
        if key in rounds[0]:
            row[key] = statistics.median(one[key] for one in rounds)
    if "slices" in rounds[0]:
        row["per_cpu_s"] = round(statistics.median(each for one in rounds for each in one["slices"]))
        row["us_each"] = round(1e6 / max(row["per_cpu_s"], 1), 3)
    if "late" in rounds[0]:
        row |= lateness([by for one in rounds for by in one["late"]])
    row["troubles"] = {key: total for key in TROUBLES if (total := sum(one[key] for one in rounds))}
    row["notes"] = [note for one in rounds for note in one["notes"]][:3]
    kept = [*row, "slices"]
    row["rounds"] = [{key: one[key] for key in kept if key in one and key not in ("notes", "conns")} for one in rounds]
    return row
