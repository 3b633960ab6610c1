"""Who the client is behind proxies: ACCEPTANCE G11."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ahtransport._http import Request
from ahtransport._web.proxies import TrustedProxies, apply_forwarded

TRUSTED = TrustedProxies(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", " ::1 "])
PROXY = ("10.0.0.1", 4000)
XFF, PROTO = "X-Forwarded-For", "X-Forwarded-Proto"


def ask(*headers: tuple[str, str], peer: tuple[str, int] = PROXY, secure: bool = False) -> Request:
    request = Request("GET", "/", headers, peer=peer, secure=secure)
    apply_forwarded(request, TRUSTED)
    return request


EVERYTHING = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "1234",
    "X-Forwarded-Host": "evil.example",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9;proto=https",
}


@pytest.mark.parametrize("peer", [("203.0.113.1", 5000), ("11.0.0.1", 1), ("::2", 1), ("", 0), ("in memory", 0)])
def test_g11_an_untrusted_peer_is_what_it_is(peer: tuple[str, int]) -> None:
    for name, value in EVERYTHING.items():
        request = ask((name, value), peer=peer)
        assert (request.remote_ip, request.remote_port, request.secure) == (*peer, False)
    request = ask(*EVERYTHING.items(), peer=peer)
    assert (request.remote_ip, request.remote_port, request.secure) == (*peer, False)


def test_g11_nobody_is_trusted_by_default() -> None:
    request = Request("GET", "/", [("X-Forwarded-For", "203.0.113.9")], peer=("127.0.0.1", 1))
    apply_forwarded(request, TrustedProxies())
    assert (request.remote_ip, request.remote_port) == ("127.0.0.1", 1)


def test_without_headers_the_proxy_is_the_client() -> None:
    request = ask()
    assert (request.remote_ip, request.remote_port, request.secure) == (*PROXY, False)


@pytest.mark.parametrize(
    ("value", "address", "port"),
    [
        ("203.0.113.9", "203.0.113.9", 0),
        (" 203.0.113.9 ", "203.0.113.9", 0),
        ("203.0.113.9:5678", "203.0.113.9", 5678),
        ("203.0.113.9:99999", "203.0.113.9", 0),
        ("[2001:db9::5]:5678", "2001:db9::5", 5678),
        ("[2001:db9::5]", "2001:db9::5", 0),
        ("2001:db9::5", "2001:db9::5", 0),
        ("2001:DB9:0::5", "2001:db9::5", 0),
        ("fe80::1%eth0", "fe80::1", 0),
        ("::ffff:203.0.113.9", "203.0.113.9", 0),
        ("[::ffff:203.0.113.9]:5678", "203.0.113.9", 5678),
        ("::ffff:cb00:7109", "203.0.113.9", 0),
        # The right-most that is no trusted proxy; what stands further left may be made up.
        ("6.6.6.6, 203.0.113.9", "203.0.113.9", 0),
        ("10.9.9.9, 203.0.113.9", "203.0.113.9", 0),
        ("6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9", 0),
        ("6.6.6.6, 203.0.113.9, 10.0.0.2, ::ffff:10.0.0.3, 192.0.2.7:80, [2001:db8::1]:9", "203.0.113.9", 0),
        ("6.6.6.6,,203.0.113.9,,", "203.0.113.9", 0),
        # Trusted all along: the left-most.
        ("10.0.0.3, 10.0.0.2", "10.0.0.3", 0),
        # What is no address ends the search.
        ("6.6.6.6, unknown, 10.0.0.2", "10.0.0.2", 0),
        ("6.6.6.6, _hidden", *PROXY),
        ("unknown", *PROXY),
        ("", *PROXY),
        (",", *PROXY),
        ("203.0.113.9.evil", *PROXY),
        ("203.0.113.999", *PROXY),
        ("0x7f.1", *PROXY),
        ("2130706433", *PROXY),
        ("203.0.113.09", *PROXY),
        ("\u0661.2.3.4", *PROXY),
        ("<script>", *PROXY),
        ("203.0.113.9\x1b", *PROXY),
    ],
)
def test_g11_x_forwarded_for(value: str, address: str, port: int) -> None:
    request = ask((XFF, value))
    assert (request.remote_ip, request.remote_port) == (address, port)
    assert request.peer == PROXY


def test_g11_several_lines_are_one_list() -> None:
    assert ask((XFF, "6.6.6.6"), (XFF, "203.0.113.9, 10.0.0.2")).remote_ip == "203.0.113.9"


@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1", "192.0.2.7", "2001:db8::5", "::1", "2001:db8::5%eth0"])
def test_g11_proxies_are_known_in_every_spelling(peer: str) -> None:
    assert ask((XFF, "203.0.113.9"), peer=(peer, 1)).remote_ip == "203.0.113.9"


def test_g11_a_hundred_hops_and_no_more() -> None:
    assert ask((XFF, ", ".join(["203.0.113.9"] + ["10.0.0.2"] * 99))).remote_ip == "203.0.113.9"
    assert ask((XFF, ", ".join(["203.0.113.9"] + ["10.0.0.2"] * 100))).remote_ip == "10.0.0.2"
    assert ask((XFF, ", ".join(["203.0.113.9"] + ["10.0.0.2"] * 1500))).remote_ip == "10.0.0.2"


@pytest.mark.parametrize(
    ("proto", "forwarded_for", "before", "secure"),
    [
        ("https", None, False, True),
        ("HTTPS", None, False, True),
        ("wss", None, False, True),
        ("http", None, True, False),
        ("gopher", None, True, True),
        ("", None, True, True),
        ("https", "203.0.113.9", False, True),
        # A made-up one on the left of the proxy's own.
        ("https, http", "203.0.113.9", True, False),
        # One for each hop: TLS up to the first proxy only.
        ("https, http", "203.0.113.9, 10.0.0.2", False, True),
        ("https, http, http", "6.6.6.6, 203.0.113.9, 10.0.0.2", True, False),
        # Only the first proxy said so.
        ("https", "203.0.113.9, 10.0.0.2", False, True),
    ],
)
def test_g11_x_forwarded_proto(proto: str, forwarded_for: str | None, before: bool, secure: bool) -> None:
    more = [(XFF, forwarded_for)] if forwarded_for else []
    assert ask((PROTO, proto), *more, secure=before).secure is secure


@pytest.mark.parametrize(
    ("value", "port"),
    [("1234", 1234), ("99, 1234", 1234), ("0", 5678), ("65536", 5678), ("-1", 5678), ("\u0661", 5678), ("", 5678)],
)
def test_g11_x_forwarded_port(value: str, port: int) -> None:
    assert ask((XFF, "203.0.113.9:5678"), ("X-Forwarded-Port", value)).remote_port == port


@pytest.mark.parametrize(
    ("value", "address", "port", "secure"),
    [
        ("for=203.0.113.9", "203.0.113.9", 0, False),
        ("For=203.0.113.9;Proto=https;by=10.0.0.1", "203.0.113.9", 0, True),
        ('proto=https ; for="203.0.113.9:5678"', "203.0.113.9", 5678, True),
        ('for="[2001:db9::5]:5678"', "2001:db9::5", 5678, False),
        ('for="\\[2001:db9::5\\]"', "2001:db9::5", 0, False),
        ("for=6.6.6.6;proto=https, for=203.0.113.9;proto=http", "203.0.113.9", 0, False),
        ("for=203.0.113.9;proto=https, for=10.0.0.2;proto=http", "203.0.113.9", 0, True),
        ('for=203.0.113.9;host="a, for=6.6.6.6;proto=https", ', "203.0.113.9", 0, False),
        ('for=203.0.113.9;host="\\", for=6.6.6.6"', "203.0.113.9", 0, False),
        ('for="6.6.6.6, for=203.0.113.9', "203.0.113.9", 0, False),
        ('for=6.6.6.6, for="203.0.113.9', *PROXY, False),
        ("for=unknown;proto=https", *PROXY, False),
        ('for="_gazonk"', *PROXY, False),
        ("for=", *PROXY, False),
        ("proto=https", *PROXY, False),
        ("203.0.113.9", *PROXY, False),
        ("for = 203.0.113.9", *PROXY, False),
        ("", *PROXY, False),
        (";,;=", *PROXY, False),
    ],
)
def test_g11_forwarded(value: str, address: str, port: int, secure: bool) -> None:
    request = ask(("Forwarded", value))
    assert (request.remote_ip, request.remote_port, request.secure) == (address, port, secure)


@pytest.mark.parametrize("made_up", ['x="', 'for=6.6.6.6;x="\\', '",",",', "for=6.6.6.6", '"' + "," * 300])
@pytest.mark.parametrize("lines", [1, 2])
def test_g11_a_clients_quote_is_not_closed_by_the_proxys(made_up: str, lines: int) -> None:
    """Whether the proxy adds a line of its own or to what is there."""
    own = 'for="[2001:db9::5]:5678";host="example.com:8443";proto=https'
    request = ask(*[("Forwarded", made_up), ("Forwarded", own)] if lines == 2 else [("Forwarded", f"{made_up}, {own}")])
    assert (request.remote_ip, request.remote_port, request.secure) == ("2001:db9::5", 5678, True)
    assert request.host == "example.com:8443"


def test_g11_which_header_comes_first() -> None:
    three = [(XFF, "203.0.113.1"), ("Forwarded", "for=203.0.113.2"), ("X-Real-IP", "203.0.113.3")]
    assert ask(*three).remote_ip == "203.0.113.1"
    assert ask(*three[1:]).remote_ip == "203.0.113.2"
    request = ask(*three[2:], (PROTO, "https"))
    assert (request.remote_ip, request.secure) == ("203.0.113.3", True)


@given(st.text(max_size=60) | st.text(alphabet='for=;,"\\[]:.0123456789 ', max_size=60))
def test_g11_no_header_is_too_odd(value: str) -> None:
    for name in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "Forwarded", "X-Real-IP"):
        request = ask((name, value))
        assert isinstance(request.remote_ip, str)
        assert 0 <= request.remote_port <= 65535


@pytest.mark.parametrize("part", ['"', '\\"', '"\\"', "for=", ',"', ';"a', "[", "a,", "for=10.0.0.2,"])
def test_f12_the_longest_header_takes_no_time(part: str) -> None:
    begin = time.thread_time()
    ask(("Forwarded", '"' + part * (16_000 // len(part))), (PROTO, part * 1000))
    assert time.thread_time() - begin < 0.5


@pytest.mark.parametrize("entry", ["localhost", "", "10.0.0.0/33", "10.0.0.0-10.0.0.9", "*"])
def test_what_is_no_network(entry: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        TrustedProxies([entry])


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ({}, "inner:8080"),
        ({"X-Forwarded-Host": "example.com"}, "example.com"),
        ({"X-Forwarded-Host": "example.com:8443"}, "example.com:8443"),
        ({"X-Forwarded-Host": "[2001:db9::5]:8443"}, "[2001:db9::5]:8443"),
        # The one that belongs to the client's hop, counted from the right.
        ({"X-Forwarded-Host": "evil.example, example.com"}, "example.com"),
        ({"X-Forwarded-Host": "evil.example, example.com, middle", XFF: "203.0.113.9, 10.0.0.2"}, "example.com"),
        ({"X-Forwarded-Host": "example.com", XFF: "203.0.113.9, 10.0.0.2"}, "example.com"),
        # What is no host is nobody's name.
        ({"X-Forwarded-Host": ""}, "inner:8080"),
        ({"X-Forwarded-Host": "a b"}, "inner:8080"),
        ({"X-Forwarded-Host": "user@example.com"}, "inner:8080"),
        ({"X-Forwarded-Host": "example.com/path"}, "inner:8080"),
        ({"X-Forwarded-Host": "example.com:"}, "inner:8080"),
        ({"X-Forwarded-Host": "ex\u00e4mple.com"}, "inner:8080"),
        ({"Forwarded": "for=203.0.113.9;host=example.com"}, "example.com"),
        ({"Forwarded": 'for=203.0.113.9;host="example.com:8443"'}, "example.com:8443"),
        ({"Forwarded": "host=evil.example, for=203.0.113.9;host=example.com"}, "example.com"),
        ({"Forwarded": "host=example.com"}, "inner:8080"),
        # One family counts: what the proxy has only let through does not.
        ({"Forwarded": "for=203.0.113.9;host=example.com", "X-Forwarded-Host": "evil.example"}, "example.com"),
        ({"Forwarded": "for=203.0.113.9", "X-Forwarded-Host": "evil.example"}, "inner:8080"),
        ({XFF: "203.0.113.9", "Forwarded": "for=6.6.6.6;host=evil.example"}, "inner:8080"),
    ],
)
def test_g11_the_host(headers: dict[str, str], host: str) -> None:
    assert ask(("Host", "inner:8080"), *headers.items()).host == host
    assert ask(("Host", "inner:8080"), *headers.items(), peer=("203.0.113.1", 1)).host == "inner:8080"


@pytest.mark.parametrize(
    ("headers", "address", "secure"),
    [
        ({XFF: "203.0.113.1", PROTO: "http", "Forwarded": "for=6.6.6.6;proto=https"}, "203.0.113.1", False),
        ({XFF: "203.0.113.1", "Forwarded": "for=6.6.6.6;proto=https"}, "203.0.113.1", False),
        ({"Forwarded": "for=203.0.113.1", PROTO: "https"}, "203.0.113.1", False),
        ({"Forwarded": "for=203.0.113.1;proto=https", PROTO: "http"}, "203.0.113.1", True),
        ({"Forwarded": "for=_hidden;proto=https", XFF: "203.0.113.1"}, "203.0.113.1", False),
        ({"X-Real-IP": "203.0.113.1", PROTO: "https", "Forwarded": "for=203.0.113.2"}, "203.0.113.2", False),
    ],
)
def test_g11_mixed_headers(headers: dict[str, str], address: str, secure: bool) -> None:
    request = ask(*headers.items())
    assert (request.remote_ip, request.secure) == (address, secure)
