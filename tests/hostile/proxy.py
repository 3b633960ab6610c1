"""A bad network: a TCP proxy on the loopback that delays, slows, cuts up, breaks and swallows what passes through."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Proxy:
    """Stands between clients and a server.

    Args:
        target: where the server listens.
        latency: seconds that every byte is under way, in each direction.
        rate: bytes per second in each direction; None: any.
        piece: how many bytes arrive at once at most.
        reset_after: how many bytes pass, both directions together, before the connection is reset at both ends.

    Attributes:
        port: where it listens, on 127.0.0.1.
        swallows: while true nothing passes, and nobody is told: neither data nor the end of anything.
        resets: how many connections were reset.
    """

    def __init__(
        self,
        target: tuple[str, int],
        *,
        latency: float = 0.0,
        rate: float | None = None,
        piece: int = 65536,
        reset_after: int | None = None,
    ) -> None:
        self.target = target
        self.latency = latency
        self.rate = rate
        self.piece = piece
        self.reset_after = reset_after
        self.port = 0
        self.swallows = False
        self.resets = 0

    async def dial(self) -> trio.SocketStream:
        """Connect a client."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._connect, [listener])

    async def _connect(self, client: trio.SocketStream) -> None:
        with suppress(*_BROKEN):
            server = await trio.open_tcp_stream(*self.target)
            self._left = self.reset_after
            async with client, server, trio.open_nursery() as nursery:
                nursery.start_soon(self._pass, client, server)
                nursery.start_soon(self._pass, server, client)

    async def _pass(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        """Pass on what comes: one task reads it, another sends it when it would have arrived."""
        put, take = trio.open_memory_channel[tuple[float, bytes]](100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, take, source, sink)
            async with put:
                with suppress(*_BROKEN):
                    while data := await source.receive_some(65536):
                        await put.send((trio.current_time() + self.latency, data))

    async def _deliver(
        self, take: trio.MemoryReceiveChannel[tuple[float, bytes]], source: trio.SocketStream, sink: trio.SocketStream
    ) -> None:
        with suppress(*_BROKEN):
            async for when, data in take:
                await trio.sleep_until(when)
                for start in range(0, len(data), self.piece):
                    piece = data[start : start + self.piece]
                    if self.swallows:
                        await trio.sleep_forever()
                    if self._left is not None:
                        self._left -= len(piece)
                        if self._left < 0:
                            self._reset(source, sink)
                            return
                    await sink.send_all(piece)
                    if self.rate is not None:
                        await trio.sleep(len(piece) / self.rate)
            if self.swallows:
                await trio.sleep_forever()
            await sink.send_eof()

    def _reset(self, *ends: trio.SocketStream) -> None:
        self.resets += 1
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.socket.close()


@asynccontextmanager
async def through(proxy: Proxy) -> AsyncIterator[Proxy]:
    """Run a proxy while the block lasts."""
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve)
        yield proxy
        nursery.cancel_scope.cancel()
