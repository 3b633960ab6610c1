"""G1, G4, G9, G11: origins, authorization, fingerprints and proxies, over real sockets."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from ahtransport import Connection, Reject, Response, Server
from hostile.support import Target, under_attack
from hostile.wire import TEXT, frame, request, upgrade

if TYPE_CHECKING:
    from ahtransport import Request

GOOD = "https://good.example"


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ([], True),
        (["https://good.example"], True),
        (["HTTPS://GOOD.EXAMPLE"], True),
        (["https://evil.example"], False),
        (["null"], False),
        (["https://sub.good.example"], False),
        (["https://good.example:8443"], False),
        (["http://good.example"], False),
        (["https://good.example.evil.example"], False),
        (["https://goodXexample"], False),
        (["https://good.example/"], False),
        (["https://user@good.example"], False),
        (["https://good.example, https://good.example"], False),
        (["https://good.example", "https://evil.example"], False),
        (["https://good.example", "https://good.example"], False),
        ([""], False),
        (["*"], False),
        (["https://good.example\xa0"], False),
    ],
    ids=lambda value: " & ".join(value) or "none" if isinstance(value, list) else None,
)
async def test_g1_origins(origins: list[str], allowed: bool) -> None:
    """Refused with 403 before the upgrade and before any body is read; a page's script must see nothing."""
    lines = [f"Origin: {origin}" for origin in origins]
    async with under_attack(origins=[GOOD]) as target:
        answers = {
            "upgrade": await target.exchange(upgrade(*lines)),
            "GET": await target.exchange(request("GET", "/primus/spec", *lines)),
            "POST": await target.exchange(request("POST", "/primus", *lines, "Content-Length: 99999999")),
            "OPTIONS": await target.exchange(
                request("OPTIONS", "/primus", *lines, "Access-Control-Request-Method: POST")
            ),
        }
        statuses = {name: answer.status for name, answer in answers.items()}
        if not allowed:
            assert statuses == dict.fromkeys(answers, 403)
        else:
            assert statuses == {"upgrade": 101, "GET": 200, "POST": 426, "OPTIONS": 200 if origins else 426}
        for name, answer in answers.items():
            echoed = origins[0] if allowed and origins and name != "upgrade" else None
            assert answer.header("Access-Control-Allow-Origin") == echoed
        assert target.opened == 1 + allowed


POLLED = {
    "engine.io": ("/eio", [], b'4"hello"', b'4"hello"'),
    "socket.io": ("/sio", [b"40"], b'42["message","hello"]', b'42["message","hello"]'),
}


@pytest.mark.parametrize("origins", [["https://evil.example"], ["null"], ["https://good.example:8443"], [GOOD, GOOD]])
@pytest.mark.parametrize("name", POLLED)
async def test_g1_origins_where_sessions_are_polled(name: str, origins: list[str]) -> None:
    """Neither a session of his own for a foreign page nor, when it knows the id, a part in somebody else's: that one's
    poll goes on waiting, and gets its own answer."""
    path, first, said, heard = POLLED[name]
    good, kind = f"Origin: {GOOD}", "Content-Type: text/plain"
    foreign = [f"Origin: {origin}" for origin in origins]
    transformers = {"websockets": "/primus", **{name: path for name, (path, *_) in POLLED.items()}}
    async with under_attack(origins=[GOOD], transformer=transformers) as target:

        async def refused(polling: str, websocket: str) -> None:
            length = f"Content-Length: {len(said)}"
            for attack in (
                request("GET", polling, *foreign),
                request("POST", polling, *foreign, kind, length, body=said),
                request("POST", polling, *foreign, kind, "Content-Length: 99999999"),  # of which nothing comes
                request("OPTIONS", polling, *foreign, "Access-Control-Request-Method: POST"),
                upgrade(*foreign, target=websocket),
            ):
                answer = await target.exchange(attack)
                assert answer.status == 403
                assert not any(name.startswith("Access-Control") for name, _ in answer.headers)
                assert b'"sid"' not in answer.body

        async def post(body: bytes) -> None:
            answer = await target.exchange(
                request("POST", polling, good, kind, f"Content-Length: {len(body)}", body=body)
            )
            assert (answer.status, answer.header("Access-Control-Allow-Origin")) == (200, GOOD)

        await refused(f"{path}/?EIO=4&transport=polling", f"{path}/?EIO=4&transport=websocket")
        assert target.opened == 1  # the bystander

        answer = await target.exchange(request("GET", f"{path}/?EIO=4&transport=polling", good))
        assert (answer.status, answer.header("Access-Control-Allow-Origin")) == (200, GOOD)
        sid = json.loads(answer.body[1:])["sid"]
        polling = f"{path}/?EIO=4&transport=polling&sid={sid}"
        for body in first:
            await post(body)
            assert (await target.exchange(request("GET", polling, good))).body.startswith(body)
        poll = await target.raw()
        await poll.send(request("GET", polling, good))
        await trio.testing.wait_all_tasks_blocked()
        await refused(polling, f"{path}/?EIO=4&transport=websocket&sid={sid}")
        assert target.messages == []
        assert target.opened == 2
        await post(said)
        answer = await poll.answer()
        assert (answer.status, answer.body, answer.header("Access-Control-Allow-Origin")) == (200, heard, GOOD)
        assert target.messages == ["hello"]
        await post(b"1")


