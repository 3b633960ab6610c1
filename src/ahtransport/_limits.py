"""The configured limits on what clients ask for, made into what watches over them; None where nothing is limited."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

import trio

from ahtransport._admission import Admission
from ahtransport._buckets import Buckets, Rate, Rates, address_key
from ahtransport._errors import Reject
from ahtransport._web.proxies import TrustedProxies, apply_forwarded, is_proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ahtransport._config import Limits
    from ahtransport._heartbeat import Deadlines
    from ahtransport._http import Request
    from ahtransport._statistics import Counters
    from ahtransport.abc import Receiver, WebSocket

__all__ = ["Front", "ServerLimits"]


class Application(Protocol):
    """Whom a host calls."""

    def handle_request(self, request: Request) -> Any:
        """Answer a request."""
        ...

    def handle_upgrade(self, request: Request, socket: WebSocket) -> Receiver | Awaitable[Receiver]:
        """Take a WebSocket."""
        ...


class ServerLimits:
    """What a server has of limits.

    Args:
        limits: the options.
        trusted: the proxies whose word on addresses counts.
        deadlines: the server's clock.
        counters: where refusals are counted.
        paces_messages: whether connections that send too many messages are slowed down; else somebody else counts them.

    Attributes:
        admission: who may come in.
        rates: how fast messages and bytes may come.
    """

    def __init__(
        self,
        limits: Limits,
        trusted: tuple[str, ...],
        deadlines: Deadlines,
        counters: Counters,
        *,
        paces_messages: bool = True,
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._trusted = trusted
        self.admission = Admission(limits, deadlines, counters.limited) if Admission.wanted(limits) else None
        none = Rate(0)
        rates = Rates(
            Rate(limits.message_rate, limits.message_burst) if paces_messages else none,
            Rate(limits.byte_rate, limits.byte_burst),
            Rate(limits.message_rate_per_address, limits.message_burst_per_address) if paces_messages else none,
            Rate(limits.byte_rate_per_address, limits.byte_burst_per_address),
            patience=limits.rate_patience,
        )
        self.rates = rates if rates else None

    def begin(self) -> None:
        """The server runs from now on."""
        if self.admission is not None:
            self.admission.begin()
        if self.rates is not None:
            self.rates.begin()

    def front(self, application: Application) -> Application:
        """Put the limit on requests before an application; without one it stays as it is."""
        limits = self._limits
        return (
            Front(application, Rate(limits.request_rate, limits.request_burst), self._trusted, self._counters)
            if limits.request_rate
            else application
        )

    def host_options(self) -> dict[str, Any]:
        """Give what a guarded host has to know; nothing: a plain one will do."""
        limits = self._limits
        if not (limits.max_sockets or limits.max_sockets_per_address or limits.reserved_descriptors or self.rates):
            return {}
        return {
            "max_sockets": limits.max_sockets,
            "max_sockets_per_address": limits.max_sockets_per_address,
            "reserve": limits.reserved_descriptors,
            "exempt": lambda address: is_proxy(address, self._trusted),
            "retry_after": limits.retry_after,
            "limited": self._counters.limited,
            "rates": self.rates,
        }


class Front:
    """Refuses the requests of an address that sends too many, before anything looks at them."""

    def __init__(self, application: Application, rate: Rate, trusted: tuple[str, ...], counters: Counters) -> None:
        self._application = application
        self._counters = counters
        self._trusted = TrustedProxies(trusted)
        self._buckets = Buckets(rate)

    def _count(self, request: Request) -> None:
        apply_forwarded(request, self._trusted)
        now = trio.current_time()
        delay = self._buckets.of(address_key(request.remote_ip), now).ask(now)
        if delay:
            self._counters.refused[429] += 1
            self._counters.limited["request_rate"] += 1
            raise Reject(429, "too many requests", [("Retry-After", str(ceil(delay)))])

    def handle_request(self, request: Request) -> Any:
        """Answer a request.

        Raises:
            Reject: 429, or as the application refuses.
        """
        self._count(request)
        return self._application.handle_request(request)

    def handle_upgrade(self, request: Request, socket: WebSocket) -> Receiver | Awaitable[Receiver]:
        """Take a WebSocket.

        Raises:
            Reject: 429, or as the application refuses.
        """
        self._count(request)
        return self._application.handle_upgrade(request, socket)
