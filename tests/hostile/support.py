"""A server under attack, and what must hold afterwards whatever was done to it.

I1: a bystander in another process, ``hostile.canary``, gets each echo within a second all through the attack. I2: no
traceback, at most one log line per attacking connection. I3: tasks, descriptors, sockets, timers, and the tables of
connections, rooms and sessions are back where they were within five seconds. I4: every open has its close. I5: memory
is within 32 MiB of what it was.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from ahtransport import Connection, Server
from certificates import shake_hands
from hostile.wire import TEXT, Answer, Raw, frame, upgrade
from invariants import MEMORY, Memory, Records

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

_BACK = 5.0  # seconds within which everything must be back where it was
_SERVED = 5.0  # seconds within which a bystander in this process must be served, however busy the machine is
_CANARY = Path(__file__).with_name("canary.py")


class _Canary:
    """The process of the bystander; see ``hostile.canary`` for the orders that it takes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-IS", str(_CANARY)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout
        os.set_blocking(self._answers.fileno(), False)
        atexit.register(self.kill)

    def tell(self, do: str, **order: Any) -> None:
        """Give an order."""
        self._orders.write(json.dumps({"do": do, **order}).encode() + b"\n")

    async def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """Give an order and wait for the answer, in no thread: those count among what must be back where it was."""
        self.tell(do, **order)
        line = b""
        with trio.fail_after(15):
            while not line.endswith(b"\n"):
                await trio.lowlevel.wait_readable(self._answers.fileno())
                data = self._answers.read(65536)
                assert data, "the canary is dead"
                line += data
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        """End it, whatever it is doing."""
        atexit.unregister(self.kill)
        self._process.kill()
        self._process.wait()
        self._orders.close()
        self._answers.close()


@functools.cache
def _canary() -> _Canary:
    """Give this process's canary."""
    return _Canary()


