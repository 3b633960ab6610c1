"""The application that clients of Socket.IO are driven against, and how it is served."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from ahtransport import Connection, Reject, Request, Server


class SocketIOApp:
    """Answers the events of the drivers; ``options`` are the server's and hold when it is restarted."""

    def __init__(self, **options: Any) -> None:
        self.options: dict[str, Any] = {"transformer": "socket.io", "port": 0, **options}
        self.closed: list[tuple[str, int, str]] = []
        self.restart_wanted = trio.Event()
        self.server = self.build()

    def build(self) -> Server:
        """Make the server."""
        server = Server(config={}, **self.options)
        dynamic = server.of(re.compile(r"/room-\d+"))
        chosen = server.of(lambda name: name.startswith("/fn-"))
        admin = server.of("/admin")
        admin.authorize(_authorize)
        for namespace in (server, dynamic, chosen, admin):
            namespace.on("echo")(lambda connection, *args: args)
            namespace.on("back")(lambda connection, *args: connection.emit("back", *args))
            namespace.on("question me")(_question)
            namespace.on("ask in vain")(_ask_in_vain)
            namespace.on("who")(lambda connection: {"namespace": connection.namespace, "auth": connection.auth})
            namespace.on("transport")(lambda connection: connection.transport)
            namespace.on("leave")(lambda connection: connection.close())
            namespace.on("bounce")(lambda connection: connection.close(reconnect=True))
            namespace.on("shout")(lambda connection, text: self.server.broadcast(text))
            namespace.on("restart")(lambda connection: self.restart_wanted.set())
            namespace.on("volatile")(_volatile)
            namespace.on_message(_message)
            namespace.on_close(self.on_close)
        return server

    def on_close(self, connection: Connection, code: int, reason: str) -> None:
        """Note it."""
        self.closed.append((connection.namespace, code, reason))

    async def serve_and_restart(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve; on the command, drain, stay away for a moment, and serve again on the same port."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.server.serve)
            task_status.started()
            await self.restart_wanted.wait()
            self.options["port"] = self.server.port
            self.server.shutdown()
        await trio.sleep(0.1)
        self.server = self.build()
        await self.server.serve()


@asynccontextmanager
async def served_socketio(app: SocketIOApp) -> AsyncIterator[str]:
    """Serve the application for as long as the block runs; gives its address."""
    async with trio.open_nursery() as nursery:
        await nursery.start(app.serve_and_restart)
        yield app.server.url
        nursery.cancel_scope.cancel()


def _authorize(request: Request) -> None:
    if not isinstance(request.auth, dict) or request.auth.get("token") != "right":
        raise Reject(401, "you are not known", data={"code": 7})


async def _message(connection: Connection, message: Any) -> None:
    await connection.send(message)


async def _question(connection: Connection) -> None:
    answer = await connection.call("question", b"\x01\x02", {"deep": [b"\x03"]}, timeout=5)
    connection.emit("answered", answer)


async def _ask_in_vain(connection: Connection) -> None:
    try:
        await connection.call("silent", timeout=0.05)
    except trio.TooSlowError:
        connection.emit("too slow")


async def _volatile(connection: Connection) -> bool:
    """Send a volatile event when nothing waits any more."""
    while connection._link.buffered:  # noqa: ASYNC110 - nothing tells
        await trio.sleep(0.001)
    return connection.volatile("tick", "tock")
