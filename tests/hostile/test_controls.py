"""E14: Primus' control messages from a client, over every transformer that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ahtransport.testing import Record, Stage, Variant
from hostile.test_time import play

if TYPE_CHECKING:
    from ahtransport import Connection
    from ahtransport.testing import MessageClient

IGNORED = ("primus::server::close", "primus::stale::1", "primus::pong::1", "primus::server::", "primus::id::x")
PLAIN = ("primus::x", "primus::", "primus", "primus:ping", "xprimus::ping::1", "Primus::ping::1")


def test_e14_control_messages_from_a_client(variant: Variant) -> None:
    """A ping is answered with its own time, an id is asked for; what only servers say does nothing, to this client or
    another; what only looks like a control message is a message."""
    stage = Stage(variant, "memory")
    server = stage.server(ping_interval=0)
    record = Record(server)
    got: list[Any] = []

    @server.on_message
    def echo(connection: Connection, message: Any) -> None:
        got.append(message)
        connection.send_nowait(message)

    async def exchange(client: MessageClient, text: str) -> list[str]:
        client.control.clear()
        await client.send(text)
        await client.send("mark")
        while await client.receive() != "mark":
            pass
        return list(client.control)

    async def scene() -> None:
        async with stage.serving(server), stage.connect() as bystander, stage.connect() as client:
            if not variant.primus:  # Socket.IO's clients know none of them
                for text in (*IGNORED, *PLAIN):
                    assert await exchange(client, text) == []
                assert [message for message in got if message != "mark"] == [*IGNORED, *PLAIN]
                return
            assert await exchange(client, "primus::ping::1234") == ["primus::pong::1234"]
            assert await exchange(client, "primus::ping::" + "x" * 500) in ([], ["primus::pong::" + "x" * 500])
            (told,) = await exchange(client, "primus::id::")
            assert told.removeprefix("primus::id::") in (record.opened[1].id, record.opened[1]._wire_id)
            assert [message for message in got if message != "mark"] == []
            for text in IGNORED:
                assert all(answer.startswith("primus::id::") for answer in await exchange(client, text))
            assert [message for message in got if message != "mark"] == []
            await exchange(bystander, "hello")
            assert not record.closed
            got.clear()
            for text in PLAIN:
                await client.send(text)
            await exchange(client, "last")
            assert got == [*PLAIN, "last", "mark"]

    play(stage, scene)
