"""A fault at every step: whatever is cancelled or raises, at whichever checkpoint, costs one connection at most.

The life of one client is played through in memory, under a virtual clock and a fixed schedule. An instrument counts the
steps of the server's tasks, and at the n-th one does its worst. That is repeated for every n until nothing is left to
break.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ahtransport.testing import Stage
from sabotage import STRIKES, fix_schedule
from story import Story, play_every_step

if TYPE_CHECKING:
    from ahtransport.testing import Variant
    from sabotage import Strike


@pytest.mark.parametrize("strike", STRIKES)
def test_h14_a_fault_at_any_step_costs_one_connection(
    variant: Variant, strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_schedule(monkeypatch)
    assert play_every_step(lambda: Story(Stage(variant, "memory")), strike) > 40
