"""What requests are refused, and how; and the transformer's options."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Any

import pytest
from ahtransport.transports.engineio._transformer import _Query, draw_sid
from hypothesis import given
from hypothesis import strategies as st

from ahtransport import ConfigError, Reject, Server
from ahtransport.abc import Request
from ahtransport.testing import Refused
from engine_io.support import EIO, Polling, arena

MESSAGES = {
    0: "Transport unknown",
    1: "Session ID unknown",
    2: "Bad handshake method",
    3: "Bad request",
    5: "Unsupported protocol version",
}
POLLING = "EIO=4&transport=polling"

# C2, C3, C4, G10: what is asked for, and the code that it is refused with.
REFUSED = [
    ("GET", "EIO=3&transport=polling", 5),
    ("GET", "EIO=5&transport=polling", 5),
    ("GET", "EIO=04&transport=polling", 5),
    ("GET", "EIO=%D9%A4&transport=polling", 5),
    ("GET", "EIO=&transport=polling", 5),
    ("GET", "transport=polling", 5),
    ("GET", "EIO=4&EIO=3&transport=polling", 5),
    ("GET", "EIO=4&EIO=4&transport=polling", 5),
    ("GET", "EIO=4", 0),
    ("GET", "EIO=4&transport=", 0),
    ("GET", "EIO=4&transport=foo", 0),
    ("GET", "EIO=4&transport=__proto__", 0),
    ("GET", "EIO=4&transport=constructor", 0),
    ("GET", "EIO=4&transport=webtransport", 0),
    ("GET", "EIO=4&transport=Polling", 0),
    ("GET", "EIO=4&transport=polling&transport=polling", 0),
    ("GET", "EIO=4&transport=polling&transport=websocket", 0),
    ("POST", "EIO=4&transport=foo&sid=abc", 0),
    ("GET", "EIO=4&transport=websocket", 3),
    ("POST", POLLING, 2),
    ("PUT", POLLING, 2),
    ("DELETE", POLLING, 2),
    ("PATCH", POLLING, 2),
    ("OPTIONS", POLLING, 2),
    ("HEAD", POLLING, 2),
    ("GET", POLLING + "&j=0", 3),
    ("GET", POLLING + "&j=", 3),
    ("GET", POLLING + "&sid=", 1),
    ("GET", POLLING + "&sid=abc", 1),
    ("POST", POLLING + "&sid=abc", 1),
    ("GET", POLLING + "&sid=" + "a" * 256, 1),
    ("GET", POLLING + "&sid=../../etc/passwd", 1),
    ("GET", POLLING + "&sid=%0d%0aX:%201", 1),
    ("GET", POLLING + "&sid=__proto__", 1),
    ("GET", POLLING + "&sid=%00", 1),
    ("GET", POLLING + "&sid=%zz", 1),
]


@pytest.mark.parametrize(("method", "query", "code"), REFUSED, ids=lambda value: str(value)[:40])
async def test_c2_c3_c4_g10_what_is_refused(method: str, query: str, code: int, autojump_clock: object) -> None:
    """C2, C3, C4, G10: the status and the body of npm engine.io's."""
    async with arena() as place:
        answer = await place.request(method, f"/primus/?{query}")
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/json"
        if method != "HEAD":
            assert answer.json() == {"code": code, "message": MESSAGES[code]}
        assert not place.opened
        if method == "GET" and query != "EIO=4&transport=websocket":
            upgrade = query.replace("transport=polling", "transport=websocket")
            with pytest.raises(Refused) as refused:
                await place.upgrade(f"/primus/?{upgrade}")
            response = refused.value.response
            assert (response.status, response.body.decode()) == (400, MESSAGES[code])
            assert response.headers["content-type"] == "text/html"
            assert response.headers["connection"] == "close"
        assert len(place.log.records) == 0, "a refusal is nothing to log"


