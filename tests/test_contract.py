"""The contract, for every variant that comes with ahtransport."""

from __future__ import annotations

from ahtransport.testing import VARIANTS, TransformerContract


class TestWebSockets(TransformerContract):
    variant = VARIANTS["websockets"]


def test_no_variant_is_forgotten() -> None:
    tested = {subclass.variant.name for subclass in TransformerContract.__subclasses__()}
    assert tested == set(VARIANTS)
