"""What clients of Socket.IO may cost, when they are ended, and what is left of them: nothing."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from ahtransport import ConfigError, Connection, ConnectionClosed, Reject, Request, Server
from ahtransport.testing import WebSocketClient, memory_host
from socket_io.support import OPEN, PATH, PollWire, SocketWire, hall, normal, populate

PLACEHOLDER = '{"_placeholder":true,"num":%d}'


async def ended(wire: Any) -> list[str | bytes]:
    """Give what still comes before the session is over."""
    got: list[str | bytes] = []
    try:
        while True:
            got.append(await wire.receive())
    except ConnectionClosed:
        return got


# -- D2, D5: what does not come in time


@pytest.mark.parametrize("transport", OPEN)
async def test_d2_no_namespace_within_the_time(transport: str, autojump_clock: object) -> None:
    """D2: 45 seconds; refusals do not prolong it."""
    async with hall() as place:
        begun = trio.current_time()
        wire = await OPEN[transport](place.dial)
        await wire.send("0/nowhere,")
        await trio.sleep(20)
        await wire.send("0/admin,")
        assert len(await ended(wire)) == 2
        assert 44.9 < trio.current_time() - begun < 46
        assert place.opened == []


async def test_d2_the_time_is_an_option(autojump_clock: object) -> None:
    """D2: npm's spelling, milliseconds."""
    async with hall(transport={"connectTimeout": 1500}) as place:
        begun = trio.current_time()
        assert await ended(await place.socket()) == []
        assert trio.current_time() - begun == pytest.approx(1.5, abs=0.1)
    for transport in ({"parser": "xml"}, {"connect_timeouts": 1}):
        with pytest.raises(ConfigError, match="transport"):
            Server(config={}, transformer="socket.io", transport=transport)


async def test_d2_a_client_that_has_left_its_last_namespace(autojump_clock: object) -> None:
    """D2: it has the same time again, and may come back within it."""
    async with hall() as place:
        begun = trio.current_time()
        wire = await place.connected()
        await trio.sleep(10)
        await wire.send("1")
        await trio.sleep(10)
        await wire.send("0")
        await wire.receive()
        await wire.send('2["echo"]')
        assert await wire.receive() == '2["echo"]'
        await wire.send("1")
        await place.until(lambda: len(place.closed) == 2)
        assert await ended(wire) == []
        assert trio.current_time() - begun == pytest.approx(65, abs=1)
        assert place.reasons == ["client namespace disconnect"] * 2
        assert [code for _, code, _ in place.closed] == [1000, 1000]


async def test_d2_a_client_whose_last_namespace_the_server_has_left(autojump_clock: object) -> None:
    """D2: it is told, and has ``close_timeout`` to hang up or ask for another."""
    async with hall() as place:
        wire = await place.connected()
        begun = trio.current_time()
        place.opened[0].close()
        assert await ended(wire) == ["1"]
        assert trio.current_time() - begun == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("transport", OPEN)
async def test_d5_attachments_that_do_not_come(transport: str, autojump_clock: object) -> None:
    """D5: 10 seconds without a byte end it."""
    async with hall() as place:
        wire = await OPEN[transport](place.dial)
        await wire.send("0")
        await wire.receive()
        begun = trio.current_time()
        await wire.send(f'53-["echo",{PLACEHOLDER % 0},{PLACEHOLDER % 1},{PLACEHOLDER % 2}]', b"1")
        await trio.sleep(7)
        await wire.send(b"2")
        assert await ended(wire) == []
        assert trio.current_time() - begun == pytest.approx(7 + 10, abs=0.1)
        assert place.reasons == ["attachments are missing"]
        assert place.heard == []


async def test_d5_a_slow_upload(autojump_clock: object) -> None:
    """D5: an attachment may take its time as long as it comes."""
    async with hall() as place:
        wire = await place.connected()
        stream = wire.socket.stream
        await wire.send(f'51-["echo",{PLACEHOLDER % 0}]')
        await stream.send_all(bytes((0x82, 0xFE, *(40_000).to_bytes(2, "big"), 0, 0, 0, 0)))
        for _ in range(4):
            await trio.sleep(8)
            await stream.send_all(bytes(10_000))
        await place.until(lambda: place.heard)
        assert place.closed == []
        await wire.close()


