"""The Autobahn test suite against a server of ours: all 517 cases, with both drivers, without compression and with it,
and with its context kept from message to message.

``python run_autobahn.py WSTEST DIRECTORY`` runs ``wstest`` six times side by side, which takes half an hour or more,
most of it for the compressed cases. It leaves the reports in the directory, prints a table, and ends with status 1 if a
case failed. ``--write FILE`` writes the table for the documentation; ``--only GLOB …`` chooses cases;
``--report`` runs nothing and reads the reports that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final

SERVER: Final = Path(__file__).with_name("echo_server.py")
#: Each run: its name, what the server is told, and how the table calls it.
RUNS: Final = {
    "reactor": (["reactor"], "reactor"),
    "reactor-compressed": (["reactor", "--compression"], "reactor, compression"),
    "reactor-takeover": (["reactor", "--compression", "--compression-context-takeover"], "reactor, context kept"),
    "task": (["task"], "task"),
    "task-compressed": (["task", "--compression"], "task, compression"),
    "task-takeover": (["task", "--compression", "--compression-context-takeover"], "task, context kept"),
}
GROUPS: Final = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits and speed",
    "10": "automatic fragmentation",
    "12": "compression of many kinds of content",
    "13": "compression with many kinds of parameters",
}
PASSED: Final = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}

Cases = dict[str, dict[str, Any]]


class Run:
    """A server, and ``wstest`` that attacks it."""

    def __init__(self, wstest: str, directory: Path, name: str, only: list[str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._log: IO[bytes] = open(directory / "log.txt", "wb")  # noqa: SIM115 -- closed by finish
        self._server = subprocess.Popen(
            [sys.executable, str(SERVER), *RUNS[name][0]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self._server.stdout is not None
        port = int(self._server.stdout.readline())
        specification = {
            "outdir": str(directory),
            "servers": [{"agent": name, "url": f"ws://127.0.0.1:{port}"}],
            "cases": only,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (directory / "specification.json").write_text(json.dumps(specification), encoding="utf-8")
        command = [wstest, "-m", "fuzzingclient", "-s", str(directory / "specification.json")]
        self._client = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, cwd=directory)

    def finish(self) -> None:
        """Wait for the end."""
        try:
            self._client.wait()
        finally:
            self._client.kill()
            self._server.communicate()  # its input ends, and so does it
            self._log.close()


def read(directory: Path) -> dict[str, Cases]:
    """Give what ``wstest`` has found out: of each run, by the number of the case."""
    found = {}
    for name in RUNS:
        index = directory / name / "index.json"
        if index.exists():
            ((_, found[name]),) = json.loads(index.read_text(encoding="utf-8")).items()
    return found


def in_order(number: str) -> list[int]:
    """Sort as the suite does."""
    return [int(part) for part in number.split(".")]


def table(found: dict[str, Cases]) -> str:
    """Write the table, and which cases are neither right nor left out, as Markdown."""
    lines = [f"| | cases | {' | '.join(RUNS[name][1] for name in found)} |", "| --- " * (len(found) + 2) + "|"]
    numbers = sorted({number for cases in found.values() for number in cases}, key=in_order)
    for group, title in [*GROUPS.items(), ("", "all")]:
        members = [number for number in numbers if group in ("", number.partition(".")[0])]
        if members:
            cells = [describe([cases[number] for number in members if number in cases]) for cases in found.values()]
            lines.append(f"| {group} {title} | {len(members)} | {' | '.join(cells)} |".replace("|  ", "| "))
    for what in ("NON-STRICT", "INFORMATIONAL", "FAILED"):
        these = [number for number in numbers if any(verdict(cases.get(number)) == what for cases in found.values())]
        if these:
            lines += ["", f"{what.capitalize()}: {', '.join(these)}."]
    return "\n".join(lines) + "\n"


def verdict(case: dict[str, Any] | None) -> str:
    """Put what a case says of the messages and of the closing handshake into one word."""
    if case is None:
        return "UNIMPLEMENTED"
    both = {case["behavior"], case["behaviorClose"]}
    if not both <= PASSED:
        return "FAILED"
    return next((what for what in ("UNIMPLEMENTED", "NON-STRICT", "INFORMATIONAL") if what in both), "OK")


def describe(cases: list[dict[str, Any]]) -> str:
    """Count the verdicts."""
    counts = Counter(map(verdict, cases))
    words = {"OK": "OK", "NON-STRICT": "non-strict", "INFORMATIONAL": "informational", "FAILED": "**failed**",
             "UNIMPLEMENTED": "not offered"}  # fmt: skip
    return ", ".join(f"{counts[what]} {word}" for what, word in words.items() if counts[what])


def heading(directory: Path) -> str:
    """Say when and with what it was done."""
    day = time.strftime("%Y-%m-%d", time.gmtime((directory / "reactor" / "index.json").stat().st_mtime))
    versions = f"autobahntestsuite 25.10.1 on Python 2.7, wsproto {version('wsproto')}, trio {version('trio')}"
    return f"Run on {day} with {versions}, Python {platform.python_version()}.\n\n"


def main() -> int:
    """Run, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wstest")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--only", nargs="*", default=["*"])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    directory = options.directory.resolve()
    if not options.report:
        began = time.monotonic()
        runs = [Run(os.path.abspath(options.wstest), directory / name, name, options.only) for name in RUNS]
        for run in runs:
            run.finish()
        print(f"took {(time.monotonic() - began) / 60:.0f} minutes; the reports: {directory}/*/index.html", flush=True)
    found = read(directory)
    text = table(found)
    print(text)
    if options.write:
        options.write.write_text(heading(directory) + text, encoding="utf-8")
    complete = len(found) == len(RUNS)
    return (
        0 if complete and all(verdict(case) != "FAILED" for cases in found.values() for case in cases.values()) else 1
    )


if __name__ == "__main__":
    sys.exit(main())
