"""Events and acks are encoded and decoded directly: exactly as by way of the library, whatever they look like."""

from __future__ import annotations

from typing import Any

import pytest
from ahtransport.transports.socketio import SocketIOTransformer
from ahtransport.transports.socketio._codec import _HEADER, RESERVED, Frame, Kind, TextCodec, check
from hypothesis import example, given, settings
from hypothesis import strategies as st
from socketio import packet as library

from ahtransport.abc import Event, Message, ProtocolError
from socket_io.test_codec import acks, attachments, events, messagepack_codec, text_codec, values, wire


def by_way_of_the_library(codec: TextCodec, data: str) -> Frame | None:
    """Decode an event or an ack without binary parts by nothing but the library, between the same checks."""
    match = _HEADER.match(data)
    if match is None or match[1] not in ("2", "3"):
        return None
    try:
        packet = codec._packet(encoded_packet=data)
        namespace = match[3] or "/"
        return check(Kind(packet.packet_type), namespace, None if match[4] is None else int(match[4]), packet.data)
    except (ValueError, IndexError, TypeError, ProtocolError):
        return None


def directly(codec: TextCodec, data: str) -> Frame | None:
    try:
        return codec.decode(data)
    except ProtocolError:
        return None


bodies = st.one_of(
    st.sampled_from(["", "[", "[]", '["a"]', '["a",1,{"b":[null,true]}]', '"a"', "{}", '{"a":1}', "[1]"]),
    st.sampled_from(['["connect"]', '["disconnect"]', '["connect_error"]']),
    st.sampled_from(
        [
            '["disconnect",1]',
            '["newListener"]',
            '["a"]x',
            '["a",NaN]',
            '["\\ud800"]',
            '[["a"]]',
            "[null]",
            "[1.5]",
            "[-0]",
            "[1e3]",
        ]
    ),
    st.text(max_size=10).map(lambda text: f'["{text}"]'),
    st.text('[]{}",:0123456789aeu\\', max_size=12),
)
heads = st.one_of(
    st.sampled_from(["2", "3", "2/,", "3/,", "2/a,", "2/a", "3/a b,7", "2/[,1", "2/é,", "2,"]),
    st.sampled_from(["20", "312", "2/,0", "2/a?b=c,1"]),
    st.from_regex(r"[23](/[^,]{0,5},)?[0-9]{0,18}", fullmatch=True),
)


@settings(max_examples=1000, deadline=None)
@given(heads, bodies)
@example("2", '["a"]')
@example("3", "[]")
@example("2", "")
@example("3/", "")
@example("29007199254740992", '["a"]')
def test_what_arrives(head: str, body: str) -> None:
    ours = directly(text_codec(), head + body)
    theirs = by_way_of_the_library(text_codec(), head + body)
    if ours != theirs:
        # The library cuts a query off a namespace, and looks for one in places where there is none.
        assert "?" in head
    if ours is not None:
        assert ours.kind in (Kind.EVENT, Kind.ACK)


def nested(opening: str, depth: int) -> str:
    return opening * depth + "1" + {"[": "]", '{"a":': "}"}[opening] * depth


scraps = st.sampled_from(
    [
        *(nested(opening, depth) for opening in ("[", '{"a":') for depth in (62, 63, 64, 65)),
        *("NaN", "-Infinity", "1e999", "9" * 400, "01", "tru", "null ", " 1", "\ufeff1", "'a'", "{1:2}", ""),
        *('"\ud800"', '"\ud800\udc00"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\"', '"\n"', '"\0"', '"\u2028"', '""'),
        *("1,2", "1]", "1],[2", '{"a":1,"a":2}', '{"_placeholder":true,"num":0}'),
    ]
)
names = st.sampled_from(["message", "a", "", "1", "é", "\\u0061", *sorted(RESERVED)])
plain_events = st.one_of(
    st.builds(lambda name, body: f'2["{name}",{body}]', names, scraps),
    st.builds(lambda head, body: head + body, st.sampled_from(["2", "2/,", "27", "2/a,", "3", "5", "", "51-"]), bodies),
)


@settings(max_examples=1000, deadline=None)
@given(plain_events)
@example('2["message","x"]')
def test_the_short_way_in_is_the_long_ways(data: str) -> None:
    event = text_codec().event(data)
    if event is not None:
        assert text_codec().decode(data) == Frame(Kind.EVENT, "/", None, event)
    else:  # the short way leaves nothing to the long one but what it is there for
        frame = directly(text_codec(), data)
        assert frame is None or frame[:3] != (Kind.EVENT, "/", None) or not data.startswith('2["')


