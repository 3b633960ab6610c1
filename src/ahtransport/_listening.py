"""Where an application says what it wants to hear of: a server, or one of its namespaces."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from ahtransport._application import BOTH
from ahtransport._transforms import is_async
from ahtransport.abc import Event, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from ahtransport._application import Application
    from ahtransport._connection import Connection
    from ahtransport._rooms import Rooms
    from ahtransport._transforms import Direction, Envelope

__all__ = ["Listening", "Namespace"]

_F = TypeVar("_F", bound="Callable[..., Any]")


class Listening:
    """Functions, connections and rooms of one namespace."""

    @property
    def _application(self) -> Application:
        raise NotImplementedError

    @property
    def _lasting(self) -> Application:
        """The same for who registers something: a namespace that comes and goes is there to stay then."""
        return self._application

    def on_open(self, function: _F) -> _F:
        """Call ``function(connection)`` for each new connection, before its first message. A plain function runs at
        once; an async one runs in the connection's worker, and messages wait for it. A handler that iterates begins
        when all of them are done, if the connection is still open then."""
        self._lasting.on_open.append((function, not is_async(function)))
        return function

    def on_message(self, function: _F) -> _F:
        """Call ``function(connection, message)`` for each message, in order. A plain function runs at once, without
        any task; async ones run one after the other in a worker that lives while there is something to do. A plain
        function may give something to await, which the worker does before the next message.

        Raises:
            TypeError: the server has a handler that iterates over its connections already.
        """
        if self._application.handler is not None:
            raise TypeError(BOTH)
        self._lasting.on_message.append((function, not is_async(function)))
        return function

    def on_close(self, function: _F) -> _F:
        """Call ``function(connection, code, reason)`` once per connection, after everything else of it has ended."""
        self._lasting.on_close.append((function, not is_async(function)))
        return function

    def on_error(self, function: _F) -> _F:
        """Call the plain function ``function(connection, exception)`` when a message can't be decoded or a handler
        fails; both are logged anyway."""
        if is_async(function):
            raise TypeError("on_error takes a plain function")
        self._lasting.on_error.append(function)
        return function

    def on(self, event: str) -> Callable[[_F], _F]:
        """Call ``function(connection, *args)`` for each such event. What it returns is the acknowledgement where one
        is wanted: nothing for None, several values for a tuple. ``"*"`` stands for every event without a function of
        its own; its function gets the event's name before the arguments."""

        def register(function: _F) -> _F:
            self._lasting.add_event(event, function)
            return function

        return register

    def authorize(self, function: _F) -> _F:
        """Ask ``function(request)`` before a client may connect. It refuses by raising ``Reject`` (with its status,
        reason and headers, such as ``WWW-Authenticate``) or by returning False, which is 401."""
        self._lasting.authorizers.append(function)
        return function

    def transform(self, direction: Direction, function: Callable[[Envelope], Any]) -> None:
        """Have ``function(envelope)`` see every message on its way in or out, as in Primus: it may replace
        ``envelope.data``, or drop the message by returning False. It may be async.

        Raises:
            ValueError: the direction is neither "incoming" nor "outgoing".
        """
        if direction not in ("incoming", "outgoing"):
            raise ValueError(f'a transform is "incoming" or "outgoing", not {direction!r}')
        (self._lasting.incoming if direction == "incoming" else self._lasting.outgoing).add(function)

    @property
    def connections(self) -> Mapping[str, Connection]:
        """The open connections by id; a live view."""
        return MappingProxyType(self._application.connections)

    @property
    def rooms(self) -> Rooms:
        """The rooms."""
        return self._application.rooms

    def broadcast(self, message: Any, room: str | None = None, exclude: Iterable[Connection] = ()) -> None:
        """Send a message to all connections, or to all members of a room; encoded once per kind of wire.

        It never waits: a client over its limit is treated as the option ``overflow`` says.

        Raises:
            TypeError, ValueError: the parser can't carry the message.
        """
        self._application.broadcast(Message(message), room, exclude)

    def emit(self, event: str, *args: Any, room: str | None = None, exclude: Iterable[Connection] = ()) -> None:
        """Send an event to all connections, or to all members of a room, under the rules of :meth:`broadcast`.

        Raises:
            TypeError, ValueError: the parser can't carry an argument.
        """
        self._application.broadcast(Event(event, args), room, exclude)


class Namespace(Listening):
    """A namespace of Socket.IO: ``server.of("/admin")``. Clients of other transformers are all in ``"/"``."""

    def __init__(self, find: Callable[[], Application], keep: Callable[[], Application]) -> None:
        self._find_application = find
        self._keep_application = keep

    @property
    def _application(self) -> Application:
        return self._find_application()

    @property
    def _lasting(self) -> Application:
        return self._keep_application()

    @property
    def name(self) -> str:
        """Its name, such as ``"/admin"``."""
        return self._application.name

    def handler(self, function: Callable[[Connection], Awaitable[object]]) -> Callable[[Connection], Awaitable[object]]:
        """Run ``async def function(connection)`` once per connection, as the server's own handler.

        Raises:
            TypeError: it is no async function, or messages go to ``on_message`` already.
        """
        self._lasting.handle(function)
        return function
