"""Who takes part: the kinds of raw clients, what the clients of one process share, what one connection counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from soak.accounts import Latencies, Numbers

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

__all__ = ["KINDS", "Channel", "Crowd", "Kind"]


class Kind(NamedTuple):
    """A kind of client, and its share of the crowd."""

    transformer: str
    transport: str  # "websocket", "polling", or "upgrade" from one to the other
    share: float


KINDS: Final = (
    Kind("websockets", "websocket", 0.40),
    Kind("engine.io", "websocket", 0.10),
    Kind("engine.io", "upgrade", 0.175),
    Kind("engine.io", "polling", 0.025),
    Kind("socket.io", "websocket", 0.10),
    Kind("socket.io", "upgrade", 0.175),
    Kind("socket.io", "polling", 0.025),
)


class Crowd(NamedTuple):
    """What the clients share.

    Attributes:
        port: the server's.
        pause: mean seconds between two things that a client says.
        report: takes records.
        counts: of everything.
        latencies: of echoes.
    """

    port: int
    pause: float
    report: Callable[[dict[str, Any]], None]
    counts: Counter[str]
    latencies: Latencies

    def trouble(self, what: str, detail: str) -> None:
        """Report what must not happen."""
        self.report({"trouble": what, "detail": detail})


class Channel:
    """One connection as the server counts them: a client, or one of its namespaces.

    Attributes:
        pending: acknowledgements that are to come, with what they have to be.
        rooms: the numbers in each room, of which it hears everything since it joined.
    """

    def __init__(self, key: str, namespace: str) -> None:
        self.key = key + namespace
        self.namespace = namespace
        self.opened = trio.Event()
        self.sent = self.calls = self.wrong = 0
        self.came = Numbers()
        self.pending: dict[int, Callable[[Any], bool]] = {}
        self.rooms: dict[str, Numbers] = {}
        self.balance: dict[str, Any] | None = None

    def record(self, end: str) -> dict[str, Any]:
        """Say what became of it."""
        came = self.came
        numbers = {"received": came.last, "lost": came.lost, "doubled": came.doubled, "reordered": came.reordered}
        return {"key": self.key, "sent": self.sent, "wrong": self.wrong, "end": end, **numbers}
