"""The library websockets on asyncio: ``python websockets_server.py PORT``."""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

clients: set[ServerConnection] = set()


async def handler(connection: ServerConnection) -> None:
    """Send to all what begins with B, and the rest back. A message is a JSON string: the B is its second character."""
    clients.add(connection)
    try:
        async for message in connection:
            if message[:2] == '"B':
                broadcast(clients, message)
            else:
                await connection.send(message)
    finally:
        clients.discard(connection)


async def main() -> None:
    """Serve for ever."""
    async with serve(handler, "127.0.0.1", int(sys.argv[1]), compression=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
