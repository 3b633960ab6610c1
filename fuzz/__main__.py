"""Let atheris look for inputs that break a target: ``python -m fuzz --seconds 60 [target …]``.

Each target runs in a process of its own, since a fuzzer ends with its process. What it finds that leads to new places
is kept under ``.fuzz/corpus`` and is where the next run begins; what breaks a target is kept under ``.fuzz/crashes``.
``python -m fuzz --reproduce FILE target`` runs one input without atheris.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOUND = ROOT / ".fuzz"
MEMORY = 2048  # MiB that a target may take
PATIENCE = 10  # seconds that one input may take


def kept(name: str) -> Path:
    """Give the directory of the inputs that once broke a target; the tests run them."""
    return ROOT / "fuzz" / "corpus" / name


def hunt(name: str, seconds: float) -> tuple[str, str, str, list[Path]]:
    """Fuzz one target; gives runs in all, runs per second, new inputs, and the files with what broke it."""
    from fuzz.targets import TARGETS

    corpus, crashes = FOUND / "corpus" / name, FOUND / "crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    for seed in TARGETS[name].seeds:
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    before = set(crashes.iterdir())
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-artifact_prefix={crashes}/{name}-",
        f"-rss_limit_mb={MEMORY}",
        f"-timeout={PATIENCE}",
        "-max_len=4096",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    directories = [str(path) for path in (corpus, kept(name)) if path.is_dir()]
    command = [sys.executable, "-m", "fuzz", "--atheris", name, *options, *directories]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    figures = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stdout))
    broken = sorted(set(crashes.iterdir()) - before)
    if done.returncode and not broken:
        sys.exit(f"{name}: the fuzzer itself failed\n{done.stdout[-3000:]}")
    if broken:
        print(done.stdout[done.stdout.find("=== Uncaught") :][:3000])
    runs, new = figures.get("number_of_executed_units", "?"), figures.get("new_units_added", "?")
    return runs, figures.get("average_exec_per_sec", "?"), new, broken


def instrumented(name: str, options: list[str]) -> None:
    """Run libFuzzer in this process; it never returns."""
    import atheris

    with atheris.instrument_imports(include=["ahtransport", "engineio.packet", "socketio.packet", "wsproto"]):
        from fuzz.targets import TARGETS
    atheris.Setup([f"fuzz {name}", *options], TARGETS[name].run)
    atheris.Fuzz()


def main() -> None:
    """Read the command line and do what it says."""
    if sys.argv[1:2] == ["--atheris"]:
        instrumented(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help="by default all of them")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long for each target (60)")
    parser.add_argument("--list", action="store_true", help="list the targets and what they check")
    parser.add_argument("--reproduce", type=Path, metavar="FILE", help="run this one input, without atheris")
    arguments = parser.parse_args()
    from fuzz.targets import TARGETS

    unknown = set(arguments.targets) - set(TARGETS)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    names = arguments.targets or list(TARGETS)
    if arguments.list:
        for name in names:
            print(f"{name:20} {(TARGETS[name].run.__doc__ or '').splitlines()[0]}")
        return
    if arguments.reproduce:
        for name in names:
            TARGETS[name].run(arguments.reproduce.read_bytes())
        return
    if importlib.util.find_spec("atheris") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(
            f"atheris is not installed for Python {version}. There are wheels for Linux and some Pythons only: "
            "python -m nox -s fuzz picks one that works, or: python3.11 -m pip install atheris"
        )
    os.environ["PYTHONHASHSEED"] = "0"
    print(f"{'target':20} {'runs':>10} {'runs/s':>8} {'new inputs':>10} {'crashes':>8}", flush=True)
    failed: list[Path] = []
    for name in names:
        runs, speed, new, broken = hunt(name, arguments.seconds)
        print(f"{name:20} {runs:>10} {speed:>8} {new:>10} {len(broken):>8}", flush=True)
        failed += broken
    for path in failed:
        print(f"broken by {path.relative_to(ROOT)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
