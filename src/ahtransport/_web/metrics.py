"""The statistics in Prometheus' formats, at ``servers.web.metrics``.

This is the only file that knows the package ``prometheus-client`` (extra ``prometheus``). Whatever a program registers
in that package's own registry is served along: its own metrics, and those of the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder

from ahtransport._errors import Reject
from ahtransport._http import Response
from ahtransport._web.proxies import TrustedProxies, is_proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from prometheus_client import Metric

    from ahtransport._http import Request
    from ahtransport._statistics import ServerStatistics

__all__ = ["Metrics", "families"]

#: What a proxy adds to the requests that it hands on.
_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip", "via")


class Metrics:
    """Answers who scrapes.

    Args:
        statistics: gives what is told.
        version: of this package.
        readers: the addresses and networks that may read.
        proxies: whose word on addresses counts; it has been applied to the requests.
    """

    def __init__(
        self,
        statistics: Callable[[], Awaitable[ServerStatistics]],
        version: str,
        readers: Iterable[str],
        proxies: tuple[str, ...],
    ) -> None:
        self._statistics = statistics
        self._version = version
        self._readers = TrustedProxies(readers)
        self._proxies = proxies

    async def __call__(self, request: Request) -> Response:
        """Answer in the format that is asked for: Prometheus' text, or OpenMetrics.

        Raises:
            Reject: 403, it comes from elsewhere, or from a proxy that nobody has named; 405.
        """
        if request.method not in ("GET", "HEAD"):
            raise Reject(405, "method not allowed", [("Allow", "GET, HEAD")])
        if not self._may_read(request):
            raise Reject(403, "not for this address")
        told = _Told(list(families(await self._statistics(), self._version)))
        encode, kind = _encoder(request.headers.get("accept", ""))
        # In a thread: the program's own collectors may take their time, and those of the process read files.
        body = await trio.to_thread.run_sync(encode, told)
        return Response(200, body, [("Content-Type", kind), ("Cache-Control", "no-store")])

    def _may_read(self, request: Request) -> bool:
        if any(name in request.headers for name in _FORWARDED) and not is_proxy(request.peer[0], self._proxies):
            return False  # whoever it was handed on for, it is not the address that the connection comes from
        return self._readers.knows(request.remote_ip)


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    """Choose how to write; a header that the package can't read asks for nothing, which is Prometheus' text."""
    try:
        return choose_encoder(accept)
    except Exception:  # it fails in whatever way
        return choose_encoder("")


class _Told:
    """What ``prometheus_client`` takes for a registry: what the server tells, and what the program does."""

    def __init__(self, own: list[Metric]) -> None:
        self._own = own

    def collect(self) -> Iterator[Metric]:
        yield from self._own
        yield from REGISTRY.collect()


def families(told: ServerStatistics, version: str) -> Iterator[Metric]:
    """Give the statistics as metrics. Names and units are as Prometheus' conventions have them."""
    info = InfoMetricFamily("ahtransport", "The version of ahtransport")
    info.add_metric([], {"version": version})
    yield info
    yield _gauge("uptime_seconds", "Since the server began to serve", told.uptime)
    yield _gauge("draining", "1 while the server stops", int(told.draining))
    yield _gauge("connections", "Open connections", told.connections, "transformer", "transport")
    yield _counter("connections_accepted", "Connections so far", told.accepted, "transformer")
    yield _counter("refused", "Refused handshakes and requests, by HTTP status", told.refused, "status")
    yield _counter("limited", "Those of them that were over a limit, by the option", told.limited, "limit")
    text = "Connections that have ended, by close code (3000: 3000 to 3999; 4000: 4000 to 4999)"
    yield _counter("connections_closed", text, told.closed, "code")
    yield _gauge("sockets", "Open sockets, WebSockets and others", told.sockets)
    yield _gauge("rooms", "Rooms", told.rooms)
    if told.sessions is not None:
        yield _gauge("sessions", "Sessions with something in them", told.sessions)
    yield _gauge("backlog_bytes", "Bytes that wait for clients to read or fetch", told.backlog)
    if told.received is not None and told.sent is not None:
        yield _counter("received_bytes", "Bytes that came, everything included", told.received)
        yield _counter("sent_bytes", "Bytes that arrived, everything included", told.sent)
    yield _counter("messages_dropped", "Messages dropped for clients that do not read", told.dropped)
    yield _gauge("tasks", "Tasks of connections", told.tasks)
    yield _counter("actions", "Actions asked for", told.actions)
    yield _counter("actions_failed", "Actions answered with an error", told.actions_failed)
    yield _gauge("actions_pending", "Actions that run", told.actions_pending)
    if told.loop_lag is not None:
        text = "The longest turn of the event loop within the last ten to twenty seconds"
        yield _gauge("loop_lag_seconds", text, told.loop_lag)
    yield _counter("loop_blocked", "Turns of the event loop that took too long", told.loop_blocked)
    lost = {"suppressed": told.log_suppressed, "dropped": told.log_dropped}
    yield _counter("log_lines_lost", "Log lines that were too many of a kind, or could not be written", lost, "why")


def _gauge(name: str, text: str, value: float | Mapping[Any, float], *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(f"ahtransport_{name}", text, labels=labels), value)


def _counter(name: str, text: str, value: float | Mapping[Any, float], *labels: str) -> Metric:
    return _filled(CounterMetricFamily(f"ahtransport_{name}", text, labels=labels), value)


def _filled(family: Any, value: float | Mapping[Any, float]) -> Metric:
    if isinstance(value, int | float):
        family.add_metric([], value)
    else:
        for key, number in value.items():
            family.add_metric([str(part) for part in (key if isinstance(key, tuple) else (key,))], number)
    return family  # type: ignore[no-any-return]
