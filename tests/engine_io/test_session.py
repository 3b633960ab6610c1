"""A session's life by polling, on a virtual clock: what ends it, when, and what the client hears of it."""

from __future__ import annotations

import json
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


# -- C1: the protocol's own statements


async def test_handshake(autojump_clock: object) -> None:
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
async def test_which_upgrades_are_offered(options: dict[str, Any], upgrades: list[str], autojump_clock: object) -> None:
    """C1."""
    async with arena(transport=options) as place:
        answer = await place.request("GET", EIO + "&transport=polling")
        assert json.loads(answer.body[1:])["upgrades"] == upgrades if "transports" not in options else True
        if options.get("transports") == ["polling"]:
            with pytest.raises(Refused):
                await place.upgrade()
            place.transformer.transports = ["polling", "websocket"]  # for the bystander


@pytest.mark.parametrize("slash", ["/primus", "/primus/"])
async def test_the_trailing_slash_is_optional(slash: str, autojump_clock: object) -> None:
    """C1."""
    async with arena() as place:
        assert (await place.request("GET", slash + "?EIO=4&transport=polling")).status == 200


async def test_messages_by_polling(autojump_clock: object) -> None:
    """C1: text and binary, several in one payload, both ways; a POST is answered with ok."""
    async with arena() as place:
        client = await place.open()
        answer = await client.post("4hello" + SEPARATOR + "bAAEC" + SEPARATOR + "4\u20ac")
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"ok", "text/html")
        assert place.messages == ["hello", b"\0\1\2", "\u20ac"]
        assert await client.poll() == ["4hello", "bAAEC", "4\u20ac"]


async def test_a_poll_waits_for_something_to_say(autojump_clock: object) -> None:
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


async def test_messages_by_websocket(autojump_clock: object) -> None:
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


async def test_a_client_that_answers_stays(autojump_clock: object) -> None:
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


async def test_the_client_says_goodbye(autojump_clock: object) -> None:
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


async def test_the_client_says_goodbye_by_websocket(autojump_clock: object) -> None:
    """C1."""
    async with arena() as place:
        socket = await place.upgrade()
        await socket.receive()
        await socket.send("1")
        with pytest.raises(ConnectionClosed):
            await socket.receive()
        assert socket.closed == (1000, "")
        assert place.closed[0][1] == 1000


async def test_the_server_says_goodbye(autojump_clock: object) -> None:
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


# -- C18: the heartbeat


async def test_a_client_that_never_polls(autojump_clock: object) -> None:
    """C18."""
    async with arena() as place:
        begun = trio.current_time()
        await place.open()
        await place.until(lambda: place.closed)
        assert elapsed(begun) == pytest.approx(INTERVAL + TIMEOUT, abs=1)
        assert place.reasons == ["ping timeout"]


async def test_a_client_that_polls_and_never_pongs(autojump_clock: object) -> None:
    """C18: it hears of its end."""
    async with arena() as place:
        begun = trio.current_time()
        client = await place.open()
        assert await client.poll() == ["2"]
        assert await client.poll() == ["1"]
        assert elapsed(begun) == pytest.approx(INTERVAL + TIMEOUT, abs=1)
        assert place.reasons == ["ping timeout"]


@pytest.mark.parametrize("pause", [0.5, 4, 19])
async def test_a_client_that_pongs_and_never_polls(pause: float, autojump_clock: object) -> None:
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


async def test_a_client_that_sends_and_never_pongs(autojump_clock: object) -> None:
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


async def test_a_silent_websocket(autojump_clock: object) -> None:
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


async def test_a_flood_of_pongs_makes_no_timers(autojump_clock: object) -> None:
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
async def test_sub_second_heartbeats(interval: Any, patience: Any, autojump_clock: object) -> None:
    """C21."""
    async with arena(transport={"ping_interval": interval, "pingTimeout": patience}) as place:
        begun = trio.current_time()
        client = await place.open()
        milliseconds = {100: 100, "0.5 s": 500, 0.25: 0.25}[interval]
        assert client.handshake["pingInterval"] == milliseconds
        assert await client.poll() == ["2"]
        assert elapsed(begun) == pytest.approx(milliseconds / 1000, abs=0.001)
        assert await client.poll() == ["1"]


# -- C5, C6, C7: one at a time, and to the end


async def test_two_polls_at_once(autojump_clock: object) -> None:
    """C5: the second gets 400, the first the news."""
    async with arena() as place:
        client = await place.open()
        async with trio.open_nursery() as nursery:

            async def first() -> None:
                assert await client.poll() == ["1"]

            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            second = await client.raw_poll()
            assert (second.status, second.body) == (400, b"")
        assert place.reasons == ["two polls at once"]
        assert (await client.raw_poll()).json()["code"] == 1


