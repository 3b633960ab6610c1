"""The server: what an application is built on."""

from __future__ import annotations

import logging
import signal
import time
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import trio

from ahtransport._answering import Answering
from ahtransport._barrier import contained
from ahtransport._blocking import BlockingWatch
from ahtransport._buckets import Rate
from ahtransport._collector import tune_collector
from ahtransport._config import Config, load_config, located
from ahtransport._errors import ConfigError, RoomError
from ahtransport._hangup import hangup_signals, heed_hangup
from ahtransport._limits import ServerLimits
from ahtransport._listening import Namespace
from ahtransport._log import fields, get_logger
from ahtransport._logsink import install
from ahtransport._mount import Mount, choices, session_key
from ahtransport._namespaces import Namespaces
from ahtransport._net.certificate import Certificate
from ahtransport._net.deflate import Compression
from ahtransport._net.guarded import GuardedHost
from ahtransport._net.head import Limits
from ahtransport._net.host import Host
from ahtransport._net.uring import Ring, make_ring
from ahtransport._registry import load_object, load_parser
from ahtransport._session import MemorySessions
from ahtransport._shared import Shared
from ahtransport._web.cors import Cors, cors_warning
from ahtransport._web.files import StaticFiles
from ahtransport._web.fingerprint import web_fingerprint
from ahtransport._web.hosts import entrance, hosts_warning
from ahtransport._web.middleware import Middleware

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from ahtransport._application import Application
    from ahtransport._http import Request, Response
    from ahtransport._namespaces import Matcher
    from ahtransport._session import Session, SessionStore
    from ahtransport.abc import Transformer

__all__ = ["Server"]

_log = get_logger()

_GOODBYE: Final = (1012, "the server is shutting down")
_BETWEEN_POLLS: Final = 1.0  # seconds that clients have, at the end, to poll once more
_LOOK: Final = 0.01  # seconds between two looks whether they have


