"""One transformer at its pathname: what Primus does around it, and the core that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from ahtransport._barrier import contained
from ahtransport._config import located, overlaid, read_duration
from ahtransport._connection import Connection
from ahtransport._errors import ConfigError, Reject
from ahtransport._http import Response
from ahtransport._log import fields, get_logger
from ahtransport._pacing import PollPacer
from ahtransport._registry import load_transformer, same_name
from ahtransport._web.compression import compressing
from ahtransport._web.fingerprint import fingerprint_of, may_link_session
from ahtransport.abc import Seat
from ahtransport.client import Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ahtransport._admission import Admission
    from ahtransport._buckets import Rates
    from ahtransport._config import Config
    from ahtransport._http import Request
    from ahtransport._namespaces import Namespaces
    from ahtransport._web.cors import Cors
    from ahtransport.abc import Link, Pacer, Receiver, Timer, Transformer, WebSocket
    from ahtransport.client import BrowserClient

__all__ = ["COUNTED", "Choice", "Mount", "choices", "session_key"]

_log = get_logger()

#: Left in a request whose refusal has been counted.
COUNTED: Final = "ahtransport refusal counted"
_KEY: Final = "servers.websocket.server.transformer"
_TRANSPORT: Final = "servers.websocket.server.transport"

_NO_SEAT: Final = Seat()

#: Whose protocol the spec speaks of: the newest generation of clients that is tested.
_PRIMUS: Final = "8.0.9"
_NO_CACHE: Final = [
    ("Cache-Control", "no-store, no-cache, must-revalidate, max-age=0"),
    ("Pragma", "no-cache"),
]


def session_key(fingerprint: str) -> str:
    """Give the key of a browser's session; no id that a server makes for itself can be taken for one."""
    return f"fingerprint:{fingerprint}"


class Choice(NamedTuple):
    """A transformer that the configuration asks for, and what it says of it."""

    kind: type[Transformer]
    pathname: str | None
    transport: Mapping[str, Any]


def choices(config: Config) -> list[Choice]:
    """Read ``servers.websocket.server.transformer``: one transformer, a list, or a table of name and pathname (or a
    table with ``pathname`` and ``transport``).

    Raises:
        ConfigError: one is unknown, comes twice, or has settings that it can't have.
    """
    options = config.servers.websocket.server
    asked = options.transformer
    if isinstance(asked, str | type):
        return [Choice(_load(config, asked), None, options.transport)]
    found: list[Choice] = []
    for name, settings in asked.items() if isinstance(asked, Mapping) else ((name, {}) for name in asked):
        kind = _load(config, name)
        if isinstance(settings, str):
            settings = {"pathname": settings}
        if not isinstance(settings, Mapping) or set(settings) - {"pathname", "transport"}:
            raise ConfigError(f"{_KEY}.{name}: takes a pathname, or a table with `pathname` and `transport`")
        pathname, transport = settings.get("pathname"), settings.get("transport", {})
        if pathname is not None and not (isinstance(pathname, str) and pathname.startswith("/")):
            raise ConfigError(f'{_KEY}.{name}: the pathname must be a path such as "/primus", not {pathname!r}')
        if not isinstance(transport, Mapping):
            raise ConfigError(f"{_KEY}.{name}: `transport` must be a table")
        if any(kind is other.kind and pathname == other.pathname for other in found):
            raise ConfigError(f"{_KEY}: {kind.name} is there twice")
        transport = overlaid(_transport(options.transport, kind.name), transport)
        found.append(Choice(kind, pathname.rstrip("/") if pathname else None, transport))
    strangers = [key for key in options.transport if not any(same_name(key, choice.kind.name) for choice in found)]
    if strangers:
        raise ConfigError(
            f"{_TRANSPORT}: with several transformers its keys are their names, unlike {sorted(strangers)[0]!r}"
        )
    return found


