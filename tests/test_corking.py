"""What a task sends while more messages wait for it leaves in one piece, and is late for nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
import trio.lowlevel

from ahtransport import Connection, Server
from ahtransport.testing import connect_websocket, running

if TYPE_CHECKING:
    from ahtransport._net.channel import OnSocket


class CountingSocket:
    """A socket that notes how much each ``send`` was given."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.sent: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        self.sent.append(len(data))
        count: int = self._sock.send(data)
        return count


def count_sends(connection: Connection) -> list[int]:
    channel: OnSocket = connection._link._channel  # type: ignore[attr-defined]
    assert channel.straight is channel._sock
    counting = channel._sock = channel.straight = CountingSocket(channel._sock)  # type: ignore[assignment]
    return counting.sent


class Gate:
    """A handler that begins to read when it is told to."""

    def __init__(self, pause: bool = False, size: int = 1) -> None:
        self.begin = trio.Event()
        self.connection: Connection | None = None
        self.pause = pause
        self.size = size

    async def handle(self, connection: Connection) -> None:
        self.connection = connection
        await self.begin.wait()
        async for message in connection:
            if self.pause:
                await trio.lowlevel.checkpoint()
            await connection.send(message * self.size)

    async def holds(self, count: int) -> Connection:
        while self.connection is None or len(self.connection._inbox) < count:  # noqa: ASYNC110 -- nobody tells
            await trio.sleep(0.001)
        return self.connection


async def answers(gate: Gate, count: int = 8, message: str = "x") -> tuple[list[Any], list[int]]:
    """Give what came back, and how much each ``send`` was given."""
    server = Server(gate.handle, config={}, transformer="websockets", port=0)
    async with running(server):
        host, port = server.addresses[0]

        async def dial() -> trio.abc.Stream:
            return await trio.open_tcp_stream(host, port)

        async with connect_websocket(dial) as client:
            with trio.fail_after(60):
                for _ in range(count):
                    await client.send(message)
                sent = count_sends(await gate.holds(count))
                gate.begin.set()
                got = [await client.receive() for _ in range(count)]
                # And one by one again, at once.
                await client.send("y")
                got.append(await client.receive())
    return got, sent


async def test_answers_leave_together() -> None:
    got, sent = await answers(Gate())
    assert got == ["x"] * 8 + ["y"]
    assert sent[:2] == [8 * 5, 5]


async def test_much_leaves_in_pieces() -> None:
    got, sent = await answers(Gate(size=20_000))
    assert got == ["x" * 20_000] * 8 + ["y" * 20_000]
    assert len(sent) >= 8  # each is large enough to leave alone


async def test_a_task_that_waits_for_something_else_holds_nothing_up() -> None:
    got, sent = await answers(Gate(pause=True))
    assert got == ["x"] * 8 + ["y"]
    assert len(sent) > 2