async def test_why_a_websocket_was_refused(autojump_clock: object) -> None:
    """Pages are not told; the generated client asks by a plain request. Whom we let in learns what it would anyway."""
    asked: list[str | None] = []

    def authorize(request: Request) -> None:
        asked.append(request.query.get("token"))
        if request.query.get("token") == "wrong":
            raise Reject(403, "not you")

    async with arena(lambda server: server.authorize(authorize)) as place:
        answer = await place.request("GET", "/primus/?EIO=4&transport=websocket&token=wrong")
        assert (answer.status, answer.json()) == (403, {"error": "not you"})
        answer = await place.request("GET", "/primus/?EIO=4&transport=websocket&token=right")
        assert (answer.status, answer.json()) == (400, {"code": 3, "message": MESSAGES[3]})
        assert asked == ["wrong", "right"]
        for method, query in (("POST", ""), ("GET", "&sid=unknown")):
            assert (await place.request(method, f"/primus/?EIO=4&transport=websocket{query}")).status == 400
        assert len(asked) == 2
        assert not place.opened


async def test_c3_an_upgrade_to_polling(autojump_clock: object) -> None:
    """C3."""
    async with arena() as place:
        with pytest.raises(Refused) as refused:
            await place.upgrade(EIO + "&transport=polling")
        assert refused.value.response.body == b"Bad request"


async def test_c4_a_sid_that_comes_twice(autojump_clock: object) -> None:
    """C4."""
    async with arena() as place:
        client = await place.open()
        answer = await place.request("GET", client.target() + f"&sid={client.sid}")
        assert answer.json()["code"] == 1
        answer = await place.request("GET", client.target() + "&sid=")
        assert answer.json()["code"] == 1
        await client.send("1")


@pytest.mark.parametrize(
    ("method", "change", "code"),
    [
        ("GET", ("EIO=4", "EIO=3"), 3),
        ("POST", ("EIO=4", "EIO=3"), 3),
        ("GET", ("EIO=4&", ""), 3),
        ("GET", ("transport=polling", "transport=websocket"), 3),
        ("POST", ("transport=polling", "transport=websocket"), 3),
        ("GET", ("transport=polling", "transport=polling&j=1"), 3),
        ("PUT", ("", ""), 3),
        ("DELETE", ("", ""), 3),
        ("HEAD", ("", ""), 3),
        ("OPTIONS", ("", ""), 3),
    ],
)
async def test_c2_c3_c8_what_is_refused_of_a_session(
    method: str, change: tuple[str, str], code: int, autojump_clock: object
) -> None:
    """C2, C3, C8: and it goes on."""
    async with arena() as place:
        client = await place.open()
        answer = await place.request(method, client.target().replace(*change))
        assert answer.status == 400
        if method != "HEAD":
            assert answer.json() == {"code": code, "message": MESSAGES[code]}
        await client.send("4still here")
        assert await client.poll() == ["4still here"]


@pytest.mark.parametrize("query", ["EIO=3&transport=websocket", "EIO=4&transport=websocket&transport=websocket"])
async def test_c3_a_session_whose_upgrade_is_refused(query: str, autojump_clock: object) -> None:
    """C3."""
    async with arena() as place:
        client = await place.open()
        with pytest.raises(Refused):
            await place.upgrade(f"/primus/?{query}&sid={client.sid}")
        await client.send("4still here")
        assert await client.poll() == ["4still here"]


async def test_a20_too_many_parameters(autojump_clock: object) -> None:
    """A20: the query is not read to its end."""
    async with arena() as place:
        answer = await place.request("GET", f"{EIO}&transport=polling&" + "&".join(f"{n}=" for n in range(1500)))
        assert answer.status == 400
        assert not place.opened


