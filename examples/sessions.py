"""One session for a browser's web requests and its websockets: linked by the fingerprint cookie.

``GET /count`` counts and sets the cookie; a websocket that brings the cookie sees the same count, and may change it.
"""

from typing import Any

from ahtransport import Connection, Request, Response, Server

server = Server(port=8080)


async def count(request: Request) -> Response:
    async with server.session_for(request).change() as data:  # atomic: one change at a time
        data["visits"] = data.get("visits", 0) + 1
        return Response.json(200, {"visits": data["visits"]})


server.route("/count", count)


@server.on_message
async def received(connection: Connection, message: Any) -> None:
    if message == "reset":
        async with connection.session.change() as data:
            data["visits"] = 0
    await connection.send({"visits": connection.session.get("visits", 0)})  # reading is a plain mapping


if __name__ == "__main__":
    server.run()
