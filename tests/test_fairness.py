"""One connection that floods takes no more than its share of the loop."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import trio

from ahtransport import Server
from ahtransport.testing import WebSocketClient, frame_bytes, memory_host

if TYPE_CHECKING:
    from ahtransport import Connection

FRAMES = 3000


async def test_a_read_full_of_small_frames_is_handled_in_turns(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()
    received: list[int] = []
    turns = [0]
    first = trio.Event()

    @server.on_message
    def note(connection: Connection, message: Any) -> None:
        received.append(message)
        first.set()

    async def others(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        while len(received) < FRAMES:
            turns.append(len(received))
            await trio.lowlevel.checkpoint()

    async with memory_host(server) as host:
        client = await WebSocketClient.connect(await host.dial(), "/primus")
        await client.send("0")
        await first.wait()
        async with trio.open_nursery() as nursery:
            await nursery.start(others)
            await client.stream.send_all(b"".join(frame_bytes(1, b"%d" % n) for n in range(1, FRAMES)))
        assert received == list(range(FRAMES))
    # No two turns of the others are further apart than a turn of the flood; 128 is what _net/websocket.py says.
    assert max(after - before for before, after in pairwise(turns)) <= 128
