"""The embedded host with limits: how many sockets may be open, and how fast a WebSocket may send.

A server without such limits has the plain host, and none of this costs it anything.
"""

from __future__ import annotations

import os
from collections import Counter
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import trio

from ahtransport._buckets import address_key
from ahtransport._log import fields, get_logger
from ahtransport._net.channel import CHUNK, Channel
from ahtransport._net.compressed import CompressedWire, agreed
from ahtransport._net.host import Host, peer_of
from ahtransport._net.websocket import WebSocketWire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ahtransport._buckets import Meter, Rates
    from ahtransport._http import Request
    from ahtransport._net.head import Head
    from ahtransport.abc import Receiver, Timer

__all__ = ["GuardedHost", "MeteredCompressedWire", "MeteredWire", "free_descriptors"]

_log = get_logger()
_QUIET: Final = 10.0  # seconds in which it is logged once that sockets are refused
#: What a client that expects TLS understands: a handshake only to say no would cost more than to say yes. A record with
#: a fatal alert, internal_error, which is for failures such as too little memory (RFC 8446 sections 5.1 and 6.2).
_ALERT: Final = bytes([21, 3, 3, 0, 2, 2, 80])
_REASONS: Final = {429: "too many connections from this address", 503: "the server is full"}


def free_descriptors() -> int | None:
    """Give how many descriptors the process may still open; None where the system does not say."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return None if limit == resource.RLIM_INFINITY else limit - len(os.listdir("/dev/fd"))
    except (ImportError, OSError):  # pragma: no cover -- Windows
        return None


class _Counted(set[Channel]):
    """The open channels, and how many there are of each address."""

    def __init__(self) -> None:
        super().__init__()
        self.per_address: dict[str, int] = {}

    def add(self, channel: Channel) -> None:
        super().add(channel)
        address = address_key(channel.peer[0])
        self.per_address[address] = self.per_address.get(address, 0) + 1

    def discard(self, channel: object) -> None:
        if isinstance(channel, Channel) and channel in self:
            super().discard(channel)
            address = address_key(channel.peer[0])
            count = self.per_address[address] = self.per_address[address] - 1
            if not count:
                del self.per_address[address]


class GuardedHost(Host):
    """A host that refuses sockets beyond its limits, and slows down WebSockets that send too fast.

    Args:
        max_sockets: how many may be open; 0: any number.
        max_sockets_per_address: of one address; 0: any number.
        reserve: descriptors that are kept free of sockets.
        exempt: tells of an address that it is not counted, such as a proxy's.
        retry_after: seconds after which those who were refused may come back.
        rates: how fast WebSockets may send; None: as they like.
        limited: where it is counted who was refused, by the option; None: nowhere else.
        others: what :class:`Host` takes.
    """

    def __init__(
        self,
        *args: Any,
        max_sockets: int = 0,
        max_sockets_per_address: int = 0,
        reserve: int = 0,
        exempt: Callable[[str], bool] = lambda address: False,
        retry_after: float = 5.0,
        rates: Rates | None = None,
        limited: Counter[str] | None = None,
        **others: Any,
    ) -> None:
        super().__init__(*args, **others)
        self._channels = self._counted = _Counted()
        self._max_per_address = max_sockets_per_address
        self._exempt = exempt
        self._retry_after = ceil(retry_after)
        self._quiet_until = 0.0
        self.turned_away = 0
        self.rates = rates
        self._limited = Counter() if limited is None else limited
        self._limit = "max_sockets"  # the option that says how many there may be
        self._max_sockets = max_sockets
        self._reserve = reserve

    def _set_aside(self) -> None:
        """See how many sockets leave the reserve alone, now that everything else is open."""
        free = free_descriptors()
        if free is not None:
            most = max(len(self._counted) + free - self._reserve, 1)
            if not self._max_sockets or most < self._max_sockets:
                self._max_sockets, self._limit = most, "reserved_descriptors"
        self._reserve = 0

    @property
    def full(self) -> bool:
        """Whether the next socket would be refused, whoever's it is."""
        return bool(self._max_sockets) and len(self._counted) >= self._max_sockets

    def _accepted(self, sock: socket.socket, address: object) -> None:
        if self._reserve:
            self._set_aside()
        peer = peer_of(address)[0]
        if self.full:
            self._refuse(sock, 503, self._limit)
        elif (
            self._max_per_address
            and self._counted.per_address.get(address_key(peer), 0) >= self._max_per_address
            and not self._exempt(peer)
        ):
            self._refuse(sock, 429, "max_sockets_per_address")
        else:
            super()._accepted(sock, address)

    def _refuse(self, sock: socket.socket, status: int, limit: str) -> None:
        """Say why, as far as the kernel takes it without waiting, and hang up."""
        self.turned_away += 1
        self.refused[status] += 1
        self._limited[limit] += 1
        now = trio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            _log.warning(
                "refusing sockets: %s (%d refused so far)",
                _REASONS[status],
                self.turned_away,
                extra=fields("sockets.refused", reason=_REASONS[status]),
            )
        try:
            sock.setblocking(False)
            sock.send(self._refusal(status) if self._certificate is None else _ALERT)
            # What is unread when a socket is closed makes TCP send a reset, which may overtake the answer.
            sock.recv(CHUNK)
        except OSError:
            pass  # nothing is there yet, or the client has gone already
        sock.close()

    def _refusal(self, status: int) -> bytes:
        phrase = {429: "Too Many Requests", 503: "Service Unavailable"}[status]
        body = f'{{"error":"{_REASONS[status]}"}}'
        lines = (
            f"HTTP/1.1 {status} {phrase}",
            "Content-Type: application/json; charset=utf-8",
            f"Content-Length: {len(body)}",
            f"Retry-After: {self._retry_after}",
            "Connection: close",
        )
        return "\r\n".join([*lines, "", body]).encode()

    def make_websocket(self, channel: Channel, request: Request, head: Head) -> WebSocketWire:
        """Make the wire of a WebSocket."""
        if self.rates is None:
            return super().make_websocket(channel, request, head)
        parameters = agreed(head, self.compression)
        wire = MeteredWire(channel, self) if parameters is None else MeteredCompressedWire(channel, self, parameters)
        wire.measure(request, self.rates)
        return wire


