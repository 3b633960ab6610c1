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
PAGES = {name: (STATIC / name).read_text() for name in ("chat.html", "linkedSession.html")}
SCRIPTS = {path.name: path.read_text() for path in sorted(STATIC.glob("*.js"))}


CLIENT = "/public/javascript/ActionheroWebsocketClient.js"


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_brings_its_parts(name: str) -> None:
    server = make_server(port=0)
    parts = re.findall(r'<(?:script|link)[^>]* (?:src|href)="(/[^"]+)"', PAGES[name])
    assert CLIENT in parts
    for script in SCRIPTS.values():
        parts += [f"/{found}" for found in re.findall(r"from '\./([\w.-]+)'", script)]
    async with running(server):
        for part in [f"/{name}", *parts]:
            response, _ = await fetch(server, part)
            assert response.status == 200, part


async def test_the_chat_is_at_the_root() -> None:
    server = make_server(port=0)
    response, _ = await fetch(server, "/")
    assert (response.status, response.body) == (200, PAGES["chat.html"].encode())
    response, _ = await fetch(server, "/", "HEAD")
    assert response.status == 200
    response, _ = await fetch(server, "/", "POST")
    assert response.status == 405


def listing() -> list[str]:
    return sorted(path.name for path in STATIC.rglob("*"))


async def test_the_demo_leaves_no_files_in_its_package() -> None:
    before = listing()
    server = make_server(port=0)
    async with running(server):
        response, _ = await fetch(server, CLIENT)
        assert response.status == 200
    assert listing() == before


@pytest.mark.parametrize("name", PAGES)
def test_a_page_runs_nothing_but_its_own_scripts(name: str) -> None:
    page = PAGES[name]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in page
    scripts = re.findall(r"<script[^>]*>", page)
    assert scripts == [f'<script src="{CLIENT}">', f'<script type="module" src="/{Path(name).stem}.js">']
    assert not re.search(r"\son\w+=|style=", page)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_makes_no_markup_of_words(script: str) -> None:
    text = SCRIPTS[script]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", text)
    page = PAGES["linkedSession.html" if script.startswith("linked") else "chat.html"]
    wanted = set(re.findall(r"(?:\$|getElementById|setText|card)\('([\w-]+)'", text))
    assert wanted <= set(re.findall(r'id="([\w-]+)"', page))


@pytest.mark.node
@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_valid(script: str) -> None:
    command = ["node", "--input-type=module", "--check"]
    subprocess.run(command, input=SCRIPTS[script], text=True, check=True, capture_output=True)


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
    assert settings["serverName"] == "ahtransport demo"
    assert settings["rooms"] == ["defaultRoom", "otherRoom"]
    async with running(server):
        anna, berta = await connect(server), await connect(server)
        introduced = await anna.action("introduce", name="  Anna \n <b> ")
        assert introduced == {"id": anna.id, "name": "Anna <b>"}
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
        assert said["id"] == f"{here['history']}:1"
        berta.leave()
        assert await settle(anna) == [{**news, "event": "leave", "name": "Berta"}]
        server.rooms.remove("defaultRoom")
        server.rooms.add("defaultRoom")
        await settle(anna)
        await anna.ask("roomAdd", room="defaultRoom")
        again = await anna.action("enterRoom", room="defaultRoom")
        assert again["said"] == []
        assert again["history"] != here["history"]


async def test_one_that_comes_back_is_called_as_before() -> None:
    server = make_server(port=0)
    async with running(server):
        anna, berta = await connect(server, headers={"Cookie": "sessionID=abc"}), await connect(server)
        await berta.ask("roomAdd", room="defaultRoom")
        await anna.action("introduce", name="Anna")
        anna.send({"event": "action", "params": {"action": "dropMe"}})
        await trio.testing.wait_all_tasks_blocked()
        assert anna.socket.closed_with == (1012, "as you wished")
        again = await connect(server, headers={"Cookie": "sessionID=abc"})
        await again.ask("roomAdd", room="defaultRoom")
        (news,) = await settle(berta)
        assert (news["event"], news["name"], news["id"]) == ("join", "Anna", again.id)


async def test_a_note_is_set_and_read_over_http_and_websocket() -> None:
    server = make_server(port=0)
    async with running(server):
        one, two, stranger = [
            await connect(server, headers={"Cookie": f"sessionID={name}"}) for name in ("abc", "abc", "xyz")
        ]
        for client in (one, two, stranger):
            assert await client.action("getNote") == {"note": None, "setOver": None, "type": "websocket"}
        _, answer = await fetch(server, "/api/setNote?note=tea", Cookie="sessionID=abc")
        assert {"note": "tea", "setOver": "web", "type": "web"}.items() <= answer.items()
        for client in (one, two):
            assert await client.next() == {"context": "note", "note": "tea", "setOver": "web"}
        assert await one.action("setNote", note="coffee") == {
            "note": "coffee",
            "setOver": "websocket",
            "type": "websocket",
        }
        assert await two.next() == {"context": "note", "note": "coffee", "setOver": "websocket"}
        _, answer = await fetch(server, "/api/getNote", Cookie="sessionID=abc")
        assert {"note": "coffee", "setOver": "websocket", "type": "web"}.items() <= answer.items()
        refused = await one.action("setNote", note="x" * 201)
        assert refused == {"error": "a note may have 200 characters"}
        assert await stranger.action("getNote") == {"note": None, "setOver": None, "type": "websocket"}
        two.leave()
        await trio.testing.wait_all_tasks_blocked()
        await one.action("setNote", note="water")
        assert one.nothing_came()
        assert stranger.nothing_came()


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
