"""Finds interpreters, installs the other servers, and says how each server is started."""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from scenarios import FLOOR, OURS, SPEAKS, TASK, TRANSFORMERS, Scenario
from side_by_side import Contestant, build

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
ENVIRONMENT = PEERS / "venv"
PYTHONS = HERE / "pythons"

_NODE = {
    "primus": "node peers/primus_server.js {{port}} {transformer}",
    "ws": "node peers/ws_server.js {{port}}",
    "socket.io": "node peers/socketio_server.js {{port}}",
    "actionhero": "node peers/actionhero_server.js {{port}}",
}
_PYTHON = {
    "websockets": "peers/websockets_server.py {{port}}",
    "python-socketio": "-m uvicorn --loop uvloop --http httptools --app-dir peers --port {{port}} --log-level warning "
    "python_socketio_app:app",
}


@cache
def node_peers() -> str:
    """Install the npm peers unless they are there; give what is in the way, or nothing."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        return f"{' and '.join(missing)} not found; install Node.js 18 or newer from https://nodejs.org/"
    lock, installed = PEERS / "package-lock.json", PEERS / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        print("installing the npm packages of peers/package-lock.json", flush=True)
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=PEERS)
        if done.returncode:
            return f"npm ci in {PEERS} failed"
    return ""


def node_version() -> str:
    """Give Node's version, or nothing where there is no Node."""
    if shutil.which("node") is None:
        return ""
    return subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip().removeprefix("v")


def _environment(folder: Path, python: str, version: str, what: str, requirements: list[str]) -> str:
    """Make a virtual environment with these requirements unless it is there; give what is in the way, or nothing."""
    stamp, wanted = folder / "installed.txt", f"{version}\n{what}\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return ""
    print(f"installing into {folder.relative_to(HERE.parent)}: {' '.join(requirements)}", flush=True)
    if subprocess.run([python, "-m", "venv", "--clear", folder]).returncode:
        return f"{python} -m venv {folder} failed"
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    if subprocess.run([*pip, *requirements]).returncode:
        return f"pip install {' '.join(requirements)} failed"
    stamp.write_text(wanted)
    return ""


@cache
def python_peers(python: str, version: str) -> str:
    """Install the Python peers unless they are there; give what is in the way, or nothing."""
    file = PEERS / "requirements.txt"
    return _environment(ENVIRONMENT, python, version, file.read_text(), ["-r", str(file)])


def _version_of(python: str) -> str:
    """Give an interpreter's version; nothing if it does not run, as pyenv's shims may."""
    code = "import ensurepip, platform, venv; print(platform.python_version())"
    try:
        return subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60).stdout.strip()
    except OSError:
        return ""


def find_python(wanted: str) -> tuple[str, str]:
    """Give an interpreter that has ahtransport, and its version.

    Args:
        wanted: a version such as ``3.13``, or a path.

    Raises:
        SystemExit: there is none, or ahtransport can't be installed for it.
    """
    running = platform.python_version()
    if wanted in (running, running.rpartition(".")[0], sys.executable):
        return sys.executable, running
    found = [shutil.which(f"python{wanted}") or wanted]
    found += sorted(map(str, Path.home().glob(f".pyenv/versions/{wanted}.*/bin/python{wanted}")), reverse=True)
    for python in found:
        if version := _version_of(python):
            project = (HERE.parent / "pyproject.toml").read_text()
            folder = PYTHONS / version
            if trouble := _environment(folder, python, version, project, ["-e", str(HERE.parent)]):
                raise SystemExit(trouble)
            return str(folder / "bin" / "python"), version
    raise SystemExit(f"no Python {wanted} found; give its path, or leave it out")


def contestants(
    scenario: Scenario, wanted: list[str], pythons: list[tuple[str, str]]
) -> tuple[list[Contestant], dict[str, str]]:
    """Give the servers that can be measured, and the reason for each one that can't.

    The first of ``pythons`` is the one that counts; with each other, ``ahtransport`` is measured again.
    """
    chosen: list[Contestant] = []
    absent: dict[str, str] = {}
    transformer = TRANSFORMERS[scenario.family]
    python, version = pythons[0]
    for name in wanted:
        if scenario.family not in SPEAKS[name]:
            absent[name] = f"it takes no part in {scenario.family}-*"
        elif name in (OURS, TASK):
            app = scenario.app or ("task" if name == TASK else "inline")
            command = f"{{python}} app.py {{{{port}}}} {app} {transformer}"
            chosen += _variants(name, _fill(command, python), scenario.variants)
            if name == OURS and scenario.older:
                chosen += [Contestant(f"{name} on {other[:4]}", _fill(command, path)) for path, other in pythons[1:]]
        elif name == FLOOR:
            chosen += _variants(name, f"{build(FLOOR)} {{port}}", scenario.variants[:: len(scenario.variants) - 1 or 1])
        elif trouble := node_peers() if name in _NODE else python_peers(python, version):
            absent[name] = trouble
        elif name in _NODE:
            chosen.append(Contestant(name, _NODE[name].format(transformer=transformer)))
        else:
            own = str(ENVIRONMENT / "bin" / "python")
            chosen.append(Contestant(name, _fill("{python} " + _PYTHON[name], own)))
    return chosen, absent


def _variants(name: str, command: str, numbers: tuple[int, ...]) -> list[Contestant]:
    """Give a server as often as there are numbers of connections to measure it with; once where there are none."""
    many = [Contestant(f"{name}, {number:,} connections", command, number) for number in numbers]
    return many or [Contestant(name, command)]


def _fill(command: str, python: str) -> str:
    """Put the interpreter in, and leave the port open."""
    return command.format(python=shlex.quote(python))
