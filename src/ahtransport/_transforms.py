"""Message transforms, as in Primus: functions that see every message on its way in or out, may change it or drop it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ahtransport.abc import Event, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._connection import Connection

__all__ = ["Direction", "Envelope", "Transforms", "close_unawaited", "is_async"]

Direction: TypeAlias = Literal["incoming", "outgoing"]


class Envelope:
    """What a transform sees.

    Attributes:
        data: the message; of an event, the list of its name and arguments. May be replaced.
        connection: whose message it is.
    """

    __slots__ = ("connection", "data")

    def __init__(self, data: Any, connection: Connection) -> None:
        self.data = data
        self.connection = connection


Transform = "Callable[[Envelope], bool | None | Awaitable[bool | None]]"


class Transforms:
    """The transforms of one direction, run in order of registration."""

    __slots__ = ("asynchronous", "functions")

    def __init__(self) -> None:
        self.functions: list[Callable[[Envelope], Any]] = []
        self.asynchronous = False

    def __bool__(self) -> bool:
        return bool(self.functions)

    def copy(self) -> Transforms:
        """Make others that are the same for now."""
        other = Transforms()
        other.functions, other.asynchronous = [*self.functions], self.asynchronous
        return other

    def add(self, function: Callable[[Envelope], Any]) -> None:
        """Add a transform; it drops a message by returning False."""
        self.functions.append(function)
        self.asynchronous = self.asynchronous or is_async(function)

    def run(self, packet: Message | Event, connection: Connection) -> Message | Event | None:
        """Run plain functions. None: the message is dropped.

        Raises:
            TypeError: one gave something to await, so nobody knows what it would have said.
        """
        envelope = _open(packet, connection)
        for function in self.functions:
            verdict = function(envelope)
            if verdict is False:
                return None
            if verdict is not None and hasattr(verdict, "__await__"):
                close_unawaited(verdict)
                raise TypeError("a transform that gives something to await has to be an async function itself")
        return _seal(packet, envelope)

    async def run_async(self, packet: Message | Event, connection: Connection) -> Message | Event | None:
        """Run plain and async functions. None: the message is dropped."""
        envelope = _open(packet, connection)
        for function in self.functions:
            verdict = function(envelope)
            if inspect.isawaitable(verdict):
                verdict = await verdict
            if verdict is False:
                return None
        return _seal(packet, envelope)


def is_async(function: object) -> bool:
    """Tell whether calling ``function`` gives something to await."""
    if isinstance(function, type):
        return False  # calling it makes an object, whatever that can do then
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def close_unawaited(result: object) -> None:
    """Close what nobody is going to await: Python warns of coroutines that are just forgotten."""
    if hasattr(result, "close"):
        result.close()


def _open(packet: Message | Event, connection: Connection) -> Envelope:
    data = packet.data if isinstance(packet, Message) else [packet.name, *packet.args]
    return Envelope(data, connection)


def _seal(packet: Message | Event, envelope: Envelope) -> Message | Event:
    data = envelope.data
    if isinstance(packet, Message):
        return Message(data)
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise TypeError("an event stays a list that begins with its name")
    return Event(data[0], data[1:], packet.ack)
