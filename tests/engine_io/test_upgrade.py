"""The move from polling to a WebSocket: what stalls, fails or races, on a virtual clock."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from ahtransport import ConnectionClosed
from engine_io.support import Polling, arena

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ahtransport import Connection
    from ahtransport.testing import HttpResponse, WebSocketClient
    from engine_io.support import Arena


async def ended(socket: WebSocketClient) -> tuple[int, str]:
    """Read to the end, where nothing else may come; give the close code and the reason."""
    with pytest.raises(ConnectionClosed):
        await socket.receive()
    assert socket.closed is not None
    return socket.closed


async def messages(socket: WebSocketClient) -> AsyncIterator[str | bytes]:
    """Read to the end."""
    with suppress(ConnectionClosed):
        while True:
            yield await socket.receive()


async def test_c1_upgrade(autojump_clock: object) -> None:
    """C1: what waits goes out on the poll, then comes the noop, then the WebSocket."""
    async with arena() as place:
        client = await place.open()
        (connection,) = place.opened
        await connection.send("by polling")
        socket = await place.upgrade(client.target("websocket"))
        await socket.send("2probe")
        assert await socket.receive() == "3probe"
        assert connection.transport == "polling"
        assert await client.poll() == ["4by polling"]
        assert await client.poll() == ["6"]
        await connection.send("between")
        await connection.send(b"\0\1")
        await socket.send("5")
        assert await socket.receive() == "4between"
        assert await socket.receive() == b"\0\1"
        assert (connection.transport, connection.type) == ("websocket", "websocket")
        await connection.send("by websocket")
        assert await socket.receive() == "4by websocket"
        await socket.send("4echo")
        assert await socket.receive() == "4echo"
        assert not place.closed
        await socket.close()
        await place.until(lambda: place.closed)


async def test_c1_a_poll_that_still_waits_gets_a_noop(autojump_clock: object) -> None:
    """C1: a client that moves in haste."""
    async with arena() as place, trio.open_nursery() as nursery:
        client = await place.open()
        socket = await client.probe()
        assert await client.poll() == ["6"]

        async def poll() -> None:
            assert await client.poll() == ["6"]

        nursery.start_soon(poll)
        await trio.testing.wait_all_tasks_blocked()
        await socket.send("5")
        await socket.send("4hello")
        assert await socket.receive() == "4hello"
        await socket.close()


async def test_a_poll_that_is_hung_up_by_the_move(autojump_clock: object) -> None:
    """The poll of a client that has moved on may end as it likes."""
    async with arena() as place:
        client = await place.open()
        socket = await client.probe()
        assert await client.poll() == ["6"]
        stream = place.stream()
        await stream.send_all(f"GET {client.target()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await socket.send("5")
        stream.reset()
        await socket.send("4hello")
        assert await socket.receive() == "4hello"
        await socket.close()


@pytest.mark.parametrize("asks", [True, False])
async def test_c13_an_upgrade_that_stalls(asks: bool, autojump_clock: object) -> None:
    """C13: the WebSocket is closed after ten seconds; polling goes on, quietly, and nothing is lost."""
    async with arena() as place:
        client = await place.open()
        begun = trio.current_time()
        socket = await place.upgrade(client.target("websocket"))
        if asks:
            await socket.send("2probe")
            assert await socket.receive() == "3probe"
        answers: list[list[str]] = []

        async def poll() -> None:
            while answers[-1:] != [["1"]]:
                answers.append(await client.poll())

        async def talk() -> None:
            for number in range(20):
                await place.opened[0].send(str(number))
                await trio.sleep(1)
            place.opened[0].close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            nursery.start_soon(talk)
            assert await ended(socket) == (1000, "")
            assert trio.current_time() - begun == pytest.approx(10, abs=0.1)
        messages = [packet[1:] for packets in answers for packet in packets if packet[:1] == "4"]
        assert messages == [str(number) for number in range(20)]
        noops = sum(packets.count("6") for packets in answers)
        assert noops <= 20 * 10 if asks else noops == 0


@pytest.mark.parametrize("wrong", ["2", "2prob", "3probe", "4hello", "5", "6", "1", "x", "", "2probe2", b"2probe"])
async def test_c13_a_wrong_probe(wrong: str | bytes, autojump_clock: object) -> None:
    """C13: it ends the attempt; the session goes on, and may try again."""
    async with arena() as place:
        client = await place.open()
        socket = await place.upgrade(client.target("websocket"))
        await socket.send(wrong)
        assert await ended(socket) == (1000, "")
        await client.send("4still here")
        assert await client.poll() == ["4still here"]
        again = await client.upgrade()
        await again.send("4moved")
        assert await again.receive() == "4moved"
        await again.close()
        assert place.messages == ["still here", "moved"]


@pytest.mark.parametrize("wrong", ["2", "4hello", "6", "1", "x", b"5", "close", "cut"])
async def test_c13_what_should_have_been_the_upgrade(wrong: str | bytes, autojump_clock: object) -> None:
    """C13: a bad packet, a close or a cut after a good probe."""
    async with arena() as place:
        client = await place.open()
        await place.opened[0].send("first")
        socket = await client.probe()
        if wrong == "close":
            await socket.close()
        elif wrong == "cut":
            await socket.abort()
        else:
            await socket.send(wrong)
            assert await ended(socket) == (1000, "")
        await place.opened[0].send("second")
        await trio.testing.wait_all_tasks_blocked()
        assert await client.poll() == ["4first", "4second"]
        again = await client.upgrade()
        await again.send("4moved")
        assert await again.receive() == "4moved"
        await again.close()


async def test_c13_no_storm_of_noops(autojump_clock: object) -> None:
    """C13: a client that polls and probes as fast as it can gets at most 20 noops a second."""
    async with arena() as place:
        client = await place.open()
        socket = await client.probe()
        begun = trio.current_time()
        noops = 0
        with trio.move_on_after(5):
            while True:
                await socket.send("2probe")
                assert await socket.receive() == "3probe"
                noops += (await client.poll()).count("6")
        assert trio.current_time() - begun == pytest.approx(5)
        assert 10 < noops <= 100
        await trio.testing.wait_all_tasks_blocked()


async def test_c13_probes_are_answered_no_faster_than_they_are_read(autojump_clock: object) -> None:
    """C13: who asks and never listens does not fill the server's memory."""
    async with arena() as place:
        client = await place.open()
        socket = await place.upgrade(client.target("websocket"), capacity=200)
        session = place.transformer._sessions[client.sid]
        for _ in range(300):
            await socket.send("2probe")
        await trio.testing.wait_all_tasks_blocked()
        assert session._probe is not None
        assert session._probe.queued <= 2
        await socket.abort()
        await client.send("1")


