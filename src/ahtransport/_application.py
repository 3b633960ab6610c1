"""What all connections of a server share: the application's functions, the rooms, the sessions, the clock."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from ahtransport._barrier import contained
from ahtransport._errors import Reject
from ahtransport._heartbeat import Deadlines
from ahtransport._log import get_logger
from ahtransport._primus import Codec
from ahtransport._rooms import Rooms
from ahtransport._transforms import Transforms, is_async
from ahtransport.abc import Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from ahtransport._config import WebSocketServer
    from ahtransport._connection import Connection
    from ahtransport._http import Request
    from ahtransport._session import SessionStore
    from ahtransport.abc import Event, Parser, Payload, Transformer

__all__ = ["Application"]

_log = get_logger()


class EventHandler(NamedTuple):
    """A function for an event; a catch-all gets the event's name as its first argument, too."""

    function: Callable[..., Any]
    inline: bool
    catch_all: bool

    def arguments(self, event: Event) -> Sequence[Any]:
        """Give the arguments for this event."""
        return (event.name, *event.args) if self.catch_all else event.args


class Application:
    """The application's side of the seam, shared by every transformer that is mounted."""

    def __init__(self, options: WebSocketServer, parser: Parser, sessions: SessionStore) -> None:
        self.options = options
        self.codec = Codec(parser)
        self.sessions = sessions
        self.deadlines = Deadlines()
        self.rooms = Rooms(options.max_rooms, options.max_name)
        self.connections: dict[str, Connection] = {}
        self.handler: Callable[[Connection], Awaitable[object]] | None = None
        self.on_open: list[tuple[Callable[..., Any], bool]] = []
        self.on_message: list[tuple[Callable[..., Any], bool]] = []
        self.on_close: list[tuple[Callable[..., Any], bool]] = []
        self.on_error: list[Callable[[Connection, BaseException], Any]] = []
        self.authorizers: list[Callable[[Request], Any]] = []
        self.incoming = Transforms()
        self.outgoing = Transforms()
        self.dropped = 0  # messages that the overflow policy "drop" has dropped
        self._events: dict[str, EventHandler] = {}
        self._catch_all: EventHandler | None = None
        self._nursery: trio.Nursery | None = None
        self._running = 0
        self._idle = trio.Event()

    # -- events

    @property
    def has_events(self) -> bool:
        """Whether any function waits for events."""
        return bool(self._events) or self._catch_all is not None

    def add_event(self, name: str, function: Callable[..., Any]) -> None:
        """Have ``function`` called for an event; ``"*"`` is every event without a function of its own."""
        handler = EventHandler(function, not is_async(function), name == "*")
        if handler.catch_all:
            self._catch_all = handler
        else:
            self._events[name] = handler

    def event_handler(self, name: str) -> EventHandler | None:
        """Find the function for an event."""
        return self._events.get(name, self._catch_all)

    # -- tasks

    def spawn(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a function beside everything else; it must have a crash barrier of its own."""
        if self._nursery is None:
            raise RuntimeError("the server is not running")
        self._nursery.start_soon(self._counted, function, *args, name=function)

    def started(self, nursery: trio.Nursery | None) -> None:
        """Take the nursery in which tasks live from now on."""
        self._nursery = nursery

    async def _counted(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        self._running += 1
        try:
            await function(*args)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def idle(self) -> None:
        """Wait until no handler runs any more."""
        while self._running:
            self._idle = trio.Event()
            await self._idle.wait()

    # -- what happens to connections

    async def authorize(self, request: Request) -> None:
        """Ask every authorizer; the first refusal counts.

        Raises:
            Reject: as refused; 401 when an authorizer returned False, 403 when it failed, 503 when it took longer than
                ``upgrade_timeout``.
        """
        for authorizer in self.authorizers:
            with trio.move_on_after(self.options.upgrade_timeout) as patience:
                verdict = None
                with contained("an authorizer") as trouble:
                    try:
                        verdict = authorizer(request)
                        if inspect.isawaitable(verdict):
                            verdict = await verdict
                    except Reject as refusal:
                        verdict = refusal
                if trouble.caught is not None:
                    raise Reject(403, "authorization failed")
                if isinstance(verdict, Reject):
                    raise verdict
                if verdict is False:
                    raise Reject(401, "not authorized")
            if patience.cancelled_caught:
                raise Reject(503, "authorization took too long")

    def add(self, connection: Connection) -> None:
        """A connection is there: it is in the table, and its heartbeat begins."""
        self.connections[connection.id] = connection
        if connection.speaks_primus:
            connection.watch(self.options.ping_interval, self.options.timeout)

    def forget(self, connection: Connection) -> None:
        """A connection is over: it is in no table any more."""
        self.connections.pop(connection.id, None)
        self.rooms.leave_all(connection)

    def broadcast(self, message: Any, room: str | None, exclude: Iterable[Connection]) -> None:
        """Send a message to everybody or to a room, encoded once per transformer and wire."""
        members = self.connections.values() if room is None else self.rooms.members(room)
        left_out = set(exclude)
        packet = Message(message)
        if self.outgoing:
            for connection in list(members):
                if connection not in left_out:
                    connection.send_soon(packet)
            return
        encoded: dict[tuple[Transformer, str], Sequence[Payload]] = {}
        # A client over its limit is closed on the way, which takes it out of the table: hence the copy.
        for connection in list(members):
            if connection in left_out:
                continue
            wire = connection.wire
            payloads = encoded.get(wire)
            if payloads is None:
                payloads = encoded[wire] = wire[0].encode(packet, wire[1])
            connection.write(payloads)

    def announce_close(self, connection: Connection, code: int, reason: str) -> None:
        """Call the application's ``on_close``."""
        for function, inline in self.on_close:
            if inline:
                with contained(f"on_close of connection {connection.id}"):
                    function(connection, code, reason)
            elif self._nursery is not None:
                self.spawn(self._close_later, function, connection, code, reason)

    async def _close_later(
        self, function: Callable[..., Awaitable[object]], connection: Connection, code: int, reason: str
    ) -> None:
        with contained(f"on_close of connection {connection.id}"):
            await function(connection, code, reason)

    def undecodable(self, connection: Connection, error: ValueError, *, first: bool) -> None:
        """A message could not be decoded: the application is told, the connection lives on."""
        if first:
            _log.info("connection %s sent a message that can't be decoded: %.200s", connection.id, error)
        self._report(connection, error)

    def failed(self, connection: Connection, error: BaseException, *, logged: bool) -> None:
        """A handler has failed."""
        if not logged:
            _log.error("the handler of connection %s failed", connection.id, exc_info=error)
        self._report(connection, error)

    def _report(self, connection: Connection, error: BaseException) -> None:
        for function in self.on_error:
            with contained("on_error"):
                function(connection, error)
