"""Clients that others wrote in Python, by ``websockets`` and python-socketio.

``python -m soak.python_clients PORT COUNT PERIOD``

So many of each talk as the raw clients do, and come again after a while. They say the same things on standard output.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import socketio
import websockets

from soak.accounts import Numbers, body_down, body_up
from soak.languages import Primus

counts: Counter[str] = Counter()
PAUSE = 1.5  # mean seconds between two messages
LIFE = (15.0, 60.0)  # seconds
PATIENCE = 20.0  # seconds


def tell(**said: Any) -> None:
    """Say something to the process that started this one."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


class Talker:
    """One conversation; its subclasses know how to carry it."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.name = key
        self.key = f"{key}/"
        self.sent = self.wrong = 0
        self.came = Numbers()

    async def open(self) -> None:
        """Connect."""
        raise NotImplementedError

    async def emit(self, event: str, *args: Any) -> None:
        """Send an event."""
        raise NotImplementedError

    async def call(self, event: str, *args: Any) -> Any:
        """Send an event and give its answer."""
        raise NotImplementedError

    async def close(self) -> None:
        """Leave."""
        raise NotImplementedError

    def down(self, number: int, at: Any, body: str | bytes) -> None:
        """Take a numbered message."""
        self.came.take(number)
        expected = body_down(self.key, number)
        if body[1:].decode().startswith(self.name) if isinstance(body, bytes) else body == expected:
            return
        self.wrong += 1
        tell(trouble="wrong", detail=f"{self.key}: {number} is {body!r}")

    def body(self, number: int) -> Any:
        """Give what is said."""
        return body_up(self.key, number)

    async def live(self, stopping: asyncio.Event) -> None:
        """Talk for a while, and leave in good order."""
        end = "cut"
        try:
            async with asyncio.timeout(PATIENCE):
                await self.open()
            until = time.monotonic() + random.uniform(*LIFE)
            while time.monotonic() < until and not stopping.is_set():
                await asyncio.sleep(random.expovariate(1 / PAUSE))
                self.sent += 1
                counts["said"] += 1
                number = self.sent
                if number % 3:
                    await self.emit("up", number, time.time(), self.body(number))
                elif await self.call("up", number, time.time(), self.body(number)) != number:
                    self.wrong += 1
            balance = await self.call("bye")
            if (balance["received"], balance["sent"]) == (self.sent, self.came.last):
                end = "clean"
            else:
                tell(trouble="lost", detail=f"{self.key}: {self.sent}, {self.came.last}; the server: {balance}")
        except Exception as error:
            tell(trouble="broken", detail=f"{self.key}: {error!r}")
        finally:
            await self.close()
            numbers = {"lost": self.came.lost, "doubled": self.came.doubled, "reordered": self.came.reordered}
            record = {"key": self.key, "sent": self.sent, "received": self.came.last, "wrong": self.wrong, "end": end}
            tell(end={**record, **numbers})


class PlainTalker(Talker):
    """By way of ``websockets``."""

    async def open(self) -> None:
        """Connect."""
        self._language = Primus()
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._socket = await websockets.connect(f"ws://127.0.0.1:{self.port}/primus?key={self.name}", compression=None)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with suppress(websockets.ConnectionClosed):  # a question that comes when it is leaving
            await self._hear()

    async def _hear(self) -> None:
        async for data in self._socket:
            heard = self._language.hear(data)
            if heard.kind == "event" and heard.name == "down":
                self.down(*heard.args)
            elif heard.kind == "event" and heard.name == "question" and heard.number is not None:
                await self._send(self._language.answer("/", heard.number, [heard.args[0] * 2]))
            elif heard.kind == "ack" and heard.number is not None:
                self._calls.pop(heard.number).set_result(heard.args[0])
            elif heard.kind == "control" and heard.name.startswith("primus::ping::"):
                await self._send(self._language.message(heard.name.replace("ping", "pong")))

    async def _send(self, messages: list[str | bytes]) -> None:
        for message in messages:
            await self._socket.send(message)

    async def emit(self, event: str, *args: Any) -> None:
        """Send an event."""
        await self._send(self._language.event("/", event, list(args)))

    async def call(self, event: str, *args: Any) -> Any:
        """Send an event and give its answer."""
        number = counts["calls"] = counts["calls"] + 1
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        await self._send(self._language.event("/", event, list(args), number))
        return await asyncio.wait_for(answer, PATIENCE)

    async def close(self) -> None:
        """Leave."""
        if hasattr(self, "_socket"):
            await self._socket.close()
            await self._reading


class SocketIOTalker(Talker):
    """By way of python-socketio: every other one polls first and moves."""

    def body(self, number: int) -> Any:
        """Give what is said."""
        text = body_up(self.key, number)
        return text.encode() if number % 4 == 0 else text

    async def open(self) -> None:
        """Connect."""
        self._io = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self._io.on("down", self.down)
        self._io.on("question", lambda number: number * 2)
        transports = ["websocket"] if hash(self.name) % 2 else ["polling", "websocket"]
        await self._io.connect(f"http://127.0.0.1:{self.port}?key={self.name}", transports=transports, wait_timeout=10)

    async def emit(self, event: str, *args: Any) -> None:
        """Send an event."""
        await self._io.emit(event, args)

    async def call(self, event: str, *args: Any) -> Any:
        """Send an event and give its answer."""
        return await self._io.call(event, args or None, timeout=PATIENCE)

    async def close(self) -> None:
        """Leave."""
        if hasattr(self, "_io"):
            await self._io.shutdown()
            if self._io.eio.http is not None:
                await self._io.eio.http.close()


async def again_and_again(port: int, kind: type[Talker], place: int, stopping: asyncio.Event) -> None:
    """Have one conversation after the other."""
    life = 0
    await asyncio.sleep(random.random() * 5)
    while not stopping.is_set():
        life += 1
        counts["conversations"] += 1
        await kind(port, f"{kind.__name__}-{place}-{life}").live(stopping)
        await asyncio.sleep(1)


async def main(port: int, count: int, period: float) -> None:
    """Talk until standard input says something."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stopping.set)
    counts["clients"] = count * 2
    async with asyncio.TaskGroup() as group:
        for kind in (PlainTalker, SocketIOTalker):
            for place in range(count):
                group.create_task(again_and_again(port, kind, place, stopping))
        while not stopping.is_set():
            tell(counts=counts, latency_ms={})
            await asyncio.sleep(min(period, 1))
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    tell(counts=counts, latency_ms={})
    tell(over=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
