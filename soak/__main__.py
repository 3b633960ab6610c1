"""The soak: ``python -m soak --minutes 60 --connections 5000``; README.md tells more."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from soak.accounts import Reconciliation
from soak.publish import publish
from soak.report import FAULTS, faults_of, slope, table, thinned

ROOT = Path(__file__).resolve().parents[1]
# At ten a second that is 200 bytes for each connection that ended: a leak of the least of its objects would be more.
MAX_SLOPE = 128.0  # KB a minute
GIVEN_BACK = 60.0  # seconds within which everything has to be given back after all have left
TASK_OF_ITS_OWN = 90.0  # seconds that a client process may take to leave


class Child:
    """A process that tells in JSON lines what happens, and does as it is told."""

    def __init__(self, soak: Soak, name: str, *command: str) -> None:
        self.soak = soak
        self.name = name
        self.command = command
        self.over = trio.Event()
        self.process: trio.Process

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run it to its end."""
        with (self.soak.results / f"{self.name}.log").open("wb") as log:
            self.process = await trio.lowlevel.open_process(
                self.command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
            try:
                task_status.started()
                assert self.process.stdout is not None
                pending = b""
                async for chunk in self.process.stdout:
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in lines:
                        self.soak.heard(self.name, json.loads(line))
                await self.process.wait()
            finally:
                if self.process.poll() is None:
                    self.process.kill()
                with trio.CancelScope(shield=True):
                    await self.process.wait()
            if self.process.returncode:
                self.soak.statuses.append(f"{self.name} ({self.process.returncode})")
            self.over.set()

    async def tell(self, word: str) -> None:
        """Tell it something; it may be over."""
        assert self.process.stdin is not None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.process.stdin.send_all(word.encode() + b"\n")


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.results: Path = options.results
        self.reconciliation = Reconciliation()
        self.statuses: list[str] = []
        self.samples: list[dict[str, Any]] = []
        self.counts: dict[str, dict[str, Any]] = {}
        self.latency: dict[str, float] = {"p50": 0.0, "p99": 0.0, "max": 0.0}
        self.finished: dict[str, Any] = {}
        self.port = 0
        self.begun = time.monotonic()
        self._listening = trio.Event()
        self._opened = trio.Event()
        self._asked: dict[str, Any] | None = None
        self._answered = trio.Event()
        self._settled_at = 0.0

    # -- what the processes say

    def heard(self, name: str, said: dict[str, Any]) -> None:
        """Take a line of a process."""
        match said:
            case {"end": record}:
                known = len(self.reconciliation.troubles)
                self.reconciliation.take("server" if name == "server" else "client", record)
                for trouble in self.reconciliation.troubles[known:]:
                    self.progress(trouble)
            case {"trouble": what, "detail": detail}:
                self.reconciliation.fault(what, detail)
                self.progress(f"{what}: {detail}")
            case {"sample": sample}:
                self.sampled(sample)
            case {"asked": sample}:
                self._asked = sample
                self._answered.set()
            case {"counts": counts}:
                self.counts[name] = counts
                if name == "crowd":
                    self.latency = said["latency_ms"]
            case {"listening": port}:
                self.port = port
                self._listening.set()
            case {"opened": _}:
                self._opened.set()
            case {"finished": counts}:
                self.finished = counts
            case {"leaving": _} | {"over": _}:
                self.progress(f"{name}: {said}")
            case _:
                raise ValueError(f"{name} said {said}")

    def sampled(self, sample: dict[str, Any]) -> None:
        """Keep a sample, and tell of it."""
        sample["at"] = round(sample["at"] - self.begun, 2)
        self.samples.append(sample)
        with (self.results / "samples.jsonl").open("a") as file:
            file.write(json.dumps(sample) + "\n")
        counts, crowd = self.reconciliation.counts, self.counts.get("crowd", {})
        self.progress(
            f"{sample['connections']:,} connections ({sample['polling']} poll), {sample['rss_kb'] / 1024:.1f} MB, "
            f"{sample['fds']:,} descriptors, {sample['tasks']} tasks, lag {sample['lag_max_ms']:g} ms, "
            f"{crowd.get('said', 0):,} said, {crowd.get('upgrades', 0):,} upgrades, {counts['connections']:,} ended; "
            + (", ".join(f"{counts[what]} {what}" for what in FAULTS if counts[what]) or "no fault")
        )

    def progress(self, text: str) -> None:
        """Say how it goes."""
        seconds = int(time.monotonic() - self.begun)
        print(f"{seconds // 60:3}:{seconds % 60:02} {text}", flush=True)

    async def ask(self, server: Child) -> dict[str, Any]:
        """Have the server take a sample now, after a full collection."""
        self._answered = trio.Event()
        await server.tell("sample")
        await self._answered.wait()
        assert self._asked is not None
        return self._asked

    # -- the run

    async def run(self) -> dict[str, Any]:
        """Run it all, and give the result."""
        options = self.options
        python = sys.executable
        async with trio.open_nursery() as nursery:
            server = Child(self, "server", python, "-m", "soak.application", str(options.period))
            await nursery.start(server.run)
            await self._listening.wait()
            start = await self.ask(server)
            silent = int(options.minutes > 1)  # it takes the server a minute to find out
            wanted = (self.port, options.connections, options.rate, options.churn, silent, options.period)
            children = [Child(self, "crowd", python, "-m", "soak.crowd", *map(str, wanted))]
            if options.real:
                children += self.real_clients(python)
            for child in children:
                await nursery.start(child.run)
            with trio.move_on_after(options.minutes * 60):
                await self._opened.wait()
                self._settled_at = time.monotonic() - self.begun
                async with trio.open_nursery() as watching:
                    for one in (server, *children):
                        watching.start_soon(self._watch, one, watching.cancel_scope)
            last = dict(self.samples[-1])
            self.progress("everybody leaves")
            for child in children:
                await child.tell("stop")
            with trio.move_on_after(TASK_OF_ITS_OWN * 2):
                for child in children:
                    await child.over.wait()
            for child in children:
                if not child.over.is_set():
                    self.statuses.append(f"{child.name} (did not end)")
                    child.process.kill()
            end = await self._given_back(server, start)
            await server.tell("stop")
            with trio.move_on_after(60):
                await server.over.wait()
            nursery.cancel_scope.cancel()
        self.reconciliation.finish()
        return self.result(start, last, end)

    async def _watch(self, child: Child, scope: trio.CancelScope) -> None:
        """None of the processes may end while this runs."""
        await child.over.wait()
        self.statuses.append(f"{child.name} (too early)")
        self.progress(f"{child.name} ended too early; see {self.results / child.name}.log")
        scope.cancel()

    def real_clients(self, python: str) -> list[Child]:
        """Give the processes of clients that others wrote."""
        count = str(self.options.real)
        period = str(self.options.period)
        found = [Child(self, "python", python, "-m", "soak.python_clients", str(self.port), count, period)]
        if (ROOT / "tests" / "clients" / "node_modules" / "primus").is_dir():
            script = str(ROOT / "soak" / "npm_clients.cjs")
            found.append(Child(self, "npm", "node", script, str(self.port), count, period))
        else:
            self.progress("npm's clients are not there: run `npm ci` in tests/clients")
        return found

    async def _given_back(self, server: Child, start: dict[str, Any]) -> dict[str, Any]:
        """Wait until the server holds what it held in the beginning, or for long enough."""
        limit = time.monotonic() + GIVEN_BACK
        while True:
            end = await self.ask(server)
            if time.monotonic() > limit or (
                not end["connections"] + end["engine_sessions"] + end["members"]
                and all(end[what] <= start[what] for what in ("tasks", "fds"))
            ):
                return end
            await trio.sleep(1)

    def result(self, start: dict[str, Any], last: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
        """Put the result together."""
        options = self.options
        during = [sample for sample in self.samples if self._settled_at <= sample["at"] <= last["at"]]
        half = during[len(during) // 2 :] or [last]
        log = (self.results / "server.log").read_text(errors="replace")
        crowd: Counter[str] = Counter()
        for counts in self.counts.values():
            crowd.update({name: count for name, count in counts.items() if isinstance(count, int)})
        span = last["at"] - during[0]["at"] if during else 0
        result: dict[str, Any] = {
            "minutes": options.minutes,
            "connections": options.connections,
            "real": sum(counts["clients"] for name, counts in self.counts.items() if name != "crowd"),
            "python": sys.version.split()[0],
            "rate": options.rate,
            "churn": options.churn,
            "counts": dict(self.reconciliation.counts),
            "crowd": dict(crowd),
            "start": start,
            "middle": half[0],
            "last": last,
            "end": end,
            "visits": [self.finished.get("visits", 0), self.finished.get("visits in sessions", -1)],
            "memory_slope_kb_per_min": round(slope([(one["at"] / 60, one["rss_kb"]) for one in half]), 1),
            "latency_ms": self.latency,
            "lag_max_ms": max((one["lag_max_ms"] for one in during), default=0.0),
            "lag_mean_ms": round(sum(one["lag_mean_ms"] for one in during) / max(1, len(during)), 3),
            "server_cpu": (last["cpu_s"] - during[0]["cpu_s"]) / span if span else 0.0,
            "crowd_cpu": self.counts["crowd"]["cpu_s"] / (time.monotonic() - self.begun),
            "warnings": sum(log.count(f" {level} ahtransport") for level in ("WARNING", "ERROR", "CRITICAL")),
            "tracebacks": log.count("Traceback (most recent call last)"),
            "statuses": self.statuses,
            "troubles": self.reconciliation.troubles,
            "samples": thinned(self.samples),
        }
        result["faults"] = faults_of(result, options.max_slope)
        return result


def main() -> int:
    """Run the soak as the command line says; gives the exit status."""
    parser = argparse.ArgumentParser(prog="soak", description="Many numbered conversations with one server, for long.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--connections", type=int, default=5000, help="how many raw clients (default: 5000)")
    parser.add_argument("--rate", type=float, default=200.0, help="what all of them say in a second (default: 200)")
    parser.add_argument("--churn", type=float, default=10.0, help="how many leave in a second (default: 10)")
    parser.add_argument("--real", type=int, default=20, help="clients of each library; 0: none (default: 20)")
    parser.add_argument("--period", type=float, default=10.0, help="seconds between two samples (default: 10)")
    parser.add_argument("--max-slope", type=float, default=None, metavar="KB",
                        help="KB a minute that memory may grow; 0: any (default: 128 from 30 minutes on)")  # fmt: skip
    parser.add_argument("--results", type=Path, default=ROOT / "soak" / "results", help="where the results are put")
    parser.add_argument("--docs", action="store_true", help="also publish the result in docs/")
    parser.add_argument("--from", type=Path, dest="file", help="only publish a result that is there (implies --docs)")
    options = parser.parse_args()
    if options.file is not None:
        result = json.loads(options.file.read_text())
        result["faults"] = faults_of(result, MAX_SLOPE)
        return publish(result)
    if options.max_slope is None:
        options.max_slope = MAX_SLOPE if options.minutes >= 30 else 0.0
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "samples.jsonl").unlink(missing_ok=True)
    result = trio.run(Soak(options).run)
    text = table(result)
    (options.results / "soak.json").write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    (options.results / "soak.md").write_text(text)
    print(text)
    if options.docs:
        publish(result)
    for trouble in result["troubles"][:20]:
        print(trouble)
    return 1 if result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