async def test_d5_attachments_together(autojump_clock: object) -> None:
    """D5: no more than ``max_length``."""
    async with hall(max_length=1000) as place:
        wire = await place.connected()
        await wire.send(f'52-["echo",{PLACEHOLDER % 0},{PLACEHOLDER % 1}]', b"x" * 600, b"y" * 401)
        assert await ended(wire) == []
        assert [code for _, code, _ in place.closed] == [1009]
        assert place.heard == []


# -- D8: acknowledgements


async def test_d8_acks_of_others_settle_nothing(autojump_clock: object) -> None:
    """D8: neither another client's nor another namespace's; the right one does, once."""
    async with hall(populate) as place, trio.open_nursery() as nursery:
        wire, other = await place.connected(), await place.connected()
        await wire.send("0/other,")
        await wire.receive()
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await place.opened[0].call("question", timeout=60))

        nursery.start_soon(ask)
        assert await wire.receive() == '21["question"]'
        await other.send('31["theirs"]')
        await wire.send('3/other,1["wrong"]', "30[]", '3["none"]', '32["unknown"]')
        await trio.sleep(1)
        assert answers == []
        await wire.send('31["right"]', '31["twice"]')
        await trio.sleep(1)
        assert answers == ["right"]
        assert not place.closed


async def test_d16_a_client_that_never_answers(autojump_clock: object) -> None:
    """D16: at most ``max_calls`` wait, each for its time; nothing is left of them."""
    async with hall(max_calls=50) as place, trio.open_nursery() as nursery:
        wire = await place.connected()
        outcomes: dict[str, int] = {}

        async def ask() -> None:
            try:
                await place.opened[0].call("question", timeout=5)
            except (trio.WouldBlock, trio.TooSlowError) as error:
                outcomes[type(error).__name__] = outcomes.get(type(error).__name__, 0) + 1

        async def read() -> None:
            await ended(wire)

        nursery.start_soon(read)
        for _ in range(200):
            nursery.start_soon(ask)
        await trio.sleep(6)
        assert outcomes == {"WouldBlock": 150, "TooSlowError": 50}
        assert place.opened[0]._calls is not None
        assert not place.opened[0]._calls._slots
        nursery.cancel_scope.cancel()


# -- what waits


async def test_what_waits_at_the_end_is_fetched(autojump_clock: object) -> None:
    """A broadcast in another namespace, too large for a session that is closing, takes nothing of what was said."""
    async with hall(populate) as place:
        wire = await PollWire.open(place.dial)
        await wire.send("0", "0/other,")
        await wire.receive()
        await wire.receive()
        first, second = sorted(place.opened, key=lambda connection: connection.namespace)
        first.emit("words", "to the last")
        first.close(4000, "come back", reconnect=True)
        assert second.state == "open"
        place.server.of("/other").broadcast("x" * 1_100_000)
        assert await wire.receive() == '2["words","to the last"]'
        with pytest.raises(ConnectionClosed) as caught:
            await wire.receive()
        assert caught.value.code == 1000  # by a packet


# -- D9: namespaces


async def test_d9_unknown_namespaces_leave_nothing(autojump_clock: object) -> None:
    """D9: 2,000 names that nobody has, and as many that a pattern allows but an authorizer refuses."""

    def prepare(server: Server) -> None:
        dynamic = server.of(re.compile(r"/private-\d+"))
        dynamic.on("x")(lambda connection: None)

        @dynamic.authorize
        async def never(request: Request) -> bool:
            await trio.lowlevel.checkpoint()
            return False

    async with hall(prepare) as place:
        wire = await place.socket()
        namespaces = place.server._namespaces
        before = len(list(namespaces))
        for number in range(2000):
            await wire.send(f"0/unknown-{number},", f"0/private-{number},")
            got = sorted([await wire.receive(), await wire.receive()], key=str)
            assert got == [
                f'4/private-{number},{{"message":"not authorized"}}',
                f'4/unknown-{number},{{"message":"Invalid namespace"}}',
            ]
        assert len(list(namespaces)) == before
        assert place.opened == []
        await wire.close()


