"""Run the Node.js scripts of this directory beside a server, and read the records they print.

A script prints one JSON text a line and ends with status 0; anything it says on standard error is part of the failure.
"""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

Record = dict[str, Any]

HERE = Path(__file__).parent
NODE = shutil.which("node")


def _missing() -> str:
    """Why the Node.js tests cannot run here; "" when they can."""
    if NODE is None:
        return "Node.js is not installed"
    if not (HERE / "node_modules" / "primus").is_dir():
        return "the npm packages are not installed: run `npm ci` in tests/clients"
    return ""


# Where the packages are promised (AHTRANSPORT_NODE=1, as the nox session sets) their absence is a failure, not a skip.
_skip = pytest.mark.skipif(bool(_missing()) and os.environ.get("AHTRANSPORT_NODE") != "1", reason=_missing() or "-")
node_marks = [pytest.mark.node, _skip]


def of_transformer(name: str) -> pytest.MarkDecorator:
    """The mark of what is about one transformer: ``--transformer`` may leave it out."""
    return pytest.mark.transformer(name)


async def _records(stream: trio.abc.ReceiveStream) -> AsyncGenerator[Record, None]:
    """The JSON lines of a stream. Split at line feeds only: U+2028 is a line break for ``str.splitlines``."""
    pending = b""
    async for chunk in stream:
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            record = json.loads(line)
            assert isinstance(record, dict)
            yield record
    assert not pending, f"the script was cut off after {pending!r}"


async def run_node(
    script: str, *args: str, patience: float = 40, on_record: Callable[[Record], Awaitable[None]] | None = None
) -> list[Record]:
    """Run a script to its end and give back its records.

    *on_record* is awaited with each record as it comes. *patience* is in seconds.

    Raises:
        AssertionError: the script failed, with what it said on standard error, or did not end in time.
    """
    records: list[Record] = []
    errors = bytearray()

    async def read_output(stream: trio.abc.ReceiveStream) -> None:
        async with aclosing(_records(stream)) as lines:
            async for record in lines:
                records.append(record)
                if on_record is not None:
                    await on_record(record)

    async def read_errors(stream: trio.abc.ReceiveStream) -> None:
        async for chunk in stream:
            errors.extend(chunk)

    with trio.move_on_after(patience) as scope:
        async with node_process(script, *args) as process, trio.open_nursery() as nursery:
            assert process.stdout is not None
            assert process.stderr is not None
            nursery.start_soon(read_output, process.stdout)
            nursery.start_soon(read_errors, process.stderr)
            await process.wait()
    said = f"{script} {' '.join(args)}: {errors.decode(errors='replace')}\nrecords: {records}"
    assert not scope.cancelled_caught, f"not done within {patience} s: {said}"
    assert process.returncode == 0, f"status {process.returncode}: {said}"
    return records


@asynccontextmanager
async def node_process(script: str, *args: str) -> AsyncIterator[trio.Process]:
    """A running script with its three standard streams as pipes; killed on the way out if it still runs."""
    problem = _missing()
    assert NODE is not None, problem
    assert not problem, problem
    process = await trio.lowlevel.open_process(
        [NODE, str(HERE / script), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                assert stream is not None
                await stream.aclose()


def oracle(generation: int, options: Mapping[str, Any]) -> AbstractAsyncContextManager[str]:
    """A real Primus server of one generation running the tests' application; yields its address."""
    return _announced("oracle_primus.cjs", str(generation), json.dumps(options))


def engineio_oracle(options: Mapping[str, Any]) -> AbstractAsyncContextManager[str]:
    """A real Engine.IO server running the tests' application; yields its address."""
    return _announced("oracle_engineio.cjs", json.dumps(options))


def raw_engineio_oracle(options: Mapping[str, Any]) -> AbstractAsyncContextManager[str]:
    """A real Engine.IO server that echoes text and bytes as they are; yields its address."""
    return _announced("oracle_engineio_raw.cjs", json.dumps(options))


def raw_socketio_oracle(options: Mapping[str, Any]) -> AbstractAsyncContextManager[str]:
    """A real Socket.IO server with the application of ``tests/socket_io/support.py``; yields its address."""
    return _announced("oracle_socketio_raw.cjs", json.dumps(options))


@asynccontextmanager
async def _announced(script: str, *args: str) -> AsyncIterator[str]:
    async with node_process(script, *args) as process:
        assert process.stdout is not None
        async with aclosing(_records(process.stdout)) as lines:
            with trio.fail_after(20):
                announced = await anext(lines)
        yield f"http://127.0.0.1:{announced['port']}"


drive_primus = functools.partial(run_node, "primus_driver.cjs")
drive_actionhero = functools.partial(run_node, "actionhero_driver.cjs")
drive_engineio = functools.partial(run_node, "engineio_driver.cjs")
drive_wire = functools.partial(run_node, "generated_wires.cjs")
drive_socketio = functools.partial(run_node, "socketio_driver.cjs")
