"""What stands in a request: its query, cookies, where it came from, and which part of a file it wants."""

from __future__ import annotations

import ipaddress
import re

from ahtransport._actions.bodies import MAX_FIELDS, params_of
from ahtransport._actions.inputs import Repeated
from ahtransport._config import load_config
from ahtransport._errors import Reject
from ahtransport._http import Headers, Request
from ahtransport._parsers import JSONParser
from ahtransport._web.conditional import Validators, not_modified, precondition_failed, requested_range
from ahtransport._web.cors import Cors
from ahtransport._web.files import is_plain_name
from ahtransport._web.fingerprint import fingerprint_of, is_same_origin, may_link_session, web_fingerprint
from ahtransport._web.proxies import TrustedProxies, apply_forwarded
from fuzz.core import Source, target

_OPTIONS = load_config({}, environ={}).servers.web.fingerprint
_TRUSTED = TrustedProxies(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])
_NAMES = ("x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-proto", "x-forwarded-port")


def _safe(data: bytes) -> str:
    """Give text as it can stand in a header: latin-1, without control characters."""
    return re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", "", data.decode("latin-1"))


@target([b"a=b&c&=d&a=e", b"%00=%zz&%c3%a9=%ff", b"a=b;c", b"&" * 2000, b"EIO=4&transport=polling&sid="])
def query(data: bytes) -> None:
    """Query strings: any is read or refused with 400; the first value of a name counts."""
    text = "".join(chr(byte) for byte in data if 0x21 <= byte <= 0x7E)
    request = Request("GET", f"/?{text}")
    try:
        found = request.query
    except Reject as refusal:
        assert refusal.status == 400
        assert text.count("&") >= 1000
        return
    assert len(found) <= 1000
    assert dict(request.kept().query) == dict(found)


@target([b"a=b; c=d", b'sessionID="x%20y"; sessionID=z', b"=;=; ;;a", b"sessionID=" + b"a" * 300, b"a=%ff%zz\xe9"])
def cookies(data: bytes) -> None:
    """Cookies, and the fingerprint that stands in one: never longer or stranger than promised."""
    request = Request("GET", f"/?sessionID={data[:9].hex()}", [("Cookie", _safe(data)), ("Host", "h")])
    assert dict(request.kept().cookies) == dict(request.cookies)
    fingerprint, source = fingerprint_of(request, _OPTIONS)
    assert (fingerprint is None) == (source is None)
    if fingerprint is not None:
        assert 0 < len(fingerprint) <= 255
        assert fingerprint.isprintable()
    assert web_fingerprint(request, _OPTIONS) == web_fingerprint(request, _OPTIONS)
    assert may_link_session(request, source) == (source == "cookie")
    for _, value in request.response_headers:
        assert re.fullmatch(r"[\x20-\x7e]+", value)


_FORM = b"multipart/form-data; boundary=x\n--x\r\nContent-Disposition: form-data; %b\r\n\r\nvalue\r\n--x--"


@target(
    [
        b'application/json\n{"a":[1]}',
        b"application/json; charset=x\n[1]",
        b"application/x-www-form-urlencoded\na=b&a=c&action=x&action=y&%ff",
        b"multipart/form-data; boundary*9999=x\n--x--",
        *(_FORM % name for name in (b"name=a", b'name="a"; filename="b"', b"name*=a; name*1=b", b"name*utf-8''%ff=a")),
    ]
)
def form(data: bytes) -> None:
    """Bodies with parameters: any is read or refused with 400 or 415; what names the action is never ambiguous."""
    kind, _, body = data.partition(b"\n")

    async def read(limit: int) -> bytes:
        return body

    request = Request("POST", "/", [("Content-Type", _safe(kind))], read=read)
    try:
        params_of(request, JSONParser(), 65536).send(None)
    except StopIteration as done:
        params = done.value
    except Reject as refusal:
        assert refusal.status in (400, 415)
        return
    assert len(params) <= MAX_FIELDS
    assert all(type(name) is str for name in params)
    assert not any(isinstance(params.get(name), Repeated) for name in ("action", "apiVersion"))


