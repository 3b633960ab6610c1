"""``serve --reload``: runs the server in a child process, and starts it again when a file has changed.

Files are compared by time and size, twice a second: simple, the same everywhere, and cheap for a project's sources.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import click
import trio

from ahtransport._cli.running import signals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

__all__ = ["changes", "snapshot", "supervise"]

Snapshot: TypeAlias = dict[str, tuple[int, int]]

_ENDINGS = (".py", ".toml")
_SKIPPED = {"__pycache__", "node_modules"}
_POLL = 0.5  # seconds
_PATIENCE = 3.0  # seconds that a server has for draining, before it is asked again, and then killed


def snapshot(roots: Iterable[Path]) -> Snapshot:
    """Note time and size of every .py and .toml file under some directories, but for hidden directories, installed
    packages and virtual environments."""
    seen: Snapshot = {}
    for root in roots:
        for directory, inner, files in os.walk(root):
            if "pyvenv.cfg" in files:
                inner.clear()
                continue
            inner[:] = [name for name in inner if not name.startswith(".") and name not in _SKIPPED]
            for name in files:
                if name.endswith(_ENDINGS):
                    path = os.path.join(directory, name)
                    try:
                        status = os.stat(path)
                    except OSError:  # gone between the listing and now
                        continue
                    seen[path] = (status.st_mtime_ns, status.st_size)
    return seen


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Name the files that are new, gone or different."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


async def supervise(command: Sequence[str], roots: Sequence[Path]) -> int:
    """Run a command, again whenever a file changes, until it ends well or a signal comes; give its exit code.

    Args:
        command: what to run.
        roots: the directories to watch.
    """
    seen = await trio.to_thread.run_sync(snapshot, roots)
    with trio.open_signal_receiver(*signals()) as received:
        while True:
            # In a session of its own, so that Ctrl+C reaches it through us alone, once.
            child = await trio.lowlevel.open_process(command, start_new_session=sys.platform != "win32")
            try:
                event, value = await _first(ended=child.wait, changed=_changed(roots, seen), signal=received.__anext__)
                if event == "ended" and value != 0:
                    click.echo(f"ended with exit code {value}; starting again when a file changes", err=True)
                    event, value = await _first(changed=_changed(roots, seen), signal=received.__anext__)
                if event == "ended":
                    return 0
                if event == "signal":
                    return await _drained(child, received) if child.poll() is None else 128 + int(value)
            finally:
                await _end(child)
            names, seen = value
            click.echo(f"changed: {names}; starting again", err=True)


async def _drained(child: trio.Process, received: AsyncIterator[int]) -> int:
    """Have a server drain, and end at once when another signal comes; give its exit code as shells have it."""
    child.terminate()
    event, code = await _first(ended=child.wait, signal=received.__anext__)
    if event == "signal":
        child.terminate()
        code = await child.wait()
    return int(code) if code >= 0 else 128 - int(code)


def _changed(roots: Sequence[Path], before: Snapshot) -> Callable[[], Awaitable[tuple[str, Snapshot]]]:
    """Make a function that waits for a change and gives the changed files' names and what is there now."""

    async def wait() -> tuple[str, Snapshot]:
        while True:
            await trio.sleep(_POLL)
            now = await trio.to_thread.run_sync(snapshot, roots)
            if found := changes(before, now):
                return _named(found), now

    return wait


def _named(paths: list[str]) -> str:
    return ", ".join(map(os.path.relpath, paths[:3])) + (" …" if len(paths) > 3 else "")


async def _first(**functions: Callable[[], Awaitable[Any]]) -> tuple[str, Any]:
    """Run functions side by side and give the name and the result of the first that returns."""
    results: list[tuple[str, Any]] = []
    async with trio.open_nursery() as nursery:

        async def attempt(name: str, function: Callable[[], Awaitable[Any]]) -> None:
            results.append((name, await function()))
            nursery.cancel_scope.cancel()

        for name, function in functions.items():
            nursery.start_soon(attempt, name, function)
    return results[0]


async def _end(child: trio.Process) -> None:
    """End a child: ask, ask again, then kill it. Nothing is left behind, whatever happens around."""
    with trio.CancelScope(shield=True):
        for ask in (child.terminate, child.terminate, child.kill):
            if child.poll() is not None:
                return
            ask()
            with trio.move_on_after(_PATIENCE):
                await child.wait()
