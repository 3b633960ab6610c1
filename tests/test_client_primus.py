"""The Primus client that the server generates, in Node.js: alone, against npm Primus and against ours.

Each scenario of tests/clients/generated_primus.cjs runs twice, with a real Primus server and with ours, and the two
records must be equal. What the scenario itself has to show is asserted on the record as well.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

from ahtransport import Server
from clients.app import EchoApp, served
from clients.harness import Record, node_marks, of_transformer, oracle, run_node

pytestmark = node_marks

#: What carries the messages: the transformer, and whether WebSockets are avoided.
CARRIERS: dict[str, dict[str, Any]] = {
    "websockets": {"transformer": "websockets"},
    "engine.io": {"transformer": "engine.io"},
    "polling": {"transformer": "engine.io", "websockets": False},
}
CASES = [
    pytest.param(carrier, id=carrier, marks=of_transformer(options["transformer"]))
    for carrier, options in CARRIERS.items()
]

SCENARIOS = (
    "echo",
    "queue",
    "away",
    "id",
    "big",
    "heartbeat",
    "restart",
    "destroyed",
    "end",
    "last",
    "bounce",
    "leave",
    "again",
    "broadcast",
    "refused",
    "transforms",
    "emitter",
)

BACK = ["open", "close", "reconnect scheduled", "reconnected", "open"]


def write_client(directory: Path, extension: str = ".js", **options: Any) -> str:
    """Write the client that a server with these options generates; give its path."""
    files = Server(**options).client_files()
    path = directory / f"client{extension}"
    path.write_bytes(files.files[f"{files.name}{extension}"])
    return str(path)


def server_options(scenario: str, transformer: str) -> dict[str, Any]:
    """What ours is started with."""
    options: dict[str, Any] = {"transformer": transformer}
    if scenario == "heartbeat":
        options |= {"ping_interval": 600, "timeout": 1500}
    if scenario == "destroyed":
        options |= {"destroy_clients_on_shutdown": True}
    return options


def oracle_options(scenario: str, transformer: str) -> dict[str, Any]:
    """The same for the real Primus."""
    options: dict[str, Any] = {"transformer": transformer}
    if scenario == "heartbeat":
        options |= {"pingInterval": 600}
    if scenario == "emitter":
        options |= {"emitter": True}
    return options


async def both(
    scenario: str, carrier: str, directory: Path, generation: int = 8, client: Mapping[str, Any] | None = None
) -> list[Record]:
    """Run the scenario against a real Primus and against ours; the record, once it is seen to be the same."""
    transformer = CARRIERS[carrier]["transformer"]
    options = server_options(scenario, transformer)
    file = write_client(directory, **options)
    client_options = json.dumps({**CARRIERS[carrier], **(client or {})})
    expected: list[Record] = []
    records: list[Record] = []

    async def drive(running: AbstractAsyncContextManager[str], into: list[Record]) -> None:
        async with running as url:
            into.extend(await run_node("generated_primus.cjs", file, scenario, url, client_options))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drive, oracle(generation, oracle_options(scenario, transformer)), expected)
        nursery.start_soon(drive, served(EchoApp(**options)), records)
    assert records == expected
    return records


def events(records: list[Record]) -> list[str]:
    return [record["event"] for record in records if "event" in record]


@pytest.mark.parametrize("carrier", CASES)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_same_with_primus_and_with_ours(scenario: str, carrier: str, tmp_path: Path) -> None:
    records = await both(scenario, carrier, tmp_path)
    last = records[-1]
    match scenario:
        case "echo":
            echoes = [record for record in records if "sent" in record]
            assert len(echoes) > 30
            assert all(record["got"] == record["sent"] for record in echoes)
            assert records[-2:] == [
                {"deep": True},
                {"transport": True, "transformer": CARRIERS[carrier]["transformer"]},
            ]
        case "queue":
            assert last == {"answers": list(range(100))}
        case "away":
            assert events(records) == BACK
            assert records[-2:] == [{"got": "first"}, {"got": "second"}]
        case "id":
            assert last == {"type": "string", "filled": True, "stable": True, "own": True}
        case "big":
            assert last == {"size": 1 << 20, "length": 1 << 20, "same": True}
        case "heartbeat":
            assert records.count({"beat": True}) == 3
            assert last == {"strayed": [], "got": "still here"}
            assert events(records) == ["open"]
        case "restart" | "bounce":
            assert events(records) == BACK
            assert last["got"] == "back"
        case "end" | "destroyed":
            assert events(records) == ["open", "close", "end"]
            assert last["reconnecting"] is False
        case "last":
            assert records == [{"event": "open"}, {"got": "the last word"}, {"event": "close"}, {"event": "end"}]
        case "leave":
            assert {"ended": 1} in records
            assert last == {"state": 2, "destroyed": True}
        case "again":
            assert [record["got"] for record in records if "got" in record] == [0, 1, 2]
            assert events(records) == ["open", "close", "end"] * 3
        case "broadcast":
            assert len(last["heard"]) == 3
        case "refused":
            refusals = [(record["status"], record["reason"]) for record in records if "reason" in record]
            assert refusals == [(401, "a token is required"), (403, "this token is not known")]
            assert events(records) == ["error", "refused", "close", "end"] * 2 + ["open"]
            assert records.count({"state": 2, "reconnecting": False}) == 2
        case "transforms":
            assert last == {"got": ["yours"]}
        case "emitter":
            assert {"answers": ["hello x", "hello y"]} in records
            assert {"answered": [42]} in records
            assert last == {"got": {"plain": "message"}}


@pytest.mark.parametrize("generation", [7, 6])
@pytest.mark.parametrize("scenario", ["echo", "restart", "end"])
@pytest.mark.transformer("websockets")
async def test_older_servers(scenario: str, generation: int, tmp_path: Path) -> None:
    """They are told apart by who begins the heartbeat only; what is recorded is what Primus 8 shows."""
    records = await both(scenario, "websockets", tmp_path, generation)
    assert events(records) == {"echo": ["open"], "restart": BACK, "end": ["open", "close", "end"]}[scenario]


@pytest.mark.transformer("websockets")
async def test_the_client_may_ask_first(tmp_path: Path) -> None:
    """Up to Primus 6 servers answered pings; ours does still."""
    records = await both("ping", "websockets", tmp_path, 6, {"ping": 200, "pong": 2000})
    assert records.count({"beat": True, "latency": True}) == 3
    assert records[-1] == {"strayed": [], "got": "still here"}


@pytest.mark.parametrize("carrier", CASES)
@pytest.mark.parametrize("scenario", ["silent", "nobody"])
async def test_no_server(scenario: str, carrier: str, tmp_path: Path) -> None:
    file = write_client(tmp_path, transformer=CARRIERS[carrier]["transformer"])
    options = json.dumps(CARRIERS[carrier])
    records = await run_node("generated_primus.cjs", file, scenario, "http://127.0.0.1:1", options)
    if scenario == "silent":
        late = {"event": "reconnect timeout", "message": "Failed to reconnect in a timely manner"}
        assert events(records[:3]) == ["timeout", "close", "end"]
        assert events(records[3:5]) == ["timeout", "reconnect scheduled"]
        assert records.count(late) == 2
        assert records[-1] == {"message": "Unable to recover", "attempt": 2}
    else:
        assert events(records) == ["error", "reconnect scheduled", "end", "reconnect failed"]
        assert records[-1] == {"message": "Unable to recover", "attempt": 3}


@pytest.mark.parametrize("carrier", CASES)
async def test_credentials_in_the_address(carrier: str, tmp_path: Path) -> None:
    """They arrive as a header by whatever carries it."""
    transformer = CARRIERS[carrier]["transformer"]
    file = write_client(tmp_path, transformer=transformer)
    app = EchoApp(transformer=transformer)
    heard = set()
    app.server.authorize(lambda request: heard.add(request.headers.get("authorization")))
    async with served(app) as url:
        address = url.replace("//", "//user:right@")
        records = await run_node("generated_primus.cjs", file, "queue", address, json.dumps(CARRIERS[carrier]))
    assert records[-1] == {"answers": list(range(100))}
    assert heard == {"Basic dXNlcjpyaWdodA=="}


#: What only ours can carry: npm Primus does not know Socket.IO.
OURS: dict[str, dict[str, Any]] = {
    "socket.io": {"transformer": "socket.io"},
    "socket.io-polling": {"transformer": "socket.io", "websockets": False},
    "several": {"transformer": "engine.io"},
}


WITH_OURS = [scenario for scenario in SCENARIOS if scenario not in {"big", "heartbeat", "restart", "destroyed", "last"}]


@pytest.mark.parametrize(
    "carrier",
    [pytest.param(name, marks=of_transformer(options["transformer"])) for name, options in OURS.items()],
)
async def test_with_ours(carrier: str, tmp_path: Path) -> None:
    transformer: Any = ["websockets", "engine.io", "socket.io"] if carrier == "several" else "socket.io"
    file = write_client(tmp_path, transformer=transformer)
    options = json.dumps(OURS[carrier])
    records: dict[str, list[Record]] = {}
    app = EchoApp(transformer=transformer)
    async with served(app) as url:
        for scenario in WITH_OURS:
            records[scenario] = await run_node("generated_primus.cjs", file, scenario, url, options)
    echoes = [record for record in records["echo"] if "sent" in record]
    assert len(echoes) > 30
    assert all(record["got"] == record["sent"] for record in echoes)
    assert records["echo"][-1] == {"transport": True, "transformer": OURS[carrier]["transformer"]}
    assert records["queue"][-1] == {"answers": list(range(100))}
    assert records["away"][-2:] == [{"got": "first"}, {"got": "second"}]
    assert records["id"][-1] == {"type": "string", "filled": True, "stable": True, "own": True}
    assert events(records["end"]) == ["open", "close", "end"]
    assert events(records["bounce"]) == BACK
    assert len(records["broadcast"][-1]["heard"]) == 3
    assert events(records["refused"]) == ["error", "refused", "close", "end"] * 2 + ["open"]
    assert [record["reason"] for record in records["refused"] if "reason" in record] == [
        "a token is required",
        "this token is not known",
    ]
    assert records["transforms"][-1] == {"got": ["yours"]}
    assert {"answers": ["hello x", "hello y"]} in records["emitter"]
    assert {"answered": [42]} in records["emitter"]


@pytest.mark.parametrize(
    "transformer", [pytest.param(name, marks=of_transformer(name)) for name in ("websockets", "engine.io", "socket.io")]
)
async def test_stale(transformer: str, tmp_path: Path) -> None:
    """A page that still has the client of other options is told so, once per connection."""
    file = write_client(tmp_path, transformer=transformer, client={"timeout": 5000})
    async with served(EchoApp(transformer=transformer)) as url:
        records = await run_node("generated_primus.cjs", file, "stale", url, json.dumps({}))
    assert records == [{"event": "open"}, {"event": "stale"}, {"differ": True, "length": 12}, {"got": "on it goes"}]


@pytest.mark.parametrize("extension", [".js", ".min.js"])
@pytest.mark.transformer("websockets")
async def test_units(extension: str, tmp_path: Path) -> None:
    records = await run_node("generated_units.cjs", write_client(tmp_path, extension, transformer="websockets"))
    *passed, last = records
    assert last == {"all": len({record["passed"] for record in passed})}
    assert len(passed) > 60


@pytest.mark.parametrize("extension", [".js", ".min.js"])
@pytest.mark.transformer("socket.io")
async def test_units_on_socketio(extension: str, tmp_path: Path) -> None:
    """What is another way where the wire knows events itself."""
    file = write_client(tmp_path, extension, transformer="socket.io")
    *passed, last = await run_node("generated_units.cjs", file, "socketio")
    assert last == {"all": len({record["passed"] for record in passed})}
    assert passed


@pytest.mark.parametrize("extension", [".js", ".min.js", ".mjs"])
@pytest.mark.transformer("websockets")
async def test_node_finds_a_websocket_by_itself(extension: str, tmp_path: Path) -> None:
    """As CommonJS and as an ES module, from wherever the file lies, with the program's npm ws."""
    file = write_client(tmp_path, extension, transformer="websockets")
    async with served(EchoApp()) as url:
        records = await run_node("generated_module.mjs", file, url)
    assert records == [{"same": True}, {"got": {"hello": "wörld"}}, {"transport": "websocket"}]
