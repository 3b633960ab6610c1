"""The fingerprint's cookie, and which handshake gets a session by it: ACCEPTANCE G2, G9, G12, G17."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from ahtransport._http import Headers, Request
from ahtransport._web.fingerprint import (
    Source,
    fingerprint_of,
    is_same_origin,
    may_link_session,
    new_fingerprint,
    set_cookie_header,
    web_fingerprint,
)


@dataclass
class Settings:
    path: str = "/"
    expires: float = 3600.0


@dataclass
class Options:
    cookie_key: str = "sessionID"
    to_set_cookie: bool = True
    settings: Settings = field(default_factory=Settings)


OPTIONS = Options()


def get(
    target: str = "/primus", *, host: str = "example.com", secure: bool = False, **headers: str | list[str]
) -> Request:
    fields = [("Host", host)]
    for name, value in headers.items():
        fields += [(name, one) for one in ([value] if isinstance(value, str) else value)]
    return Request("GET", target, Headers(fields), secure=secure)


def test_g9_a_new_fingerprint_has_at_least_128_random_bits() -> None:
    many = {new_fingerprint() for _ in range(1000)}
    assert len(many) == 1000
    assert all(re.fullmatch("[0-9a-f]{32,}", one) for one in many)
    # No position is the same in all of them: there is no counter and no fixed part.
    assert all(len(set(column)) > 8 for column in zip(*many, strict=True))


def test_g9_the_cookie_wins_over_the_query() -> None:
    request = get("/primus?sessionID=forged", Cookie="a=b; sessionID=real")
    assert fingerprint_of(request, OPTIONS) == ("real", "cookie")


def test_g9_the_query_names_the_connection() -> None:
    assert fingerprint_of(get("/primus?x=1&sessionID=abc%20123"), OPTIONS) == ("abc 123", "query")
    assert fingerprint_of(get("/primus?other=abc"), OPTIONS) == (None, None)
    assert fingerprint_of(get("/primus?id=abc"), Options(cookie_key="id")) == ("abc", "query")


@pytest.mark.parametrize(
    "value", ["", "x" * 256, "a%00b", "a%0d%0ab", "a%1bb", "a%7fb", "a%c2%85b", "a%e2%80%a8b", "a%e2%80%aeb"]
)
def test_g12_odd_values_are_none(value: str) -> None:
    assert fingerprint_of(get(f"/primus?sessionID={value}"), OPTIONS) == (None, None)
    assert fingerprint_of(get(Cookie=f"sessionID={value}"), OPTIONS) == (None, None)
    assert fingerprint_of(get("/primus?sessionID=fine", Cookie=f"sessionID={value}"), OPTIONS) == ("fine", "query")
    assert web_fingerprint(get(Cookie=f"sessionID={value}"), OPTIONS) != value


def test_the_longest_value() -> None:
    assert fingerprint_of(get(Cookie=f"sessionID={'x' * 255}"), OPTIONS) == ("x" * 255, "cookie")


@pytest.mark.parametrize(
    ("secure", "expires", "expected"),
    [
        (False, 3600.0, "sessionID=abc; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"),
        (True, 3600.0, "sessionID=abc; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"),
        (True, 0.0, "sessionID=abc; Path=/; HttpOnly; SameSite=Lax; Secure"),
        (False, 0.25, "sessionID=abc; Path=/; Max-Age=1; HttpOnly; SameSite=Lax"),
    ],
)
def test_g9_g17_the_cookie(secure: bool, expires: float, expected: str) -> None:
    options = Options(settings=Settings(expires=expires))
    assert set_cookie_header("abc", options, secure) == expected


def test_a9_nothing_breaks_out_of_the_cookie() -> None:
    header = set_cookie_header("a;b\r\nSet-Cookie: x=y é", OPTIONS, secure=False)
    assert header.startswith("sessionID=a%3Bb%0D%0ASet-Cookie%3A%20x%3Dy%20%C3%A9; Path=/;")


@pytest.mark.parametrize(
    "options",
    [
        Options(cookie_key="a b"),
        Options(cookie_key="a=b"),
        Options(cookie_key=""),
        Options(cookie_key="a\n"),
        Options(settings=Settings(path="/; Domain=evil")),
        Options(settings=Settings(path="/\r\nX: y")),
        Options(settings=Settings(path="")),
    ],
)
def test_impossible_names_and_paths(options: Options) -> None:
    with pytest.raises(ValueError, match="of a cookie"):
        set_cookie_header("abc", options, secure=False)


def test_a_web_request_keeps_its_cookie() -> None:
    request = get("/?sessionID=forged", Cookie="sessionID=mine")
    assert web_fingerprint(request, OPTIONS) == "mine"
    assert request.response_headers == []


@pytest.mark.parametrize("secure", [False, True])
def test_g9_a_web_request_without_a_cookie_gets_one_whatever_the_link_says(secure: bool) -> None:
    request = get("/?sessionID=forged", secure=secure)
    fingerprint = web_fingerprint(request, OPTIONS)
    assert len(fingerprint) >= 32
    assert request.response_headers == [("Set-Cookie", set_cookie_header(fingerprint, OPTIONS, secure))]
    assert web_fingerprint(request, OPTIONS) == fingerprint
    assert len(request.response_headers) == 1
    assert web_fingerprint(get(), OPTIONS) != fingerprint


def test_the_cookie_may_be_switched_off() -> None:
    request = get()
    assert web_fingerprint(request, Options(to_set_cookie=False))
    assert request.response_headers == []


@pytest.mark.parametrize(
    ("source", "link_session", "linked"),
    [
        ("cookie", "cookie", True),
        ("cookie", "query", True),
        ("query", "cookie", False),
        ("query", "query", True),
        (None, "query", False),
    ],
)
def test_g9_only_the_cookie_links_unless_configured(source: Source, link_session: str, linked: bool) -> None:
    assert may_link_session(get(), source, ["*"], link_session) is linked


@pytest.mark.parametrize(
    ("origin", "host", "secure", "same"),
    [
        ("http://example.com", "example.com", False, True),
        ("http://EXAMPLE.com", "Example.COM", False, True),
        ("HTTP://example.com", "example.com", False, True),
        ("http://example.com:80", "example.com", False, True),
        ("http://example.com", "example.com:80", False, True),
        ("http://example.com:8080", "example.com:8080", False, True),
        ("https://example.com", "example.com", False, True),  # a proxy in front may speak TLS
        ("https://example.com", "example.com:443", True, True),
        ("https://example.com:443", "example.com", True, True),
        ("http://[::1]:8080", "[::1]:8080", False, True),
        ("http://[::1]", "[::1]:80", False, True),
        ("http://example.com", "example.com", True, False),
        ("http://example.com:8080", "example.com", False, False),
        ("http://example.com", "example.com:8080", False, False),
        ("https://example.com:80", "example.com", False, False),
        ("http://sub.example.com", "example.com", False, False),
        ("http://example.com.evil", "example.com", False, False),
        ("http://evil", "example.com", False, False),
        ("http://evil@example.com", "example.com", False, False),
        ("http://example.com/", "example.com", False, False),
        ("http://example.com, http://evil", "example.com", False, False),
        ("ftp://example.com", "example.com", False, False),
        ("null", "example.com", False, False),
        ("", "", False, False),
    ],
)
def test_same_origin(origin: str, host: str, secure: bool, same: bool) -> None:
    request = get(host=host, secure=secure, Origin=origin)
    assert is_same_origin(request, origin) is same
    assert may_link_session(request, "cookie") is same


def test_without_exactly_one_host_nothing_is_the_same_origin() -> None:
    assert not is_same_origin(Request("GET", "/"), "http://example.com")
    assert not is_same_origin(Request("GET", "/", [("Host", "a"), ("Host", "a")]), "http://a")


@pytest.mark.parametrize(
    ("origin", "linked"),
    [
        ("https://good.example", True),
        ("HTTPS://Good.Example", True),
        ("https://evil.example", False),
        ("https://good.example.evil", False),
        ("http://good.example", False),
        ("null", False),
        ("*", False),
        (["https://good.example", "https://good.example"], False),
        (["https://good.example", "https://evil.example"], False),
    ],
)
@pytest.mark.parametrize("origins", [["https://good.example"], ("*", "null", "https://good.example")])
def test_g2_another_origin_links_only_when_it_is_listed(
    origin: str | list[str], linked: bool, origins: list[str]
) -> None:
    assert may_link_session(get(Origin=origin), "cookie", origins) is linked
    assert may_link_session(get(Origin=origin), "cookie", ["*"]) is False


def test_g2_a_client_that_is_no_browser_sends_no_origin() -> None:
    assert may_link_session(get(), "cookie", ["https://good.example"])
