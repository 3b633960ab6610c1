"""Holding up clients that poll: their POSTs are answered later, and they send one at a time."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import trio

from ahtransport._errors import Reject

if TYPE_CHECKING:
    from collections import Counter

    from ahtransport._buckets import Rates

__all__ = ["PollPacer"]


class PollPacer:
    """An ``ahtransport.abc.Pacer``.

    Args:
        rates: the limits.
        address: the client's.
        limited: where it is counted who was refused, by the option.
    """

    __slots__ = ("_limited", "_meter", "_rates")

    def __init__(self, rates: Rates, address: str, limited: Counter[str]) -> None:
        self._limited = limited
        self._rates = rates
        self._meter = rates.meter(address, trio.current_time())

    async def message(self, size: int) -> None:
        """Wait until one more message may be taken.

        Raises:
            Reject: 429, the client has been too fast for too long.
        """
        now = trio.current_time()
        for_message = self._meter.messages(1, now) if self._rates.counts_messages else 0.0
        for_bytes = self._meter.bytes(size, now) if self._rates.counts_bytes else 0.0
        delay = max(for_message, for_bytes)
        if delay:
            pause = self._meter.slow_down(delay, now)
            if pause is None:
                self._limited[self._meter.limit(now)] += 1
                reason = "too many messages" if for_message >= for_bytes else "too many bytes"
                raise Reject(429, reason, [("Retry-After", str(ceil(delay)))])
            await trio.sleep(pause)
