#!/usr/bin/env python3
"""The project's benchmark in one command: ``python -m nox -s bench``, or ``python benchmarks/run.py`` with ahtransport
installed.

Builds the load generator, installs the peers (npm's from their lock file, Python's into an environment of their own),
measures in turns, and prints the ratios: over WebSocket and over Engine.IO against npm Primus, over Socket.IO against
npm socket.io and python-socketio on uvicorn. A peer that can't be had is named, and the rest is measured without it.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import shutil
import subprocess
import sys
import time
import venv
from functools import cache
from pathlib import Path

from side_by_side import SCENARIOS, Contestant, build, compare, pinned, show

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
ENVIRONMENT = PEERS / "venv"
DEFAULT = ["ws-echo-1", "ws-echo-8", "ws-fanout", "ws-idle",
           "eio-echo-1", "eio-echo-8", "eio-fanout", "eio-poll", "eio-idle",
           "sio-echo-1", "sio-echo-8", "sio-fanout", "sio-poll", "sio-idle"]  # fmt: skip
#: The families of scenarios that each server can take part in.
SPEAKS = {
    "ahtransport": ("ws", "eio", "sio"),
    "ahtransport-task": ("ws", "eio", "sio"),
    "primus": ("ws", "eio"),
    "ws": ("ws",),
    "websockets": ("ws",),
    "floor": ("ws",),
    "socket.io": ("sio",),
    "python-socketio": ("sio",),
}
#: What is measured when no servers are asked for: ours, and the peer that speaks the same protocol.
RIVALS = {"ws": ["primus"], "eio": ["primus"], "sio": ["socket.io", "python-socketio"]}


@cache
def node_peers() -> str:
    """Install the npm peers unless they are there; give what is in the way, or nothing."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        return f"{' and '.join(missing)} not found; install Node.js 18 or newer from https://nodejs.org/"
    lock, installed = PEERS / "package-lock.json", PEERS / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=PEERS)
        if done.returncode:
            return f"npm ci in {PEERS} failed"
    return ""


@cache
def python_peers() -> str:
    """Install the Python peers unless they are there; give what is in the way, or nothing."""
    wanted, installed = (PEERS / "requirements.txt").read_text(), ENVIRONMENT / "requirements.txt"
    if installed.exists() and installed.read_text() == wanted:
        return ""
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    done = subprocess.run(
        [ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "-q", "-r", PEERS / "requirements.txt"]
    )
    if done.returncode:
        return f"pip install -r {PEERS / 'requirements.txt'} failed"
    installed.write_text(wanted)
    return ""


def contestants(wanted: list[str], family: str) -> tuple[list[Contestant], dict[str, str]]:
    """Give the servers that can be measured, and the reason for each one that can't."""
    python = sys.executable
    transformer = {"ws": "websockets", "eio": "engine.io", "sio": "socket.io"}[family]
    ours = {
        "ahtransport": f"{python} app.py {{port}} inline {transformer}",
        "ahtransport-task": f"{python} app.py {{port}} task {transformer}",
    }
    node = {
        "primus": f"node peers/primus_server.js {{port}} {transformer}",
        "ws": "node peers/ws_server.js {port}",
        "socket.io": "node peers/socketio_server.js {port}",
    }
    uvicorn = f"{shlex.quote(str(ENVIRONMENT / 'bin' / 'python'))} -m uvicorn --loop uvloop --http httptools"
    environment = {
        "python-socketio": f"{uvicorn} --app-dir peers --port {{port}} --log-level warning python_socketio_app:app",
    }
    chosen, absent = [], {}
    for name in wanted:
        if family not in SPEAKS[name]:
            absent[name] = f"it takes no part in {family}-*"
        elif name in ours:
            chosen.append(Contestant(name, ours[name]))
        elif name in node or name in environment:
            trouble = node_peers() if name in node else python_peers()
            if trouble:
                absent[name] = trouble
            else:
                chosen.append(Contestant(name, {**node, **environment}[name]))
        elif name == "websockets":
            chosen.append(Contestant(name, f"{python} peers/websockets_server.py {{port}}"))
        else:
            chosen.append(Contestant(name, f"{build('floor')} {{port}}"))
    return chosen, absent


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", default=DEFAULT, help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument(
        "--servers",
        nargs="+",
        choices=list(SPEAKS),
        help="the first is the one that the others are compared with; default: ours and "
        + ", ".join(f"{' '.join(rivals)} for {family}-*" for family, rivals in RIVALS.items()),
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=3, help="how long each measurement takes")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "latest.json")
    options = parser.parse_args()
    if unknown := [name for name in options.scenarios if name not in SCENARIOS]:
        parser.error(f"unknown: {' '.join(unknown)}; there are {' '.join(SCENARIOS)}")

    print(f"Python {platform.python_version()}, {platform.machine()}, {time.strftime('%Y-%m-%d')}")
    if not pinned(0) or not pinned(1):
        print("warning: no two CPUs to pin server and generator to; the figures mean little")
    everything = []
    for name in options.scenarios:
        family = name.partition("-")[0]
        chosen, absent = contestants(options.servers or ["ahtransport", "ahtransport-task", *RIVALS[family]], family)
        for peer, reason in absent.items():
            print(f"not measured: {peer}: {reason}")
        if not chosen:
            raise SystemExit("nothing left to measure")
        table = compare(chosen, name, options.rounds, options.secs)
        show(table, options.rounds)
        everything += table
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"python": platform.python_version(), "rows": everything}, indent=1) + "\n")
    print(f"\nwritten to {options.json}")
    if lost := sum(row["lost"] for row in everything):
        raise SystemExit(f"{lost} connections were lost")


if __name__ == "__main__":
    main()
