"""H18: networks that are slow, cut everything into bytes, or break in the middle; over every transformer."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import ConnectionClosed, ProtocolError
from ahtransport.testing import Record, Refused, Stage, Variant
from hostile.proxy import Proxy, through

if TYPE_CHECKING:
    from ahtransport import Connection, Server

COUNT = 20
WHOLE = 10**6  # bytes: more than all of it has
_GONE = (EOFError, ConnectionClosed, ProtocolError, Refused, trio.BrokenResourceError, trio.ClosedResourceError)


def echoing(stage: Stage) -> tuple[Server, Record]:
    server = stage.server()

    @server.on_message
    def echo(connection: Connection, message: Any) -> None:
        connection.send_nowait(message)

    return server, Record(server, messages=False)


@pytest.mark.parametrize(
    "fault",
    [{"latency": 0.05}, {"rate": 100_000.0, "piece": 500}, {"piece": 1}],
    ids=["50 ms", "100 kB/s", "byte by byte"],
)
async def test_h18_slow_networks(variant: Variant, fault: dict[str, Any]) -> None:
    """Everything arrives, whole and in order."""
    stage = Stage(variant, "socket")
    server, record = echoing(stage)
    with trio.fail_after(60):
        async with stage.serving(server), through(Proxy(server.addresses[0], **fault)) as network:
            async with variant.connect(network.dial, variant.pathname) as client:
                for number in range(COUNT):
                    await client.send([number, "é" * (number * 7 % 200)])
                    if number % 4 == 3:
                        for wanted in range(number - 3, number + 1):
                            assert await client.receive() == [wanted, "é" * (wanted * 7 % 200)]
                await client.close()
            await record.until(lambda: record.closed)
        assert len(record.closed) == len(record.opened) == 1


async def test_h18_networks_that_break_at_any_byte(variant: Variant) -> None:
    """What arrives before is in order; of each connection that was opened one close is told, and nothing is left."""
    stage = Stage(variant, "socket")
    server, record = echoing(stage)
    whole = 0
    with trio.fail_after(60):
        async with stage.serving(server):
            for after in [*range(0, 1600, 199), WHOLE]:
                async with through(Proxy(server.addresses[0], reset_after=after)) as network:
                    received: list[int] = []
                    with suppress(*_GONE), trio.move_on_after(20 if after == WHOLE else 0.5):
                        async with variant.connect(network.dial, variant.pathname) as client:
                            for number in range(COUNT):
                                await client.send(number)
                                received.append(await client.receive())
                            whole += 1
                    # A client that polls says again what it got no answer to, as browsers do on a connection in use.
                    said = received if variant.transport == "websocket" else sorted(set(received))
                    assert said == list(range(len(said)))
                    assert received == sorted(received)
                    assert network.resets or len(said) == COUNT
            assert whole >= 1
            # A session that polls is not told that its client has gone; the server's end ends it.
            if variant.transport == "websocket":
                await record.until(lambda: len(record.closed) == len(record.opened))
        assert len(record.closed) == len(record.opened)