async def test_g3_preflights_name_a_fixed_list() -> None:
    async with under_attack(origins=[GOOD]) as target:
        odd = "X-Evil, Cookie, \xe9, __proto__"
        lines = [f"Origin: {GOOD}", "Access-Control-Request-Method: POST", f"Access-Control-Request-Headers: {odd}"]
        answer = await target.exchange(request("OPTIONS", "/primus", *lines))
        assert answer.status == 200
        allowed = answer.header("Access-Control-Allow-Headers")
        assert allowed is not None
        assert not re.search("evil|cookie|proto", allowed, re.IGNORECASE)


@pytest.mark.parametrize(
    ("verdict", "status"), [("deny", 403), ("false", 401), ("raise", 403), ("hang", 503), ("slow", 401)]
)
async def test_g4_authorization_comes_before_everything(verdict: str, status: int) -> None:
    """No handler, no room, no session for whoever is refused, whatever he has sent meanwhile."""
    seen: list[str] = []

    def prepare(server: Server) -> None:
        @server.authorize
        async def decide(request: Request) -> bool:
            match request.query.get("verdict"):
                case "deny":
                    raise Reject(403, "no")
                case "false":
                    return False
                case "raise":
                    raise RuntimeError("on purpose")
                case "hang":
                    await trio.sleep_forever()
                case "slow":
                    await trio.sleep(0.05)
                    return False
            return True

        @server.on_open
        def opened(connection: Connection) -> None:
            seen.append(connection.query.get("verdict", ""))

        @server.on("enter")
        def enter(connection: Connection) -> None:
            server.rooms.join(connection, "room")

    async with under_attack(prepare, upgrade_timeout=200) as target:
        target.tracebacks = 2 if verdict == "raise" else 0
        for early in (b"", frame(TEXT, b'{"type":0,"data":["enter"]}') * 3 + frame(TEXT, b"1")):
            raw = await target.raw()
            await raw.send(upgrade(target=f"/primus?verdict={verdict}") + early)
            answer = await raw.answer()
            assert answer.status == status
            assert await raw.rest() == b""
        assert seen == [""]
        assert target.messages == []
        assert target.server.rooms.list() == []


async def test_g4_leaving_while_the_application_decides() -> None:
    waiting = 0

    def prepare(server: Server) -> None:
        @server.authorize
        async def decide(request: Request) -> None:
            nonlocal waiting
            if "wait" in request.query:
                waiting += 1
                try:
                    await trio.sleep_forever()
                finally:
                    waiting -= 1

    async with under_attack(prepare) as target:
        for leave in ("reset", "hang_up"):
            raw = await target.raw()
            await raw.send(upgrade(target="/primus?wait"))
            await target.wait_for(lambda: waiting == 1)
            getattr(raw, leave)()
            await target.wait_for(lambda: waiting == 0)
        assert target.opened == 1


async def _whoami(target: Target, *lines: str, target_path: str = "/primus") -> tuple[str, str]:
    """Connect; gives the connection's fingerprint and what its session says."""
    ws = await target.websocket(*lines, target=target_path)
    await ws.send(frame(TEXT, b'{"type":0,"id":1,"data":["whoami"]}'))
    match = re.fullmatch(r'\{"type":1,"id":1,"data":\["([^"]*)","([^"]*)"\]\}', await ws.text())
    assert match is not None
    return match[1], match[2]


