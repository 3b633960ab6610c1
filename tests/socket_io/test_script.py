"""The script of raw packets against ours, in memory, by both transports."""

from __future__ import annotations

import pytest

from socket_io.cases import CASES, ITEMS
from socket_io.support import CLOSED, OPEN, hall, play


@pytest.mark.parametrize("transport", OPEN)
@pytest.mark.parametrize("item", ITEMS)
async def test_d1_to_d10_what_comes_of_it(item: str, transport: str, autojump_clock: object) -> None:
    """D1 to D10: the outcome is as said, one session after the other; whatever it is, the server is as before."""
    async with hall() as place:
        for case in CASES:
            if case.item == item:
                before = len(place.heard)
                wire = await OPEN[transport](place.dial)
                assert await play(wire, case.steps) == case.outcome, case.name
                if item == "D4" and CLOSED in case.outcome:
                    assert len(place.heard) == before, case.name
                await wire.close()


async def test_d10_a_client_that_breaks_the_rules_leaves_no_others_behind(autojump_clock: object) -> None:
    """D10: all its namespaces hear of it, once, and the session is over by whatever carries it."""
    async with hall() as place:
        wire = await place.connected()
        await wire.send("0/other,")
        await wire.receive()
        await wire.send('2["connect"]')
        await place.until(lambda: len(place.closed) == 2)
        assert {connection.namespace for connection in place.opened} == {"/", "/other"}
        assert [code for _, code, _ in place.closed] == [1002, 1002]
        assert place.reasons == ["the payload does not fit the packet"] * 2
