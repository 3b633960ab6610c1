"""What a test of the contract works with: a server, a way to reach it, and a record of what happened."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import trio
from trio.testing import MockClock

from ahtransport._server import Server
from ahtransport.testing._hosts import leftovers, memory_host, running
from ahtransport.testing._http import fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from ahtransport._connection import Connection
    from ahtransport.abc import Parser
    from ahtransport.testing._clients import MessageClient
    from ahtransport.testing._hosts import MemoryHost
    from ahtransport.testing._http import HttpResponse
    from ahtransport.testing._variants import Variant

__all__ = ["Record", "Stage", "run_on_stage"]

_REAL_PATIENCE = 30.0
_VIRTUAL_PATIENCE = 3600.0


class Record:
    """Notes what a server's application is told.

    Attributes:
        opened: connections, in the order of ``on_open``.
        closed: connection, code and reason of each ``on_close``.
        messages: connection and message of each ``on_message`` (only if ``messages`` was asked for).
        errors: connection and exception of each ``on_error``.
    """

    def __init__(self, server: Server, *, messages: bool = False) -> None:
        self.opened: list[Connection] = []
        self.closed: list[tuple[Connection, int, str]] = []
        self.messages: list[tuple[Connection, Any]] = []
        self.errors: list[tuple[Connection, BaseException]] = []
        self._news = trio.lowlevel.ParkingLot()

        def opened(connection: Connection) -> None:
            self._note(self.opened, connection)

        def closed(connection: Connection, code: int, reason: str) -> None:
            self._note(self.closed, (connection, code, reason))

        def failed(connection: Connection, error: BaseException) -> None:
            self._note(self.errors, (connection, error))

        def message(connection: Connection, value: Any) -> None:
            self._note(self.messages, (connection, value))

        server.on_open(opened)
        server.on_close(closed)
        server.on_error(failed)
        if messages:
            server.on_message(message)

    def _note(self, where: list[Any], what: Any) -> None:
        where.append(what)
        self._news.unpark_all()

    def notify(self) -> None:
        """Have those who wait in :meth:`until` look again."""
        self._news.unpark_all()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition()`` is true; it is asked again after each note."""
        while not condition():
            await self._news.park()


class Stage:
    """One host and one variant.

    Attributes:
        variant: how clients connect.
        kind: ``"memory"`` or ``"socket"``.
        clock: trio's clock under test; None: the real one.
        host: the host in memory while :meth:`serving`; None on sockets.
        remote_ip: the address that the server sees.
    """

    remote_ip = "127.0.0.1"

    def __init__(self, variant: Variant, kind: Literal["memory", "socket"]) -> None:
        self.variant = variant
        self.kind = kind
        self.clock = MockClock(autojump_threshold=0) if kind == "memory" else None
        self.host: MemoryHost | None = None
        self._address: tuple[str, int] = ("", 0)

    def __repr__(self) -> str:
        return f"<Stage {self.variant.name} {self.kind}>"

    def server(self, handler: Any = None, **options: Any) -> Server:
        """Make a server of this variant that listens on any free port of the loopback."""
        fixed = {"transformer": self.variant.transformer, "port": 0, **self.variant.options}
        return Server(handler, config={}, **{**fixed, **options})

    @asynccontextmanager
    async def serving(self, server: Server) -> AsyncIterator[None]:
        """Run the server while the block lasts; afterwards nothing of it may be left."""
        if self.kind == "memory":
            async with memory_host(server) as self.host:
                yield
        else:
            async with running(server):
                self._address = server.addresses[0]
                yield
        if left := leftovers(server):
            raise AssertionError(f"the server has ended and left {', '.join(left)}")

    async def dial(self, capacity: int = 65536) -> trio.abc.Stream:
        """Open one more byte stream to the server; ``capacity`` holds in memory only."""
        if self.host is not None:
            return self.host.stream(capacity=capacity)
        return await trio.open_tcp_stream(*self._address)

    def connect(
        self,
        *,
        query: Mapping[str, str] | None = None,
        headers: Iterable[tuple[str, str]] = (),
        parser: Parser | None = None,
        capacity: int = 65536,
    ) -> AbstractAsyncContextManager[MessageClient]:
        """Connect a client.

        Raises:
            Refused: on entering, when the server does not want it.
        """
        dial = functools.partial(self.dial, capacity)
        return self.variant.connect(dial, self.variant.pathname, query=query, headers=headers, parser=parser)

    async def fetch(
        self, method: str = "GET", path: str = "/", headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> HttpResponse:
        """Send one HTTP request on a stream of its own."""
        stream = await self.dial()
        try:
            return await fetch(stream, method, path, headers, body)
        finally:
            await trio.aclose_forcefully(stream)

    async def eventually(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition()`` is true, looking again every ten milliseconds of the stage's clock."""
        while not condition():  # noqa: ASYNC110 -- what is waited for need not be an event
            await trio.sleep(0.01)

    async def stopped(self, server: Server) -> None:
        """Wait until ``serve`` has returned."""
        await server._ended.wait()

    def check_closed(self, client: MessageClient, code: int, reason: str | None = None) -> None:
        """Check how a client's connection ended, as far as its wire can tell."""
        closed = client.closed
        if closed is None:
            raise AssertionError("the connection is open")
        expected = (code, closed[1] if reason is None else reason)
        if self.variant.codes and closed != expected:
            raise AssertionError(f"the connection was closed with {closed}, not {expected}")


def run_on_stage(
    test: functools.partial[Any], *, clock: object = None, instruments: Sequence[trio.abc.Instrument] = ()
) -> Any:
    """Run a test of the contract with its stage's clock (as pytest-trio's ``run``), for a limited time."""
    stage = test.keywords["stage"]
    patience = _VIRTUAL_PATIENCE if stage.clock is not None else _REAL_PATIENCE

    async def main() -> None:
        with trio.fail_after(patience):
            await test()

    return trio.run(main, clock=stage.clock, instruments=instruments)
