"""What the client did, behind proxies: ``X-Forwarded-For`` and the like, believed only from proxies that are trusted.

Every proxy appends the address that it saw, so a list of addresses can be believed from its right end, as long as the
ones that wrote it are trusted; what a client made up stands further left. The client is the right-most address that is
no trusted proxy.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import TYPE_CHECKING, TypeAlias

from ahtransport._http import UNIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ahtransport._http import Headers, Request

__all__ = ["TrustedProxies", "apply_forwarded", "is_proxy"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# More hops than anybody has; the ones nearest to this server count.
_MAX_HOPS = 100
_SECURE = {"https": True, "wss": True, "http": False, "ws": False}
_IPV4_WITH_PORT = re.compile(r"([0-9.]+)(?::([0-9]{1,5}))?")
_IPV6_WITH_PORT = re.compile(r"\[([0-9a-fA-F:.]+)\](?::([0-9]{1,5}))?")
# What a Host header may say (RFC 9110 section 7.2), as far as anybody has such a name.
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[0-9A-Za-z._\-]+)(?::[0-9]{1,5})?")
# RFC 7239 section 4: elements with commas between, pairs with semicolons; a value is a token or a quoted string.
_CLOSED = re.compile(r"[^\"]*(?:\"(?:[^\"\\]|\\.)*\"[^\"]*)*")  # every quote that is opened is closed
_PART = re.compile(r"(?:[^\";]|\"(?:[^\"\\]|\\.)*\")+")
_PAIR = re.compile(r"\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",;]*))\s*")


class TrustedProxies:
    """The proxies that are believed.

    Args:
        entries: addresses and networks, such as ``"10.0.0.1"``, ``"10.0.0.0/8"`` or ``"::1"``; ``"unix"`` is whoever
            comes by a Unix socket.

    Raises:
        ValueError: one of them is neither.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        listed = [entry.strip() for entry in entries]
        self._unix = UNIX in listed
        self._networks: list[Network] = [ipaddress.ip_network(entry, strict=False) for entry in listed if entry != UNIX]

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def __contains__(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)

    def knows(self, peer: str) -> bool:
        """Tell whether the address of a connection's other end is one of them."""
        address, _ = _address(peer)
        return self._unix and peer == UNIX if address is None else address in self


@functools.lru_cache(maxsize=64)
def _proxies(entries: tuple[str, ...]) -> TrustedProxies:
    return TrustedProxies(entries)


def is_proxy(peer: str, trusted: tuple[str, ...]) -> bool:
    """Tell whether an address is one of those whose word on other addresses is believed."""
    return _proxies(trusted).knows(peer)


def apply_forwarded(request: Request, trusted: TrustedProxies) -> None:
    """Set ``remote_ip``, ``remote_port``, ``secure`` and ``host`` of a request from what trusted proxies say.

    Of the headers, ``X-Forwarded-For`` comes first (with ``X-Forwarded-Proto``, ``-Host`` and ``-Port``), then
    ``Forwarded`` (RFC 7239), then ``X-Real-IP`` (with the same three). Where one family counts, the other does not, so
    nobody can mix what a proxy says with what it has let through. Addresses lose their ports and brackets, IPv4
    addresses written as IPv6 (``::ffff:``) are written as IPv4. ``remote_port`` is what ``X-Forwarded-Port`` says, as
    in ActionHero, else what stood with the address, else 0.

    Nothing changes when the peer is not trusted, or none of its headers has an address in it. What is no address
    (``unknown``, RFC 7239's obfuscated names) ends the search: the hop before it is the client.
    """
    if not trusted or not trusted.knows(request.peer[0]):
        return
    headers = request.headers
    hops: list[tuple[str, str | None, str | None]]
    if "x-forwarded-for" in headers:
        hops = [(text, None, None) for text in _split(headers["x-forwarded-for"])]
    elif "forwarded" in headers:
        elements = [element for line in headers.get_all("forwarded") for element in _forwarded(line)]
        hops = [(element.get("for", ""), element.get("proto"), element.get("host")) for element in elements]
    else:
        hops = [(text, None, None) for text in headers.get_all("x-real-ip")]
    # Only that family: of those that a proxy does not write itself it lets through what the client made up.
    others = "x-forwarded-for" in headers or "forwarded" not in headers
    client: tuple[Address, int] | None = None
    depth = 0
    protocol: str | None = None
    host: str | None = None
    for text, said, called in hops[: -_MAX_HOPS - 1 : -1]:
        address, port = _address(text)
        if address is None:
            break
        client, depth, protocol, host = (address, port), depth + 1, said, called
        if address not in trusted:
            break
    if client is not None:
        request.remote_ip = str(client[0])
        request.remote_port = _port(headers) or client[1]
    if others:
        protocol = _at_depth(_split(headers.get("x-forwarded-proto", "")), depth)
        host = _at_depth(_split(headers.get("x-forwarded-host", "")), depth)
    secure = _SECURE.get((protocol or "").lower())
    if secure is not None:
        request.secure = secure
    if host and _HOST.fullmatch(host):
        request.host = host


def _at_depth(values: list[str], depth: int) -> str | None:
    """Pick the value that belongs to the client's hop, counted from the right as the hops are."""
    return values[-min(max(depth, 1), len(values))] if values else None


def _port(headers: Headers) -> int:
    ports = _split(headers.get("x-forwarded-port", ""))
    return _to_port(ports[-1]) if ports else 0


def _to_port(text: str | None) -> int:
    if not text or len(text) > 5 or not (text.isascii() and text.isdigit()):
        return 0
    port = int(text)
    return port if port <= 65535 else 0


def _split(text: str) -> list[str]:
    return [one for part in text.split(",") if (one := part.strip())]


def _address(text: str) -> tuple[Address | None, int]:
    """Read an address, perhaps with a port; a zone (``%eth0``) is dropped. (None, 0): it is none."""
    text = text.strip()
    match = _IPV4_WITH_PORT.fullmatch(text) or _IPV6_WITH_PORT.fullmatch(text)
    if match is not None:
        text, port = match[1], _to_port(match[2])
    else:
        text, port = text.partition("%")[0], 0
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None, 0
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address, port


def _forwarded(line: str) -> list[dict[str, str]]:
    """Read one Forwarded header; what is malformed counts as a hop without an address.

    It is read from its right end, where the proxies that are trusted wrote: a quote that a client has opened must not
    be closed by theirs. An element is the shortest end of a line in which every quote is closed.
    """
    elements: list[dict[str, str]] = []
    end = begin = len(line)
    for _ in range(2 * _MAX_HOPS):  # commas that are looked at
        begin = line.rfind(",", 0, begin)
        element = line[begin + 1 : end]
        if _CLOSED.fullmatch(element):
            if element.strip():
                elements.append(dict(_pairs(element)))
            end = begin
        if begin < 0:
            break
    if end >= 0 and line[:end].strip():
        elements.append({})
    return elements[::-1]


def _pairs(element: str) -> Iterator[tuple[str, str]]:
    for part in _PART.findall(element):
        match = _PAIR.fullmatch(part)
        if match is not None:
            quoted = match[2]
            yield match[1].lower(), match[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
