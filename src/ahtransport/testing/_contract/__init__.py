"""The contract: what every transformer does for an application, whatever carries it, under every host."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from ahtransport.testing._contract.handlers import Handlers
from ahtransport.testing._contract.handshake import Handshake
from ahtransport.testing._contract.life import Life
from ahtransport.testing._contract.messages import Messages
from ahtransport.testing._contract.pressure import Pressure
from ahtransport.testing._stage import Stage

if TYPE_CHECKING:
    from ahtransport.testing._variants import Variant

__all__ = ["TransformerContract"]


class TransformerContract(Messages, Handshake, Handlers, Pressure, Life):
    """Subclass it, say how clients connect, and pytest runs all of it, in memory and on real sockets::

        class TestMine(TransformerContract):
            variant = Variant("mine", MyTransformer, connect_mine)

    Attributes:
        variant: the transformer, and how a client of it connects.
    """

    variant: ClassVar[Variant]

    @pytest.fixture(params=["memory", "socket"])
    def stage(self, request: pytest.FixtureRequest) -> Stage:
        """Give each test a host of each kind."""
        return Stage(self.variant, request.param)
