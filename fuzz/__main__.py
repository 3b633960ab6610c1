"""Let atheris look for inputs that break a target: ``python -m fuzz --seconds 60 [target …]``.

Each target runs in a process of its own, since a fuzzer ends with its process. What it finds that leads to new places
is kept under ``.fuzz/corpus`` and is where the next run begins; what breaks a target is kept under ``.fuzz/crashes``.
``python -m fuzz --reproduce FILE target`` runs one input without atheris; ``python -m fuzz --keep [target …]`` takes
the best of what was found into ``fuzz/corpus``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz import kept

if TYPE_CHECKING:
    from fuzz.core import Function  # at run time, what is to be instrumented would be imported too soon

ROOT = Path(__file__).resolve().parent.parent
FOUND = ROOT / ".fuzz"
MEMORY = 2048  # MiB that a target may take
PATIENCE = 10  # seconds that one input may take
LONGEST = 1024  # bytes of an input that is kept
MOST_SLOW = 20  # inputs that are kept for a target whose runs take milliseconds


def hunt(name: str, seconds: float) -> tuple[str, str, str, list[Path]]:
    """Fuzz one target; gives runs in all, runs per second, new inputs, and the files with what broke it."""
    from fuzz.targets import TARGETS

    corpus, crashes = FOUND / "corpus" / name, FOUND / "crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    for seed in (*TARGETS[name].seeds, *(data for part in kept.read(name) for data in part)):
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
    done = fuzzer(name, *options, str(corpus))
    figures = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stdout))
    broken = sorted(set(crashes.iterdir()) - before)
    if done.returncode and not broken:
        sys.exit(f"{name}: the fuzzer itself failed\n{done.stdout[-3000:]}")
    if broken:
        print(done.stdout[done.stdout.find("=== Uncaught") :][:3000])
    runs, new = figures.get("number_of_executed_units", "?"), figures.get("new_units_added", "?")
    return runs, figures.get("average_exec_per_sec", "?"), new, broken


def fuzzer(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run libFuzzer on a target in a process of its own."""
    command = [sys.executable, "-m", "fuzz", "--atheris", name, *arguments]
    return subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )


def keep(name: str) -> int:
    """Take as few inputs into ``fuzz/corpus`` as lead to everything that was found, the shortest first; gives how many.

    Those that once broke the target stay there.
    """
    from fuzz.targets import TARGETS

    corpus = FOUND / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    target, before = TARGETS[name], kept.read(name)
    with tempfile.TemporaryDirectory() as merged:
        done = fuzzer(name, "-merge=1", f"-max_len={LONGEST}", f"-timeout={PATIENCE}", merged, str(corpus))
        found = [path.read_bytes() for path in Path(merged).iterdir()]
    if done.returncode or not found:
        sys.exit(f"{name}: nothing could be merged\n{done.stdout[-3000:]}")
    new = set(found) - {*target.seeds, *before.broke}
    leads = kept.chosen(new, MOST_SLOW) if target.slow else kept.chosen(new)
    kept.write(name, kept.Corpus(before.broke, leads))
    return len(leads)


def ignore(data: bytes) -> None:
    """Do nothing."""


def instrumented(name: str, options: list[str]) -> None:
    """Run libFuzzer in this process; it never returns."""
    import atheris

    run: Function = ignore
    if "-merge=1" not in options:  # with it, it only starts itself again and reads what that one notes
        with atheris.instrument_imports(include=["ahtransport", "engineio.packet", "socketio.packet", "wsproto"]):
            from fuzz.targets import TARGETS
        run = TARGETS[name].run
    # By this name it starts itself once more, through a shell, for -merge.
    atheris.Setup([f"{shlex.quote(sys.executable)} -m fuzz --atheris {name}", *options], run)
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
    parser.add_argument("--keep", action="store_true", help="take the best of what was found into fuzz/corpus")
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
    if arguments.keep:
        for name in names:
            print(f"{name:20} {keep(name):>4} inputs", flush=True)
        return
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
