"""Seeing every message on its way in and out, as with Primus' ``transform``; and a plug-in that bundles such things."""

import time
from typing import Any

from ahtransport import Connection, Envelope, Request, Response, Server


def number_them(envelope: Envelope) -> None:
    """Give every message from this connection a running number."""
    count = envelope.connection.data.get("count", 0) + 1
    envelope.connection.data["count"] = count
    envelope.data = {"number": count, "message": envelope.data}


def keep_secrets(envelope: Envelope) -> bool:
    """Drop a message that is about a secret: returning False drops it."""
    return "secret" not in str(envelope.data)


class Clock:
    """A plug-in: its ``server`` part is called once with the server and its options."""

    def server(self, server: Server, options: Any) -> None:
        async def now(request: Request) -> Response:
            return Response.json(200, {"epoch_ms": int(time.time() * 1000)})

        server.route("/clock", now)


async def echo(connection: Connection) -> None:
    async for message in connection:
        await connection.send(message)


server = Server(echo, port=8080)
server.transform("incoming", number_them)
server.transform("outgoing", keep_secrets)
server.plugin("clock", Clock())


@server.use
def no_robots(request: Request) -> Response | None:
    """A middleware: sees every HTTP and upgrade request first."""
    if "robot" in request.headers.get("user-agent", "").lower():
        return Response.text(403, "people only")
    return None


if __name__ == "__main__":
    server.run()
