"""Drives python-socketio's clients through one scenario: ``python python_socketio.py MODE SCENARIO URL``.

AsyncClient needs asyncio, and Client threads that outlive it, so they run in a process of their own.
Prints one JSON text a line, as the Node.js drivers do.
"""

import asyncio
import json
import queue
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import socketio
import socketio.exceptions

MODES = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
NAMESPACES = ["/", "/room-1", "/admin"]


def record(**entry: Any) -> None:
    print(json.dumps(entry), flush=True)


class Client:
    """A client that collects what comes."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.io = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.1)
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.reasons: asyncio.Queue[str] = asyncio.Queue()
        self.errors: asyncio.Queue[Any] = asyncio.Queue()
        self.connected: asyncio.Queue[str] = asyncio.Queue()
        self.io.on("*", self._event)
        self.io.on("connect", lambda: self.connected.put_nowait("/"))
        self.io.on("disconnect", self.reasons.put_nowait)
        for namespace in NAMESPACES:
            self.io.on("connect_error", self.errors.put_nowait, namespace=namespace)
        self.io.on("silent", self._think)
        self.io.on("question", lambda first, second: {"first": first, "second": second["deep"]})

    async def _think(self) -> None:
        await asyncio.sleep(0.5)

    def _event(self, name: str, *args: Any) -> None:
        self.events.put_nowait([name, *args])

    async def connect(self, url: str, namespaces: list[str] | None = None, auth: Any = None) -> None:
        await self.io.connect(
            url, transports=MODES[self.mode], namespaces=namespaces or ["/"], auth=auth, wait_timeout=5
        )


async def events(client: Client, url: str) -> None:
    await client.connect(url)
    sent = {"a": [{"b": None}], "c": "w\u00f6rld"}
    record(one=await client.io.call("echo", sent) == sent)
    record(two=list(await client.io.call("echo", (1, b"\x00\xff"))) == [1, b"\x00\xff"])
    await client.io.emit("back", (b"\x01\x02", {"deep": b"\x03"}, "text"))
    record(back=await client.events.get() == ["back", b"\x01\x02", {"deep": b"\x03"}, "text"])
    await client.io.send("plain")
    record(message=await client.events.get())
    await client.io.emit("question me")
    record(answered=await client.events.get() == ["answered", {"first": b"\x01\x02", "second": [b"\x03"]}])
    await client.io.emit("ask in vain")
    record(slow=await client.events.get())
    try:
        await client.io.call("nobody listens", timeout=0.1)
    except socketio.exceptions.TimeoutError:
        record(timeout=True)
    record(transport=await client.io.call("transport"))


async def namespaces(client: Client, url: str) -> None:
    await client.connect(url, NAMESPACES, {"token": "right"})
    record(who=[await client.io.call("who", namespace=namespace) for namespace in NAMESPACES])


async def refused(client: Client, url: str) -> None:
    try:
        await client.connect(url, ["/admin"], {"token": "wrong"})
    except socketio.exceptions.ConnectionError as error:
        record(error=str(error), told=await client.errors.get())


async def leave(client: Client, url: str) -> None:
    await client.connect(url)
    await client.connected.get()
    await client.io.emit("leave")
    record(reason=await client.reasons.get())
    await asyncio.sleep(0.3)
    record(again=client.connected.qsize())


async def bounce(client: Client, url: str) -> None:
    await come_back(client, url, "bounce")


async def restart(client: Client, url: str) -> None:
    await come_back(client, url, "restart")


async def come_back(client: Client, url: str, event: str) -> None:
    await client.connect(url)
    await client.connected.get()
    await client.io.emit(event)
    record(reason=await client.reasons.get())
    try:
        async with asyncio.timeout(1):
            await client.connected.get()
    except TimeoutError:
        record(again=None)
    else:
        record(again=await client.io.call("echo", "back"))


async def goodbye(client: Client, url: str) -> None:
    await client.connect(url)
    await client.io.disconnect()
    record(reason=await client.reasons.get())


SCENARIOS: dict[str, Callable[[Client, str], Awaitable[None]]] = {
    function.__name__: function for function in (events, namespaces, refused, leave, bounce, restart, goodbye)
}


def plain(mode: str, url: str) -> None:
    """The synchronous client."""
    answers: queue.Queue[Any] = queue.Queue()
    client = socketio.Client(handle_sigint=False)
    client.on("back", lambda *args: answers.put(list(args)))
    client.on("answered", answers.put)
    client.on("question", lambda first, second: (first, second["deep"]))
    client.on("disconnect", answers.put)
    client.connect(url, transports=MODES[mode], namespaces=["/", "/fn-x"], wait_timeout=5)
    record(one=client.call("echo", {"a": [None]}), who=client.call("who", namespace="/fn-x"))
    client.emit("back", (b"\x01", 2))
    record(back=answers.get(timeout=5) == [b"\x01", 2])
    client.emit("question me")
    record(answered=answers.get(timeout=5) == [b"\x01\x02", [b"\x03"]])
    client.disconnect()
    record(reason=answers.get(timeout=5))


def simple(mode: str, url: str) -> None:
    """The client without callbacks."""
    with socketio.SimpleClient() as client:
        client.connect(url, transports=MODES[mode], namespace="/admin", auth={"token": "right"}, wait_timeout=5)
        client.emit("back", (b"\x01", 2))
        record(back=client.receive(timeout=5) == ["back", b"\x01", 2], who=client.call("who"))
    with socketio.SimpleClient() as client:
        try:
            client.connect(url, transports=MODES[mode], namespace="/admin", wait_timeout=5)
        except socketio.exceptions.ConnectionError as error:
            record(error=str(error))


PLAIN: dict[str, Callable[[str, str], None]] = {"plain": plain, "simple": simple}


async def main(mode: str, scenario: str, url: str) -> None:
    async with asyncio.timeout(20):
        client = Client(mode)
        try:
            await SCENARIOS[scenario](client, url)
        finally:
            await client.io.shutdown()
            if client.io.eio.http is not None:
                await client.io.eio.http.close()


if __name__ == "__main__":
    mode, scenario, url = sys.argv[1:]
    if scenario in PLAIN:
        PLAIN[scenario](mode, url)
    else:
        asyncio.run(main(mode, scenario, url))
