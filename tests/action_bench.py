"""Level 2 without a network: clients at the seam where a host would be."""

from __future__ import annotations

import json
import logging
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from ahtransport import ActionServer, Request, Response
from ahtransport._actions.inputs import maybe_await
from ahtransport.testing import leftovers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ahtransport import Connection
    from ahtransport.abc import Payload, Receiver


class Socket:
    """An upgraded socket whose other end is a list."""

    wire = "text"
    transport = "websocket"
    read_since = -math.inf
    outlet = None

    def __init__(self) -> None:
        self.buffered = 0
        self.queued = 0
        self.paused = False
        self.closed_with: tuple[int, str] | None = None
        self.receiver: Receiver | None = None
        self.sent, self.arrived = trio.open_memory_channel[str](math.inf)

    def write(self, payload: Payload) -> bool:
        if self.closed_with is None:
            self.sent.send_nowait(payload.data.decode())
        return not self.buffered

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self.closed_with is None:
            self.closed_with = (code, reason)
            self.sent.close()
            trio.lowlevel.current_trio_token().run_sync_soon(self.end, code, reason)

    overflow = close

    def end(self, code: int, reason: str) -> None:
        assert self.receiver is not None
        self.receiver.closed(code, reason)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class Client:
    """Somebody connected to a server."""

    def __init__(self, server: ActionServer, socket: Socket, receiver: Receiver) -> None:
        self.server = server
        self.socket = socket
        self.receiver = receiver
        self.connection: Any = receiver
        self._number = 0

    @property
    def id(self) -> str:
        return str(self.connection.id)

    def send(self, value: Any) -> None:
        """Send a value as JSON, or a text as it is when it is one already."""
        self.receiver.message(json.dumps(value))

    async def next(self) -> Any:
        """Wait for the next message."""
        with trio.fail_after(60):
            return json.loads(await self.socket.arrived.receive())

    async def ask(self, event: Any, /, **fields: Any) -> dict[str, Any]:
        """Send a verb and give its reply, which has to be the next message."""
        self._number += 1
        self.send({"event": event, **fields, "messageId": self._number})
        reply = await self.next()
        assert isinstance(reply, dict)
        assert reply.pop("messageId") == self._number
        assert reply.pop("context") == "response"
        return reply

    async def action(self, name: str, /, **params: Any) -> dict[str, Any]:
        return await self.ask("action", params={**params, "action": name})

    def nothing_came(self) -> bool:
        return self.socket.arrived.statistics().current_buffer_used == 0

    def leave(self) -> None:
        """Close the socket from the client's side."""
        if self.socket.closed_with is None:
            self.socket.closed_with = (1000, "")
            self.receiver.closed(1000, "")


async def connect(server: ActionServer, target: str = "/primus", headers: Mapping[str, str] | None = None) -> Client:
    """Connect to a running server, and take the welcome."""
    socket = Socket()
    request = Request("GET", target, [("Host", "localhost"), *(headers or {}).items()], peer=("127.0.0.1", 4711))
    socket.receiver = await maybe_await(server.handle_upgrade(request, socket))
    client = Client(server, socket, socket.receiver)
    if server.config.general.welcome_message:
        assert await client.next() == {"welcome": server.config.general.welcome_message, "context": "api"}
    return client


class _Failures(logging.Handler):
    """Takes what is logged with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(record.getMessage())


@asynccontextmanager
async def running(server: ActionServer) -> AsyncIterator[ActionServer]:
    """Run a server; when the block is over its clients leave, quietly, and nothing of them may remain."""
    opened: list[Connection] = []
    closed: list[Connection] = []
    server.on_open(opened.append)
    server.on_close(lambda connection, code, reason: closed.append(connection))
    failures = _Failures()
    logger = logging.getLogger("ahtransport")
    logger.addHandler(failures)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            yield server
            failures.found.clear()  # those before are what the test has made fail
            for connection in list(server.connections.values()):
                connection.close()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    finally:
        logger.removeHandler(failures)
    left = leftovers(server)
    assert left == [], left
    assert sorted(map(id, closed)) == sorted(map(id, opened)), (opened, closed)
    assert failures.found == [], failures.found


def make(**options: Any) -> ActionServer:
    """Make a server that listens somewhere and reads no file."""
    return ActionServer(config={}, **{"port": 0, "host": "127.0.0.1", "server_name": "test", **options})


async def fetch(
    server: ActionServer,
    target: str,
    method: str = "GET",
    body: bytes | str = b"",
    kind: str | None = None,
    **headers: str,
) -> tuple[Response, Any]:
    """Make an HTTP request; the response, and its JSON if it is any."""
    content = body.encode() if isinstance(body, str) else body

    async def read(limit: int) -> bytes:
        if len(content) > limit:
            from ahtransport import Reject

            raise Reject(413, "the body is too large")
        return content

    fields = [("Host", "localhost"), *((name.replace("_", "-"), value) for name, value in headers.items())]
    if kind is not None:
        fields.append(("Content-Type", kind))
    request = Request(method, target, fields, peer=("127.0.0.1", 4711), read=read)
    answer = server.handle_request(request)
    response = answer if isinstance(answer, Response) else await answer
    response.headers += request.response_headers
    assert isinstance(response.body, bytes)
    is_json = dict(response.headers).get("Content-Type", "").startswith("application/json")
    return response, json.loads(response.body) if is_json else None
