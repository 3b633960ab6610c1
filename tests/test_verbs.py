"""The verbs: replies with their keys in order, and everything that a message may be instead."""

from __future__ import annotations

import gc
import json
import re
from typing import Any

import pytest
import trio
import trio.testing

from action_bench import connect, make, running
from ahtransport import ActionError, Connection
from ahtransport._actions.texts import UNDEFINED, text_of, truthy

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def error(text: str, data: Any = None) -> dict[str, Any]:
    """Give the reply to a verb that failed, less context and messageId."""
    return {"status": f"Error: {text}", "error": f"Error: {text}", "data": {} if data is None else data}


async def test_a_client_is_welcomed_and_may_look_at_itself() -> None:
    async with running(make()) as server:
        client = await connect(server, "/primus?sessionID=abc123")
        client.send({"event": "detailsView", "messageId": 1})
        reply = await client.next()
        assert list(reply) == ["status", "context", "data", "messageId"]
        data = reply["data"]
        assert UUID4.fullmatch(data["id"])
        assert isinstance(data["connectedAt"], int)
        assert data["connectedAt"] > 1_600_000_000_000
        assert {**data, "id": "", "connectedAt": 0} == {
            "id": "",
            "fingerprint": "abc123",
            "remoteIP": "127.0.0.1",
            "remotePort": 4711,
            "params": {},
            "connectedAt": 0,
            "rooms": [],
            "totalActions": 0,
            "pendingActions": 0,
        }
        assert " ".join(data) == (
            "id fingerprint remoteIP remotePort params connectedAt rooms totalActions pendingActions"
        )


async def test_a_welcome_may_be_left_out() -> None:
    async with running(make(welcome_message="")) as server:
        client = await connect(server)
        assert (await client.ask("detailsView"))["status"] == "OK"


async def test_replies_to_actions_have_their_outputs_first() -> None:
    server = make()

    @server.action
    def act(connection: Connection, fail: bool = False) -> dict[str, Any]:
        if fail:
            raise ActionError("no")
        return {"a": 1, "context": "mine", "messageId": "mine"}

    async with running(server):
        client = await connect(server)
        client.send({"event": "action", "params": {"action": "act"}, "messageId": 2})
        assert json.dumps(await client.next()) == '{"a": 1, "context": "response", "messageId": 2}'
        client.send({"event": "action", "params": {"action": "act", "fail": True}, "messageId": 3})
        assert json.dumps(await client.next()) == '{"error": "no", "context": "response", "messageId": 3}'
        data = (await client.ask("detailsView"))["data"]
        assert (data["totalActions"], data["pendingActions"]) == (2, 0)


@pytest.mark.parametrize("message", [None, 1, 1.5, "x", [], [1], True, False, ""])
async def test_e1_what_is_no_object_is_an_unknown_verb(message: Any) -> None:
    async with running(make()) as server:
        client = await connect(server)
        client.send(message)
        reply = await client.next()
        assert UUID4.fullmatch(reply.pop("messageId"))
        assert reply.pop("context") == "response"
        assert reply == {**error("verb not found or not allowed (undefined)"), "data": message}
        assert (await client.ask("detailsView"))["status"] == "OK"


async def test_e1_an_empty_object_is_an_unknown_verb() -> None:
    async with running(make()) as server:
        client = await connect(server)
        client.send({})
        reply = await client.next()
        assert UUID4.fullmatch(reply["messageId"])
        assert reply["error"] == "Error: verb not found or not allowed (undefined)"


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        ("nosuchverb", "nosuchverb"),
        ("__init__", "__init__"),
        ("destroy", "destroy"),
        ("_send", "_send"),
        ("answer", "answer"),
        ("constructor", "constructor"),
        ("", ""),
        (5, "5"),
        (1.0, "1"),
        (None, "null"),
        (True, "true"),
        (["roomAdd"], "roomAdd"),
        ([1, None, [2]], "1,,…"),
        ({"a": 1}, "[object Object]"),
        ("x" * 1000, "x" * 255 + "…"),
    ],
)
async def test_e2_verbs_are_looked_up_in_a_table_only(event: Any, shown: str) -> None:
    async with running(make()) as server:
        client = await connect(server)
        reply = await client.ask(event, x=1, room="r")
        assert reply == error(f"verb not found or not allowed ({shown})", {"x": 1})
        assert list(reply) == ["status", "error", "data"]
        assert (await client.ask("detailsView"))["status"] == "OK"


@pytest.mark.parametrize("message_id", [1, "a", 1.5, True, [], [1], {}, {"a": 1}, "x" * 255, -3, 2**53, "\ud800"])
async def test_e3_a_message_id_comes_back_as_it_is(message_id: Any) -> None:
    async with running(make()) as server:
        client = await connect(server)
        for event in ("detailsView", "nosuchverb", "action", "file"):
            client.send({"event": event, "messageId": message_id})
            assert (await client.next())["messageId"] == message_id


