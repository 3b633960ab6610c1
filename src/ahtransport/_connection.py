"""A connection as the application sees it, whatever carries it."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Literal

import trio

from ahtransport._barrier import contained
from ahtransport._errors import ConnectionClosed
from ahtransport._half import NOWHERE
from ahtransport._heartbeat import Watch
from ahtransport._http import parse_query
from ahtransport._incoming import EMPTY, Incoming
from ahtransport._primus import CLOSE
from ahtransport._rooms import NOTHING
from ahtransport.abc import Control, Seat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Set

    from ahtransport._application import Application
    from ahtransport._http import Headers, Request
    from ahtransport._session import Session
    from ahtransport.abc import Link, Transformer

__all__ = ["Connection"]

_NO_SEAT: Final = Seat()


class Connection(Incoming):
    """One client, from its handshake until it is gone.

    Iterate over it to get its messages, in order; the loop ends when the client is gone. Its methods may be called
    from any task of the server's loop; those that are not ``async`` never wait.

    Attributes:
        id: a UUID (version 4) as text.
        type: always ``"websocket"``, whatever carries it, as in ActionHero.
        headers: of the handshake.
        remote_ip: the client's address; ``"unix"`` of one that comes by a Unix socket.
        remote_port: the client's port; 0 where there is none, or a proxy does not tell.
        fingerprint: what identifies the browser: the cookie, else the query parameter of its name, else ``id``.
        connected_at: seconds since the epoch.
        auth: what a Socket.IO client sent along when it connected to the namespace; None for all others.
        data: free for the application.
    """

    __slots__ = ()

    type: Final = "websocket"

    def __init__(
        self,
        application: Application,
        request: Request,
        link: Link,
        transformer: Transformer,
        *,
        fingerprint: str | None,
        session_key: str | None,
        wire_id: str | None,
        primus: bool,
        farewell: bool,
        events: bool = False,
        seat: Seat = _NO_SEAT,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.headers: Headers = request.headers.packed()
        self._query_string = request.query_string
        self.remote_ip = request.remote_ip
        self.remote_port = request.remote_port
        self.fingerprint = fingerprint or self.id
        self.connected_at = time.time()
        self.data: dict[str, Any] = {}
        self._wire_id = wire_id or self.id
        self._session_key = session_key
        self._application = application
        self._link = link
        self._outlet = NOWHERE  # until it has been seen to take something
        self._transformer = transformer
        self._state: Literal["open", "closing", "closed"] = "open"
        self._close: tuple[int, str] = (1006, "")
        # Most connections are idle: what only a busy one needs is made when it is needed.
        self._rooms = NOTHING
        self._inbox = EMPTY
        self._jobs = EMPTY
        self._working = False
        self._paused = False
        self._garbled = False
        self._reader = None
        self._handed = None
        self._collecting = None
        self._writers = None
        self._congested = False
        self._sends = 0
        self._tasks = 0
        self._scopes = NOTHING
        self._short_scopes = NOTHING
        self._announced = False
        self._calls = None
        self._outgoing = None
        self._goodbye = None
        self._watch: Watch | None = None
        self._stale: Control | None = None
        #: Whether the client knows Primus' control messages; others would take them for the application's.
        self.speaks_primus = primus
        self._farewell = farewell
        self._survives_events = events
        self._seat = seat
        self.auth: Any = request.auth
        #: When the last sign of life came, seconds of trio's clock.
        self.last_seen = trio.current_time()
        #: Whether this client sends pings itself (Primus up to 6): then it is never pinged.
        self.pings_itself = False

    # -- what it is

    @property
    def transformer(self) -> str:
        """The transformer's name, such as ``"websockets"``."""
        return self._transformer.name

    @property
    def transport(self) -> str:
        """What carries it at the moment: ``"websocket"`` or ``"polling"``."""
        return self._link.transport

    @property
    def namespace(self) -> str:
        """The Socket.IO namespace; ``"/"`` for all other transformers."""
        return self._application.name

    @property
    def state(self) -> Literal["open", "closing", "closed"]:
        """Where it stands; once it is not ``"open"``, nothing can be sent and nothing arrives."""
        return self._state

    @property
    def rooms(self) -> Set[str]:
        """The names of the rooms it is in."""
        return frozenset(self._rooms)

    @property
    def session(self) -> Session:
        """The data that this browser's connections and web requests share; its own where nothing links them."""
        return self._application.sessions.session(self._session_key or f"connection:{self.id}")

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters of the handshake's URL; of a repeated name the first value counts."""
        return parse_query(self._query_string)

    def __repr__(self) -> str:
        return f"<Connection {self.id} {self._state} {self.transformer}/{self.transport} from {self.remote_ip}>"

    @property
    def is_paused(self) -> bool:
        """Whether reading has stopped because enough messages wait for the application."""
        return self._paused

    # -- tasks

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Start a task that ends with the connection. An exception in it closes this connection with 1011.

        Raises:
            ConnectionClosed: it is too late.
        """
        self._check_open()
        self._spawn(self._run_task, function, args)

    async def _run_task(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        scope = trio.CancelScope()
        if self._short_scopes is NOTHING:
            self._short_scopes = set()
        self._short_scopes.add(scope)
        if self._state != "open":
            scope.cancel()
        try:
            # The barrier is the outer one: a scope fails, too, when there is one inside of it that was never left.
            with contained(f"a task of connection {self.id}", self._is_farewell, self) as trouble, scope:
                await function(*args)
            if trouble.caught is not None:
                self._crashed(trouble.caught, logged=True)
        finally:
            self._short_scopes.discard(scope)
            self._task_done()

    def _handle(self, handler: Callable[[Connection], Awaitable[object]]) -> None:
        """Begin the handler, after all of ``on_open``: in vain when one of these, or the client, has ended it."""
        if self._state == "open":
            self._spawn(self._run_handler, handler)

    async def _run_handler(self, handler: Callable[[Connection], Awaitable[object]]) -> None:
        scope = trio.CancelScope()
        self._hold(scope)
        try:
            with contained(f"the handler of connection {self.id}", self._is_farewell, self) as trouble, scope:
                await handler(self)
            if trouble.caught is not None:
                self._crashed(trouble.caught, logged=True)
            else:
                self.close()
        finally:
            self._scopes.discard(scope)
            self._task_done()

    def _task_done(self) -> None:
        self._application.ended()
        self._tasks -= 1
        if not self._tasks and self._state != "open":
            self._announce()

    # -- life

    def watch(self, ping_interval: float, timeout: float) -> None:
        """Keep Primus' heartbeat; both in seconds, 0 for none."""
        self._watch = Watch(self, self._application.deadlines, ping_interval, timeout)

    def ping(self) -> None:
        """Send one of Primus' pings."""
        self._control_out(Control(f"primus::ping::{int(time.time() * 1000)}"))

    def expire(self) -> None:
        """End a connection that has been silent for too long; its client may come back."""
        self.close(1001, "no sign of life", reconnect=True)

    def stale_client(self, current: str) -> None:
        """Have the client told, once it is open, that its file is of other options or another version."""
        self._stale = Control(f"primus::stale::{current}")

    def opened(self) -> None:
        """Tell the application (for transformers): the last step of a handshake."""
        application = self._application
        if self._stale is not None:
            self._control_out(self._stale)
        self._tasks += 1  # on_close comes after the last of these, though the first may close
        for function, inline in application.on_open:
            self._call(function, (self,), inline, None, ordered=False)
        if application.handler is not None:
            self._call(self._handle, (application.handler,), True, None, ordered=False)
        self._tasks -= 1
        if not self._tasks and self._state != "open":
            self._announce()

    def alive(self, now: float) -> None:
        """Note a sign of life (for transformers); ``now`` is trio's clock."""
        self.last_seen = now

    def writable(self) -> None:
        """Let those go on who wait in :meth:`send` (for transformers)."""
        self._congested = False
        if self._writers is not None:
            self._writers.unpark_all()

    def close(self, code: int = 1000, reason: str = "", reconnect: bool = False) -> None:
        """Close the connection; harmless when it is closed already. Returns at once.

        Args:
            code: WebSocket close code, 1000 to 4999 (RFC 6455 section 7.4).
            reason: at most 123 bytes of UTF-8.
            reconnect: whether a Primus client may come back by itself; else it is told not to.

        Raises:
            ValueError: a code that may not be sent, or a reason that is too long.
        """
        if not 1000 <= code <= 4999 or code in (1004, 1005, 1006) or 1015 <= code < 3000:
            raise ValueError(f"{code} is not a close code that may be sent")
        if len(reason.encode()) > 123:
            raise ValueError("the reason of a close has at most 123 bytes")
        if self._state != "open":
            return
        if self._outgoing:
            self._goodbye = code, reason, reconnect  # what was sent before goes first
        else:
            self._hang_up(code, reason, reconnect)
        self._end(code, reason)

    def _hang_up(self, code: int, reason: str, reconnect: bool) -> None:
        if not reconnect and self._farewell:
            # Whoever closes a connection need not know its parser, which may be anybody's.
            with contained(f"the goodbye to connection {self.id}", about=self):
                for payload in self._transformer.encode(CLOSE, self._link.wire):
                    self._link.write(payload)
        self._link.close(code, reason)

    def closed(self, code: int, reason: str) -> None:
        """The link is gone (for transformers)."""
        self._end(code, reason)
        self._state = "closed"

    def _end(self, code: int, reason: str) -> None:
        """Take leave: from here on nothing arrives and nothing can be sent."""
        if self._state != "open":
            return
        self._state = "closing"
        self._outlet = NOWHERE
        self._close = (code, reason)
        application = self._application
        application.forget(self)
        self._seat.leave()
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        if self._calls is not None:
            self._calls.fail(ConnectionClosed(code, reason))
        if self._writers is not None:
            self._writers.unpark_all()
        self._end_reader()
        for scope in tuple(self._short_scopes):
            scope.cancel()
        if not self._tasks:
            self._announce()
        elif not application.shared.stopping:  # then they have the grace, however long or short it is
            # Handlers see the end for themselves and may tidy up; one that does not notice is ended.
            application.deadlines.at(trio.current_time() + application.options.close_timeout, self._end_tasks)

    def _end_tasks(self) -> None:
        for scope in tuple(self._scopes):
            scope.cancel()

    def _announce(self) -> None:
        """Call ``on_close``, exactly once, when nothing else of this connection runs any more."""
        if not self._announced:
            self._announced = True
            self._application.announce_close(self, *self._close)

    def _crashed(self, error: BaseException, *, logged: bool = False) -> None:
        """A handler has failed: this connection alone pays for it."""
        if self._is_farewell(error):
            return
        self._drop_jobs()  # whoever has failed is not asked again
        self._application.failed(self, error, logged=logged)
        self.close(1011, "internal error", reconnect=True)