async def test_d9_dynamic_namespaces_go_with_their_last_client(autojump_clock: object) -> None:
    """D9."""
    async with hall() as place:
        namespaces = place.server._namespaces
        for number in range(100):
            wire = await place.connected(f"/dynamic-{number}")
            assert list(namespaces._passing) == [f"/dynamic-{number}"]
            place.server.of(re.compile(r"/dynamic-\d+"))
            await wire.close()
            await place.until(lambda number=number: len(place.closed) == number + 1)  # type: ignore[misc]
            assert not namespaces._passing


async def test_d9_namespaces_at_the_limit(autojump_clock: object) -> None:
    """D9: 16, counting those that are still being judged; one that was left makes room."""
    gate = trio.Event()

    def prepare(server: Server) -> None:
        slow = server.of(re.compile(r"/slow-\d+"))

        @slow.authorize
        async def wait(request: Request) -> None:
            await gate.wait()

    async with hall(prepare) as place:
        wire = await place.socket(*(f"0/slow-{number}," for number in range(16)))
        await trio.sleep(1)
        gate.set()
        answers = {normal(await wire.receive()) for _ in range(16)}
        assert answers == {f'0/slow-{number},{{"sid":"-"}}' for number in range(16)}
        await wire.send("1/slow-3,", "0/slow-16,")
        assert normal(await wire.receive()) == '0/slow-16,{"sid":"-"}'
        await wire.send("0/slow-17,")
        assert await ended(wire) == []
        gate = trio.Event()
        wire = await place.socket(*(f"0/slow-{number}," for number in range(17)))
        assert await ended(wire) == []
        assert len(place.opened) == 17
        assert "too many namespaces" in place.reasons


async def test_d9_a_name_at_the_limit(autojump_clock: object) -> None:
    """D9: 255 characters are asked about, 256 are not."""
    asked: list[int] = []

    def ask(name: str) -> bool:
        asked.append(len(name))
        return False

    def prepare(server: Server) -> None:
        server.of(ask)

    async with hall(prepare) as place:
        wire = await place.socket()
        for length in (255, 256, 100_000):
            await wire.send("0/" + "x" * (length - 1))
            assert "Invalid namespace" in str(await wire.receive())
        assert asked == [255]
        await wire.close()


async def test_d9_a_function_that_changes_its_mind(autojump_clock: object) -> None:
    """D9: whoever was let into a namespace is in no other when it is gone meanwhile."""
    allowed = {"/club"}

    def prepare(server: Server) -> None:
        club = server.of(allowed.__contains__)

        @club.authorize
        async def close_the_door(request: Request) -> None:
            allowed.clear()
            await trio.sleep(1)

    async with hall(prepare) as place:
        wire = await place.socket("0/club,")
        assert await wire.receive() == '4/club,{"message":"Invalid namespace"}'
        assert place.opened == []
        await wire.close()


async def test_d2_a_client_that_goes_while_it_is_judged(autojump_clock: object) -> None:
    """D2: nothing is opened for it; an event that comes too early ends it."""

    def prepare(server: Server) -> None:
        @server.authorize
        async def slowly(request: Request) -> None:
            await trio.sleep(3)
            if request.auth is None:
                raise Reject(403, "no")

    async with hall(prepare) as place:
        for too_early in ('2["x"]', "1"):
            wire = await place.socket("0{}", too_early)
            assert await ended(wire) == []
        await (await place.socket("0{}")).close()
        await (await place.socket("0")).close()
        await trio.sleep(4)
        assert place.opened == []