class _Counter:
    """A receiver that has its messages counted before it gets them."""

    __slots__ = ("_counted", "_message", "alive", "closed", "writable")

    def __init__(self, receiver: Receiver, counted: Callable[[], bool]) -> None:
        self._counted = counted
        self._message = receiver.message
        self.alive = receiver.alive
        self.writable = receiver.writable
        self.closed = receiver.closed

    def message(self, data: str | bytes) -> None:
        """Hand a message on, unless it was one too many."""
        if self._counted():
            self._message(data)


class Metered(WebSocketWire):
    """A WebSocket that is not read for a while when it has sent too fast, and closed with 1008 if that does not help.

    The transformer's own wish to pause and this one's are kept apart: reading goes on when both allow it.
    """

    # (No slots: it could not be put before a compressed one otherwise.)
    _meter: Meter
    _now: float
    _rates: Rates
    _request: Request | None
    _slowed: Timer | None  # what ends the time in which it is not read
    _slowed_until: float
    _wants_pause: bool

    def measure(self, request: Request, rates: Rates) -> None:
        """Say what it is measured by; the last step of making one."""
        self._rates = rates
        self._request = request
        self._now = 0.0
        self._slowed = None
        self._slowed_until = 0.0
        self._wants_pause = False

    def accept(self, receiver: Receiver, handshake: bytes, early: bytes) -> None:
        """Answer the handshake; only now it is known whose address counts."""
        assert self._request is not None
        self._now = trio.current_time()
        self._meter = self._rates.meter(self._request.remote_ip, self._now)
        self._request = None
        super().accept(_Counter(receiver, self._message) if self._rates.counts_messages else receiver, handshake, early)

    def data(self, data: bytes, now: float) -> None:
        """Take bytes from the network, and count them."""
        self._now = now
        delay = self._meter.bytes(len(data), now) if data else 0.0
        super().data(data, now)
        if delay:
            self._slow_down(delay, "too many bytes")

    def _message(self) -> bool:
        """Count a message; False: it is not delivered any more."""
        delay = self._meter.messages(1, self._now)
        if delay:
            self._slow_down(delay, "too many messages")
        return self._open

    def _slow_down(self, delay: float, reason: str) -> None:
        if not self._open:
            return
        pause = self._meter.slow_down(delay, self._now)
        if pause is None:
            self._fail(1008, reason)
            return
        until = self._now + pause
        # A short pause for its bytes must not end a long one for its messages.
        if self._slowed is None or until > self._slowed_until:
            if self._slowed is not None:
                self._slowed.cancel()
            self._slowed_until = until
            self._slowed = self._host.deadlines.at(until, self._go_on)
        super().pause()

    def _go_on(self) -> None:
        self._slowed = None
        if self._open:
            self._receiver.alive(trio.current_time())  # it could not prove its life while nobody listened
            if not self._wants_pause:
                super().resume()

    def pause(self) -> None:
        """Stop reading."""
        self._wants_pause = True
        super().pause()

    def resume(self) -> None:
        """Go on reading, unless it is to be slow for a while yet."""
        self._wants_pause = False
        if self._slowed is None:
            super().resume()

    def lost(self) -> None:
        """The channel is closed."""
        if self._slowed is not None:
            self._slowed.cancel()
        super().lost()


class MeteredWire(Metered):
    """One that is not compressed."""


class MeteredCompressedWire(Metered, CompressedWire):
    """One that is."""
