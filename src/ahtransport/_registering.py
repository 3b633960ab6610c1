"""What an application tells its server: which functions to call, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from ahtransport._errors import ConfigError
from ahtransport._listening import Listening
from ahtransport.client import BrowserClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ahtransport._config import Config
    from ahtransport._http import Request, Response
    from ahtransport._mount import Mount
    from ahtransport._web.middleware import Middleware
    from ahtransport.abc import Parser
    from ahtransport.client import ClientFiles

__all__ = ["Registering"]

_F = TypeVar("_F", bound="Callable[..., Any]")


class Registering(Listening):
    """The part of a server on which functions are registered, mostly as decorators.

    Attributes:
        config: the effective configuration.
        middleware: what sees every request first; see :meth:`use`.
        plugins: the plug-ins by name; see :meth:`plugin`.
    """

    config: Config
    middleware: Middleware
    plugins: dict[str, Any]
    _mounts: list[Mount]
    _browser: BrowserClient | None
    _routes: dict[str, Callable[[Request], Awaitable[Response]]]

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
            try:
                server(self, self.config.servers.websocket.server)
            except BaseException:
                self.plugins.pop(name, None)
                raise

    def _client_plugins(self) -> dict[str, str]:
        """Give the JavaScript that plug-ins add to the generated client, by their names."""
        found = {}
        for name, plugin in self.plugins.items():
            client = plugin.get("client") if isinstance(plugin, dict) else getattr(plugin, "client", None)
            if isinstance(client, str):
                found[name] = client
        return found

    def _make_browser(self, parser: Parser) -> BrowserClient | None:
        """Make the generated client of all that is mounted; None: nothing is."""
        if not self._mounts:
            return None
        wires = [mount.client_side() for mount in self._mounts]
        browser = BrowserClient(self.config, wires, parser, self._client_plugins, self.client_actions)
        for place, mount in enumerate(self._mounts):
            mount.browser, mount.place = browser, place
        return browser

    def client_actions(self) -> Iterable[Any]:
        """Give the actions whose types the generated client's declarations tell; a server of this level has none."""
        return ()

    def client_files(self) -> ClientFiles:
        """Give the generated browser client, such as to put it on another web server: ``client_files().write(DIR)``.

        Raises:
            ConfigError: there is none, since something in use has no client side, or websockets are off.
        """
        if self._browser is None:
            raise ConfigError("no browser client: servers.websocket.enabled is false")
        return self._browser.files()

    def route(self, prefix: str, handler: Callable[[Request], Awaitable[Response]]) -> None:
        """Have ``await handler(request)`` answer requests for ``prefix`` and everything below it; the longest prefix
        wins.

        Raises:
            ValueError: the prefix does not begin with a slash.
        """
        if not prefix.startswith("/"):
            raise ValueError(f"a route begins with a slash, unlike {prefix!r}")
        self._routes[prefix.rstrip("/")] = handler

    def unroute(self, prefix: str, handler: Callable[[Request], Awaitable[Response]]) -> bool:
        """Have a handler answer no more. False: it is not, or no longer, the one that answers for ``prefix``."""
        prefix = prefix.rstrip("/")
        if self._routes.get(prefix) is not handler:
            return False
        del self._routes[prefix]
        return True
