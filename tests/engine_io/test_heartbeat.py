"""Who is judged to be gone, and when, on a virtual clock."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from ahtransport import ConnectionClosed
from engine_io.support import arena

INTERVAL, TIMEOUT = 25, 20


def elapsed(since: float) -> float:
    """Give the virtual seconds that have passed."""
    return trio.current_time() - since


async def test_c18_a_client_that_never_polls(autojump_clock: object) -> None:
    """C18."""
    async with arena() as place:
        begun = trio.current_time()
        await place.open()
        await place.until(lambda: place.closed)
        assert elapsed(begun) == pytest.approx(INTERVAL + TIMEOUT, abs=1)
        assert place.reasons == ["ping timeout"]


async def test_c18_a_client_that_polls_and_never_pongs(autojump_clock: object) -> None:
    """C18: it hears of its end."""
    async with arena() as place:
        begun = trio.current_time()
        client = await place.open()
        assert await client.poll() == ["2"]
        assert await client.poll() == ["1"]
        assert elapsed(begun) == pytest.approx(INTERVAL + TIMEOUT, abs=1)
        assert place.reasons == ["ping timeout"]


@pytest.mark.parametrize("pause", [0.5, 4, 19])
async def test_c17_c18_a_client_that_pongs_and_never_polls(pause: float, autojump_clock: object) -> None:
    """C17, C18: pongs that answer nothing keep nobody alive."""
    async with arena() as place:
        begun = trio.current_time()
        client = await place.open()
        while (await client.post("3")).status == 200:  # noqa: ASYNC110 -- the client is what is tested
            await trio.sleep(pause)
        assert place.reasons == ["ping timeout"]
        (_, code, _) = place.closed[0]
        assert code == 1006
        assert elapsed(begun) == pytest.approx(INTERVAL + TIMEOUT, abs=max(1, pause + 0.5))


async def test_c18_a_client_that_sends_and_never_pongs(autojump_clock: object) -> None:
    """C18: other packets buy time once, as in npm engine.io."""
    async with arena() as place:
        place.echo = False
        begun = trio.current_time()
        client = await place.open()

        async def chat() -> None:
            while (await client.post("4hello")).status == 200:  # noqa: ASYNC110
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat)
            await place.until(lambda: place.closed)
        assert place.reasons == ["ping timeout"]
        assert elapsed(begun) == pytest.approx(INTERVAL + TIMEOUT + 1, abs=1.5)


async def test_c18_a_silent_websocket(autojump_clock: object) -> None:
    """C18."""
    async with arena() as place:
        socket = await place.upgrade()
        assert (await socket.receive())[:1] == "0"
        assert await socket.receive() == "2"
        with pytest.raises(ConnectionClosed):
            await socket.receive()
        assert trio.current_time() == pytest.approx(INTERVAL + TIMEOUT, abs=1)
        assert socket.closed == (1001, "ping timeout")
        assert place.reasons == ["ping timeout"]


async def test_c17_a_flood_of_pongs_makes_no_timers(autojump_clock: object) -> None:
    """C17."""
    async with arena() as place:
        client = await place.open()
        timers = len(place.server._application.deadlines)
        for _ in range(10):
            await client.send(*["3"] * 1000)
        await trio.sleep(10)
        assert len(place.server._application.deadlines) <= timers
        assert not place.closed


@pytest.mark.parametrize(("interval", "patience"), [(100, 50), ("0.5 s", "0.25 s"), (0.25, 0.25)])
async def test_c21_sub_second_heartbeats(interval: Any, patience: Any, autojump_clock: object) -> None:
    """C21."""
    async with arena(transport={"ping_interval": interval, "pingTimeout": patience}) as place:
        begun = trio.current_time()
        client = await place.open()
        milliseconds = {100: 100, "0.5 s": 500, 0.25: 0.25}[interval]
        assert client.handshake["pingInterval"] == milliseconds
        assert await client.poll() == ["2"]
        assert elapsed(begun) == pytest.approx(milliseconds / 1000, abs=0.001)
        assert await client.poll() == ["1"]
