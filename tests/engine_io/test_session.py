"""A session's life by polling, on a virtual clock: what ends it, when, and what the client hears of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

from ahtransport import ConnectionClosed
from ahtransport.testing import Refused
from engine_io.support import EIO, SEPARATOR, arena

INTERVAL, TIMEOUT = 25, 20


def elapsed(since: float) -> float:
    """Give the virtual seconds that have passed."""
    return trio.current_time() - since


# -- C1: the protocol's own statements


async def test_c1_c21_handshake(autojump_clock: object) -> None:
    """C1, C21: the open packet, alone in its answer."""
    async with arena() as place:
        answer = await place.request("GET", EIO + "&transport=polling")
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
        assert "no-store" in answer.headers["cache-control"]
        handshake = json.loads(answer.body[1:])
        assert answer.body[:1] == b"0"
        assert list(handshake) == ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"]
        assert handshake | {"sid": ""} == {
            "sid": "",
            "upgrades": ["websocket"],
            "pingInterval": 25000,
            "pingTimeout": 20000,
            "maxPayload": 10485760,
        }
        (connection,) = place.opened
        assert (connection.type, connection.transport, connection.transformer) == ("websocket", "polling", "engine.io")


@pytest.mark.parametrize(
    ("options", "upgrades"),
    [
        ({}, ["websocket"]),
        ({"transports": ["polling"]}, []),
        ({"allow_upgrades": False}, []),
        ({"allowUpgrades": False}, []),
    ],
)
async def test_c1_which_upgrades_are_offered(
    options: dict[str, Any], upgrades: list[str], autojump_clock: object
) -> None:
    """C1."""
    async with arena(transport=options) as place:
        answer = await place.request("GET", EIO + "&transport=polling")
        assert json.loads(answer.body[1:])["upgrades"] == upgrades if "transports" not in options else True
        if options.get("transports") == ["polling"]:
            with pytest.raises(Refused):
                await place.upgrade()
            place.transformer.transports = ["polling", "websocket"]  # for the bystander


@pytest.mark.parametrize("slash", ["/primus", "/primus/"])
async def test_c1_the_trailing_slash_is_optional(slash: str, autojump_clock: object) -> None:
    """C1."""
    async with arena() as place:
        assert (await place.request("GET", slash + "?EIO=4&transport=polling")).status == 200


async def test_c1_messages_by_polling(autojump_clock: object) -> None:
    """C1: text and binary, several in one payload, both ways; a POST is answered with ok."""
    async with arena() as place:
        client = await place.open()
        answer = await client.post("4hello" + SEPARATOR + "bAAEC" + SEPARATOR + "4\u20ac")
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"ok", "text/html")
        assert place.messages == ["hello", b"\0\1\2", "\u20ac"]
        assert await client.poll() == ["4hello", "bAAEC", "4\u20ac"]


async def test_c1_a_poll_waits_for_something_to_say(autojump_clock: object) -> None:
    """C1."""
    async with arena() as place, trio.open_nursery() as nursery:
        client = await place.open()

        async def say() -> None:
            await trio.sleep(7)
            await place.opened[0].send("late")

        nursery.start_soon(say)
        begun = trio.current_time()
        assert await client.poll() == ["4late"]
        assert elapsed(begun) == pytest.approx(7, abs=0.01)


async def test_c1_messages_by_websocket(autojump_clock: object) -> None:
    """C1: each packet its own frame; binary ones as they are, base64 read all the same."""
    async with arena() as place:
        socket = await place.upgrade()
        handshake = await socket.receive()
        assert isinstance(handshake, str)
        assert json.loads(handshake[1:])["upgrades"] == []
        assert place.opened[0].transport == "websocket"
        await socket.send("4text")
        await socket.send(b"\0\1")
        await socket.send("bAAE=")
        assert [await socket.receive() for _ in range(3)] == ["4text", b"\0\1", b"\0\1"]
        await socket.close()


async def test_c1_a_client_that_answers_stays(autojump_clock: object) -> None:
    """C1: pings from the server, by both transports."""
    async with arena() as place:
        client = await place.open()
        socket = await place.upgrade()
        await socket.receive()
        for round_ in range(1, 6):
            assert await client.poll() == ["2"]
            assert await socket.receive() == "2"
            assert trio.current_time() == pytest.approx(INTERVAL * round_, abs=0.1)
            await client.send("3")
            await socket.send("3")
        assert not place.closed


async def test_c1_c12_the_client_says_goodbye(autojump_clock: object) -> None:
    """C1, C12: packet 1; a poll that waits gets a noop, and the session is gone."""
    async with arena() as place, trio.open_nursery() as nursery:
        client = await place.open()
        answers: list[list[str]] = []

        async def poll() -> None:
            answers.append(await client.poll())

        nursery.start_soon(poll)
        await trio.testing.wait_all_tasks_blocked()
        await client.send("4last", "1", "4too late")
        await place.until(lambda: place.closed)
        assert place.messages == ["last"]
        assert place.closed[0][1] == 1000
        assert (await client.raw_poll()).json() == {"code": 1, "message": "Session ID unknown"}
    assert answers == [["4last"]] or answers == [["6"]]


async def test_c1_the_client_says_goodbye_by_websocket(autojump_clock: object) -> None:
    """C1."""
    async with arena() as place:
        socket = await place.upgrade()
        await socket.receive()
        await socket.send("1")
        with pytest.raises(ConnectionClosed):
            await socket.receive()
        assert socket.closed == (1000, "")
        assert place.closed[0][1] == 1000


async def test_c1_the_server_says_goodbye(autojump_clock: object) -> None:
    """C1: to a poll that waits, to one that comes later, behind what still waits."""
    async with arena() as place:
        client = await place.open()
        async with trio.open_nursery() as nursery:

            async def poll() -> None:
                assert await client.poll() == ["1"]

            nursery.start_soon(poll)
            await trio.testing.wait_all_tasks_blocked()
            place.opened[0].close()
        late = await place.open()
        place.opened[1].close()
        assert await late.poll() == ["6", "1"]
        full = await place.open()
        await place.opened[2].send("last words")
        place.opened[2].close()
        assert (await full.post("4ignored")).status == 200
        assert (await full.post("3")).status == 200
        assert await full.poll() == ["4last words", "1"]
        for gone in (client, late, full):
            assert (await gone.raw_poll()).status == 400
        assert not place.messages


async def test_the_server_says_goodbye_and_nobody_listens(autojump_clock: object) -> None:
    """The close packet is kept for ``close_timeout``, whatever the client posts."""
    async with arena(close_timeout=3000) as place:
        client = await place.open()
        place.opened[0].close()
        assert (await client.post("3")).status == 200
        await trio.sleep(2.9)
        assert place.transformer._sessions
        await trio.sleep(0.2)
        assert not place.transformer._sessions


async def test_a_goodbye_to_one_who_leaves(autojump_clock: object) -> None:
    """Both say it at once."""
    async with arena() as place:
        client = await place.open()
        place.opened[0].close()
        await client.send("1")
        assert not place.transformer._sessions


async def test_c1_a_large_post_lets_others_have_their_turn(autojump_clock: object) -> None:
    """It brings as many packets as a body may have; they are taken in batches."""
    async with arena() as place:
        place.echo = False
        client = await place.open()
        most = before = 0

        async def watch() -> None:
            nonlocal most, before
            while len(place.messages) < 1000:
                await trio.lowlevel.checkpoint()
                most, before = max(most, len(place.messages) - before), len(place.messages)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await client.send(*(f"4{number}" for number in range(1000)))
        assert place.messages == [str(number) for number in range(1000)]
        # trio's order is random, so one may have two turns while the other waits for its own.
        assert 0 < most <= 2 * 128
