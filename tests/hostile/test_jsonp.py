"""G10: nobody gets a script for an answer, whatever the name of the function that he would like to have called."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from ahtransport import ActionServer
from hostile.support import under_attack
from hostile.wire import TEXT, frame, request, upgrade

if TYPE_CHECKING:
    from ahtransport import Server
    from hostile.support import Target
    from hostile.wire import Answer

PATHS = {"websockets": "/primus", "engine.io": "/engine.io", "socket.io": "/socket.io"}
POLLED = {"engine.io": (b'4"hello"', b'4"hello"'), "socket.io": (b"40", b'40{"sid":')}

CALLBACKS = (
    "",
    "0",
    "evilcallback",
    "0];evilcallback(1);//",
    "</script><script>evilcallback(1)</script>",
    "evilcallback\r\nX-Evil: evilcallback",
    "'-evilcallback(1)-'",
    "\u2028evilcallback(1)",
    "evilcallback" * 500,
)


def check(answer: Answer, status: int) -> None:
    """Check that an answer is no script, and that nothing of what was asked for is in it."""
    assert answer.status == status, answer
    assert "script" not in (answer.header("Content-Type") or "")
    for text in (answer.body, repr(answer.headers).encode()):
        assert b"evil" not in text.lower()
        assert b"___eio" not in text


async def refuse(target: Target, path: str, query: str) -> None:
    """Ask for a script in every way that a session can be opened by."""
    check(await target.exchange(request("GET", f"{path}/?EIO=4&transport=polling{query}")), 400)
    check(await target.exchange(request("GET", f"{path}/?EIO=3&transport=polling{query}")), 400)
    check(await target.exchange(upgrade(target=f"{path}/?EIO=4&transport=websocket{query}")), 400)


@pytest.mark.parametrize("name", POLLED)
async def test_g10_polls_are_never_answered_with_a_script(name: str) -> None:
    """No session is opened for such a poll, and one that is open does not mind."""
    path, (said, heard) = PATHS[name], POLLED[name]
    async with under_attack(transformer=PATHS) as target:
        for callback in CALLBACKS:
            await refuse(target, path, f"&j={quote(callback)}")
        await refuse(target, path, "&j=1&j=2")
        await refuse(target, path, "&j")
        assert target.opened == 1  # the bystander

        opened = await target.exchange(request("GET", f"{path}/?EIO=4&transport=polling"))
        sid = opened.body.partition(b'"sid":"')[2].partition(b'"')[0].decode()
        polling = f"{path}/?EIO=4&transport=polling&sid={sid}"
        for callback in CALLBACKS:
            query = f"&j={quote(callback)}"
            check(await target.exchange(request("GET", polling + query)), 400)
            body = b"d=" + quote(said).encode()
            form = "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"
            check(await target.exchange(request("POST", polling + query, *form) + body), 400)
        kind = "Content-Type: text/plain", f"Content-Length: {len(said)}"
        check(await target.exchange(request("POST", polling, *kind) + said), 200)
        answer = await target.exchange(request("GET", polling))
        check(answer, 200)
        assert answer.body.startswith(heard)
        await target.exchange(request("POST", polling, "Content-Type: text/plain", "Content-Length: 1") + b"1")


async def test_g10_other_parameters_are_no_functions_either() -> None:
    """``callback`` and ``jsonp``, which others read, mean nothing: not to a WebSocket, an action, or a file."""

    def make(**options: Any) -> Server:
        server = ActionServer(config={}, welcome_message="", **options)

        @server.action
        def add(*, a: int, b: int = 0) -> dict[str, int]:
            return {"sum": a + b}

        return server

    async with under_attack(make=make) as target:
        for callback in CALLBACKS[1:-1]:
            for name in ("callback", "jsonp", "cb", "j"):
                query = f"{name}={quote(callback)}"
                answer = await target.exchange(request("GET", f"/api/add?a=1&b=2&{query}"))
                # As ActionHero does, it tells what it was given: in JSON, which nobody may take for anything else.
                told = json.loads(answer.body)
                assert told["sum"] == 3
                assert told["requesterInformation"]["receivedParams"].get(name) in (None, callback)
                assert answer.header("Content-Type") == "application/json; charset=utf-8"
                assert answer.header("X-Content-Type-Options") == "nosniff"
                check(await target.exchange(request("GET", f"/primus?{query}")), 426)
                check(await target.exchange(request("GET", f"/nothing?{query}")), 404)
        ws = await target.websocket(target=f"/primus?j={quote(CALLBACKS[3])}")
        await ws.send(frame(TEXT, b'"primus::ping::1"'))
        assert await ws.frame() == (TEXT, b'"primus::pong::1"')
