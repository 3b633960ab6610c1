"""The smallest server: every message goes back to its sender.

Start it with ``python examples/echo.py`` and talk to ``ws://127.0.0.1:8080/primus``, in JSON.
"""

from ahtransport import Connection, Server


async def echo(connection: Connection) -> None:
    async for message in connection:
        await connection.send(message)  # waits while this client reads too slowly


server = Server(echo, transformer="websockets", port=8080)

if __name__ == "__main__":
    server.run()