def _transport(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Give what a table with a table for each transformer says of one, however it spells the name.

    Raises:
        ConfigError: it is no table.
    """
    found: Mapping[str, Any] = {}
    for key, table in tables.items():
        if same_name(key, name):
            if not isinstance(table, Mapping):
                raise ConfigError(f"{_TRANSPORT}.{key}: must be a table, with what the transformer {name} is to know")
            found = overlaid(found, table)
    return found


def _load(config: Config, name: str | type) -> type[Transformer]:
    with located(config, _KEY):
        return load_transformer(name)


class Mount:
    """A transformer at its pathname; it is the ``ahtransport.abc.Core`` of that transformer, too."""

    def __init__(
        self,
        namespaces: Namespaces,
        config: Config,
        choice: Choice,
        cors: Cors,
        admission: Admission | None = None,
        rates: Rates | None = None,
    ) -> None:
        """Make the transformer. ``admission`` and ``rates`` are the server's limits where it has some.

        Raises:
            ConfigError: it does not like its options.
        """
        kind = choice.kind
        self._namespaces = namespaces
        self._shared = namespaces.shared
        self._config = config
        self._cors = cors
        self._admission = admission
        self._rates = rates
        self.options = config.servers.websocket.server
        self.codec = self._shared.codec
        self.json = self._shared.json
        self.messagepack = self._shared.messagepack
        default = config.origin("servers.websocket.server.pathname") == "default"
        self.pathname: str = choice.pathname or (kind.default_pathname if default else None) or self.options.pathname
        self._spec_path = f"{self.pathname}/spec"
        self._client_path = f"{self.pathname}/primus.js"
        parser = self.options.parser
        self.spec: Mapping[str, Any] = {
            "pingInterval": int(self.options.ping_interval * 1000),
            "pathname": self.pathname,
            "version": _PRIMUS,
            "transformer": kind.name,
            "parser": parser.lower() if isinstance(parser, str) else "custom",
        }
        try:
            self.transformer: Transformer = kind(self, choice.transport)  # type: ignore[call-arg]
        except ValueError as error:
            raise ConfigError(f"servers.websocket.server.transport: {error}") from error
        handle: Callable[[Request], Response | Awaitable[Response]] = self.transformer.handle_request
        if self.options.compression:
            handle = compressing(handle, self.options.compression_threshold)
        self._answer = handle
        #: The generated client that this transformer is part of, and its place in there.
        self.browser: BrowserClient | None = None
        self.place = 0
        self._shared.counters.accepted[self.transformer.name] += 0  # it is told of from the start
        # Where several share a pathname, a request is for the first that says so.
        self.claims: Callable[[Request], bool] = getattr(self.transformer, "claims", lambda request: True)

    def client_side(self) -> Wire:
        """Give what the transformer brings to the generated client: nothing, where it has nothing or that fails."""
        modules: Mapping[str, str] = {}
        options: Mapping[str, Any] = {}
        try:
            options = dict(getattr(self.transformer, "client_options", dict)())
            modules = dict(getattr(self.transformer, "client_modules", dict)())
        except Exception:
            extra = fields("failure", transformer=self.transformer.name)
            _log.exception("the client side of the transformer %s failed", self.transformer.name, extra=extra)
        return Wire(self.transformer.name, self.pathname, modules, options)

    def takes(self, path: str) -> bool:
        """Tell whether a path is this transformer's; as in Primus, every path that begins with the pathname is."""
        return path.startswith(self.pathname)

    def unfetched(self) -> bool:
        """Tell whether something waits in the transformer for a client's next request."""
        return bool(self._at_the_end("unfetched"))

    def dismiss(self, code: int, reason: str) -> None:
        """Let the transformer say goodbye to whoever is in no connection; the server is stopping."""
        self._at_the_end("dismiss", code, reason)

    def stop(self) -> None:
        """Let the transformer end what it keeps beyond streams; the server has ended."""
        self._at_the_end("stop")

    def _at_the_end(self, method: str, *args: Any) -> Any:
        """Call a method that a transformer may have. Whatever it raises: the server is to end as it would without."""
        call = getattr(self.transformer, method, None)
        if call is None:
            return None
        with contained(f"{method} of the transformer {self.transformer.name}"):
            return call(*args)
        return None

    # -- as the front of the transformer

    def handle_request(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a plain request: a preflight, the spec, or what the transformer says.

        Raises:
            Reject: the origin or the method is not allowed, or as the transformer refuses.
        """
        answer = self._cors.handle(request)
        if answer is not None:
            if answer.status == 403:
                self._shared.counters.refused[403] += 1
            return answer
        if request.path == self._spec_path:
            return Response.json(200, self.spec)
        if request.path == self._client_path and self.browser is not None:
            return self.browser.answer_primus(request, self.place)
        request.response_headers += _NO_CACHE
        return self._answer(request)

    def handle_upgrade(self, request: Request, socket: WebSocket) -> Receiver | Awaitable[Receiver]:
        """Hand an upgrade on.

        Raises:
            Reject: 403 for an origin that is not allowed, or as the transformer refuses.
        """
        self._cors.check_origin(request)
        return self.transformer.handle_upgrade(request, socket)

    # -- as its core

    def now(self) -> float:
        """Give the time of trio's clock, seconds."""
        return trio.current_time()

    def awake_since(self) -> float:
        """Tell since when the server has been running without a long pause."""
        return self._shared.deadlines.awake_since

    def seconds(self, duration: Any) -> float:
        """Read a duration as the configuration does; see ``ahtransport.abc.Core``."""
        return read_duration(duration)

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` at a time of trio's clock."""
        return self._shared.deadlines.at(when, callback)

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a function beside everything else."""
        self._shared.spawn(self._guarded, function, *args)

    async def _guarded(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        with contained(f"a task of the transformer {self.transformer.name}"):
            await function(*args)

    def has_namespace(self, name: str) -> bool:
        """Tell whether the application has this namespace."""
        return self._namespaces.knows(name)

    def asks(self, namespace: str = "/") -> bool:
        """Tell whether the application wants to be asked."""
        application = self._namespaces.model(namespace)
        return application is None or bool(application.authorizers)

    async def authorize(self, request: Request, namespace: str = "/") -> None:
        """Ask the application.

        Raises:
            Reject: it refuses.
        """
        application = self._namespaces.model(namespace)
        if application is None:
            raise Reject(404, "Invalid namespace")
        try:
            await application.authorize(request)
        except Reject as refusal:
            self._count(request, refusal)
            raise

    def _count(self, request: Request, refusal: Reject) -> None:
        # Not every transformer answers it by HTTP, where all other refusals are counted.
        self._shared.counters.refused[refusal.status] += 1
        request.state[COUNTED] = True

    def _check_stopping(self) -> None:
        # Who comes to a server that has said goodbye to everybody would not hear of it.
        if self._shared.stopping:
            raise Reject(503, "the server is shutting down", [("Retry-After", "1")])

    def admit(self, request: Request) -> Seat:
        """Give a client a seat; see ``ahtransport.abc.Core``.

        Raises:
            Reject: there is none.
        """
        self._check_stopping()
        if self._admission is None:
            return _NO_SEAT
        try:
            return self._admission.enter(request)
        except Reject as refusal:
            self._count(request, refusal)
            raise

    def pacer(self, request: Request) -> Pacer | None:
        """Give what paces a client that polls; see ``ahtransport.abc.Core``."""
        if self._rates is None:
            return None
        return PollPacer(self._rates, request.remote_ip, self._shared.counters.limited)

    def connect(
        self,
        request: Request,
        link: Link,
        transformer: Transformer,
        *,
        wire_id: str | None = None,
        namespace: str = "/",
        primus: bool = True,
        farewell: bool | None = None,
        events: bool = False,
        seat: Seat | None = None,
    ) -> Connection:
        """Make a connection; see ``ahtransport.abc.Core``.

        Raises:
            Reject: there is no such namespace, or no longer; there is no seat.
        """
        self._check_stopping()
        application = self._namespaces.find(namespace)
        if application is None:
            raise Reject(404, "Invalid namespace")
        # Only a generated client says which one it is. (A query may be refused: not when something is made already.)
        said = request.query.get("_client")
        fingerprint, source = fingerprint_of(request, self._config.servers.web.fingerprint)
        linked = may_link_session(request, source, self.options.origins, self.options.link_session)
        if source == "cookie" and not linked:
            fingerprint = None  # a foreign page made the browser send the cookie: it proves nothing
        if seat is None:
            seat = self.admit(request)  # nothing may fail from here on: nobody would give it back
        connection = Connection(
            application,
            request,
            link,
            transformer,
            fingerprint=fingerprint,
            session_key=session_key(fingerprint) if linked and fingerprint else None,
            wire_id=wire_id,
            primus=primus,
            farewell=primus if farewell is None else farewell,
            events=events,
            seat=seat,
        )
        application.add(connection)
        if said is not None and self.browser is not None and self.browser.hash not in (said, None):
            connection.stale_client(str(self.browser.hash))
        return connection
