"""What the chat page needs beside ActionHero's verbs: names, who is here, what was said before."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Annotated, Any

from ahtransport import ActionError, ActionServer, Connection, Param

__all__ = ["add_chat"]

MAX_NAME = 40
MAX_MESSAGE = 2000
MAX_SHOWN = 200
HISTORY = 100


@dataclass
class History:
    """What was said last in a room. Messages are numbered, so that a page can tell what it has and what it missed.

    Attributes:
        name: other than that of any room before it.
        count: how many messages there have been.
        said: the last of them.
    """

    name: str = field(default_factory=lambda: secrets.token_hex(4))
    count: int = 0
    said: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def add(self, words: dict[str, Any]) -> None:
        """Number a message, ``NAME:1`` the first, and keep it."""
        self.count += 1
        words["id"] = f"{self.name}:{self.count}"
        self.said.append(words)


def tidy(value: str) -> str:
    """Make a name that fits into one line: printable, single blanks, not too long."""
    return " ".join("".join(one if one.isprintable() else " " for one in str(value)).split())[:MAX_NAME]


def _name_of(connection: Connection) -> str:
    # Before it says so again, a connection that came back is called as the one before it of the same browser.
    return str(connection.data.get("name") or connection.session.get("name") or f"guest {connection.id[:4]}")


def add_chat(server: ActionServer) -> None:
    """Give a server the actions and the chat middleware of the chat page.

    Members of a room get ``{"context": "presence", "event": "join" | "leave" | "name", "room", "id", "name"}``, and
    what they say has the speaker's ``name`` and the ``id`` of :class:`History` as well.
    """
    histories: dict[str, History] = {}

    def tell(event: str, connection: Connection, room: str) -> None:
        news = {"context": "presence", "event": event, "room": room, "id": connection.id, "name": _name_of(connection)}
        server.broadcast(news, room=room, exclude=(connection,))

    def join(connection: Connection, room: str) -> None:
        tell("join", connection, room)

    def leave(connection: Connection, room: str) -> None:
        tell("leave", connection, room)

    def on_say_receive(connection: Connection | None, room: str, words: dict[str, Any]) -> dict[str, Any]:
        if len(str(words["message"])) > MAX_MESSAGE:
            raise ActionError(f"a message may have {MAX_MESSAGE} characters", 422)
        if connection is not None:
            words["name"] = _name_of(connection)
        histories.setdefault(room, History()).add(words)
        return words

    server.chat.use("demo", join=join, leave=leave, on_say_receive=on_say_receive)
    server.rooms.on_remove(lambda room: histories.pop(room, None))

    @server.action
    def chatSettings() -> dict[str, Any]:
        """Tell the chat page which rooms there are."""
        return {"rooms": server.rooms.list()[:MAX_SHOWN], "serverName": server.config.general.server_name}

    @server.action(blocked_connection_types=["web"])
    async def introduce(
        connection: Connection, name: Annotated[str, Param(formatter=tidy, description="what to be called")]
    ) -> dict[str, Any]:
        """Tell the others what to call you."""
        if not name:
            raise ActionError("a name has at least one letter", 422)
        if connection.data.get("name") != name:
            connection.data["name"] = name
            async with connection.session.change() as session:
                session["name"] = name
            for room in connection.rooms:
                tell("name", connection, room)
        return {"id": connection.id, "name": name}

    @server.action(blocked_connection_types=["web"])
    def enterRoom(connection: Connection, room: str) -> dict[str, Any]:
        """Tell who is in a room that you are in, and what was said there."""
        if room not in connection.rooms:
            raise ActionError(f"connection not in this room ({room})", 403)
        members = server.rooms.members(room)
        history = histories.setdefault(room, History())
        shown = [{"id": one.id, "name": _name_of(one)} for one, _ in zip(members, range(MAX_SHOWN), strict=False)]
        return {
            "room": room,
            "members": shown,
            "membersCount": len(members),
            "history": history.name,
            "said": list(history.said),
        }

    @server.action(blocked_connection_types=["web"])
    def dropMe(connection: Connection) -> dict[str, Any]:
        """Break this connection, to see how the page comes back."""
        connection.close(1012, "as you wished", reconnect=True)
        return {}