async def test_two_posts_at_once(autojump_clock: object) -> None:
    """C6: the second gets 400; the first is not told "ok"."""
    async with arena() as place:
        client = await place.open()
        stream = place.stream()
        await stream.send_all(f"POST {client.target()} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n4he".encode())
        await trio.testing.wait_all_tasks_blocked()
        second = await client.post("4second")
        assert (second.status, second.body) == (400, b"")
        assert place.reasons == ["two POSTs at once"]
        await stream.send_all(b"llo")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
        assert not place.messages


async def test_a_poll_that_is_hung_up(autojump_clock: object) -> None:
    """C7."""
    async with arena() as place:
        client = await place.open()
        stream = place.stream()
        await stream.send_all(f"GET {client.target()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
        await place.until(lambda: place.closed)
        assert place.reasons == ["the poll was aborted"]


async def test_a_poll_that_is_hung_up_just_when_there_is_something_to_say(autojump_clock: object) -> None:
    """C7: what was taken for it is not lost in silence."""
    for order in (0, 1):
        async with arena() as place:
            client = await place.open()
            stream = place.stream()
            await stream.send_all(f"GET {client.target()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await trio.testing.wait_all_tasks_blocked()
            if order:
                stream.reset()
                place.opened[0].send_nowait("precious")
            else:
                place.opened[0].send_nowait("precious")
                stream.reset()
            await trio.testing.wait_all_tasks_blocked()
            assert place.reasons == ["the poll was aborted"]


async def test_an_answer_that_the_client_never_reads(autojump_clock: object) -> None:
    """C7: aborted after some of the bytes have left."""
    async with arena() as place:
        client = await place.open()
        await place.opened[0].send("x" * 50_000)
        stream = place.stream(1000)
        await stream.send_all(f"GET {client.target()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await trio.testing.wait_all_tasks_blocked()
        assert not place.closed
        stream.reset()
        await trio.testing.wait_all_tasks_blocked()
        assert place.reasons == ["the poll was aborted"]


async def test_a_large_answer_to_a_slow_reader(autojump_clock: object) -> None:
    """C7: slow is not aborted."""
    async with arena() as place:
        client = await place.open()
        await place.opened[0].send("x" * 50_000)
        stream = place.stream(1000)
        answer = await fetch(stream, "GET", client.target())
        assert len(answer.body) == 50_001
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert not place.closed
        await client.send("1")


@pytest.mark.parametrize("rest", [b"", b"4hel"])
async def test_a_post_that_is_hung_up(rest: bytes, autojump_clock: object) -> None:
    """C7."""
    async with arena() as place:
        client = await place.open()
        stream = place.stream()
        head = f"POST {client.target()} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n".encode()
        await stream.send_all(head + rest)
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
        await place.until(lambda: place.closed)
        assert place.reasons == ["a POST failed"]


async def test_a_post_that_comes_too_slowly(autojump_clock: object) -> None:
    """F2 for sessions: 408, and it is over."""
    async with arena() as place:
        client = await place.open()
        stream = place.stream()
        await stream.send_all(f"POST {client.target()} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n4".encode())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 408 ")
        assert place.reasons == ["a POST failed"]


# -- C9 to C12: bodies


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large(chunked: bool, autojump_clock: object) -> None:
    """C9: 413 within 64 KiB of the limit; the session goes on, as with npm engine.io."""
    async with arena(max_length=100_000) as place:
        client = await place.open()
        assert client.handshake["maxPayload"] == 100_000
        assert (await client.post("4" + "x" * 99_999)).status == 200
        stream = place.stream()
        form = "Transfer-Encoding: chunked" if chunked else "Content-Length: 200000000"
        await stream.send_all(f"POST {client.target()} HTTP/1.1\r\nHost: x\r\n{form}\r\n\r\n".encode())
        sent = 0
        while not stream.unread:
            piece = b"x" * 1000
            await stream.send_all(b"3e8\r\n" + piece + b"\r\n" if chunked else piece)
            await trio.testing.wait_all_tasks_blocked()
            sent += 1000
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 413 ")
        assert sent <= 100_000 + 65536
        await trio.aclose_forcefully(stream)
        assert (await client.post("4" + "x" * 100_000)).status == 413
        await client.poll()
        await client.send("4still here")
        assert await client.poll() == ["4still here"]


async def test_a_compressed_body(autojump_clock: object) -> None:
    """C9: 415; nothing of it was understood, and nothing ended."""
    async with arena() as place:
        client = await place.open()
        assert (await client.post(b"\x1f\x8b", [("Content-Encoding", "gzip")])).status == 415
        assert (await client.post("4plain", [("Content-Encoding", "identity")])).status == 200
        assert place.messages == ["plain"]


@pytest.mark.parametrize(
    "content_type",
    ["application/octet-stream", "Application/Octet-Stream; x=y", "a/b; charset=utf-16", 'text/plain;charset="latin1"'],
)  # fmt: skip
async def test_a_body_that_is_no_utf8_text(content_type: str, autojump_clock: object) -> None:
    """C11."""
    async with arena() as place:
        client = await place.open()
        answer = await client.post("4hello", [("Content-Type", content_type)])
        assert (answer.status, answer.body) == (400, b"")
        assert place.reasons == ["a body must be UTF-8 text"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/plain;charset=UTF-8", 'x/y; Charset="utf-8"', "", "x; charset=us-ascii"]
)
async def test_a_body_that_is_utf8_text(content_type: str, autojump_clock: object) -> None:
    """C11."""
    async with arena() as place:
        client = await place.open()
        assert (await client.post("4hello", [("Content-Type", content_type)] if content_type else [])).status == 200


BAD_BODIES = [
    b"", b"9", b"x", "٤hi".encode(), "²".encode(), b"b***", b"bAA!!AA", b"0{}", b"2", b"2probe",
    b"d=4hello", b"\xef\xbb\xbf4hello", b"4\xff", b"4ok\x1e", b"\x1e4ok", b"4ok\x1e\x1e4ok",
    b"\x1e" * 1_000_000, b"4\x1e" * 500_000, b"4\x1e" * 1000 + b"4",
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body[:12]))
async def test_a_body_with_what_is_no_packet(body: bytes, autojump_clock: object) -> None:
    """C10, C11, C12, C17: 400, and the session is over; a poll that waits hears of it."""
    async with arena() as place, trio.open_nursery() as nursery:
        client = await place.open()

        async def poll() -> None:
            assert await client.poll() == ["1"]

        nursery.start_soon(poll)
        await trio.testing.wait_all_tasks_blocked()
        answer = await client.post(body)
        assert (answer.status, answer.json()) == (400, {"code": 3, "message": "Bad request"})
        assert place.reasons == ["a POST failed"]
        assert place.messages == []


@pytest.mark.parametrize("packet", ["3", "3probe", "5", "6", "6x"])
async def test_packets_that_mean_nothing_here(packet: str, autojump_clock: object) -> None:
    """C12: ignored, as by npm engine.io."""
    async with arena() as place:
        client = await place.open()
        await client.send(packet, "4go on")
        assert await client.poll() == ["4go on"]


async def test_a_thousand_packets(autojump_clock: object) -> None:
    """C10."""
    async with arena(max_backlog=1_000_000) as place:
        client = await place.open()
        await client.send(*[f"4{number}" for number in range(1000)])
        assert await client.poll() == [f"4{number}" for number in range(1000)]


@pytest.mark.parametrize("packet", ["9", "", "2", "2probe", "0{}", "b***", "x"])
async def test_bad_packets_on_a_websocket(packet: str, autojump_clock: object) -> None:
    """C12, C17."""
    async with arena() as place:
        socket = await place.upgrade()
        await socket.receive()
        await socket.send(packet)
        await socket.send("4too late")
        with pytest.raises(ConnectionClosed):
            await socket.receive()
        assert socket.closed == (1002, "parse error")
        assert place.reasons == ["parse error"]
        assert not place.messages


async def test_a_binary_one_is_no_close(autojump_clock: object) -> None:
    """C12."""
    async with arena() as place:
        socket = await place.upgrade()
        await socket.receive()
        await socket.send(b"1")
        assert await socket.receive() == b"1"
        await socket.close()


# -- C19 and backpressure


async def test_a_client_that_never_fetches_is_closed(autojump_clock: object) -> None:
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


async def test_an_answer_is_never_larger_than_a_payload_may_be(autojump_clock: object) -> None:
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


# -- C20: what the application does in between


async def test_a_connection_that_is_closed_as_soon_as_it_opens(autojump_clock: object) -> None:
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


async def test_an_on_open_that_fails(autojump_clock: object) -> None:
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
async def test_an_authorization_that_says_no(answer: str, autojump_clock: object) -> None:
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


async def test_a_session_that_polls_survives_its_streams(autojump_clock: object) -> None:
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
