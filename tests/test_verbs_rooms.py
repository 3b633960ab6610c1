"""Rooms over the wire: joining, leaving, looking, saying, and the chat middleware that watches over it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio
import trio.testing

from action_bench import Client, connect, make, running
from ahtransport import ActionError, Connection, RoomError

OK = {"status": "OK", "data": True}
INTERNAL = "The server experienced an internal error"


def error(text: str, **data: Any) -> dict[str, Any]:
    return {"status": f"Error: {text}", "error": f"Error: {text}", "data": data}


def heard(message: dict[str, Any]) -> dict[str, Any]:
    """Give something that was said, less the time, which has to be a good one."""
    assert list(message)[:5] == ["message", "room", "from", "context", "sentAt"]
    assert message["sentAt"] > 1_600_000_000_000
    return {key: value for key, value in message.items() if key != "sentAt"}


async def say(client: Client, room: str, message: Any) -> list[Any]:
    """Say something as a member, and give the reply and what was heard."""
    client.send({"event": "say", "room": room, "message": message, "messageId": "say"})
    messages = [await client.next(), await client.next()]
    assert {"status": "OK", "context": "response", "messageId": "say"} in messages
    return [heard(one) for one in messages if one["context"] == "user"]


async def test_the_starting_rooms_are_there_and_stay() -> None:
    async with running(make()) as server:
        assert server.rooms.list() == ["defaultRoom", "otherRoom"]
        client = await connect(server)
        assert await client.ask("roomAdd", room="defaultRoom") == OK
        assert await client.ask("roomLeave", room="defaultRoom") == OK
        assert server.rooms.list() == ["defaultRoom", "otherRoom"]


async def test_rooms_are_joined_and_left() -> None:
    async with running(make()) as server:
        client = await connect(server)
        assert await client.ask("roomAdd", room="otherRoom") == OK
        assert await client.ask("roomAdd", room="defaultRoom") == OK
        assert await client.ask("roomAdd", room="otherRoom") == error("connection already in this room (otherRoom)")
        assert (await client.ask("detailsView"))["data"]["rooms"] == ["otherRoom", "defaultRoom"]
        assert await client.ask("roomLeave", room="otherRoom") == OK
        assert await client.ask("roomLeave", room="otherRoom") == error("connection not in this room (otherRoom)")
        assert (await client.ask("detailsView"))["data"]["rooms"] == ["defaultRoom"]


async def test_a_room_is_viewed_by_its_members() -> None:
    async with running(make()) as server:
        one, other = await connect(server), await connect(server)
        assert await one.ask("roomView", room="defaultRoom") == error("connection not in this room (defaultRoom)")
        await one.ask("roomAdd", room="defaultRoom")
        await other.ask("roomAdd", room="defaultRoom")
        data = (await one.ask("roomView", room="defaultRoom"))["data"]
        assert list(data) == ["room", "members", "membersCount"]
        assert data["membersCount"] == 2
        assert list(data["members"]) == [one.id, other.id]
        member = data["members"][other.id]
        assert member == {"id": other.id, "joinedAt": member["joinedAt"]}
        assert isinstance(member["joinedAt"], int)
        assert member["joinedAt"] > 1_600_000_000_000
        other.leave()
        assert (await one.ask("roomView", room="defaultRoom"))["data"]["membersCount"] == 1


async def test_the_room_may_be_any_first_value_as_in_actionhero() -> None:
    async with running(make()) as server:
        client = await connect(server)
        assert await client.ask("roomAdd", anything="defaultRoom") == OK
        assert await client.ask("roomAdd", anything="nowhere") == error("room does not exist", anything="nowhere")
        # An empty room is none, and then it is the first value that counts: the empty one again.
        reply = await client.ask("roomAdd", room="", other="otherRoom")
        assert reply == error("a room is required", room="", other="otherRoom")
        assert await client.ask("roomAdd", other="otherRoom", room="") == OK
        assert (await client.ask("roomView", it="defaultRoom"))["data"]["membersCount"] == 1


@pytest.mark.parametrize("room", [{}, {"a": 1}, [], ["defaultRoom"], 1, True, "x" * 256, "\n", "nowhere", "id", " "])
async def test_e7_a_room_that_does_not_exist(room: Any) -> None:
    async with running(make()) as server:
        client, other = await connect(server), await connect(server)
        room = other.id if room == "id" else room
        assert await client.ask("roomAdd", room=room) == error("room does not exist")
        for event in ("roomView", "roomLeave"):
            reply = await client.ask(event, room=room)
            assert reply["error"].startswith("Error: connection not in this room (")
            assert len(reply["error"]) < 300 + 10
        assert server.rooms.list() == ["defaultRoom", "otherRoom"]
        assert (await client.ask("detailsView"))["data"]["rooms"] == []


@pytest.mark.parametrize("event", ["roomAdd", "roomLeave", "roomView"])
async def test_e7_a_room_is_required(event: str) -> None:
    async with running(make()) as server:
        client = await connect(server)
        assert await client.ask(event) == error("a room is required")
        assert await client.ask(event, room="") == error("a room is required", room="")
        assert await client.ask(event, room=None) == error("a room is required", room=None)
        assert await client.ask(event, room=0) == error("a room is required", room=0)


async def test_e7_one_room_too_many() -> None:
    async with running(make(max_rooms=3)) as server:
        client = await connect(server)
        for number in range(4):
            server.rooms.add(f"room {number}")
        for number in range(3):
            assert await client.ask("roomAdd", room=f"room {number}") == OK
        assert await client.ask("roomAdd", room="room 3") == error("a connection may be in 3 rooms")
        assert len(server.rooms.members("room 3")) == 0
        await client.ask("roomLeave", room="room 0")
        assert await client.ask("roomAdd", room="room 3") == OK


async def test_e8_what_is_said_reaches_the_members_and_nobody_else() -> None:
    async with running(make()) as server:
        one, other, outsider = [await connect(server) for _ in range(3)]
        for client in (one, other):
            await client.ask("roomAdd", room="defaultRoom")
        await outsider.ask("roomAdd", room="otherRoom")
        said = {"message": "hello \u2028 wörld", "room": "defaultRoom", "from": one.id, "context": "user"}
        assert await say(one, "defaultRoom", "hello \u2028 wörld") == [said]
        assert heard(await other.next()) == said
        long = "x" * 2**20
        assert (await say(other, "defaultRoom", long))[0]["message"] == long
        assert heard(await one.next())["message"] == long
        await trio.testing.wait_all_tasks_blocked()
        assert outsider.nothing_came()


@pytest.mark.parametrize("message", [5, 1.0, 0, True, False, "0"])
async def test_e8_what_is_said_is_text(message: Any) -> None:
    async with running(make()) as server:
        client = await connect(server)
        await client.ask("roomAdd", room="defaultRoom")
        shown = {5: "5", 1.0: "1" if message is not True else "true", 0: "0" if message is not False else "false"}
        expected = message if isinstance(message, str) else shown[message]
        assert (await say(client, "defaultRoom", message))[0]["message"] == expected


@pytest.mark.parametrize(
    ("fields", "text", "data"),
    [
        ({"room": "otherRoom", "message": "hi"}, "connection not in this room (otherRoom)", {"message": "hi"}),
        ({"room": "nowhere", "message": "hi"}, "connection not in this room (nowhere)", {"message": "hi"}),
        ({"room": ["defaultRoom"], "message": "hi"}, "connection not in this room (defaultRoom)", {"message": "hi"}),
        ({"room": "x" * 999, "message": "hi"}, f"connection not in this room ({'x' * 255}…)", {"message": "hi"}),
        ({"message": "x"}, "both room and message are required", {"message": "x"}),
        ({"room": "", "message": "x"}, "both room and message are required", {"room": "", "message": "x"}),
        ({"room": "defaultRoom"}, "both room and message are required", {}),
        ({"room": "defaultRoom", "message": ""}, "both room and message are required", {"message": ""}),
        ({"room": "defaultRoom", "message": None}, "both room and message are required", {"message": None}),
        ({"room": "defaultRoom", "message": {"a": 1}}, "a message has to be text", {"message": {"a": 1}}),
        ({"room": "defaultRoom", "message": ["a"]}, "a message has to be text", {"message": ["a"]}),
        ({}, "both room and message are required", {}),
    ],
)
async def test_e8_what_can_not_be_said(fields: dict[str, Any], text: str, data: dict[str, Any]) -> None:
    async with running(make()) as server:
        client = await connect(server)
        await client.ask("roomAdd", room="defaultRoom")
        assert await client.ask("say", **fields) == error(text, **data)
        assert client.nothing_came()


async def test_say_does_not_depend_on_the_order_of_keys_and_joins_words() -> None:
    async with running(make()) as server:
        client = await connect(server)
        await client.ask("roomAdd", room="defaultRoom")
        for text in (
            '{"message": "a", "messageId": "say", "event": "say", "room": "defaultRoom"}',
            '{"room": "defaultRoom", "messageId": "say", "message": "a", "event": "say", "other": "b"}',
        ):
            client.receiver.message(text)
            assert heard(await client.next())["message"] == "a"
            assert (await client.next())["status"] == "OK"
        client.receiver.message('{"event": "say", "one": "a", "room": "defaultRoom", "two": 2, "three": null}')
        assert heard(await client.next())["message"] == "a 2 "


async def test_a_room_that_is_removed_says_goodbye() -> None:
    async with running(make()) as server:
        client, outsider = await connect(server), await connect(server)
        await client.ask("roomAdd", room="defaultRoom")
        assert server.rooms.remove("defaultRoom")
        assert heard(await client.next()) == {
            "message": "this room has been deleted",
            "room": "defaultRoom",
            "from": "0",
            "context": "user",
        }
        assert not server.rooms.remove("defaultRoom")
        assert outsider.nothing_came()
        assert (await client.ask("detailsView"))["data"]["rooms"] == []
        assert await client.ask("roomAdd", room="defaultRoom") == error("room does not exist")


async def test_the_server_may_speak_for_itself() -> None:
    async with running(make()) as server:
        client = await connect(server)
        await client.ask("roomAdd", room="defaultRoom")
        assert await server.chat.say(None, "defaultRoom", {"any": "thing"})
        assert heard(await client.next()) == {
            "message": {"any": "thing"},
            "room": "defaultRoom",
            "from": "0",
            "context": "user",
        }
        assert await server.chat.say(None, "nowhere", "nobody listens")
        with pytest.raises(RoomError, match="both room and message"):
            await server.chat.say(None, "defaultRoom", "")


# Middleware


async def test_middleware_is_told_of_joining_and_leaving_in_order_of_priority() -> None:
    server = make()
    seen: list[tuple[str, str, bool]] = []

    async def late(connection: Connection, room: str) -> None:
        seen.append(("late", room, room in connection.rooms))

    def early(connection: Connection, room: str) -> None:
        seen.append(("early", room, room in connection.rooms))

    server.chat.use("late", join=late, leave=late, priority=200)
    server.chat.use("early", join=early, leave=early, priority=50)
    assert server.chat.names == ["early", "late"]
    async with running(server):
        client = await connect(server)
        await client.ask("roomAdd", room="otherRoom")
        await client.ask("roomLeave", room="otherRoom")
        assert seen == [(name, "otherRoom", joined) for joined in (False, True) for name in ("early", "late")]
        seen.clear()
        await client.ask("roomAdd", room="otherRoom")
        await client.ask("roomAdd", room="defaultRoom")
        server.rooms.add("gone")
        await client.ask("roomAdd", room="gone")
        server.rooms.remove("gone")
        seen.clear()
        client.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [(name, room, False) for room in ("defaultRoom", "otherRoom") for name in ("early", "late")]


async def test_middleware_hears_nothing_of_a_room_that_somebody_was_taken_out_of() -> None:
    """``server.rooms`` asks nobody; at the end the connection leaves only what it is still in."""
    server = make()
    seen: list[str] = []
    server.chat.use("note", leave=lambda connection, room: seen.append(room))
    server.configure(simultaneous_actions=3)  # which makes other rooms
    async with running(server):
        client = await connect(server)
        await client.ask("roomAdd", room="otherRoom")
        await client.ask("roomAdd", room="defaultRoom")
        assert server.rooms.leave(client.connection, "otherRoom")
        client.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["defaultRoom"]


async def test_somebody_who_ends_while_leaving_is_told_of_once() -> None:
    server = make()
    seen: list[str] = []

    async def note(connection: Connection, room: str) -> None:
        seen.append(room)
        if connection.state == "open":
            client.leave()
            await trio.lowlevel.checkpoint()

    server.chat.use("note", leave=note)
    async with running(server):
        client = await connect(server)
        await client.ask("roomAdd", room="otherRoom")
        client.send({"event": "roomLeave", "room": "otherRoom"})
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["otherRoom"]
        assert server.chat.joined == {}


async def test_e13_middleware_may_refuse(caplog: pytest.LogCaptureFixture) -> None:
    server = make()

    def guard(connection: Connection, room: str) -> None:
        if room == "defaultRoom":
            raise ActionError("members only")

    async def broken(connection: Connection, room: str) -> None:
        raise RuntimeError("secret")

    def silent(connection: Connection | None, room: str, words: dict[str, Any]) -> dict[str, Any] | None:
        if words["message"] == "bad":
            raise ActionError("mind your language")
        return None if words["message"] == "nothing" else words

    server.chat.use("guard", join=guard, on_say_receive=silent)
    async with running(server):
        client, other = await connect(server), await connect(server)
        assert await client.ask("roomAdd", room="defaultRoom") == error("members only")
        assert await client.ask("roomAdd", room="otherRoom") == OK
        await other.ask("roomAdd", room="otherRoom")
        assert await client.ask("say", room="otherRoom", message="bad") == error("mind your language", message="bad")
        assert await client.ask("say", room="otherRoom", message="nothing") == {"status": "OK"}
        assert not await server.chat.say(client.connection, "otherRoom", "nothing")
        assert other.nothing_came()
        server.chat.use("broken", leave=broken)
        assert await client.ask("roomLeave", room="otherRoom") == error(INTERNAL)
        assert (await client.ask("detailsView"))["data"]["rooms"] == ["otherRoom"]
        client.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert list(server.rooms.members("otherRoom")) == [other.connection]
        assert caplog.text.count("RuntimeError: secret") == 2
        assert server.chat.remove("broken")
        assert not server.chat.remove("broken")


async def test_what_refuses_to_let_somebody_go_is_not_asked_when_they_are_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = make()

    def stay(connection: Connection, room: str) -> None:
        raise ActionError("stay a while")

    server.chat.use("stay", leave=stay)
    async with running(server):
        client = await connect(server)
        await client.ask("roomAdd", room="otherRoom")
        assert await client.ask("roomLeave", room="otherRoom") == error("stay a while")
        client.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert len(server.rooms.members("otherRoom")) == 0
    assert not caplog.records or "failed" not in caplog.text


async def test_what_is_said_may_be_changed_for_all_or_for_one(caplog: pytest.LogCaptureFixture) -> None:
    server = make()

    async def shout(connection: Connection | None, room: str, words: dict[str, Any]) -> dict[str, Any]:
        return {**words, "message": words["message"].upper(), "mood": "loud"}

    def personal(connection: Connection | None, room: str, words: dict[str, Any]) -> dict[str, Any] | None:
        assert connection is not None
        if connection.data.get("deaf"):
            return None
        if connection.data.get("broken"):
            raise RuntimeError("secret")
        words["to"] = connection.id
        return words

    server.chat.use("shout", on_say_receive=shout)
    server.chat.use("personal", say=personal)
    async with running(server):
        one, other, deaf, broken = [await connect(server) for _ in range(4)]
        deaf.connection.data["deaf"] = True
        broken.connection.data["broken"] = True
        for client in (one, other, deaf, broken):
            await client.ask("roomAdd", room="defaultRoom")
        mine = {"message": "HI", "room": "defaultRoom", "from": one.id, "context": "user", "mood": "loud"}
        assert await say(one, "defaultRoom", "hi") == [{**mine, "to": one.id}]
        assert heard(await other.next()) == {**mine, "to": other.id}
        await trio.testing.wait_all_tasks_blocked()
        assert deaf.nothing_came()
        assert broken.nothing_came()
        assert (await broken.ask("detailsView"))["status"] == "OK"
    assert caplog.text.count("RuntimeError: secret") == 1


async def test_e13_words_that_can_not_be_sent_cost_their_receiver_that_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def spoil(connection: Connection | None, room: str, words: dict[str, Any]) -> dict[str, Any]:
        return {**words, "spoilt": object()} if connection and connection.data.get("spoilt") else words

    server = make()
    server.chat.use("spoil", say=spoil)
    async with running(server):
        one, broken, last = [await connect(server) for _ in range(3)]
        broken.connection.data["spoilt"] = True
        for client in (one, broken, last):
            await client.ask("roomAdd", room="defaultRoom")
        assert len(await say(one, "defaultRoom", "hi")) == 1
        assert heard(await last.next())["message"] == "hi"
        assert broken.nothing_came()
        assert (await broken.ask("detailsView"))["status"] == "OK"
    assert caplog.text.count("can't be sent") == 1


async def test_a_member_too_slow_for_words_of_its_own_is_closed_and_may_come_back() -> None:
    server = make()
    server.chat.use("same", say=lambda connection, room, words: words)
    async with running(server):
        one, slow = await connect(server), await connect(server)
        for client in (one, slow):
            await client.ask("roomAdd", room="defaultRoom")
        slow.socket.buffered = 2**20
        await say(one, "defaultRoom", "hi")  # with which the server learns that something waits
        assert len(await say(one, "defaultRoom", "hi")) == 1
        assert slow.socket.closed_with == (1013, "too slow")
        assert list(server.rooms.members("defaultRoom")) == [one.connection]


async def test_a_member_that_leaves_while_others_hear() -> None:
    server = make()

    async def listen(connection: Connection | None, room: str, words: dict[str, Any]) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        leaving.leave()
        return words

    server.chat.use("listen", say=listen)
    async with running(server):
        one, leaving, last = [await connect(server) for _ in range(3)]
        for client in (one, leaving, last):
            await client.ask("roomAdd", room="defaultRoom")
        assert len(await say(one, "defaultRoom", "hi")) == 1
        assert heard(await last.next())["message"] == "hi"


async def test_who_has_left_hears_nothing_more() -> None:
    server, asked = make(), []
    gate = trio.Event()

    async def listen(connection: Connection | None, room: str, words: dict[str, Any]) -> dict[str, Any]:
        asked.append(connection)
        await gate.wait()
        return words

    server.chat.use("listen", say=listen)
    async with running(server):
        one, other, stays = [await connect(server) for _ in range(3)]
        for client in (one, other, stays):
            await client.ask("roomAdd", room="defaultRoom")
        stays.send({"event": "say", "room": "defaultRoom", "message": "hi"})
        await trio.testing.wait_all_tasks_blocked()
        for client in (one, other):  # one is being asked about, the other would be next
            assert await client.ask("roomLeave", room="defaultRoom") == OK
        gate.set()
        assert heard(await stays.next())["message"] == "hi"
        await trio.testing.wait_all_tasks_blocked()
        assert one.nothing_came()
        assert other.nothing_came()
        assert asked == [one.connection, stays.connection]


async def test_words_may_be_sent_to_another_room_or_to_one_that_is_gone() -> None:
    server = make()

    def divert(connection: Connection | None, room: str, words: dict[str, Any]) -> dict[str, Any]:
        return {**words, "room": words["message"]}

    server.chat.use("divert", on_say_receive=divert, say=lambda connection, room, words: words)
    async with running(server):
        client, other = await connect(server), await connect(server)
        await client.ask("roomAdd", room="defaultRoom")
        await other.ask("roomAdd", room="otherRoom")
        assert await client.ask("say", room="defaultRoom", message="otherRoom") == {"status": "OK"}
        assert heard(await other.next())["room"] == "otherRoom"
        assert await client.ask("say", room="defaultRoom", message="nowhere") == {"status": "OK"}


async def test_a_room_that_vanishes_while_its_middleware_thinks() -> None:
    server = make()

    async def think(connection: Connection, room: str) -> None:
        server.rooms.remove(room)

    server.chat.use("think", join=think)
    async with running(server):
        client = await connect(server)
        assert await client.ask("roomAdd", room="otherRoom") == error("room does not exist")
        assert server.rooms.list() == ["defaultRoom"]


async def test_a_name_is_used_once() -> None:
    server = make()
    server.chat.use("a")
    with pytest.raises(ValueError, match=re.escape("'a' already")):
        server.chat.use("a")


async def test_nothing_is_left_of_clients_that_are_gone() -> None:
    async with running(make()) as server:
        for _ in range(3):
            client = await connect(server)
            await client.ask("roomAdd", room="defaultRoom")
            client.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert not server.connections
        assert len(server.rooms.members("defaultRoom")) == 0
        assert server.tallies == {}
        assert server.chat.joined == {}
