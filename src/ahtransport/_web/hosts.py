"""Under which names the server may be asked: against DNS rebinding.

A page of ``evil.example`` whose name is made to mean this server's address is of the same origin as the server, to the
browser: it may read everything, on a port that only this machine can reach, too. What it can't change is that the Host
header says ``evil.example``.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import time
from math import inf
from typing import TYPE_CHECKING, Final

from ahtransport._errors import Reject
from ahtransport._log import fields, get_logger
from ahtransport._web.proxies import TrustedProxies, apply_forwarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ahtransport._config._schema import WebServer
    from ahtransport._http import Request

__all__ = ["AllowedHosts", "entrance", "hosts_warning"]

_log = get_logger()

_PORT = re.compile(r":[0-9]*$")
_QUIET: Final = 10.0  # seconds in which it is logged once that requests are refused


class AllowedHosts:
    """The names that are allowed.

    Args:
        names: such as ``"example.com"``, ``"example.com:8443"`` (that port alone), ``"*.example.com"`` (every name
            below it, not itself), ``"[::1]"`` or ``"*"``. Case does not matter.
        now: a clock, seconds.
    """

    def __init__(self, names: Iterable[str], now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._quiet_until = -inf
        self._refused = 0
        listed = [name.lower().rstrip(".") for name in names]
        self._any = "*" in listed
        self._exact = frozenset(name for name in listed if not name.startswith("*."))
        self._below = tuple(name[1:] for name in listed if name.startswith("*."))

    def __contains__(self, host: str) -> bool:
        host = host.lower()
        port = _PORT.search(host)
        name = (host[: port.start()] if port else host).rstrip(".")
        whole = f"{name}{port[0]}" if port else name
        return (
            self._any
            or name in self._exact
            or whole in self._exact
            or any(name.endswith(end) or whole.endswith(end) for end in self._below)
        )

    def check(self, request: Request) -> None:
        """Refuse a request under another name. Where a proxy says which name the client used, both must be allowed:
        whoever can make up a header must not win anything by it.

        Raises:
            Reject: 421 (RFC 9110 section 15.5.20).
        """
        if request.headers.get("host", "") not in self or request.host not in self:
            self._tell(request)
            raise Reject(421, "this server is not known by that name")

    def _tell(self, request: Request) -> None:
        """Log a refusal: often it is a name of the server's own that was forgotten, or the address that a health check
        asks for."""
        self._refused += 1
        now = self._now()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            host = request.headers.get("host", "")
            host = request.host if host in self else host
            _log.info(
                "refusing requests with 421: %r is not in servers.web.allowed_hosts (%d refused so far)",
                host,
                self._refused,
                extra=fields("host.refused", request, host=host),
            )


def entrance(web: WebServer) -> tuple[Callable[[Request], None], ...]:
    """Give what every request passes first: the proxies' word, then the names. What is off is not there at all."""
    looks: list[Callable[[Request], None]] = []
    if web.trusted_proxies:
        looks.append(functools.partial(apply_forwarded, trusted=TrustedProxies(web.trusted_proxies)))
    if web.allowed_hosts:
        looks.append(AllowedHosts(web.allowed_hosts).check)
    return tuple(looks)


def hosts_warning(addresses: Iterable[tuple[str, int]], allowed: Iterable[str]) -> str | None:
    """Give what is to be logged once at start-up; None when there is nothing to warn of."""
    if tuple(allowed) or not any(ipaddress.ip_address(host.partition("%")[0]).is_unspecified for host, _ in addresses):
        return None
    return (
        "the server listens on every address and answers to every name; list yours in servers.web.allowed_hosts, so "
        "that foreign pages can't reach it by DNS rebinding"
    )
