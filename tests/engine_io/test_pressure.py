"""Slow clients, slow applications, applications that refuse or fail."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from ahtransport import Connection, ConnectionClosed
from ahtransport.testing import Refused, fetch
from engine_io.support import EIO, PLAIN_TEXT, SEPARATOR, arena

INTERVAL, TIMEOUT = 25, 20


def elapsed(since: float) -> float:
    """Give the virtual seconds that have passed."""
    return trio.current_time() - since


async def test_c19_a_client_that_never_fetches_is_closed(autojump_clock: object) -> None:
    """C19: at most 1 MiB waits, then the session is closed, visibly."""
    async with arena() as place:
        client = await place.open()
        highest = 0
        for number in range(10_000):
            place.server.broadcast(f"{number} {'x' * 2000}")
            highest = max(highest, place.opened[0]._link.buffered)
        assert 1_000_000 < highest <= 1 << 20
        assert place.closed[0][1:] == (1013, "the client does not read")
        assert (await client.poll())[-1] == "1"


async def test_c19_an_answer_is_never_larger_than_a_payload_may_be(autojump_clock: object) -> None:
    """C19: unless a single packet is."""
    async with arena(max_length=1000) as place:
        client = await place.open()
        sent = [f"{number} {'x' * (number * 7 % 400)}" for number in range(200)]
        sent[50] = "y" * 3000
        for message in sent:
            place.server.broadcast(message)
        received: list[str] = []
        while len(received) < len(sent):
            answer = await client.raw_poll()
            packets = answer.body.decode().split(SEPARATOR)
            assert len(answer.body) <= 1000 or packets == ["4" + "y" * 3000]
            received += [packet[1:] for packet in packets]
        assert received == sent


async def test_send_waits_for_a_client_that_does_not_poll(autojump_clock: object) -> None:
    """Backpressure: ``send`` goes on when the poll has taken what waited."""
    progress = 0

    async def handler(connection: Connection) -> None:
        nonlocal progress
        if len(place.opened) > 1:
            return await echo_handler(connection)
        for _ in range(100):
            await connection.send("x" * 10_000)
            progress += 1

    async with arena(handler=handler) as place:
        client = await place.open()
        await trio.testing.wait_all_tasks_blocked()
        assert 60_000 < progress * 10_000 < 90_000
        before = progress
        await client.poll()
        await trio.testing.wait_all_tasks_blocked()
        assert progress > before
        while (await client.poll())[-1] != "1":
            pass
        assert progress == 100


async def echo_handler(connection: Connection) -> None:
    """Send back what comes."""
    async for message in connection:
        await connection.send(message)


async def test_a_post_is_answered_when_its_messages_were_taken(autojump_clock: object) -> None:
    """Backpressure the other way."""
    gate = trio.Event()
    seen: list[Any] = []

    async def slow(connection: Connection) -> None:
        if len(place.opened) > 1:
            return await echo_handler(connection)
        await gate.wait()
        async for message in connection:
            seen.append(message)

    async with arena(handler=slow, inbox=4) as place, trio.open_nursery() as nursery:
        client = await place.open()
        answers: list[int] = []

        async def post() -> None:
            answers.append((await client.post(SEPARATOR.join(f"4{number}" for number in range(20)))).status)

        nursery.start_soon(post)
        await trio.sleep(5)
        assert answers == []
        gate.set()
        await trio.sleep(1)
        assert answers == [200]
        assert seen == [str(number) for number in range(20)]
        await client.send("1")


async def test_a_post_whose_messages_nobody_takes_any_more(autojump_clock: object) -> None:
    """It is not told "ok"."""

    async def deaf(connection: Connection) -> None:
        if len(place.opened) > 1:
            return await echo_handler(connection)
        await trio.sleep(100)

    async with arena(handler=deaf, inbox=4) as place, trio.open_nursery() as nursery:
        client = await place.open()
        answers: list[tuple[int, Any]] = []

        async def post() -> None:
            answer = await client.post(SEPARATOR.join(f"4{number}" for number in range(20)))
            answers.append((answer.status, answer.json()))

        nursery.start_soon(post)
        await trio.testing.wait_all_tasks_blocked()
        second = await client.post("4more")
        assert second.status == 400
        await trio.sleep(1)
        assert answers == [(400, {"code": 1, "message": "Session ID unknown"})]


async def test_c20_a_connection_that_is_closed_as_soon_as_it_opens(autojump_clock: object) -> None:
    """C20: the client is told with its first poll."""

    def close(connection: Connection) -> None:
        if connection.query.get("unwanted"):
            connection.close()

    async with arena(lambda server: server.on_open(close)) as place:
        client = await place.open("&unwanted=1")
        assert await client.poll() == ["6", "1"]
        socket = await place.upgrade(EIO + "&transport=websocket&unwanted=1")
        assert (await socket.receive())[:1] == "0"
        with pytest.raises(ConnectionClosed):
            await socket.receive()
        assert socket.closed == (1000, "")


async def test_c20_an_on_open_that_fails(autojump_clock: object) -> None:
    """C20: this connection alone pays for it."""

    def fail(connection: Connection) -> None:
        if connection.query.get("unwanted"):
            raise RuntimeError("no")

    async with arena(lambda server: server.on_open(fail)) as place:
        place.tracebacks = 1
        client = await place.open("&unwanted=1")
        assert await client.poll() == ["6", "1"]
        assert place.closed[0][1] == 1011


@pytest.mark.parametrize("answer", ["refuse", "raise", "hang"])
async def test_c20_an_authorization_that_says_no(answer: str, autojump_clock: object) -> None:
    """C20: 4xx or 5xx, no session, nothing left behind."""

    async def authorize(request: Any) -> bool:
        if not request.query.get("unwanted"):
            return True
        if answer == "raise":
            raise RuntimeError("the database is gone")
        if answer == "hang":
            await trio.sleep_forever()
        return False

    async with arena(lambda server: server.authorize(authorize)) as place:
        place.tracebacks = 2
        begun = trio.current_time()
        response = await place.request("GET", EIO + "&transport=polling&unwanted=1")
        assert response.status in {"refuse": (401,), "raise": (403, 500), "hang": (403, 503, 504)}[answer]
        assert elapsed(begun) <= 10.1
        with pytest.raises(Refused):
            await place.upgrade(EIO + "&transport=websocket&unwanted=1")
        assert not place.opened
        assert not place.transformer._sessions


async def test_c1_a_session_that_polls_survives_its_streams(autojump_clock: object) -> None:
    """C1: a session outlives its requests; keep-alive or not, one stream or many."""
    async with arena() as place:
        client = await place.open()
        stream = place.stream()
        for number in range(5):
            answer = await fetch(stream, "POST", client.target(), PLAIN_TEXT, f"4{number}".encode())
            assert answer.body == b"ok"
            assert (await fetch(stream, "GET", client.target())).body == f"4{number}".encode()
        await stream.aclose()
        await trio.sleep(10)
        await client.send("4again")
        assert await client.poll() == ["4again"]