@pytest.mark.parametrize("transport", OPEN)
async def test_d2_a_client_that_asks_again_while_it_is_judged(transport: str, autojump_clock: object) -> None:
    """D2: what counts is the latest, as clients don't tell that they have given up what was not yet theirs."""
    judged: list[object] = []

    def prepare(server: Server) -> None:
        @server.of("/admin").authorize
        async def slowly(request: Request) -> None:
            await trio.sleep(3)
            judged.append(request.auth)

    async with hall(prepare) as place:
        wire = await OPEN[transport](place.dial)
        await wire.send("0")
        await wire.receive()
        begun = trio.current_time()
        await wire.send('0/admin,{"number":1}')
        await trio.sleep(1)
        await wire.send('0/admin,{"number":2}', '0/admin,{"number":3}')
        assert normal(await wire.receive()) == '0/admin,{"sid":"-"}'
        assert trio.current_time() - begun == pytest.approx(1 + 3, abs=0.1)
        assert judged == [{"number": 3}]
        assert [connection.namespace for connection in place.opened] == ["/", "/admin"]
        assert place.closed == []
        await wire.close()


async def test_d2_a_client_that_is_judged_for_longer_than_it_may_be_nowhere(autojump_clock: object) -> None:
    """D2: it has come in time, so it is not in its way that the application needs longer; refused, it has to go."""

    def prepare(server: Server) -> None:
        @server.of("/admin").authorize
        async def slowly(request: Request) -> bool:
            await trio.sleep(7)
            return request.auth is not None

    async with hall(prepare) as place:
        for auth, let_in in (("{}", True), ("", False)):
            wire = await place.connected()
            place.opened[-1].close()
            assert await wire.receive() == "1"
            await wire.send(f"0/admin,{auth}")
            begun = trio.current_time()
            if let_in:
                assert normal(await wire.receive()) == '0/admin,{"sid":"-"}'
                await wire.close()
            else:
                assert await ended(wire) == ['4/admin,{"message":"not authorized"}']
                assert trio.current_time() - begun == pytest.approx(5 + 10, abs=0.1)


async def test_d9_a_client_that_reads_no_answers(autojump_clock: object) -> None:
    """D9: refusals are limited like all that waits for a client."""
    async with hall(max_backlog_messages=100) as place:
        wire = await OPEN["polling"](place.dial)
        await wire.send(*(f"0/nowhere-{number}," for number in range(99)))
        await wire.send(*(f"0/nowhere-{number}," for number in range(900)))
        assert len(await ended(wire)) == 0
        assert not place.transformer._sessions


# -- D11: binary events


@pytest.mark.parametrize("transport", OPEN)
async def test_d11_attachments_follow_their_header(transport: str, autojump_clock: object) -> None:
    """D11: 1,000 events at once from as many tasks, half of them binary; no message comes between the parts."""
    async with hall(max_backlog_messages=100_000) as place, trio.open_nursery() as nursery:
        wire = await OPEN[transport](place.dial)
        await wire.send("0")
        await wire.receive()
        connection, dice = place.opened[0], random.Random(11)
        pauses = [dice.random() for _ in range(1000)]

        async def emit(number: int) -> None:
            await trio.sleep(pauses[number])
            while True:
                try:
                    if number % 4 == 1:
                        await connection.send(number)
                    elif number % 2:
                        connection.emit("plain", number)
                    else:
                        connection.emit("binary", number, [b"%d" % number, {"b": b"%d!" % number}])
                    return
                except trio.WouldBlock:
                    await trio.sleep(0.01)

        for number in range(1000):
            nursery.start_soon(emit, number)
        seen: set[int] = set()
        while len(seen) < 1000:
            packet = await wire.receive()
            assert isinstance(packet, str)
            if packet.startswith("52-"):
                _, number, *_ = json.loads(packet[3:])
                assert await wire.receive() == b"%d" % number
                assert await wire.receive() == b"%d!" % number
            else:
                _, number = json.loads(packet[1:])
            seen.add(number)
        assert seen == set(range(1000))
        await wire.close()


# -- D12, D13: handlers


async def test_d12_handlers_start_in_order(autojump_clock: object) -> None:
    """D12: 1,000 numbered events, async functions that take their time; the acks are complete."""
    started: list[int] = []
    dice = random.Random(12)

    def prepare(server: Server) -> None:
        @server.on("event")
        async def take(connection: Connection, number: int) -> int:
            started.append(number)
            await trio.sleep(dice.choice([0, 0, 0.001, 0.01]))
            return number

        @server.on("inline")
        def take_at_once(connection: Connection, number: int) -> int:
            started.append(number)
            return number

    async with hall(prepare) as place, trio.open_nursery() as nursery:
        wire = await place.connected()

        async def send() -> None:
            for number in range(1000):
                await wire.send(f'2{number}["{"inline" if number % 5 == 0 else "event"}",{number}]')

        nursery.start_soon(send)
        answers = {await wire.receive() for _ in range(1000)}
        assert started == list(range(1000))
        assert answers == {f"3{number}[{number}]" for number in range(1000)}
        await wire.close()


