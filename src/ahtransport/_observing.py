"""What an operator sees of a server: its statistics, ``/healthz`` and ``/metrics``."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sized
from importlib.metadata import version as distribution_version
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import trio

from ahtransport._errors import ConfigError, Reject
from ahtransport._http import Response
from ahtransport._log import fields, get_logger, losses
from ahtransport._registering import Registering
from ahtransport._statistics import ServerStatistics
from ahtransport._web.files import find_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

    from ahtransport._blocking import BlockingWatch
    from ahtransport._connection import Connection
    from ahtransport._http import Request
    from ahtransport._namespaces import Namespaces
    from ahtransport._session import SessionStore

    Probe = Callable[[Request], Awaitable[Response]]

__all__ = ["Observing"]

_log = get_logger()

_T = TypeVar("_T")

_SLICE: Final = 500  # connections that are counted before others have their turn


class Socket(Protocol):
    """A socket that a host has open."""

    def traffic(self) -> tuple[int, int]:
        """Give the bytes that it has received and sent; it knows them still when it is closed."""
        ...


class Host(Protocol):
    """A host, as far as it is counted here."""

    gone: tuple[int, int]  # the traffic of those that are closed

    @property
    def channels(self) -> Collection[Socket]:
        """The open ones."""
        ...


class _Survey:
    """Counts what is open, a slice at a time, so that thousands need not keep everybody else waiting."""

    def __init__(self, namespaces: Namespaces, host: Host | None) -> None:
        self.connections: Counter[tuple[str, str]] = Counter()
        self.backlog = 0
        self._everybody: list[Connection] = [one for namespace in namespaces for one in namespace.connections.values()]
        self._channels: list[Socket] = list(host.channels) if host is not None else []
        self.sockets = len(self._channels)
        self.received, self.sent = host.gone if host is not None else (0, 0)

    def steps(self) -> Iterator[None]:
        """Count; in between, others may run."""
        for connections in _slices(self._everybody):
            for connection in connections:
                if connection._state == "open":
                    link = connection._link
                    self.connections[connection._transformer.name, link.transport] += 1
                    self.backlog += link.buffered
            yield
        for channels in _slices(self._channels):
            for channel in channels:
                received, sent = channel.traffic()
                self.received += received
                self.sent += sent
            yield


def _slices(everything: list[_T]) -> Iterator[list[_T]]:
    for start in range(0, len(everything), _SLICE):
        yield everything[start : start + _SLICE]


class Observing(Registering):
    """The part of a server that tells how it is."""

    _namespaces: Namespaces
    _stop: trio.Event  # set when it has been told to stop
    _probes: Mapping[str, Probe]
    _hidden: list[str]  # where one of them answers, and a public file would have
    _watch: BlockingWatch | None = None
    _since: float | None = None  # when it began to serve, of time.monotonic

    def _counted_host(self) -> Host | None:
        """Give whom to ask for sockets; None: there has been none yet."""
        raise NotImplementedError

    @property
    def _overloaded(self) -> bool:
        """Whether newcomers are refused because of memory or sockets."""
        raise NotImplementedError

    @property
    def sessions(self) -> SessionStore:
        """Where session data is kept."""
        raise NotImplementedError

    # -- what is asked by HTTP

    def _make_probes(self) -> dict[str, Probe]:
        """Give who answers operators, by path.

        Raises:
            ConfigError: two are to answer at one path, or a package is missing.
        """
        web = self.config.servers.web
        probes: dict[str, Probe] = {}
        if web.health:
            probes[web.health] = self._answer_health
        if web.metrics:
            if web.metrics in probes:
                raise ConfigError(f"servers.web.metrics: {web.metrics} is servers.web.health already")
            try:
                from ahtransport._web.metrics import Metrics
            except ImportError as error:
                raise ConfigError(
                    "servers.web.metrics needs the package prometheus-client: "
                    'python -m pip install "ahtransport[prometheus]"'
                ) from error
            addresses, version = web.metrics_addresses, distribution_version("ahtransport")
            probes[web.metrics] = Metrics(self._statistics_in_turns, version, addresses, web.trusted_proxies)
        for mount in self._mounts:
            if mount.pathname in probes:
                raise ConfigError(
                    f"servers.websocket.server.pathname: {mount.pathname} is where servers.web.health or "
                    "servers.web.metrics answers"
                )
        public = web.public if web.enabled else ()
        self._hidden = [path for path in probes if find_file(public, path) is not None]
        return probes

    def _trouble(self) -> str | None:
        """Say why nobody should be sent here at the moment, in a word; None: all is well."""
        return "draining" if self._stop.is_set() else "overloaded" if self._overloaded else None

    async def _answer_health(self, request: Request) -> Response:
        """Say whether the server serves.

        Raises:
            Reject: 405.
        """
        if request.method not in ("GET", "HEAD"):
            raise Reject(405, "method not allowed", [("Allow", "GET, HEAD")])
        trouble = self._trouble()
        headers = [("Cache-Control", "no-store")]
        return Response.json(200 if trouble is None else 503, {"status": trouble or "ok"}, headers)

    def _tell_of_hidden(self) -> None:
        """Log which files have vanished behind a path of ours."""
        for path in self._hidden:
            if path not in self._routes:
                text = "the public file %s is hidden by servers.web.health or servers.web.metrics"
                _log.warning(text, path, extra=fields("path.hidden", path=path))

    # -- what is counted

    def action_counts(self) -> tuple[int, int, int]:
        """Give how many actions were asked for and have failed in total, and how many run now; a server of this level
        has none."""
        return 0, 0, 0

    def statistics(self) -> ServerStatistics:
        """Tell how the server is. Takes about two microseconds for each open connection."""
        survey = _Survey(self._namespaces, self._counted_host())
        for _ in survey.steps():
            pass
        return self._told(survey)

    async def _statistics_in_turns(self) -> ServerStatistics:
        """As :meth:`statistics`, while the others have their turns, too."""
        survey = _Survey(self._namespaces, self._counted_host())
        for _ in survey.steps():
            await trio.lowlevel.checkpoint()
        return self._told(survey)

    def _told(self, survey: _Survey) -> ServerStatistics:
        shared, watch = self._namespaces.shared, self._watch
        counters, sessions = shared.counters, self.sessions
        actions, failed, pending = self.action_counts()
        counted = sys.platform == "linux"
        return ServerStatistics(
            uptime=0.0 if self._since is None else time.monotonic() - self._since,
            draining=self._since is not None and self._stop.is_set(),
            connections=MappingProxyType(
                {**{(name, "websocket"): 0 for name in counters.accepted}, **survey.connections}
            ),
            accepted=MappingProxyType(dict(counters.accepted)),
            refused=MappingProxyType(dict(counters.refused)),
            limited=MappingProxyType(dict(counters.limited)),
            closed=MappingProxyType(dict(counters.closed)),
            sockets=survey.sockets,
            rooms=sum(len(namespace.rooms) for namespace in self._namespaces),
            sessions=len(sessions) if isinstance(sessions, Sized) else None,
            backlog=survey.backlog,
            received=survey.received if counted else None,
            sent=survey.sent if counted else None,
            dropped=counters.dropped + sum(namespace.dropped for namespace in self._namespaces),
            tasks=shared.busy,
            actions=actions,
            actions_failed=failed,
            actions_pending=pending,
            loop_lag=watch.recent() if watch is not None and watch.limit else None,
            loop_blocked=watch.count if watch is not None else 0,
            log_suppressed=losses.suppressed,
            log_dropped=losses.dropped,
        )
