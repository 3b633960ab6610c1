"""F16: everybody loses the server at one moment, and comes back."""

from __future__ import annotations

import os
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
CROWD = 5000

slow = pytest.mark.skipif(os.environ.get("AHTRANSPORT_SLOW") != "1", reason="takes a minute: set AHTRANSPORT_SLOW=1")


@pytest.mark.parametrize("kind", ["generated", "6", "7", "8"])
@of_transformer("websockets")
class TestRealClients:
    pytestmark = node_marks

    async def test_f16_real_clients_come_back(self, kind: str, tmp_path: Path) -> None:
        """Of ours each waits for a time of its own from the first attempt on, between one and two times ``min``, so
        that they don't all come at once. Primus' own do: with them chance begins at the second attempt.
        """
        file = write_client(tmp_path, transformer="websockets") if kind == "generated" else ""
        await self.storm(kind, file, CLIENTS)

    @pytest.mark.slow
    @slow
    async def test_f16_thousands_of_real_clients_come_back(self, kind: str, tmp_path: Path) -> None:
        """Twenty times as many have as long."""
        file = write_client(tmp_path, transformer="websockets") if kind == "generated" else ""
        await self.storm(kind, file, CROWD)

    async def storm(self, kind: str, file: str, count: int) -> None:
        """Have so many clients lose their server, and see them come back."""
        async with served(EchoApp()) as url:
            waits, end = await run_node("storm_driver.cjs", kind, str(count), url, file, patience=40 + count / 50)
        print(f"{kind}: {count} clients were served again after {end['seconds']:.1f} s")
        assert sorted(end["echoes"]) == list(range(count))
        assert end["seconds"] < 20
        assert len(waits["waits"]) == count
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
    await come_back_at_once(2 * CLIENTS)


@pytest.mark.slow
@slow
@pytest.mark.parametrize("driver", ["reactor", "task"])
async def test_f16_thousands_at_once(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They need two descriptors each, and the server is in their own process: together they have twenty seconds."""
    monkeypatch.setattr(Server, "_driver", driver)
    first, second = await come_back_at_once(CROWD)
    print(f"{driver}: {CROWD} clients were served after {first:.1f} s, and again after {second:.1f} s")


async def come_back_at_once(count: int) -> list[float]:
    """Have so many clients lose their server and come back; gives the seconds that either coming took for all."""

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
    took = []
    for _ in range(2):
        server = make(port)
        raws: list[Raw] = []
        async with running(server):
            port = server.port
            began = trio.current_time()
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    for number in range(count):
                        nursery.start_soon(talk, port, number, raws)
            took.append(trio.current_time() - began)
            assert len(server.connections) == count
            server.shutdown()
            with trio.fail_after(20):
                for raw in raws:
                    assert (await raw.frame())[1][:2] == (1012).to_bytes(2)
                    raw.hang_up()
                await server._ended.wait()
        assert leftovers(server) == []
    return took