async def _group() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_fail)


async def _fail() -> None:
    raise RuntimeError("as it may happen")


@pytest.mark.parametrize("plain", [True, False])
async def test_d13_handlers_that_fail(plain: bool, autojump_clock: object) -> None:
    """D13: logged once each, told to ``on_error``, no ack; the connection lives, and so do the client's others."""
    told: list[str] = []

    def prepare(server: Server) -> None:
        server.of("/other")
        server.on_error(lambda connection, error: told.append(type(error).__name__))
        server.on("fine")(lambda connection: "fine")

        def fail(connection: Connection) -> None:
            raise RuntimeError("as it may happen")

        def leave(connection: Connection) -> None:
            raise SystemExit(1)

        async def wait_and_fail(connection: Connection) -> None:
            await trio.sleep(0.1)
            raise ValueError("as it may happen")

        async def fail_in_a_group(connection: Connection) -> None:
            await _group()

        async def leave_later(connection: Connection) -> None:
            raise SystemExit(1)

        def answer_badly(connection: Connection) -> object:
            return object()

        async def answer_badly_later(connection: Connection) -> object:
            return object()

        chosen = (
            (fail, leave, answer_badly) if plain else (wait_and_fail, fail_in_a_group, leave_later, answer_badly_later)
        )
        for number, function in enumerate(chosen):
            server.on(f"fail {number}")(function)

    async with hall(prepare) as place:
        wire = await place.connected()
        await wire.send("0/other,")
        await wire.receive()
        count = 3 if plain else 4
        for number in range(count):
            await wire.send(f'2["fail {number}"]' if number < count - 1 else f'2{number}["fail {number}"]')
            await wire.send('2["fail 0"]' if number == 0 else f'21{number}["fine"]')
        await wire.send('2999["fine"]')
        got = [await wire.receive() for _ in range(count)]
        assert got == [*(f'31{number}["fine"]' for number in range(1, count)), '3999["fine"]']
        assert not place.closed
        assert len(told) == count + 1
        assert place.server.connections
        place.tracebacks = count + 1
        await wire.close()


async def test_d13_an_ack_that_comes_too_late(autojump_clock: object) -> None:
    """D13: a function that finds its client gone has not failed."""

    def prepare(server: Server) -> None:
        @server.on("slow")
        async def slow(connection: Connection) -> str:
            await trio.sleep(1)
            connection.emit("done")
            return "done"

        @server.on("leave")
        def leave(connection: Connection) -> None:
            connection.close()
            connection.emit("gone")

    async with hall(prepare) as place:
        for name in ("slow", "leave"):
            wire = await place.connected()
            await wire.send(f'21["{name}"]')
            await trio.testing.wait_all_tasks_blocked()
            await wire.close()
        await trio.sleep(2)


async def test_d13_a_message_that_fails_ends_the_session(autojump_clock: object) -> None:
    """D13: as on other transformers, 1011; the client, in all its namespaces, may come back."""

    def prepare(server: Server) -> None:
        server.of("/other")

        @server.on_message
        def fail(connection: Connection, message: Any) -> None:
            raise RuntimeError("as it may happen")

    async with hall(prepare) as place:
        wire = await place.connected()
        await wire.send("0/other,")
        await wire.receive()
        await wire.send('2["message",1]')
        assert await ended(wire) == []
        assert wire.socket.closed is not None
        assert wire.socket.closed[0] == 1011
        assert len(place.closed) == 2
        place.tracebacks = 1


# -- plain messages


