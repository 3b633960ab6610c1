"""Limits on who may come and how much they may ask for; all of them are off unless set.

The second connection from one address is refused with 429, the third in all with 503. An action asked for too often is
answered with an error, and a client that does not stop then is closed with 1008.
"""

from ahtransport import ActionServer, Connection

server = ActionServer(
    port=8080,
    max_connections=2,
    max_connections_per_address=1,
    message_rate=5,
    message_burst=10,
    request_rate=20,
    trusted_proxies=["127.0.0.1"],
    welcome_message="",
)


@server.action
async def ping(connection: Connection) -> dict[str, bool]:
    """Say that somebody is there."""
    return {"pong": True}


if __name__ == "__main__":
    server.run()
