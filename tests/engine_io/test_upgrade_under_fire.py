"""C16: messages both ways while thousands of clients upgrade, with delays at every step: none lost, doubled or late."""

from __future__ import annotations

import base64
import json
import os
import random
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport.testing import WebSocketClient, fetch
from engine_io.support import EIO, PLAIN_TEXT, SEPARATOR, arena

if TYPE_CHECKING:
    from ahtransport import Connection
    from engine_io.support import Arena

MESSAGES = 12
AT_ONCE = 40  # clients


def numbered(number: int) -> str | bytes:
    """Give a message that says its place; every fifth is binary, every seventh is long."""
    text = f"{number} " + "x" * (3000 if number % 7 == 3 else number)
    return text.encode() if number % 5 == 2 else text


def place_of(message: str | bytes) -> int:
    """The reverse; it is whole."""
    text = message if isinstance(message, str) else message.decode()
    number = int(text.partition(" ")[0])
    assert numbered(number) == message
    return number


class Delays:
    """Pauses of no or of any length, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._length = self.random.choice((0.0, 0.002, 0.05, 0.3))  # seconds

    async def pause(self) -> None:
        """Take a moment, or none."""
        if self.random.random() < 0.5:
            await trio.sleep(self.random.expovariate(1) * self._length)


class Side:
    """What the server does for one client: it sends its numbered messages and notes those that come."""

    def __init__(self, seed: int) -> None:
        self.received: list[int] = []
        self.transports: list[str] = []
        self.complete = trio.Event()
        self._delays = Delays(seed)

    async def run(self, connection: Connection) -> None:
        """Serve the client."""
        connection.start_soon(self._talk, connection)
        async for message in connection:
            self.received.append(place_of(message))
            if len(self.received) == MESSAGES:
                self.complete.set()

    async def _talk(self, connection: Connection) -> None:
        for number in range(MESSAGES):
            await self._delays.pause()
            self.transports.append(connection.transport)
            await connection.send(numbered(number))


class Client:
    """A client as the protocol has it: it polls and posts, probes, lets both end, and moves."""

    def __init__(self, place: Arena, seed: int) -> None:
        self.received: list[int] = []
        self.pings = 0
        self._place = place
        self._delays = Delays(seed)
        self._capacity = self._delays.random.choice((100, 1000, 65536))  # bytes under way on each stream
        self._target = ""
        self._outbox: deque[str] = deque()
        self._moving = False
        self._polls_over = trio.Event()
        self._posting = trio.Lock()
        self._socket: WebSocketClient | None = None
        self._writing = trio.Lock()

    async def run(self, side: Side, key: int) -> None:
        """Open a session, move it to a WebSocket, leave when all has come, both ways."""
        answer = await self._place.request("GET", f"{EIO}&transport=polling&key={key}")
        self._target = f"{EIO}&transport=polling&sid={json.loads(answer.body[1:])['sid']}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._poll)
            nursery.start_soon(self._talk)
            socket = await self._move()
            while len(self.received) < MESSAGES:
                await self._take(await socket.receive())
            await side.complete.wait()
        await socket.close()

    async def _request(self, method: str, body: str = "") -> str:
        stream = self._place.stream(self._capacity)
        await self._delays.pause()
        answer = await fetch(stream, method, self._target, PLAIN_TEXT if body else (), body.encode())
        assert answer.status == 200, answer
        await self._delays.pause()
        await stream.aclose()
        return answer.body.decode()

    async def _take(self, packet: str | bytes) -> None:
        if isinstance(packet, bytes):
            self.received.append(place_of(packet))
        elif packet == "2":
            self.pings += 1
            await self._send("3")
        elif packet[:1] == "b":
            assert self._socket is None, "base64 has no business on a WebSocket"
            self.received.append(place_of(base64.b64decode(packet[1:], validate=True)))
        elif packet[:1] == "4":
            self.received.append(place_of(packet[1:]))
        else:
            assert packet == "6", packet

    async def _send(self, packet: str) -> None:
        self._outbox.append(packet)
        async with self._posting:
            while self._outbox and not self._moving:
                count = self._delays.random.randint(1, len(self._outbox))
                batch = SEPARATOR.join([self._outbox.popleft() for _ in range(count)])
                assert await self._request("POST", batch) == "ok"
        if self._socket is not None:
            await self._flush(self._socket)

    async def _flush(self, socket: WebSocketClient) -> None:
        async with self._writing:
            while self._outbox:
                await socket.send(self._outbox.popleft())

    async def _poll(self) -> None:
        while not self._moving:
            for packet in (await self._request("GET")).split(SEPARATOR):
                await self._take(packet)
        self._polls_over.set()

    async def _talk(self) -> None:
        for number in range(MESSAGES):
            await self._delays.pause()
            message = numbered(number)
            text = "4" + message if isinstance(message, str) else "b" + base64.b64encode(message).decode()
            await self._send(text)

    async def _move(self) -> WebSocketClient:
        await self._delays.pause()
        stream = self._place.stream(self._capacity)
        socket = await WebSocketClient.connect(stream, self._target.replace("polling", "websocket"))
        await self._delays.pause()
        await socket.send("2probe")
        assert await socket.receive() == "3probe"
        await self._delays.pause()
        self._moving = True
        await self._polls_over.wait()
        async with self._posting:
            await self._delays.pause()
            await socket.send("5")
            self._socket = socket
        await self._flush(socket)
        return socket


async def upgrade_many(count: int, seed: int, **options: Any) -> dict[str, int]:
    """Have so many clients upgrade, some at once, each under fire; tell what happened."""
    sides: dict[int, Side] = {}
    seen = {"by polling": 0, "by websocket": 0, "pings": 0}
    keys = iter(range(count))

    async def handler(connection: Connection) -> None:
        if "key" in connection.query:
            await sides[int(connection.query["key"])].run(connection)
        else:
            async for message in connection:
                await connection.send(message)

    async def one_after_the_other(place: Arena) -> None:
        for key in keys:
            side = sides[key] = Side(seed + key * 2)
            client = Client(place, seed + key * 2 + 1)
            with trio.fail_after(120):
                await client.run(side, key)
            assert client.received == list(range(MESSAGES)), (seed, key)
            assert side.received == list(range(MESSAGES)), (seed, key)
            by_websocket = side.transports.count("websocket")
            assert side.transports == ["polling"] * (MESSAGES - by_websocket) + ["websocket"] * by_websocket
            seen["by websocket"] += by_websocket
            seen["by polling"] += MESSAGES - by_websocket
            seen["pings"] += client.pings
            del sides[key]

    transport = {"ping_interval": 150, "upgrade_timeout": 60000}
    async with arena(handler=handler, transport=transport, **options) as place:
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(one_after_the_other, place)
        assert len(place.opened) == count
        place.opened.clear()
        place.closed.clear()
    return seen


@pytest.mark.parametrize("seed", range(4))
async def test_c16_upgrades_under_fire(seed: int, autojump_clock: object) -> None:
    """C16, a part of it."""
    seen = await upgrade_many(100, seed * 1_000_000)
    assert min(seen.values()) > 100, seen


async def test_c16_upgrades_under_fire_with_small_payloads(autojump_clock: object) -> None:
    """C16, with polls that carry a message or two."""
    seen = await upgrade_many(40, 7_000_000, max_length=5000)
    assert min(seen.values()) > 40, seen


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("AHTRANSPORT_SLOW") != "1", reason="takes minutes: set AHTRANSPORT_SLOW=1")
@pytest.mark.parametrize("seed", range(10, 20))
async def test_c16_ten_thousand_upgrades_under_fire(seed: int, autojump_clock: object) -> None:
    """C16."""
    seen = await upgrade_many(1000, seed * 1_000_000)
    assert min(seen.values()) > 1000, seen
