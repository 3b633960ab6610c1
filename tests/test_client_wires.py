"""The wires of the generated client in Node.js: by themselves, and against real servers and ours.

The scenarios run on npm engine.io or socket.io and on ours, and the records must be equal: the client is right, not
merely agreed with our server.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from ahtransport import Server
from clients.app import EchoApp, MixedParser, served
from clients.harness import (
    Record,
    drive_wire,
    engineio_oracle,
    node_marks,
    of_transformer,
    oracle,
    raw_socketio_oracle,
)
from clients.wires import write_wires
from socket_io.support import populate

Place = AbstractAsyncContextManager[str]
Drive = Callable[..., Any]

engine_io = of_transformer("engine.io")
socket_io = of_transformer("socket.io")
pytestmark = node_marks

MODES = ("polling", "websocket", "upgrade", "never")
each_mode = pytest.mark.parametrize("mode", MODES)
each_real = pytest.mark.parametrize("mode", MODES[:3])
each_parser = pytest.mark.parametrize("parser", ["default", "msgpack"])

# How an end looks to the client.
SERVER_CLOSED: Record = {"orderly": True, "refused": None, "final": False, "error": None}


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wires and the parser as the generated client has them: each in a block of its own."""
    return write_wires(tmp_path_factory.mktemp("wires"))


def moved(mode: str) -> str:
    """The transport at the end."""
    return "polling" if mode in ("polling", "never") else "websocket"


async def same(drive: Callable[[str], Any], *places: Place) -> list[Record]:
    """Run a scenario in several places at once; its records, once they are seen to be the same."""
    results: list[list[Record]] = [[] for _ in places]

    async def run(place: Place, into: list[Record]) -> None:
        async with place as url:
            into.extend(await drive(url))

    async with trio.open_nursery() as nursery:
        for place, into in zip(places, results, strict=True):
            nursery.start_soon(run, place, into)
    for result in results[1:]:
        assert result == results[0]
    return results[0]


# -- Engine.IO


def echo_app(**options: Any) -> EchoApp:
    return EchoApp(**{"transformer": "engine.io", "parser": MixedParser, **options})


@pytest.fixture
def engineio(sources: Path) -> Drive:
    """Run a scenario against npm engine.io and ours."""

    async def drive(mode: str, scenario: str, max_length: int = 10485760, **transport: Any) -> list[Record]:
        return await same(
            lambda url: drive_wire(str(sources), "engine.io", mode, scenario, url),
            engineio_oracle({"maxHttpBufferSize": max_length, **transport}),
            served(echo_app(max_length=max_length, transport=transport)),
        )

    return drive


@engine_io
@each_mode
async def test_text(engineio: Drive, mode: str) -> None:
    *echoes, last = await engineio(mode, "echo")
    assert len(echoes) > 10
    assert all(record["got"] == record["sent"] for record in echoes)
    log = ["open", "transport", "message"] if mode == "upgrade" else ["open", "message"]
    assert last == {"transport": moved(mode), "log": log}


@engine_io
@each_real
async def test_binary(engineio: Drive, mode: str) -> None:
    *sizes, last = await engineio(mode, "binary")
    assert len(sizes) == 8
    assert all(record["plain"] and record["same"] for record in sizes)
    assert last == {"mixed": list(range(20))}


@engine_io
@each_real
async def test_heartbeat(engineio: Drive, mode: str) -> None:
    assert await engineio(mode, "heartbeat", pingInterval=100, pingTimeout=3000) == [{"got": "still here"}]


@engine_io
@each_real
async def test_a_server_that_hangs(engineio: Drive, mode: str) -> None:
    (record,) = await engineio(mode, "freeze", pingInterval=200, pingTimeout=400)
    assert record == {"orderly": False, "refused": None, "final": False, "error": "ping timeout"}


@engine_io
@each_real
async def test_the_server_closes(engineio: Drive, mode: str) -> None:
    assert await engineio(mode, "last") == [{"messages": ["the last word"], "end": SERVER_CLOSED, "last": "closed"}]


