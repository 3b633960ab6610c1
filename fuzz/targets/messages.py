"""What stands in a message: JSON, MessagePack, and Primus' layer on top of either."""

from __future__ import annotations

import json
import math
from typing import Any

from ahtransport._parsers import JSONParser, MessagePackParser
from ahtransport._primus import CONTROLS, Codec, as_event
from ahtransport.abc import Control, Event, Message, Packet
from fuzz.core import target, text_of

_DEPTH = 8
_JSON = (
    b'{"event":"say","room":"r","n":[1,2.5e3,-0,true,null],"deep":{"a":{"b":[[]]}}}',
    b'"\\ud83d\\ude00 \\ud800 \xe2\x80\xa8"',
    b"[" * 9 + b"]" * 9,
    b"12345678901234567890",
    b"1" + b"0" * 400,
    b"1e999",
    b"NaN",
    b'{"a":1,"a":2}',
    b'"primus::ping::1"',
    b'{"type":0,"data":["name",1],"id":3}',
    b'{"type":1,"id":3,"data":[]}',
    b"\xef\xbb\xbf1",
    b'"a\\"]]]]]]]]]"',
)
_MSGPACK = (
    b"\x83\xa4type\x00\xa4data\x92\xa4name\x01\xa2id\x03",
    b"\x81\x80\x01",
    b"\x91" * 9 + b"\x01",
    b"\xd6\xff\0\0\0\0",
    b"\xdd\xff\xff\xff\xff",
    b"\xc7\x0c\xff" + bytes(12),
    b"\xcf" + b"\xff" * 8,
    b"\xa1\xff",
    b"\xd4\0\0",
    b"\x01\x01",
)


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


class _Strange(Exception):
    """A number that JSON has no word for."""


def _strange(text: str) -> Any:
    raise _Strange


def _integer(text: str) -> int | float:
    return int(text) if len(text) < 311 else float(text)


def _double(number: float) -> float:
    """Give a number as JavaScript has it; the infinities are written as null."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _same(one: Any, other: Any) -> bool:
    """Compare as JavaScript would read it."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool) or not isinstance(one, int | float):
        return type(one) is type(other) and bool(one == other)
    number = _double(one)
    return (other is None and math.isinf(number)) or (isinstance(other, int | float) and _double(other) == number)


@target(bytes((kind,)) + text for text in _JSON for kind in (0, 1))
def json_parser(data: bytes) -> None:
    """JSON: only ValueError; what is taken is what the standard library reads; nothing too deep; and back again."""
    parser = JSONParser(_DEPTH)
    text: str | bytes = text_of(data[1:]) if data[:1] and data[0] & 1 else data[1:]
    try:
        value = parser.decode(text)
    except ValueError:
        value = ...
    except Exception as error:
        raise AssertionError("not a documented exception") from error
    try:
        plain = text.decode() if isinstance(text, bytes) else text
        other = json.loads(plain, parse_constant=_strange, parse_int=_integer)
    except (ValueError, _Strange, RecursionError):
        assert value is ..., "the standard library would refuse it"
        return
    if value is ...:
        assert _depth(other) > _DEPTH, "the standard library takes it"
        return
    assert _depth(value) <= _DEPTH
    assert _same(value, other)
    again = parser.decode(parser.encode(value))
    assert _same(value, again), (value, again)


@target(bytes((kind,)) + text for text in _MSGPACK for kind in (0, 1))
def messagepack_parser(data: bytes) -> None:
    """MessagePack: only ValueError, nothing too deep, and back again."""
    parser = MessagePackParser(_DEPTH, undefined=bool(data[:1] and data[0] & 1))
    try:
        value = parser.decode(data[1:])
    except ValueError:
        return
    assert _depth(value) <= _DEPTH
    again = parser.decode(parser.encode(value))
    assert repr(again) == repr(value)  # NaN is not itself


@target(bytes((kind,)) + text for kind, texts in ((0, _JSON), (1, _MSGPACK)) for text in texts)
def primus(data: bytes) -> None:
    """Primus' layer: what is decoded is a message or a control message; an event is encoded as it came."""
    binary = bool(data[:1] and data[0] & 1)
    codec = Codec(MessagePackParser(_DEPTH) if binary else JSONParser(_DEPTH))
    try:
        packet = codec.decode(data[1:])
    except ValueError:
        return
    if isinstance(packet, Control):
        assert packet.text.startswith(CONTROLS)
        return
    assert isinstance(packet, Message)
    event = as_event(packet.data)
    if event is None:
        return
    if isinstance(event, Event):
        assert type(event.name) is str
        assert event.ack is None or event.ack > 0
    # What counts is the value: an integer too large for a double is written as JavaScript does, 2e+62, and comes back
    # as a float, which msgspec writes 2e62.
    once = _there_and_back(codec, event)
    assert repr(_there_and_back(codec, as_event(once.data) or once)) == repr(once)  # NaN is not itself


def _there_and_back(codec: Codec, packet: Packet) -> Message:
    payload = codec.encode(packet)
    decoded = codec.decode(payload.data if payload.binary else payload.data.decode())
    assert isinstance(decoded, Message)
    return decoded
