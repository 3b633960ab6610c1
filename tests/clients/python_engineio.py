"""Drives python-engineio's AsyncClient through one scenario: ``python python_engineio.py MODE SCENARIO URL``.

It needs asyncio, so it runs in a process of its own. Prints one JSON text a line, as the Node.js drivers do.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import engineio
import engineio.exceptions
import engineio.payload

MODES = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}

engineio.payload.Payload.max_decode_packets = 1000  # else this client gives up on a poll with more than 16 messages


def record(**entry: Any) -> None:
    print(json.dumps(entry), flush=True)


class Client:
    """A client that collects what comes."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.engine = engineio.AsyncClient()
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.reason: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.engine.on("message", self._message)
        self.engine.on("disconnect", self._disconnected)

    async def _message(self, data: Any) -> None:
        self.messages.put_nowait(data)

    async def _disconnected(self, reason: str) -> None:
        self.reason.set_result(reason)

    async def connect(self, url: str) -> "Client":
        await self.engine.connect(url, transports=MODES[self.mode], engineio_path="primus")
        return self

    async def ask(self, message: Any) -> Any:
        await self.engine.send(message)
        return await self.messages.get()


async def echo(client: Client, url: str) -> None:
    await client.connect(url)
    for value in ['"text"', '"w\u00f6rld \\u001e \u2028"', {"a": [{"b": None}]}, [], "12", "true"]:
        record(sent=value, got=await client.ask(value))
    for size in (0, 1, 2, 3, 255, 70_000):
        sent = bytes(i % 256 for i in range(size))
        record(size=size, same=await client.ask(sent) == sent)
    record(transport=client.engine.transport(), seen=await client.ask({"do": "transport"}))
    for number in range(300):
        await client.engine.send(str(number))
    record(inOrder=[await client.messages.get() for _ in range(300)] == [str(number) for number in range(300)])
    await client.engine.disconnect()
    record(reason=await client.reason)


async def heartbeat(client: Client, url: str) -> None:
    """Several intervals pass."""
    await client.connect(url)
    record(interval=client.engine.ping_interval, timeout=client.engine.ping_timeout)
    await asyncio.sleep(1.5)
    record(got=await client.ask('"still here"'))


async def last(client: Client, url: str) -> None:
    await client.connect(url)
    record(got=await client.ask({"do": "last"}), reason=await client.reason)


async def burst(client: Client, url: str) -> None:
    await client.connect(url)
    sizes = [9996, 1, 9998, 5000, 4990, 10, *[100] * 200]
    await client.engine.send({"do": "burst", "sizes": sizes})
    record(same=[len(await client.messages.get()) for _ in sizes] == sizes)


async def refused(client: Client, url: str) -> None:
    try:
        await client.connect(url + "?token=wrong")
    except engineio.exceptions.ConnectionError as error:
        record(error=str(error.args[0]), said=error.args[1] if len(error.args) > 1 else None)


SCENARIOS: dict[str, Callable[[Client, str], Awaitable[None]]] = {
    function.__name__: function for function in (echo, heartbeat, last, burst, refused)
}


async def main(mode: str, scenario: str, url: str) -> None:
    async with asyncio.timeout(20):
        client = Client(mode)
        try:
            await SCENARIOS[scenario](client, url)
        finally:
            await client.engine.disconnect(abort=True)
            if client.engine.http is not None:
                await client.engine.http.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
