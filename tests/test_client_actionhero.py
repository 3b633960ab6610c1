"""The generated browser client's ActionheroWebsocketClient in Node.js, against ActionHero's default project."""

from __future__ import annotations

import importlib.util
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import ActionServer, Reject, Server
from clients.harness import Record, node_marks, of_transformer, run_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ahtransport import Request

pytestmark = node_marks

EXAMPLE = Path(__file__).parent.parent / "examples" / "actionhero.py"

# What carries the messages: the server's transformer, and the client's options.
CARRIERS: dict[str, tuple[str, dict[str, Any]]] = {
    "websockets": ("websockets", {}),
    "engine.io": ("engine.io", {}),
    "engine.io polling": ("engine.io", {"websockets": False}),
    "socket.io": ("socket.io", {}),
    "socket.io polling": ("socket.io", {"websockets": False}),
}
# Reconnecting shall not take longer than it must.
HASTE = {"reconnect": {"min": 50, "max": 300, "retries": 100}}


@pytest.fixture(params=[pytest.param(name, marks=of_transformer(of)) for name, (of, _) in CARRIERS.items()])
def carrier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Bench:
    """The example's server, and the scenarios of ``tests/clients/generated_scenarios.cjs`` against it."""

    def __init__(self, carrier: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transformer, options = CARRIERS[carrier]
        self.options = {**HASTE, **options}
        self._folder = folder
        self._monkeypatch = monkeypatch

    def load(self, port: int = 0) -> ActionServer:
        """Run the example file anew, and give back its server."""
        settings = {
            "SERVERS__WEB__PORT": port,
            "SERVERS__WEBSOCKET__CLIENT_JS_WRITE": "false",
            "SERVERS__WEBSOCKET__SERVER__TRANSFORMER": self.transformer,
        }
        for name, value in settings.items():
            self._monkeypatch.setenv(f"AHTRANSPORT__{name}", str(value))
        spec = importlib.util.spec_from_file_location("actionhero_for_browsers", EXAMPLE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert isinstance(module.server, ActionServer)
        return module.server

    async def drive(
        self, scenario: str, server: Server, on_record: Callable[[Record], Awaitable[None]] | None = None
    ) -> list[Record]:
        """Run a scenario against a server that serves."""
        await trio.to_thread.run_sync(server.client_files().write, self._folder)
        file = self._folder / "ActionheroWebsocketClient.js"
        args = ("generated_actionhero.cjs", scenario, server.url, json.dumps(self.options), str(file))
        return await run_node(*args, on_record=on_record)

    async def run(self, scenario: str) -> list[Record]:
        """Run a scenario against the example."""
        async with served(self.load()) as server:
            return await self.drive(scenario, server)


@asynccontextmanager
async def served(server: ActionServer | Server) -> AsyncIterator[ActionServer | Server]:
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        yield server
        nursery.cancel_scope.cancel()


@pytest.fixture
def bench(carrier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(carrier, tmp_path / "client", monkeypatch)


@pytest.fixture
def websockets_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench("websockets", tmp_path / "client", monkeypatch)


def steps(records: list[Record]) -> dict[str, Record]:
    return {record["step"]: record for record in records if "step" in record}


def events(records: list[Record], client: str = "A") -> list[str]:
    return [record["event"] for record in records if record.get("client") == client and "event" in record]


def same(step: Record) -> Any:
    """What a call answered, which is the same by promise and by either callback."""
    error, answer = step["two"]
    assert error is None
    answers = [dict(one) for one in (step["promise"], step["one"], answer)]
    for one in answers:
        assert one.pop("context") == "response"
        del one["messageId"]
    assert answers[0].keys() == answers[1].keys() == answers[2].keys()
    return answers[0]


def failure(step: Record) -> tuple[str, str]:
    """Code and message of how a call failed: the same by promise and by either callback."""
    error, answer = step["two"]
    assert step["promise"] == {"rejected": error}
    assert answer["error"] == step["one"]["error"]
    if error["code"] == "RESPONSE":
        # The server's own words, as ActionHero's pages expect them.
        assert step["one"]["error"].removeprefix("Error: ") == error["message"]
    return error["code"], error["message"]


async def test_verbs(bench: Bench, carrier: str) -> None:
    records = await bench.run("verbs")
    assert set(events(records)) == {"connected", "error"}
    by_name = steps(records)
    assert same(by_name["action"])["cacheTestResults"]["loadResp"]["value"] == "wörld"
    assert same(by_name["action without params"]).keys() == {"randomNumber", "stringRandomNumber"}
    assert failure(by_name["failing action"]) == ("RESPONSE", "value is a required parameter for this action")
    assert failure(by_name["unknown action"]) == ("RESPONSE", "unknown action or invalid apiVersion")
    assert same(by_name["file"])["length"] == 101
    assert failure(by_name["missing file"]) == ("RESPONSE", "that file is not found")
    details = same(by_name["details"])["data"]
    connected = next(record for record in records if "details" in record)
    assert details["id"] == connected["id"] == connected["details"]["data"]["id"]
    assert details["rooms"] == ["otherRoom"]
    documentation = same(by_name["documentation"])["data"]
    assert documentation["cacheTest"]["1"]["inputs"]["key"] == {"required": True, "type": "str"}
    assert same(by_name["room"])["data"]["membersCount"] == 1
    outside = ("RESPONSE", "connection not in this room (defaultRoom)")
    for name in ("room from outside", "say outside", "leave outside"):
        assert failure(by_name[name]) == outside
    assert same(by_name["say"]) == {"status": "OK"}
    assert failure(by_name["say nothing"]) == ("RESPONSE", "both room and message are required")
    assert failure(by_name["unknown verb"]) == ("RESPONSE", "verb not found or not allowed (nosuchverb)")
    assert by_name["own messageId"]["one"]["messageId"] == "mine \u2028"
    assert by_name["own messageId of an action"]["one"]["messageId"] == "mine"
    assert failure(by_name["not JSON"])[0] == "INVALID"
    transport = "polling" if "polling" in carrier else "websocket"
    assert by_name["left"] == {"step": "left", "pending": [], "state": "connected", "transport": transport}


async def test_rooms(bench: Bench) -> None:
    by_name = steps(await bench.run("rooms"))
    rooms = ["defaultRoom", "otherRoom"]
    for name, text in [("again", "connection already in this room (defaultRoom)"), ("nowhere", "room does not exist")]:
        assert by_name[name]["rooms"] == rooms
        assert by_name[name]["outcome"] == {"error": {"code": "RESPONSE", "message": text}}
    said = {"message": "hello \u2028 wörld", "room": "defaultRoom", "context": "user", "byA": True}
    assert by_name["heard"]["by"] == [said] * 3
    assert by_name["left"] == {"step": "left", "rooms": ["otherRoom"], "members": 1}
    assert by_name["details"] == {"step": "details", "rooms": ["otherRoom"], "known": ["otherRoom"], "id": True}


async def test_the_example_of_actionheros_documentation(bench: Bench) -> None:
    records = await bench.run("example")
    assert [record["log"] for record in records if "log" in record] == [["connected!"], ["disconnected :("]]
    by_name = steps(records)
    assert by_name["shown"]["shown"] == [
        {"context": "api", "welcome": "Welcome to the actionhero-app api"},
        {"context": "user", "message": "hi", "room": "defaultRoom"},
    ]
    assert by_name["globals"] == {"step": "globals", "primus": True, "class": True, "state": "disconnected"}


async def test_a_callback_of_two_parameters_gets_what_the_examples_does(websockets_bench: Bench) -> None:
    server = websockets_bench.load()

    @server.action
    def someAction(*, key: str, value: str) -> dict[str, str]:
        return {"got": f"{key}={value}"}

    async with served(server):
        step = steps(await websockets_bench.drive("some_action", server))["some action"]
    error, data = step["pair"]
    assert error is None
    assert data["got"] == step["one"]["got"] == "k=v"


async def test_rooms_are_joined_again_after_every_reconnect(bench: Bench) -> None:
    server = bench.load()

    async def cut(record: Record) -> None:
        if record.get("step") == "ready":
            server.connections[record["id"]].close(1001, "come again", reconnect=True)

    async with served(server):
        records = await bench.drive("reconnect", server, on_record=cut)
    for record in records:
        if record.get("step") == "waiting":
            assert record["outcome"]["error"]["code"] == "DISCONNECTED"
    rounds = [record for record in records if record.get("step") == "back"]
    both = ["otherRoom", "newRoom"]
    assert [(one["heard"], one["rooms"], one["there"]) for one in rounds] == [
        (f"while away {number}", rooms, rooms) for number, rooms in enumerate((both, both, ["newRoom"]))
    ]
    assert steps(records)["left while away"]["data"] is True
    assert steps(records)["end"] == {"step": "end", "strangers": 4, "same": True, "pending": []}
    seen = [event for event in events(records) if event != "error"]
    assert seen == ["connected", *["disconnected", "reconnecting", "reconnect"] * 3]


async def test_restart(bench: Bench) -> None:
    """A room that is gone is told, and the others are joined; what was under way fails."""
    server = bench.load()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)

        async def restart(record: Record) -> None:
            if record.get("step") == "ready":
                server.shutdown()
            elif record.get("step") == "down":
                await nursery.start(bench.load(server.port).serve)

        by_name = steps(await bench.drive("restart", server, on_record=restart))
        nursery.cancel_scope.cancel()
    assert by_name["waiting"]["outcome"]["error"]["code"] in ("DISCONNECTED", "RESPONSE")
    assert by_name["over http"]["outcome"]["error"]["code"] in ("NETWORK", "RESPONSE")
    rooms = ["defaultRoom", "otherRoom"]
    assert by_name["back"] == {"step": "back", "rooms": rooms, "there": rooms, "lost": "newRoom"}


async def test_refused(bench: Bench) -> None:
    server = bench.load()
    asked = []

    @server.authorize
    def nobody(request: Request) -> None:
        asked.append(request.path)
        raise Reject(403, "not you")

    async with served(server):
        records = await bench.drive("refused", server)
    refused = steps(records)["refused"]
    assert refused["error"]["code"] == "REFUSED"
    assert "not you" in refused["error"]["message"]
    assert (refused["refused"], refused["state"]) == (True, "disconnected")
    assert "details" not in refused
    told = [record for record in records if record.get("event") == "refused"]
    assert len(told) == 2
    assert "reconnecting" not in events(records)
    assert steps(records)["promise"]["outcome"]["error"]["code"] == "REFUSED"
    assert steps(records)["call"]["outcome"]["error"]["code"] == "DISCONNECTED"
    if bench.transformer != "socket.io":  # which says so in its own packet
        assert refused["error"]["status"] == 403


async def test_refused_after_the_connection_was_lost(bench: Bench) -> None:
    server = bench.load()
    closed = False

    @server.authorize
    def once(request: Request) -> None:
        if closed:
            raise Reject(401, "not any more")

    async def cut(record: Record) -> None:
        nonlocal closed
        if record.get("step") == "ready":
            closed = True
            server.connections[record["id"]].close(1001, "come again", reconnect=True)

    async with served(server):
        records = await bench.drive("refused_later", server, on_record=cut)
    refused = steps(records)["refused"]
    assert refused["reason"] == "not any more"
    assert refused["said"]["error"]["code"] == "REFUSED"
    assert (refused["state"], refused["rooms"]) == ("disconnected", ["defaultRoom"])
    assert [event for event in events(records) if event != "error"] == [
        *("connected", "disconnected", "reconnecting", "refused", "disconnected"),
    ]


async def test_on_the_primus_of_npm(websockets_bench: Bench) -> None:
    server = websockets_bench.load()

    async def cut(record: Record) -> None:
        if record.get("step") == "ready":
            server.connections[record["id"]].close(1001, "come again", reconnect=True)

    async with served(server):
        records = await websockets_bench.drive("on_npm_primus", server, on_record=cut)
    step = steps(records)["npm"]
    assert (step["rooms"], step["stranger"]) == (["defaultRoom"], True)
    assert "randomNumber" in step["action"]
    assert "messageId" in step["action"]  # so it came over the connection


async def test_nobody_is_there(bench: Bench) -> None:
    step = steps(await bench.run("nobody"))["nobody"]
    assert step == {
        "step": "nobody",
        "code": "DISCONNECTED",
        "reconnecting": [1, 2],
        "said": "DISCONNECTED",
        "state": "disconnected",
    }


async def test_calls_without_an_answer_fail(websockets_bench: Bench) -> None:
    records = await websockets_bench.run("unanswered")
    by_name = steps(records)
    late = {"code": "TIMEOUT", "message": "no answer within 150 ms"}
    assert by_name["late"]["outcome"] == {"error": late}
    one = by_name["late, one parameter"]
    assert (one["status"], one["error"], one["data"]) == ("Error: no answer within 150 ms", late, {})
    assert by_name["in time"]["outcome"] == {"value": 1}
    codes = [outcome["error"]["code"] for outcome in by_name["disconnected"]["outcomes"]]
    assert codes == ["DISCONNECTED", "REPLACED", "DISCONNECTED"]
    assert by_name["disconnected"]["thrown"] == "of a page"
    assert by_name["disconnected"]["pending"] == []
    assert by_name["afterwards"]["outcome"]["error"]["code"] == "DISCONNECTED"
    # The queue holds two: the third message and the room that is to be joined.
    assert by_name["queue"]["codes"] == ["DROPPED", "DROPPED", "RESPONSE"]
    assert events(records, "C").count("dropped") == 2


async def test_actions_over_http(websockets_bench: Bench) -> None:
    by_name = steps(await websockets_bench.run("http"))
    for name in ("post", "get"):
        error, answer = by_name[name]["two"]
        assert error is None
        for one in (by_name[name]["promise"], by_name[name]["one"], answer):
            assert one["cacheTestResults"]["loadResp"]["value"] == "wörld & more"
            assert set(one["requesterInformation"]["receivedParams"]) == {"action", "key", "value"}
    assert failure(by_name["failing"]) == ("RESPONSE", "value is a required parameter for this action")
    assert by_name["failing"]["two"][0]["status"] == 422
    assert failure(by_name["unknown"]) == ("RESPONSE", "unknown action or invalid apiVersion")
    received = by_name["unknown"]["one"]["requesterInformation"]["receivedParams"]
    assert received == {"action": "no such & action"}
    assert failure(by_name["not JSON"])[0] == "INVALID"
    assert by_name["late"]["outcome"]["error"]["code"] == "TIMEOUT"
    no_api = by_name["no api"]["outcome"]["error"]
    assert (no_api["code"], no_api["status"]) == ("RESPONSE", 200)
    assert by_name["nowhere"]["code"] == "NETWORK"
    assert "requesterInformation" in by_name["web"]["outcome"]["value"]
    assert "messageId" in by_name["websocket"]["outcome"]["value"]
    assert by_name["url"]["url"] is True


async def test_connecting_again_leaves_nothing_behind(websockets_bench: Bench) -> None:
    by_name = steps(await websockets_bench.run("external"))
    external = by_name["external"]
    assert (external["is"], external["external"], external["own"]) == (True, True, 3)
    assert len(set(external["counts"])) == 1
    assert by_name["ended"]["state"] == "disconnected"
    own = by_name["own"]
    assert own["first"]["error"] == {"code": "DISCONNECTED", "message": "connect() was called again"}
    assert (own["another"], own["destroyed"]) == (True, True)


async def test_a_server_without_actions_is_told(websockets_bench: Bench) -> None:
    server = Server(port=0, client_js_write=False)
    server.on_message(lambda connection, message: None)
    async with served(server):
        step = steps(await websockets_bench.drive("mute", server))["mute"]
    assert step["outcome"]["error"]["code"] == "TIMEOUT"
    assert step["state"] == "connecting"
