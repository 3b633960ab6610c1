"""A connection as the application sees it, whatever carries it."""

from __future__ import annotations

import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import trio

from ahtransport._barrier import contained
from ahtransport._calls import Calls
from ahtransport._errors import ConnectionClosed
from ahtransport._heartbeat import Watch
from ahtransport._primus import CLOSE, as_event
from ahtransport.abc import Ack, Control, Event, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence, Set

    from ahtransport._application import Application
    from ahtransport._http import Headers, Request
    from ahtransport._session import Session
    from ahtransport.abc import Link, Payload, Transformer

__all__ = ["Connection"]

_YIELD_EVERY: Final = 32


class Connection:
    """One client, from its handshake until it is gone.

    Iterate over it to get its messages, in order; the loop ends when the client is gone. Its methods may be called
    from any task of the server's loop; those that are not ``async`` never wait.

    Attributes:
        id: a UUID (version 4) as text.
        type: always ``"websocket"``, whatever carries it, as in ActionHero.
        headers: of the handshake.
        query: the parameters of the handshake's URL.
        remote_ip: the client's address.
        remote_port: the client's port; 0 where a proxy does not tell.
        fingerprint: what identifies the browser: the cookie, else the query parameter of its name, else ``id``.
        connected_at: seconds since the epoch.
        data: free for the application.
    """

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
    ) -> None:
        self.id = str(uuid.uuid4())
        self.headers: Headers = request.headers
        self.query: Mapping[str, str] = request.query
        self.remote_ip = request.remote_ip
        self.remote_port = request.remote_port
        self.fingerprint = fingerprint or self.id
        self.connected_at = time.time()
        self.data: dict[str, Any] = {}
        self._wire_id = wire_id or self.id
        self._session_key = session_key or f"connection:{self.id}"
        self._application = application
        self._link = link
        self._transformer = transformer
        self._state: Literal["open", "closing", "closed"] = "open"
        self._close: tuple[int, str] = (1006, "")
        self._rooms: set[str] = set()
        self._inbox: deque[Any] = deque()
        self._jobs: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._working = False
        self._paused = False
        self._reader: trio.lowlevel.Task | None = None
        self._writers = trio.lowlevel.ParkingLot()
        self._sends = 0
        self._tasks = 0
        self._scopes: set[trio.CancelScope] = set()
        self._short_scopes: set[trio.CancelScope] = set()
        self._announced = False
        self._calls: Calls | None = None
        self._outgoing: deque[tuple[Message | Event, trio.Event]] | None = None
        self._watch: Watch | None = None
        #: Whether the client knows Primus' control messages; others would take them for the application's.
        self.speaks_primus = primus
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
        return self._application.sessions.session(self._session_key)

    def __repr__(self) -> str:
        return f"<Connection {self.id} {self._state} {self.transformer}/{self.transport} from {self.remote_ip}>"

    @property
    def is_paused(self) -> bool:
        """Whether reading has stopped because enough messages wait for the application."""
        return self._paused

    # -- messages in

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        inbox = self._inbox
        if inbox:
            await trio.lowlevel.checkpoint_if_cancelled()
        while not inbox:
            if self._state != "open" and not self._working:
                await trio.lowlevel.checkpoint()
                raise StopAsyncIteration
            if self._reader is not None:
                raise trio.BusyResourceError("another task is waiting for this connection's messages")
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
        message = inbox.popleft()
        self._relieve()
        return message

    def _stop_waiting(self, _: Any) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader)

    def message(self, data: str | bytes) -> None:
        """Take one message in Primus' format (for transformers)."""
        if self._state != "open":
            return
        try:
            packet = self._application.codec.decode(data)
        except ValueError as error:
            self._application.undecodable(self, error)
            return
        if isinstance(packet, Control):
            self._control(packet.text)
        elif isinstance(packet, Message):
            if self._application.has_events or self._calls is not None:
                event = as_event(packet.data)
                if isinstance(event, Ack) or (event is not None and self._application.event_handler(event.name)):
                    self.deliver(event)
                    return
            self.deliver(packet)

    def deliver(self, packet: Message | Event | Ack) -> None:
        """Take one decoded packet (for transformers)."""
        if self._state != "open":
            return
        if isinstance(packet, Ack):
            if self._calls is not None:
                self._calls.answer(packet.ack, packet.args)
            return
        transforms = self._application.incoming
        if transforms and transforms.asynchronous:
            self._push(self._transform_in, packet)
        elif transforms:
            try:
                changed = transforms.run(packet, self)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:
                self._crashed(error)
                return
            if changed is not None:
                self._dispatch(changed)
        else:
            self._dispatch(packet)

    async def _transform_in(self, packet: Message | Event) -> None:
        changed = await self._application.incoming.run_async(packet, self)
        if changed is not None:
            self._dispatch(changed, ordered=True)

    def _dispatch(self, packet: Message | Event, *, ordered: bool = False) -> None:
        """Give a packet to the application: to its handler's loop, or to its functions.

        ``ordered`` says that this is the worker, so everything before it has been handled.
        """
        application = self._application
        if isinstance(packet, Event):
            handler = application.event_handler(packet.name)
            if handler is not None:
                self._call(handler.function, (self, *handler.arguments(packet)), handler.inline, packet.ack, ordered)
        elif application.handler is not None:
            self._inbox.append(packet.data)
            self._wake_reader()
            self._strain()
        else:
            for function, inline in application.on_message:
                self._call(function, (self, packet.data), inline, None, ordered)

    def _call(
        self, function: Callable[..., Any], args: tuple[Any, ...], inline: bool, ack: int | None, ordered: bool
    ) -> None:
        """Call a function of the application now, or have the worker do it when it waits or must keep its place."""
        if inline and (ordered or not self._working):
            try:
                result = function(*args)
                if ack is not None:
                    self._answer(ack, result)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:
                self._crashed(error)
        else:
            self._push(self._run_call, function, args, ack)

    async def _run_call(self, function: Callable[..., Any], args: tuple[Any, ...], ack: int | None) -> None:
        result = function(*args)
        if hasattr(result, "__await__"):
            result = await result
        if ack is not None:
            self._answer(ack, result)

    def _answer(self, ack: int, result: Any) -> None:
        if self._state == "open":
            self._put(Ack(ack, result if isinstance(result, tuple) else () if result is None else (result,)))

    # -- the worker: born with the first job, gone when there is none

    def _push(self, function: Callable[..., Any], *args: Any) -> None:
        self._jobs.append((function, args))
        if not self._working:
            self._working = True
            self._tasks += 1
            self._application.spawn(self._work)
        self._strain()

    async def _work(self) -> None:
        scope = trio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                while self._jobs:
                    function, args = self._jobs.popleft()
                    self._relieve()
                    with contained(f"the handler of connection {self.id}") as trouble:
                        result = function(*args)
                        if result is not None:
                            await result
                    if trouble.caught is not None:
                        self._crashed(trouble.caught, logged=True)
        finally:
            self._working = False
            self._jobs.clear()
            self._scopes.discard(scope)
            self._wake_reader()
            self._task_done()

    def _strain(self) -> None:
        """Stop reading from a peer of whose messages enough are waiting."""
        if not self._paused and len(self._inbox) + len(self._jobs) >= self._application.options.inbox:
            self._paused = True
            self._link.pause()

    def _relieve(self) -> None:
        if self._paused and len(self._inbox) + len(self._jobs) <= self._application.options.inbox // 2:
            self._paused = False
            self._link.resume()

    # -- messages out

    async def send(self, message: Any) -> None:
        """Send one message; waits while more than ``high_water`` bytes wait for a slow client.

        A call that is cancelled while it waits sends nothing.

        Raises:
            ConnectionClosed: the client is gone.
            TypeError, ValueError: the parser can't carry the message.
        """
        await self._send(Message(message))

    async def _send(self, packet: Message | Event) -> None:
        await self._until_writable()
        written = self._put(packet)
        if written is not None:
            await written.wait()

    async def _until_writable(self) -> None:
        self._sends += 1
        if self._sends % _YIELD_EVERY:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        self._check_open()
        options = self._application.options
        while self._link.buffered > options.high_water and options.overflow != "drop":
            await self._writers.park()
            self._check_open()

    def send_nowait(self, message: Any) -> None:
        """Send one message at once.

        Raises:
            trio.WouldBlock: more than ``high_water`` bytes wait for a slow client.
            ConnectionClosed: the client is gone.
            TypeError, ValueError: the parser can't carry the message.
        """
        self._check_open()
        if self._link.buffered > self._application.options.high_water:
            raise trio.WouldBlock
        self._put(Message(message))

    def emit(self, event: str, *args: Any) -> None:
        """Send an event with any number of arguments, under the same rules as :meth:`send_nowait`.

        Raises:
            trio.WouldBlock, ConnectionClosed, TypeError, ValueError: as there.
        """
        self._check_open()
        if self._link.buffered > self._application.options.high_water:
            raise trio.WouldBlock
        self._put(Event(event, args))

    async def call(self, event: str, *args: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 -- a contract
        """Send an event and wait for its acknowledgement.

        Args:
            timeout: seconds; None takes ``servers.websocket.server.call_timeout``.

        Returns:
            what the client answered with: nothing gives None, one value itself, several a list.

        Raises:
            trio.TooSlowError: no answer came in time.
            trio.WouldBlock: ``max_calls`` calls are waiting already.
            ConnectionClosed: the client is gone, or went while this waited.
            TypeError, ValueError: the parser can't carry the arguments.
        """
        if self._calls is None:
            self._calls = Calls(self._application.options.max_calls)
        await self._until_writable()
        with self._calls.pending() as slot:
            written = self._put(Event(event, args, slot.number))
            if written is not None:
                await written.wait()
            with trio.fail_after(self._application.options.call_timeout if timeout is None else timeout):
                return await slot.wait()

    def _check_open(self) -> None:
        if self._state != "open":
            raise ConnectionClosed(*self._close)

    def _put(self, packet: Message | Event | Ack) -> trio.Event | None:
        """Transform, encode and write; gives an event to wait for when a transform has to wait first."""
        transforms = self._application.outgoing
        if transforms and not isinstance(packet, Ack):
            if transforms.asynchronous:
                return self._put_later(packet)
            changed = transforms.run(packet, self)
            if changed is None:
                return None
            packet = changed
        self.write(self._transformer.encode(packet, self._link.wire))
        return None

    def _put_later(self, packet: Message | Event) -> trio.Event:
        """Let a task of its own run the async transforms, one message after the other."""
        done = trio.Event()
        if self._outgoing is None:
            self._outgoing = deque()
            self._tasks += 1
            self._application.spawn(self._transform_out)
        self._outgoing.append((packet, done))
        if len(self._outgoing) > self._application.options.max_backlog_messages:
            self._overflow()
        return done

    async def _transform_out(self) -> None:
        queue = self._outgoing
        scope = trio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                while queue:
                    packet, done = queue[0]
                    with contained(f"an outgoing transform of connection {self.id}") as trouble:
                        changed = await self._application.outgoing.run_async(packet, self)
                        if changed is not None and self._state == "open":
                            self.write(self._transformer.encode(changed, self._link.wire))
                    if trouble.caught is not None:
                        self._crashed(trouble.caught, logged=True)
                    queue.popleft()
                    done.set()
        finally:
            for _, done in queue or ():
                done.set()
            self._outgoing = None
            self._scopes.discard(scope)
            self._task_done()

    def send_soon(self, packet: Message | Event) -> None:
        """Send, whatever waits: the overflow policy is the only limit (for broadcasts)."""
        if self._state == "open":
            try:
                self._put(packet)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:
                self._crashed(error)

    @property
    def wire(self) -> tuple[Transformer, str]:
        """Who encodes for it, and how: connections of which this is the same share what is encoded."""
        return self._transformer, self._link.wire

    def write(self, payloads: Sequence[Payload]) -> None:
        """Write what is encoded already, all of it together; over the limit the policy decides."""
        link = self._link
        if link.buffered and self._is_over(payloads):
            if self._application.options.overflow == "drop":
                self._application.dropped += len(payloads)
            else:
                self._overflow()
            return
        for payload in payloads:
            link.write(payload)

    def _is_over(self, payloads: Sequence[Payload]) -> bool:
        options = self._application.options
        return (
            self._link.buffered + sum(map(len, payloads)) > options.max_backlog
            or self._link.queued + len(payloads) > options.max_backlog_messages
        )

    def _overflow(self) -> None:
        reason = "the client does not read"
        self._link.overflow(1013, reason)
        self._end(1013, reason)

    # -- tasks

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Start a task that ends with the connection. An exception in it closes this connection with 1011.

        Raises:
            ConnectionClosed: it is too late.
        """
        self._check_open()
        self._tasks += 1
        self._application.spawn(self._run_task, function, args)

    async def _run_task(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        scope = trio.CancelScope()
        self._short_scopes.add(scope)
        if self._state != "open":
            scope.cancel()
        try:
            with scope, contained(f"a task of connection {self.id}") as trouble:
                await function(*args)
            if trouble.caught is not None:
                self._crashed(trouble.caught, logged=True)
        finally:
            self._short_scopes.discard(scope)
            self._task_done()

    async def _run_handler(self, handler: Callable[[Connection], Awaitable[object]]) -> None:
        scope = trio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope, contained(f"the handler of connection {self.id}") as trouble:
                await handler(self)
            if trouble.caught is not None:
                self._crashed(trouble.caught, logged=True)
            else:
                self.close()
        finally:
            self._scopes.discard(scope)
            self._task_done()

    def _task_done(self) -> None:
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

    def opened(self) -> None:
        """Tell the application (for transformers): the last step of a handshake."""
        application = self._application
        for function, inline in application.on_open:
            self._call(function, (self,), inline, None, ordered=False)
        if application.handler is not None and self._state == "open":
            self._tasks += 1
            application.spawn(self._run_handler, application.handler)

    def alive(self, now: float) -> None:
        """Note a sign of life (for transformers); ``now`` is trio's clock."""
        self.last_seen = now

    def writable(self) -> None:
        """Let those go on who wait in :meth:`send` (for transformers)."""
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
        if not reconnect and self.speaks_primus:
            for payload in self._transformer.encode(CLOSE, self._link.wire):
                self._link.write(payload)
        self._link.close(code, reason)
        self._end(code, reason)

    def closed(self, code: int, reason: str) -> None:
        """The link is gone (for transformers)."""
        self._end(code, reason)
        self._state = "closed"

    def _end(self, code: int, reason: str) -> None:
        """Take leave: from here on nothing arrives and nothing can be sent."""
        if self._state != "open":
            return
        self._state = "closing"
        self._close = (code, reason)
        application = self._application
        application.forget(self)
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        if self._calls is not None:
            self._calls.fail(ConnectionClosed(code, reason))
        self._writers.unpark_all()
        self._wake_reader()
        for scope in tuple(self._short_scopes):
            scope.cancel()
        if not self._tasks:
            self._announce()
        else:
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
        self._application.failed(self, error, logged=logged)
        self.close(1011, "internal error", reconnect=True)

    def _control(self, text: str) -> None:
        """Answer one of Primus' control messages; unknown ones are ignored."""
        if text.startswith("primus::ping::"):
            self.pings_itself = True
            self._control_out(Control("primus::pong::" + text[14:]))
        elif text.startswith("primus::id::"):
            self._control_out(Control(f"primus::id::{self._wire_id}"))

    def _control_out(self, packet: Control) -> None:
        self.write(self._transformer.encode(packet, self._link.wire))
