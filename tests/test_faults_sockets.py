"""A fault at every step, over kernel sockets that speak TLS: the same story as in ``test_faults.py``.

The sockets come in pairs, so that what one end has sent has arrived at the other, and the virtual clock can't jump
ahead of it.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from ahtransport import Server
from ahtransport.testing import VARIANTS, Stage, leftovers
from certificates import secured, shake_hands
from sabotage import STRIKES, fix_schedule
from story import Story, play_every_step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ahtransport.testing import Variant
    from sabotage import Strike


class TlsPairs(Stage):
    """A server with a driver for sockets, and clients whose sockets are given to it as if it had accepted them."""

    def __init__(self, variant: Variant, tls: dict[str, Any]) -> None:
        super().__init__(variant, "socket")
        self.clock = MockClock(autojump_threshold=0)
        self._tls = tls
        self._server: Server

    def server(self, handler: Any = None, **options: Any) -> Server:
        self._server = super().server(handler, **self._tls, **options)
        return self._server

    @asynccontextmanager
    async def serving(self, server: Server) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(server._serve, "127.0.0.1", 0)
            yield
            nursery.cancel_scope.cancel()
        assert not leftovers(server)

    def open(self) -> trio.SocketStream:
        """Connect, and nothing else."""
        host = self._server._host
        if host is None or self._server.stopping:
            raise EOFError("the server accepts nobody any more")
        client, theirs = socket.socketpair()
        host._accepted(theirs, ("127.0.0.1", 50000))
        return trio.SocketStream(trio.socket.from_stdlib_socket(client))

    async def secure(self, stream: trio.SocketStream) -> trio.abc.Stream:
        """Shake hands."""
        try:
            return await shake_hands(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise EOFError("there was no handshake") from error

    async def dial(self, capacity: int = 65536) -> trio.abc.Stream:
        return await self.secure(self.open())


class TlsStory(Story):
    """One whose client may be cut off before it has TLS, too."""

    stage: TlsPairs

    async def dial(self) -> trio.abc.Stream:
        self.lines.append(self.stage.open())
        return await self.stage.secure(self.lines[-1])

    def cut(self) -> bool:
        for stream in self.lines:
            stream.socket.close()
        return bool(self.lines)


def wires(name: str, variant: str) -> Any:
    """Give one variant of a transformer that has all of its wires."""
    return pytest.param(VARIANTS[variant], marks=pytest.mark.transformer(name), id=name)


@pytest.mark.parametrize("driver", ["reactor", "task"])
@pytest.mark.parametrize(
    "wires",
    [
        wires("websockets", "websockets"),
        wires("engine.io", "engine.io upgrade"),
        wires("socket.io", "socket.io upgrade"),
    ],
)
@pytest.mark.parametrize("strike", STRIKES)
def test_h14_over_tls_a_fault_at_any_step_costs_one_connection(
    wires: Variant, driver: str, strike: Strike, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_schedule(monkeypatch)
    monkeypatch.setattr(Server, "_driver", driver)
    tls = secured(tmp_path)
    assert play_every_step(lambda: TlsStory(TlsPairs(wires, tls)), strike) > 35
