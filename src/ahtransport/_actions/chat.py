"""Rooms in which people talk: who may join, what is said, and who hears it in which words."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from ahtransport._actions.inputs import maybe_await
from ahtransport._actions.runner import told
from ahtransport._actions.texts import shortened
from ahtransport._errors import ConnectionClosed, RoomError
from ahtransport._log import fields, get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ahtransport._connection import Connection
    from ahtransport._server import Server

__all__ = ["DELETED", "Chat", "ChatMiddleware", "Words"]

logger = get_logger("ahtransport.chat")

DELETED = "this room has been deleted"

Words: TypeAlias = dict[str, Any]
"""What members of a room get: ``{"message", "room", "from", "context": "user", "sentAt"}``, ``sentAt`` in ms."""

Door: TypeAlias = "Callable[[Connection, str], Awaitable[None] | None]"
Ear: TypeAlias = "Callable[[Connection | None, str, Words], Awaitable[Words | None] | Words | None]"


@dataclass(frozen=True, slots=True)
class ChatMiddleware:
    """Something that watches over rooms. What it raises refuses what was wanted.

    Attributes:
        name: under which it is removed.
        join: ``(connection, room)``, before somebody joins.
        leave: ``(connection, room)``, before somebody leaves or when somebody is gone; then raising refuses nothing.
        say: ``(receiver, room, words)``, for everyone who is about to hear it; what it returns is what that one hears,
            None: nothing.
        on_say_receive: ``(speaker or None, room, words)``, once, when something is said; what it returns is what is
            said, None: nothing.
        priority: lower ones come first.
    """

    name: str
    join: Door | None
    leave: Door | None
    say: Ear | None
    on_say_receive: Ear | None
    priority: int


class Chat:
    """What ActionHero calls ``api.chatRoom``, on top of the server's rooms and its broadcast."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._middleware: list[ChatMiddleware] = []
        self._listeners = False  # whether anybody listens to ``say``, which costs a call for each receiver
        # The rooms that were joined here, for those who want to know when a member is gone: by then it is in none.
        self.joined: dict[Connection, set[str]] = {}
        server.rooms.on_remove(self._deleted)
        server.rooms.on_leave(self._left)

    # Middleware

    def use(
        self,
        name: str,
        *,
        join: Door | None = None,
        leave: Door | None = None,
        say: Ear | None = None,
        on_say_receive: Ear | None = None,
        priority: int = 100,
    ) -> None:
        """Add a middleware; all of its functions may be plain or async. See :class:`ChatMiddleware`.

        Raises:
            ValueError: there is one of this name.
        """
        if name in self.names:
            raise ValueError(f"there is a chat middleware {name!r} already")
        one = ChatMiddleware(name, join, leave, say, on_say_receive, priority)
        self._set(sorted([*self._middleware, one], key=lambda one: one.priority))

    def remove(self, name: str) -> bool:
        """Remove a middleware; False when there was none."""
        before = len(self._middleware)
        self._set([one for one in self._middleware if one.name != name])
        return len(self._middleware) < before

    def _set(self, middleware: list[ChatMiddleware]) -> None:
        self._middleware = middleware
        self._listeners = any(one.say is not None for one in middleware)

    @property
    def names(self) -> list[str]:
        """The middleware's names in order of priority."""
        return [one.name for one in self._middleware]

    # Rooms

    async def join(self, connection: Connection, room: str) -> None:
        """Let a connection into a room that exists.

        Raises:
            RoomError: it is in it already, there is no such room, or it is in too many.
        """
        if room in connection.rooms:
            raise RoomError(f"connection already in this room ({shortened(room)})")
        if room not in self._server.rooms:
            raise RoomError("room does not exist")
        for one in self._middleware:
            if one.join is not None:
                await maybe_await(one.join(connection, room))
        if room not in self._server.rooms:  # it may be gone by now
            raise RoomError("room does not exist")
        self._server.rooms.join(connection, room)
        self.joined.setdefault(connection, set()).add(room)

    async def leave(self, connection: Connection, room: str) -> None:
        """Let a connection out of a room.

        Raises:
            RoomError: it is not in it.
        """
        if room not in connection.rooms:
            raise RoomError(f"connection not in this room ({shortened(room)})")
        for one in self._middleware:
            if one.leave is not None:
                await maybe_await(one.leave(connection, room))
        self._server.rooms.leave(connection, room)
        self._left(connection, room)  # it may have ended meanwhile: nobody is told a second time

    async def gone(self, connection: Connection) -> None:
        """Tell the middleware that a connection has left all its rooms by closing; what it raises is logged."""
        for room in sorted(self.joined.pop(connection, ())):
            for one in self._middleware:
                if one.leave is not None:
                    try:
                        await maybe_await(one.leave(connection, room))
                    except Exception as error:
                        if told(error) is None:
                            extra = fields("failure", connection, what=one.name)
                            text = "chat middleware %s failed when a connection left"
                            logger.exception(text, one.name, extra=extra)

    def view(self, connection: Connection, room: str) -> dict[str, Any]:
        """Describe a room to a member: ``{room, members: {id: {id, joinedAt}}, membersCount}``, ``joinedAt`` in ms.

        Raises:
            RoomError: the connection is not in it.
        """
        if room not in connection.rooms:
            raise RoomError(f"connection not in this room ({shortened(room)})")
        members = {
            member.id: {"id": member.id, "joinedAt": int(joined_at * 1000)}
            for member, joined_at in self._server.rooms.members(room).items()
        }
        return {"room": room, "members": members, "membersCount": len(members)}

    # Words

    async def say(self, connection: Connection | None, room: str, message: Any) -> bool:
        """Say something to everybody in a room; with None for the connection it is the server who speaks, as "0".

        False when a middleware let it vanish.

        Raises:
            RoomError: room or message is empty, or the connection is not in the room.
        """
        if not room or message is None or message == "":
            raise RoomError("both room and message are required")
        if connection is not None and room not in connection.rooms:
            raise RoomError(f"connection not in this room ({shortened(room)})")
        words = _words(message, room, "0" if connection is None else connection.id)
        for one in self._middleware:
            if one.on_say_receive is not None:
                changed: Words | None = await maybe_await(one.on_say_receive(connection, room, words))
                if changed is None:
                    return False
                words = changed
        await self._deliver(words)
        return True

    def _left(self, connection: Connection, room: str) -> None:
        """Somebody is in a room no more, whether by :meth:`leave` or because the application wanted it so."""
        self.joined.get(connection, set()).discard(room)

    def _deleted(self, room: str) -> None:
        """A room is about to be removed: its members are told, and nobody is asked."""
        self._server.broadcast(_words(DELETED, room, "0"), room=room)
        for member in self._server.rooms.members(room):
            self.joined.get(member, set()).discard(room)

    async def _deliver(self, words: Words) -> None:
        room = words["room"]
        if not self._listeners:
            self._server.broadcast(words, room=room)
            return
        if room not in self._server.rooms:
            return
        for member in list(self._server.rooms.members(room)):
            # The middleware may take its time, and who leaves meanwhile has been told that nothing more is heard.
            if member not in self._server.rooms.members(room):
                continue
            heard = await self._heard(member, room, dict(words))
            if heard is not None and member in self._server.rooms.members(room):
                try:
                    member.send_nowait(heard)
                except ConnectionClosed:
                    pass
                except trio.WouldBlock:
                    # What it misses must not be a silent hole: the same end as over the limit of a broadcast.
                    member.close(1013, "too slow", reconnect=True)
                except (TypeError, ValueError, OverflowError, RecursionError):
                    extra = fields("reply.unsendable", member)
                    logger.exception("what a chat middleware made of a message can't be sent", extra=extra)

    async def _heard(self, member: Connection, room: str, words: Words) -> Words | None:
        for one in self._middleware:
            if one.say is not None:
                try:
                    changed: Words | None = await maybe_await(one.say(member, room, words))
                except Exception as error:
                    if told(error) is None:
                        extra = fields("failure", member, what=one.name)
                        logger.exception("chat middleware %s failed; a message is not heard", one.name, extra=extra)
                    return None
                if changed is None:
                    return None
                words = changed
        return words


def _words(message: Any, room: str, sender: str) -> Words:
    return {"message": message, "room": room, "from": sender, "context": "user", "sentAt": int(time.time() * 1000)}
