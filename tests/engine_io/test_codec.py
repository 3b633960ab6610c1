"""Packets and payloads, checked against python-engineio's own codec; its traps are avoided."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from typing import Any

import pytest
from ahtransport.transports.engineio import _codec as codec
from ahtransport.transports.engineio._codec import Kind, Packet
from engineio import json as library_json
from engineio import packet as library
from engineio import payload as library_payload
from hypothesis import given
from hypothesis import strategies as st

from ahtransport.abc import Payload, ProtocolError

texts = st.text(st.characters(exclude_categories=["Cs"]))
messages = st.one_of(texts.filter(lambda text: "\x1e" not in text), st.binary())


def looks_like_json(text: str) -> bool:
    """Tell whether the library would make a value of a message."""
    try:
        return isinstance(json.loads(text), dict | list | int | float | bool | None)
    except ValueError:
        return False


def encode(message: str | bytes, *, polling: bool) -> Payload:
    return codec.encode_message(Payload.of(message), polling=polling)


@given(messages)
def test_messages_are_encoded_as_by_the_library(message: str | bytes) -> None:
    expected = library.Packet(library.MESSAGE, message)
    ours = encode(message, polling=False)
    theirs = expected.encode()
    assert ours.data == (theirs if isinstance(theirs, bytes) else theirs.encode())
    assert ours.binary == isinstance(theirs, bytes)
    # The library keeps what it has encoded once, whatever it is asked for next: a fresh packet.
    assert encode(message, polling=True).data.decode() == library.Packet(library.MESSAGE, message).encode(b64=True)


@given(messages)
def test_what_was_encoded_is_decoded(message: str | bytes) -> None:
    for polling in (True, False):
        payload = encode(message, polling=polling)
        wire = payload.data if payload.binary else payload.data.decode()
        assert codec.decode(wire) == Packet(Kind.MESSAGE, message)
    moved = codec.for_websocket(encode(message, polling=True))
    direct = encode(message, polling=False)
    assert (moved.data, moved.binary) == (direct.data, direct.binary)


@given(st.lists(messages, min_size=1, max_size=16))
def test_payloads_are_joined_as_by_the_library(batch: list[str | bytes]) -> None:
    theirs = library_payload.Payload(packets=[library.Packet(library.MESSAGE, message) for message in batch]).encode()
    ours = codec.join([encode(message, polling=True) for message in batch])
    assert ours.decode() == theirs
    assert codec.decode_payload(ours) == [Packet(Kind.MESSAGE, message) for message in batch]


@given(texts)
def test_texts_are_decoded_as_by_the_library_or_refused(text: str) -> None:
    try:
        ours = codec.decode(text)
    except ProtocolError:
        return
    try:
        theirs = library.Packet(encoded_packet=text)
    except ValueError:  # base64 without its padding
        assert text[0] == "b"
        return
    assert ours.kind == theirs.packet_type
    if not looks_like_json(text[1:]):
        assert (ours.data or None) == (theirs.data or None)


@given(st.one_of(st.binary(max_size=64), texts.map(str.encode)))
def test_nothing_but_a_protocol_error_comes_of_garbage(body: bytes) -> None:
    try:
        packets = codec.decode_payload(body)
    except ProtocolError:
        return
    assert all(isinstance(packet.kind, Kind) for packet in packets)


@pytest.mark.parametrize("text", ["true", "null", '{"a":1}', "[1]", "12", '"text"', "NaN"])
def test_messages_stay_text(text: str) -> None:
    assert codec.decode("4" + text) == Packet(Kind.MESSAGE, text)
    assert codec.decode_payload(b"4" + text.encode()) == [Packet(Kind.MESSAGE, text)]


@pytest.mark.parametrize(
    "text", ["", "7", "8", "9", "x", "-", "\u0664hi", "\u00b2", "\u0660", "\ufeff4hi", " 4", "d=4hi"]
)
def test_what_is_no_packet(text: str) -> None:
    with pytest.raises(ProtocolError):
        codec.decode(text)


@pytest.mark.parametrize(
    "text",
    ["***", "AA!!AA", "A", "AAAAA", "=", "==", "=AAA", "AA=A", "QUI=QUI=", "QUI\n", "\u0660AAA", "AA==AA", "A==="],
)
def test_what_is_no_base64(text: str) -> None:
    with pytest.raises(ProtocolError):
        codec.decode("b" + text)


@pytest.mark.parametrize("text", ["", "AA==", "AA", "QUI=", "QUI", "QUJD", "+/+/"])
def test_base64_with_and_without_its_padding(text: str) -> None:
    padded = text + "=" * (-len(text) % 4)
    assert codec.decode("b" + text) == Packet(Kind.MESSAGE, base64.b64decode(padded, validate=True))


def test_control_packets_are_the_librarys() -> None:
    assert [codec.CLOSE.data, codec.PING.data, codec.NOOP.data, codec.PROBE.data] == [b"1", b"2", b"6", b"3probe"]
    assert not any(payload.binary for payload in (codec.CLOSE, codec.PING, codec.NOOP, codec.PROBE))
    assert {kind.name: int(kind) for kind in Kind} == {
        name: getattr(library, name) for name in ("OPEN", "CLOSE", "PING", "PONG", "MESSAGE", "UPGRADE", "NOOP")
    }


@pytest.mark.parametrize(
    ("encoded", "kind", "data"),
    [("0{}", Kind.OPEN, "{}"), ("1", Kind.CLOSE, ""), ("2probe", Kind.PING, "probe"), ("5", Kind.UPGRADE, ""),
     ("3", Kind.PONG, ""), ("6", Kind.NOOP, ""), ("4", Kind.MESSAGE, "")],
)  # fmt: skip
def test_packets_and_their_data(encoded: str, kind: Kind, data: str) -> None:
    assert codec.decode(encoded) == Packet(kind, data)


def test_binary_packets_are_messages_whatever_they_begin_with() -> None:
    assert codec.decode(b"1") == Packet(Kind.MESSAGE, b"1")
    assert codec.decode(b"") == Packet(Kind.MESSAGE, b"")


def test_the_limit_of_packets_is_ours_and_the_librarys_stays_as_it_was() -> None:
    assert len(codec.decode_payload(b"\x1e".join([b"4"] * codec.MAX_PACKETS))) == codec.MAX_PACKETS
    with pytest.raises(ProtocolError, match="1000 packets"):
        codec.decode_payload(b"\x1e".join([b"4"] * (codec.MAX_PACKETS + 1)))
    assert library_payload.Payload.max_decode_packets == 16
    assert library.Packet.json is library_json


def test_invalid_utf8_is_refused() -> None:
    with pytest.raises(ProtocolError, match="UTF-8"):
        codec.decode_payload(b"4\xff")


def seconds(decode: Any, data: Any) -> float:
    """Give how long it takes to decode or refuse something, the best of three."""
    best = 1e9
    for _ in range(3):
        before = time.thread_time()
        with contextlib.suppress(ProtocolError):
            decode(data)
        best = min(best, time.thread_time() - before)
    return best


@pytest.mark.parametrize("body", [b"\x1e", b"4\x1e", b"b", b"bA", b"4", b"="])
def test_c10_f12_a_megabyte_of_anything_takes_no_time(body: bytes) -> None:
    """C10, F12."""
    assert seconds(codec.decode_payload, body * (1_000_000 // len(body))) < 0.1
    assert seconds(codec.decode_payload, b"b" + body * (1_000_000 // len(body))) < 0.1


@pytest.mark.parametrize(
    ("interval", "shown"), [(25, "25000"), (0.5, "500"), (0.0005, "0.5"), (0.1, "100"), (1.0015, "1001.5")]
)
def test_c21_the_handshake(interval: float, shown: str) -> None:
    """C21: sub-second intervals are told exactly."""
    payload = codec.encode_open("abc", ["websocket"], interval, 20, 1000)
    expected = '0{"sid":"abc","upgrades":["websocket"],"pingInterval":%s,"pingTimeout":20000,"maxPayload":1000}'
    assert payload.data.decode() == expected % shown
    assert codec.decode(payload.data.decode()).kind is Kind.OPEN
