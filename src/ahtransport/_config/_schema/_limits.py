"""Options of ``[servers.limits]``: how much clients may ask."""

from __future__ import annotations

from dataclasses import dataclass

from ahtransport._config._kinds import Duration, Whole
from ahtransport._config._schema._option import option

__all__ = ["Limits"]

_BURST = Whole(zero="as many as in a second")
_BYTES = Whole(minimum=16384, unit="bytes per second", zero="any")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much clients may ask of the server, alone and together. All of it is off unless set. An address counts as it
    is seen behind `trusted_proxies`, IPv6 by its first 64 bits."""

    max_connections: int = option(
        0, Whole(zero="any"), "How many clients may be connected, polling or not; others get 503 before any upgrade."
    )
    max_connections_per_address: int = option(
        0, Whole(zero="any"), "How many clients of one address may be connected; others get 429 before any upgrade."
    )
    max_sockets: int = option(
        0,
        Whole(zero="any"),
        "How many sockets may be open, whatever they are for; others get 503 as soon as they are accepted. A client "
        "that polls has two or three.",
    )
    max_sockets_per_address: int = option(
        0,
        Whole(zero="any"),
        "How many sockets of one address may be open; others get 429 as soon as they are accepted. Those of trusted "
        "proxies are not counted.",
    )
    reserved_descriptors: int = option(
        0,
        Whole(zero="none"),
        "How many of the descriptors that the process may open are kept free of sockets, for files and the like.",
    )
    max_memory: int = option(
        0,
        Whole(unit="bytes", zero="any"),
        "How large the process may become: while over 80 % of it are in use, new clients get 503. (Linux only.)",
    )
    message_rate: int = option(
        0,
        Whole(unit="per second", zero="any"),
        "How many messages one connection may send; a faster one is slowed down. Actions and verbs beyond it are "
        "answered with an error instead.",
    )
    message_burst: int = option(0, _BURST, "How many messages one connection may send at once after a quiet time.")
    message_rate_per_address: int = option(
        0, Whole(unit="per second", zero="any"), "Likewise, for all connections of one address together."
    )
    message_burst_per_address: int = option(0, _BURST, "Likewise, at once.")
    byte_rate: int = option(0, _BYTES, "How many bytes one connection may send; a faster one is slowed down.")
    byte_burst: int = option(0, _BURST, "How many bytes one connection may send at once after a quiet time.")
    byte_rate_per_address: int = option(0, _BYTES, "Likewise, for all connections of one address together.")
    byte_burst_per_address: int = option(0, _BURST, "Likewise, at once.")
    rate_patience: float = option(
        10000,
        Duration(zero="for ever"),
        "For how long a connection may be slowed down without a second of rest; beyond it, it is closed with 1008.",
    )
    join_rate: int = option(
        0, Whole(unit="per second", zero="any"), "How many rooms one connection may join; more is an error."
    )
    join_burst: int = option(0, _BURST, "How many rooms one connection may join at once after a quiet time.")
    request_rate: int = option(
        0,
        Whole(unit="per second", zero="any"),
        "How many HTTP requests one address may send, upgrades included; others get 429.",
    )
    request_burst: int = option(0, _BURST, "How many HTTP requests one address may send at once after a quiet time.")
    retry_after: float = option(
        5000, Duration(), "What `Retry-After` tells those who are refused because the server is full."
    )