_HOPS = (b"1.2.3.4, 10.0.0.1", b"[::1]:80", b"::ffff:10.0.0.1", b'for="[2001:db8::1]:4711";proto=https', b'for="\\',
         b"unknown, , 1.2.3.4:99999", b"10.0.0.1," * 120, b"fe80::1%eth0")  # fmt: skip


@target(bytes((kind, len(hops) % 256)) + hops for kind in range(len(_NAMES)) for hops in _HOPS)
def forwarded(data: bytes) -> None:
    """What proxies say: the client's address is always one, and nobody is believed who is not trusted."""
    source = Source(data)
    headers = [("Host", "h")]
    while source:
        headers.append((source.pick(_NAMES), _safe(source.take())))
    request = Request("GET", "/", headers, peer=("127.0.0.1", 5))
    apply_forwarded(request, _TRUSTED)
    ipaddress.ip_address(request.remote_ip)
    assert 0 <= request.remote_port <= 65535
    stranger = Request("GET", "/", headers, peer=("192.0.2.1", 5))
    apply_forwarded(stranger, _TRUSTED)
    assert (stranger.remote_ip, stranger.remote_port, stranger.secure) == ("192.0.2.1", 5, False)


_ORIGINS = (b"https://good.example", b"https://good.example:443", b"null", b"HTTPS://GOOD.example", b"https://[::1]:8",
            b"https://good.example.evil", b"file://", b"https://good.example@evil", b"https://a/b", b" ")  # fmt: skip
_METHODS = ("GET", "POST", "OPTIONS", "TRACE")


@target(bytes((kind, len(origin))) + origin for kind in range(8) for origin in _ORIGINS)
def origin(data: bytes) -> None:
    """Origins: only a listed one is allowed and echoed; a response header never breaks out of its line."""
    source = Source(data)
    kind = source.byte()
    sent = [_safe(source.take()) for _ in range(1 + kind % 2)]
    headers = [("Host", _safe(source.take()) or "good.example"), *(("Origin", one) for one in sent)]
    if kind & 4:
        headers.append(("Access-Control-Request-Method", _safe(source.take())))
        headers.append(("Access-Control-Request-Headers", _safe(source.rest())))
    for origins in (["https://good.example"], "*"):
        cors = Cors(origins)
        request = Request(_METHODS[kind // 2 % 4], "/", headers)
        response = cors.handle(request)
        told = dict(request.response_headers if response is None else response.headers)
        for value in told.values():
            assert re.fullmatch(r"[\t\x20-\x7e]*", value)
        echoed = told.get("Access-Control-Allow-Origin")
        if origins != "*" and echoed is not None:
            assert [echoed.lower()] == [sent[0].strip(" \t").lower()] == ["https://good.example"]
            assert len(sent) == 1
        if len(sent) > 1:
            assert not may_link_session(request, "cookie", frozenset(["https://good.example"]))
        if is_same_origin(request, sent[0]):
            assert sent[0].lower().startswith(("http://", "https://"))


@target([b"bytes=0-1\n", b"bytes=-5\n", b'bytes=9-\nW/"x"', b"bytes=1-2,3-4\n*", b"bytes=99999999999999999999-\n"])
def ranges(data: bytes) -> None:
    """Ranges and conditions: what is asked for lies within the file."""
    first, _, second = data.partition(b"\n")
    condition = _safe(second)
    validators = Validators('"abc-1"', 1_700_000_000.5)
    names = ("if-none-match", "if-match", "if-modified-since", "if-unmodified-since", "if-range")
    headers = Headers([("range", _safe(first)), *((name, condition) for name in names if condition)])
    found = requested_range(headers, validators, 10)
    assert found is None or 0 <= found[0] <= found[1] <= 10 or found[0] >= found[1]
    assert not_modified(headers, validators) in (True, False)
    assert precondition_failed(headers, validators) in (True, False)


@target([b"a.txt", b"..", b"a/b", b"a\\b", b"nul", b"\xc0\xaf", b".hidden", b"a:b", b"x\0y"])
def file_names(data: bytes) -> None:
    """A part of a path that is taken as the name of a file leads nowhere else."""
    part = data.decode("utf-8", "surrogateescape")
    if "/" not in part and is_plain_name(part):  # paths are split at slashes before
        assert part not in (".", "..")
        assert not set(part) & set("\\:\0")
