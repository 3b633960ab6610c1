"""Event style: plain functions, and no task for any connection. Made for very many clients that say little.

A chat without rooms: what one says, all hear.
"""

from typing import Any

from ahtransport import Connection, Server

server = Server(port=8080)


@server.on_open
def opened(connection: Connection) -> None:
    connection.send_nowait({"online": len(server.connections)})


@server.on_message
def said(connection: Connection, message: Any) -> None:
    server.broadcast({"from": connection.id, "message": message})


@server.on_close
def closed(connection: Connection, code: int, reason: str) -> None:
    server.broadcast({"gone": connection.id, "code": code})


if __name__ == "__main__":
    server.run()
