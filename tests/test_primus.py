"""Primus' message layer: control messages, events and acknowledgements as parsed values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ahtransport._parsers import JSONParser, MessagePackParser
from ahtransport._primus import CLOSE, Codec, as_event
from ahtransport.abc import Ack, Control, Event, Message, Packet

JSON = Codec(JSONParser())

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("packet", "value"),
    [
        (Message({"a": 1}), {"a": 1}),
        (Event("say", [1, "two"]), {"type": 0, "data": ["say", 1, "two"]}),
        (Event("ask", [], 7), {"type": 0, "data": ["ask"], "id": 7}),
        (Ack(7, ("yes",)), {"type": 1, "id": 7, "data": ["yes"]}),
        (Ack(7, []), {"type": 1, "id": 7, "data": []}),
        (Control("primus::ping::5"), "primus::ping::5"),
        (CLOSE, "primus::server::close"),
    ],
)
def test_what_goes_over_the_wire(packet: Packet, value: Any) -> None:
    payload = JSON.encode(packet)
    assert json.loads(payload.data) == value
    assert not payload.binary


@pytest.mark.parametrize(
    "text", ["primus::ping::1795369697871", "primus::id::", "primus::server::close", "primus::stale::0"]
)
def test_control_messages_are_known_by_their_beginning(text: str) -> None:
    assert JSON.decode(json.dumps(text)) == Control(text)


@pytest.mark.parametrize("value", ["primus", "primus::", " primus::ping::1", ["primus::ping::1"], {"primus::": 1}])
def test_other_values_are_messages(value: Any) -> None:
    assert JSON.decode(json.dumps(value)) == Message(value)


@pytest.mark.parametrize(
    ("value", "packet"),
    [
        ({"type": 0, "data": ["say"]}, Event("say", [])),
        ({"type": 0, "data": ["say", 1], "id": 3}, Event("say", [1], 3)),
        ({"type": 0, "data": ["say"], "id": None}, Event("say", [])),
        ({"type": 0, "data": ["say"], "id": 0}, Event("say", [])),
        ({"type": 0, "data": ["say"], "more": 1}, Event("say", [])),
        ({"type": 1, "data": [1], "id": 3}, Ack(3, [1])),
    ],
)
def test_events_and_acknowledgements(value: Any, packet: Packet) -> None:
    assert as_event(value) == packet


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "x",
        {},
        {"type": 0},
        {"type": 0, "data": []},
        {"type": 0, "data": [1]},
        {"type": 0, "data": [None]},
        {"type": 0, "data": "say"},
        {"type": 0, "data": {"0": "say"}},
        {"type": 0, "data": ["say"], "id": -1},
        {"type": 0, "data": ["say"], "id": 2**53},
        {"type": 1, "data": [], "id": 10**40},
        {"type": 0, "data": ["say"], "id": "1"},
        {"type": 0, "data": ["say"], "id": 1.5},
        {"type": 0, "data": ["say"], "id": True},
        {"type": False, "data": ["say"]},
        {"type": 0.0, "data": ["say"]},
        {"type": 1, "data": []},
        {"type": 1, "data": [], "id": 0},
        {"type": True, "data": [], "id": 1},
        {"type": 2, "data": ["say"], "id": 1},
        {"type": "0", "data": ["say"]},
    ],
)
def test_what_is_neither(value: Any) -> None:
    assert as_event(value) is None


@given(PLAIN)
def test_messages_come_back(value: Any) -> None:
    decoded = JSON.decode(JSON.encode(Message(value)).data)
    if isinstance(value, str) and value.startswith("primus::"):
        assert isinstance(decoded, Control | Message)
    else:
        assert decoded == Message(value)


@given(st.text(max_size=20), st.lists(PLAIN, max_size=4), st.none() | st.integers(1, 2**31))
def test_events_come_back(name: str, args: list[Any], ack: int | None) -> None:
    decoded = JSON.decode(JSON.encode(Event(name, args, ack)).data)
    assert isinstance(decoded, Message)
    assert as_event(decoded.data) == Event(name, args, ack)


@given(PLAIN)
def test_no_value_upsets_the_reading_of_events(value: Any) -> None:
    assert as_event(value) is None or isinstance(value, dict)


class Rude:
    """A parser that raises what it likes."""

    def encode(self, value: Any) -> bytes:
        return repr(value).encode()

    def decode(self, data: str | bytes) -> Any:
        raise {"type": TypeError, "value": ValueError}.get(str(data), RecursionError)(f"no: {data!r}")


@pytest.mark.parametrize("data", ["type", "value", "deep", b"\x00"])
def test_whatever_a_parser_raises_is_a_value_error(data: str | bytes) -> None:
    with pytest.raises(ValueError, match="no: "):
        Codec(Rude()).decode(data)


def test_who_travels_as_binary() -> None:
    assert Codec(MessagePackParser()).encode(Message("x")).binary
    assert Codec(Rude()).encode(Message("x")).binary
    assert not JSON.encode(Message("x")).binary
