"""Rooms: named sets of connections.

Joining and leaving cost the same however many rooms and members there are; leaving everything costs as much as the
connection's own rooms.
"""

from __future__ import annotations

import re
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from ahtransport._buckets import Bucket
from ahtransport._errors import RoomError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ahtransport._buckets import Rate
    from ahtransport._connection import Connection

__all__ = ["NOTHING", "PacedRooms", "Rooms"]

# What may be in a name is looked at with a pattern only where something can't be printed, which is seldom.
_CONTROL = re.compile(r"[\0-\x1f]")
#: An empty set that all connections share as long as they have nothing of their own to put into one.
NOTHING: Final[Any] = frozenset()


class _Room(NamedTuple):
    """One room.

    Attributes:
        name: the very text that all members hold: each would keep a copy of its own else, and the garbage collector
            would walk through all of them.
        members: who is in it, and since when (seconds since the epoch), first come first.
    """

    name: str
    members: dict[Connection, float]


class Rooms:
    """All rooms of one server. A room that was added stays until it is removed; one that only came from joining
    vanishes with its last member.

    Args:
        max_rooms: how many rooms one connection may be in.
        max_name: how long a room's name may be, in characters.
    """

    def __init__(self, max_rooms: int = 128, max_name: int = 255) -> None:
        self._rooms: dict[str, _Room] = {}
        self._kept: set[str] = set()
        self._max_rooms = max_rooms
        self._max_name = max_name
        self._farewells: list[Callable[[str], object]] = []
        self._leavers: list[Callable[[Connection, str], object]] = []
        # Called when something is to stay here without any member; set for namespaces that come and go.
        self.on_keep: Callable[[Rooms], object] | None = None

    def on_remove(self, function: Callable[[str], object]) -> None:
        """Have ``function(name)`` called whenever a room is about to be removed; its members are still in it."""
        self._farewells.append(function)
        self._keep()

    def on_leave(self, function: Callable[[Connection, str], object]) -> None:
        """Have ``function(connection, name)`` called whenever a connection has been taken out of a room; not of those
        that end, nor of a room that is removed."""
        self._leavers.append(function)
        self._keep()

    def _keep(self) -> None:
        if self.on_keep is not None:
            self.on_keep(self)

    def take_over(self, other: Rooms, without: Collection[str] = ()) -> None:
        """Have the rooms that ``other`` keeps, ``without`` some, and call those whom it calls."""
        for name in other._kept.difference(without):
            self.add(name)
        self._farewells += other._farewells
        self._leavers += other._leavers

    def add(self, name: str) -> bool:
        """Create a room that stays while it is empty. False: it was there already.

        Raises:
            RoomError: the name is empty, too long or no string.
        """
        self._check(name)
        known = name in self._rooms
        if not known:
            self._rooms[name] = _Room(name, {})
        self._kept.add(name)
        self._keep()
        return not known

    def remove(self, name: str) -> bool:
        """Delete a room; its members leave it. False: there was none."""
        if name in self._rooms:
            for farewell in self._farewells:
                farewell(name)
        room = self._rooms.pop(name, None)
        self._kept.discard(name)
        for connection in room.members if room is not None else ():
            connection._rooms.discard(name)
        return room is not None

    def list(self) -> list[str]:
        """Give the names of all rooms, oldest first."""
        return list(self._rooms)

    def members(self, name: str) -> Mapping[Connection, float]:
        """Give the members of a room and when they joined (seconds since the epoch), first come first; empty when there
        is no such room. It is a live view."""
        room = self._rooms.get(name)
        return MappingProxyType(room.members if room is not None else {})

    def __contains__(self, name: object) -> bool:
        return name in self._rooms

    def __len__(self) -> int:
        return len(self._rooms)

    def join(self, connection: Connection, name: str) -> bool:
        """Put a connection into a room. False: it is in it already.

        Raises:
            RoomError: the name is not usable, the connection is in too many rooms, it is closed, or it is another
                namespace's.
        """
        room = self._rooms.get(name) if isinstance(name, str) else None
        if room is None:
            self._check(name)
        else:
            name = room.name
        rooms = connection._rooms
        if name in rooms:
            return False
        if connection.state != "open":
            raise RoomError("the connection is closed")
        if connection._application.rooms is not self:
            where = f"server.of({connection.namespace!r}).rooms"
            raise RoomError(f"the connection is in the namespace {connection.namespace}: its rooms are {where}")
        if len(rooms) >= self._max_rooms:
            raise RoomError(f"a connection may be in {self._max_rooms} rooms")
        if room is None:
            room = self._rooms[name] = _Room(name, {})
        room.members[connection] = time.time()
        if rooms is NOTHING:
            connection._rooms = {name}
        else:
            rooms.add(name)
        return True

    def leave(self, connection: Connection, name: str) -> bool:
        """Take a connection out of a room. False: it was not in it."""
        if name not in connection._rooms or connection._application.rooms is not self:
            return False
        connection._rooms.discard(name)
        self._forget(connection, name)
        for function in self._leavers:
            function(connection, name)
        return True

    def leave_all(self, connection: Connection) -> None:
        """Take a connection out of all its rooms."""
        for name in connection._rooms:
            self._forget(connection, name)
        connection._rooms = NOTHING

    def _forget(self, connection: Connection, name: str) -> None:
        members = self._rooms[name].members
        del members[connection]
        if not members and name not in self._kept:
            del self._rooms[name]

    def _check(self, name: object) -> None:
        if not isinstance(name, str) or not name:
            raise RoomError("a room is required")
        if len(name) > self._max_name or (not name.isprintable() and _CONTROL.search(name)):
            raise RoomError(f"a room's name has 1 to {self._max_name} characters, none of them a control character")


class PacedRooms(Rooms):
    """Rooms that a connection may join only so fast.

    Beyond ``rate`` joining is an error. A connection that tries once more as often as it may at once after a quiet time
    is closed with 1008.
    """

    def __init__(self, max_rooms: int, max_name: int, rate: Rate) -> None:
        super().__init__(max_rooms, max_name)
        self._rate = rate
        self._buckets: dict[Connection, Bucket] = {}

    def join(self, connection: Connection, name: str) -> bool:
        """Put a connection into a room. False: it is in it already.

        Raises:
            RoomError: as for other rooms, or it joins too fast.
        """
        if connection.state == "open":
            now = trio.current_time()
            bucket = self._buckets.get(connection)
            if bucket is None:
                bucket = self._buckets[connection] = Bucket(self._rate, now)
            if bucket.take(1, now):
                if bucket.level < -self._rate.burst:
                    connection.close(1008, "too many joins", reconnect=True)
                raise RoomError("too many rooms joined in a short time")
        return super().join(connection, name)

    def leave_all(self, connection: Connection) -> None:
        """Take a connection out of all its rooms: it is gone."""
        self._buckets.pop(connection, None)
        super().leave_all(connection)
