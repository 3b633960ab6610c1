"""The server that is measured: ``python app.py PORT [inline|task] [TRANSFORMER]``.

``inline`` handles messages in a plain function, ``task`` in a task per connection. Either way a text message that
begins with ``B`` goes to every connection, any other back to its sender.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ahtransport import Server

if TYPE_CHECKING:
    from ahtransport import Connection


def make(handler: str, **options: Any) -> Server:
    """Make the server with one kind of handler, ``inline`` or ``task``."""
    if handler == "task":

        async def echo(connection: Connection) -> None:
            async for message in connection:
                if isinstance(message, str) and message.startswith("B"):
                    server.broadcast(message)
                else:
                    await connection.send(message)

        server = Server(echo, **options)
        return server
    if handler != "inline":
        raise SystemExit(f"the handler is inline or task, not {handler}")

    server = Server(**options)

    @server.on_message
    def answer(connection: Connection, message: Any) -> None:
        if isinstance(message, str) and message.startswith("B"):
            server.broadcast(message)
        else:
            connection.send_nowait(message)

    return server


def main(port: str, handler: str = "inline", transformer: str = "websockets") -> None:
    """Serve until a signal ends it."""
    make(handler, port=int(port), transformer=transformer).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
