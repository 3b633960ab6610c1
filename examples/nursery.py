"""A server among the other tasks of a trio program: started in a nursery, ended by cancelling it."""

import trio

from ahtransport import Connection, Server

server = Server(port=8080)


async def ticks(connection: Connection) -> None:
    """A task that ends with its connection."""
    while True:
        await trio.sleep(1)
        await connection.send({"tick": trio.current_time()})


@server.on_open
def opened(connection: Connection) -> None:
    connection.start_soon(ticks, connection)


async def main(seconds: float = 10) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)  # returns when it listens
        print(f"on {server.url} for {seconds} seconds")
        await trio.sleep(seconds)
        server.shutdown()  # says goodbye; nursery.cancel_scope.cancel() would end it at once


if __name__ == "__main__":
    trio.run(main)