@pytest.mark.parametrize("message_id", [None, 0, "", False, "missing"])
async def test_e3_a_missing_or_falsy_message_id_becomes_a_uuid(message_id: Any) -> None:
    message = {"event": "detailsView"} if message_id == "missing" else {"event": "detailsView", "messageId": message_id}
    async with running(make()) as server:
        client = await connect(server)
        client.send(message)
        assert UUID4.fullmatch((await client.next())["messageId"])


@pytest.mark.parametrize(
    "message_id", ["x" * 256, "x" * 2**20, ["x" * 300], {"a": "x" * 300}, [1] * 200, 10**300, ["\ud800"]]
)
async def test_e3_a_message_id_that_is_too_long_is_refused(message_id: Any) -> None:
    async with running(make()) as server:
        client = await connect(server)
        client.send({"event": "action", "params": {"action": "x"}, "messageId": message_id})
        reply = await client.next()
        assert reply["error"] == "Error: a messageId may have 255 characters"
        assert UUID4.fullmatch(reply["messageId"])
        assert (await client.ask("detailsView"))["data"]["totalActions"] == 0


async def test_e3_fifty_actions_answer_out_of_order_each_with_its_own_id(autojump_clock: trio.abc.Clock) -> None:
    server = make(simultaneous_actions=50)

    @server.action
    async def sleep(connection: Connection, number: int) -> dict[str, int]:
        await trio.sleep((50 - number) / 10)
        return {"number": number}

    async with running(server):
        client = await connect(server)
        for number in range(50):
            params = {"action": "sleep", "number": number}
            client.send({"event": "action", "params": params, "messageId": f"id {number}"})
        replies = [await client.next() for _ in range(50)]
    assert [one["number"] for one in replies] == list(reversed(range(50)))
    assert all(one["messageId"] == f"id {one['number']}" for one in replies)


@pytest.mark.parametrize(
    "params",
    [
        {"action": "constructor"},
        {"action": "__class__"},
        {"action": ""},
        {"action": None},
        {"action": ["act"]},
        {"action": {"act": 1}},
        {"action": "act", "apiVersion": "name"},
        {"action": "act", "apiVersion": "__doc__"},
        {"action": "act", "apiVersion": -1},
        {},
        [],
        [["action", "act"]],
        "act",
        None,
        5,
    ],
)
async def test_e5_e12_names_that_are_none_and_params_that_are_no_object(params: Any) -> None:
    server = make()
    server.action(name="act")(lambda connection: {"acted": True})
    async with running(server):
        client = await connect(server)
        assert await client.ask("action", params=params) == {"error": "unknown action or invalid apiVersion"}
        assert await client.ask("action") == {"error": "unknown action or invalid apiVersion"}
        assert await client.action("act", apiVersion="1") == {"acted": True}


async def test_e12_unknown_parameters_are_left_behind() -> None:
    server = make()
    got: list[dict[str, Any]] = []

    @server.action
    def act(connection: Connection, key: str = "") -> None:
        got.append({"key": key})

    async with running(server):
        client = await connect(server)
        many = {f"p{number}": number for number in range(10_000)}
        assert (
            await client.ask("action", params={"action": "act", "key": "k", "self": 1, "connection": 2, **many}) == {}
        )
    assert got == [{"key": "k"}]


async def test_e6_the_sixth_action_is_refused_at_once(autojump_clock: trio.abc.Clock) -> None:
    server = make()

    @server.action
    async def sleep(connection: Connection) -> dict[str, bool]:
        await trio.sleep(10)
        return {"slept": True}

    async with running(server):
        client = await connect(server)
        for number in range(1, 8):
            client.send({"event": "action", "params": {"action": "sleep"}, "messageId": number})
        client.send({"event": "detailsView", "messageId": 8})
        replies = [await client.next() for _ in range(8)]
        assert [(one["messageId"], one.get("error")) for one in replies[:2]] == [
            (6, "you have too many pending requests"),
            (7, "you have too many pending requests"),
        ]
        assert replies[2]["data"]["pendingActions"] == 5
        assert sorted(one["messageId"] for one in replies[3:]) == [1, 2, 3, 4, 5]
        data = (await client.ask("detailsView"))["data"]
        assert (data["totalActions"], data["pendingActions"]) == (7, 0)
        assert await client.action("sleep") == {"slept": True}


async def test_e11_leaving_ends_what_runs_and_drops_its_reply() -> None:
    server = make()
    ended: list[str] = []

    @server.action
    async def wait(connection: Connection) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(connection.id)

    async with running(server):
        for farewell in ("quit", "exit"):
            client = await connect(server)
            client.send({"event": "action", "params": {"action": "wait"}, "messageId": 1})
            client.send({"event": farewell, "messageId": 2})
            assert await client.next() == "primus::server::close"
            with pytest.raises(trio.EndOfChannel):
                await client.next()
        client = await connect(server)
        client.send({"event": "action", "params": {"action": "wait"}, "messageId": 1})
        await trio.testing.wait_all_tasks_blocked()
        client.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert len(ended) == 3
        assert not server.connections


