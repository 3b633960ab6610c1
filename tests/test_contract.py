"""The contract, for every variant that comes with ahtransport."""

from __future__ import annotations

from ahtransport.testing import VARIANTS, TransformerContract


class TestWebSockets(TransformerContract):
    variant = VARIANTS["websockets"]


class TestEngineIOPolling(TransformerContract):
    variant = VARIANTS["engine.io polling"]


class TestEngineIOWebSocket(TransformerContract):
    variant = VARIANTS["engine.io websocket"]


class TestEngineIOUpgrade(TransformerContract):
    variant = VARIANTS["engine.io upgrade"]


class TestSocketIOPolling(TransformerContract):
    variant = VARIANTS["socket.io polling"]


class TestSocketIOWebSocket(TransformerContract):
    variant = VARIANTS["socket.io websocket"]


class TestSocketIOUpgrade(TransformerContract):
    variant = VARIANTS["socket.io upgrade"]


def test_no_variant_is_forgotten() -> None:
    here = [subclass for subclass in TransformerContract.__subclasses__() if subclass.__module__ == __name__]
    tested = {subclass.variant.name for subclass in here}
    assert tested == set(VARIANTS)
