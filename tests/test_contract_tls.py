"""The contract over TLS: one variant of each transformer that has all of its wires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import test_contract
from ahtransport.testing import TransformerContract
from ahtransport.testing._stage import Stage
from certificates import dial, secured

if TYPE_CHECKING:
    from pathlib import Path

    import trio

    from ahtransport import Server
    from ahtransport.testing import Variant


class TlsStage(Stage):
    """A server on a socket that speaks TLS, and its clients."""

    def __init__(self, variant: Variant, directory: Path) -> None:
        super().__init__(variant, "socket")
        self._secured = secured(directory)

    def server(self, handler: Any = None, **options: Any) -> Server:
        return super().server(handler, **self._secured, **options)

    async def dial(self, capacity: int = 65536) -> trio.abc.Stream:
        return await dial(self._address)


class OverTls(TransformerContract):
    @pytest.fixture(params=["tls"])
    def stage(self, request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
        if request.param == "memory":
            pytest.skip("its clock is a virtual one, and there is no TLS in memory")
        return TlsStage(self.variant, tmp_path)


class TestWebSockets(OverTls, test_contract.TestWebSockets):
    pass


class TestEngineIOUpgrade(OverTls, test_contract.TestEngineIOUpgrade):
    pass


class TestSocketIOUpgrade(OverTls, test_contract.TestSocketIOUpgrade):
    pass
