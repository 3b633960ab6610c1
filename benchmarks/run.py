#!/usr/bin/env python3
"""The project's benchmark in one command: ``python -m nox -s bench``, or ``python benchmarks/run.py`` with ahtransport
installed.

Builds the load generators, installs the peers (npm's from their lock file, Python's into an environment of their own),
measures in turns, prints the figures beside the targets, and writes a JSON file; with --docs also the tables and charts
of the page "Performance". A peer that can't be had is named, and the rest is measured without it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import time
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from chart import chart
from peers import contestants, find_python, node_version
from report import PYTHON, ROUNDS, judged, pages, show_rows, show_targets, unfit
from scenarios import FAMILIES, OURS, SCENARIOS, SPEAKS, TARGETS, TASK, Scenario
from side_by_side import Contestant, Effort, compare
from trial import two_cpus

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs" / "_static"
SMOKE = Effort(rounds=1, seconds=0.4, warm=0.1, settle=0.0, share=10, least=2)


def machine() -> dict[str, Any]:
    """Say what was measured on."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpu": found[1].strip() if found else platform.machine(),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "node": node_version() or "absent",
    }


def wanted(scenario: Scenario, servers: list[str] | None, *, alone: bool = False) -> list[str]:
    """Give the servers to measure: ours, and unless that is to be ``alone`` the peers that speak the same protocol."""
    ours = [OURS, *([TASK] if scenario.task else [])]
    return ours if alone else servers or [*ours, *scenario.rivals]


def publish(result: dict[str, Any]) -> None:
    """Write the documentation's figures: the JSON file, and the tables and charts that are made of it.

    Raises:
        SystemExit: they are not fit for it, and nothing was written.
    """
    if why := unfit(result):
        raise SystemExit("\n  ".join(["not published:", *why]))
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "performance.json").write_text(json.dumps(result, indent=1) + "\n")
    for name, text in published(result).items():
        (DOCS / name).write_text(text)
    print(f"written to {DOCS}: performance.json, {', '.join(published(result))}")


def published(result: dict[str, Any]) -> dict[str, str]:
    """Give the files of the documentation that follow from the figures."""
    return pages(result) | {f"performance-{family}.svg": chart(result, family) for family in FAMILIES}


def descriptors() -> float:
    """Give how many descriptors a process may have, once this one's children may have as many as the system allows."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return inf if most in (-1, resource.RLIM_INFINITY) else most


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", help=f"default: all, which are {' '.join(SCENARIOS)}")
    parser.add_argument("--servers", nargs="+", choices=list(SPEAKS), help="the others are compared with the first")
    parser.add_argument(
        "--also", nargs="+", default=[], metavar="NAME=COMMAND", help="a server of your own, with {port} in its command"
    )
    parser.add_argument(
        "--python",
        nargs="+",
        default=[platform.python_version()],
        help="versions or paths; the first counts, the others are shown. Default: the one that runs this",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=3, help="how long each server is measured in a round")
    parser.add_argument("--smoke", action="store_true", help="everything, but short and small, and ours alone")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "latest.json")
    parser.add_argument("--docs", action="store_true", help="also write the tables and charts of docs/performance.md")
    parser.add_argument("--from", dest="old", type=Path, metavar="JSON", help="measure nothing: take these figures")
    options = parser.parse_args()
    if unknown := [name for name in options.scenarios if name not in SCENARIOS]:
        parser.error(f"unknown: {' '.join(unknown)}; there are {' '.join(SCENARIOS)}")
    if wrong := [each for each in options.also if "=" not in each or "{port}" not in each]:
        parser.error(f"expected NAME=COMMAND with {{port}} in it: {' '.join(wrong)}")
    if options.docs and not options.old:  # what can be known before an hour of measuring
        missing = {target.scenario for target in TARGETS} - set(options.scenarios or SCENARIOS)
        if missing or options.servers or options.smoke or options.rounds < ROUNDS:
            parser.error(f"--docs needs every scenario that has a target, all servers, and {ROUNDS} rounds or more")
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all that was asked for."""
    allowed = descriptors()
    if not two_cpus():
        print("warning: no two CPUs to pin server and generator to; the figures mean little")
    pythons = [find_python(each) for each in options.python]
    if options.docs and not pythons[0][1].startswith(f"{PYTHON}."):
        raise SystemExit(f"--docs needs --python {PYTHON}, that one first; it is {pythons[0][1]}")
    effort = SMOKE if options.smoke else Effort(options.rounds, options.secs)
    also = [Contestant(*each.split("=", 1)) for each in options.also]
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "pythons": [version for _, version in pythons],
        "rounds": effort.rounds,
        "seconds": effort.seconds,
        "machine": machine(),
        "rows": [],
    }
    print(f"Python {' and '.join(result['pythons'])} on {result['machine']['cpu']}, {result['date']}")
    for name in options.scenarios or SCENARIOS:
        scenario = SCENARIOS[name]
        if options.smoke:
            scenario = replace(scenario, variants=scenario.variants[::2])
        needed = max(scenario.variants, default=scenario.conns) // effort.share + 100
        if needed > allowed:
            print(f"not measured: {name}: {needed} descriptors are needed, {allowed} are allowed: see ulimit -Hn")
            continue
        chosen, absent = contestants(scenario, wanted(scenario, options.servers, alone=options.smoke), pythons)
        for peer, reason in absent.items():
            print(f"not measured: {peer}: {reason}")
        if not chosen and not also:
            raise SystemExit("nothing left to measure")
        rows = compare(chosen + also, scenario, effort)
        show_rows(rows)
        result["rows"] += rows
        result["targets"] = judged(result)
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    """Measure, or take old figures, and write what was asked for."""
    options = arguments()
    if options.old:
        result = json.loads(options.old.read_text())
    else:
        began = time.monotonic()
        result = measure(options)
        print(f"\nwritten to {options.json}, {time.monotonic() - began:.0f} s")
    if not options.smoke:
        show_targets(judged(result))
    troubled = [row for row in result["rows"] if row["troubles"] and row["server"].startswith(OURS)]
    for row in troubled:
        print(f"{row['scenario']}, {row['server']}: {row['troubles']}")
    if troubled:
        raise SystemExit("that must not happen" + (", and nothing is published" if options.docs else ""))
    if options.docs:
        publish(result)


if __name__ == "__main__":
    main()
