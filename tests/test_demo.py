"""The demo: its page, and what the page asks for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from action_bench import Client, connect, fetch, running
from ahtransport.demo import make_server, static_directory
from ahtransport.demo._project import MAX_ROOMS, Cache, text

STATIC = Path(static_directory())


async def test_the_page_is_at_the_root_and_brings_its_parts() -> None:
    server = make_server(port=0)
    response, _ = await fetch(server, "/")
    assert response.status == 200
    assert response.body == (STATIC / "chat.html").read_bytes()
    page = (STATIC / "chat.html").read_text()
    parts = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert sorted(parts) == ["/chat.css", "/chat.js"]
    for part in parts:
        response, _ = await fetch(server, part)
        assert response.status == 200
    response, _ = await fetch(server, "/", "HEAD")
    assert response.status == 200
    response, _ = await fetch(server, "/", "POST")
    assert response.status == 405


def test_the_page_runs_nothing_but_its_own_script() -> None:
    page = (STATIC / "chat.html").read_text()
    assert "default-src 'self'" in page
    assert re.findall(r"<script[^>]*>", page) == ['<script src="/chat.js" defer>']
    assert not re.search(r"\son\w+=|style=", page)
    script = (STATIC / "chat.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", script)
    assert set(re.findall(r"\$\('([\w-]+)'\)", script)) <= set(re.findall(r'id="([\w-]+)"', page))


@pytest.mark.node
@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_script_is_valid() -> None:
    subprocess.run(["node", "--check", str(STATIC / "chat.js")], check=True, capture_output=True)


async def settle(client: Client) -> list[Any]:
    """Give everything that has come."""
    await trio.testing.wait_all_tasks_blocked()
    found = []
    while not client.nothing_came():
        found.append(await client.next())
    return found


async def test_people_have_names_and_see_each_other_come_and_go() -> None:
    server = make_server(port=0)
    _, settings = await fetch(server, "/api/chatSettings")
    assert settings["pathname"] == "/primus"
    assert settings["rooms"] == ["defaultRoom", "otherRoom"]
    async with running(server):
        anna, berta = await connect(server), await connect(server)
        introduced = await anna.action("introduce", name="  Anna \n <b> ")
        assert introduced == {
            "id": anna.id,
            "name": "Anna <b>",
            "transformer": "websockets",
            "transport": "websocket",
        }
        await anna.ask("roomAdd", room="defaultRoom")
        await berta.ask("roomAdd", room="defaultRoom")
        guest = f"guest {berta.id[:4]}"
        news = {"context": "presence", "room": "defaultRoom", "id": berta.id}
        assert await settle(anna) == [{**news, "event": "join", "name": guest}]
        await berta.action("introduce", name="Berta")
        await berta.action("introduce", name="Berta")
        assert await settle(anna) == [{**news, "event": "name", "name": "Berta"}]
        berta.send({"event": "say", "room": "defaultRoom", "message": "hello"})
        (said,) = await settle(anna)
        assert (said["message"], said["name"], said["from"]) == ("hello", "Berta", berta.id)
        here = await anna.action("enterRoom", room="defaultRoom")
        assert here["members"] == [{"id": anna.id, "name": "Anna <b>"}, {"id": berta.id, "name": "Berta"}]
        assert (here["membersCount"], here["said"]) == (2, [said])
        berta.leave()
        assert await settle(anna) == [{**news, "event": "leave", "name": "Berta"}]
        server.rooms.remove("defaultRoom")
        server.rooms.add("defaultRoom")
        await settle(anna)
        await anna.ask("roomAdd", room="defaultRoom")
        assert (await anna.action("enterRoom", room="defaultRoom"))["said"] == []


async def test_what_the_chat_refuses() -> None:
    server = make_server(port=0)
    async with running(server):
        client = await connect(server)
        assert await client.action("introduce", name=" \n ") == {"error": "a name has at least one letter"}
        assert await client.action("enterRoom", room="defaultRoom") == {
            "error": "connection not in this room (defaultRoom)"
        }
        await client.ask("roomAdd", room="defaultRoom")
        reply = await client.ask("say", room="defaultRoom", message="x" * 2001)
        assert reply["error"] == "Error: a message may have 2000 characters"
        _, answer = await fetch(server, "/api/introduce?name=x")
        assert answer["error"] == "this action does not support the web connection type"
        await server.chat.say(None, "defaultRoom", "news")
        assert (await client.next())["message"] == "news"


async def test_the_default_actions(autojump_clock: trio.abc.Clock) -> None:
    run = make_server().run_action
    answer = await run("randomNumber")
    assert 0 <= answer["randomNumber"] < 1
    assert answer["stringRandomNumber"] == f"Your random number is {answer['randomNumber']}"
    assert (await run("sleepTest"))["sleepDuration"] == 1000
    answer = await run("sleepTest", {"sleepDuration": "100"})
    assert list(answer) == ["sleepStarted", "sleepEnded", "sleepDelta", "sleepDuration"]
    assert answer["sleepDuration"] == 100
    assert answer["sleepDelta"] == answer["sleepEnded"] - answer["sleepStarted"]
    answer = (await run("cacheTest", {"key": "abc", "value": 123}))["cacheTestResults"]
    assert list(answer) == ["saveResp", "sizeResp", "loadResp", "deleteResp"]
    assert (answer["saveResp"], answer["sizeResp"], answer["deleteResp"]) == (True, 1, True)
    assert (answer["loadResp"]["key"], answer["loadResp"]["value"]) == ("cacheTest_abc", "123")
    assert isinstance(answer["loadResp"]["createdAt"], int)
    answer = await run("status")
    assert list(answer) == [
        "id",
        "name",
        "description",
        "version",
        "uptime",
        "consumedMemoryMB",
        "nodeStatus",
        "problems",
    ]
    assert (answer["nodeStatus"], answer["problems"]) == ("Node Healthy", [])
    assert answer["id"]
    assert await run("createChatRoom", {"name": "tea"}) == {"name": "tea", "didCreate": True}
    assert await run("createChatRoom", {"name": "tea"}) == {"name": "tea", "didCreate": False}


@pytest.mark.parametrize(
    ("action", "params", "status", "error"),
    [
        ("cacheTest", {}, 422, "key is a required parameter for this action"),
        ("cacheTest", {"key": "abc"}, 422, "value is a required parameter for this action"),
        ("cacheTest", {"key": "ab", "value": "abc"}, 422, "inputs should be at least 3 letters long"),
        ("sleepTest", {"sleepDuration": "soon"}, 422, "sleepDuration: expected int, got str"),
        ("sleepTest", {"sleepDuration": -1}, 422, "sleepDuration: expected int >= 0"),
        ("createChatRoom", {}, 422, "name is a required parameter for this action"),
        ("createChatRoom", {"name": "a\nb"}, 400, None),
        ("createChatRoom", {"name": "x" * 256}, 400, None),
    ],
)
async def test_what_the_default_actions_refuse(
    action: str, params: dict[str, Any], status: int, error: str | None
) -> None:
    response, answer = await fetch(make_server(), f"/api/{action}", "POST", _json(params), "application/json")
    assert response.status == status
    assert answer["error"] == error if error else "room's name" in answer["error"]


def _json(value: Any) -> bytes:
    import msgspec

    return msgspec.json.encode(value)


async def test_there_are_only_so_many_rooms() -> None:
    server = make_server()
    for number in range(MAX_ROOMS):
        server.rooms.add(f"room {number}")
    response, answer = await fetch(server, "/api/createChatRoom?name=more")
    assert (response.status, answer["error"]) == (429, "there are too many rooms")
    assert (await server.run_action("createChatRoom", {"name": "room 1"}))["didCreate"] is False


def test_the_cache_forgets_what_has_expired() -> None:
    cache = Cache()
    assert cache.save("a", 1, 10_000)
    assert cache.save("b", 2, 0)
    assert cache.load("b") is None
    found = cache.load("a")
    assert found is not None
    assert found["readAt"] is None
    again = cache.load("a")
    assert again is not None
    assert again["readAt"] is not None
    assert cache.size() == 1
    assert cache.destroy("a")
    assert not cache.destroy("a")


def test_values_become_strings_as_in_javascript() -> None:
    values: list[Any] = ["x", 5, 5.0, 1.5, True, None, [1, "a"]]
    assert [text(one) for one in values] == ["x", "5", "5", "1.5", "true", "null", '[1,"a"]']
