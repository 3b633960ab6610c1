"""B13 to B17: floods of control frames, masks, misuse of the API, senders that are cancelled."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
import trio

from ahtransport import Connection, ConnectionClosed, Server
from hostile.carriers import Carrier, all_under_attack, over_each
from hostile.support import under_attack
from hostile.wire import CLOSE, PING, PONG, TEXT, frame
from invariants import resident

SLOW = os.environ.get("AHTRANSPORT_SLOW") == "1"


@over_each
@pytest.mark.parametrize("opcode", [PING, PONG])
@pytest.mark.parametrize("payload", [b"", b"p" * 125], ids=["empty", "125 bytes"])
async def test_b13_floods_of_control_frames(opcode: int, payload: bytes, carrier: Carrier) -> None:
    """The limit holds per second; one past it is 1008. What waits for a peer that does not read is the last pong."""
    async with all_under_attack(max_control_frames=1000) as target:
        before = resident()
        ws = await carrier.open(target)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, frame(opcode, payload) * 20_000)
            assert await ws.closing(reply=False) == 1008
        assert target.closed == [1008]
        assert resident() - before < 32 * 1024 * 1024


@over_each
async def test_b13_exactly_as_many_control_frames_as_allowed(carrier: Carrier) -> None:
    async with all_under_attack(max_control_frames=20) as target:
        ws = await carrier.open(target)
        await trio.sleep_until(trio.current_time() // 1 + 1.01)  # the count begins anew with each second
        await ws.send(frame(PING, b"p") * 20 + carrier.frame(b"1"))
        assert [await ws.frame() for _ in range(20)] == [(PONG, b"p")] * 20
        assert await carrier.heard(ws) == "1"
        await ws.send(frame(PING, b"p"))
        assert await ws.closing() == 1008


@over_each
async def test_b13_pongs_for_a_peer_that_does_not_read_are_coalesced(carrier: Carrier) -> None:
    def prepare(server: Server) -> None:
        @server.on("fill")
        def fill(connection: Connection) -> None:
            connection.send_nowait("x" * 8_000_000)

    async with all_under_attack(prepare, max_backlog=2**24) as target:
        ws = await carrier.open(target)
        await ws.send(carrier.event("fill"))
        await ws.more()
        await ws.send(b"".join(frame(PING, b"%d" % number) for number in range(90)))
        await target.bystander()
        assert len(await carrier.heard(ws)) == 8_000_002
        await ws.send(carrier.frame(b"1"))
        got = [await ws.frame()]
        while got[-1] != (TEXT, carrier.wrapped(b"1")):
            got.append(await ws.frame())
        assert (PONG, b"89") in got
        assert len(got) < 20


async def test_b14_pongs_that_nobody_asked_for() -> None:
    async with under_attack() as target:
        ws = await target.websocket()
        await ws.send(frame(PONG) + frame(PONG, b"other") + frame(TEXT, b"1"))
        assert await ws.text() == "1"


async def test_b15_any_mask_is_as_good_as_another() -> None:
    async with under_attack() as target:
        ws = await target.websocket()
        for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1", b"abcd", b'""""'):
            whole = frame(TEXT, b'"masked"', mask=mask)
            for cut in range(len(whole)):
                await ws.send(whole[:cut])
                await trio.testing.wait_all_tasks_blocked(0.0002)
                await ws.send(whole[cut:])
                assert await ws.text() == '"masked"'


async def test_b16_misuse_of_the_api_fails_at_the_call() -> None:
    """The caller gets the error, the stream stays whole."""
    calls: list[tuple[str, tuple[Any, ...], type[Exception]]] = [
        ("close", (999,), ValueError),
        ("close", (1005,), ValueError),
        ("close", (1006,), ValueError),
        ("close", (1015,), ValueError),
        ("close", (2999,), ValueError),
        ("close", (5000,), ValueError),
        ("close", ("1000",), TypeError),
        ("close", (1000, "r" * 124), ValueError),
        ("close", (1000, "é" * 62), ValueError),
        ("close", (1000, "\ud800"), ValueError),
        ("send_nowait", (object(),), TypeError),
        ("send_nowait", ([object()],), TypeError),
        ("send_nowait", ({1, object()},), TypeError),
        ("emit", ("event", object()), TypeError),
    ]

    async def handler(connection: Connection) -> None:
        async for message in connection:
            for name, args, error in calls:
                with pytest.raises(error):
                    getattr(connection, name)(*args)
            with pytest.raises(TypeError):
                await connection.send(object())
            await connection.send(message)

    async with under_attack(handler=handler) as target:
        ws = await target.websocket()
        for number in range(3):
            await ws.send(frame(TEXT, b"%d" % number))
            assert await ws.text() == str(number)


@pytest.mark.timeout(1200 if SLOW else 300)
async def test_b17_frames_of_many_senders_never_interleave() -> None:
    """Senders are cancelled at random while the peer reads slowly: whole messages arrive, in each sender's order."""
    seeds, senders = 1000 if SLOW else 20, 50

    async def handler(connection: Connection) -> None:
        async for message in connection:
            if not isinstance(message, dict):
                await connection.send(message)
                continue
            chance = random.Random(message["seed"])
            async with trio.open_nursery() as nursery:
                for sender in range(senders):
                    nursery.start_soon(send, connection, sender, chance)
            await connection.send("end")

    async def send(connection: Connection, sender: int, chance: random.Random) -> None:
        for number in range(8):
            with trio.move_on_after(chance.random() * 0.003):
                await connection.send([sender, number, "x" * chance.choice((1, 130, 3000, 70_000))])

    async with under_attack(handler=handler, high_water=1, max_backlog=2**26, max_backlog_messages=10_000) as target:
        raw = await target.websocket()
        for seed in range(seeds):
            await raw.send(frame(TEXT, b'{"seed":%d}' % seed))
            last = dict.fromkeys(range(senders), -1)
            while (text := await raw.text()) != '"end"':
                head, _, fill = text[1:].partition(',"')
                sender, number = map(int, head.split(","))
                assert fill.lstrip("x") == '"]'
                assert number > last[sender]
                last[sender] = number


async def test_b17_sending_on_while_the_connection_closes() -> None:
    ended: list[type[Exception]] = []

    async def handler(connection: Connection) -> None:
        async for message in connection:
            if message != "race":
                await connection.send(message)
                continue

            async def race() -> None:
                try:
                    while True:
                        await connection.send("x" * 50_000)
                except ConnectionClosed:
                    ended.append(ConnectionClosed)

            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(race)

    async with under_attack(handler=handler, max_backlog=2**26, max_backlog_messages=10_000) as target:
        ws = await target.websocket()
        await ws.send(frame(TEXT, b'"race"'))
        for _ in range(100):
            assert (await ws.frame())[0] == TEXT
        await ws.send(frame(CLOSE, b"\x03\xe8"))
        assert await ws.closing() == 1000
        await target.wait_for(lambda: len(ended) == 50)