async def test_c14_a_second_upgrade_while_one_is_under_way(autojump_clock: object) -> None:
    """C14: the second is closed, the first does not notice."""
    async with arena() as place:
        client = await place.open()
        first = await client.probe()
        second = await place.upgrade(client.target("websocket"))
        await second.send("2probe")
        assert await ended(second) == (1000, "")
        assert await client.poll() == ["6"]
        await first.send("5")
        await first.send("4moved")
        assert await first.receive() == "4moved"
        third = await place.upgrade(client.target("websocket"))
        assert await ended(third) == (1000, "")
        await first.send("4still there")
        assert await first.receive() == "4still there"
        await first.close()


async def test_c14_upgrades_of_sessions_that_are_over(autojump_clock: object) -> None:
    """C14: 400 when it is gone; closed while it goes."""
    async with arena() as place:
        gone = await place.open()
        await gone.send("1")
        answer = await place.request("GET", gone.target("websocket"), headers=UPGRADE)
        assert (answer.status, answer.body) == (400, b"Session ID unknown")
        going = await place.open()
        place.opened[1].close()
        socket = await place.upgrade(going.target("websocket"))
        assert await ended(socket) == (1000, "")
        assert await going.poll() == ["6", "1"]


UPGRADE = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "c2l4dGVlbiBieXRlcyBvaw=="),
    ("Sec-WebSocket-Version", "13"),
]


