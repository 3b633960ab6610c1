"""The server that is flooded: ``python -m hostile.flood.server OPTIONS``, with the options as JSON.

It says on which port it is, and answers each line on its standard input with its figures as JSON.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import sys
import time
from contextlib import suppress
from typing import Any

import trio

from ahtransport import Connection, Request, Response, Server

BIG = "x" * 32_768


class Count(logging.Handler):
    """Counts what is logged, by whether there is a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = self.tracebacks = 0
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.tracebacks += 1
            self.last = self.format(record)
        else:
            self.lines += 1


class Figures(trio.abc.Instrument):
    """What the server's application counts.

    Attributes:
        opened, closed: calls of ``on_open`` and ``on_close``.
        running, most: slow handlers that run, and the most that ever did.
        stall: the longest time for which one task kept the loop, seconds of the processor: how long others' programs
            kept this one waiting is not the server's fault.
        codes: how often connections were closed with which code.
    """

    def __init__(self) -> None:
        self.opened = self.closed = self.running = self.most = self.messages = 0
        self.stall = 0.0
        self.codes: dict[int, int] = {}
        self._began = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task has its turn."""
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Its turn is over."""
        self.stall = max(self.stall, time.thread_time() - self._began)


def trim() -> None:
    """Have the C library give back what is free: it keeps that for later, which is no leak."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def application(server: Server, figures: Figures) -> None:
    """Register what the floods ask for."""

    @server.on_open
    def opened(connection: Connection) -> None:
        figures.opened += 1

    @server.on_close
    def closed(connection: Connection, code: int, reason: str) -> None:
        figures.closed += 1
        figures.codes[code] = figures.codes.get(code, 0) + 1

    @server.on_message
    def echo(connection: Connection, message: Any) -> None:
        figures.messages += 1
        try:
            connection.send_nowait(message)
        except trio.WouldBlock:
            connection.close(1013, "the client does not read", reconnect=True)

    @server.on("slow")
    async def slow(connection: Connection) -> None:
        figures.running += 1
        figures.most = max(figures.most, figures.running)
        try:
            await trio.sleep(0.0005)
        finally:
            figures.running -= 1

    @server.on("join")
    def join(connection: Connection, *rooms: str) -> None:
        for room in rooms:
            server.rooms.join(connection, room)

    @server.on("leave")
    def leave(connection: Connection) -> None:
        for room in tuple(connection.rooms):
            server.rooms.leave(connection, room)

    @server.on("tell")
    async def tell(connection: Connection, count: int) -> None:
        for number in range(count):
            server.broadcast("x" * 1000, "told")
            if number % 50 == 49:
                await trio.lowlevel.checkpoint()

    @server.on("drown")
    def drown(connection: Connection, megabytes: int) -> None:
        server.rooms.join(connection, connection.id)
        for _ in range(megabytes * 32):
            server.broadcast(BIG, connection.id)

    async def read(request: Request) -> Response:
        return Response.text(200, str(len(await request.read(1_000_000))))

    server.route("/read", read)


async def broadcast(server: Server) -> None:
    """Say something long to the room ``flood`` every second."""
    while True:
        server.broadcast(BIG, "flood")
        await trio.sleep(1)


async def answer(server: Server, figures: Figures, log: Count) -> None:
    """Give the figures to whoever asks."""
    async for line in trio.wrap_file(sys.stdin):
        if line.strip() == "collect":
            gc.collect()
            trim()
        if line.strip() == "reset":
            figures.stall = 0.0
        host = server._host
        print(
            json.dumps(
                {
                    "opened": figures.opened,
                    "closed": figures.closed,
                    "connections": len(server.connections),
                    "sockets": 0 if host is None else host.open_channels,
                    "rooms": len(server.rooms),
                    "blocks": sys.getallocatedblocks(),
                    "most": figures.most,
                    "messages": figures.messages,
                    "stall": figures.stall,
                    "codes": figures.codes,
                    "lines": log.lines,
                    "tracebacks": log.tracebacks,
                    "traceback": log.last,
                }
            ),
            flush=True,
        )


async def main() -> None:
    """Serve until killed or the standard input ends."""
    options = json.loads(sys.argv[1])
    log, figures = Count(), Figures()
    logging.getLogger("ahtransport").addHandler(log)
    logging.getLogger("ahtransport").propagate = False
    logging.getLogger("ahtransport").setLevel(logging.WARNING)  # below it is one line for each connection that ends
    transformers = {"websockets": "/primus", "engine.io": "/engine.io", "socket.io": "/socket.io"}
    server = Server(config={}, **{"port": 0, "transformer": transformers, "blocking_warning": 0, **options})
    application(server, figures)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        print(server.port, flush=True)
        nursery.start_soon(broadcast, server)
        trio.lowlevel.add_instrument(figures)
        await answer(server, figures, log)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