async def test_g9_fingerprints() -> None:
    """Only the cookie that this server has set links a session, and only for its own pages."""

    def prepare(server: Server) -> None:
        async def login(request: Request) -> Response:
            async with server.session_for(request).change() as data:
                data["user"] = "alice"
            return Response(200)

        @server.on("whoami")
        def whoami(connection: Connection) -> tuple[str, str]:
            return connection.fingerprint, str(connection.session.get("user", "nobody"))

        server.route("/login", login)

    async with under_attack(prepare) as target:
        cookies = []
        for _ in range(20):
            answer = await target.exchange(request("GET", "/login?sessionID=attacker"))
            cookie = answer.header("Set-Cookie")
            assert cookie is not None
            match = re.fullmatch(r"sessionID=([0-9a-f]{32,}); Path=/; Max-Age=3600; HttpOnly; SameSite=Lax", cookie)
            assert match is not None
            cookies.append(match[1])
        assert len(set(cookies)) == 20
        own = cookies[0]
        cookie = f"Cookie: sessionID={own}"
        assert await _whoami(target, cookie) == (own, "alice")
        # The cookie wins over a link that somebody else made up, on the websocket as over HTTP.
        assert await _whoami(target, cookie, target_path="/primus?sessionID=attacker") == (own, "alice")
        assert (await target.exchange(request("GET", "/login", cookie))).header("Set-Cookie") is None
        # A fingerprint from the query names the connection and nothing more, even one that is somebody's.
        assert await _whoami(target, target_path="/primus?sessionID=attacker") == ("attacker", "nobody")
        assert await _whoami(target, target_path=f"/primus?sessionID={own}") == (own, "nobody")
        # A foreign page makes the browser send the cookie: it proves nothing there.
        for origin in ("https://evil.example", "null", "http://localhost.evil.example", "http://localhost:81"):
            fingerprint, user = await _whoami(target, cookie, f"Origin: {origin}")
            assert fingerprint != own
            assert user == "nobody"
        assert await _whoami(target, cookie, "Origin: http://localhost") == (own, "alice")
        for odd in ("", "x" * 256, "a%0d%0ab", "\xff\xfe", "a\tb"):
            fingerprint, user = await _whoami(target, f"Cookie: sessionID={odd}")
            assert user == "nobody"
            assert len(fingerprint) < 256
            assert fingerprint.isprintable()


FORGED = [
    "X-Forwarded-For: 203.0.113.9",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 1234",
    "X-Forwarded-Host: evil.example",
    "X-Real-IP: 203.0.113.9",
    "Forwarded: for=203.0.113.9;proto=https",
]


@pytest.mark.parametrize(
    ("trusted", "lines", "expected"),
    [
        ([], FORGED, "127.0.0.1"),
        (["10.0.0.0/8"], FORGED, "127.0.0.1"),
        (["127.0.0.1"], ["X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
        (["127.0.0.1"], ["X-Forwarded-For: 6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (["127.0.0.1", "10.0.0.0/8"], ["X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        (["127.0.0.1"], ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
        (["127.0.0.1"], ["X-Forwarded-For: ::ffff:203.0.113.9"], "203.0.113.9"),
        (["127.0.0.1"], ["X-Forwarded-For: 203.0.113.9:4000"], "203.0.113.9"),
        (["127.0.0.1"], ["X-Forwarded-For: [2001:db8::1]:4000"], "2001:db8::1"),
        (["127.0.0.1"], ["X-Forwarded-For: " + ", ".join(["6.6.6.6"] * 100) + ", 203.0.113.9"], "203.0.113.9"),
        (["127.0.0.1"], ["X-Forwarded-For: 6.6.6.6, nonsense"], "127.0.0.1"),
        (["127.0.0.1"], ["X_Forwarded_For: 203.0.113.9"], "127.0.0.1"),
        (["127.0.0.1"], ["Forwarded: for=6.6.6.6, for=203.0.113.9"], "203.0.113.9"),
    ],
)
async def test_g11_who_the_client_is_behind_proxies(trusted: list[str], lines: list[str], expected: str) -> None:
    def prepare(server: Server) -> None:
        async def show(request: Request) -> Response:
            return Response(200, request.remote_ip)

        @server.on("whoami")
        def whoami(connection: Connection) -> str:
            return connection.remote_ip

        server.route("/show", show)

    async with under_attack(prepare, trusted_proxies=trusted) as target:
        assert (await target.exchange(request("GET", "/show", *lines))).body.decode() == expected
        ws = await target.websocket(*lines)
        await ws.send(frame(TEXT, b'{"type":0,"id":1,"data":["whoami"]}'))
        assert json.loads(await ws.text()) == {"type": 1, "id": 1, "data": [expected]}
