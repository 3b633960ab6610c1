"""What the page linkedSession.html needs: a value in the session, which web requests and websockets share."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from ahtransport import ActionError, ActionServer, ConnectionClosed, Param

__all__ = ["add_linked_session"]

MAX_VALUE = 200


def add_linked_session(server: ActionServer) -> None:
    """Give a server the actions ``setNote`` and ``getNote``, which come by HTTP or by websocket alike.

    Both answer ``{"note", "setOver", "type"}``: the value in the session, what kind of connection brought it
    ("web" | "websocket" | None) and what kind this one is. Websockets that have asked for the note are told of every
    other one in the same session: ``{"context": "note", "note", "setOver"}``.
    """
    watching: dict[str, set[Any]] = {}  # by the session's key

    def answer(connection: Any) -> dict[str, Any]:
        session = connection.session
        return {"note": session.get("note"), "setOver": session.get("setOver"), "type": connection.type}

    @server.action
    def getNote(connection: Any) -> dict[str, Any]:
        """Read the note that is kept in this browser's session."""
        if connection.type == "websocket":
            watching.setdefault(connection.session.key, set()).add(connection)
        return answer(connection)

    @server.action
    async def setNote(
        connection: Any, note: Annotated[str, Param(formatter=str, description="what to keep")]
    ) -> dict[str, Any]:
        """Keep a note in this browser's session."""
        if len(note) > MAX_VALUE:
            raise ActionError(f"a note may have {MAX_VALUE} characters", 422)
        async with connection.session.change() as session:  # atomic: one change at a time
            session.update(note=note, setOver=connection.type)
        for other in watching.get(connection.session.key, set()) - {connection}:
            with suppress(ConnectionClosed):
                await other.send({"context": "note", "note": note, "setOver": connection.type})
        return answer(connection)

    @server.on_close
    def gone(connection: Any, code: int, reason: str) -> None:
        watchers = watching.get(connection.session.key, set())
        watchers.discard(connection)
        if not watchers:
            watching.pop(connection.session.key, None)
