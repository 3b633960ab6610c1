"""Real Primus clients of three generations see of ours what they see of a real Primus server, on every transformer.

Each scenario of tests/clients/primus_driver.cjs runs twice, against npm Primus and against ours, and the two records
must be equal. What the scenario itself has to show is asserted on the record as well, so that two wrongs make no right.
"""

import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio

from clients.app import EchoApp, served
from clients.harness import Record, drive_primus, node_marks, of_transformer, oracle

pytestmark = node_marks

GENERATIONS = (8, 7, 6)
VERSIONS = {8: "8.0.9", 7: "7.3.5", 6: "6.1.0"}

SCENARIOS = (
    "echo",
    "queue",
    "garbage",
    "id",
    "big",
    "heartbeat",
    "mute",
    "restart",
    "end",
    "last",
    "bounce",
    "leave",
    "broadcast",
    "refused",
    "emitter",
)

#: What carries the messages: the transformer, and whether WebSockets are avoided. The oldest two generations need not
#: show once more that polling alone will do.
CARRIERS: dict[str, dict[str, Any]] = {
    "websockets": {"transformer": "websockets"},
    "engine.io": {"transformer": "engine.io"},
    "polling": {"transformer": "engine.io", "polling": True},
}
CASES = [
    pytest.param(generation, carrier, id=f"{generation}-{carrier}", marks=of_transformer(options["transformer"]))
    for carrier, options in CARRIERS.items()
    for generation in (GENERATIONS if carrier != "polling" else (8,))
]

BACK = ["open", "close", "reconnect scheduled", "reconnected", "open"]


def primus_options(scenario: str, generation: int, carrier: str) -> dict[str, Any]:
    """What the real server is started with, and what the client library is compiled from."""
    options = CARRIERS[carrier] | ({"emitter": True} if scenario == "emitter" else {})
    if scenario in {"heartbeat", "mute"}:
        options |= {"timeout": 1500} if generation == 6 else {"pingInterval": 600}
    return options


def our_options(scenario: str, carrier: str) -> dict[str, Any]:
    """The same for ours. One server is right for all generations, so the generation does not enter."""
    options: dict[str, Any] = {"transformer": CARRIERS[carrier]["transformer"]}
    if scenario == "heartbeat":
        options |= {"ping_interval": 600, "timeout": 1500}
    if scenario == "mute":
        options |= {"ping_interval": 300, "timeout": 800}
    return options


async def both(scenario: str, generation: int, theirs: dict[str, Any], app: EchoApp) -> list[Record]:
    """Run the scenario against a real Primus and against ours; the record, once it is seen to be the same."""
    expected: list[Record] = []
    records: list[Record] = []

    async def drive(running: AbstractAsyncContextManager[str], into: list[Record]) -> None:
        async with running as url:
            into.extend(await drive_primus(str(generation), scenario, url, json.dumps(theirs)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drive, oracle(generation, theirs), expected)
        nursery.start_soon(drive, served(app), records)
    assert records == expected
    assert records[0] == {"primus": VERSIONS[generation]}
    return records


def events(records: list[Record]) -> list[str]:
    return [record["event"] for record in records if "event" in record]


@pytest.mark.parametrize(("generation", "carrier"), CASES)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_same_as_primus(scenario: str, generation: int, carrier: str) -> None:
    app = EchoApp(**our_options(scenario, carrier))
    records = await both(scenario, generation, primus_options(scenario, generation, carrier), app)
    last = records[-1]
    match scenario:
        case "echo":
            echoes = [record for record in records if "sent" in record]
            assert len(echoes) > 30
            assert all(record["got"] == record["sent"] for record in echoes)
            assert last == {"deep": True}
        case "queue":
            assert last == {"answers": list(range(100))}
        case "garbage":
            assert last == {"got": "still here"}
            assert len(app.undecodable) == 6
        case "id":
            assert last == {"type": "string", "filled": True, "stable": True, "own": True}
        case "big":
            assert last == {"size": 1 << 20, "length": 1 << 20, "same": True}
        case "heartbeat":
            assert records.count({"beat": True}) == 4
            assert last == {"strayed": [], "got": "still here"}
            assert events(records) == ["open"]
        case "mute" | "restart" | "bounce":
            assert events(records) == BACK
            assert last["got"] == "back"
        case "end":
            assert records[-4:-1] == [{"control": "primus::server::close"}, {"event": "close"}, {"event": "end"}]
            assert last == {"open": False, "reconnecting": False}
        case "last":
            assert {"got": "the last word"} in records
        case "leave":
            assert last == {"ended": 1}
        case "broadcast":
            assert len(last["heard"]) == 3
        case "refused":
            refusals = [(record["statusCode"], json.loads(record["body"])) for record in records if "body" in record]
            doors = 1 if carrier == "websockets" else 2
            unknown, wrong = (401, {"error": "a token is required"}), (403, {"error": "this token is not known"})
            assert refusals == [unknown] * doors + [wrong] * doors
            assert events(records) == ["error", "close", "end"] * 2 + ["open"]
        case "emitter":
            assert {"answered": [42]} in records
            assert last == {"got": {"plain": "message"}}


@pytest.mark.parametrize("scenario", ["echo", "heartbeat", "emitter", "end"])
@pytest.mark.parametrize(("generation", "carrier"), CASES)
async def test_messagepack(generation: int, carrier: str, scenario: str) -> None:
    """The parser "msgpack" against npm primus-msgpack, control messages included: they are encoded as well."""
    theirs = {"msgpack": True, **primus_options(scenario, generation, carrier)}
    await both(scenario, generation, theirs, EchoApp(parser="msgpack", **our_options(scenario, carrier)))