@engine_io
@each_real
async def test_the_client_closes(engineio: Drive, mode: str) -> None:
    assert await engineio(mode, "leave") == [{"ended": 1, "silent": True, "left": {"GET": 0, "POST": 0}}]


@engine_io
@each_real
async def test_the_client_closes_at_any_time(engineio: Drive, mode: str) -> None:
    assert await engineio(mode, "leaveEarly") == [{"got": "still here"}]


@engine_io
@each_real
async def test_many_connections_one_after_another(engineio: Drive, mode: str) -> None:
    assert await engineio(mode, "again") == [{"ended": 25}]


@engine_io
@pytest.mark.parametrize("transport", [{"transports": ["polling"]}, {"allowUpgrades": False}])
async def test_without_upgrades(engineio: Drive, transport: dict[str, Any]) -> None:
    records = await engineio("upgrade", "stay", **transport)
    assert records == [{"transport": "polling", "got": "still here", "log": ["open", "message"]}]


@engine_io
async def test_a_server_without_polling(engineio: Drive) -> None:
    (record,) = await engineio("upgrade", "failed", transports=["websocket"])
    refusal = {"code": 0, "message": "Transport unknown"}
    assert record["refused"] == {"status": 400, "reason": "Transport unknown", "data": refusal}
    assert (await engineio("websocket", "stay", transports=["websocket"]))[0]["transport"] == "websocket"


@engine_io
async def test_limits(engineio: Drive) -> None:
    for mode in ("polling", "upgrade"):
        first, second = await engineio(mode, "big", max_length=10_000)
        assert first == {"count": 100, "inOrder": True, "lengths": [7000, 100, 9996, 1, 4000, 5994, 3]}
        assert second["most"] == {"GET": 1, "POST": 1}
        assert second["large"] is False
        assert second["full"] is True or mode == "upgrade"


@engine_io
@each_real
async def test_both_sides_at_full_speed(engineio: Drive, mode: str) -> None:
    """While the transport changes, too."""
    all_of_them = {"count": 150, "inOrder": True}
    records = await engineio(mode, "fire")
    assert len(records) == 5
    for record in records:
        assert record == {
            "moves": int(mode == "upgrade"),
            "transport": moved(mode),
            "echoes": all_of_them,
            "own": all_of_them,
            "most": {"GET": 0, "POST": 0} if mode == "websocket" else {"GET": 1, "POST": 1},
        }


@engine_io
async def test_both_sides_have_much_to_say_while_the_transport_changes(engineio: Drive) -> None:
    assert await engineio("upgrade", "much") == [
        {"same": True, "transport": "websocket", "most": {"GET": 1, "POST": 1}}
    ]


@engine_io
async def test_the_server_closes_while_the_transport_changes(engineio: Drive) -> None:
    assert await engineio("upgrade", "bow") == [{"end": SERVER_CLOSED, "messages": ["the last word"]}] * 16


@engine_io
@each_real
async def test_a_listener_that_throws(engineio: Drive, mode: str) -> None:
    expected = [{"thrown": [f"threw at {number}" for number in range(3)], "open": True}]
    assert await engineio(mode, "thrower") == expected


@engine_io
@each_real
async def test_refused(sources: Path, mode: str) -> None:
    """Before it opens, with the status and reason, by WebSocket too; on Primus as well."""
    records = await same(
        lambda url: drive_wire(str(sources), "engine.io", mode, "refused", url),
        oracle(8, {"transformer": "engine.io"}),
        served(echo_app()),
    )
    reasons = {401: "a token is required", 403: "this token is not known"}
    for (status, reason), record in zip(reasons.items(), records, strict=False):
        assert record["log"] == ["closed"]
        assert record["end"]["refused"] == {"status": status, "reason": reason, "data": {"error": reason}}
        assert not record["end"]["final"]
    assert records[2] == {"got": "welcome"}


