"""Every check of the project. ``python -m nox`` runs the default ones; ``python -m nox -l`` lists all.

The tests are a matrix, Python version by transformer: ``python -m nox -s tests`` runs all of it, as far as the
interpreters are present; ``python -m nox -s "tests-3.12(websockets)"`` runs one cell. What follows ``--`` goes to
pytest.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nox

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")["project"]
CLIENTS = ROOT / "tests" / "clients"
COVERAGE = ROOT / ".nox" / "coverage-data"
SUPPORTED = ("3.11", "3.12", "3.13")
TRANSFORMERS = list(PROJECT["entry-points"]["ahtransport.transformers"])


def _candidates(version: str) -> Iterator[Path]:
    """Give the places where an interpreter may be, the most likely first."""
    name = f"python{version}"
    yield Path(sys.executable).with_name(name)
    if found := shutil.which(name):
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"), reverse=True)


def _works(python: Path, version: str) -> bool:
    """Tell whether this really is that version (pyenv's shims often are not) and can make virtual environments."""
    check = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", check], capture_output=True, text=True, timeout=60)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version


def _present(versions: tuple[str, ...]) -> list[str]:
    """Find which versions this machine has, and put those that are not on the PATH there, where nox looks for them."""
    present = []
    for version in versions:
        python = next((path for path in _candidates(version) if path.exists() and _works(path, version)), None)
        if python is None:
            continue
        present.append(version)
        if shutil.which(f"python{version}") != str(python):
            os.environ["PATH"] = os.pathsep.join((str(python.parent), os.environ.get("PATH", "")))
    return present


RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = _present(SUPPORTED if RUNNING in SUPPORTED or sys.version_info < (3, 11) else (*SUPPORTED, RUNNING))
if not PYTHONS:
    sys.exit(f"ahtransport needs Python {SUPPORTED[0]} or newer, with the modules venv and ensurepip; found none")
HERE = RUNNING if RUNNING in PYTHONS else PYTHONS[-1]

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True
# The main tests come last but for the figures about them, so that their summary closes the output.
nox.options.sessions = ["lint", "types", "docs", "clients", "proxy", "browser", "bench-smoke", f"tests-{HERE}",
                        "tests-task-driver", "coverage"]  # fmt: skip

PROCESSES = min(4, os.cpu_count() or 1)
"""How many processes share a run of the tests: most of them wait for each other's sockets, or compute in one thread."""

measured: list[Path] = []
"""Where the sessions of this run left their coverage data."""


def requirements(*names: str) -> list[str]:
    """Give the requirements of these tools as pyproject.toml's extra ``dev`` pins them."""
    pins = {re.split(r"[^\w-]", pin, maxsplit=1)[0]: pin for pin in PROJECT["optional-dependencies"]["dev"]}
    return [pins[name] for name in names]


def in_processes() -> list[str]:
    """Give the options that have pytest share its tests among processes; ``-- -n0`` has it run them in one."""
    return ["-n", str(PROCESSES), "--dist", "worksteal"] if PROCESSES > 1 else []


def pytest(session: nox.Session, *arguments: str, node: str = "1") -> None:
    """Run pytest and measure which branches it takes, in subprocesses too."""
    data = COVERAGE / re.sub(r"[^\w.]+", "-", session.name).strip("-")
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    measured.append(data)
    # Where the npm packages are promised, their absence is a failure; without this it would only skip tests.
    env = {"COVERAGE_FILE": str(data / ".coverage"), "AHTRANSPORT_NODE": node}
    session.run("coverage", "run", "-m", "pytest", *in_processes(), *arguments, *session.posargs, env=env)


@nox.session(python=HERE)
def lint(session: nox.Session) -> None:
    """Ruff: the rules and the format."""
    session.install(*requirements("ruff"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=HERE)
def types(session: nox.Session) -> None:
    """Mypy, strict, over the package, the tests, the examples and this file."""
    session.install("-e", ".[test,browser]", *requirements("mypy", "nox"))
    # src/transports is installed as ahtransport.transports; mypy sees that only when it lies there.
    tree = Path(session.create_tmp()) / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    package = tree / "ahtransport"
    package.mkdir(parents=True)
    for entry in (ROOT / "src" / "ahtransport").iterdir():
        if entry.name != "__pycache__":
            (package / entry.name).symlink_to(entry)
    (package / "transports").symlink_to(ROOT / "src" / "transports")
    paths = [str(package), "tests", "examples", "fuzz", "soak", "noxfile.py"]
    session.run("mypy", *paths, env={"MYPYPATH": str(tree)})


@nox.session(python=PYTHONS)
@nox.parametrize("transformer", [nox.param(name, id=name) for name in TRANSFORMERS])
def tests(session: nox.Session, transformer: str) -> None:
    """All tests without npm's clients, browser and nginx, over one transformer; the first also has the rest."""
    session.install("-e", ".[test]")
    rest = [] if transformer == TRANSFORMERS[0] else ["--dependent"]
    pytest(session, "-m", "not node and not browser and not proxy", "--transformer", transformer, *rest)


@nox.session(python=HERE, name="tests-task-driver")
def tests_task_driver(session: nox.Session) -> None:
    """What a server does under attack, load and at its end, and the Autobahn cases, with a task per socket."""
    session.install("-e", ".[test]")
    names = ("contract", "contract_tls", "contract_unix", "backpressure", "fairness", "shutdown", "faults")
    chosen = [f"tests/test_{name}.py" for name in names]
    # Streams in memory know no other driver; for faults the WebSocket is enough. Floods meet a server in a process of
    # its own, which has the reactor.
    left_out = ("memory", "(test_faults and (engine or socket.io))", "client_files", "generated_client", "test_floods",
                "test_bombs")  # fmt: skip
    options = ["--driver", "task", *(option for name in TRANSFORMERS for option in ("--transformer", name))]
    pytest(
        session,
        *("-m", "not node and not browser and not proxy", "-k", " and ".join(f"not {what}" for what in left_out)),
        *(*options, *chosen, "tests/hostile", "tests/conformance"),
    )


@nox.session(python=HERE)
def slow(session: nox.Session) -> None:
    """The tests that take minutes, at full size: upgrades under fire, storms, thousands at the server's end."""
    session.install("-e", ".[test]")
    npm_ci(session, CLIENTS)
    session.run("pytest", "-m", "slow", "--timeout", "900", *session.posargs, env={"AHTRANSPORT_SLOW": "1"})


@nox.session(python=HERE)
def clients(session: nox.Session) -> None:
    """The tests with real clients from npm, over every transformer."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        session.error(
            f"{' and '.join(missing)} not found. The real clients need Node.js 18 or newer with npm: install it from "
            "https://nodejs.org/ or with the system's packages (such as: apt-get install nodejs npm). "
            "Everything else runs without: python -m nox -s lint types docs tests"
        )
    session.install("-e", ".[test]")
    npm_ci(session, CLIENTS)
    session.env["AHTRANSPORT_NODE"] = "1"  # they are there: a test that skips for want of them is a mistake
    pytest(session, "-m", "node and not proxy")


def npm_ci(session: nox.Session, folder: Path) -> None:
    """Install what the lock file says, unless that was done since the lock file changed."""
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        session.log(f"{folder.relative_to(ROOT)}/node_modules is newer than the lock file")
        return
    with session.chdir(folder):
        session.run("npm", "ci", "--no-audit", "--no-fund", external=True)


@nox.session(python=HERE)
def proxy(session: nox.Session) -> None:
    """Behind a real nginx, with the documentation's configuration; npm's clients, too, where they are installed."""
    if find_nginx() is None:
        debian_packages(session, "nginx-light")
    if find_nginx() is None:
        session.error(
            "nginx not found. Install it with the system's packages (such as: sudo apt-get install nginx-light). "
            "Everything else runs without: python -m nox -s lint types docs clients tests"
        )
    session.install("-e", ".[test]")
    session.env["AHTRANSPORT_NGINX"] = "1"
    pytest(session, "tests/test_proxy.py", node="")


def find_nginx() -> str | None:
    """Give nginx's path; Debian has it where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def debian_packages(session: nox.Session, *names: str) -> None:
    """Install Debian's packages, where that is allowed."""
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        session.run("apt-get", "update", external=True, env=env)
        session.run("apt-get", "install", "-y", "--no-install-recommends", *names, external=True, env=env)


@nox.session(python=HERE)
def browser(session: nox.Session) -> None:
    """The generated client and the pages in headless Chromium; keeps screenshots in .nox/screenshots."""
    chromium = find_chromium() or install_chromium(session)
    session.install("-e", ".[test,browser]")
    # The variable makes a browser that is not there a failure; else these tests would only be skipped.
    env = {"AHTRANSPORT_BROWSER": "1", "CHROMIUM": chromium}
    # In one process: a page, its browser and its server are three already.
    session.run("pytest", "-m", "browser", "tests/browser", *session.posargs, env=env)


def find_chromium() -> str | None:
    """Give the browser's path: what CHROMIUM says, or the first of the usual names."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def install_chromium(session: nox.Session) -> str:
    """Install Debian's package where that is allowed; fails with what to do where it is not."""
    debian_packages(session, "chromium")
    found = find_chromium()
    if found is None:
        session.error(
            "Chromium not found. Install it with the system's packages (such as: sudo apt-get install chromium) or set "
            "CHROMIUM to the path of any Chromium or Chrome. Everything else runs without: "
            "python -m nox -s lint types docs clients tests"
        )
    return found


# The newest Python for which there are wheels of atheris; building it takes a whole LLVM.
FUZZED = next((version for version in ("3.13", "3.12", "3.11") if version in PYTHONS), HERE)


@nox.session(python=FUZZED)
def fuzz(session: nox.Session) -> None:
    """Let atheris look for inputs that break something: ``nox -s fuzz -- --seconds 60 [target …]``; not by default."""
    session.install("-e", ".[test]")
    session.install("--only-binary", "atheris", "atheris>=2.3", success_codes=[0, 1])
    # Where there is no wheel, the runner says so, and what to do.
    session.run("python", "-m", "fuzz", *session.posargs)


@nox.session(python=HERE)
def autobahn(session: nox.Session) -> None:
    """The Autobahn test suite, all of it: half an hour or more, and not part of the default run.

    It needs Python 2.7. ``--write`` puts the result into the documentation; ``--only 1.*`` chooses cases.
    """
    # The last virtualenv that makes environments of 2.7; the suite finds its own old dependencies.
    session.install("-e", ".", "virtualenv<20.22")
    environment = Path(session.create_tmp()) / "python2.7"
    wstest = environment / "bin" / "wstest"
    if not wstest.exists():
        session.run("virtualenv", "--quiet", "--python", find_python27(session), str(environment))
        session.run(str(environment / "bin" / "pip"), "install", "--quiet", "autobahntestsuite==25.10.1", external=True)
    write = ["--write", str(ROOT / "docs" / "_static" / "conformance.txt")] if "--write" in session.posargs else []
    arguments = [argument for argument in session.posargs if argument != "--write"]
    reports = Path(session.create_tmp()) / "reports"
    session.run("python", "tests/conformance/run_autobahn.py", str(wstest), str(reports), *write, *arguments)


def find_python27(session: nox.Session) -> str:
    """Give the path of a Python 2.7 that really is one; fails with what to do where there is none."""
    for path in _candidates("2.7"):
        check = [str(path), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            done = subprocess.run(check, capture_output=True, text=True, timeout=60)
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.strip() == "2.7":
            return str(path)
    session.error(
        "Python 2.7 not found; the Autobahn test suite runs on nothing newer. Install it (such as: pyenv install "
        "2.7.18) or put python2.7 on the PATH. Most cases run without it, in the usual tests: pytest tests/conformance"
    )


@nox.session(python=HERE)
def coverage(session: nox.Session) -> None:
    """Put together what the tests of this run measured (or, alone, of the last ones); fails under 95 % of branches."""
    session.install(*[pin for pin in PROJECT["optional-dependencies"]["test"] if pin.startswith("coverage")])
    folders = measured or sorted(path for path in COVERAGE.glob("*") if path.is_dir())
    if not folders:
        session.error("nothing was measured; run the tests first: python -m nox")
    env = {"COVERAGE_FILE": str(COVERAGE / ".coverage")}
    session.run("coverage", "combine", "--keep", "--quiet", *map(str, folders), env=env)
    session.run("coverage", "report", env=env)


@nox.session(python=HERE)
def docs(session: nox.Session) -> None:
    """Build the documentation, any warning being an error, and run its examples."""
    session.install("-e", ".[docs,test]")
    out = ROOT / "docs" / "_build" / "html"
    session.run("sphinx-build", "-W", "--keep-going", "--fresh-env", "-q", "-b", "html", "docs", str(out))
    session.log(f"file://{out}/index.html")
    session.run("pytest", "tests/test_docs.py", "tests/test_examples.py")


@nox.session(python=PYTHONS[-1])
def bench(session: nox.Session) -> None:
    """The benchmarks side by side with other servers; not part of the default run. Options go after ``--``."""
    compiler(session)
    session.install("-e", ".")
    # The newest Python counts; what the oldest does is shown beside it.
    pythons = [PYTHONS[-1], *([PYTHONS[0]] if len(PYTHONS) > 1 else [])]
    chosen = [] if "--python" in session.posargs or "--from" in session.posargs else ["--python", *pythons]
    session.run("python", "benchmarks/run.py", *session.posargs, *chosen)


@nox.session(python=HERE)
def floods(session: nox.Session) -> None:
    """Every flood at full size, a minute each; writes the table that the documentation shows.

    Options go after ``--``: ``--only F3 F4`` keeps the other rows; with ``--seconds`` no table is written.
    """
    session.install("-e", ".")
    table = ROOT / "docs" / "_static" / "floods.txt"
    arguments = [] if "--seconds" in session.posargs else ["--table", str(table)]
    with session.chdir(ROOT / "tests"):
        session.run("python", "-m", "hostile.flood.run", *session.posargs, *arguments)


@nox.session(python=PYTHONS[-1])
def soak(session: nox.Session) -> None:
    """Thousands of numbered conversations for an hour; not part of the default run. Options go after ``--``."""
    if not sys.platform.startswith("linux"):
        session.skip("the soak needs Linux")
    session.install("-e", ".[test]")
    if shutil.which("npm") is not None:
        npm_ci(session, CLIENTS)
    session.run("python", "-m", "soak", *session.posargs)


@nox.session(name="bench-smoke", python=HERE)
def bench_smoke(session: nox.Session) -> None:
    """Every benchmark, short and small: fails when a message is lost, and looks at no times."""
    if not sys.platform.startswith("linux"):
        session.skip("the benchmarks need Linux")
    compiler(session)
    session.install("-e", ".")
    results = Path(session.create_tmp()) / "smoke.json"
    session.run("python", "benchmarks/run.py", "--smoke", "--json", str(results), *session.posargs)


def compiler(session: nox.Session) -> None:
    """See to it that there is gcc, which compiles the load generators."""
    if shutil.which("gcc") is None:
        debian_packages(session, "gcc", "libc6-dev")
    if shutil.which("gcc") is None:
        session.error(
            "gcc not found. The load generators are C: install it with the system's packages (such as: sudo apt-get "
            "install gcc libc6-dev). Everything else runs without: python -m nox -s lint types docs tests"
        )
