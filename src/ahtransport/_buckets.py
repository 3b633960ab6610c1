"""Token buckets: how much of something may happen in a second, and how much at once after a quiet time.

A bucket may owe: what takes more than there is (one long message, say) is let through once, and what follows waits
until nothing is owed any more. So a limit on bytes needs no relation to the size of a message.

An address stands for one client: IPv4 as it is, IPv6 by its first 64 bits. A network of 64 bits is the least that
anybody is given (RFC 6177, RFC 7421), and each of its hosts may take as many addresses in it as it likes (RFC 8981), so
that anything longer would limit nobody.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["Bucket", "Buckets", "Meter", "Rate", "Rates", "address_key"]

_SWEEP: Final = 1024  # buckets from which on idle ones are looked for
_REST: Final = 1.0  # seconds without being slowed down after which patience begins anew
_LONGEST: Final = 10.0  # seconds for which a client is not listened to at all: its heartbeats must be heard


def address_key(address: str) -> str:
    """Give what an address counts as: itself, or of an IPv6 address its network of 64 bits."""
    if ":" not in address:
        return address
    try:
        number = int(ipaddress.IPv6Address(address.partition("%")[0]))
    except ValueError:
        return address
    if number >> 32 == 0xFFFF:  # IPv4 in IPv6's clothes, RFC 4291 section 2.5.5.2
        return str(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    return f"{ipaddress.IPv6Address(number >> 64 << 64)}/64"


class Rate:
    """A limit.

    Args:
        rate: how many per second; 0: any number.
        burst: how many at once after a quiet time; 0: as many as in a second.
    """

    __slots__ = ("burst", "rate")

    def __init__(self, rate: float, burst: float = 0) -> None:
        self.rate = rate
        self.burst = burst or rate

    def __bool__(self) -> bool:
        return self.rate > 0


class Bucket:
    """What is left of a limit. Times are seconds of any clock that goes forward; one that has gone back is another one,
    that of the server's next run, and what was taken before counts no more.

    Attributes:
        rate: the limit.
        level: how many there are; less than 0: so many are owed.
    """

    __slots__ = ("_then", "level", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._then = now
        self.level = float(rate.burst)

    def _fill(self, now: float) -> float:
        rate = self.rate
        then = self._then
        self.level = min(rate.burst, self.level + (now - then) * rate.rate) if now >= then else float(rate.burst)
        self._then = now
        return self.level

    def take(self, count: float, now: float) -> float:
        """Take so many, whether they are there or not; gives the seconds until nothing is owed any more."""
        self.level = level = self._fill(now) - count
        return -level / self.rate.rate if level < 0 else 0.0

    def ask(self, now: float) -> float:
        """Take one if there is one, and give 0; else nothing is taken, and there will be one after so many seconds."""
        level = self._fill(now)
        if level < 1:
            return (1 - level) / self.rate.rate
        self.level = level - 1
        return 0.0

    def is_full(self, now: float) -> bool:
        """Tell whether it is as good as a new one."""
        return self._fill(now) >= self.rate.burst


class Buckets:
    """A bucket for each address; those that are full again are forgotten, so there are no more of them than addresses
    that did something lately."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._buckets: dict[Hashable, Bucket] = {}
        self._sweep_at = _SWEEP

    def __len__(self) -> int:
        return len(self._buckets)

    def clear(self) -> None:
        """Forget all of them."""
        self._buckets = {}
        self._sweep_at = _SWEEP

    def of(self, key: Hashable, now: float) -> Bucket:
        """Give the bucket of an address, for use at once."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._sweep_at:
                self._buckets = {key: one for key, one in self._buckets.items() if not one.is_full(now)}
                self._sweep_at = max(_SWEEP, 2 * len(self._buckets))  # so that a sweep is paid for by as many new ones
            bucket = self._buckets[key] = Bucket(self.rate, now)
        return bucket


class Meter:
    """What one client has sent, of its own limits and its address's.

    Slowing a client down is the first answer to too much; one that has to be slowed down again and again, without a
    second of rest between, for longer than ``patience`` seconds (0: for ever) has been told often enough.
    """

    __slots__ = ("_address", "_bytes", "_messages", "_rates", "_rested", "_since")

    def __init__(self, rates: Rates, address: str, now: float) -> None:
        self._rates = rates
        self._address = address_key(address)
        self._messages = Bucket(rates.messages, now) if rates.messages else None
        self._bytes = Bucket(rates.bytes, now) if rates.bytes else None
        self._since = self._rested = -_REST  # since when it has been slowed down, and until when

    def messages(self, count: int, now: float) -> float:
        """Take messages; gives the seconds for which none should be taken then."""
        delay = self._messages.take(count, now) if self._messages is not None else 0.0
        shared = self._rates.messages_of_addresses
        return max(delay, shared.of(self._address, now).take(count, now)) if shared is not None else delay

    def bytes(self, count: int, now: float) -> float:
        """Take bytes; gives the seconds for which none should be taken then."""
        delay = self._bytes.take(count, now) if self._bytes is not None else 0.0
        shared = self._rates.bytes_of_addresses
        return max(delay, shared.of(self._address, now).take(count, now)) if shared is not None else delay

    def limit(self, now: float) -> str:
        """Name the option for which it has to wait longest."""
        of_messages, of_bytes = self._rates.messages_of_addresses, self._rates.bytes_of_addresses
        buckets = {
            "message_rate": self._messages,
            "message_rate_per_address": None if of_messages is None else of_messages.of(self._address, now),
            "byte_rate": self._bytes,
            "byte_rate_per_address": None if of_bytes is None else of_bytes.of(self._address, now),
        }
        waits = {name: bucket.take(0, now) for name, bucket in buckets.items() if bucket is not None}
        return max(waits, key=lambda name: waits[name])

    def slow_down(self, delay: float, now: float) -> float | None:
        """Say for how many of the seconds that it owes a client should not be listened to; None: that would be too
        long, together with what went before."""
        if now - self._rested >= _REST:
            self._since = now
        self._rested = max(self._rested, now + delay)
        patience = self._rates.patience
        return None if patience and self._rested - self._since > patience else min(delay, _LONGEST)


class Rates:
    """The limits on what clients send.

    Attributes:
        messages, bytes: of one connection, per second.
        messages_of_addresses, bytes_of_addresses: of all connections of one address together; None: not limited.
        patience: seconds for which a client is slowed down before it is closed; 0: for ever.
    """

    def __init__(
        self, messages: Rate, bytes: Rate, address_messages: Rate, address_bytes: Rate, *, patience: float
    ) -> None:
        self.messages = messages
        self.bytes = bytes
        self.messages_of_addresses = Buckets(address_messages) if address_messages else None
        self.bytes_of_addresses = Buckets(address_bytes) if address_bytes else None
        self.patience = patience

    def begin(self) -> None:
        """A run of the server begins: what addresses have sent in the one before does not count."""
        for buckets in (self.messages_of_addresses, self.bytes_of_addresses):
            if buckets is not None:
                buckets.clear()

    @property
    def counts_messages(self) -> bool:
        """Whether the number of messages matters."""
        return bool(self.messages) or self.messages_of_addresses is not None

    @property
    def counts_bytes(self) -> bool:
        """Whether the number of bytes matters."""
        return bool(self.bytes) or self.bytes_of_addresses is not None

    def __bool__(self) -> bool:
        return self.counts_messages or self.counts_bytes

    def meter(self, address: str, now: float) -> Meter:
        """Make the meter of a new connection."""
        return Meter(self, address, now)
