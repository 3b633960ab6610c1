"""What is counted: numbered messages, and whether both ends of a connection tell the same story.

Each direction of each connection (on Socket.IO: of each namespace) numbers its messages from 1. The receiver knows at
once what is lost, doubled, out of its place or not what was sent. When a connection has ended, what each end says of
itself is laid side by side.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

__all__ = ["Latencies", "Numbers", "Reconciliation", "body_down", "body_up"]


def body_up(key: str, number: int) -> str:
    """Give what a client says in its message of this number."""
    return f"{key} → {number} " + "ü☃x"[number % 3] * (number * 37 % 200)


def body_down(key: str, number: int, size: int = 0) -> str:
    """Give what the server says in its message of this number; ``size`` characters are added."""
    return f"{key} ← {number} " + "y" * (size or number * 41 % 150)


class Numbers:
    """Messages of one direction, as they come.

    Attributes:
        last: the highest number that came.
        doubled, reordered: how many came again, or after a higher one.
    """

    __slots__ = ("_missing", "doubled", "last", "reordered")

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self.doubled = self.reordered = 0
        self._missing: set[int] | None = None

    @property
    def lost(self) -> int:
        """How many numbers below the highest have not come."""
        return len(self._missing) if self._missing is not None else 0

    @property
    def sound(self) -> bool:
        """Whether everything came once and in order."""
        return not (self.lost or self.doubled or self.reordered)

    def take(self, number: int) -> None:
        """Note a message."""
        if number == self.last + 1:
            self.last = number
        elif number > self.last:
            if self._missing is None:
                self._missing = set()
            self._missing.update(range(self.last + 1, number))
            self.last = number
        elif self._missing is not None and number in self._missing:
            self._missing.discard(number)
            self.reordered += 1
        else:
            self.doubled += 1


class Latencies:
    """A histogram of times, with about 6 % between its buckets.

    Attributes:
        held_up_at: when something took longer than a second last, which can only be for want of CPU time.
    """

    def __init__(self) -> None:
        self.buckets: Counter[int] = Counter()
        self.worst = 0.0
        self.held_up_at = -math.inf

    def note(self, seconds: float, now: float = 0.0) -> None:
        """Add a time; ``now`` is any clock's."""
        if seconds > 1:
            self.held_up_at = now
        self.buckets[int(math.log2(max(seconds, 1e-6) * 1e6) * 12)] += 1
        self.worst = max(self.worst, seconds)

    def quantile(self, share: float) -> float:
        """Give the time that this share of all does not exceed, seconds; 0 when there are none."""
        wanted = share * self.buckets.total()
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return float(2 ** ((bucket + 1) / 12) / 1e6)
        return 0.0

    def report(self) -> dict[str, float]:
        """Give p50, p99 and max in milliseconds."""
        return {
            "p50": round(self.quantile(0.5) * 1000, 2),
            "p99": round(self.quantile(0.99) * 1000, 2),
            "max": round(self.worst * 1000, 2),
        }


class Reconciliation:
    """Lays what clients say of themselves beside what the server says of them.

    A client's record: ``{"key", "sent", "received", "end"}``; the server's: ``{"key", "sent", "received", "code"}``;
    both with ``lost``, ``doubled``, ``reordered`` and ``wrong`` of what they received. Only where a client left in good
    order (``end`` is ``"clean"``) do all numbers have to agree; else the last ones may have been on their way.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.troubles: list[str] = []
        self._halves: dict[str, tuple[str, dict[str, Any]]] = {}

    def take(self, side: str, record: dict[str, Any]) -> None:
        """Take one end's record; ``side`` is "client" or "server"."""
        key = record["key"]
        for what in ("lost", "doubled", "reordered", "wrong"):
            if record[what]:
                self.fault(what, f"{key}: {record[what]} {what}, says the {side}: {record}", record[what])
        self.counts["messages up" if side == "server" else "messages down"] += record["received"] - record["lost"]
        other = self._halves.pop(key, None)
        if other is None:
            self._halves[key] = side, record
        elif other[0] == side:
            self.fault("unmatched", f"{key} has two records of the {side}: {other[1]} and {record}")
        elif side == "client":
            self._compare(record, other[1])
        else:
            self._compare(other[1], record)

    def _compare(self, client: dict[str, Any], server: dict[str, Any]) -> None:
        self.counts["connections"] += 1
        self.counts[f"end: {client['end']}"] += 1
        up, down = client["sent"] - server["received"], server["sent"] - client["received"]
        if client["end"] == "clean":
            if up or down:
                self.fault("lost", f"{client} and {server} don't agree", abs(up) + abs(down))
        elif up < 0 or down < 0:
            self.fault("wrong", f"{client} and {server}: more came than was sent")
        else:
            self.counts["on their way when a connection broke"] += up + down

    def fault(self, what: str, detail: str, count: int = 1) -> None:
        """Note what must not happen; the first hundred with their details."""
        self.counts[what] += count
        if len(self.troubles) < 100:
            self.troubles.append(f"{what}: {detail}")

    def finish(self) -> None:
        """Say that no more records come: what has no counterpart by now is a fault."""
        for side, record in self._halves.values():
            self.fault("unmatched", f"only the {side} knows of {record}")
        self._halves.clear()
