"""The contract over a Unix socket: one variant of each transformer that has all of its wires."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio

import test_contract
from ahtransport.testing import TransformerContract
from ahtransport.testing._stage import Stage

if TYPE_CHECKING:
    from ahtransport import Server
    from ahtransport.testing import Variant

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")


class UnixStage(Stage):
    """A server on a Unix socket in the working directory, which is the test's own, and its clients."""

    remote_ip = "unix"

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant, "socket")

    def server(self, handler: Any = None, **options: Any) -> Server:
        return super().server(handler, socket="door", **options)

    async def dial(self, capacity: int = 65536) -> trio.abc.Stream:
        return await trio.open_unix_socket(self._address[0])


class OverUnix(TransformerContract):
    @pytest.fixture(params=["unix"])
    def stage(self, request: pytest.FixtureRequest) -> Stage:
        if request.param == "memory":
            pytest.skip("there are no such sockets in memory")
        return UnixStage(self.variant)


class TestWebSockets(OverUnix, test_contract.TestWebSockets):
    pass


class TestEngineIOUpgrade(OverUnix, test_contract.TestEngineIOUpgrade):
    pass


class TestSocketIOUpgrade(OverUnix, test_contract.TestSocketIOUpgrade):
    pass
