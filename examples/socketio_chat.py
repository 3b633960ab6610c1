"""A chat for stock Socket.IO clients: namespaces, rooms, sessions, acknowledgements.

Ported from the same program for python-socketio, function by function; docs/coming-from-python-socketio.md has both.
"""

from typing import Any

import trio

from ahtransport import Connection, ConnectionClosed, Reject, Request, RoomError, Server

server = Server(transformer="socket.io", port=8080)
chat = server.of("/chat")


@chat.authorize
def authorize(request: Request) -> None:
    if not isinstance(request.auth, dict) or not request.auth.get("name"):
        raise Reject(401, "who are you?", data={"field": "name"})


@chat.on_open
async def connected(connection: Connection) -> None:
    async with connection.session.change() as session:
        session["name"] = connection.auth["name"]
        session["said"] = 0
    chat.emit("arrived", connection.auth["name"], exclude=[connection])


@chat.on("join")
def join(connection: Connection, room: str) -> dict[str, Any]:
    try:
        chat.rooms.join(connection, room)
    except RoomError as error:
        return {"error": str(error)}
    return {"room": room, "members": len(chat.rooms.members(room))}


@chat.on("say")
async def say(connection: Connection, room: str, text: str) -> int:
    if room not in connection.rooms:
        return 0
    async with connection.session.change() as session:
        session["said"] += 1
    chat.emit("said", {"from": session["name"], "text": text}, room=room, exclude=[connection])
    return int(session["said"])


@chat.on("ask_everybody")
async def ask_everybody(connection: Connection, question: str) -> list[Any]:
    answers = []
    for other in list(chat.connections.values()):
        if other is not connection:
            try:
                answers.append(await other.call("question", question, timeout=2))
            except (trio.TooSlowError, ConnectionClosed):
                continue
    return answers


@chat.on_close
def disconnected(connection: Connection, code: int, reason: str) -> None:
    chat.emit("left", connection.session.get("name"))


if __name__ == "__main__":
    server.run()
