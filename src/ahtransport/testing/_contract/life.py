"""Life and death of connections: events, closing, heartbeats, shutdown, cancellation."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from ahtransport._errors import ConnectionClosed
from ahtransport.abc import Control
from ahtransport.testing._contract.tools import CLOSE, OnStage, ask, echo, ended, in_memory
from ahtransport.testing._stage import Record

if TYPE_CHECKING:
    from ahtransport._connection import Connection
    from ahtransport.testing._clients import MessageClient
    from ahtransport.testing._stage import Stage


class Life(OnStage):
    """How connections begin and end."""

    @pytest.mark.parametrize("how", ["client closes", "client vanishes", "server closes"])
    async def test_one_close_for_each_open(self, stage: Stage, how: str) -> None:
        after: list[Any] = []

        async def handler(connection: Connection) -> None:
            async for message in connection:
                if message == "close":
                    connection.close(4321, "wörds")
                await trio.lowlevel.checkpoint()
            after.append("the loop has ended")
            with pytest.raises(ConnectionClosed):
                await connection.send("too late")

        server = stage.server(handler)
        record = Record(server)
        async with stage.serving(server):
            for number in range(1, 6):
                async with stage.connect() as client:
                    await record.until(functools.partial(lambda n: len(record.opened) == n, number))
                    if how == "client closes":
                        await client.close()
                    elif how == "client vanishes":
                        await client.abort()
                    else:
                        await client.send("close")
                        await ended(client)
                        stage.check_closed(client, 4321, "wörds")
                    await record.until(functools.partial(lambda n: len(record.closed) == n, number))
            assert not server.connections
        assert [connection for connection, _, _ in record.closed] == record.opened
        assert after == ["the loop has ended"] * 5
        codes = {code for _, code, _ in record.closed}
        if how == "server closes":
            assert codes == {4321}
        elif stage.variant.codes:
            assert codes == ({1000} if how == "client closes" else {1006})

    @pytest.mark.parametrize("reconnect", [False, True])
    async def test_a_close_says_whether_to_come_back(self, stage: Stage, reconnect: bool) -> None:
        async def handler(connection: Connection) -> None:
            await connection.send("last words")
            connection.close(reconnect=reconnect)

        async with stage.serving(stage.server(handler)), stage.connect() as client:
            assert await ended(client) == ["last words"]
            stage.check_closed(client, 1000)
            assert client.control == ([] if reconnect else [CLOSE])

    async def test_what_was_sent_before_a_close_arrives(self, stage: Stage) -> None:
        async def handler(connection: Connection) -> None:
            for number in range(500):
                await connection.send([number, "x" * 1000])
            connection.close()

        async with stage.serving(stage.server(handler)), stage.connect() as client:
            assert [number for number, _ in await ended(client)] == list(range(500))

    async def test_what_was_received_before_the_end_is_handled(self, stage: Stage) -> None:
        seen: list[Any] = []

        async def handler(connection: Connection) -> None:
            async for message in connection:
                await trio.lowlevel.checkpoint()
                seen.append(message)

        server = stage.server(handler)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            for number in range(10):
                await client.send(number)
            await client.close()
            await record.until(lambda: record.closed)
        assert seen == list(range(10))

    # -- heartbeats

    async def test_control_messages_are_answered(self, stage: Stage) -> None:
        if not stage.variant.primus:
            pytest.skip("does not speak Primus' protocol")
        server = stage.server(echo)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            await client.send_packet(Control("primus::ping::1795369697871"))
            await client.send_packet(Control("primus::id::"))
            await client.send_packet(Control("primus::server::unknown"))
            assert await ask(client, "after") == "after"
            pong, number = client.control
            assert pong == "primus::pong::1795369697871"
            assert number.startswith("primus::id::")
            assert len(number) > 20
        assert not record.errors

    @in_memory
    async def test_clients_are_pinged_and_stay(self, stage: Stage) -> None:
        if not stage.variant.primus:
            pytest.skip("has heartbeats of its own")
        server = stage.server(echo)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            with trio.move_on_after(301):
                await client.receive()
            assert [text.startswith("primus::ping::") for text in client.control] == [True] * 10
            assert not record.closed
            assert await ask(client, 1) == 1

    @in_memory
    async def test_clients_that_ping_by_themselves_are_not_pinged(self, stage: Stage) -> None:
        if not stage.variant.primus:
            pytest.skip("has heartbeats of its own")
        server = stage.server(echo)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            for number in range(12):
                await client.send_packet(Control(f"primus::ping::{number}"))
                with trio.move_on_after(25):
                    await client.receive()
            assert client.control == [f"primus::pong::{number}" for number in range(12)]
            assert not record.closed

    @in_memory
    async def test_silent_clients_are_given_up(self, stage: Stage) -> None:
        if not stage.variant.primus:
            pytest.skip("has heartbeats of its own")
        server = stage.server(echo)
        record = Record(server)
        async with stage.serving(server), stage.connect() as canary:

            async def stay(client: MessageClient) -> None:
                await client.receive()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(stay, canary)
                async with stage.connect() as client:
                    start = trio.current_time()
                    await record.until(lambda: record.closed)
                    assert trio.current_time() - start == pytest.approx(35, abs=0.1)
                    await ended(client)
                    stage.check_closed(client, 1001)
                    assert CLOSE not in client.control  # it may come back
                nursery.cancel_scope.cancel()
            assert await ask(canary, "still here") == "still here"

    @in_memory
    async def test_any_traffic_proves_life(self, stage: Stage) -> None:
        server = stage.server(echo, ping_interval=0, timeout=35000)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            for number in range(10):
                await trio.sleep(30)
                assert await ask(client, number) == number
            assert not record.closed

    @in_memory
    async def test_without_a_timeout_silence_is_fine(self, stage: Stage) -> None:
        if stage.variant.heartbeat or not stage.variant.primus:
            pytest.skip("has heartbeats of its own")
        server = stage.server(echo, ping_interval=0, timeout=0)
        async with stage.serving(server), stage.connect() as client:
            await trio.sleep(1000)
            assert await ask(client, 1) == 1
            assert client.control == []

    # -- the end of the server

    @pytest.mark.parametrize("destroy", [False, True])
    async def test_a_shutdown_tells_the_clients(self, stage: Stage, destroy: bool) -> None:
        server = stage.server(echo, destroy_clients_on_shutdown=destroy)
        record = Record(server)
        async with stage.serving(server), stage.connect() as one, stage.connect() as two:
            assert await ask(one, 1) == 1
            await record.until(lambda: len(record.opened) == 2)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ended, one)
                nursery.start_soon(ended, two)
                await trio.testing.wait_all_tasks_blocked(0 if stage.clock else 0.05)  # both listen
                server.shutdown()
            for client in (one, two):
                stage.check_closed(client, 1012)
                assert client.control == ([CLOSE] if destroy else [])
            await stage.stopped(server)
        assert len(record.closed) == 2

    @in_memory
    async def test_handlers_have_a_while_to_finish(self, stage: Stage) -> None:
        async def handler(connection: Connection) -> None:
            try:
                async for _ in connection:
                    pass
                await trio.sleep(3)
                finished.append("tidied up")
                await trio.sleep_forever()
            finally:
                finished.append(trio.current_time() - start)

        finished: list[Any] = []
        server = stage.server(handler, close_timeout=60000)
        record = Record(server)
        async with stage.serving(server), stage.connect() as client:
            await record.until(lambda: record.opened)
            start = trio.current_time()
            server.shutdown()
            await ended(client)
            await stage.stopped(server)
            assert trio.current_time() - start == pytest.approx(10)  # shutdown_grace
        assert finished == ["tidied up", pytest.approx(10)]
        assert len(record.closed) == 1

    @in_memory
    async def test_a_client_that_does_not_read_does_not_hold_up_a_shutdown(self, stage: Stage) -> None:
        server = stage.server()
        record = Record(server)
        async with stage.serving(server), stage.connect(capacity=1024):
            await record.until(lambda: record.opened)
            server.broadcast("x" * 500_000)
            start = trio.current_time()
            server.shutdown()
            await stage.stopped(server)
            assert trio.current_time() - start <= 10
        assert len(record.closed) == 1

    async def test_cancelling_the_server_leaves_nothing(self, stage: Stage) -> None:
        async def handler(connection: Connection) -> None:
            connection.start_soon(trio.sleep_forever)
            server.rooms.join(connection, "room")
            connection.start_soon(connection.call, "never")
            async for _ in connection:
                await trio.sleep_forever()

        server = stage.server(handler)
        record = Record(server)
        async with stage.serving(server), stage.connect() as one, stage.connect() as two:
            await record.until(lambda: len(record.opened) == 2)
            await one.send(1)
            assert (await two.receive()).name == "never"
        # Nothing is left: ``serving`` has checked it. And everybody was seen off.
        assert len(record.closed) == 2

    async def test_a_server_can_run_again(self, stage: Stage) -> None:
        server = stage.server(echo)
        record = Record(server)
        for _ in range(3):
            async with stage.serving(server), stage.connect() as client:
                assert await ask(client, 1) == 1
        assert len(record.opened) == len(record.closed) == 3
