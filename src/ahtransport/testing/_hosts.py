"""Running a server for a test: without sockets under any clock, or on a real one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from ahtransport.testing._streams import memory_stream_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ahtransport._server import Server
    from ahtransport.testing._streams import MemoryStream

__all__ = ["MemoryHost", "leftovers", "memory_host", "running"]


class MemoryHost:
    """A server that runs without sockets.

    Attributes:
        server: the server.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._port = 50000

    def stream(self, *, capacity: int = 65536, peer: tuple[str, int] | None = None) -> MemoryStream:
        """Connect: give the client's end of a fresh byte stream.

        Args:
            capacity: how many bytes are under way in each direction before the writer has to wait.
            peer: the address that the server sees; by default 127.0.0.1 with a port of its own.

        Raises:
            RuntimeError: the server has stopped.
        """
        host = self.server._host
        if host is None or self.server.stopping:
            raise RuntimeError("the server accepts nobody any more")
        self._port += 1
        client, server = memory_stream_pair(capacity)
        host.attach(server, peer or ("127.0.0.1", self._port))
        return client

    async def dial(self) -> MemoryStream:
        """Connect, as :data:`ahtransport.testing.Dial`."""
        return self.stream()


@asynccontextmanager
async def memory_host(server: Server) -> AsyncIterator[MemoryHost]:
    """Run ``server`` without sockets while the block lasts; then it is cancelled.

    Nothing in it waits for the outside world, so ``trio.testing.MockClock`` (pytest-trio's ``autojump_clock``) makes
    hours pass in no time::

        async with memory_host(server) as host:
            client = await WebSocketClient.connect(host.stream())
    """
    async with trio.open_nursery() as nursery:
        await nursery.start(server._serve, None, 0)
        yield MemoryHost(server)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[str]:
    """Run ``server`` where it is configured to listen while the block lasts; then it is cancelled. Gives its URL."""
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        yield server.url
        nursery.cancel_scope.cancel()


def leftovers(server: Server) -> list[str]:
    """Say what a server has not tidied up although all its clients are gone; an empty list when all is well."""
    application, host, admission = server._application, server._host, server._limits.admission
    counts = {
        "open connections": len(server.connections),
        "rooms with members": sum(bool(server.rooms.members(name)) for name in server.rooms.list()),
        "running tasks": application.shared.busy,
        "open streams": 0 if host is None else host.open_channels,
        "taken seats": 0 if admission is None else admission.taken,
    }
    return [f"{count} {what}" for what, count in counts.items() if count]