async def test_e11_what_was_asked_before_quitting_is_not_done_after() -> None:
    server = make()
    ran: list[str] = []
    server.action(name="act")(lambda connection: ran.append("act"))

    async with running(server):
        client = await connect(server)
        client.send({"event": "quit"})
        client.send({"event": "action", "params": {"action": "act"}})
        client.send({"event": "roomAdd", "room": "defaultRoom"})
        await trio.testing.wait_all_tasks_blocked()
        assert await client.next() == "primus::server::close"
        assert ran == []


async def test_a_flood_is_held_back_while_its_replies_wait() -> None:
    server = make(simultaneous_actions=2)

    @server.action
    async def quick(connection: Connection) -> None:
        await trio.lowlevel.checkpoint()

    async with running(server):
        client = await connect(server)
        client.socket.buffered = 2**17
        assert "error" in await client.action("unknown")  # with which the server learns that something waits
        for _ in range(100):
            client.send({"event": "action", "params": {"action": "quick"}, "messageId": 1})
        await trio.testing.wait_all_tasks_blocked()
        assert client.socket.paused
        assert client.nothing_came()
        client.socket.buffered = 0
        client.receiver.writable()
        replies = [await client.next() for _ in range(100)]
        assert all(one["messageId"] == 1 for one in replies)
        assert not client.socket.paused
        assert (await client.ask("detailsView"))["data"]["pendingActions"] == 0


async def test_an_action_that_fails_costs_its_client_nothing(caplog: pytest.LogCaptureFixture) -> None:
    server = make()

    @server.action
    async def fail(connection: Connection) -> None:
        raise RuntimeError("password=hunter2")

    @server.action
    def strange(connection: Connection) -> dict[str, Any]:
        return {"thing": object()}

    async with running(server):
        client = await connect(server)
        for name in ("fail", "strange"):
            assert await client.action(name) == {"error": "The server experienced an internal error"}
        assert (await client.ask("detailsView"))["status"] == "OK"
    assert caplog.text.count("Traceback") == 2


async def test_a_server_that_is_stopping_says_so() -> None:
    server = make()
    server.action(name="act")(lambda: {})

    @server.action
    async def stop(connection: Connection) -> dict[str, Any]:
        server.shutdown()
        return await server.run_action("act", connection=connection)

    async with running(server):
        client = await connect(server)
        assert await client.action("stop") == {"error": "the server is shutting down"}


async def test_documentation_lists_the_actions() -> None:
    server = make()

    @server.action(output_example={"b": 1})
    async def act(connection: Connection, key: str, count: int = 3) -> None:
        """Do it."""

    async with running(server):
        client = await connect(server)
        reply = await client.ask("documentation")
    assert reply == {
        "status": "OK",
        "data": {
            "act": {
                "1": {
                    "name": "act",
                    "version": 1,
                    "description": "Do it.",
                    "inputs": {
                        "key": {"required": True, "type": "str"},
                        "count": {"required": False, "default": 3, "type": "int"},
                    },
                    "outputExample": {"b": 1},
                }
            }
        },
    }


async def test_e10_replies_tell_nothing_of_the_inside() -> None:
    server = make()

    @server.action
    async def fail(connection: Connection) -> None:
        raise OSError(2, "No such file", "/etc/secret")

    async with running(server):
        client, other = await connect(server), await connect(server)
        texts = [
            json.dumps(await client.ask(event)) for event in ("detailsView", "documentation", "nosuch", "roomView")
        ]
        texts.append(json.dumps(await client.action("fail")))
        for text in texts:
            assert "Traceback" not in text
            assert "/" not in text
            assert other.id not in text


def test_values_are_written_and_weighed_as_in_javascript() -> None:
    values: list[Any] = ["x", None, True, False, 5, 1.0, 1.5, 1e21, {}, [], [1, [2], None, "a"]]
    assert [text_of(one) for one in values] == [
        "x", "null", "true", "false", "5", "1", "1.5", "1e+21", "[object Object]", "", "1,…,,a",
    ]  # fmt: skip
    nothing: list[Any] = ["", 0, 0.0, None, False, float("nan"), UNDEFINED]
    something: list[Any] = ["0", 1, [], {}, True, -1]
    assert [truthy(one) for one in nothing] == [False] * 7
    assert [truthy(one) for one in something] == [True] * 6
    assert repr(UNDEFINED) == "undefined"


async def test_what_an_action_leaves_to_be_awaited_after_it_has_closed_its_connection_is_dropped() -> None:
    """Without a warning of a coroutine that nobody awaits, and without counting as pending for ever."""
    server = make()
    ran: list[str] = []

    async def later() -> None:
        ran.append("later")

    @server.action
    def leave(connection: Connection) -> Any:
        ran.append("now")
        connection.close()
        return later()

    async with running(server):
        client = await connect(server)
        tally = server.tallies[client.connection]
        client.send({"event": "action", "messageId": 1, "params": {"action": "leave"}})
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        assert ran == ["now"]
        assert (tally.pending, tally.tasks) == (0, 0)
        assert await client.next() == "primus::server::close"
        assert client.nothing_came()
