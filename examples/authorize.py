"""Refusing clients before the upgrade: they get a plain HTTP answer with a status and a reason.

``ws://127.0.0.1:8080/primus?token=open-sesame`` gets in.
"""

import hmac

import trio

from ahtransport import Connection, Reject, Request, Server

TOKENS = {"open-sesame": "Ali Baba"}


async def find_user(token: str) -> str | None:
    await trio.lowlevel.checkpoint()  # a real one would ask a database here
    for known, user in TOKENS.items():
        if hmac.compare_digest(known.encode(), token.encode()):
            return user
    return None


async def greet(connection: Connection) -> None:
    user = await find_user(connection.query["token"])
    await connection.send({"welcome": user})
    async for message in connection:
        await connection.send({"user": user, "said": message})


server = Server(greet, port=8080)


@server.authorize
async def check(request: Request) -> None:
    token = request.query.get("token")
    if token is None:
        raise Reject(401, "a token is required", [("WWW-Authenticate", "Bearer")])
    if await find_user(token) is None:
        raise Reject(403, "this token is not known")


if __name__ == "__main__":
    server.run()
