"""Cross-origin rules: ACCEPTANCE G1 to G3, and TRACE's facts on CORS."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from ahtransport import Server
from ahtransport._errors import Reject
from ahtransport._http import Request
from ahtransport._web.cors import ALLOWED_HEADERS, Cors, cors_warning
from ahtransport.testing import connect_websocket, memory_host

GOOD = "https://good.example"
PREFLIGHT = ("Access-Control-Request-Method", "POST")


def request(origin: str | None, method: str = "GET", *more: tuple[str, str]) -> Request:
    fields = [("Host", "api.example"), *more]
    return Request(method, "/primus", fields if origin is None else [*fields, ("Origin", origin)])


def test_without_an_origin_nothing_happens() -> None:
    for cors in (Cors(), Cors(GOOD)):
        for method in ("GET", "POST", "OPTIONS", "PATCH"):
            asked = request(None, method, PREFLIGHT)
            assert cors.check(asked) == []
            assert cors.check_origin(asked) is None
            assert cors.handle(asked) is None
            assert asked.response_headers == []


def test_an_origin_is_echoed_with_credentials() -> None:
    asked = request("https://Any.example")
    expected = [
        ("Access-Control-Allow-Origin", "https://Any.example"),
        ("Vary", "Origin"),
        ("Access-Control-Allow-Credentials", "true"),
    ]
    assert Cors().check(asked) == expected
    assert Cors().handle(asked) is None
    assert asked.response_headers == expected


def test_without_credentials_the_star_is_enough() -> None:
    assert Cors(credentials=False).check(request(GOOD)) == [("Access-Control-Allow-Origin", "*")]
    assert Cors(GOOD, credentials=False).check(request(GOOD)) == [
        ("Access-Control-Allow-Origin", GOOD),
        ("Vary", "Origin"),
    ]


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://good.example", True),
        ("https://Good.Example", True),
        ("HTTPS://GOOD.EXAMPLE", True),
        ("http://localhost:3000", True),
        ("https://evil.example", False),
        ("null", False),
        ("https://sub.good.example", False),
        ("https://good.example:8443", False),
        ("https://good.example:443", False),
        ("http://good.example", False),
        ("http://localhost", False),
        ("http://localhost:30000", False),
        ("https://good.evil", False),
        ("https://goodXevil", False),
        ("https://goodxexample", False),
        ("https://good.example.evil", False),
        ("https://evil?https://good.example", False),
        ("https://good.example@evil", False),
        ("https://good.example/", False),
        ("https://good.example%20", False),
        ("https://good.example, https://evil.example", False),
        ("https://good.example https://evil.example", False),
        ("", False),
        ("*", False),
        ("good.example", False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "upgrade"])
@pytest.mark.parametrize(
    "origins",
    [[GOOD, "http://localhost:3000"], f"{GOOD}, http://localhost:3000", (GOOD.upper(), "http://localhost:3000")],
    ids=["list", "text", "tuple"],
)
def test_g1_only_exactly_listed_origins(
    origin: str | None, allowed: bool, method: str, origins: list[str] | str
) -> None:
    cors = Cors(origins)
    asked = request(origin, "GET" if method == "upgrade" else method, PREFLIGHT)
    if allowed:
        assert cors.check_origin(asked) == origin
        cors.check(asked)
        response = cors.handle(asked)
        assert (response is None) is (method != "OPTIONS" or origin is None)
        return
    with pytest.raises(Reject) as caught:
        cors.check_origin(asked)
    assert caught.value.status == 403
    if method != "upgrade":
        with pytest.raises(Reject):
            cors.check(asked)
        with pytest.raises(Reject):
            cors.preflight(asked)
    response = cors.handle(asked)
    assert response is not None
    assert response.status == 403
    assert ("Content-Type", "text/plain; charset=utf-8") in response.headers
    assert not any(name.startswith("Access-Control") for name, _ in response.headers)
    assert asked.response_headers == []


def test_g1_two_origins_are_refused_even_if_both_are_listed() -> None:
    asked = Request("GET", "/primus", [("Origin", GOOD), ("Origin", GOOD)])
    for cors in (Cors(), Cors(GOOD), Cors(f"*, {GOOD}")):
        with pytest.raises(Reject):
            cors.check_origin(asked)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://any.example", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("null", True),
        ("file://", True),
        ("chrome-extension://abcdefghijklmnop", True),
        ("", False),
        ("any.example", False),
        ("https://any.example%0d", False),
        ("https://any.example/path", False),
        ("https://a, https://b", False),
        ("https://user:secret@any.example", False),
        ("https://\xe4.example", False),
        ("<script>", False),
    ],
)
def test_g1_the_star_takes_whatever_is_an_origin(origin: str, allowed: bool) -> None:
    if allowed:
        assert Cors().check_origin(request(origin)) == origin
        return
    with pytest.raises(Reject):
        Cors().check_origin(request(origin))


def test_null_may_be_listed() -> None:
    assert Cors("null").check_origin(request("null")) == "null"


def test_a_method_that_is_not_allowed() -> None:
    with pytest.raises(Reject) as caught:
        Cors(methods="get, post").check(request(GOOD, "PUT"))
    assert caught.value.status == 403
    assert caught.value.reason == (f"Invalid HTTP Access Control (CORS) request:\n  Origin: {GOOD}\n  Method: PUT")
    assert Cors(methods="get, post").check(request(GOOD, "POST"))
    assert Cors(methods=[]).check(request(GOOD, "PATCH"))


def test_g12_what_is_refused_is_shown_shortly_and_on_one_line() -> None:
    asked = request("https://a\x1b[2J\u2028b" + "c" * 10_000)
    response = Cors().handle(asked)
    assert response is not None
    assert isinstance(response.body, bytes)
    lines = response.body.decode().split("\n")
    assert len(lines) == 3
    assert len(lines[1]) < 300
    assert "\x1b" not in lines[1]
    assert "\u2028" not in lines[1]


def test_a_preflight_as_primus_answers_it() -> None:
    asked = request(GOOD, "OPTIONS", PREFLIGHT)
    response = Cors().handle(asked)
    assert response is not None
    assert (response.status, response.body) == (200, b"")
    assert response.headers == [
        ("Access-Control-Allow-Origin", GOOD),
        ("Vary", "Origin"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Max-Age", "2592000"),
        ("Access-Control-Allow-Methods", "GET, HEAD, PUT, POST, DELETE, OPTIONS"),
    ]
    assert asked.response_headers == []


def test_a_preflight_without_age_and_methods() -> None:
    response = Cors(methods=[], max_age=0).preflight(request(GOOD, "OPTIONS", PREFLIGHT))
    names = [name for name, _ in response.headers]
    assert "Access-Control-Max-Age" not in names
    assert "Access-Control-Allow-Methods" not in names


def test_options_alone_is_no_preflight() -> None:
    asked = request(GOOD, "OPTIONS")
    assert Cors().handle(asked) is None
    assert ("Access-Control-Allow-Origin", GOOD) in asked.response_headers


@pytest.mark.parametrize(
    "wanted", ["X-Evil", "content-type, x-evil", "*", "a" * 5000, "X-A\u2028, <script>", "", "Authorization"]
)
def test_g3_the_allowed_headers_are_a_fixed_list(wanted: str) -> None:
    response = Cors().preflight(request(GOOD, "OPTIONS", PREFLIGHT, ("Access-Control-Request-Headers", wanted)))
    given = [value for name, value in response.headers if name == "Access-Control-Allow-Headers"]
    assert given == [", ".join(ALLOWED_HEADERS)]


def test_exposed_headers() -> None:
    for exposed in ("X-A, X-B", ["X-A", "X-B"]):
        cors = Cors(exposed=exposed)
        assert ("Access-Control-Expose-Headers", "X-A, X-B") in cors.check(request(GOOD))
        preflight = cors.preflight(request(GOOD, "OPTIONS", PREFLIGHT))
        assert not any(name == "Access-Control-Expose-Headers" for name, _ in preflight.headers)
    for nothing in (False, None, "", ()):
        assert not any(
            name.startswith("Access-Control-Expose") for name, _ in Cors(exposed=nothing).check(request(GOOD))
        )


@pytest.mark.parametrize(
    ("origins", "credentials", "warns"),
    [
        ("*", True, True),
        (["*"], True, True),
        ((GOOD, "*"), True, True),
        ("*", False, False),
        (GOOD, True, False),
        ([GOOD], True, False),
    ],
)
def test_g2_the_default_is_worth_a_warning(origins: list[str] | str, credentials: bool, warns: bool) -> None:
    warning = cors_warning(origins, credentials)
    assert (warning is not None) is warns
    if warning is not None:
        assert "origins" in warning


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({}, 1),
        ({"transformer": ["websockets", "engine.io", "socket.io"]}, 1),
        ({"credentials": False}, 0),
        ({"origins": GOOD}, 0),
    ],
)
async def test_g2_serving_warns_once(options: dict[str, Any], lines: int, caplog: pytest.LogCaptureFixture) -> None:
    """At the start, however many transformers there are and whoever comes then."""
    server = Server(port=0, host="127.0.0.1", **options)
    server.on_message(lambda connection, message: connection.send_nowait(message))
    warning = cors_warning("*", credentials=True)

    def warnings() -> list[str]:
        return [record.levelname for record in caplog.records if record.getMessage() == warning]

    with trio.fail_after(60):
        async with memory_host(server) as host:
            assert warnings() == ["WARNING"] * lines
            for headers in ([], [("Origin", GOOD)], [("Origin", GOOD)]):
                async with connect_websocket(host.dial, "/primus", headers=headers) as client:
                    await client.send("hello")
                    assert await client.receive() == "hello"
    assert warnings() == ["WARNING"] * lines