async def test_d1_plain_messages(autojump_clock: object) -> None:
    """D1: ``send`` and iteration are the event "message", with or without an ack that is never given."""
    got: list[Any] = []

    async def handler(connection: Connection) -> None:
        async for message in connection:
            got.append(message)
            await connection.send(message)

    async with hall(lambda server: server.on("*")(lambda connection, name: None), handler=handler) as place:
        wire = await place.connected()
        await wire.send('2["message","a"]', '2["message",1,2]', '2["message"]', '27["message",{}]', '28["other"]')
        answers = [await wire.receive() for _ in range(5)]
        assert got == ["a", [1, 2], [], {}]
        assert sorted(answers, key=str) == sorted(
            ['2["message","a"]', '2["message",[1,2]]', '2["message",[]]', '2["message",{}]', "38[]"], key=str
        )
        await wire.close()


async def test_d1_messages_go_to_the_catch_all_where_nothing_else_takes_them(autojump_clock: object) -> None:
    """D1."""
    async with hall() as place:
        wire = await place.connected()
        await wire.send('21["message","a"]')
        assert [await wire.receive(), await wire.receive()] == ['2["any","message","a"]', "31[]"]
        await wire.close()


# -- D15: what can't be carried


async def test_d15_nothing_half_sent(autojump_clock: object) -> None:
    """D15: the caller hears of it, the client hears nothing."""
    cycle: list[Any] = []
    cycle.append(cycle)
    async with hall() as place:
        wire = await place.connected()
        (connection,) = place.opened
        for value in ({b"a": 1}, cycle, object(), [b"first", object()], {"a": {b"k": b"v"}}):
            with pytest.raises((TypeError, ValueError)):
                connection.emit("event", value)
            with pytest.raises((TypeError, ValueError)):
                await connection.call("event", value)
            with pytest.raises((TypeError, ValueError)):
                await connection.send(value)
        with pytest.raises(ValueError, match="disconnect"):
            connection.emit("disconnect")
        assert not connection._calls or not connection._calls._slots
        connection.emit("after")
        assert await wire.receive() == '2["after"]'
        await wire.close()


# -- the other parser


async def test_d1_d4_d14_messagepack(autojump_clock: object) -> None:
    """D1, D4, D14: the same rules, in one binary message each."""

    def pack(kind: int, data: Any = None, namespace: str = "/", number: int | None = None) -> bytes:
        packet = {"type": kind, "nsp": namespace} | ({} if data is None else {"data": data})
        return msgspec.msgpack.encode(packet | ({} if number is None else {"id": number}))

    async def connected(socket: WebSocketClient, namespace: str = "/") -> SocketWire:
        wire = SocketWire(socket)
        await wire.send(pack(0, namespace=namespace))
        answer = await wire.receive()
        assert isinstance(answer, bytes)
        assert msgspec.msgpack.decode(answer)["type"] == 0
        return wire

    server_options: dict[str, Any] = {
        "transformer": "socket.io",
        "port": 0,
        "blocking_warning": 0,
        "transport": {"parser": "msgpack"},
    }
    server = Server(config={}, **server_options)
    populate(server)
    heard: list[Any] = []
    server.transform("incoming", lambda envelope: heard.append(envelope.data))
    async with memory_host(server) as host:
        wire = await connected((await SocketWire.open(host.dial)).socket)
        await wire.send(pack(2, ["return", b"\1", {"a": [b"\2"]}], number=5))
        answer = await wire.receive()
        assert isinstance(answer, bytes)
        assert msgspec.msgpack.decode(answer) == {"type": 3, "nsp": "/", "id": 5, "data": [b"\1", {"a": [b"\2"]}]}
        await wire.send(pack(2, ["leave"]))
        answer = await wire.receive()
        assert isinstance(answer, bytes)
        assert msgspec.msgpack.decode(answer) == {"type": 1, "nsp": "/"}
        await wire.close()
        heard.clear()
        for packet in (
            pack(2, ["disconnect"]),
            pack(2, ["__disconnect_final"]),
            pack(2, [1.5, {1: 2}]),
            b"\xc1",
            pack(9),
        ):
            wire = await connected((await SocketWire.open(host.dial)).socket)
            await wire.send(packet)
            assert await ended(wire) == []
        wire = await connected((await SocketWire.open(host.dial)).socket)
        await wire.send('2["echo"]')
        assert await ended(wire) == []
        assert heard == []
        assert not server.connections


