"""What a server counts, and the form in which it tells.

Nothing here is counted per message: what a message costs is the product. Bytes are counted by the kernel, everything
else when a connection comes or goes, or when something goes wrong.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Counters", "ServerStatistics"]

#: Codes from here on are anybody's (RFC 6455 section 7.4.2): peers may make a thousand of each kind up.
_PRIVATE: Final = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """How a server is at one moment; from :meth:`Server.statistics`.

    Totals count from when the server was made (``log_…``: from when the process began) and never go down.

    Attributes:
        uptime: seconds since the server began to serve; 0 while it does not.
        draining: whether it has been told to stop.
        connections: how many are open, by transformer and by what carries them at the moment: a key is a pair such as
            ``("engine.io", "polling")``. One of Socket.IO counts in each namespace that its client is in.
        accepted: how many connections there have been in total, by transformer.
        refused: how many handshakes and requests were refused in total, by HTTP status; who was not let into a
            namespace of Socket.IO counts as if it had been told by HTTP. Sockets that are refused as soon as they are
            accepted count, too.
        limited: how many of those were refused because of a limit, in total, by the option that is the limit:
            ``"max_connections"``, ``"max_connections_per_address"``, ``"max_memory"``, ``"max_sockets"``,
            ``"max_sockets_per_address"``, ``"reserved_descriptors"``, ``"request_rate"``; of POSTs of clients that poll
            also ``"message_rate"``, ``"byte_rate"``, ``"message_rate_per_address"``, ``"byte_rate_per_address"``.
        closed: how many connections have ended in total, by close code. Of the codes that anybody may choose, 3000
            stands for 3000 to 3999, and 4000 for 4000 to 4999.
        sockets: how many sockets are open, WebSockets and others.
        rooms: how many rooms there are, those of all namespaces.
        sessions: how many sessions have something in them; None where the store can't tell.
        backlog: bytes that wait for clients to read or fetch.
        received, sent: bytes that came and that arrived, in total, everything included (HTTP, framing, TLS). None where
            they can't be counted: the kernel does it, on Linux, and on streams that are no plain sockets the server.
        dropped: messages that the overflow policy ``"drop"`` has dropped, in total.
        tasks: tasks of connections that run now: handlers, workers, what ``connection.start_soon`` started.
        actions: how many actions have been asked for in total, the refused ones included.
        actions_failed: how many of them were answered with an error.
        actions_pending: how many run now.
        loop_lag: the longest time, in seconds, for which one turn of the event loop kept all others waiting, within the
            last ten to twenty seconds. None where ``general.blocking_warning`` is 0.
        loop_blocked: how many turns took longer than ``general.blocking_warning``, in total.
        log_suppressed: log records that were too many of one kind.
        log_dropped: log lines that could not be written in time, or at all.
    """

    uptime: float
    draining: bool
    connections: Mapping[tuple[str, str], int]
    accepted: Mapping[str, int]
    refused: Mapping[int, int]
    limited: Mapping[str, int]
    closed: Mapping[int, int]
    sockets: int
    rooms: int
    sessions: int | None
    backlog: int
    received: int | None
    sent: int | None
    dropped: int
    tasks: int
    actions: int
    actions_failed: int
    actions_pending: int
    loop_lag: float | None
    loop_blocked: int
    log_suppressed: int
    log_dropped: int


class Counters:
    """The totals of a server.

    Attributes:
        accepted, refused, limited, closed, dropped: as in :class:`ServerStatistics`; ``dropped`` only of namespaces
            that have gone.
    """

    __slots__ = ("accepted", "closed", "dropped", "limited", "refused")

    def __init__(self) -> None:
        self.accepted: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self.limited: Counter[str] = Counter()
        self.closed: Counter[int] = Counter()
        self.dropped = 0

    def close(self, code: int) -> None:
        """Count a connection that has ended."""
        self.closed[code if code < _PRIVATE else code // 1000 * 1000] += 1
