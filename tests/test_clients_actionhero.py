"""ActionHero's own client, compiled from the npm package's template, against the default project in Python.

It runs over every transformer, and over Engine.IO without WebSockets. The expected replies are those of a real
ActionHero; where it is known to fall short of its documentation (the ``documentation`` verb, the fingerprint from the
Cookie header, actions over HTTP) the documentation decides.
"""

import importlib.util
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from ahtransport import ActionServer
from clients.harness import Record, drive_actionhero, node_marks, of_transformer

pytestmark = node_marks

EXAMPLE = Path(__file__).parent.parent / "examples" / "actionhero.py"
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


TRANSFORMERS = {"websockets": "websockets", "engine.io": "engine.io", "polling": "engine.io"}


@pytest.fixture(params=[pytest.param(name, marks=of_transformer(of)) for name, of in TRANSFORMERS.items()])
def carrier(request: pytest.FixtureRequest) -> str:
    """What carries the client's messages."""
    return str(request.param)


@pytest.fixture
def load_example(monkeypatch: pytest.MonkeyPatch, carrier: str) -> Callable[..., ActionServer]:
    """Run the example file anew with settings from the environment, and give back its server."""

    def load(**settings: object) -> ActionServer:
        transformer = {"SERVERS__WEBSOCKET__SERVER__TRANSFORMER": TRANSFORMERS[carrier]}
        for key, value in {"SERVERS__WEB__PORT": 0, **transformer, **settings}.items():
            monkeypatch.setenv(f"AHTRANSPORT__{key}", str(value))
        spec = importlib.util.spec_from_file_location("actionhero_example", EXAMPLE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert isinstance(module.server, ActionServer)
        return module.server

    return load


@asynccontextmanager
async def served(server: ActionServer) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        yield server.url
        nursery.cancel_scope.cancel()


Run = Callable[[str], Any]


@pytest.fixture
def run(load_example: Callable[..., ActionServer], carrier: str) -> Run:
    """Run a scenario against the example; the records."""

    async def go(scenario: str) -> list[Record]:
        async with served(load_example()) as url:
            return await drive_actionhero(scenario, url, carrier)

    return go


def steps(records: list[Record], key: str = "reply") -> dict[str, Any]:
    return {record["step"]: record[key] for record in records if "step" in record and key in record}


def details(reply: Any) -> Any:
    """The data of a reply to detailsView, after what may vary is seen to be what it should be."""
    data = dict(reply["data"])
    identity = data.pop("id")
    assert UUID4.fullmatch(identity)
    assert isinstance(data.pop("remotePort"), int)
    assert data.pop("connectedAt") > 1_600_000_000_000
    if data["fingerprint"] == identity:
        data["fingerprint"] = "the id"
    assert {key: reply[key] for key in ("status", "context")} == {"status": "OK", "context": "response"}
    return data


async def test_connect(run: Run, carrier: str) -> None:
    records = await run("fingerprint")
    welcomes = [record for record in records if "welcome" in record]
    assert len(welcomes) == 4
    for record in welcomes:
        assert record["welcome"].keys() == {"welcome", "context"}
        assert record["welcome"]["context"] == "api"
        assert re.fullmatch("Welcome to the .+ api", record["welcome"]["welcome"])
    connected = {record["client"]: record for record in records if "connected" in record}
    seen = {client: details(record["connected"]) for client, record in connected.items()}
    assert seen["none"] == {
        "fingerprint": "the id",
        "remoteIP": "127.0.0.1",
        "params": {},
        "rooms": [],
        "totalActions": 0,
        "pendingActions": 0,
    }
    # ActionHero's client puts its cookie into the query; a browser's handshake carries the cookie itself, which wins.
    assert {client: data["fingerprint"] for client, data in seen.items()} == {
        "none": "the id",
        "query": "abc123",
        "header": "def456",
        "both": "def456",
    }
    for client, record in connected.items():
        assert record["error"] is None, client
        assert record["id"] == record["connected"]["data"]["id"]
        assert record["connected"]["messageId"] == 1
    assert len({record["id"] for record in connected.values()}) == 4
    by = {"websockets": "WebSocket", "engine.io": "Engine.IO websocket", "polling": "Engine.IO polling"}[carrier]
    assert records[-1] == {"step": "carried", "by": by}


async def test_actions(run: Run) -> None:
    replies = steps(await run("actions"))
    for reply in replies.values():
        assert reply["context"] == "response"

    random = replies["random"]
    assert 0 <= random["randomNumber"] < 1
    assert random.keys() == {"randomNumber", "stringRandomNumber", "context", "messageId"}
    text = random["stringRandomNumber"]
    assert float(text.removeprefix("Your random number is ")) == random["randomNumber"]
    assert random["messageId"] == 2  # the client's first was for detailsView

    def error(reply: Record) -> str:
        assert reply.keys() == {"error", "context", "messageId"}
        return str(reply["error"])

    assert error(replies["missing"]) == "key is a required parameter for this action"
    assert error(replies["missing value"]) == "value is a required parameter for this action"
    assert error(replies["short"]) == "inputs should be at least 3 letters long"
    assert error(replies["unknown"]) == "unknown action or invalid apiVersion"
    assert error(replies["unnamed"]) == "unknown action or invalid apiVersion"
    assert error(replies["room needs a name"]) == "name is a required parameter for this action"

    for step, key, value in [("cache", "name", "wörld"), ("numbers", "1234", "5678")]:
        results = replies[step]["cacheTestResults"]
        loaded = results["loadResp"]
        assert (loaded["key"], loaded["value"]) == (f"cacheTest_{key}", value)
        assert (results["saveResp"], results["deleteResp"]) == (True, True)
        assert isinstance(results["sizeResp"], int)

    for step in ("sleep", "sleep by string"):
        assert replies[step]["sleepDuration"] == 20
        assert replies[step]["sleepDelta"] >= 19
        assert replies[step]["sleepEnded"] >= replies[step]["sleepStarted"] > 1_600_000_000_000

    assert replies["status"]["nodeStatus"] == "Node Healthy"
    assert replies["status"]["problems"] == []
    wanted = {"id", "name", "description", "version", "uptime", "consumedMemoryMB", "nodeStatus", "problems"}
    assert wanted <= replies["status"].keys()

    assert (replies["room"]["name"], replies["room"]["didCreate"]) == ("newRoom", True)
    assert replies["join it"]["data"] is True
    assert details(replies["details"])["totalActions"] == 13
    assert details(replies["details"])["rooms"] == ["newRoom"]


async def test_replies_come_in_the_order_of_completion(run: Run) -> None:
    finished = steps(await run("order"), "finished")["order"]
    assert [reply["asked"] for reply in finished] == [100, 300, 500]
    assert [reply["slept"] for reply in finished] == [100, 300, 500]
    assert [reply["messageId"] for reply in finished] == [4, 3, 2]


async def test_the_sixth_pending_action_is_refused(run: Run) -> None:
    records = await run("limit")
    finished = steps(records, "finished")["limit"]
    assert finished[0] == {"number": 6, "error": "you have too many pending requests"}
    assert sorted(reply["number"] for reply in finished[1:]) == [1, 2, 3, 4, 5]
    assert all("error" not in reply for reply in finished[1:])
    replies = steps(records)
    order = [record["step"] for record in records if "step" in record]
    assert order.index("while busy") < order.index("limit")
    assert details(replies["while busy"])["pendingActions"] in {5, 6}  # 6 when the refused one is still being answered
    assert replies["file while busy"]["length"] == 101
    assert "randomNumber" in replies["afterwards"]
    assert details(replies["details"])["pendingActions"] == 0


async def test_rooms_and_say(run: Run) -> None:
    records = await run("rooms")
    replies = steps(records)
    ids = {record["client"]: record["id"] for record in records if "connected" in record}

    def outcome(step: str) -> Any:
        reply = replies[step]
        if "error" not in reply:
            assert (reply["status"], reply["context"]) == ("OK", "response")
            return reply.get("data", "no data")
        assert (reply["status"], reply["context"]) == (reply["error"], "response")
        return reply["error"]

    def members(step: str) -> set[str]:
        view = outcome(step)
        assert view["room"] == "defaultRoom"
        assert view["membersCount"] == len(view["members"])
        for identity, member in view["members"].items():
            assert member["id"] == identity
            assert member["joinedAt"] > 1_600_000_000_000
        return {name for name, identity in ids.items() if identity in view["members"]}

    assert outcome("join") is True
    assert outcome("join second") is True
    assert steps(records, "rooms")["rooms of the client"] == ["defaultRoom", "otherRoom"]
    assert outcome("join again") == "Error: connection already in this room (otherRoom)"
    assert outcome("join nowhere") == "Error: room does not exist"
    assert members("view") == {"A"}
    assert outcome("view as a stranger") == "Error: connection not in this room (defaultRoom)"
    assert outcome("say as a stranger") == "Error: connection not in this room (defaultRoom)"
    assert replies["say as a stranger"]["data"] == {"message": "hi"}
    assert outcome("b joins") is True
    assert members("view both") == {"A", "B"}

    assert outcome("say") == "no data"
    assert outcome("say nothing") == "Error: both room and message are required"
    assert outcome("say beside") == "no data"
    heard = [(record["step"], record["message"]) for record in records if "message" in record and "step" in record]
    assert sorted(who for who, _ in heard) == ["a hears", "a hears", "b hears"]
    for _, message in heard:
        assert message["sentAt"] > 1_600_000_000_000
        assert message["from"] == ids["A"]
        assert message["context"] == "user"
        assert message.keys() == {"message", "room", "from", "context", "sentAt"}
    said = {(who, message["room"], message["message"]) for who, message in heard}
    assert said == {
        ("a hears", "defaultRoom", "hello \u2028 wörld"),
        ("b hears", "defaultRoom", "hello \u2028 wörld"),
        ("a hears", "otherRoom", "to myself"),
    }

    assert outcome("leave") is True
    assert outcome("leave again") == "Error: connection not in this room (defaultRoom)"
    assert members("view the rest") == {"B"}
    assert outcome("rejoin") is True
    assert members("view after a is gone") == {"B"}


async def test_files_and_other_verbs(run: Run) -> None:
    replies = steps(await run("verbs"))
    file = replies["file"]
    path = "./public/simple.html"
    assert file.pop("lastModified").endswith("Z")
    assert file == {
        "content": f"<h1>Actionhero</h1>\nI am a flat file being served to you via the API from {path}<br />\n",
        "mime": "text/html",
        "length": 101,
        "context": "response",
        "messageId": 3,
    }
    missing = {
        "error": "that file is not found",
        "content": None,
        "mime": "text/html",
        "length": 22,
        "context": "response",
    }
    assert replies["missing file"] == missing | {"messageId": 4}
    assert replies["file outside"] == missing | {"messageId": 5}
    assert replies["no file"]["error"] in {"file is a required param to send a file", "that file is not found"}

    documentation = replies["documentation"]
    assert documentation["status"] == "OK"
    assert "randomNumber" in json.dumps(documentation["data"])

    verb = replies["unknown verb"]
    text = "Error: verb not found or not allowed (nosuchverb)"
    assert verb == {"status": text, "error": text, "context": "response", "data": {"x": 1}, "messageId": 8}
    assert replies["own messageId"]["messageId"] == "mine \u2028"
    assert "randomNumber" in replies["still here"]


async def test_quit(run: Run) -> None:
    records = await run("quit")
    for word in ("quit", "exit"):
        assert {"step": word, "state": "disconnected", "reconnecting": False} in records
    again = steps(records, "details")["again"]
    assert details(again)["totalActions"] == 0


async def test_disconnect_and_actions_over_http(run: Run) -> None:
    records = await run("disconnect")
    assert {"step": "gone", "state": "disconnected", "reconnecting": False} in records
    replies = steps(records)
    for step in ("over http", "over websocket"):
        assert 0 <= replies[step]["randomNumber"] < 1
    assert replies["over http"]["serverInformation"].keys() == {
        "serverName",
        "apiVersion",
        "requestDuration",
        "currentTime",
    }
    assert replies["over http"]["requesterInformation"]["receivedParams"]["action"] == "randomNumber"
    assert replies["over http, missing"]["error"] == "value is a required parameter for this action"
    assert replies["over http, get"]["cacheTestResults"]["loadResp"]["value"] == "some"
    assert replies["over http, unknown"]["error"] == "unknown action or invalid apiVersion"
    assert details(steps(records, "details")["back"])["totalActions"] == 0


@pytest.mark.parametrize("destroy", [False, True])
async def test_restart(load_example: Callable[..., ActionServer], carrier: str, destroy: bool) -> None:
    """Clients come back to a server that was restarted, as strangers; unless they are told to stay away."""
    setting = {"SERVERS__WEBSOCKET__DESTROY_CLIENTS_ON_SHUTDOWN": str(destroy).lower()}
    server = load_example(**setting)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)

        async def restart_when_ready(record: Record) -> None:
            if record.get("step") == "ready":
                server.shutdown()
                again = load_example(SERVERS__WEB__PORT=server.port, **setting)
                await nursery.start(again.serve)

        records = await drive_actionhero("restart", server.url, carrier, on_record=restart_when_ready)
        nursery.cancel_scope.cancel()
    outcome = steps(records, "outcome")["outcome"]
    if destroy:
        assert outcome == "stayed away"
    else:
        assert outcome == "back"
        assert records[-1] == {"step": "details", "stranger": True, "rooms": []}