@engine_io
@each_real
async def test_nobody_there(sources: Path, mode: str) -> None:
    """A network's failure is no refusal."""
    async with served(echo_app()) as url:
        pass
    (record,) = await drive_wire(str(sources), "engine.io", mode, "failed", url)
    assert record == {"orderly": False, "refused": None, "final": False, "error": "string", "log": ["closed"]}


# -- Socket.IO


@asynccontextmanager
async def served_socketio(parser: str, **options: Any) -> AsyncIterator[str]:
    """The application of the Socket.IO oracle on our server; gives its address."""
    server = Server(config={}, transformer="socket.io", port=0, transport={"parser": parser, **options})
    populate(server)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        yield server.url
        nursery.cancel_scope.cancel()


@pytest.fixture
def socketio(sources: Path) -> Drive:
    """Run a scenario against npm socket.io and ours."""

    async def drive(mode: str, parser: str, scenario: str) -> list[Record]:
        options = json.dumps({"parser": parser} if parser == "msgpack" else {})
        return await same(
            lambda url: drive_wire(str(sources), "socket.io", mode, scenario, url, options),
            raw_socketio_oracle({"parser": parser} if parser == "msgpack" else {}),
            served_socketio(parser),
        )

    return drive


@socket_io
@each_mode
@each_parser
async def test_events(socketio: Drive, mode: str, parser: str) -> None:
    whole = bytes(range(256)).hex()
    records = await socketio(mode, parser, "events")
    assert records == [
        {"transport": moved(mode), "three": [1, "two", {"three": [None]}]},
        {"none": [], "two": [1, 2], "sum": [5]},
        {
            "binary": [{"deep": [{"deeper": f"<{whole}>"}, f"<{whole}>", "<>"], "view": "<0102>"}, f"<{whole}>"],
            "bytes": ["<010203>"],
        },
        {"own": ["_placeholder", "constructor", "num"], "polluted": None},
        {"own": ["_placeholder", "bytes", "constructor", "num"], "polluted": None},
        {"date": ["1970-01-01T00:00:00.000Z", None]},
    ]


@socket_io
@each_real
@each_parser
async def test_the_server_asks(socketio: Drive, mode: str, parser: str) -> None:
    assert await socketio(mode, parser, "asked") == [
        {"event": "answered", "args": [42, "<0102>"], "reply": "undefined"},
        {"event": "blobs", "args": ["<01>", {"deep": ["<02>"]}], "reply": "undefined"},
        {"event": "echo", "args": ["many", {"values": [1, "<0001>"]}], "reply": "undefined"},
        {"reserved": "connect", "error": "TypeError"},
        {"reserved": "disconnect", "error": "TypeError"},
    ]


@socket_io
@each_real
@each_parser
async def test_namespaces(socketio: Drive, mode: str, parser: str) -> None:
    records = await socketio(mode, parser, "namespaces")
    assert [record["auth"] for record in records[:3]] == [[{}], [{"token": "right"}], [{"a": 1}]]
    for record in records[3:]:
        assert record["log"] == ["closed"]
        assert (record["end"]["orderly"], record["end"]["final"]) == (False, False)
    assert [record["end"]["refused"] for record in records[3:]] == [
        {"status": 401, "reason": "not you"},
        {"status": 401, "reason": "not you", "data": {"code": 7}},
        {"status": 404, "reason": "Invalid namespace"},
    ]


@socket_io
@each_real
@each_parser
async def test_the_server_sends_it_away(socketio: Drive, mode: str, parser: str) -> None:
    assert await socketio(mode, parser, "sentAway") == [{"end": {**SERVER_CLOSED, "final": True}}]


@socket_io
@each_parser
async def test_messages(socketio: Drive, parser: str) -> None:
    records = await socketio("upgrade", parser, "messages")
    assert [record["args"] for record in records[:-1]] == [
        ["message", value] for value in ("text", {"a": [1, None]}, [1, 2], "<000102>")
    ]
    assert records[-1] == {"empty": []}
