"""python-socketio's three clients, by polling, by WebSocket and from one to the other."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from clients.harness import Record, of_transformer
from clients.socketio_app import SocketIOApp, served_socketio

pytestmark = of_transformer("socket.io")

SCRIPT = Path(__file__).parent / "clients" / "python_socketio.py"
each_mode = pytest.mark.parametrize("mode", ["polling", "websocket", "upgrade"])


async def drive(mode: str, scenario: str, **options: Any) -> list[Record]:
    """Run a scenario; its records."""
    async with served_socketio(SocketIOApp(**options)) as url:
        with trio.fail_after(30):
            done = await trio.run_process(
                [sys.executable, str(SCRIPT), mode, scenario, url],
                check=False,
                capture_stdout=True,
                capture_stderr=True,
            )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@each_mode
async def test_events(mode: str) -> None:
    assert await drive(mode, "events") == [
        {"one": True},
        {"two": True},
        {"back": True},
        {"message": ["message", "plain"]},
        {"answered": True},
        {"slow": ["too slow"]},
        {"timeout": True},
        {"transport": "polling" if mode == "polling" else "websocket"},
    ]


@each_mode
async def test_namespaces(mode: str) -> None:
    auth = {"token": "right"}
    who = [{"namespace": namespace, "auth": auth} for namespace in ("/", "/room-1", "/admin")]
    assert await drive(mode, "namespaces") == [{"who": who}]


@each_mode
async def test_refused(mode: str) -> None:
    told = {"message": "you are not known", "data": {"code": 7}}
    (record,) = await drive(mode, "refused")
    assert record["told"] == told
    assert "namespaces failed to connect" in record["error"]


@each_mode
async def test_a_close_after_which_the_client_stays_away(mode: str) -> None:
    assert await drive(mode, "leave") == [{"reason": "server disconnect"}, {"again": 0}]


def ended(mode: str) -> list[Record]:
    """What follows a close of the session: this client takes Engine.IO's close packet, which only polls need, for a
    word of the application, and stays away."""
    if mode == "polling":
        return [{"reason": "server disconnect"}, {"again": None}]
    return [{"reason": "transport error"}, {"again": "back"}]


@each_mode
async def test_a_close_after_which_the_client_comes_back(mode: str) -> None:
    assert await drive(mode, "bounce") == ended(mode)


@each_mode
@pytest.mark.parametrize("destroy", [False, True])
async def test_shutdown(mode: str, destroy: bool) -> None:
    records = await drive(mode, "restart", destroy_clients_on_shutdown=destroy)
    assert records == ([{"reason": "server disconnect"}, {"again": None}] if destroy else ended(mode))


@each_mode
async def test_the_client_leaves(mode: str) -> None:
    assert await drive(mode, "goodbye") == [{"reason": "client disconnect"}]


@each_mode
async def test_the_synchronous_client(mode: str) -> None:
    assert await drive(mode, "plain") == [
        {"one": {"a": [None]}, "who": {"namespace": "/fn-x", "auth": {}}},
        {"back": True},
        {"answered": True},
        {"reason": "client disconnect"},
    ]


@each_mode
async def test_the_simple_client(mode: str) -> None:
    first, refusal = await drive(mode, "simple")
    assert first == {"back": True, "who": {"namespace": "/admin", "auth": {"token": "right"}}}
    assert "failed to connect" in refusal["error"]
