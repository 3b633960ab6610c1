"""Packets, checked against python-socketio's own codec; its traps are avoided, and nothing but one error comes out."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import msgspec
import pytest
from ahtransport.transports.socketio._codec import (
    MAX_ATTACHMENTS,
    RESERVED,
    Codec,
    Frame,
    Kind,
    MessagePackCodec,
    TextCodec,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from socketio import packet as library

from ahtransport._parsers import JSONParser, MessagePackParser
from ahtransport.abc import Payload, ProtocolError

LIMIT = 1_000_000

texts = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts
values = st.recursive(
    plain | st.floats(allow_nan=False, allow_infinity=False) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts.filter(lambda key: key != "_placeholder"), inner),
    max_leaves=8,
)
names = texts.filter(lambda name: name not in RESERVED)
namespaces = st.just("/") | texts.filter(lambda text: "," not in text).map(lambda text: f"/{text}")
ids = st.none() | st.integers(0, 2**53 - 1)
arguments = st.lists(values, max_size=4)
events = st.builds(
    lambda namespace, number, name, args: Frame(Kind.EVENT, namespace, number, [name, *args]),
    namespaces, ids, names, arguments,
)  # fmt: skip
acks = st.builds(
    lambda namespace, number, args: Frame(Kind.ACK, namespace, number, args),
    namespaces, st.integers(0, 2**53 - 1), arguments,
)  # fmt: skip
others = st.one_of(
    st.builds(lambda where: Frame(Kind.CONNECT, where, None, None), namespaces),
    st.builds(lambda where, auth: Frame(Kind.CONNECT, where, None, {"auth": auth}), namespaces, plain),
    st.builds(lambda where: Frame(Kind.DISCONNECT, where, None, None), namespaces),
    st.builds(lambda where, what: Frame(Kind.CONNECT_ERROR, where, None, {"message": what}), namespaces, texts),
)
frames = events | acks | others


def text_codec() -> TextCodec:
    return TextCodec(JSONParser(), LIMIT)


def messagepack_codec() -> MessagePackCodec:
    return MessagePackCodec(MessagePackParser(undefined=True))


def wire(payloads: Any) -> list[str | bytes]:
    """Give what leaves."""
    return [payload.data if payload.binary else payload.data.decode() for payload in payloads]


def attachments(value: Any) -> int:
    """Count the binary parts."""
    if isinstance(value, bytes):
        return 1
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(attachments, value)) if isinstance(value, list) else 0


def decode(codec: Codec, *messages: str | bytes) -> Frame:
    """Decode one packet; its parts before the last give nothing."""
    *first, last = messages
    for message in first:
        assert codec.decode(message) is None
        assert codec.waiting
    frame = codec.decode(last)
    assert frame is not None
    assert not codec.waiting
    return frame


def refused(codec: Codec, *messages: str | bytes) -> ProtocolError:
    """Decode what must be refused, at the last message."""
    *first, last = messages
    for message in first:
        assert codec.decode(message) is None
    with pytest.raises(ProtocolError) as error:
        codec.decode(last)
    return error.value


@given(frames)
def test_packets_are_encoded_as_by_the_library(frame: Frame) -> None:
    theirs = library.Packet(int(frame.kind), frame.data, frame.namespace, frame.id).encode()
    head, *parts = theirs if isinstance(theirs, list) else [theirs]
    ours = wire(text_codec().encode(frame))
    assert isinstance(ours[0], str)
    assert ours[1:] == parts
    # Both write JSON, each in its own way (escapes, 1e+16): the same head, and the same value.
    start = min((at for at in (head.find("["), head.find("{")) if at >= 0), default=len(head))
    if not set(frame.namespace) & set("[{"):
        assert ours[0][:start] == head[:start]
        assert json.loads(ours[0][start:] or "0") == json.loads(head[start:] or "0")
    # The short way that nearly all events take is the long way's.
    long_way = Frame(frame.kind, frame.namespace, frame.id, frame.data and [*frame.data]) if frame.kind == 2 else frame
    assert wire(text_codec().encode(long_way)) == ours


@given(frames.filter(lambda frame: attachments(frame.data) <= MAX_ATTACHMENTS))
def test_what_was_encoded_is_decoded(frame: Frame) -> None:
    assert decode(text_codec(), *wire(text_codec().encode(frame))) == frame
    assert decode(messagepack_codec(), *wire(messagepack_codec().encode(frame))) == frame


@given(frames.filter(lambda frame: attachments(frame.data) <= MAX_ATTACHMENTS and "?" not in frame.namespace))
def test_packets_are_decoded_as_by_the_library(frame: Frame) -> None:
    head, *parts = wire(text_codec().encode(frame))
    theirs = library.Packet(encoded_packet=head)
    for part in parts:
        theirs.add_attachment(part)
    assert (theirs.namespace or "/", theirs.id, theirs.data) == frame[1:]


@settings(max_examples=300)
@given(st.lists(st.one_of(
    st.text(max_size=40), st.binary(max_size=16),
    st.from_regex(r"[0-9]{1,2}-?(/[a-z]*,)?[0-9]{0,3}[\[{].*", fullmatch=True),
    st.sampled_from(['51-["a",{"_placeholder":true,"num":0}]', '61-1[{"_placeholder":true,"num":0}]', b"x"]),
), max_size=4))  # fmt: skip
def test_nothing_but_a_protocol_error_comes_of_garbage(messages: list[str | bytes]) -> None:
    for codec in (text_codec(), messagepack_codec()):
        for message in messages:
            try:
                frame = codec.decode(message)
            except ProtocolError:
                break
            if frame is not None:
                assert isinstance(frame.kind, Kind)
                assert frame.kind is not Kind.EVENT or frame.data[0] not in RESERVED


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 99) | texts | st.binary(), lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["type", "nsp", "id", "data"]), inner),
)))  # fmt: skip
def test_nothing_but_a_protocol_error_comes_of_any_messagepack(value: Any) -> None:
    try:
        frame = messagepack_codec().decode(msgspec.msgpack.encode(value))
    except ProtocolError:
        return
    assert frame is not None
    assert isinstance(frame.kind, Kind)


def test_what_the_library_keeps_for_all_stays_as_it_was() -> None:
    before = library.Packet.json
    text_codec().encode(Frame(Kind.EVENT, "/a", 1, ["x", b"y"]))
    assert library.Packet.json is before


# -- out: D15


@pytest.mark.parametrize(
    "value", [{1, 2}, {"a": b"1"}, (1, b"2"), bytearray(b"1"), memoryview(b"12"), [[b"x"], {"y": (b"z",)}]]
)
def test_what_python_has_beside_json(value: Any) -> None:
    head, *parts = wire(text_codec().encode(Frame(Kind.EVENT, "/", None, ["a", value])))
    assert isinstance(head, str)
    assert all(isinstance(part, bytes) for part in parts)
    frame = decode(text_codec(), head, *parts)
    assert frame.data[0] == "a"
    assert attachments(frame.data) == len(parts)


def test_d15_numbers_and_text_that_javascript_has_otherwise() -> None:
    """D15: as ``JSON.stringify`` writes them."""
    data = ["a", float("nan"), float("inf"), 2**70, "\ud800"]
    (encoded,) = wire(text_codec().encode(Frame(Kind.EVENT, "/", None, data)))
    assert encoded == '2["a",null,null,1.1805916207174113e+21,"\\ud800"]'
    assert decode(text_codec(), encoded).data == ["a", None, None, float(2**70), "\ud800"]


class _Strange:
    pass


def _cycle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [_Strange(), {b"a": 1}, {(1, 2): 3}, _cycle(), [_cycle(), b""], object])
@pytest.mark.parametrize("make", [text_codec, messagepack_codec])
@pytest.mark.parametrize("number", [None, 1])
def test_d15_what_can_not_be_carried(value: Any, make: Any, number: int | None) -> None:
    """D15."""
    if make is messagepack_codec and isinstance(value, dict):
        pytest.skip("MessagePack has such keys")
    with pytest.raises((TypeError, ValueError)):
        make().encode(Frame(Kind.EVENT, "/", number, ["a", value]))


@pytest.mark.parametrize("name", sorted(RESERVED))
@pytest.mark.parametrize("make", [text_codec, messagepack_codec])
def test_d4_reserved_names(name: str, make: Any) -> None:
    """D4: neither in nor out."""
    with pytest.raises(ValueError, match="not for applications"):
        make().encode(Frame(Kind.EVENT, "/", None, [name]))
    packet = {"type": 2, "nsp": "/", "data": [name]}
    refused(make(), f'2["{name}"]' if make is text_codec else msgspec.msgpack.encode(packet))


# -- in: D5, D7


def test_d5_the_limit_of_attachments_together() -> None:
    """D5: at the limit and one past it."""
    codec = TextCodec(JSONParser(), 10)
    head = '52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert decode(codec, head, b"x" * 4, b"y" * 6).data == ["a", b"x" * 4, b"y" * 6]
    assert refused(codec, head, b"x" * 4, b"y" * 7).code == 1009
    assert refused(TextCodec(JSONParser(), 10), head, b"x" * 11).code == 1009


@pytest.mark.parametrize(
    "packet",
    [
        {"type": "2", "nsp": "/", "data": ["a"]},
        {"type": 2.0, "nsp": "/", "data": ["a"]},
        {"type": True, "nsp": "/", "data": ["a"]},
        {"type": 5, "nsp": "/", "data": ["a"]},
        {"type": -1, "nsp": "/", "data": ["a"]},
        {"type": 2**70 >> 7, "nsp": "/", "data": ["a"]},
        {"type": 2, "nsp": ["/"], "data": ["a"]},
        {"type": 2, "data": ["a"]},
        {"type": 2, "nsp": "/", "id": -1, "data": ["a"]},
        {"type": 2, "nsp": "/", "id": 2**53, "data": ["a"]},
        {"type": 2, "nsp": "/", "id": 1.0, "data": ["a"]},
        {"type": 2, "nsp": "/", "id": True, "data": ["a"]},
        {"type": 2, "nsp": "/", "data": {"0": "a"}},
        {"type": 2, "nsp": "/", "data": [b"a"]},
        {"type": 2, "nsp": "/", "data": ["a", {1: 2}]},
        {"type": 2, "nsp": "/", "data": ["a", [{b"x": 2}]]},
        {"type": 2, "nsp": "/", "data": ["a", msgspec.msgpack.Ext(7, b"")]},
        {"type": 0, "nsp": "/", "data": []},
        {"type": 1, "nsp": "/", "data": 1},
        {"type": 4, "nsp": "/"},
        ["a"],
        2,
        "text",
        None,
        {},
    ],
)
def test_d14_messagepack_that_is_no_packet(packet: Any) -> None:
    """D14."""
    refused(messagepack_codec(), msgspec.msgpack.encode(packet))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffabc",
        b"\xc6\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1000,
        b"\x91" * 100_000 + b"\xc0",
        b"\x91" * 100_000,
        msgspec.msgpack.encode({"type": 1, "nsp": "/"}) + b"\x00",
        b"\x82\xa4type\x02\xa3nsp\xa1\xff",
        b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1a\xd6\xff\x00\x00\x00\x00",
        b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\x81\x90\x01",
    ],
)
def test_d14_messagepack_that_is_none(data: bytes) -> None:
    """D14: refused, and at once."""
    best = 1e9
    for _ in range(5):
        before = time.thread_time()
        refused(messagepack_codec(), data)
        best = min(best, time.thread_time() - before)
    assert best < (0.001 if len(data) < 10_000 else 0.05)


def test_messagepack_is_binary() -> None:
    refused(messagepack_codec(), '2["a"]')
    assert not messagepack_codec().waiting


def test_d3_a_name_that_is_a_number() -> None:
    """D3: as JavaScript writes it."""
    for written, name in (("1", "1"), ("1.0", "1"), ("-0.5", "-0.5"), ("1e3", "1000"), ("1e300", "1e+300")):
        assert decode(text_codec(), f"2[{written}]").data == [name]
    assert decode(text_codec(), "2[1e999]").data == ["inf"]


@pytest.mark.parametrize("filler", ["9", "[", "{", '"', "/", ",", "-", "\\", "a", "\u0663", " "])
def test_f12_a_megabyte_of_anything_takes_no_time(filler: str) -> None:
    """F12: headers, ids and namespaces are read in linear time."""
    for head in ("2", "51-", "2/", '2["', "3", ""):
        before = time.thread_time()
        with contextlib.suppress(ProtocolError):
            text_codec().decode(head + filler * 1_000_000)
        assert time.thread_time() - before < 0.5


def test_the_seam_itself() -> None:
    codec = Codec()
    assert not codec.waiting
    with pytest.raises(NotImplementedError):
        codec.encode(Frame(Kind.CONNECT, "/", None, None))
    with pytest.raises(NotImplementedError):
        codec.decode("0")
    assert isinstance(text_codec().encode(Frame(Kind.CONNECT, "/", None, None))[0], Payload)