async def test_c1_an_upgrade_where_none_is_allowed(autojump_clock: object) -> None:
    """C1."""
    async with arena(transport={"allow_upgrades": False}) as place:
        client = await place.open()
        socket = await place.upgrade(client.target("websocket"))
        assert await ended(socket) == (1000, "")
        await client.send("4still here")
        assert await client.poll() == ["4still here"]
        await client.send("1")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_c8_polling_on_a_session_that_has_moved(method: str, autojump_clock: object) -> None:
    """C8: 400, and the session is unharmed."""
    async with arena() as place:
        client = await place.open()
        upgraded = await client.upgrade()
        direct = await place.upgrade()
        opened = await direct.receive()
        assert isinstance(opened, str)
        other = Polling(place, json.loads(opened[1:]))
        for session, socket in ((client, upgraded), (other, direct)):
            assert session.sid in place.transformer._sessions
            answer = await place.request(method, session.target(), b"4hello" if method == "POST" else b"")
            assert (answer.status, answer.json()) == (400, {"code": 3, "message": "Bad request"})
            await socket.send("4unharmed")
            assert await socket.receive() == "4unharmed"
            await socket.close()


async def test_c14_two_hundred_races(autojump_clock: object) -> None:
    """C14: of two upgrades at once exactly one wins, whoever it is; the other is closed."""
    async with arena() as place:

        async def attempt(client: Polling, wins: list[WebSocketClient]) -> None:
            socket = await place.upgrade(client.target("websocket"))
            with suppress(ConnectionClosed):
                await socket.send("2probe")
                await socket.send("5")
                await socket.send("4mine")
                assert await socket.receive() == "3probe"
                assert await socket.receive() == "4mine"
                wins.append(socket)

        for _ in range(200):
            client = await place.open()
            wins: list[WebSocketClient] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(attempt, client, wins)
                nursery.start_soon(attempt, client, wins)
            (winner,) = wins
            await winner.close()
        assert place.messages == ["mine"] * 200


async def test_closing_while_upgrading(autojump_clock: object) -> None:
    """What waits, and the goodbye, reach a client that has stopped polling by now."""
    async with arena() as place:
        client = await place.open()
        socket = await client.probe()
        assert await client.poll() == ["6"]
        await place.opened[0].send("last words")
        place.opened[0].close(4001, "enough")
        await socket.send("5")
        assert await socket.receive() == "4last words"
        assert await ended(socket) == (4001, "enough")
        assert (await client.raw_poll()).status == 400


async def test_closing_while_upgrading_with_a_poll_that_waits(autojump_clock: object) -> None:
    """The poll is told, and the WebSocket that asks is closed."""
    async with arena() as place, trio.open_nursery() as nursery:
        client = await place.open()
        socket = await place.upgrade(client.target("websocket"))

        async def poll() -> None:
            assert await client.poll() == ["1"]

        nursery.start_soon(poll)
        await trio.testing.wait_all_tasks_blocked()
        place.opened[0].close(4001, "enough")
        assert await ended(socket) == (1000, "")


async def test_leaving_while_upgrading(autojump_clock: object) -> None:
    """The client says goodbye by a POST; its WebSocket is closed."""
    async with arena() as place:
        client = await place.open()
        socket = await client.probe()
        await client.send("1")
        assert await ended(socket) == (1000, "")
        await place.until(lambda: place.closed)


