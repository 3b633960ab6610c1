"""Random walks of one session: whatever its client does, in whatever order, what it gets is in order and never twice,
every request has an answer that is documented, and nothing is left behind.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ahtransport import ConnectionClosed
from engine_io.support import SEPARATOR, Arena, Polling, arena

if TYPE_CHECKING:
    from ahtransport.testing import WebSocketClient

STEPS = [
    *["poll", "send", "send", "send binary", "post", "move", "wait 0.05"] * 4,
    *["probe", "upgrade", "by websocket", "pong", "flood", "wait 0.3"] * 2,
    *["second poll", "hang up", "bad post", "goodbye", "large post", "stalled post", "open websocket", "bad frame",
      "cut websocket", "second websocket", "close", "wait 9", "wait 26"],
]  # fmt: skip


class Walk:
    """A client without manners, and the application behind it."""

    def __init__(self, place: Arena, client: Polling, nursery: trio.Nursery) -> None:
        self.place = place
        self.client = client
        self.connection = place.opened[0]
        self.nursery = nursery
        self.sent = 0
        self.received: list[int] = []
        self.sockets: list[WebSocketClient] = []
        self.lost = False  # the client has thrown away what it should have read

    async def step(self, what: str) -> None:
        """Take one step; nothing here waits for the server but for a moment."""
        if what.startswith("wait "):
            await trio.sleep(float(what[5:]))
            return
        method = getattr(self, what.replace(" ", "_"))
        self.nursery.start_soon(method)
        await trio.testing.wait_all_tasks_blocked()

    def take(self, packet: str | bytes) -> None:
        """Note a message."""
        if isinstance(packet, bytes):
            self.received.append(packet[0])
        elif packet[:1] == "4":
            self.received.append(int(packet[1:].partition(" ")[0]))
        elif packet[:1] == "b":
            self.received.append(base64.b64decode(packet[1:])[0])
        else:
            assert packet[:1] in "126"

    async def answered(self, method: str, body: str = "") -> None:
        """Send a request and check the answer."""
        with suppress(EOFError, trio.BrokenResourceError):  # it may be cut, or answered before it was sent
            answer = await self.place.request(method, self.client.target(), body)
            assert (answer.status, answer.body) in [(200, answer.body), (413, answer.body), (400, b"")] or (
                answer.status == 400 and answer.json()["code"] in (1, 3)
            ), answer
            if method == "GET" and answer.status == 200:
                for packet in answer.body.decode().split(SEPARATOR):
                    self.take(packet)

    async def poll(self) -> None:
        await self.answered("GET")

    second_poll = poll

    async def post(self) -> None:
        await self.answered("POST", "4hello" + SEPARATOR + "bAAE=")

    async def pong(self) -> None:
        await self.answered("POST", "3")

    async def bad_post(self) -> None:
        await self.answered("POST", "4hello" + SEPARATOR + "9")

    async def goodbye(self) -> None:
        await self.answered("POST", "1")

    async def large_post(self) -> None:
        await self.answered("POST", "4" * 200_000)

    async def stalled_post(self) -> None:
        stream = self.place.stream()
        await stream.send_all(f"POST {self.client.target()} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4".encode())
        await trio.sleep(2)
        await stream.aclose()

    async def hang_up(self) -> None:
        stream = self.place.stream()
        await stream.send_all(f"GET {self.client.target()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await trio.sleep(0.01)
        self.lost = True
        stream.reset()

    async def open_websocket(self) -> None:
        with suppress(Exception):
            socket = await self.place.upgrade(self.client.target("websocket"))
            self.sockets.append(socket)
            with suppress(ConnectionClosed):
                while True:
                    packet = await socket.receive()
                    if packet != "3probe":
                        self.take(packet)

    second_websocket = open_websocket

    async def say(self, packet: str) -> None:
        with suppress(ConnectionClosed, trio.BusyResourceError):
            if self.sockets:
                await self.sockets[-1].send(packet)

    async def probe(self) -> None:
        if not self.sockets:
            self.nursery.start_soon(self.open_websocket)
            await trio.sleep(0.001)
        await self.say("2probe")

    async def upgrade(self) -> None:
        await self.say("5")

    async def move(self) -> None:
        await self.probe()
        await self.upgrade()

    async def by_websocket(self) -> None:
        await self.say("4hello")

    async def bad_frame(self) -> None:
        await self.say("9")

    async def cut_websocket(self) -> None:
        if self.sockets:
            self.lost = True
            await self.sockets.pop().abort()

    async def send(self) -> None:
        if self.connection.state == "open" and self.sent < 250:
            self.place.server.broadcast(f"{self.sent} {'x' * (self.sent % 5 * 100)}")
            self.sent += 1

    async def send_binary(self) -> None:
        if self.connection.state == "open" and self.sent < 250:
            self.place.server.broadcast(bytes([self.sent, 0, 255]))
            self.sent += 1

    async def flood(self) -> None:
        for _ in range(40):
            await self.send()

    async def close(self) -> None:
        self.connection.close()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(STEPS), min_size=3, max_size=25))
def test_c5_to_c18_random_walks(steps: list[str]) -> None:
    """C5 to C18, in every order."""

    async def walk() -> None:
        async with arena(max_length=20_000) as place:
            place.echo = False
            client = await place.open()
            async with trio.open_nursery() as nursery:
                session = Walk(place, client, nursery)
                for step in steps:
                    await session.step(step)
                if session.connection.state == "open":
                    session.connection.close()
                await trio.sleep(0.01)
                nursery.start_soon(session.poll)
                await trio.sleep(120)
                nursery.cancel_scope.cancel()
            assert session.received == sorted(set(session.received)), "in order, and never twice"
            holes = [b - a for a, b in zip([-1, *session.received], session.received, strict=False) if b - a != 1]
            assert not holes or session.lost, "what is missing is the tail, unless the client has thrown it away"

    trio.run(walk, clock=trio.testing.MockClock(autojump_threshold=0))
