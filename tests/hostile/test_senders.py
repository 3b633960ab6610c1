"""B17: many tasks send over one connection and are cancelled at random, a thousand times; over every transformer."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from ahtransport.testing import Stage, Variant
from hostile.test_time import play

if TYPE_CHECKING:
    from ahtransport import Connection

SENDERS, EACH = 6, 4


def test_b17_senders_that_are_cancelled_at_random(variant: Variant) -> None:
    """Whole messages arrive, in each sender's order: of a cancelled one all or nothing, and nothing in between."""
    # One WebSocket is like another; polls take turns, so that a part of the thousand says as much.
    seeds = 1000 if variant.name == "websockets" else 100
    stage = Stage(variant, "memory")

    async def send(connection: Connection, sender: int, chance: random.Random) -> None:
        for number in range(EACH):
            with trio.move_on_after(chance.random() * 0.003):
                await connection.send([sender, number, "x" * chance.choice((1, 130, 3000))])

    async def handler(connection: Connection) -> None:
        async for seed in connection:
            chance = random.Random(seed)
            async with trio.open_nursery() as nursery:
                for sender in range(SENDERS):
                    nursery.start_soon(send, connection, sender, chance)
            await connection.send("end")

    server = stage.server(handler, high_water=1, max_backlog=2**24, max_backlog_messages=10_000)

    async def scene() -> None:
        arrived = 0
        async with stage.serving(server), stage.connect(capacity=2000) as client:
            for seed in range(seeds):
                await client.send(seed)
                last = dict.fromkeys(range(SENDERS), -1)
                while (message := await client.receive()) != "end":
                    sender, number, fill = message
                    assert number > last[sender]
                    assert fill == "x" * len(fill)
                    last[sender] = number
                    arrived += 1
                    if seed % 3 == 0:
                        await trio.sleep(0.001)
        assert seeds * SENDERS < arrived <= seeds * SENDERS * EACH

    play(stage, scene)
