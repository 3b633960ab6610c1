"""Several transformers at once: those who have a WebSocket, those who poll and those of Socket.IO are in one room.

The first two come to ``/primus``; a request with ``EIO=`` in its query is Engine.IO's. Socket.IO's clients come to
``/socket.io``. What is said is encoded once for each kind of wire, however many listen.
"""

from typing import Any

from ahtransport import Connection, Server

server = Server(port=8080, transformer=["websockets", "engine.io", "socket.io"])


@server.on_open
def opened(connection: Connection) -> None:
    server.rooms.join(connection, "everybody")


@server.on_message
def said(connection: Connection, message: Any) -> None:
    came_by = f"{connection.transformer} by {connection.transport}"
    server.broadcast({"came by": came_by, "message": message}, room="everybody")


if __name__ == "__main__":
    server.run()
