"""Verbs whose clients may ask only so often: what is over the rate gets an error reply, not a delay.

A client that goes on asking, and is refused as often as it might have asked at once after a quiet time, is closed with
1008.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ahtransport._actions.verbs import Verbs, message_id_of, refuse
from ahtransport._buckets import Bucket, Buckets, Rate, address_key

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ahtransport._actions.runner import Tally
    from ahtransport._actions.server import ActionServer
    from ahtransport._config import Limits
    from ahtransport._connection import Connection

__all__ = ["PacedVerbs"]

TOO_MANY = "you are sending too many messages"


class PacedVerbs(Verbs):
    """Verbs at a limited rate."""

    def __init__(self, server: ActionServer, limits: Limits) -> None:
        super().__init__(server)
        self._rate = Rate(limits.message_rate, limits.message_burst)
        self._own: dict[Connection, Bucket] = {}
        self._shared = Buckets(Rate(limits.message_rate_per_address, limits.message_burst_per_address))

    @staticmethod
    def wanted(limits: Limits) -> bool:
        """Tell whether there is a limit."""
        return bool(limits.message_rate or limits.message_rate_per_address)

    def answer(self, connection: Connection, tally: Tally, message: Any) -> Awaitable[None] | None:
        """Do what a message asks for, unless it is one too many; gives what is left to be awaited."""
        now = trio.current_time()
        over = patient = 0.0
        for bucket in self._buckets(connection, now):
            over = max(over, bucket.take(1, now))
            patient = min(patient, bucket.level + bucket.rate.burst)
        if not over:
            return super().answer(connection, tally, message)
        if patient < 0:
            connection.close(1008, TOO_MANY, reconnect=True)
            return None
        message_id = message_id_of(message.get("messageId") if isinstance(message, dict) else None)
        return refuse(connection, TOO_MANY, message_id)

    def _buckets(self, connection: Connection, now: float) -> list[Bucket]:
        found = []
        if self._rate:
            own = self._own.get(connection)
            if own is None:
                own = self._own[connection] = Bucket(self._rate, now)
            found.append(own)
        if self._shared.rate:
            found.append(self._shared.of(address_key(connection.remote_ip), now))
        return found

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._own.pop(connection, None)
