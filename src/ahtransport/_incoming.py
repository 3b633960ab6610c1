"""A connection's messages in: from the link to the application, in order and never more than it can take."""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Self

import trio
from outcome import Error

from ahtransport._barrier import contained
from ahtransport._outgoing import Outgoing
from ahtransport._primus import CONTROLS, as_event
from ahtransport._sleep import is_asleep, sleep, wake
from ahtransport._transforms import close_unawaited
from ahtransport.abc import Ack, Control, Event, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ahtransport._application import EventHandler

__all__ = ["EMPTY", "Incoming"]

_STINT: Final = 0.001  # seconds: what a task sends is collected for no longer than that, and one message more
#: Stands for a queue that nothing has been put into yet.
EMPTY: Final[Any] = ()


class Incoming(Outgoing):
    """The receiving half of a connection.

    Messages wait in an inbox for whoever iterates over the connection, or as jobs for a worker that lives while there
    is something to do. When enough are waiting, the link is paused, and TCP lets the peer feel it.
    """

    __slots__ = ()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while True:
            if self._inbox:
                await trio.lowlevel.checkpoint_if_cancelled()
                if self._inbox:
                    return self._take()
            if self._collecting is not None:
                self._let_go()
            if self._state != "open" and not self._working:
                await trio.lowlevel.checkpoint()
                raise StopAsyncIteration
            if self._reader is None:
                break
            if is_asleep(self._reader, self):
                raise trio.BusyResourceError("another task is waiting for this connection's messages")
            await trio.lowlevel.checkpoint()  # the other one has a message, or is cancelled: it is about to go
        self._reader = task = trio.lowlevel.current_task()
        try:
            await sleep(task, self)
        finally:
            self._reader = None
        message, self._handed = self._handed, None
        if self._inbox:
            self._collect()
        return message

    def _take(self) -> Any:
        """Take the first message that waits."""
        message = self._inbox.popleft()
        if self._inbox:
            if self._collecting is None:
                self._collect()
            elif perf_counter() > self._collecting_until:
                self._let_go()
        if self._paused:
            self._relieve()
        return message

    def _collect(self) -> None:
        """While messages wait for the task that iterates, have what it sends leave in one piece: when none waits any
        more, when the task waits for anything else, or when it takes its time."""
        outlet = self._link.outlet
        if outlet is not None:
            self._collecting = outlet
            self._collecting_until = perf_counter() + _STINT
            outlet.cork()
            outlet.next(self._let_go)

    def _let_go(self) -> None:
        outlet, self._collecting = self._collecting, None
        if outlet is not None:
            outlet.uncork()

    def _end_reader(self) -> None:
        """Tell who waits for a message that none comes, once that is so."""
        reader = self._reader
        if reader is not None and is_asleep(reader, self) and self._state != "open" and not self._working:
            trio.lowlevel.reschedule(reader, Error(StopAsyncIteration()))

    def message(self, data: str | bytes) -> None:
        """Take one message in Primus' format (for transformers)."""
        if self._state != "open":
            return
        application = self._application
        try:
            value = application.parse(data)
        except Exception as error:  # a user's parser may raise whatever it likes
            application.undecodable(self._whole, error, first=not self._garbled)
            self._garbled = True
            return
        if type(value) is str and value[:8] == "primus::" and value.startswith(CONTROLS):
            self._control(value)
        elif type(value) is dict and (application.has_events or self._calls is not None):
            event = as_event(value)
            if isinstance(event, Ack) or (event is not None and application.event_handler(event.name)):
                self.deliver(event)
            else:
                self.deliver(Message(value))
        elif application.incoming.functions:
            self.deliver(Message(value))
        else:
            self._hand_over(value)

    def deliver_event(self, name: str, args: list[Any], ack: int | None = None) -> None:
        """Take one event of a protocol whose messages are events (for transformers)."""
        application = self._application
        if name != "message" or application.handles(name):
            self.deliver(Event(name, args, ack))
            return
        # Who iterates has no way to acknowledge; as in npm, an ack that nobody gives does not come.
        value = args[0] if len(args) == 1 else args
        if application.incoming.functions:
            self.deliver(Message(value))
        elif self._state == "open":
            self._hand_over(value)

    def deliver(self, packet: Message | Event | Ack) -> None:
        """Take one decoded packet (for transformers)."""
        if self._state != "open":
            return
        if isinstance(packet, Ack):
            if self._calls is not None:
                self._calls.answer(packet.ack, packet.args)
            return
        transforms = self._application.incoming
        if not transforms.functions:
            self._dispatch(packet)
        elif transforms.asynchronous:
            self._push(self._transform_in, packet)
        else:
            changed = self._changed(transforms, packet)
            if changed is not None and self._state == "open":  # a transform may have closed it
                self._dispatch(changed)

    async def _transform_in(self, packet: Message | Event) -> None:
        changed = await self._application.incoming.run_async(packet, self._whole)
        if changed is None:
            return
        behind, self._jobs = self._jobs, deque()  # what this one leaves to be done comes before what waits already
        try:
            self._dispatch(changed, ordered=True)
        finally:
            if self._jobs is EMPTY:  # it has failed, and nothing is to be done any more
                self._jobs = behind
                self._drop_jobs()
            else:
                self._jobs.extend(behind)

    def _dispatch(self, packet: Message | Event, *, ordered: bool = False) -> None:
        """Give a packet to the application: to its handler's loop, or to its functions.

        ``ordered`` says that this is the worker, so everything before it has been handled.
        """
        application = self._application
        if isinstance(packet, Event):
            handler = application.event_handler(packet.name)
            if handler is not None:
                args = (self, *handler.arguments(packet))
                if self._survives_events:
                    self._call(self._try_event, (handler, args, packet.ack), handler.inline, None, ordered)
                else:
                    self._call(handler.function, args, handler.inline, packet.ack, ordered)
        else:
            self._hand_over(packet.data, ordered=ordered)

    def _hand_over(self, value: Any, *, ordered: bool = False) -> None:
        """Give a plain message to the application."""
        application = self._application
        if application.handler is not None:
            reader = self._reader
            if reader is not None and is_asleep(reader, self):  # so nothing is before this one
                self._handed = value
                wake(reader)
                return
            if self._inbox is EMPTY:
                self._inbox = deque()
            self._inbox.append(value)
            if len(self._inbox) >= application.options.inbox:
                self._strain()
            return
        for function, inline in application.on_message:
            if self._state != "open" and not ordered:
                return  # the function before has closed it
            if inline and (not self._working or (ordered and not self._jobs)):
                try:
                    result = function(self, value)
                    if result is not None and hasattr(result, "__await__"):
                        self._push(self._finish, result, None)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    if not self._is_farewell(error):
                        self._crashed(error)
                        return  # and so the functions after it are not asked either
            else:
                self._push(self._run_call, function, (self, value), None)

    def _call(
        self, function: Callable[..., Any], args: tuple[Any, ...], inline: bool, ack: int | None, ordered: bool
    ) -> None:
        """Call a function of the application now, or have the worker do it when it waits or must keep its place."""
        if inline and (ordered or not self._working):
            try:
                result = function(*args)
                if result is not None and hasattr(result, "__await__"):
                    self._push(self._finish, result, ack)
                elif ack is not None:
                    self._answer(ack, result)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._crashed(error)
        else:
            self._push(self._run_call, function, args, ack)

    def _try_event(self, handler: EventHandler, args: tuple[Any, ...], ack: int | None) -> Any:
        """Call an event's function where its failure costs the acknowledgement, and nothing else."""
        if not handler.inline:
            return self._try_later(self._run_call, handler.function, args, ack)
        try:
            result = handler.function(*args)
            if result is not None and hasattr(result, "__await__"):
                return self._try_later(self._finish, result, ack)
            if ack is not None:
                self._answer(ack, result)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if not self._is_farewell(error):
                self._application.failed(self._whole, error, logged=False)
        return None

    async def _try_later(self, step: Callable[..., Awaitable[None]], *args: Any) -> None:
        what = f"the handler of an event of connection {self.id}"
        with contained(what, self._is_farewell, self) as trouble:
            await step(*args)
        if trouble.caught is not None:
            self._application.failed(self._whole, trouble.caught, logged=True)

    async def _run_call(self, function: Callable[..., Any], args: tuple[Any, ...], ack: int | None) -> None:
        await self._finish(function(*args), ack)

    async def _finish(self, result: Any, ack: int | None) -> None:
        """Await what a function has given, if it is to be awaited, and acknowledge with what comes of it."""
        if hasattr(result, "__await__"):
            result = await result
        if ack is not None:
            self._answer(ack, result)

    def _answer(self, ack: int, result: Any) -> None:
        if self._state == "open":
            self._put(Ack(ack, result if isinstance(result, tuple) else () if result is None else (result,)))

    # -- the worker: born with the first job, gone when there is none

    def _push(self, function: Callable[..., Any], *args: Any) -> None:
        if self._jobs is EMPTY:
            self._jobs = deque()
        self._jobs.append((function, args))
        if not self._working:
            self._working = True
            self._spawn(self._work)
        self._strain()

    async def _work(self) -> None:
        scope = trio.CancelScope()
        self._hold(scope)
        try:
            with scope:
                while self._jobs:
                    function, args = self._jobs.popleft()
                    self._relieve()
                    with contained(f"the handler of connection {self.id}", self._is_farewell, self) as trouble:
                        result = function(*args)
                        if result is not None:
                            await result
                    if trouble.caught is not None:
                        self._crashed(trouble.caught, logged=True)
        except RuntimeError as error:  # the scope's: a handler has entered another one, and never left it
            self._crashed(error)
        finally:
            self._working = False
            self._drop_jobs()
            self._scopes.discard(scope)
            self._end_reader()
            self._task_done()

    def _drop_jobs(self) -> None:
        """Forget what the worker was still to do."""
        jobs, self._jobs = self._jobs, EMPTY
        for function, args in jobs:
            if function == self._finish:
                close_unawaited(args[0])

    def _strain(self) -> None:
        """Stop reading from a peer of whose messages enough are waiting."""
        if not self._paused and len(self._inbox) + len(self._jobs) >= self._application.options.inbox:
            self._paused = True
            self._link.pause()

    def _relieve(self) -> None:
        if self._paused and len(self._inbox) + len(self._jobs) <= self._application.options.inbox // 2:
            self._paused = False
            self.last_seen = trio.current_time()  # it could not prove its life while nobody listened
            self._link.resume()

    # -- what Primus says beside messages

    def _control(self, text: str) -> None:
        """Answer one of Primus' control messages; unknown ones are ignored."""
        if text.startswith("primus::ping::"):
            self.pings_itself = True
            self._control_out(Control("primus::pong::" + text[14:]))
        elif text.startswith("primus::id::"):
            self._control_out(Control(f"primus::id::{self._wire_id}"))

    def _control_out(self, packet: Control) -> None:
        self.write(self._transformer.encode(packet, self._link.wire))