class Target:
    """What a test attacks.

    Attributes:
        server: the server.
        opened: how many times ``on_open`` was called.
        closed: the codes that ``on_close`` was called with.
        messages: what the application got from others than the bystander.
        tracebacks: how many log records with a traceback are all right: as many as the test makes the application fail.
    """

    def __init__(
        self,
        server: Server,
        tls: ssl.SSLContext | None = None,
        slowest: float | None = 1.0,
        memory: int | None = MEMORY,
    ) -> None:
        self.server = server
        self._tls = tls
        self._slowest = slowest
        self._allowed = memory
        self.opened = 0
        self.closed: list[int] = []
        self.messages: list[Any] = []
        self.tracebacks = 0
        self.raws: list[Raw] = []
        self.log = Records()
        self._echoes = type(server) is Server
        self._outside: _Canary | None = None  # the bystander, while it watches
        self._inside: Raw | None = None  # what stands in for it where it can't watch
        self._looks = 0
        self._own: Connection | None = None  # the bystander's
        server.on_open(self._on_open)
        server.on_close(self._on_close)

    def _on_open(self, connection: Connection) -> None:
        self.opened += 1

    def _on_close(self, connection: Connection, code: int, reason: str) -> None:
        self.closed.append(code)

    def echo(self, connection: Connection, message: Any) -> None:
        """Note a message, unless it is the bystander's, and send it back."""
        if connection is not self._own:
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
        """I1: somebody who has nothing to do with it is served. How fast another process is, ``check`` tells."""
        if self._outside is not None:
            answer = await self._outside.ask("look")
            assert answer["error"] is None, answer
        elif self._inside is not None:
            with trio.fail_after(_SERVED):
                await self._look(self._inside)

    async def _look(self, raw: Raw) -> None:
        self._looks += 1
        number = f"{self._looks}"
        if self._echoes:
            await raw.send(frame(TEXT, number.encode()))
            assert await raw.text() == number
        else:  # a server of another kind answers Primus' pings at least
            await raw.send(frame(TEXT, f'"primus::ping::{number}"'.encode()))
            while await raw.frame() != (TEXT, f'"primus::pong::{number}"'.encode()):
                pass

    def _state(self) -> dict[str, int]:
        application, host = self.server._application, self.server._host
        assert host is not None
        tables = [
            getattr(transformer, table, ())
            for transformer in self.server.transformers
            for table in ("_sessions", "_polling")  # of Engine.IO and Socket.IO
        ]
        return {
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "descriptors": len(os.listdir("/dev/fd")),
            "sockets": host.open_channels,
            "connections": len(self.server.connections),
            "rooms": len(self.server.rooms.list()),
            "sessions": sum(map(len, tables)),
            "timers": len(application.deadlines),
            "opens without a close": self.opened - len(self.closed),
        }

    async def begin(self) -> None:
        """Let the bystander in and note how things are."""
        if self._slowest is None or self._tls is not None:
            self._inside = await self.websocket()
            self.raws.clear()
            await self.bystander()
        else:
            self._outside = _canary()
            thread = f"/proc/{os.getpid()}/task/{threading.get_native_id()}"
            answer = await self._outside.ask("watch", port=self.server.port, thread=thread, ping=not self._echoes)
            assert answer["error"] is None, answer
        [self._own] = self.server.connections.values()
        self.messages.clear()
        await trio.testing.wait_all_tasks_blocked()
        self._memory = Memory(self._allowed)
        self._before = self._state()
        if self._outside is not None:  # it has been silent up to here, so that none of its messages is in that state
            self._outside.tell("begin")

    async def check(self) -> None:
        """Check the invariants I1 to I5, see above."""
        attackers = len(self.raws)
        await self.bystander()
        for raw in self.raws:
            raw.hang_up()
        with trio.move_on_after(_BACK):
            while self._state() != self._before:  # noqa: ASYNC110
                await trio.sleep(0.005)
        state = self._state()
        assert state == self._before, (state, self._before)
        await self.bystander()
        self._memory.check()
        if self._outside is not None:
            answer = await self._outside.ask("stop")
            self._outside = None
            assert answer["error"] is None, answer
            assert answer["count"] >= 1
            assert self._slowest is not None
            assert answer["worst"] < self._slowest, answer
        self.log.check(attackers, self.tracebacks)

    def end(self) -> None:
        """Hang up, whether or not there has been a check."""
        for raw in [*self.raws, *([] if self._inside is None else [self._inside])]:
            raw.hang_up()
        if self._outside is not None:  # the test has failed, and nobody waits for the answer
            self._outside.kill()
            _canary.cache_clear()


@asynccontextmanager
async def under_attack(
    prepare: Callable[[Server], object] | None = None,
    *,
    handler: Callable[[Connection], Awaitable[object]] | None = None,
    make: Callable[..., Server] = Server,
    tls: ssl.SSLContext | None = None,
    slowest: float | None = 1.0,
    memory: int | None = MEMORY,
    **options: Any,
) -> AsyncIterator[Target]:
    """Run a server that echoes (unless it has a ``handler``, which must do that), and check the invariants afterwards.

    ``prepare`` may register more functions; ``make`` makes another kind of server; ``tls`` are the rules of clients
    where the options have the server speak TLS. ``slowest`` is how long the bystander's echo may take, seconds; None
    where a test slows all connections down: then the bystander is one of this process, which is served now and then.
    ``memory`` is how much may be in use that was not before, bytes; None: the test is about something else that grows.
    """
    settings: dict[str, Any] = {"port": 0, "ping_interval": 0, "close_timeout": 150, "blocking_warning": 0}
    server = make(handler, **(settings | options)) if make is Server else make(**(settings | options))
    target = Target(server, tls, slowest, memory)
    if prepare is not None:
        prepare(server)
    if handler is None and make is Server:
        server.on_message(target.echo)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        with target.log.attached():
            try:
                await target.begin()
                yield target
                await target.check()
            finally:
                target.end()
        server.shutdown()


async def statuses(target: Target, attacks: Iterable[bytes]) -> list[int]:
    """Give the statuses of the responses to several requests, each on a connection of its own."""
    return [(await target.exchange(attack)).status for attack in attacks]
