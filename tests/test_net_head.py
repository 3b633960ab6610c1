"""The head of a request: read in any pieces, refused when anything about it is doubtful."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ahtransport._errors import Reject
from ahtransport._net.head import Head, HeadReader, Limits, parse_head, plain_head

TINY = Limits(request_line=40, line=30, total=60, fields=3)

names = st.from_regex(r"[!#$%&'*+\-.^`|~0-9A-Za-z]{1,12}", fullmatch=True)
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12)
# Anything at all, and what is nearly a head.
noise = st.one_of(
    st.binary(max_size=80),
    st.lists(
        st.sampled_from([b"GET / HTTP/1.1", b"\r\n", b"\r", b"\n", b"\0", b"Host: h", b"a:" + b"b" * 27, b" ", b"x"]),
        max_size=14,
    ).map(b"".join),
)


def read(data: bytes, cuts: list[int], limits: Limits = TINY) -> tuple[str, int]:
    """Feed ``data`` in pieces; gives what came of it: the end of a head, a refusal, or nothing yet."""
    reader, buffer, start = HeadReader(limits), bytearray(), 0
    for cut in [*sorted(cuts), len(data)]:
        buffer += data[start:cut]
        start = cut
        try:
            end = reader.end(buffer)
        except Reject as refusal:
            return "refused", refusal.status
        if end is not None:
            return "head", end
    return "more", 0


@given(noise, st.lists(st.integers(0, 80)))
def test_a15_pieces_do_not_matter(data: bytes, cuts: list[int]) -> None:
    whole = read(data, [])
    assert read(data, [min(cut, len(data)) for cut in cuts]) == whole or whole[0] == "refused"
    # A refusal may come for another reason when less is there, but it comes.
    assert read(data, list(range(len(data))))[0] == whole[0]


def test_one_past_each_limit() -> None:
    first = b"GET " + b"/" * (40 - 13) + b" HTTP/1.1"
    assert len(first) == 40
    assert read(first, []) == ("more", 0)
    assert read(first + b"\r", []) == ("more", 0)
    assert read(first + b"\r\n\r\n", []) == ("head", 44)
    assert read(b"G" + first, []) == ("refused", 414)
    assert read(b"G" + first + b"\r\n\r\n", []) == ("refused", 414)
    line = b"a: " + b"b" * 27
    assert read(first + b"\r\n" + line + b"\r\n\r\n", []) == ("head", 76)
    assert read(first + b"\r\n" + line + b"b", []) == ("refused", 431)
    # All fields together: 60 bytes, the line ends between them included.
    assert read(first + b"\r\n" + line[:28] + b"\r\n" + line[:28] + b"\r\n\r\n", [])[0] == "head"
    assert read(first + b"\r\n" + line[:28] + b"\r\n" + line[:29] + b"\r\n\r\n", []) == ("refused", 431)
    assert read(first + b"\r\na:\r\na:\r\na:\r\n\r\n", [])[0] == "head"
    assert read(first + b"\r\na:\r\na:\r\na:\r\na:\r\n", []) == ("refused", 431)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\n", b"\n", b"\x16\x03\x01\0", b"GET /\r\n", b"a\r\n", b"\r\n"])
def test_what_can_become_no_head_is_refused_at_once(data: bytes) -> None:
    assert read(data, []) == ("refused", 400)


def test_a_nul_is_refused_at_once_wherever_it_is() -> None:
    assert read(b"GET / HTTP/1.1\r\na: \0\r\n", []) == ("refused", 400)
    assert read(b"GET / HTTP/1.1\r\na: \0", []) == ("refused", 400)
    assert read(b"GET / HTTP/1.1\r\na: b\r\n\r\n\0", [])[0] == "head"  # that belongs to something else


def heads(data: bytes, limits: Limits) -> object:
    """Read a head the long way; gives what is in it and where it ends, or None."""
    try:
        end = HeadReader(limits).end(bytearray(data))
        return None if end is None else (*contents(parse_head(data[:end])), end)
    except Reject:
        return None


def contents(head: Head) -> tuple[object, ...]:
    return tuple(dict(value) if (value := getattr(head, name)) is head.headers else value for name in Head.__slots__)


plain = st.lists(
    st.sampled_from(
        [
            *(b"GET / HTTP/1.1\r\n", b"POST /p?q HTTP/1.1\r\n", b"GET /x HTTP/1.0\r\n"),
            *(b"Host: h\r\n", b"a_b:c\r\n", b"a: b\n", b"Content-Length: 3\r\n"),
            *(b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"\r\n", b"\n", b"\0", b"x" * 20),
        ]
    ),
    max_size=9,
).map(b"".join)


@given(plain, st.sampled_from([TINY, Limits()]))
def test_the_short_way_reads_what_the_long_way_reads(data: bytes, limits: Limits) -> None:
    for text in (data, b"GET /path HTTP/1.1\r\nHost: h\r\n" + data):
        found = plain_head(text, limits)
        if found is not None:
            assert (*contents(found[0]), found[1]) == heads(text, limits)


def test_the_short_way_has_the_same_limits() -> None:
    first = b"GET " + b"/" * (40 - 13) + b" HTTP/1.1"
    for text in (first + b"\r\nHost: h\r\n\r\n", b"GET / HTTP/1.1\r\nHost:h\r\nb:" + b"c" * 15 + b"\r\n\r\n"):
        assert plain_head(text, TINY) is not None
        assert heads(text, TINY) is not None
    fields = b"GET / HTTP/1.1\r\nHost:h\r\n" + b"a:\r\n" * 3
    assert plain_head(fields + b"\r\n", Limits(fields=4)) is not None
    for text, limits in (
        (b"GET /" + first[4:] + b"\r\nHost: h\r\n\r\n", TINY),
        (fields + b"\r\n", TINY),
        (b"GET / HTTP/1.1\r\nHost:h\r\nb:" + b"c" * 29 + b"\r\n\r\n", TINY),
    ):
        assert plain_head(text, limits) is None
        assert heads(text, limits) is None


def parse(text: str) -> Head:
    return parse_head(text.replace("\n", "\r\n").encode("latin-1"))


def refusal(text: str) -> int:
    with pytest.raises(Reject) as caught:
        parse(text)
    return caught.value.status


@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=20),
    st.lists(st.tuples(names, values), max_size=8),
)
def test_what_was_written_is_read(method: str, path: str, fields: list[tuple[str, str]]) -> None:
    special = {"host", "content-length", "transfer-encoding", "connection", "upgrade"}
    fields = [(name, value) for name, value in fields if name.lower() not in special]
    lines = [f"{method} /{path} HTTP/1.1", "Host: h", *(f"{name}:\t {value} \t" for name, value in fields)]
    head = parse("\n".join([*lines, "", ""]))
    assert (head.method, head.target, head.http11, head.length) == (method, f"/{path}", True, 0)
    for name in {name.lower() for name, _ in fields}:
        assert head.headers.get_all(name) == [value for one, value in fields if one.lower() == name]


@given(st.binary(max_size=200))
def test_anything_at_all_is_a_head_or_a_refusal(data: bytes) -> None:
    for text in (data, b"GET / HTTP/1.1\r\n" + data, b"GET / HTTP/1.1\r\nHost: h\r\n" + data):
        with suppress(Reject):  # and nothing else
            assert parse_head(text + b"\r\n\r\n").target


@pytest.mark.parametrize(
    ("target", "read"),
    [
        ("/a?b", "/a?b"),
        ("//a", "//a"),
        ("http://other", "/"),
        ("https://other/a?b", "/a?b"),
        ("http://other?a", "/?a"),
        ("http://other/", "/"),
    ],
)
def test_targets(target: str, read: str) -> None:
    assert parse(f"GET {target} HTTP/1.1\nHost: h\n\n").target == read


@pytest.mark.parametrize("target", ["*", "a", "ftp://a/", "HTTP://", "host:80", "/a#b c"])
def test_targets_that_are_none(target: str) -> None:
    assert refusal(f"GET {target} HTTP/1.1\nHost: h\n\n") == 400


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: close\n", False),
        ("1.1", "Connection: Upgrade, Close\n", False),
        ("1.1", "Connection: upgrade\nConnection: close\n", False),
        ("1.1", "Connection: closed\n", True),
        ("1.0", "", False),
        ("1.0", "Connection: Keep-Alive\n", True),
        ("1.0", "Connection: keep-alive, close\n", False),
    ],
)
def test_whether_the_connection_goes_on(version: str, connection: str, kept: bool) -> None:
    assert parse(f"GET / HTTP/{version}\nHost: h\n{connection}\n").keep_alive == kept


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ("", 0),
        ("Content-Length: 0\n", 0),
        ("Content-Length: 0005\n", 5),
        ("Content-Length: 123456789012345678\n", 123456789012345678),
        ("Transfer-Encoding: chunked\n", None),
        ("Transfer-Encoding: Chunked\n", None),
    ],
)
def test_lengths_of_bodies(fields: str, length: int | None) -> None:
    assert parse(f"POST / HTTP/1.1\nHost: h\n{fields}\n").length == length


@pytest.mark.parametrize("fields", ["Host: h\n", "Host: h/\n", "Host: \xe9\n", ""])
def test_hosts(fields: str) -> None:
    good = fields == "Host: h\n"
    status = 200 if good else refusal(f"GET / HTTP/1.1\n{fields}\n")
    assert status == (200 if good else 400)
    assert refusal(f"GET / HTTP/1.1\nHost: h\n{fields or 'Host: i' + chr(10)}\n") == 400


def test_chunks_are_not_for_http_1_0() -> None:
    assert refusal("POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n") == 400
