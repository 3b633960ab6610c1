"""Rooms: a message is encoded once, whoever many are in the room.

Clients say ``{"join": "tea"}``, ``{"leave": "tea"}`` or ``{"to": "tea", "text": "hello"}``.
"""

from typing import Any

from ahtransport import Connection, RoomError, Server

server = Server(port=8080)


@server.on_message
def received(connection: Connection, message: Any) -> None:
    match message:
        case {"join": str(room)}:
            try:
                server.rooms.join(connection, room)
            except RoomError as error:
                connection.send_nowait({"error": str(error)})
                return
            connection.send_nowait({"joined": room, "members": len(server.rooms.members(room))})
        case {"leave": str(room)}:
            connection.send_nowait({"left": room, "was_in_it": server.rooms.leave(connection, room)})
        case {"to": str(room), "text": str(text)} if room in connection.rooms:
            server.broadcast({"room": room, "text": text}, room=room, exclude=[connection])
        case _:
            connection.send_nowait({"error": "join a room, leave one, or say something to one that you are in"})


if __name__ == "__main__":
    server.run()