class Stuck:
    """An application that takes nothing before its gate opens, and what it has seen then."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.seen: list[str] = []
        self.place: Arena

    async def __call__(self, connection: Connection) -> None:
        if len(self.place.opened) == 1:
            await self.gate.wait()
        async for message in connection:
            self.seen.append(message)
            await connection.send(message)


TEN = [f"4{number}" for number in range(10)]


@pytest.mark.parametrize("limits", [{}, {"message_rate": 1000, "rate_patience": 0}])
async def test_an_upgrade_while_a_post_is_stuck(limits: dict[str, Any], autojump_clock: object) -> None:
    """The application takes no more: neither from the POST nor, after the move, from the WebSocket. The client
    waits for its POST before it moves, and has its answer; what the POST brought comes first all the same."""
    app = Stuck()
    async with arena(handler=app, inbox=4, **limits) as place, trio.open_nursery() as nursery:
        app.place = place
        client = await place.open()
        answers: list[HttpResponse] = []

        async def post() -> None:
            answers.append(await client.post("\x1e".join(TEN)))

        nursery.start_soon(post)
        await trio.testing.wait_all_tasks_blocked()
        assert not answers  # as long as nothing else waits for it
        socket = await client.probe()
        await trio.testing.wait_all_tasks_blocked()
        assert [answer.body for answer in answers] == [b"ok"]
        await socket.send("5")
        await socket.send("4by websocket")
        await trio.testing.wait_all_tasks_blocked()
        assert place.opened[0].transport == "websocket"
        app.gate.set()
        assert [await socket.receive() for _ in range(11)] == [*TEN, "4by websocket"]
        await socket.send("4and on")
        assert await socket.receive() == "4and on"
        await socket.close()


async def test_an_upgrade_that_fails_while_a_post_is_stuck(autojump_clock: object) -> None:
    """The next POST waits for what the first has left."""
    app = Stuck()
    async with arena(handler=app, inbox=4) as place, trio.open_nursery() as nursery:
        app.place = place
        client = await place.open()
        nursery.start_soon(client.send, *TEN)
        await trio.testing.wait_all_tasks_blocked()
        socket = await client.probe()
        await trio.testing.wait_all_tasks_blocked()
        await socket.close()
        nursery.start_soon(client.send, "4later")
        await trio.testing.wait_all_tasks_blocked()
        app.gate.set()
        await place.until(lambda: len(app.seen) == 11)
        assert app.seen == [*map(str, range(10)), "later"]
        place.opened[0].close()


@pytest.mark.parametrize("end", ["a packet that only servers send", "the application closes"])
async def test_what_an_answered_post_has_left_may_end_the_session(end: str, autojump_clock: object) -> None:
    app = Stuck()
    async with arena(handler=app, inbox=4) as place, trio.open_nursery() as nursery:
        app.place = place
        client = await place.open()
        nursery.start_soon(client.post, "\x1e".join([*TEN, "2"]))
        await trio.testing.wait_all_tasks_blocked()
        socket = await client.probe()
        await socket.send("5")
        await trio.testing.wait_all_tasks_blocked()
        if end == "the application closes":
            place.opened[0].close(4001)
        app.gate.set()
        async for _ in messages(socket):
            pass
        assert socket.closed is not None
        assert socket.closed[0] == (4001 if end == "the application closes" else 1002)
        await place.until(lambda: place.closed)


async def test_backpressure_after_the_move(autojump_clock: object) -> None:
    """A WebSocket that nobody reads fills up, and its session is closed; messages from it are not read too soon."""
    async with arena() as place:
        client = await place.open()
        socket = await place.upgrade(client.target("websocket"), capacity=1000)
        await socket.send("2probe")
        assert await socket.receive() == "3probe"
        assert await client.poll() == ["6"]
        await socket.send("5")
        await trio.testing.wait_all_tasks_blocked()
        (connection,) = place.opened
        for number in range(2000):
            place.server.broadcast(f"{number} {'x' * 2000}")
        assert connection.state != "open"
        assert place.closed[0][1:] == (1013, "the client does not read")
        await socket.abort()


async def test_a_send_that_waits_goes_on_after_the_move(autojump_clock: object) -> None:
    """Backpressure across the upgrade."""
    sent = 0

    async def handler(connection: object) -> None:
        nonlocal sent
        if len(place.opened) > 1:
            async for message in place.opened[-1]:
                await place.opened[-1].send(message)
            return
        for number in range(30):
            await place.opened[0].send(f"{number:9}" + "x" * 10_000)
            sent += 1

    async with arena(handler=handler) as place:
        client = await place.open()
        socket = await place.upgrade(client.target("websocket"))
        await socket.send("2probe")
        assert await socket.receive() == "3probe"
        await trio.testing.wait_all_tasks_blocked()
        assert 0 < sent < 10
        await socket.send("5")
        for number in range(30):
            message = await socket.receive()
            assert message[:10] == f"4{number:9}"
        assert await ended(socket) == (1000, "")


async def test_c1_a_websocket_that_is_lost_ends_its_session(autojump_clock: object) -> None:
    """C1."""
    async with arena() as place:
        client = await place.open()
        socket = await client.upgrade()
        await socket.abort()
        await place.until(lambda: place.closed)
        assert place.closed[0][1] == 1006
        assert (await client.raw_poll()).status == 400


async def test_c1_heartbeats_after_the_move(autojump_clock: object) -> None:
    """C1: also when the ping waits for a poll as the move is made."""
    async with arena() as place:
        for move_at in (1, 26):
            client = await place.open()
            await trio.sleep(move_at)
            socket = await client.probe()
            await trio.testing.wait_all_tasks_blocked()
            await socket.send("5")
            for _ in range(3):
                assert await socket.receive() == "2"
                await socket.send("3")
            await socket.close()
        assert all(code != 1006 for _, code, _ in place.closed)
