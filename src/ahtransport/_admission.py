"""Who may come in while the server is full: a seat for each client, in all and per address, and none when memory runs
short.

Whoever has a seat keeps it: only new clients are refused, before any upgrade, and told when to come back.
"""

from __future__ import annotations

import os
from collections import Counter
from math import ceil
from typing import TYPE_CHECKING, Final

import trio

from ahtransport._buckets import address_key
from ahtransport._errors import Reject
from ahtransport._log import fields, get_logger
from ahtransport.abc import Seat

if TYPE_CHECKING:
    from ahtransport._config import Limits
    from ahtransport._heartbeat import Deadlines
    from ahtransport._http import Request

__all__ = ["Admission", "resident_memory"]

_log = get_logger()
_STATM: Final = "/proc/self/statm"
_SAMPLE: Final = 1.0  # seconds between two looks at the memory
_SHARE: Final = 0.8  # of ``max_memory``; beyond it nobody is let in
_QUIET: Final = 10.0  # seconds in which it is logged once that clients are refused


def resident_memory() -> int | None:
    """Give how many bytes of this process are in memory; None where the system does not say."""
    try:
        with open(_STATM, "rb") as file:  # the kernel answers from memory: nothing here waits
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):  # pragma: no cover -- only Linux has it
        return None


class _Taken(Seat):
    """A seat that counts."""

    __slots__ = ("_address", "_admission")

    def __init__(self, admission: Admission, address: str) -> None:
        self._admission: Admission | None = admission
        self._address = address

    def leave(self) -> None:
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.left(self._address)


class Admission:
    """The seats of one server.

    Args:
        limits: the options.
        deadlines: the server's clock.
        limited: where it is counted who was refused, by the option; None: nowhere else.

    Attributes:
        taken: how many are taken.
        refused: how many clients were refused so far.
        overloaded: whether too much memory is in use.
    """

    def __init__(self, limits: Limits, deadlines: Deadlines, limited: Counter[str] | None = None) -> None:
        self._limits = limits
        self._limited = Counter() if limited is None else limited
        self._deadlines = deadlines
        self._per_address: dict[str, int] = {}
        self._quiet_until = 0.0
        self.taken = 0
        self.refused = 0
        self.overloaded = False

    @staticmethod
    def wanted(limits: Limits) -> bool:
        """Tell whether anything is limited."""
        return bool(limits.max_connections or limits.max_connections_per_address or limits.max_memory)

    def begin(self) -> None:
        """Look at the memory from now on, once a second."""
        self._quiet_until = 0.0
        if self._limits.max_memory:
            if resident_memory() is None:  # pragma: no cover -- only Linux tells
                _log.warning(
                    "max_memory: this system does not tell how large the process is, so it is not limited",
                    extra=fields("config.warning"),
                )
            else:
                self._look()

    def _look(self) -> None:
        used = resident_memory() or 0
        self.overloaded = used > self._limits.max_memory * _SHARE
        self._deadlines.at(trio.current_time() + _SAMPLE, self._look)

    def enter(self, request: Request) -> Seat:
        """Give a client a seat.

        Raises:
            Reject: 503, the server is full or short of memory; 429, the client's address has enough.
        """
        limits = self._limits
        address = address_key(request.remote_ip)
        if self.overloaded:
            raise self._refusal(503, "the server is overloaded", "max_memory")
        if limits.max_connections and self.taken >= limits.max_connections:
            raise self._refusal(503, "the server is full", "max_connections")
        count = self._per_address.get(address, 0)
        if limits.max_connections_per_address and count >= limits.max_connections_per_address:
            reason = "too many connections from this address"
            raise self._refusal(429, reason, "max_connections_per_address")
        self.taken += 1
        self._per_address[address] = count + 1
        return _Taken(self, address)

    def left(self, address: str) -> None:
        """A seat is free again."""
        self.taken -= 1
        count = self._per_address[address] - 1
        if count:
            self._per_address[address] = count
        else:
            del self._per_address[address]

    def _refusal(self, status: int, reason: str, limit: str) -> Reject:
        self.refused += 1
        self._limited[limit] += 1
        now = trio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            _log.warning(
                "refusing clients: %s (%d refused so far)",
                reason,
                self.refused,
                extra=fields("clients.refused", reason=reason),
            )
        return Reject(status, reason, [("Retry-After", str(ceil(self._limits.retry_after)))])