class Server(Answering):
    """A realtime server, configured but not yet running.

    Args:
        handler: ``async def handler(connection)``, run once per connection; or an object with any of the methods
            ``on_open(connection)``, ``on_message(connection, message)`` and ``on_close(connection, code, reason)``;
            or nothing, for functions that are registered with the decorators of the same names.
        config: a TOML file, a mapping shaped like one, or a ``Config``. None: ``ahtransport.toml`` in the working
            directory when there is one. See "Configuration" in the documentation.
        sessions: where session data is kept; None: in this process's memory.
        options: any option by its name, such as ``transformer="websockets"`` or ``port=8080``; they win over the file
            and the environment. Durations given as numbers are milliseconds, as everywhere in the configuration.

    Raises:
        ConfigError: an option is unknown or has an impossible value; UnknownTransformer among others.
    """

    #: What serves plain sockets where both can: "reactor", or "task" for a task per socket. Only tests choose.
    _driver: ClassVar[Literal["reactor", "task"]] = "reactor"
    #: Whether who sends too many messages is slowed down. A kind of server that answers them with errors says no.
    _paces_messages: ClassVar[bool] = True

    def __init__(
        self,
        handler: Any = None,
        *,
        config: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
        sessions: SessionStore | None = None,
        **options: Any,
    ) -> None:
        self.config: Config = load_config(config, options)
        self._own_sessions = sessions
        self._routes: dict[str, Callable[[Request], Awaitable[Response]]] = {}
        self.middleware = Middleware()
        self.plugins: dict[str, Any] = {}
        self._loaded: dict[str, Any] = {}  # those of the configuration, as it names them
        self._mounts: list[Mount] = []
        self._stop = trio.Event()
        self._running = False
        self._lingering = False  # told to stop, and going on for ``shutdown_delay``
        self._host: Host | None = None
        self._namespaces = self._build(None)
        if handler is not None:
            self._take(handler)
        self.prepare()
        self._load_plugins()

    def prepare(self) -> None:
        """For servers of a higher level, your own among them: called once, when the server itself is there, and before
        the configuration's plug-ins are loaded, which want to meet the whole of it. What they may want to use is made
        in here, after ``super().prepare()``, rather than in ``__init__``."""

    def _load_plugins(self) -> None:
        """Load the plug-ins that the configuration names, those that are new in it."""
        for name, dotted in self.config.servers.websocket.server.plugin.items():
            if name in self._loaded and self._loaded[name] == dotted:
                continue
            with located(self.config, f"servers.websocket.server.plugin.{name}"):
                plugin = load_object(dotted) if isinstance(dotted, str) else dotted
            self._loaded[name] = dotted  # at once: what is called now may configure the server, too
            try:
                self.plugin(name, plugin)
            except BaseException:
                del self._loaded[name]
                raise

    def _build(self, old: Namespaces | None) -> Namespaces:
        """Make everything that follows from the configuration; ``old`` is what the application has said so far."""
        config = self.config
        options = config.servers.websocket.server
        web = config.servers.web
        self._certificate = Certificate(web.cert, web.key) if web.secure else None
        self._entrance = entrance(web)
        with located(config, "servers.websocket.server.parser"):
            parser = load_parser(options.parser)
        sessions = self._own_sessions or MemorySessions(web.fingerprint.settings.expires or 3600.0, web.max_sessions)
        limits = config.servers.limits
        shared = Shared(options, parser, sessions, Rate(limits.join_rate, limits.join_burst))
        self._limits = ServerLimits(
            limits, web.trusted_proxies, shared.deadlines, shared.counters, paces_messages=self._paces_messages
        )
        namespaces = Namespaces(shared) if old is None else old.moved(shared, self._outdated_rooms())
        self._cors = Cors(options.origins, options.methods, options.credentials, options.max_age, options.exposed)
        self._mounts = []
        self._homes = {}
        if config.servers.websocket.enabled:
            guards = self._limits.admission, self._limits.rates
            self._mounts = [Mount(namespaces, config, choice, self._cors, *guards) for choice in choices(config)]
        self._probes = self._make_probes()
        self._browser = self._make_browser(parser)
        self._files = StaticFiles(web.public, fingerprint=web.fingerprint) if web.enabled else None
        return namespaces

    def _take(self, handler: Any) -> None:
        methods = [name for name in ("on_open", "on_message", "on_close") if callable(getattr(handler, name, None))]
        if methods:
            for name in methods:
                getattr(self, name)(getattr(handler, name))
        elif callable(handler):
            self._application.handle(handler)
        else:
            raise TypeError("a handler is an async function, or an object with on_open, on_message or on_close")

    def configure(self, **options: Any) -> None:
        """Set options once more, before the server runs; they win over everything before them. Plug-ins that are new
        are loaded; those that are there stay. If it fails, everything is as it was before, but for what a
        plug-in has registered by then.

        Raises:
            ConfigError: an option is unknown or impossible, or another plug-in has a name that is taken.
            RuntimeError: the server is running.
        """
        if self._running:
            raise RuntimeError("a running server can't be configured")
        before = vars(self).copy()
        try:
            self.plugins, self._loaded, self._routes = {**self.plugins}, {**self._loaded}, {**self._routes}
            self.config = self.config.replace(**options)
            outdated = self._outdated_rooms()
            try:
                self._namespaces = self._build(self._namespaces)
            except RoomError as error:
                raise ConfigError(f"servers.websocket.server.max_name: a room is there already: {error}") from error
            self._configured()
            self._load_plugins()
        except BaseException:
            vars(self).update(before)
            raise
        for room in outdated:
            before["_namespaces"].root.rooms.remove(room)  # which tells whoever wants to know

    def _outdated_rooms(self) -> Collection[str]:
        """For servers of a higher level: the rooms that are there because of options from before, and are not to be
        there under the new ones, which may not even allow their names."""
        return ()

    def _configured(self) -> None:
        """For servers of a higher level: the options are new, everything here has been made of them, and plug-ins are
        about to be loaded. Where anything fails, the server's attributes and routes become those from before."""

    @property
    def _application(self) -> Application:
        return self._namespaces.root

    def of(self, namespace: Matcher) -> Namespace:
        """Give a namespace of Socket.IO, with functions, connections, rooms and authorization of its own.

        Args:
            namespace: its name, such as ``"/admin"``; or, for namespaces that come and go, a compiled pattern that the
                whole name has to match, or a plain function that is given the name and says whether it will do.

        A name that a pattern allows already is that namespace, with the pattern's functions, and still goes with its
        last connection. It stays once something is registered in it, or a room added: from then on it has functions of
        its own, to begin with those that the pattern had, and what is registered for the pattern later is not for it.
        """
        self._namespaces.seen(namespace)  # any other is there from now on, whether anything is registered in it or not
        return Namespace(lambda: self._namespaces.seen(namespace), lambda: self._namespaces.of(namespace))

    # -- what the application can see and do

    @property
    def sessions(self) -> SessionStore:
        """Where session data is kept."""
        return self._application.sessions

    @property
    def transformers(self) -> list[Transformer]:
        """What is mounted."""
        return [mount.transformer for mount in self._mounts]

    @property
    def pathnames(self) -> Mapping[str, str]:
        """Where each transformer is mounted, by its name; of one that is mounted twice, the last place."""
        return {mount.transformer.name: mount.pathname for mount in self._mounts}

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """What is listened on, as (host, port) pairs, or the Unix socket's path and 0; empty while the server does not
        run."""
        return self._host.addresses if self._host is not None else []

    @property
    def port(self) -> int:
        """The port that is listened on, 0 for a Unix socket; the configured one while the server does not run."""
        return self.addresses[0][1] if self.addresses else self.config.servers.web.port

    @property
    def url(self) -> str:
        """Where the server is reached, such as ``"http://127.0.0.1:8080"``; on a Unix socket what nginx understands,
        ``"http://unix:/run/app.sock"``."""
        web = self.config.servers.web
        host = self.addresses[0][0] if self.addresses else web.host
        scheme = "http" if self._certificate is None else "https"
        if web.socket:
            return f"{scheme}://unix:{web.socket}"
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    def _counted_host(self) -> Host | None:
        return self._host

    @property
    def _overloaded(self) -> bool:
        admission, host = self._limits.admission, self._host
        short = admission is not None and admission.overloaded
        return short or (isinstance(host, GuardedHost) and host.full)

    @property
    def stopping(self) -> bool:
        """Whether the drain has begun; not yet while ``shutdown_delay`` lasts."""
        return self._namespaces.shared.stopping

    def session_for(self, request: Request) -> Session:
        """Give the session of a web request. One without a fingerprint cookie gets one, with the response, unless
        ``to_set_cookie`` is off."""
        fingerprint = web_fingerprint(request, self.config.servers.web.fingerprint)
        return self.sessions.session(session_key(fingerprint))

    # -- running

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM, which drain; a second one ends at once. Calls ``trio.run``. Logs to stderr as
        ``general.log_format`` says, unless the program has set up logging itself.

        Raises:
            OSError: the address can't be listened on.
        """
        logs = None if _log.handlers else install(logging.INFO, self.config.general.log_format)
        try:
            trio.run(self._run)
        finally:
            if logs is not None:
                logs.uninstall()

    async def _run(self) -> None:
        unheard: OSError | None = None
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, *hangup_signals(self)) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed, signals, nursery.cancel_scope)
                try:
                    await nursery.start(self.serve)
                except OSError as error:  # raised again outside of the nursery, which would wrap it
                    unheard = error
                else:
                    names = ", ".join(mount.transformer.name for mount in self._mounts) or "no transformer"
                    _log.info("%s on %s", names, self.url, extra=fields("server.started", url=self.url))
                    await self._ended.wait()
                nursery.cancel_scope.cancel()
        if unheard is not None:
            raise unheard

    async def _heed(self, signals: Any, scope: trio.CancelScope) -> None:
        async for number in signals:
            extra = fields("server.stopping", signal=signal.Signals(number).name)
            if number not in (signal.SIGINT, signal.SIGTERM):
                await heed_hangup(self)
            elif not self._running:  # not yet, and so there is nobody to say goodbye to
                scope.cancel()
            elif self._stop.is_set():
                _log.info("%s again: ending at once", signal.Signals(number).name, extra=extra)
                scope.cancel()
            else:
                _log.info("%s: stopping; once more ends at once", signal.Signals(number).name, extra=extra)
                self.shutdown()

    def shutdown(self) -> None:
        """Begin to stop: after ``shutdown_delay``, accept nobody, tell the clients, give handlers ``shutdown_grace``,
        then end. Returns at once; :meth:`serve` returns when it is done."""
        if not self._stop.is_set():
            self._lingering = self._running and self.config.servers.websocket.shutdown_delay > 0
            self._stop.set()
            if not self._lingering:
                self._set_stopping(True)

    def _set_stopping(self, stopping: bool) -> None:
        """Say whether the drain has begun: from then on nothing new is."""
        self._lingering = False
        self._namespaces.shared.stopping = stopping

    async def reload_certificate(self) -> None:
        """Read the files ``servers.web.cert`` and ``key`` again; connections from now on get what is in them, and those
        that are open go on as they are. SIGHUP does this, where :meth:`run` or ``ahtransport serve`` runs the server.

        Raises:
            ConfigError: they can't be used; the certificate from before stays.
            RuntimeError: ``servers.web.secure`` is off.
        """
        if self._certificate is None:
            raise RuntimeError("this server has no certificate: servers.web.secure is off")
        await trio.to_thread.run_sync(self._certificate.load)

    async def serve(self, *, task_status: trio.TaskStatus[list[tuple[str, int]]] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`shutdown` or cancellation; ``await nursery.start(server.serve)`` gives the addresses.

        Raises:
            OSError: the address can't be listened on.
            RuntimeError: it is running already.
        """
        web = self.config.servers.web
        await self._serve(web.host, web.port, task_status, web.socket)

    async def _serve(
        self, host: str | None, port: int, task_status: trio.TaskStatus[list[tuple[str, int]]], path: str = ""
    ) -> None:
        if self._running:
            raise RuntimeError("the server is running already")
        self._running = True
        self._stop = trio.Event()
        self._ended = trio.Event()
        self._set_stopping(False)
        shared = self._namespaces.shared
        self._host = self._make_host(self._host)
        self._watch = watch = BlockingWatch(self.config.general.blocking_warning)
        self._since = time.monotonic()
        if watch.limit:
            trio.lowlevel.add_instrument(watch)
        restore_collector = tune_collector() if self.config.general.tune_gc else None
        ring: Ring | None = None
        unheard: OSError | None = None
        try:
            if self.config.general.io_uring:
                shared.many = self._host.each = ring = make_ring()
            async with trio.open_nursery() as nursery:
                shared.started(nursery)
                nursery.start_soon(shared.deadlines.run)
                self._limits.begin()
                try:
                    await nursery.start(self._host.serve, host, port, path)
                except OSError as error:  # raised again outside of the nursery, which would wrap it
                    where = f"port {port} of {host}: servers.web.port and servers.web.host"
                    error.add_note(f"while listening on {f'{path}: servers.web.socket' if path else where}")
                    unheard = error
                    nursery.cancel_scope.cancel()
                    await trio.lowlevel.checkpoint()  # leaves the nursery
                if self._browser is not None:
                    await self._browser.begin(nursery)
                options = self.config.servers.websocket.server
                for warning in (
                    cors_warning(options.origins, options.credentials),
                    hosts_warning([] if path else self.addresses, self.config.servers.web.allowed_hosts),
                ):
                    if warning:
                        _log.warning(warning, extra=fields("config.warning"))
                self._tell_of_hidden()
                task_status.started(self.addresses)
                try:
                    await self._stop.wait()
                    if self._lingering:
                        await trio.sleep(self.config.servers.websocket.shutdown_delay)
                        self._set_stopping(True)
                    await self._drain(self._host)
                finally:
                    # What has no stream at the moment, such as a session between two polls, would not notice the end.
                    for mount in self._mounts:
                        mount.stop()
                nursery.cancel_scope.cancel()
        finally:
            if watch.limit:
                trio.lowlevel.remove_instrument(watch)
            if restore_collector is not None:
                restore_collector()
            shared.many = None
            if ring is not None:
                ring.close()
            shared.started(None)
            shared.deadlines.clear()
            self._running = False
            self._since = None
            self._ended.set()
        if unheard is not None:
            raise unheard

    def _make_host(self, before: Host | None) -> Host:
        web, options = self.config.servers.web, self.config.servers.websocket.server
        guard = self._limits.host_options()
        host = (GuardedHost if guard else Host)(
            self._limits.front(self),
            self._namespaces.shared.deadlines,
            limits=Limits(web.max_request_line, web.max_header_line, web.max_header_bytes, web.max_headers),
            header_timeout=web.header_timeout,
            body_timeout=web.body_timeout,
            keep_alive=web.keep_alive,
            max_length=options.max_length,
            max_fragments=options.max_fragments,
            max_control_frames=options.max_control_frames,
            flush_timeout=inf if options.overflow == "wait" else options.flush_timeout,
            close_timeout=options.close_timeout,
            compression=Compression(options.compression_threshold, options.compression_context_takeover)
            if options.compression
            else None,
            reactor=self._driver == "reactor",
            refused=self._namespaces.shared.counters.refused,
            certificate=self._certificate,
            handshake_timeout=web.handshake_timeout,
            late=self._count_late,
            **guard,
        )
        if before is not None:
            host.gone = before.gone
        return host

    async def _drain(self, host: Host) -> None:
        """Stop accepting, say goodbye to everybody, and wait a while for it to be heard."""
        host.stop()
        connections = [connection for namespace in self._namespaces for connection in namespace.connections.values()]
        stay_away = self.config.servers.websocket.destroy_clients_on_shutdown
        limit = trio.current_time() + self.config.servers.websocket.shutdown_grace
        # However short the grace is, everybody is told.
        for number, connection in enumerate(connections, 1):
            with contained(f"the goodbye to connection {connection.id}", about=connection):
                connection.close(*_GOODBYE, reconnect=not stay_away)
            if number % 500 == 0:
                await trio.lowlevel.checkpoint()
        for mount in self._mounts:
            mount.dismiss(*_GOODBYE)
        with trio.move_on_at(limit):
            await self._let_fetch(host)
            host.close_idle()
            await host.drained.wait()
            await self._namespaces.shared.idle()

    async def _let_fetch(self, host: Host) -> None:
        """Wait a moment for who polls and has just been answered: the next poll comes over a connection that idles."""
        with trio.move_on_after(_BETWEEN_POLLS):
            # An event instead would cost every poll something.
            while host.keeps_alive and any(mount.unfetched() for mount in self._mounts):  # noqa: ASYNC110
                await trio.sleep(_LOOK)
