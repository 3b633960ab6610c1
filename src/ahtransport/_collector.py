"""Python's garbage collector, tuned for programs with very many long-lived objects.

Nearly everything here is freed by reference counts. What the collector looks for are cycles, and it finds hardly any,
but each time it looks it walks through every connection: with ten thousand of them that is a pause that clients notice.
So while a server runs, what was there before is left out, and the rest is looked at less often. Nothing is switched
off: cycles that an application makes are still found. All objects are looked at when there are some 700,000
more than before, or a quarter more, whatever is later: that is what such cycles may amount to.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["tune_collector"]

#: New objects before the youngest generation is looked at; rounds of it before the middle one is; and so on.
_THRESHOLDS: Final = (20_000, 10, 2)
#: What Python sets by itself: up to 3.12, 3.13, and 3.14. Anything else an application has chosen.
_DEFAULTS: Final = {(700, 10, 10), (2000, 10, 10), (2000, 10, 0)}

_servers = 0  # how many of this process's servers ask for it just now
_before = (700, 10, 10)  # what was there when the first of them came
_frozen = False  # whether it was us who froze what is there


def tune_collector() -> Callable[[], None]:
    """Tune the collector; gives the function that puts things back. Several servers of a process may overlap.

    Where an application has tuned it, or switched it off, nothing is done.
    """
    global _before, _frozen, _servers
    found = gc.get_threshold()
    if not gc.isenabled() or (found != _THRESHOLDS if _servers else found not in _DEFAULTS):
        return lambda: None
    if not _servers:
        _before = found
        _frozen = not gc.get_freeze_count()  # what an application has frozen must not thaw when we end
        if _frozen:
            gc.freeze()  # without collecting first: what is garbage now stays until the end, but a start takes no time
        gc.set_threshold(*_THRESHOLDS)
    _servers += 1
    return _restore


def _restore() -> None:
    global _servers
    _servers -= 1
    if not _servers:
        if gc.get_threshold() == _THRESHOLDS:
            gc.set_threshold(*_before)
        if _frozen:
            gc.unfreeze()
