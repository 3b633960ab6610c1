"""The server with actions and rooms: what ActionHero is in Node."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

import trio

from ahtransport._actions.chat import Chat
from ahtransport._actions.declare import Actions, declare
from ahtransport._actions.pace import PacedVerbs
from ahtransport._actions.runner import Hook, Outcome, Runner, Tally
from ahtransport._actions.verbs import Verbs
from ahtransport._actions.web import Api
from ahtransport._errors import ConfigError, ConnectionClosed, RoomError
from ahtransport._server import Server

if TYPE_CHECKING:
    import os

    from ahtransport._actions.declare import Action
    from ahtransport._config import Config
    from ahtransport._connection import Connection
    from ahtransport._session import SessionStore

__all__ = ["ActionServer", "LocalConnection"]

F = TypeVar("F", bound=Callable[..., Any])


class LocalConnection:
    """What an action gets as its connection when the program itself runs it and names no other.

    Attributes:
        type: "local".
        id, fingerprint: a new UUID.
        session: one of its own.
        data: free for middleware and actions.
    """

    type = "local"
    transport = "local"
    transformer = "local"
    state = "open"
    remote_ip = "127.0.0.1"
    remote_port = 0

    def __init__(self, sessions: SessionStore) -> None:
        self.id = self.fingerprint = str(uuid.uuid4())
        self.session = sessions.session(f"local:{self.id}")
        self.data: dict[str, Any] = {}
        self.rooms: frozenset[str] = frozenset()
        self.headers: Mapping[str, str] = {}
        self.query: Mapping[str, str] = {}


class ActionServer(Server):
    """A server that speaks ActionHero's protocol: actions, verbs, rooms, files.

    Takes what :class:`Server` takes, but no handler: messages are verbs here.

    Attributes:
        actions: the declared actions.
        chat: rooms as people see them, with their middleware.
        runner: runs the actions.
    """

    def __init__(
        self,
        *,
        config: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
        sessions: SessionStore | None = None,
        **options: Any,
    ) -> None:
        super().__init__(config=config, sessions=sessions, **options)

    def prepare(self) -> None:
        """As :meth:`Server.prepare`."""
        super().prepare()
        self.actions = Actions()
        self.chat = Chat(self)
        self.runner = Runner(self.actions)
        self.tallies: dict[Connection, Tally] = {}
        self._api: Api | None = None
        self._starting_rooms: set[str] = set()
        self._configured()
        self.on_open(self._opened)
        self.on_message(self._received)
        self.on_close(self._closed)

    def _set_stopping(self, stopping: bool) -> None:
        super()._set_stopping(stopping)
        self.runner.draining = stopping

    #: What is over the rate is answered with an error, by the verbs.
    _paces_messages: ClassVar[bool] = False

    async def serve(self, *, task_status: trio.TaskStatus[list[tuple[str, int]]] = trio.TASK_STATUS_IGNORED) -> None:
        """As :meth:`Server.serve`.

        Raises:
            LookupError: an action asks for a middleware that does not exist.
        """
        self.runner.check()
        await super().serve(task_status=task_status)

    def configure(self, **options: Any) -> None:
        """As :meth:`Server.configure`."""
        limits = self.runner.limit, self.runner.timeout
        try:
            super().configure(**options)
        except BaseException:
            self.runner.limit, self.runner.timeout = limits
            raise

    def _outdated_rooms(self) -> Collection[str]:
        return self._starting_rooms - {*self.config.general.starting_chat_rooms}

    def _configured(self) -> None:
        super()._configured()
        general = self.config.general
        for room in general.starting_chat_rooms:
            try:
                self.rooms.add(room)
            except RoomError as error:
                where = f"{self.config.origin('general.starting_chat_rooms')}: general.starting_chat_rooms: {room!r}"
                raise ConfigError(f"{where}: {error} (servers.websocket.server.max_name)") from error
        self._starting_rooms = {*general.starting_chat_rooms}
        self.runner.limit = general.simultaneous_actions
        self.runner.timeout = general.action_timeout
        limits = self.config.servers.limits
        self._verbs = PacedVerbs(self, limits) if PacedVerbs.wanted(limits) else Verbs(self)
        self._place_api(self.config.servers.web.api_path)

    def _place_api(self, path: str) -> None:
        """Have the actions at a path, and no longer where they were. What the application has put there stays."""
        before = self._api
        if before is None or self.unroute(before.path, before) or before.path != path:
            self._api = Api(self, path)
            self.route(path, self._api)

    def client_actions(self) -> Iterable[Action]:
        """Give the declared actions, whose types the generated client's declarations tell."""
        return self.actions

    def action_counts(self) -> tuple[int, int, int]:
        """Give how many actions were asked for and have failed in total, and how many run now."""
        return self.runner.total, self.runner.failed, self.runner.pending

    # Declaring

    @overload
    def action(self, function: F, /) -> F: ...

    @overload
    def action(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        version: int | float | str = 1,
        middleware: Iterable[str] = (),
        output_example: Any = None,
        blocked_connection_types: Iterable[str] = (),
        timeout: float | None = None,
        documented: bool = True,
    ) -> Callable[[F], F]: ...

    def action(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        version: int | float | str = 1,
        middleware: Iterable[str] = (),
        output_example: Any = None,
        blocked_connection_types: Iterable[str] = (),
        timeout: float | None = None,
        documented: bool = True,
    ) -> Any:
        """Declare an action, as ``@server.action`` or ``@server.action(version=2, …)``.

        The function's first parameter is the connection, the others are its inputs, converted to their types. It
        returns its outputs as a mapping (a dataclass and a msgspec Struct are fine, too), or None.

        Args:
            name: instead of the function's own.
            description: instead of the docstring.
            version: of several versions of one action the newest runs unless ``apiVersion`` picks another.
            middleware: names of middleware that this action wants besides that which is everywhere.
            output_example: shown by the documentation.
            blocked_connection_types: such as ``["web"]``: refuses these.
            timeout: seconds that it may take; 0: any; None: ``general.action_timeout``.
            documented: False hides it from the documentation.

        Raises:
            TypeError: the signature has something that no message can carry.
            ValueError: there is one of this name and version, or an option makes no sense.
        """
        here = inspect.currentframe()
        frame = here.f_back if here is not None else None

        def add(function: F) -> F:
            self.actions.add(
                declare(
                    function,
                    name=name,
                    description=description,
                    version=version,
                    middleware=middleware,
                    output_example=output_example,
                    blocked_connection_types=blocked_connection_types,
                    timeout=timeout,
                    documented=documented,
                    frame=frame,
                )
            )
            return function

        return add if function is None else add(function)

    def action_middleware(
        self,
        name: str,
        *,
        before: Hook | None = None,
        after: Hook | None = None,
        priority: int = 100,
        everywhere: bool = True,
    ) -> None:
        """Add something around actions. Its functions get the :class:`ActionCall` and may be async.

        Args:
            name: under which actions ask for it.
            before: called before the parameters are read, which it may change; raising an :class:`ActionError` refuses.
            after: called when the action has succeeded, with ``call.response`` to add to or to change.
            priority: lower ones come first.
            everywhere: False: only around actions that ask for it by name.

        Raises:
            ValueError: there is one of this name.
        """
        self.runner.use(name, before=before, after=after, priority=priority, everywhere=everywhere)

    # In-process

    async def run_action(
        self, name: str, params: Mapping[str, Any] | None = None, connection: Any = None
    ) -> dict[str, Any]:
        """Run an action as a client would, without a network between.

        Args:
            name: of the action.
            params: its parameters, unconverted; ``apiVersion`` picks a version.
            connection: for whom; None: a new :class:`LocalConnection`.

        Raises:
            ActionError: what a client would get as ``error``: an unknown action, a missing parameter …
            Exception: whatever the action raised, where a client would only learn of an internal error.
        """
        who: Any = LocalConnection(self.sessions) if connection is None else connection
        tally = self.tallies.get(who, Tally())
        call = self.runner.accept(who, tally, {**(params or {}), "action": name})
        outcome = call if isinstance(call, Outcome) else await self.runner.run(call, tally, log=False)
        if outcome.cause is not None:
            raise outcome.cause
        return dict(outcome.outputs)

    # Connections

    def _opened(self, connection: Connection) -> None:
        self.tallies[connection] = Tally()
        welcome = self.config.general.welcome_message
        if welcome:
            with suppress(ConnectionClosed):
                connection.send_nowait({"welcome": welcome, "context": "api"})

    def _received(self, connection: Connection, message: Any) -> Awaitable[None] | None:
        # What a client asked before it left is not worth doing any more.
        if connection.state != "open":
            return None
        return self._verbs.answer(connection, self.tallies[connection], message)

    async def _closed(self, connection: Connection, code: int, reason: str) -> None:
        self.tallies.pop(connection, None)
        self._verbs.forget(connection)
        await self.chat.gone(connection)
