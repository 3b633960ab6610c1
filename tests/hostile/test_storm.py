"""F16: everybody loses the server at one moment, and comes back."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest
import trio

from ahtransport import Connection, Server
from ahtransport.testing import leftovers, running
from clients.app import EchoApp, served
from clients.harness import node_marks, of_transformer, run_node
from hostile.wire import TEXT, Raw, frame, upgrade
from test_client_primus import write_client

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = 250


@pytest.mark.parametrize("kind", ["generated", "6", "7", "8"])
@of_transformer("websockets")
class TestRealClients:
    pytestmark = node_marks

    async def test_f16_real_clients_come_back(self, kind: str, tmp_path: Path) -> None:
        """Of ours each waits for a time of its own from the first attempt on, between one and two times ``min``, so
        that they don't all come at once. Primus' own do: with them chance begins at the second attempt.
        """
        file = write_client(tmp_path, transformer="websockets") if kind == "generated" else ""
        async with served(EchoApp()) as url:
            waits, end = await run_node("storm_driver.cjs", kind, str(CLIENTS), url, file)
        assert sorted(end["echoes"]) == list(range(CLIENTS))
        assert end["seconds"] < 20
        assert len(waits["waits"]) == CLIENTS
        if kind != "generated":
            assert set(waits["waits"]) == {500}
            return
        assert 500 <= min(waits["waits"]) < 600
        assert 900 < max(waits["waits"]) <= 1000
        assert 100 < statistics.stdev(waits["waits"]) < 200  # evenly spread: 144


@pytest.mark.parametrize("driver", ["reactor", "task"])
async def test_f16_all_at_once(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients without any back-off: as soon as the server is there again all of them are, and all are served."""
    monkeypatch.setattr(Server, "_driver", driver)

    def make(port: int) -> Server:
        server = Server(config={}, port=port, transformer="websockets")
        server.on_message(echo)
        return server

    def echo(connection: Connection, message: object) -> None:
        connection.send_nowait(message)

    async def talk(port: int, number: int, raws: list[Raw]) -> None:
        raw = Raw(await trio.open_tcp_stream("127.0.0.1", port))
        raws.append(raw)
        await raw.send(upgrade())
        assert (await raw.answer()).status == 101
        await raw.send(frame(TEXT, b"%d" % number))
        assert await raw.text() == str(number)

    port = 0
    for _ in range(2):
        server = make(port)
        raws: list[Raw] = []
        async with running(server):
            port = server.port
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    for number in range(2 * CLIENTS):
                        nursery.start_soon(talk, port, number, raws)
            assert len(server.connections) == 2 * CLIENTS
            server.shutdown()
            with trio.fail_after(20):
                for raw in raws:
                    assert (await raw.frame())[1][:2] == (1012).to_bytes(2)
                    raw.hang_up()
                await server._ended.wait()
        assert leftovers(server) == []
