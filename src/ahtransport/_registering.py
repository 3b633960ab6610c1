"""What an application tells its server: which functions to call, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from ahtransport._errors import ConfigError
from ahtransport._transforms import is_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ahtransport._application import Application
    from ahtransport._config import Config
    from ahtransport._http import Request, Response
    from ahtransport._transforms import Direction, Envelope
    from ahtransport._web.middleware import Middleware

__all__ = ["Registering"]

_F = TypeVar("_F", bound="Callable[..., Any]")


class Registering:
    """The part of a server on which functions are registered, mostly as decorators.

    Attributes:
        config: the effective configuration.
        middleware: what sees every request first; see :meth:`use`.
        plugins: the plug-ins by name; see :meth:`plugin`.
    """

    config: Config
    middleware: Middleware
    plugins: dict[str, Any]
    _application: Application
    _routes: dict[str, Callable[[Request], Awaitable[Response]]]

    def on_open(self, function: _F) -> _F:
        """Call ``function(connection)`` for each new connection, before its first message. A plain function runs at
        once; an async one runs in the connection's worker, and messages wait for it."""
        self._application.on_open.append((function, not is_async(function)))
        return function

    def on_message(self, function: _F) -> _F:
        """Call ``function(connection, message)`` for each message, in order. A plain function runs at once, without
        any task; async ones run one after the other in a worker that lives while there is something to do.

        Raises:
            TypeError: the server has a handler that iterates over its connections already.
        """
        if self._application.handler is not None:
            raise TypeError(
                "messages go to the handler that iterates over its connection, or to on_message; not to both"
            )
        self._application.on_message.append((function, not is_async(function)))
        return function

    def on_close(self, function: _F) -> _F:
        """Call ``function(connection, code, reason)`` once per connection, after everything else of it has ended."""
        self._application.on_close.append((function, not is_async(function)))
        return function

    def on_error(self, function: _F) -> _F:
        """Call the plain function ``function(connection, exception)`` when a message can't be decoded or a handler
        fails; both are logged anyway."""
        if is_async(function):
            raise TypeError("on_error takes a plain function")
        self._application.on_error.append(function)
        return function

    def on(self, event: str) -> Callable[[_F], _F]:
        """Call ``function(connection, *args)`` for each such event. What it returns is the acknowledgement where one
        is wanted: nothing for None, several values for a tuple. ``"*"`` stands for every event without a function of
        its own; its function gets the event's name before the arguments."""

        def register(function: _F) -> _F:
            self._application.add_event(event, function)
            return function

        return register

    def authorize(self, function: _F) -> _F:
        """Ask ``function(request)`` before a client may connect. It refuses by raising ``Reject`` (with its status,
        reason and headers, such as ``WWW-Authenticate``) or by returning False, which is 401."""
        self._application.authorizers.append(function)
        return function

    @overload
    def use(self, function: _F, name: str | None = None, position: int | None = None) -> _F: ...

    @overload
    def use(self, *, name: str | None = None, position: int | None = None) -> Callable[[_F], _F]: ...

    def use(
        self, function: _F | None = None, name: str | None = None, position: int | None = None
    ) -> _F | Callable[[_F], _F]:
        """Have ``function(request)`` see every HTTP and upgrade request first, as Primus' ``use``. It may answer by
        returning a ``Response``, or refuse by raising ``Reject``. ``server.middleware`` removes, disables and lists.

        Raises:
            ValueError: the name is taken.
        """
        if function is None:
            return lambda given: self.use(given, name, position)
        self.middleware.add(function, name, position)
        return function

    def transform(self, direction: Direction, function: Callable[[Envelope], Any]) -> None:
        """Have ``function(envelope)`` see every message on its way in or out, as in Primus: it may replace
        ``envelope.data``, or drop the message by returning False. It may be async.

        Raises:
            ValueError: the direction is neither "incoming" nor "outgoing".
        """
        if direction not in ("incoming", "outgoing"):
            raise ValueError(f'a transform is "incoming" or "outgoing", not {direction!r}')
        (self._application.incoming if direction == "incoming" else self._application.outgoing).add(function)

    def plugin(self, name: str, plugin: Any) -> None:
        """Add a plug-in: an object (or a mapping) with ``server``, called with ``(server, options)``, and ``client``,
        JavaScript for the generated client; one of them is enough.

        Raises:
            ConfigError: the name is taken, or it has neither part.
        """
        parts = (
            plugin if isinstance(plugin, dict) else {name: getattr(plugin, name, None) for name in ("server", "client")}
        )
        server, client = parts.get("server"), parts.get("client")
        if name in self.plugins:
            raise ConfigError(f"there is a plug-in called {name!r} already")
        if not callable(server) and not isinstance(client, str):
            raise ConfigError(f"the plug-in {name!r} has neither a function `server` nor a text `client`")
        self.plugins[name] = plugin
        if callable(server):
            server(self, self.config.servers.websocket.server)

    def route(self, prefix: str, handler: Callable[[Request], Awaitable[Response]]) -> None:
        """Have ``await handler(request)`` answer requests for ``prefix`` and everything below it; the longest prefix
        wins.

        Raises:
            ValueError: the prefix does not begin with a slash.
        """
        if not prefix.startswith("/"):
            raise ValueError(f"a route begins with a slash, unlike {prefix!r}")
        self._routes[prefix.rstrip("/")] = handler
