"""What all connections of a server share: the application's functions, the rooms, the sessions, the clock."""

from __future__ import annotations

import inspect
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

import trio

from ahtransport._barrier import contained
from ahtransport._broadcast import Broadcast
from ahtransport._errors import Reject, unwrapped
from ahtransport._log import fields, get_logger
from ahtransport._rooms import PacedRooms, Rooms
from ahtransport._transforms import Transforms, close_unawaited, is_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from ahtransport._connection import Connection
    from ahtransport._http import Request
    from ahtransport._shared import Shared
    from ahtransport.abc import Event, Message

__all__ = ["Application"]

_log = get_logger()
_access = get_logger("ahtransport.access")
#: Said to an application that wants its messages in two places.
BOTH = "messages go to the handler that iterates over its connection, or to on_message; not to both"


class EventHandler(NamedTuple):
    """A function for an event; a catch-all gets the event's name as its first argument, too."""

    function: Callable[..., Any]
    inline: bool
    catch_all: bool

    def arguments(self, event: Event) -> Sequence[Any]:
        """Give the arguments for this event."""
        return (event.name, *event.args) if self.catch_all else event.args


class Application:
    """The application's side of the seam, shared by every transformer that is mounted.

    There is one for each namespace of Socket.IO; the first, ``"/"``, is the only one that other transformers know.
    """

    def __init__(self, shared: Shared, name: str = "/") -> None:
        self.shared = shared
        self.name = name
        self.options = options = shared.options
        self.codec = shared.codec
        self.parse = shared.codec.parse
        self.sessions = shared.sessions
        self.deadlines = shared.deadlines
        self.spawn, self.start, self.ended = shared.spawn, shared.start, shared.ended
        limits = options.max_rooms, options.max_name
        self.rooms = PacedRooms(*limits, shared.joins) if shared.joins else Rooms(*limits)
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
        self._events: dict[str | None, EventHandler] = {}  # None: every event without a function of its own
        self._heirs: WeakSet[Application] = WeakSet()  # those that have adopted this one
        #: Called when the last connection has gone; set for namespaces that come and go.
        self.on_empty: Callable[[Application], None] | None = None

    def adopt(self, other: Application) -> None:
        """Take over another's functions; whoever is registered there later is registered here, too."""
        self.handler = other.handler
        self.on_open, self.on_message, self.on_close = other.on_open, other.on_message, other.on_close
        self.on_error, self.authorizers = other.on_error, other.authorizers
        self.incoming, self.outgoing = other.incoming, other.outgoing
        self._events = other._events
        other._heirs.add(self)

    def part(self) -> None:
        """Keep the functions that there are by now: what is registered from now on is no longer shared."""
        self.on_open, self.on_message, self.on_close = [*self.on_open], [*self.on_message], [*self.on_close]
        self.on_error, self.authorizers = [*self.on_error], [*self.authorizers]
        self.incoming, self.outgoing = self.incoming.copy(), self.outgoing.copy()
        self._events = {**self._events}

    def handle(self, function: Callable[[Connection], Awaitable[object]]) -> None:
        """Run a function once per connection.

        Raises:
            TypeError: it is no async function, or messages go elsewhere already.
        """
        if not is_async(function):
            raise TypeError(
                "a handler is an async function that iterates over its connection; "
                "a plain function for each message is registered with @server.on_message"
            )
        if self.on_message:
            raise TypeError(BOTH)
        self.handler = function
        for heir in self._heirs:
            if heir.on_message is self.on_message:  # else it has parted
                heir.handler = function

    # -- events

    @property
    def has_events(self) -> bool:
        """Whether any function waits for events."""
        return bool(self._events)

    def add_event(self, name: str, function: Callable[..., Any]) -> None:
        """Have ``function`` called for an event; ``"*"`` is every event without a function of its own."""
        handler = EventHandler(function, not is_async(function), name == "*")
        self._events[None if handler.catch_all else name] = handler

    def event_handler(self, name: str) -> EventHandler | None:
        """Find the function for an event."""
        return self._events.get(name) or self._events.get(None)

    def handles(self, name: str) -> bool:
        """Tell whether events of this name go to a function: its own, or the catch-all where nothing takes messages."""
        return name in self._events or (None in self._events and self.handler is None and not self.on_message)

    # -- what happens to connections

    async def authorize(self, request: Request) -> None:
        """Ask every authorizer; the first refusal counts.

        Raises:
            Reject: as refused; 401 when an authorizer returned False, 403 when it failed, 503 when it took longer than
                ``upgrade_timeout``.
        """
        for authorizer in self.authorizers:
            verdict = None
            with (
                contained("an authorizer", about=request) as trouble,
                trio.move_on_after(self.options.upgrade_timeout) as patience,
            ):
                try:
                    verdict = authorizer(request)
                    if inspect.isawaitable(verdict):
                        verdict = await verdict
                except (Reject, BaseExceptionGroup) as error:
                    verdict = unwrapped(error)
                    if not isinstance(verdict, Reject):
                        raise
            if trouble.caught is not None:
                raise Reject(403, "authorization failed")
            if patience.cancelled_caught:
                raise Reject(503, "authorization took too long")
            if isinstance(verdict, Reject):
                raise verdict
            if verdict is False:
                raise Reject(401, "not authorized")

    def add(self, connection: Connection) -> None:
        """A connection is there: it is in the table, and its heartbeat begins."""
        self.connections[connection.id] = connection
        self.shared.counters.accepted[connection.transformer] += 1
        if _access.isEnabledFor(logging.DEBUG):
            text = "connection %s opened from %s by %s"
            extra = fields("connection.opened", connection)
            _access.debug(text, connection.id, connection.remote_ip, connection.transformer, extra=extra)
        if connection.speaks_primus:
            connection.watch(self.options.ping_interval, self.options.timeout)

    def forget(self, connection: Connection) -> None:
        """A connection is over: it is in no table any more."""
        self.connections.pop(connection.id, None)
        self.rooms.leave_all(connection)
        if self.on_empty is not None and not self.connections:
            self.on_empty(self)

    def broadcast(self, packet: Message | Event, room: str | None, exclude: Iterable[Connection]) -> None:
        """Send a message or an event to everybody or to a room, encoded once per transformer and wire.

        Raises:
            TypeError, ValueError: a transformer can't carry it; those who are reached by others have it all the same.
        """
        recipients: Iterable[Connection] = self.connections.values() if room is None else self.rooms.members(room)
        left_out = set(exclude)
        if left_out:
            recipients = [one for one in recipients if one not in left_out]
        shared = self.shared
        if shared.afterwards is not None:  # a parser or a transform says something in the middle of another
            self._send(packet, recipients)
            return
        afterwards: list[Callable[[], None]] = []
        shared.afterwards = afterwards
        try:
            self._send(packet, recipients)
        finally:
            shared.afterwards = None
            for tell in afterwards:
                tell()

    def _send(self, packet: Message | Event, recipients: Iterable[Connection]) -> None:
        if not self.outgoing.functions:
            Broadcast(packet, self.shared.many).to(recipients)
            return
        failure: Exception | None = None
        for connection in list(recipients):
            try:
                connection.send_soon(packet)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # it holds this frame

    def announce_close(self, connection: Connection, code: int, reason: str) -> None:
        """Call the application's ``on_close``. Of who ends in the middle of a broadcast, over the limit say, it is told
        when everybody has that: what these functions say to others comes after it."""
        self.shared.counters.close(code)
        if _access.isEnabledFor(logging.INFO):
            duration = round(max(0.0, time.time() - connection.connected_at), 3)
            extra = fields("connection.closed", connection, code=code, reason=reason, duration=duration)
            text = "connection %s from %s by %s closed with %d after %.1f s%s"
            why = f": {reason}" if reason else ""
            arguments = (connection.id, connection.remote_ip, connection.transformer, code, duration, why)
            _access.info(text, *arguments, extra=extra)
        self._after_broadcast(partial(self._call_on_close, connection, code, reason))

    def _after_broadcast(self, tell: Callable[[], None]) -> None:
        """Tell the application something, when a broadcast that is on its way has reached everybody."""
        if self.shared.afterwards is None:
            tell()
        else:
            self.shared.afterwards.append(tell)

    def _call_on_close(self, connection: Connection, code: int, reason: str) -> None:
        for function, inline in self.on_close:
            result = None
            if inline:
                with contained(f"on_close of connection {connection.id}", about=connection):
                    result = function(connection, code, reason)
            elif self.shared.running:
                self.spawn(self._close_later, connection, function, connection, code, reason)
            if result is not None and hasattr(result, "__await__"):
                if self.shared.running:
                    self.spawn(self._close_later, connection, partial(_itself, result))
                else:
                    close_unawaited(result)

    async def _close_later(
        self, connection: Connection, function: Callable[..., Awaitable[object]], *args: object
    ) -> None:
        with contained(f"on_close of connection {connection.id}", about=connection), trio.CancelScope():
            await function(*args)

    def undecodable(self, connection: Connection, error: Exception, *, first: bool) -> None:
        """A message could not be decoded: the application is told, the connection lives on."""
        if first:
            text = "connection %s sent a message that can't be decoded: %.200s"
            _log.info(text, connection.id, error, extra=fields("message.undecodable", connection))
        self._report(connection, error)

    def unsendable(self, connection: Connection, error: Exception) -> None:
        """A message can't be carried, and its sender has not waited to hear of it."""
        text = "a message to connection %s can't be carried"
        _log.error(text, connection.id, exc_info=error, extra=fields("message.unsendable", connection))
        self._report(connection, error)

    def failed(self, connection: Connection, error: BaseException, *, logged: bool) -> None:
        """A handler has failed."""
        if not logged:
            extra = fields("failure", connection, what="the handler")
            _log.error("the handler of connection %s failed", connection.id, exc_info=error, extra=extra)
        self._report(connection, error)

    def _report(self, connection: Connection, error: BaseException) -> None:
        if self.on_error:
            self._after_broadcast(partial(self._call_on_error, connection, error))

    def _call_on_error(self, connection: Connection, error: BaseException) -> None:
        for function in self.on_error:
            with contained("on_error", about=connection):
                function(connection, error)


def _itself(result: Awaitable[object]) -> Awaitable[object]:
    return result
