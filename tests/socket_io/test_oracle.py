"""The script of raw packets against npm ``socket.io`` and ours, side by side: the same outcomes, or a reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import trio

from ahtransport import ConnectionClosed, Server
from ahtransport.testing import running
from clients.harness import node_marks, of_transformer, raw_socketio_oracle
from socket_io.cases import CASES, Case, differing
from socket_io.support import OPEN, Dial, Wire, play, populate

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

pytestmark = [*node_marks, of_transformer("socket.io")]

PAGE = Path(__file__).parents[2] / "docs" / "socket-io-differences.md"


def ours() -> AbstractAsyncContextManager[str]:
    """Serve the application on a real socket."""
    server = Server(config={}, transformer="socket.io", port=0, host="127.0.0.1")
    populate(server)
    return running(server)


def dialler(url: str) -> Dial:
    """Make what connects to a server."""
    port = urlsplit(url).port
    assert port is not None

    async def dial() -> trio.abc.Stream:
        return await trio.open_tcp_stream("127.0.0.1", port)

    return dial


async def outcomes(url: str, transport: str) -> list[list[Any]]:
    """Play all cases against a server, several at a time."""
    dial, found = dialler(url), [list[Any]() for _ in CASES]
    limit = trio.CapacityLimiter(16)

    async def run(number: int, case: Case) -> None:
        async with limit:
            with trio.fail_after(20):
                wire = await OPEN[transport](dial)
                try:
                    found[number] = await play(wire, case.steps)
                finally:
                    with trio.CancelScope(shield=True):
                        await wire.close()

    async with trio.open_nursery() as nursery:
        for number, case in enumerate(CASES):
            nursery.start_soon(run, number, case)
    return found


async def until_closed(wire: Wire) -> list[str | bytes]:
    """Give what still comes before the session is over."""
    got: list[str | bytes] = []
    try:
        while True:
            got.append(await wire.receive())
    except ConnectionClosed:
        return got


@pytest.mark.parametrize("transport", OPEN)
async def test_d1_to_d10_both_do_the_same(transport: str) -> None:
    """D1 to D10, "must be seen": what npm does is what the cases say of it, and so is what ours does."""
    async with raw_socketio_oracle({}) as url:
        theirs = await outcomes(url, transport)
    async with ours() as url:
        mine = await outcomes(url, transport)
    expected = [case.outcome if case.npm is None else case.npm for case in CASES]
    differences = {case.name: (f, e) for case, f, e in zip(CASES, theirs, expected, strict=True) if f != e}
    assert differences == {}
    assert mine == [case.outcome for case in CASES]


def test_every_difference_has_its_reason() -> None:
    """The page's first table has a row for each reason that the cases name, and no other."""
    table = PAGE.read_text().split("## In packets")[1].split("## ")[0]
    _, _, *rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    assert sorted(rows) == sorted({case.why for case in differing()})


@pytest.mark.parametrize("transport", OPEN)
async def test_d2_both_end_a_client_that_connects_to_nothing(transport: str) -> None:
    """D2: here after 0.2 seconds."""
    server = Server(config={}, transformer="socket.io", port=0, host="127.0.0.1", transport={"connectTimeout": 200})
    for place in (raw_socketio_oracle({"connectTimeout": 200}), running(server)):
        async with place as url:
            wire = await OPEN[transport](dialler(url))
            try:
                with trio.fail_after(5):
                    assert await until_closed(wire) == []
            finally:
                await wire.close()