@given(query=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=60))
def test_c2_c3_c4_any_query_is_answered_or_refused(query: str) -> None:
    """C2, C3, C4: nothing else comes of it."""
    import trio.testing

    async def ask() -> None:
        async with arena() as place:
            answer = await place.request("GET", f"/primus/?{query}")
            assert answer.status == 400
            assert answer.json()["code"] in MESSAGES

    trio.run(ask, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_c1_preflights(autojump_clock: object) -> None:
    """C1: answered before anything else, without a session."""
    async with arena() as place:
        headers = [("Origin", "http://example.com"), ("Access-Control-Request-Method", "POST")]
        answer = await place.request("OPTIONS", EIO + "&transport=polling", headers=headers)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["access-control-allow-origin"] == "http://example.com"
        assert "POST" in answer.headers["access-control-allow-methods"]
        answer = await place.request("GET", EIO + "&transport=polling", headers=headers[:1])
        assert answer.headers["access-control-allow-origin"] == "http://example.com"
        assert len(place.opened) == 1


async def test_c15_session_ids_are_long_and_no_counter(autojump_clock: object) -> None:
    """C15: unique, at least 128 bits, no counter; a guess gets the same refusal as any."""
    async with arena() as place:
        clients = [await place.open() for _ in range(200)]
        assert len({client.sid for client in clients}) == 200
        assert all(len(client.sid) >= 22 for client in clients)
        bits = [int.from_bytes(client.sid.encode()[-4:]) for client in clients]
        assert len(set(bits)) > 195, "the end is no counter, nor is the beginning"
        assert len({client.sid[:4] for client in clients}) > 195
        refusals = set()
        for guess in (secrets.token_urlsafe(16), clients[0].sid[:-1], clients[0].sid + "A", clients[0].sid.swapcase()):
            answer = await Polling(place, {"sid": guess}).raw_poll()
            refusals.add((answer.status, answer.body))
        assert refusals == {(400, b'{"code":1,"message":"Session ID unknown"}')}
        for client in clients:
            await client.send("1")


async def test_c15_session_ids_do_not_collide(autojump_clock: object) -> None:
    """C15: what sids are drawn by gives 128 random bits, never the same twice; no guess finds one of 200 sessions."""
    drawn = [draw_sid() for _ in range(100_000)]
    assert len(set(drawn)) == len(drawn)
    assert {len(sid) for sid in drawn} == {22}  # of six bits each; the last has two
    for at, most in ((0, 64), (10, 64), (20, 64), (21, 4)):
        counts = Counter(sid[at] for sid in drawn)
        assert len(counts) == most
        assert max(counts.values()) < 2 * len(drawn) / most, "every character comes about as often as any other"
    async with arena() as place:
        clients = [await place.open() for _ in range(200)]
        transformer, known = place.transformer, clients[0].sid
        assert set(transformer._sessions) == {client.sid for client in clients}
        request = Request("GET", f"{EIO}&transport=polling&sid={known}", (), peer=("127.0.0.1", 1))
        query = _Query(request)
        assert transformer._verify(request, query, upgrade=False) is transformer._sessions[known]
        answers = set()
        for _ in range(100_000):
            query.sid = secrets.token_urlsafe(16)
            try:
                transformer._verify(request, query, upgrade=False)
            except Reject as refusal:
                answers.add(refusal.reason)
            else:
                answers.add("a session")
        assert answers == {"Session ID unknown"}
        for client in clients:
            await client.send("1")


# -- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ping_intervall": 1}, "unknown option 'ping_intervall'"),
        ({"ping_interval": 0}, "0 is not a duration"),
        ({"ping_timeout": -1}, "-1 is not a duration"),
        ({"upgrade_timeout": 0}, "0 is not a duration"),
        ({"ping_interval": "soon"}, "soon"),
        ({"transports": []}, "transports must be a list"),
        ({"transports": "polling"}, "transports must be a list"),
        ({"transports": ["polling", "webtransport"]}, "transports must be a list"),
        ({"allow_upgrades": "yes"}, "allow_upgrades must be true or false"),
    ],
)
def test_options_that_are_impossible(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Server(transformer="engine.io", config={}, transport=options)


def test_which_requests_it_claims() -> None:
    server = Server(transformer="engine.io", config={})
    (transformer,) = server.transformers
    for target, claimed in [("/primus/?EIO=4", True), ("/primus/?EIO", True), ("/primus?_primuscb=1", False)]:
        assert transformer.claims(Request("GET", target, (), peer=("127.0.0.1", 1))) is claimed  # type: ignore[attr-defined]
