"""Side by side with npm engine.io: the same raw requests, the same answers, or a difference that is listed here.

``docs/engine-io-differences.md`` argues each of them.
"""

from __future__ import annotations

import functools
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio

from ahtransport import Connection, Server
from ahtransport.testing import running
from clients.app import EchoApp
from clients.harness import node_marks, oracle, raw_engineio_oracle
from engine_io import cases
from engine_io.cases import PRIMUS_CASES, REQUESTS
from engine_io.conversations import CONVERSATIONS
from engine_io.differences import DIFFERENCES, PRIMUS_DIFFERENCES, Difference
from engine_io.support import Plain
from engine_io.talk import Talk

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from engine_io.cases import Case

pytestmark = node_marks

CASES = REQUESTS | CONVERSATIONS


class Notes(NamedTuple):
    """What came back from both."""

    theirs: list[str]
    ours: list[str]


def answer(connection: Connection, message: str | bytes) -> None:
    """Do what the oracle's application does."""
    if message == "close":
        connection.close()
    elif isinstance(message, str) and message.startswith("say "):
        for number in range(int(message[4:])):
            connection.send_nowait(str(number))
    else:
        connection.send_nowait(message)


def make_ours() -> Server:
    """Make our server."""
    server = Server(
        transformer="engine.io",
        config={},
        port=0,
        parser=Plain,
        max_length=cases.MAX_LENGTH,
        high_water=1_000_000,
        close_timeout=500,
        transport={
            "ping_interval": cases.PING_INTERVAL,
            "ping_timeout": cases.PING_TIMEOUT,
            "upgrade_timeout": cases.UPGRADE_TIMEOUT,
        },
    )
    server.on_message(answer)
    return server


async def converse(url: str, case: Case, **options: Any) -> list[str]:
    """Have one conversation."""
    async with trio.open_nursery() as nursery:
        talk = Talk(url, nursery, **options)
        try:
            with trio.move_on_after(5) as patience:
                await case(talk)
            if patience.cancelled_caught:
                talk.notes.append("nothing came")
        finally:
            talk.hang_up()
    return talk.notes


async def converse_with_both(
    theirs: AbstractAsyncContextManager[str], make: Callable[[], Server], chosen: dict[str, Case], **options: Any
) -> dict[str, Notes]:
    """Have all conversations with both."""
    notes: dict[str, Notes] = {}
    async with theirs as npm, running(make()) as ours:
        for name, case in chosen.items():
            notes[name] = Notes(await converse(npm, case, **options), await converse(ours, case, **options))
    return notes


@pytest.fixture(scope="module")
def notes() -> dict[str, Notes]:
    """What came back from npm engine.io and from ours, by case."""
    theirs = raw_engineio_oracle(
        {
            "pingInterval": cases.PING_INTERVAL,
            "pingTimeout": cases.PING_TIMEOUT,
            "upgradeTimeout": cases.UPGRADE_TIMEOUT,
            "maxHttpBufferSize": cases.MAX_LENGTH,
        }
    )
    return trio.run(functools.partial(converse_with_both, theirs, make_ours, CASES))


@pytest.fixture(scope="module")
def primus_notes() -> dict[str, Notes]:
    """What came back from npm Primus on npm engine.io and from ours, by case."""
    theirs = oracle(8, {"transformer": "engine.io"})
    headers = [
        *(f"access-control-{name}" for name in ("allow-origin", "allow-credentials", "allow-methods", "allow-headers")),
        *("access-control-max-age", "access-control-expose-headers", "vary", "www-authenticate"),
        *("cache-control", "pragma"),
    ]

    def make() -> Server:
        return EchoApp(transformer="engine.io").server

    return trio.run(functools.partial(converse_with_both, theirs, make, PRIMUS_CASES, headers=headers))


def compare(notes: Notes, difference: Difference | None) -> None:
    """Check that both said the same but for what is listed."""
    assert notes.theirs
    steps = list(zip_longest(*notes))
    differing = [step for step in steps if step[0] != step[1]]
    assert differing == ([] if difference is None else list(difference.steps))


@pytest.mark.parametrize("name", CASES)
def test_c1_to_c14_same_answers_as_engineio(name: str, notes: dict[str, Notes]) -> None:
    """C1 to C14: what npm engine.io says, ours says, or the difference is listed."""
    compare(notes[name], DIFFERENCES.get(name))


@pytest.mark.parametrize("name", PRIMUS_CASES)
def test_g2_g3_same_answers_as_primus(name: str, primus_notes: dict[str, Notes]) -> None:
    """G2, G3: CORS and authorization are Primus' part of it."""
    compare(primus_notes[name], PRIMUS_DIFFERENCES.get(name))


def test_differences_are_of_cases_that_there_are() -> None:
    assert set(DIFFERENCES) <= set(CASES)
    assert set(PRIMUS_DIFFERENCES) <= set(PRIMUS_CASES)


def test_differences_are_argued() -> None:
    """Each has its heading in the documentation."""
    page = (Path(__file__).parents[2] / "docs" / "engine-io-differences.md").read_text(encoding="utf-8")
    headings = {line.removeprefix("### ") for line in page.splitlines() if line.startswith("### ")}
    listed = {difference.heading for difference in [*DIFFERENCES.values(), *PRIMUS_DIFFERENCES.values()]}
    assert listed <= headings
