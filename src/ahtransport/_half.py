"""What the two halves of a connection share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, cast

from ahtransport._errors import ConnectionClosed
from ahtransport._rooms import NOTHING

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable, Mapping
    from socket import socket

    import trio

    from ahtransport._application import Application
    from ahtransport._calls import Calls
    from ahtransport._connection import Connection
    from ahtransport._outgoing import Later
    from ahtransport.abc import Link, Outlet, Transformer

__all__ = ["NOWHERE", "Half"]


class _Nowhere:
    """The outlet of all connections that have none."""

    __slots__ = ()

    descriptor = -1
    straight: socket | None = None

    def keep(self, data: bytes, sent: int) -> bool:
        """Nothing goes here."""
        return False


NOWHERE: Final = _Nowhere()


class Touched:
    """What nearly every message reads of a connection: these slots lie side by side in memory."""

    __slots__ = ("_application", "_congested", "_link", "_outlet", "_state", "_transformer")

    _application: Application
    _congested: bool  # see Half
    _link: Link
    _outlet: Outlet | _Nowhere  # where frames for everybody go
    _state: Literal["open", "closing", "closed"]
    _transformer: Transformer


class Half(Touched):
    """Declares the state that :class:`ahtransport.Connection` sets up, and what it does for its halves."""

    # A dictionary for each connection would be larger than all the rest of it.
    __slots__ = (
        "__weakref__",
        "_announced",
        "_calls",
        "_close",
        "_collecting",
        "_collecting_until",
        "_farewell",
        "_garbled",
        "_goodbye",
        "_handed",
        "_inbox",
        "_jobs",
        "_outgoing",
        "_paused",
        "_query_string",
        "_reader",
        "_rooms",
        "_scopes",
        "_seat",
        "_sends",
        "_session_key",
        "_short_scopes",
        "_stale",
        "_survives_events",
        "_tasks",
        "_watch",
        "_wire_id",
        "_working",
        "_writers",
        "auth",
        "connected_at",
        "data",
        "fingerprint",
        "headers",
        "id",
        "last_seen",
        "pings_itself",
        "remote_ip",
        "remote_port",
        "speaks_primus",
    )

    id: str
    remote_ip: str
    last_seen: float
    _wire_id: str
    _survives_events: bool  # whether a function that fails on an event costs an acknowledgement only
    _close: tuple[int, str]
    _calls: Calls | None
    # The tasks of this connection, and the scopes of those that see its end for themselves.
    _tasks: int
    _scopes: set[trio.CancelScope]
    _short_scopes: set[trio.CancelScope]
    _rooms: set[str]
    # Coming in: what waits for the application.
    _inbox: deque[Any]
    _jobs: deque[tuple[Callable[..., Any], tuple[Any, ...]]]
    _working: bool
    _paused: bool
    _reader: trio.lowlevel.Task | None  # who waits for a message, or was just given one or cancelled
    _handed: Any  # that one
    _garbled: bool  # whether a message could not be decoded; only the first is logged
    # Going out. _collecting: the stream that collects what a task sends while more messages wait for it. _congested:
    # whether something may wait for the client (False while this connection's own messages do only for what left in one
    # piece at the end of a turn, and only until the next is written). _writers: who waits for it to read.
    _collecting: Outlet | None
    _collecting_until: float  # by time.perf_counter
    _writers: trio.lowlevel.ParkingLot | None
    _sends: int
    _outgoing: deque[Later] | None
    _goodbye: tuple[int, str, bool] | None  # how the application closed it while transforms were at work

    @property
    def _whole(self) -> Connection:
        return cast("Connection", self)

    @property
    def _log_fields(self) -> Mapping[str, object]:
        """What a log record about this connection says of it."""
        return {
            "connection": self.id,
            "remote": self.remote_ip,
            "transformer": self._transformer.name,
            "transport": self._link.transport,
            "namespace": self._application.name,
        }

    def _spawn(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Start one of this connection's tasks; its last step is :meth:`_task_done`."""
        self._tasks += 1
        self._application.start(function, *args)

    def _hold(self, scope: trio.CancelScope) -> None:
        """Keep the scope of a task that sees the end of the connection for itself, and is ended if it does not."""
        if self._scopes is NOTHING:
            self._scopes = set()
        self._scopes.add(scope)

    def _is_farewell(self, error: BaseException) -> bool:
        """Tell whether an exception only says what the application is told anyway: that this client is gone."""
        return isinstance(error, ConnectionClosed) and self._state != "open"

    def _crashed(self, error: BaseException, *, logged: bool = False) -> None:
        """A handler has failed: this connection alone pays for it."""
        raise NotImplementedError

    def _task_done(self) -> None:
        """One of the tasks has ended."""
        raise NotImplementedError

    def _hang_up(self, code: int, reason: str, reconnect: bool) -> None:
        """Close the link, after a word to a client that is not to come back."""
        raise NotImplementedError

    def _end(self, code: int, reason: str) -> None:
        """Take leave: from here on nothing arrives and nothing can be sent."""
        raise NotImplementedError
