"""A connection's messages out: from the application to the link, and what happens when the client is slow."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import trio

from ahtransport._barrier import contained
from ahtransport._calls import Calls
from ahtransport._errors import ConnectionClosed
from ahtransport._half import Half
from ahtransport.abc import Ack, Event, Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ahtransport._transforms import Transforms
    from ahtransport.abc import Payload

__all__ = ["Outgoing"]

_YIELD_EVERY: Final = 32


class Later:
    """A message that an async transform has not let go yet, or an acknowledgement that waits behind one.

    Attributes:
        packet: the message.
        done: set when nothing is to be done about it any more.
        lost: whether it was neither written nor dropped by a transform: the connection had closed, or has failed by it.
        wanted: whether its sender still wants it to be sent.
        awaited: whether its sender waits, and so hears of ``error``.
        error: why the parser can't carry what the transforms have made of it.
    """

    __slots__ = ("awaited", "done", "error", "lost", "packet", "wanted")

    def __init__(self, packet: Message | Event | Ack) -> None:
        self.packet = packet
        self.done = trio.Event()
        self.lost = True
        self.wanted = True
        self.awaited = False
        self.error: Exception | None = None

    async def wait(self) -> None:
        """Wait until it is written; whoever is cancelled before that does not want it sent.

        Raises:
            TypeError, ValueError, or what a parser raises: it can't be carried.
        """
        self.awaited = True
        try:
            await self.done.wait()
        except trio.Cancelled:
            self.wanted = False
            raise
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # it holds this frame


class Outgoing(Half):
    """The sending half of a connection."""

    __slots__ = ()

    async def send(self, message: Any) -> None:
        """Send one message; waits while more than ``high_water`` bytes wait for a slow client.

        A call that is cancelled while it waits sends nothing.

        Raises:
            ConnectionClosed: the client is gone, or went while an async transform held the message.
            TypeError, ValueError: the parser can't carry the message.
        """
        self._sends += 1
        if self._sends % _YIELD_EVERY:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        if self._congested or self._state != "open" or self._application.outgoing.functions:
            await self._until_writable()
            later = self._put(Message(message), waited=True)
            if later is not None:
                await later.wait()
                if later.lost:
                    raise ConnectionClosed(*self._close)
            return
        link = self._link
        for payload in self._transformer.encode(Message(message), link.wire):
            if not link.write(payload):
                self._congested = True

    async def _until_writable(self) -> None:
        self._check_open()
        while self._link.buffered and self._is_slow() and self._application.options.overflow != "drop":
            if self._writers is None:
                self._writers = trio.lowlevel.ParkingLot()
            await self._writers.park()
            self._check_open()

    def _is_slow(self) -> bool:
        """Tell whether so much waits for the client that senders should wait, too."""
        options = self._application.options
        return self._link.buffered > options.high_water or self._link.queued >= options.max_backlog_messages

    def _check_room(self) -> None:
        """See whether another message may wait.

        Raises:
            trio.WouldBlock: it may not.
        """
        if self._is_slow() or (self._outgoing and len(self._outgoing) >= self._application.options.inbox):
            raise trio.WouldBlock

    def send_nowait(self, message: Any) -> None:
        """Send one message at once.

        Raises:
            trio.WouldBlock: more than ``high_water`` bytes wait for a slow client, or ``inbox`` messages for an async
                transform.
            ConnectionClosed: the client is gone.
            TypeError, ValueError: the parser can't carry the message.
        """
        if self._state != "open":
            raise ConnectionClosed(*self._close)
        link = self._link
        if not self._congested and not self._application.outgoing.functions:
            for payload in self._transformer.encode(Message(message), link.wire):  # nearly always so
                if not link.write(payload):
                    self._congested = True
        else:
            self._check_room()
            self._put(Message(message))

    def emit(self, event: str, *args: Any) -> None:
        """Send an event with any number of arguments, under the same rules as :meth:`send_nowait`.

        Raises:
            trio.WouldBlock, ConnectionClosed, TypeError, ValueError: as there.
        """
        self._check_open()
        self._check_room()
        self._put(Event(event, args))

    def volatile(self, event: str, *args: Any) -> bool:
        """Send an event that is worth nothing late, such as a position: only when nothing waits for the client.

        To a client that polls, one may wait for the next poll; those after it are dropped.

        Returns:
            whether it was sent; False: something waits, and the event is dropped.

        Raises:
            ConnectionClosed, TypeError, ValueError: as :meth:`send_nowait`.
        """
        self._check_open()
        outlet = self._link.outlet
        if outlet is not None:
            outlet.uncork()  # what is being collected may not fit
        if self._link.queued or self._link.buffered or self._outgoing:
            return False
        self._put(Event(event, args))
        return True

    async def call(self, event: str, *args: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 -- a contract
        """Send an event and wait for its acknowledgement.

        The answer comes behind what the client has sent before it. A function that keeps the connection's other
        messages waiting, as every async one does until it returns, may keep the answer waiting with them: when
        ``inbox`` messages wait, the client is not read. Where a client talks much, call from a task of its own
        (``connection.start_soon``).

        Args:
            timeout: seconds for all of it; None takes ``servers.websocket.server.call_timeout``.

        Returns:
            what the client answered with: nothing gives None, one value itself, several a list.

        Raises:
            trio.TooSlowError: no answer came in time, or the client did not even take the question.
            trio.WouldBlock: ``max_calls`` calls are waiting already.
            ConnectionClosed: the client is gone, or went while this waited.
            TypeError, ValueError: the parser can't carry the arguments.
        """
        if self._calls is None:
            self._calls = Calls(self._application.options.max_calls)
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.move_on_after(self._application.options.call_timeout if timeout is None else timeout):
            await self._until_writable()
            with self._calls.pending() as slot:
                later = self._put(Event(event, args, slot.number), waited=True)
                if later is not None:
                    await later.wait()
                return await slot.wait()
        if self._paused:
            raise trio.TooSlowError("no answer was read: so many messages wait for this connection that it is paused")
        raise trio.TooSlowError("no answer in time")

    def _check_open(self) -> None:
        if self._state != "open":
            raise ConnectionClosed(*self._close)

    def _put(self, packet: Message | Event | Ack, *, waited: bool = False) -> Later | None:
        """Transform, encode and write; gives what to wait for when a transform has to wait first.

        ``waited`` says that the sender has waited for the client and so deserves no overflow, however long its message.
        """
        application, link = self._application, self._link
        transforms = application.outgoing
        if transforms.functions:
            if isinstance(packet, Ack):
                if self._outgoing:  # it comes after what was sent before it
                    self._transformer.encode(packet, link.wire)  # raises now, if ever: that is the function's failure
                    return self._put_later(packet)
            elif transforms.asynchronous:
                return self._put_later(packet)
            else:
                changed = transforms.run(packet, self._whole)
                if changed is None or not self._takes_late():  # a transform may have closed it
                    return None
                packet = changed
        payloads = self._transformer.encode(packet, link.wire)
        if not self._congested or (waited and application.options.overflow != "drop"):
            for payload in payloads:
                if not link.write(payload):
                    self._congested = True
        else:
            self.write(payloads)
        return None

    def _put_later(self, packet: Message | Event | Ack) -> Later | None:
        """Let a task of its own run the async transforms, one message after the other. None: too many wait already, and
        this one is dropped."""
        options = self._application.options
        full = self._outgoing is not None and len(self._outgoing) >= options.max_backlog_messages
        if full and options.overflow == "drop":
            self._application.dropped += 1
            return None
        later = Later(packet)
        if self._outgoing is None:
            self._outgoing = deque()
            self._spawn(self._transform_out)
        self._outgoing.append(later)
        if full:
            self._overflow("an outgoing transform is too slow")
        return later

    async def _transform_out(self) -> None:
        queue = self._outgoing
        scope = trio.CancelScope()
        self._hold(scope)
        try:
            with scope:
                while queue:
                    later = queue[0]
                    what = f"an outgoing transform of connection {self.id}"
                    with contained(what, self._is_farewell, self) as trouble:
                        changed: Message | Event | Ack | None = later.packet
                        if not isinstance(later.packet, Ack):
                            changed = await self._application.outgoing.run_async(later.packet, self._whole)
                        if changed is None or not later.wanted:
                            later.lost = False
                        elif self._takes_late():
                            self._write_late(later, changed)
                    if trouble.caught is not None:
                        self._crashed(trouble.caught, logged=True)
                    queue.popleft()
                    later.done.set()
        except RuntimeError as error:  # the scope's: a transform has entered another one, and never left it
            self._crashed(error)
        finally:
            for later in queue or ():
                later.done.set()
            self._outgoing = None
            self._scopes.discard(scope)
            if self._goodbye is not None and self._state != "closed":
                self._hang_up(*self._goodbye)
            self._task_done()

    def _write_late(self, later: Later, packet: Message | Event | Ack) -> None:
        """Write what the transforms have made of a message. One that can't be carried is its sender's concern, not the
        client's: that stays."""
        try:
            payloads = self._transformer.encode(packet, self._link.wire)
        except Exception as error:
            later.error = error
            if not later.awaited:
                self._application.unsendable(self._whole, error)
            return
        self.write(payloads)
        later.lost = not self._takes_late()

    def _takes_late(self) -> bool:
        """Tell whether a transform's result may be written. What was sent before a close leaves before it, too."""
        return self._state == "open" or (self._goodbye is not None and self._state == "closing")

    def send_soon(self, packet: Message | Event) -> None:
        """Send, whatever waits: the overflow policy is the only limit (for broadcasts through transforms). A transform
        that fails costs this connection.

        Raises:
            TypeError, ValueError, or what a parser raises: what the transforms have made of it can't be carried.
        """
        if self._state != "open":
            return
        transforms = self._application.outgoing
        if transforms.asynchronous:
            self._put_later(packet)
            return
        changed = self._changed(transforms, packet)
        if changed is not None and self._takes_late():  # a transform may have closed it
            self.write(self._transformer.encode(changed, self._link.wire))

    def _changed(self, transforms: Transforms, packet: Message | Event) -> Message | Event | None:
        """Give what plain transforms make of a packet. None: one dropped it, or failed, which costs this connection."""
        try:
            return transforms.run(packet, self._whole)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._crashed(error)
            return None

    def write(self, payloads: Sequence[Payload]) -> None:
        """Write what is encoded already, all of it together; over the limit the policy decides."""
        link = self._link
        if self._congested and link.buffered and self._is_over(payloads):
            if self._application.options.overflow == "drop":
                self._application.dropped += len(payloads)
            else:
                self._overflow("the client does not read")
            return
        for payload in payloads:
            if not link.write(payload):
                self._congested = True

    def _is_over(self, payloads: Sequence[Payload]) -> bool:
        options = self._application.options
        return (
            self._link.buffered + sum(map(len, payloads)) > options.max_backlog
            or self._link.queued + len(payloads) > options.max_backlog_messages
        )

    def _overflow(self, reason: str) -> None:
        self._link.overflow(1013, reason)
        self._end(1013, reason)
