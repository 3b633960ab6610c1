"""examples/actionhero.py is ActionHero's default project."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from action_bench import connect, fetch, running

if TYPE_CHECKING:
    from ahtransport import ActionServer

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "actionhero.py"
SIMPLE = (
    b"<h1>Actionhero</h1>\n"
    b"I am a flat file being served to you via the API from ./public/simple.html<br />\n"
)  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> ActionServer:
    monkeypatch.setenv("AHTRANSPORT__SERVERS__WEB__PORT", "0")
    spec = importlib.util.spec_from_file_location("actionhero_default_project", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: ActionServer = module.server
    return found


async def test_it_has_the_actions_rooms_and_welcome_of_the_default_project(server: ActionServer) -> None:
    names = sorted(action.name for action in server.actions)
    assert names == ["cacheTest", "createChatRoom", "randomNumber", "sleepTest", "status"]
    assert server.rooms.list() == ["defaultRoom", "otherRoom"]
    assert server.config.general.welcome_message == "Welcome to the actionhero-app api"


async def test_its_files(server: ActionServer) -> None:
    assert len(SIMPLE) == 101
    for path in ("/simple.html", "/public/simple.html"):
        response, _ = await fetch(server, path)
        assert (response.status, response.body) == (200, SIMPLE)
    for path in ("/", "/index.html", "/style.css", "/chat.html", "/chat.js", "/chat.css"):
        response, _ = await fetch(server, path)
        assert response.status == 200, path


async def test_its_words_are_actionheros(server: ActionServer) -> None:
    async with running(server):
        one = await connect(server)
        await one.ask("roomAdd", room="defaultRoom")
        one.send({"event": "say", "room": "defaultRoom", "message": "hi", "messageId": 1})
        messages = [await one.next(), await one.next()]
        (said,) = [message for message in messages if message["context"] == "user"]
        assert list(said) == ["message", "room", "from", "context", "sentAt"]
        reply = await one.ask("file", file="simple.html")
        assert (reply["content"], reply["mime"], reply["length"]) == (SIMPLE.decode(), "text/html", 101)
