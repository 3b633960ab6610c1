"""npm engine.io-client of three generations, by polling, by WebSocket, and from one to the other.

What can be held against a real Engine.IO server is: the scenarios run on both, and the records must be equal.
"""

import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio

from clients.app import EchoApp, MixedParser, served
from clients.harness import Record, drive_engineio, engineio_oracle, node_marks, of_transformer

pytestmark = [*node_marks, of_transformer("engine.io")]

GENERATIONS = (6, 5, 4)
VERSIONS = {6: "6.6.8", 5: "5.2.0", 4: "4.1.4"}
MODES = ("polling", "websocket", "upgrade")

each = pytest.mark.parametrize(
    ("generation", "mode"),
    [pytest.param(generation, mode, id=f"{generation}-{mode}") for generation in GENERATIONS for mode in MODES],
)


def app_with(**options: Any) -> EchoApp:
    return EchoApp(**{"transformer": "engine.io", "parser": MixedParser, **options})


async def ours(generation: int, mode: str, scenario: str, **options: Any) -> list[Record]:
    """Run a scenario against ours; the records, less the first, which says who the client is."""
    async with served(app_with(**options)) as url:
        first, *records = await drive_engineio(str(generation), mode, scenario, url)
    assert first == {"protocol": 4, "engineio": VERSIONS[generation]}
    return records


async def both(generation: int, mode: str, scenario: str, **transport: Any) -> list[Record]:
    """Run a scenario against npm engine.io as well; the records, once they are seen to be the same.

    *transport* are the options of the transformer, in npm's spelling.
    """
    expected: list[Record] = []
    records: list[Record] = []

    async def drive(running: AbstractAsyncContextManager[str], into: list[Record]) -> None:
        async with running as url:
            into.extend(await drive_engineio(str(generation), mode, scenario, url))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drive, engineio_oracle({"maxHttpBufferSize": 10485760, **transport}), expected)
        nursery.start_soon(drive, served(app_with(transport=transport)), records)
    assert records == expected
    return records[1:]


@each
async def test_text(generation: int, mode: str) -> None:
    *echoes, last = await both(generation, mode, "echo")
    assert len(echoes) > 10
    assert all(record["got"] == record["sent"] for record in echoes)
    transport = "polling" if mode == "polling" else "websocket"
    assert last == {"transport": transport, "seen": transport}


@each
async def test_binary(generation: int, mode: str) -> None:
    records = await both(generation, mode, "binary")
    sizes = [record for record in records if "size" in record]
    assert len(sizes) == 16
    assert all(record["binary"] and record["same"] for record in sizes)
    assert [record["mixed"] for record in records if "mixed" in record] == [list(range(20))] * 2


@each
async def test_heartbeat(generation: int, mode: str) -> None:
    """Intervals under a second are told exactly, and kept."""
    first, last = await both(generation, mode, "heartbeat", pingInterval=150, pingTimeout=600)
    assert first == {
        "pingInterval": 150,
        "pingTimeout": 600,
        "upgrades": [] if mode == "websocket" else ["websocket"],
        "maxPayload": 10485760,
    }
    assert last == {"got": "still here"}


@pytest.mark.parametrize("mode", MODES)
async def test_a_server_that_hangs(mode: str) -> None:
    assert await both(6, mode, "freeze", pingInterval=200, pingTimeout=400) == [{"reason": "ping timeout"}]


@each
async def test_the_server_closes(generation: int, mode: str) -> None:
    assert await both(generation, mode, "last") == [{"messages": ["the last word"], "reason": "transport close"}]


@each
async def test_the_client_closes(generation: int, mode: str) -> None:
    assert await both(generation, mode, "leave") == [{"reason": "forced close"}, {"ended": 1}]


@pytest.mark.parametrize("transport", [{"transports": ["polling"]}, {"allowUpgrades": False}])
async def test_without_upgrades(transport: dict[str, Any]) -> None:
    records = await both(6, "upgrade", "stay", **transport)
    assert records == [{"upgrades": []}, {"transport": "polling", "got": "still here"}]


async def test_without_polling() -> None:
    """A client that begins by polling is refused, one that begins by WebSocket is not."""
    refusal = {"code": 0, "message": "Transport unknown"}
    expected = [{"message": "xhr poll error", "description": 400, "said": json.dumps(refusal, separators=(",", ":"))}]
    assert await both(6, "upgrade", "unwanted", transports=["websocket"]) == expected
    assert (await both(6, "websocket", "stay", transports=["websocket"]))[-1]["transport"] == "websocket"


@each
async def test_refused(generation: int, mode: str) -> None:
    """The reason is where this client's error keeps it: in the context, as of client 6."""
    *refusals, last = await ours(generation, mode, "refused")
    assert last == {"got": "welcome"}
    if mode == "websocket":
        assert [record["message"] for record in refusals] == ["websocket error"] * 2
        return
    assert [record["message"] for record in refusals] == ["xhr poll error"] * 2
    assert [record["description"] for record in refusals] == [401, 403]
    if generation == 6:
        said = [json.loads(record["said"]) for record in refusals]
        assert said == [{"error": "a token is required"}, {"error": "this token is not known"}]


@each
async def test_big(generation: int, mode: str) -> None:
    """No answer to a poll is larger than what the client was told, and none of the messages is lost."""
    burst, *rest = await ours(generation, mode, "big", max_length=10_000)
    assert burst["lengths"] is True
    if mode == "polling":
        assert 10 <= burst["polls"] <= 100  # for 311 messages
        assert 9_900 < burst["largest"] <= 10_001  # a packet that is larger by itself travels alone
    assert rest[:2] == [{"size": 9996, "length": 9996}, {"size": 9997, "length": 9997}]
    assert rest[2:] == ([{"count": 100, "inOrder": True}] if generation == 6 else [])


@each
async def test_numbered_messages_both_ways(generation: int, mode: str) -> None:
    counted = {"count": 200, "inOrder": True}
    transport = "polling" if mode == "polling" else "websocket"
    upgraded = 1 if mode == "upgrade" else 0
    expected = {"upgraded": upgraded, "transport": transport, "echoes": counted, "own": counted}
    assert await ours(generation, mode, "fire") == [expected] * 8


@each
async def test_much_at_once(generation: int, mode: str) -> None:
    """An upgrade does not wait for the application, nor the application for the upgrade."""
    transport = "polling" if mode == "polling" else "websocket"
    assert await ours(generation, mode, "load") == [{"transport": transport, "count": 60, "inOrder": True}]


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_last_word_at_any_time_of_an_upgrade(generation: int) -> None:
    expected = {"messages": ["the last word"], "reason": "transport close"}
    assert await ours(generation, "upgrade", "bow") == [expected] * 24


@each
async def test_restart(generation: int, mode: str) -> None:
    assert await ours(generation, mode, "restart") == [{"reason": "transport close"}, {"got": "back"}]
