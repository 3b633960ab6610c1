"""What is said to npm engine.io and to ours: a case is a short conversation, over raw requests and raw frames."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from engine_io.talk import PLAIN_TEXT, POLLING, WEBSOCKET, Talk

Case: TypeAlias = Callable[[Talk], Awaitable[None]]
REQUESTS: dict[str, Case] = {}

SEPARATOR = "\x1e"

#: Settings of both servers.
PING_INTERVAL, PING_TIMEOUT, UPGRADE_TIMEOUT, MAX_LENGTH = 25000, 20000, 400, 100_000


def case(function: Case) -> Case:
    """Enter a case under its name."""
    REQUESTS[function.__name__.replace("_", " ")] = function
    return function


def requests(name: str, *steps: tuple[str, str]) -> None:
    """Enter a case of single requests: method and query."""

    async def run(talk: Talk) -> None:
        for method, query in steps:
            await talk.http(method, query)

    REQUESTS[name] = run


def upgrades(name: str, *queries: str) -> None:
    """Enter a case of single upgrade requests."""

    async def run(talk: Talk) -> None:
        for query in queries:
            socket = await talk.websocket(query)
            if socket is not None:
                await talk.hear(socket, 2)

    REQUESTS[name] = run


def bodies(name: str, *payloads: str | bytes, headers: tuple[str, ...] = ()) -> None:
    """Enter a case of POSTs, each to a session of its own, and whether that goes on."""

    async def run(talk: Talk) -> None:
        for payload in payloads:
            session = await talk.open()
            await talk.post(session, payload, *headers)
            await talk.poll(session) if payload in SAID else None
            await talk.check(session)

    REQUESTS[name] = run


def frames(name: str, *messages: str | bytes) -> None:
    """Enter a case of frames, each to a session of its own that is a WebSocket, and whether that goes on."""

    async def run(talk: Talk) -> None:
        for message in messages:
            socket = await talk.direct()
            await socket.send(message)
            await talk.exchange(socket, "4check")

    REQUESTS[name] = run


#: Payloads that are answered with messages, which a poll fetches.
SAID = frozenset({"4hello", "4", "4\u20ac" + SEPARATOR + "4two", "bAAEC", b"4ok\x1e5\x1e6", "4true", "bAAE=", "b"})

# -- refusals

requests("handshake", ("GET", POLLING), ("GET", POLLING + "&t=abc&b64=1"), ("GET", "transport=polling&EIO=4"))
requests("transport unknown", ("GET", "EIO=4"), ("GET", "EIO=4&transport="), ("GET", "EIO=4&transport=foo"),
         ("GET", "EIO=4&transport=__proto__"), ("GET", "EIO=4&transport=constructor"), ("GET", ""),
         ("GET", "EIO=4&transport=webtransport"), ("POST", "EIO=4&transport=foo"), ("GET", "EIO=4&transport=Polling"),
         ("PUT", "EIO=4"), ("POST", "EIO=4&transport=foo&sid=abc"), ("DELETE", "transport=foo"))  # fmt: skip
requests("session unknown", ("GET", POLLING + "&sid=abc"), ("POST", POLLING + "&sid=abc"),
         ("GET", POLLING + "&sid=" + "a" * 256), ("GET", POLLING + "&sid=../x"), ("GET", POLLING + "&sid=%0d%0a"),
         ("GET", POLLING + "&sid=__proto__"), ("GET", POLLING + "&sid=toString"), ("DELETE", POLLING + "&sid=x"),
         ("GET", WEBSOCKET + "&sid=abc"), ("GET", "EIO=3&transport=polling&sid=abc"))  # fmt: skip
requests("bad handshake method", ("POST", POLLING), ("PUT", POLLING), ("DELETE", POLLING), ("HEAD", POLLING),
         ("PATCH", POLLING), ("OPTIONS", POLLING), ("POST", "EIO=3&transport=polling"),
         ("POST", WEBSOCKET))  # fmt: skip
requests("websocket without an upgrade", ("GET", WEBSOCKET), ("GET", "transport=websocket"))
requests("unsupported version", ("GET", "EIO=3&transport=polling"), ("GET", "transport=polling"),
         ("GET", "EIO=5&transport=polling"), ("GET", "EIO=&transport=polling"), ("GET", "EIO=4.0&transport=polling"),
         ("GET", "EIO=04&transport=polling"))  # fmt: skip
requests("parameters that come twice, differing", ("GET", "EIO=4&EIO=3&transport=polling"),
         ("GET", "EIO=4&transport=polling&transport=foo"))  # fmt: skip
requests("parameters that come twice, the last one good", ("GET", "EIO=3&EIO=4&transport=polling"),
         ("GET", "EIO=4&transport=foo&transport=polling"), ("GET", POLLING + "&sid=abc&sid="))  # fmt: skip
requests("an empty sid", ("GET", POLLING + "&sid="))
requests("jsonp", ("GET", POLLING + "&j=0"))
upgrades("upgrades refused", "EIO=4", "EIO=4&transport=foo", "EIO=4&transport=__proto__",
         "EIO=4&transport=webtransport", WEBSOCKET + "&sid=abc", WEBSOCKET + "&sid=__proto__",
         WEBSOCKET + "&sid=../x")  # fmt: skip
upgrades("upgrade of a wrong version", "EIO=3&transport=websocket", "transport=websocket")
upgrades("upgrade to polling", POLLING)
upgrades("upgrade to polling of an unknown session", POLLING + "&sid=abc")


@case
async def trailing_slash(talk: Talk) -> None:
    for path in ("/primus", "/primus/", "/primus/x", "/primusx"):
        await talk.http("GET", POLLING, path=path)
    for path in ("/primus", "/primus/"):
        socket = await talk.websocket(path=path)
        assert socket is not None
        await talk.hear(socket)


@case
async def requests_of_a_session_with_another_version(talk: Talk) -> None:
    session = await talk.open()
    for method, query in (("GET", "EIO=3"), ("POST", "EIO=3"), ("GET", "EIO=5"), ("GET", "x=4")):
        await talk.http(method, session.replace("EIO=4", query))
    await talk.websocket(session.replace("EIO=4", "EIO=3").replace("polling", "websocket"))
    await talk.check(session)


@case
async def requests_of_a_session_with_another_transport(talk: Talk) -> None:
    session = await talk.open()
    for transport in ("websocket", "foo", "webtransport"):
        await talk.http("GET", session.replace("polling", transport))
        await talk.http("POST", session.replace("polling", transport), "4hello")
    await talk.check(session)


@case
async def other_methods_on_a_session(talk: Talk) -> None:
    session = await talk.open()
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
        await talk.http(method, session)
    await talk.check(session)


@case
async def upgrade_to_polling_of_a_session(talk: Talk) -> None:
    session = await talk.open()
    socket = await talk.websocket(session)
    if socket is not None:
        await talk.hear(socket)
    await talk.check(session)


# -- packets by polling

bodies("messages", "4hello", "4", "4\u20ac" + SEPARATOR + "4two", "bAAEC", "4true", "bAAE=", "b")
bodies("packets that mean nothing here", "3", "3probe", "5", "6", "6x", b"4ok\x1e5\x1e6")
bodies("goodbye", "1", "1" + SEPARATOR + "4late", "1x")
bodies("no packets", "", "9", "7", "x", "\u0664hi", "\u00b2", "d=4hello", "\ufeff4hello", "4ok" + SEPARATOR)
bodies("bad packets behind good ones", "4ok" + SEPARATOR + "9", "4ok" + SEPARATOR + SEPARATOR + "4ok")
bodies("pings from the client", "2", "2probe")
bodies("open packets from the client", "0{}", "0")
bodies("bad base64", "b***", "bAA!!AA", "bA")
bodies("base64 without its padding", "bAAE", "bAA")
bodies("invalid utf-8", b"4\xff", b"\xff")
bodies("octet stream", "4hello", headers=("Content-Type: application/octet-stream",))
bodies("octet stream with a parameter", "4hello", headers=("Content-Type: application/octet-stream; x=y",))
bodies("other types", "4hello", headers=("Content-Type: application/json",))
bodies("no type", "4hello", headers=("X-No: type",))
bodies("another charset", "4hello", headers=("Content-Type: text/plain; charset=utf-16",))
bodies("compressed body", "4zipped", headers=("Content-Type: text/plain", "Content-Encoding: gzip"))
bodies("a thousand packets", SEPARATOR.join(["6"] * 1000))
bodies("too many packets", SEPARATOR.join(["6"] * 1001))
bodies("the largest body", "4" + "x" * (MAX_LENGTH - 1))
bodies("too large a body", "4" + "x" * MAX_LENGTH)
bodies("a body of separators", SEPARATOR * 1000)

# -- packets by WebSocket

frames("packets that mean nothing on a websocket", "3", "3probe", "5", "6")
frames("no packets on a websocket", "9", "", "x", "\u0664hi")
frames("pings on a websocket", "2", "2probe")
frames("goodbye on a websocket", "1")
frames("open packets on a websocket", "0{}")
frames("bad base64 on a websocket", "b***")


# -- what Primus does around Engine.IO

PRIMUS_CASES: dict[str, Case] = {}
ORIGIN = "Origin: https://page.example"
ASKED = "Access-Control-Request-Method: POST"


def primus_requests(name: str, *steps: tuple[str, str, tuple[str, ...]]) -> None:
    """Enter a case of single requests: method, query, headers."""

    async def run(talk: Talk) -> None:
        for method, query, headers in steps:
            await talk.http(method, query, headers=headers)

    PRIMUS_CASES[name] = run


primus_requests("preflight", ("OPTIONS", POLLING, (ORIGIN, ASKED)), ("OPTIONS", POLLING + "&sid=abc", (ORIGIN, ASKED)))
primus_requests("preflight that asks for headers",
                ("OPTIONS", POLLING, (ORIGIN, ASKED, "Access-Control-Request-Headers: x-anything")))  # fmt: skip
primus_requests(
    "no preflight", ("OPTIONS", POLLING, ()), ("OPTIONS", POLLING, (ASKED,)), ("OPTIONS", POLLING, (ORIGIN,))
)
primus_requests("origins", ("GET", POLLING, ()), ("GET", POLLING, (ORIGIN,)), ("GET", POLLING, ("Origin: null",)),
                ("GET", POLLING + "&sid=abc", (ORIGIN,)), ("POST", POLLING, (ORIGIN,)))  # fmt: skip
primus_requests("methods with an origin", ("PATCH", POLLING, (ORIGIN,)), ("PUT", POLLING, (ORIGIN,)),
                ("DELETE", POLLING, (ORIGIN,)))  # fmt: skip
primus_requests("nonsense for an origin", ("GET", POLLING, ("Origin: nonsense",)))
primus_requests("a bad origin", ("GET", POLLING, ("Origin: https://a b",)))
primus_requests("authorization", ("GET", POLLING + "&token=none", ()), ("GET", POLLING + "&token=wrong", ()))


async def _cors_of_a_session(talk: Talk) -> None:
    session = await talk.open()
    await talk.http("POST", session, '4"hello"', (*PLAIN_TEXT, ORIGIN))
    await talk.http("GET", session, headers=(ORIGIN,))


async def _refused_upgrades(talk: Talk) -> None:
    await talk.websocket(WEBSOCKET + "&token=none")
    await talk.websocket(WEBSOCKET + "&token=wrong")


PRIMUS_CASES["cors of a session"] = _cors_of_a_session
PRIMUS_CASES["refused upgrades"] = _refused_upgrades