# -- upgrades


async def test_an_upgrade_moves_all_namespaces(autojump_clock: object) -> None:
    """Also one of which the application has not decided yet; binary parts then come as they are, not as base64."""
    decide = trio.Event()
    async with hall() as place:

        @place.server.of("/later").authorize
        async def wait(request: Request) -> None:
            await decide.wait()

        poll = await PollWire.open(place.dial)
        await poll.send("0", "0/other,", "0/later,")
        for _ in range(2):
            await poll.receive()
        path = f"{PATH}&transport=websocket&sid={poll.handshake['sid']}"
        wire = SocketWire(await WebSocketClient.connect(await place.dial(), path))
        await wire.socket.send("2probe")
        assert await wire.socket.receive() == "3probe"
        await wire.socket.send("5")
        await trio.testing.wait_all_tasks_blocked()
        decide.set()
        assert normal(await wire.receive()) == '0/later,{"sid":"-"}'
        connections = [one for name in ("/", "/other", "/later") for one in place.server.of(name).connections.values()]
        assert len(connections) == 3
        for connection in connections:
            assert connection.transport == "websocket"
            assert connection._link.wire == f"websocket {connection.namespace}"
            connection.send_nowait(b"\0\1")
            head, part = await wire.receive(), await wire.receive()
            named = "" if connection.namespace == "/" else f"{connection.namespace},"
            assert head == f'51-{named}["message",{PLACEHOLDER % 0}]'
            assert part == b"\0\1"


async def test_a_client_that_reads_nothing_gets_no_further_namespace() -> None:
    """Nobody is told of a connection that is closed before it has been opened."""
    told: list[str] = []

    async def flood(connection: Connection) -> None:
        await connection.send("x" * 50_000)
        async for _ in connection:
            pass

    server = Server(flood, config={}, transformer="socket.io", max_backlog=10_000)
    server.of("/admin").on_open(lambda connection: told.append("open"))
    server.of("/admin").on_close(lambda connection, code, reason: told.append("close"))
    server.on_close(lambda connection, code, reason: told.append(f"root {code}"))
    async with memory_host(server) as host:
        stream = host.stream(capacity=1000)
        client = await WebSocketClient.connect(stream, "/socket.io/?EIO=4&transport=websocket")
        await client.send("40")
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().backlog > 10_000
        await client.send("40/admin,")
        await trio.testing.wait_all_tasks_blocked()
        assert server.of("/admin").connections == {}
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert told == ["root 1013"]


# -- G16: there is no state recovery


@pytest.mark.parametrize("transport", OPEN)
async def test_g16_whoever_asks_for_an_old_state_begins_anew(transport: str, autojump_clock: object) -> None:
    """Whatever ``pid`` and ``offset`` say: another id, nothing of what was missed, and the application is asked."""
    async with hall() as place:
        lost = await OPEN[transport](place.dial)
        await lost.send('0/admin,{"token":"right"}')
        reply = await lost.receive()
        first = json.loads(str(reply).removeprefix("0/admin,"))
        assert set(first) == {"sid"}  # no "pid" is ever given
        (connection,) = place.opened
        place.server.of("/admin").rooms.join(connection, "tea")
        wire = await OPEN[transport](place.dial)
        for pid in (first["sid"], "guessed", "", None, ["x"], {"$ne": 1}):
            asked = {"pid": pid, "offset": "0"}
            await wire.send("0/admin," + json.dumps(asked))
            assert str(await wire.receive()).startswith("4/admin,")  # CONNECT_ERROR: the token counts, as ever
            await wire.send("0/admin," + json.dumps({"token": "right", **asked}))
            again = json.loads(str(await wire.receive()).removeprefix("0/admin,"))
            assert set(again) == {"sid"}
            assert again["sid"] != first["sid"]
            assert place.opened[-1] is not connection
            assert not place.opened[-1].rooms
            await wire.send("1/admin,")
            await wire.send("0/other,")
            assert str(await wire.receive()).startswith("0/other,")
            await wire.send("1/other,")
