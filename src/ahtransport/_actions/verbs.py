"""ActionHero's verbs: what a message asks for, and the reply with its keys in their order.

A request is an object with ``event``, ``messageId`` and whatever else the verb takes. The reply to a verb is
``{status, context, data, messageId}``; on an error ``status`` and ``error`` hold the same text and ``data`` what
remained of the request. The reply to an action or a file has its outputs at the top level and no ``status``.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import trio

from ahtransport._actions.files import file_reply
from ahtransport._actions.runner import INTERNAL_ERROR, ActionCall, Outcome, Tally, told
from ahtransport._actions.texts import UNDEFINED, shortened, text_of, truthy
from ahtransport._errors import ConnectionClosed, RoomError
from ahtransport._log import fields, get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ahtransport._actions.server import ActionServer
    from ahtransport._connection import Connection

__all__ = ["MAX_ID", "Verbs", "message_id_of", "refuse", "words_of"]

logger = get_logger("ahtransport.actions")

MAX_ID = 255
"""How many characters a messageId may have; other values count as their JSON."""

Reply: TypeAlias = dict[str, Any]
Rest: TypeAlias = dict[str, Any]


class Verbs:
    """Answers the messages of websocket clients.

    One message of a connection at a time, so that a client that sends faster than it reads is felt by itself alone;
    only actions run beside it. An action that does not have to wait is run and answered at once, without a task.
    """

    def __init__(self, server: ActionServer) -> None:
        self._server = server
        # A table, and nothing but the table: no name that a client sends is ever looked up anywhere else.
        self._data: Mapping[str, Callable[[Connection, Tally, Rest], Awaitable[Any]]] = {
            "say": self._say,
            "roomAdd": self._room_add,
            "roomLeave": self._room_leave,
            "roomView": self._room_view,
            "detailsView": self._details_view,
            "documentation": self._documentation,
        }

    def answer(self, connection: Connection, tally: Tally, message: Any) -> Awaitable[None] | None:
        """Do what a message asks for, and reply; gives what is left to be awaited, where something has to wait.

        Whatever the message holds, its sender gets a reply and keeps the connection.
        """
        if isinstance(message, dict):
            verb = message.get("event", UNDEFINED)
            message_id = message_id_of(message.get("messageId"))
        else:
            verb, message_id = UNDEFINED, str(uuid.uuid4())
        if message_id is None:
            return refuse(connection, f"a messageId may have {MAX_ID} characters", None)
        if verb == "action":
            return self._action(connection, tally, message.get("params"), message_id)
        if verb == "file":
            return self._file(connection, message.get("file"), message_id)
        if verb in ("quit", "exit") and isinstance(verb, str):
            connection.close()
            return None
        return self._verb(connection, tally, verb, message, message_id)

    def forget(self, connection: Connection) -> None:
        """A connection is gone; nothing is kept of it here."""

    async def _file(self, connection: Connection, path: Any, message_id: Any) -> None:
        web = self._server.config.servers.web
        reply = await file_reply(web.public, path, web.max_file)
        reply["context"] = "response"
        reply["messageId"] = message_id
        await send(connection, reply)

    async def _verb(self, connection: Connection, tally: Tally, verb: Any, message: Any, message_id: Any) -> None:
        rest = message
        if isinstance(message, dict):
            rest = {key: value for key, value in message.items() if key not in ("event", "messageId")}
        await send(connection, await self._reply(connection, tally, verb, rest, message_id))

    async def _reply(self, connection: Connection, tally: Tally, verb: Any, rest: Any, message_id: Any) -> Reply:
        run = self._data.get(verb) if isinstance(verb, str) else None
        if run is None:
            return _error(f"verb not found or not allowed ({shortened(text_of(verb))})", _left(rest), message_id)
        try:
            data = await run(connection, tally, rest)
        except Exception as error:
            shown = told(error)
            if shown is None:
                logger.exception("verb %s failed", verb, extra=fields("verb.failed", connection, verb=verb))
            return _error(INTERNAL_ERROR if shown is None else shown[0], _left(rest), message_id)
        reply = {"status": "OK", "context": "response", "data": data, "messageId": message_id}
        if data is UNDEFINED:
            del reply["data"]
        return reply

    # Actions

    def _action(self, connection: Connection, tally: Tally, params: Any, message_id: Any) -> Awaitable[None] | None:
        runner = self._server.runner
        call = runner.start(connection, tally, params if isinstance(params, dict) else {})
        if isinstance(call, Outcome):
            return send_now(connection, _outcome_reply(call, message_id))
        if connection.state != "open":  # its function has closed it, and what it left to be awaited is for nobody
            runner.drop(call, tally)
            return None
        if tally.tasks >= 2 * runner.limit:
            # As many replies wait already as there may be: this one holds up the next.
            return self._run(connection, tally, call, message_id)
        tally.tasks += 1
        connection.start_soon(self._run_beside, connection, tally, call, message_id)
        return None

    async def _run(self, connection: Connection, tally: Tally, call: ActionCall, message_id: Any) -> None:
        outcome = await self._server.runner.run(call, tally)
        await send(connection, _outcome_reply(outcome, message_id))

    async def _run_beside(self, connection: Connection, tally: Tally, call: ActionCall, message_id: Any) -> None:
        try:
            await self._run(connection, tally, call, message_id)
        finally:
            tally.tasks -= 1

    # The other verbs. ``rest`` is the request without event and messageId.

    async def _say(self, connection: Connection, tally: Tally, rest: Rest) -> Any:
        room = rest.get("room")
        message = rest.get("message", UNDEFINED)
        if message is UNDEFINED:
            message = " ".join("" if word is None else text_of(word) for key, word in rest.items() if key != "room")
        if not truthy(room) or message is None or message == "":
            raise RoomError("both room and message are required")
        if isinstance(message, (dict, list)):
            raise RoomError("a message has to be text")
        if not isinstance(room, str):
            raise RoomError(f"connection not in this room ({shortened(text_of(room))})")
        await self._server.chat.say(connection, room, text_of(message))
        return UNDEFINED

    async def _room_add(self, connection: Connection, tally: Tally, rest: Rest) -> Any:
        room = words_of(rest)
        if not isinstance(room, str):
            raise RoomError("room does not exist")
        await self._server.chat.join(connection, room)
        return True

    async def _room_leave(self, connection: Connection, tally: Tally, rest: Rest) -> Any:
        room = words_of(rest)
        await self._server.chat.leave(connection, text_of(room))
        return True

    async def _room_view(self, connection: Connection, tally: Tally, rest: Rest) -> Any:
        room = words_of(rest)
        return self._server.chat.view(connection, text_of(room))

    async def _details_view(self, connection: Connection, tally: Tally, rest: Rest) -> Any:
        return {
            "id": connection.id,
            "fingerprint": connection.fingerprint,
            "remoteIP": connection.remote_ip,
            "remotePort": connection.remote_port,
            "params": {},
            "connectedAt": int(connection.connected_at * 1000),
            "rooms": sorted(connection.rooms, key=lambda room: self._server.rooms.members(room)[connection]),
            "totalActions": tally.total,
            "pendingActions": tally.pending,
        }

    async def _documentation(self, connection: Connection, tally: Tally, rest: Rest) -> Any:
        return self._server.actions.documentation()


def words_of(rest: Rest) -> Any:
    """Give the room that a request names: its ``room``, or else its first value, as in ActionHero.

    Raises:
        RoomError: it names none.
    """
    room = rest.get("room")
    if not truthy(room):
        room = next(iter(rest.values()), None)
    if not truthy(room):
        raise RoomError("a room is required")
    return room


def message_id_of(value: Any) -> Any:
    """Give the id under which a request is answered: its own, of whatever type, or a new UUID for none.

    None when it is longer than an id may be.
    """
    if type(value) is int and value and -(2**53) < value < 2**53:
        return value
    if isinstance(value, str) and value:
        return value if len(value) <= MAX_ID else None
    if not truthy(value):
        return str(uuid.uuid4())
    try:
        return value if len(msgspec.json.encode(value)) <= MAX_ID else None
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


def _left(rest: Any) -> Any:
    """Give what an error reply shows of the request: all but the room, if it named one."""
    if isinstance(rest, dict) and truthy(rest.get("room")):
        del rest["room"]
    return rest


def _error(text: str, rest: Any, message_id: Any) -> Reply:
    text = f"Error: {text}"
    return {"status": text, "error": text, "context": "response", "data": rest, "messageId": message_id}


async def send(connection: Connection, reply: Reply) -> None:
    """Send a reply. One to a client that is gone is dropped; one that can't be encoded becomes an error."""
    with suppress(ConnectionClosed):
        try:
            await connection.send(reply)
        except (TypeError, ValueError, OverflowError, RecursionError):
            logger.exception("a reply can't be sent", extra=fields("reply.unsendable", connection))
            await connection.send(
                {"error": INTERNAL_ERROR, "context": "response", "messageId": reply["messageId"]},
            )


def send_now(connection: Connection, reply: Reply) -> Awaitable[None] | None:
    """Send a reply at once, under the rules of :func:`send`; where the client is slow, gives what is to be awaited."""
    try:
        connection.send_nowait(reply)
    except ConnectionClosed:
        return None
    except (trio.WouldBlock, TypeError, ValueError, OverflowError, RecursionError):
        return send(connection, reply)
    return None


def refuse(connection: Connection, text: str, message_id: Any) -> Awaitable[None] | None:
    """Answer a message that is not even looked at, as :func:`send_now`."""
    return send_now(connection, _error(text, {}, str(uuid.uuid4()) if message_id is None else message_id))


def _outcome_reply(outcome: Outcome, message_id: Any) -> Reply:
    # An action may call its own outputs as it likes, but not say whose answer this is.
    if outcome.error is None:
        return {**outcome.outputs, "context": "response", "messageId": message_id}
    return {**outcome.outputs, "error": outcome.error, "context": "response", "messageId": message_id}