def test_the_short_way_does_not_pass_attachments() -> None:
    codec = text_codec()
    assert codec.event('2["a"]') == ["a"]
    assert codec.decode('51-["b",{"_placeholder":true,"num":0}]') is None
    assert codec.event('2["a"]') is None
    with pytest.raises(ProtocolError, match="missing"):
        codec.decode('2["a"]')
    assert codec.decode(b"x") == Frame(Kind.EVENT, "/", None, ["b", b"x"])
    assert codec.event('2["a"]') == ["a"]


@given(values | st.text(st.characters(), max_size=20), st.sampled_from(["/", "/a", "/a b", "/é"]), st.booleans())
@example("\ud800", "/", False)
@example("\u2028", "/a", False)
@example(2**53 + 1, "/", False)
@example([float("nan"), -(2**64), {"a": [10**20]}], "/", True)
@example(float("inf"), "/", True)
def test_the_short_way_out_is_the_long_ways(value: Any, namespace: str, polling: bool) -> None:
    carrier = "polling" if polling else "websocket"
    for packet, data in (
        (Message(value), ["message", value]),
        (Event("a", (value, 1.5, value)), ["a", value, 1.5, value]),
        (Event("\u2028", ()), ["\u2028"]),
    ):
        payload = text_codec().plain(packet, f"{carrier} {namespace}")
        parts = text_codec().encode(Frame(Kind.EVENT, namespace, None, data))
        if payload is None:
            assert attachments(data)
        else:
            assert wire([payload]) == wire(SocketIOTransformer.wrap(parts, carrier))


def test_the_short_way_out_leaves_the_rest() -> None:
    assert text_codec().plain(Event("a", (), 7), "websocket /") is None
    for name in RESERVED:
        assert text_codec().plain(Event(name, ()), "websocket /") is None
    assert messagepack_codec().plain(Message("x"), "websocket /") is None


@given(st.one_of(events, acks).filter(lambda frame: not attachments(frame.data)))
def test_the_root_namespace_may_be_named(frame: Frame) -> None:
    (text,) = wire(text_codec().encode(frame._replace(namespace="/")))
    assert isinstance(text, str)
    assert not text.startswith(("2/", "3/"))
    named = f"{text[0]}/,{text[1:]}"
    assert text_codec().decode(named) == text_codec().decode(text) == frame._replace(namespace="/")


@given(st.one_of(events, acks))
def test_what_leaves(frame: Frame) -> None:
    """Anything that looks like a list or like bytes counts as such, wherever it is."""
    plain = wire(text_codec().encode(frame))
    assert len(plain) == 1 + attachments(frame.data)
    assert plain[0][:1] == str(library.EVENT + (3 if attachments(frame.data) else 0) + (frame.kind is Kind.ACK))
    for disguise in (lambda data: bytearray(data), lambda data: memoryview(data)):
        assert wire(text_codec().encode(frame._replace(data=disguised(frame.data, disguise)))) == plain


def disguised(value: Any, disguise: Any) -> Any:
    if isinstance(value, bytes):
        return disguise(value)
    if isinstance(value, dict):
        return {key: disguised(item, disguise) for key, item in value.items()}
    return tuple(disguised(item, disguise) for item in value) if isinstance(value, list) else value


@pytest.mark.parametrize("name", sorted(RESERVED))
@pytest.mark.parametrize("head", ["2", "2/,", "2/a,", "27", "2/a,7"])
def test_reserved_names_are_refused_either_way(name: str, head: str) -> None:
    with pytest.raises(ProtocolError):
        text_codec().decode(f'{head}["{name}"]')
    for namespace, number in (("/", None), ("/a", 7)):
        for more in ([], [b"x"]):
            with pytest.raises(ValueError, match=name):
                text_codec().encode(Frame(Kind.EVENT, namespace, number, [name, *more]))
            # As an ack's first value it is a value like any other.
            assert text_codec().encode(Frame(Kind.ACK, namespace, 7, [name, *more]))


@pytest.mark.parametrize("data", [["a", {b"k": 1}], ["a", ({b"k": b"v"},)]])
def test_keys_that_are_bytes(data: Any) -> None:
    with pytest.raises(TypeError):
        text_codec().encode(Frame(Kind.EVENT, "/", None, data))
    with pytest.raises(TypeError):
        text_codec().plain(Message(data), "websocket /")


def test_what_contains_itself() -> None:
    ring: list[Any] = ["a"]
    ring.append(ring)
    with pytest.raises(ValueError, match="contains itself"):
        text_codec().encode(Frame(Kind.EVENT, "/", None, ring))
    assert text_codec().plain(Message(ring), "websocket /") is None  # the long way says what is wrong
