"""The application that the real Primus server (oracle_primus.cjs) and ours both run, and how ours is served."""

import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from ahtransport import Connection, Reject, Request, Server


class MixedParser:
    """JSON, and bytes as they are."""

    def encode(self, value: Any) -> str | bytes:
        return value if isinstance(value, bytes) else json.dumps(value)

    def decode(self, data: str | bytes) -> Any:
        return json.loads(data) if isinstance(data, str) else data


class EchoApp:
    """Echoes every message but commands: ``{"do": "end" | "last" | "bounce" | "restart" | …}``.

    *options* are the server's; they hold across restarts, as does the port.
    """

    def __init__(self, **options: Any) -> None:
        self.options: dict[str, Any] = {"transformer": "websockets", "port": 0, **options}
        self.ended = 0
        self.undecodable: list[Exception] = []
        self.restart_wanted = trio.Event()
        self.server = self.build()

    def build(self) -> Server:
        """A server with the application's handlers; it is not listening yet."""
        server = Server(**self.options)
        server.authorize(_authorize)
        server.on_message(self.on_message)
        server.on_close(self.on_close)
        server.on_error(self.on_error)
        server.on("greet")(lambda connection, name: f"hello {name}")
        server.on("add")(lambda connection, a, b: a + b)
        server.on("note")(_note)
        server.on("ask me")(_ask_back)
        return server

    async def on_message(self, connection: Connection, message: Any) -> None:
        match message:
            case {"do": "end"}:
                connection.close()
            case {"do": "last"}:
                await connection.send("the last word")
                connection.close()
            case {"do": "bounce"}:
                connection.close(reconnect=True)
            case {"do": "restart"}:
                self.restart_wanted.set()
            case {"do": "destroy"}:  # what this means to clients is the option destroy_clients_on_shutdown
                self.server.shutdown()
            case {"do": "stop"}:
                for number in range(20):
                    connection.send_nowait(number)
                self.server.shutdown()
            case {"do": "ended"}:
                await connection.send({"ended": self.ended})
            case {"do": "broadcast", "message": text}:
                self.server.broadcast(text)
            case {"do": "transport"}:
                await connection.send(connection.transport)
            case {"do": "freeze"}:
                time.sleep(1)  # noqa: ASYNC251 - the whole server hangs
            case {"do": "burst", "sizes": sizes}:
                for size in sizes:
                    await connection.send("x" * size)
            case {"do": "count", "to": count}:
                connection.start_soon(_count, connection, count)
            case _:
                await connection.send(message)

    def on_close(self, connection: Connection, code: int, reason: str) -> None:
        self.ended += 1

    def on_error(self, connection: Connection, error: Exception) -> None:
        self.undecodable.append(error)

    async def serve_and_restart(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve; on the command, drain, stay away for a moment, and serve again on the same port."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.server.serve)
            task_status.started()
            await self.restart_wanted.wait()
            self.options["port"] = self.server.port
            self.server.shutdown()
        await trio.sleep(0.2)
        self.server = self.build()
        await self.server.serve()


@asynccontextmanager
async def served(app: EchoApp) -> AsyncIterator[str]:
    """The application served on 127.0.0.1 for as long as the block runs; yields its address."""
    async with trio.open_nursery() as nursery:
        await nursery.start(app.serve_and_restart)
        yield app.server.url
        nursery.cancel_scope.cancel()


def _authorize(request: Request) -> None:
    match request.query.get("token"):
        case "none":
            raise Reject(401, "a token is required", [("WWW-Authenticate", 'Bearer realm="test"')])
        case "wrong":
            raise Reject(403, "this token is not known")


async def _note(connection: Connection, note: Any) -> None:
    connection.emit("noted", note)


async def _count(connection: Connection, count: int) -> None:
    for number in range(count):
        await connection.send({"number": number})
        await trio.sleep(random.choice([0, 0, 0.001, 0.003]))


async def _ask_back(connection: Connection) -> None:
    answer = await connection.call("question", 6, 7, timeout=5)
    connection.emit("answered", answer)
