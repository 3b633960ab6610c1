"""A server under attack, and what must hold afterwards whatever was done to it.

Invariants: I1 a bystander's echo takes less than a second; I2 no traceback, at most one log line per attacking
connection; I3 tasks, descriptors, timers and tables are back where they were; I4 every open has its close; I5 memory.
"""

from __future__ import annotations

import gc
import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from ahtransport import Connection, Server
from certificates import shake_hands
from hostile.wire import TEXT, Answer, Raw, frame, upgrade

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

_PAGE = os.sysconf("SC_PAGE_SIZE")
_BACK = 5.0  # seconds within which everything must be back where it was


def resident() -> int:
    """Give this process's resident memory, bytes."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * _PAGE


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "ahtransport.access":  # it has a line for each connection, whether it attacks or not
            self.records.append(record)


class Target:
    """What a test attacks.

    Attributes:
        server: the server.
        opened: how many times ``on_open`` was called.
        closed: the codes that ``on_close`` was called with.
        messages: what the application got.
        tracebacks: how many log records with a traceback are all right: as many as the test makes the application fail.
    """

    def __init__(self, server: Server, tls: ssl.SSLContext | None = None) -> None:
        self.server = server
        self._tls = tls
        self.opened = 0
        self.closed: list[int] = []
        self.messages: list[Any] = []
        self.tracebacks = 0
        self.raws: list[Raw] = []
        self.log = _Records()
        self._canary: Raw
        self._echoes = type(server) is Server
        self._canaries = 0
        server.on_open(self._on_open)
        server.on_close(self._on_close)

    def _on_open(self, connection: Connection) -> None:
        self.opened += 1

    def _on_close(self, connection: Connection, code: int, reason: str) -> None:
        self.closed.append(code)

    def echo(self, connection: Connection, message: Any) -> None:
        """Note a message and send it back."""
        self.messages.append(message)
        connection.send_nowait(message)

    async def raw(self) -> Raw:
        """Connect; where the server speaks TLS, shake hands, too."""
        raw = await self.tcp()
        return raw if self._tls is None else await self.secured(raw, self._tls)

    async def secured(self, raw: Raw, tls: ssl.SSLContext) -> Raw:
        """Give the same connection with TLS on it.

        Raises:
            trio.BrokenResourceError: there was no handshake.
        """
        secured = Raw(await shake_hands(raw.tcp, tls))
        self.raws[self.raws.index(raw)] = secured
        return secured

    async def tcp(self) -> Raw:
        """Connect, and nothing else."""
        raw = Raw(await trio.open_tcp_stream("127.0.0.1", self.server.port))
        self.raws.append(raw)
        return raw

    async def exchange(self, data: bytes, *, piece: int | None = None, bodiless: bool = False) -> Answer:
        """Send a request on a new connection, whole or in pieces, and read the response."""
        raw = await self.raw()
        with trio.fail_after(5):
            if piece is None:
                await raw.send(data)
            else:
                await raw.drip(data, piece)
            answer = await raw.answer(bodiless=bodiless)
            if answer.header("Connection") == "close":
                assert await raw.rest() == b""
        raw.hang_up()
        return answer

    async def websocket(self, *headers: str, target: str = "/primus", early: bytes = b"") -> Raw:
        """Open a WebSocket; ``early`` travels in the same segment as the handshake."""
        raw = await self.raw()
        with trio.fail_after(5):
            await raw.send(upgrade(*headers, target=target) + early)
            answer = await raw.answer()
        assert answer.status == 101, answer
        return raw

    async def wait_for(self, condition: Callable[[], bool], seconds: float = _BACK) -> None:
        """Wait until something is so; looks every few milliseconds."""
        with trio.fail_after(seconds):
            while not condition():  # noqa: ASYNC110 -- there is nothing that would tell
                await trio.sleep(0.005)

    # -- the invariants

    async def bystander(self) -> None:
        """I1: somebody who has nothing to do with it is served."""
        self._canaries += 1
        number = f"{self._canaries}"
        with trio.fail_after(1):
            if self._echoes:
                await self._canary.send(frame(TEXT, number.encode()))
                assert await self._canary.text() == number
            else:  # a server of another kind answers Primus' pings at least
                await self._canary.send(frame(TEXT, f'"primus::ping::{number}"'.encode()))
                while await self._canary.frame() != (TEXT, f'"primus::pong::{number}"'.encode()):
                    pass

    def _state(self) -> dict[str, int]:
        application, host = self.server._application, self.server._host
        assert host is not None
        return {
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "descriptors": len(os.listdir("/dev/fd")),
            "sockets": host.open_channels,
            "connections": len(self.server.connections),
            "rooms": len(self.server.rooms.list()),
            "timers": len(application.deadlines),
            "opens without a close": self.opened - len(self.closed),
        }

    async def begin(self) -> None:
        """Let the bystander in and note how things are."""
        self._canary = await self.websocket()
        self.raws.clear()
        await self.bystander()
        self.messages.clear()
        await trio.testing.wait_all_tasks_blocked()
        self._before = self._state()

    async def check(self) -> None:
        """Check the invariants I1 to I4."""
        attackers = len(self.raws)
        await self.bystander()
        for raw in self.raws:
            raw.hang_up()
        with trio.move_on_after(_BACK):
            while self._state() != self._before:  # noqa: ASYNC110
                await trio.sleep(0.005)
        assert self._state() == self._before
        await self.bystander()
        records = self.log.records
        with_traceback = [record.getMessage() for record in records if record.exc_info]
        assert len(with_traceback) <= self.tracebacks, with_traceback
        assert len(records) - len(with_traceback) <= attackers, [record.getMessage() for record in records]


@asynccontextmanager
async def under_attack(
    prepare: Callable[[Server], object] | None = None,
    *,
    handler: Callable[[Connection], Awaitable[object]] | None = None,
    make: Callable[..., Server] = Server,
    tls: ssl.SSLContext | None = None,
    **options: Any,
) -> AsyncIterator[Target]:
    """Run a server that echoes (unless it has a ``handler``, which must do that), and check the invariants afterwards.

    ``prepare`` may register more functions; ``make`` makes another kind of server; ``tls`` are the rules of clients
    where the options have the server speak TLS.
    """
    settings: dict[str, Any] = {"port": 0, "ping_interval": 0, "close_timeout": 150, "blocking_warning": 0}
    server = make(handler, **(settings | options)) if make is Server else make(**(settings | options))
    target = Target(server, tls)
    if prepare is not None:
        prepare(server)
    if handler is None and make is Server:
        server.on_message(target.echo)
    logger = logging.getLogger("ahtransport")
    level = logger.level
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        logger.addHandler(target.log)
        logger.setLevel(logging.DEBUG)
        try:
            await target.begin()
            yield target
            await target.check()
        finally:
            logger.removeHandler(target.log)
            logger.setLevel(level)
            for raw in [*target.raws, target._canary]:
                raw.hang_up()
        server.shutdown()


async def statuses(target: Target, attacks: Iterable[bytes]) -> list[int]:
    """Give the statuses of the responses to several requests, each on a connection of its own."""
    return [(await target.exchange(attack)).status for attack in attacks]
