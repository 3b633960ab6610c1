"""The fast lane equals wsproto: with it and without it, the same bytes give the same messages, answers and end."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, TypeAlias

import pytest
import wsproto.connection
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from ahtransport._heartbeat import Deadlines
from ahtransport._net.frames import apply_mask, xor
from ahtransport._net.host import Host
from ahtransport._net.websocket import WebSocketWire
from ahtransport.testing._wires import FickleReceiver, MemoryChannel, Nobody, SlowWire
from hostile.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_frame, frame

LIMIT = 70_000
TURN = 128  # as _net/websocket.py says
SLOW = 8  # likewise

Outcome: TypeAlias = tuple[list[Any], bytes, bool]


def drive(
    kind: type[WebSocketWire], pieces: list[bytes], what: str = "", at: int = 0, *, corks: bool = True
) -> Outcome:
    """Feed the pieces, each when reading goes on; gives what the receiver saw, every byte answered, and if it is over.

    A receiver that has paused takes messages again when the next piece is there. Answers are collected, or each leaves
    at once.
    """
    channel, receiver = MemoryChannel(), FickleReceiver(what, at)
    channel.corks = corks
    wire = kind(channel, Host(Nobody(), Deadlines(), max_length=LIMIT, max_control_frames=10**6))
    receiver.wire = wire
    wire.accept(receiver, b"", b"")
    for piece in pieces:
        if channel._ending or channel.closed:
            break
        while channel.paused:
            channel.work()
            if receiver.paused and channel.paused:
                receiver.paused = False
                wire.resume()
        before = receiver.seen
        wire.data(piece, 1.0)
        assert receiver.seen - before <= TURN
        channel.work()
    if receiver.paused:
        wire.resume()
        channel.work()
    return receiver.events, bytes(channel.sent), channel.ended or channel.closed


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


def alone(data: bytes) -> tuple[list[Any], bytes]:
    """What wsproto by itself makes of the bytes: messages, the code of the end if there is one, and what it answers."""
    proto = wsproto.connection.Connection(wsproto.connection.ConnectionType.SERVER)
    events: list[Any] = []
    sent = b""
    parts: list[Any] = []
    proto.receive_data(data)
    for event in proto.events():
        assert isinstance(event, TextMessage | BytesMessage | CloseConnection | Ping | Pong)
        if isinstance(event, Ping):
            sent += proto.send(event.response())
        if isinstance(event, CloseConnection):
            events.append(("closed", 1005 if event.code is None else int(event.code)))
            answer = event.response()
            if event.reason == "Reserved bit set unexpectedly":  # the wire looks at these itself, and has its own words
                answer = CloseConnection(code=1002, reason="reserved bits are set")
            sent += proto.send(answer)
            break
        if isinstance(event, TextMessage | BytesMessage):
            parts.append(event.data)
            if event.message_finished:
                joined = ("" if isinstance(event, TextMessage) else b"").join(parts)
                events.append(joined)
                parts = []
    return events, sent


masks = st.sampled_from([b"\x12\xab\x56\xef", b"\0\0\0\0", b"\xff\0\0\x01", b"\0\0\0\x80"])
texts = st.one_of(st.text(max_size=12).map(str.encode), st.binary(max_size=12))
sizes = st.sampled_from([0, 1, 3, 4, 5, 124, 125, 126, 127, 128])
whole = st.builds(frame, st.sampled_from([TEXT, BINARY]), texts, mask=masks)
sized = st.builds(
    lambda kind, size, mask: frame(kind, b"z" * size, mask=mask), st.sampled_from([TEXT, BINARY]), sizes, masks
)
wrong = st.one_of(
    st.builds(frame, st.sampled_from([TEXT, BINARY]), texts, mask=st.none()),
    st.builds(frame, st.sampled_from([TEXT, BINARY]), texts, rsv=st.sampled_from([1, 2, 4, 7])),
    st.builds(frame, st.integers(0, 15), texts, fin=st.booleans()),
    st.builds(lambda size: frame(TEXT, b"n" * size, form=16), st.sampled_from([0, 1, 125])),
    st.builds(lambda size: frame(BINARY, b"n" * size, form=64), st.sampled_from([0, 125, 126, 300])),
    st.sampled_from([frame(BINARY, length=2**63, form=64), frame(TEXT, length=2**64 - 1, form=64)]),
)
too_long = st.just(frame(TEXT, length=LIMIT + 1))  # which wsproto does not mind


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """A message in fragments, anywhere in its characters, with control frames between them."""
    kind = draw(st.sampled_from([TEXT, BINARY]))
    data = draw(st.one_of(st.text(min_size=1, max_size=8).map(str.encode), st.binary(max_size=8)))
    pieces = cut(data, draw(st.lists(st.integers(0, 20), max_size=3))) or [b""]
    frames = []
    for number, piece in enumerate(pieces):
        frames.append(frame(CONT if number else kind, piece, fin=number == len(pieces) - 1, mask=draw(masks)))
        if draw(st.booleans()):
            frames.append(frame(draw(st.sampled_from([PING, PONG])), draw(st.binary(max_size=5))))
    return b"".join(frames)


control = st.one_of(
    st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=6), mask=masks),
    st.sampled_from([close_frame(1000, b"bye"), close_frame(1005), frame(CLOSE)]),
    st.sampled_from([frame(PING, b"p" * 126), frame(PING, fin=False)]),
    st.sampled_from(
        [frame(CLOSE, b"\x03"), close_frame(1004), close_frame(1000, b"\xff"), close_frame(4999, b"x" * 123)]
    ),
)
right = st.one_of(whole, whole, whole, sized, fragmented(), control)
streams = st.lists(st.one_of(right, right, wrong, too_long), max_size=10).map(b"".join)
cuts = st.lists(st.integers(0, 2000), max_size=8)
deeds = st.sampled_from(["", "", "pause", "close", "pause and close", "cut", "raise"])
moods = st.builds(
    lambda echo, deed: " and ".join(filter(None, (echo, deed))),
    st.sampled_from(["", "echo", "echo", "echo one"]),
    deeds,
)


def comparable(outcome: Outcome, mood: str) -> Outcome:
    """Leave out what was answered where the receiver cut the connection: with the answers that are still collected, of
    which there are more in a longer turn."""
    events, sent, over = outcome
    return events, b"" if mood.endswith("cut") and events[-1:] == [("closed", 1006, "")] else sent, over


@settings(max_examples=400, deadline=None)
@given(streams, cuts, moods, st.integers(1, 6), st.booleans())
@example(frame(TEXT, b"1") * 300, [], "pause", 128, True)
@example(frame(TEXT, b"1") * 300 + close_frame(1000), [], "pause and close", 128, True)
@example(frame(TEXT, b"1", form=16) + frame(TEXT, b"2"), [], "", 0, True)
@example((frame(TEXT, b"1") * 40 + frame(PING, b"p")) * 7 + close_frame(1000), [], "echo", 0, True)
@example((frame(TEXT, b"1") * 40 + frame(PING, b"p")) * 7, [], "echo and pause and close", 200, False)
async def test_the_lane_equals_wsproto(data: bytes, places: list[int], mood: str, at: int, corks: bool) -> None:
    for pieces in (cut(data, places), [bytes([byte]) for byte in data]):
        fast, slow = (drive(kind, pieces, mood, at, corks=corks) for kind in (WebSocketWire, SlowWire))
        assert comparable(fast, mood) == comparable(slow, mood)


def without_position(sent: bytes) -> bytes:
    """Leave out where text is wrong: Python counts from the beginning of the piece that it was given."""
    return re.sub(rb"\x88.\x03\xef'utf-8' codec .*\Z", b"\x88\x03\xef", sent, flags=re.DOTALL)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(right, right, wrong), max_size=10).map(b"".join), cuts, st.booleans())
async def test_messages_and_replies_are_those_of_wsproto_alone(data: bytes, places: list[int], corks: bool) -> None:
    events, sent, _ = drive(WebSocketWire, cut(data, places), corks=corks)
    expected, answers = alone(data)
    assert [event[:2] if isinstance(event, tuple) else event for event in events] == expected
    assert without_position(sent) == without_position(answers)


@pytest.mark.parametrize("corks", [True, False])
@pytest.mark.parametrize("kind", [WebSocketWire, SlowWire])
@pytest.mark.parametrize(
    ("mood", "answers"),
    [
        ("", ["p", "q", "end"]),
        ("echo", ["one", "p", "two", "three", "q", "four", "end"]),
        ("echo one", ["p", "three", "q", "end"]),
        ("echo and close", ["one", "p", "two", "three", "enough"]),
        ("echo one and close", ["p", "three", "enough"]),
        ("echo and pause and close", ["one", "p", "two", "three", "had enough"]),
        ("echo and raise", ["one", "p", "two", "three", "broken"]),
    ],
)
async def test_answers_leave_in_the_order_of_what_they_answer(
    kind: type[WebSocketWire], mood: str, answers: list[str], corks: bool
) -> None:
    """Echoes among pongs, and the close frame behind them: byte for byte, however it is cut."""
    bare = {
        "one": frame(TEXT, b"one", mask=None),
        "p": frame(PONG, b"p", mask=None),
        "two": frame(BINARY, b"two" * 50, mask=None),
        "three": frame(TEXT, b"three", mask=None),
        "q": frame(PONG, b"q", mask=None),
        "four": frame(TEXT, b"four", mask=None),
        "end": frame(CLOSE, b"\x03\xe8bye", mask=None),
        "enough": frame(CLOSE, b"\x0f\xa0enough", mask=None),
        "had enough": frame(CLOSE, b"\x0f\xa1enough", mask=None),
        "broken": frame(CLOSE, b"\x03\xf3internal error", mask=None),
    }
    data = frame(TEXT, b"one") + frame(PING, b"p") + frame(BINARY, b"two" * 50)
    data += frame(TEXT, b"th", fin=False) + frame(CONT, b"ree") + frame(PING, b"q") + frame(TEXT, b"four")
    data += close_frame(1000, b"bye")
    expected = b"".join(bare[answer] for answer in answers)
    for pieces in ([data], [bytes([byte]) for byte in data], cut(data, [9, 20, 40])):
        assert drive(kind, pieces, mood, 3, corks=corks)[1] == expected


@pytest.mark.parametrize("mask", [b"\x12\xab\x56\xef", b"\0\0\0\0"])
@pytest.mark.parametrize("kind", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, LIMIT, LIMIT + 1])
async def test_every_form_of_length(size: int, kind: int, mask: bytes) -> None:
    data = frame(kind, b"y" * size, mask=mask) + frame(TEXT, b"after")
    for places in (
        [],
        [1],
        [2],
        [3],
        [5],
        [6],
        [9],
        [10],
        [14],
        [20],
        [size // 2 + 5],
        [len(data) - 12],
        [len(data) - 1],
    ):
        fast = drive(WebSocketWire, cut(data, places))
        assert fast == drive(SlowWire, cut(data, places))
        expected: str | bytes = "y" * size if kind == TEXT else b"y" * size
        if size <= LIMIT:
            assert fast[0] == [expected, "after"]
        else:
            assert [event[:2] for event in fast[0]] == [("closed", 1009)]


async def test_whole_messages_never_reach_wsproto() -> None:
    """Else the comparisons would compare wsproto with itself."""
    channel, receiver = MemoryChannel(), FickleReceiver()
    receiver.wire = wire = WebSocketWire(channel, Host(Nobody(), Deadlines()))
    wire.accept(receiver, b"", b"")
    wire.data(frame(TEXT, b"1") + frame(BINARY, b"2" * 126) + frame(TEXT, b"3" * 65536), 1.0)
    assert receiver.seen == 3
    assert wire._proto is None


@pytest.mark.parametrize("frames", [TURN - 1, TURN, TURN + 1, 2 * TURN, 2 * TURN + 1])
@pytest.mark.parametrize("kind", [WebSocketWire, SlowWire])
async def test_a_turn_ends_and_goes_on(kind: type[WebSocketWire], frames: int) -> None:
    """What takes the slow way takes several times as long, so a turn has as many fewer of it."""
    turn = TURN if kind is WebSocketWire else TURN // SLOW
    channel, receiver = MemoryChannel(), FickleReceiver()
    receiver.wire = wire = kind(channel, Host(Nobody(), Deadlines()))
    wire.accept(receiver, b"", b"")
    wire.data(b"".join(frame(TEXT, b"%d" % number) for number in range(frames)), 1.0)
    assert receiver.seen == min(frames, turn)
    assert channel.paused is (frames > turn)
    rounds = 0
    while channel.errands:
        batch, channel.errands = channel.errands, []
        before = receiver.seen
        for errand in batch:
            errand()
        assert receiver.seen - before <= turn
        rounds += 1
    assert receiver.events == [str(number) for number in range(frames)]
    assert not channel.paused


@pytest.mark.parametrize("kind", [WebSocketWire, SlowWire])
async def test_who_has_enough_at_the_end_of_a_turn_stays_paused(kind: type[WebSocketWire]) -> None:
    channel, receiver = MemoryChannel(), FickleReceiver("pause", TURN)
    receiver.wire = wire = kind(channel, Host(Nobody(), Deadlines()))
    wire.accept(receiver, b"", b"")
    wire.data(frame(TEXT, b"1") * (TURN + 5), 1.0)
    channel.work()
    assert (receiver.seen, channel.paused) == (TURN, True)
    wire.resume()
    channel.work()
    assert (receiver.seen, channel.paused) == (TURN + 5, False)


async def test_while_closing_turns_are_short_and_no_pause_holds() -> None:
    channel, receiver = MemoryChannel(), FickleReceiver("pause and close", TURN)
    receiver.wire = wire = WebSocketWire(channel, Host(Nobody(), Deadlines()))
    wire.accept(receiver, b"", b"")
    wire.data(frame(TEXT, b"1") * (3 * TURN) + close_frame(4001), 1.0)
    assert receiver.seen == TURN
    assert channel.errands  # the rest of the frames, of which none counts, is for later turns
    assert not channel.ended
    wire.pause()  # too late
    channel.work()
    assert receiver.seen == TURN
    assert channel.ended
    assert receiver.events[-1][:2] == ("closed", 4001)


async def test_a_receiver_is_let_go_when_it_knows_the_end() -> None:
    """A wire and its receiver know each other: kept, they would wait for the garbage collector."""
    channel, receiver = MemoryChannel(), FickleReceiver()
    receiver.wire = wire = WebSocketWire(channel, Host(Nobody(), Deadlines()))
    wire.accept(receiver, b"", b"")
    wire.data(close_frame(1000), 1.0)
    assert not hasattr(wire, "_receiver")
    wire.lost()
    assert receiver.events == [("closed", 1000, "")]


@given(data=st.binary(max_size=300), mask=st.binary(min_size=4, max_size=4))
def test_payloads_are_unmasked_alike_with_compiled_code_and_without(data: bytes, mask: bytes) -> None:
    plain = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    assert xor(data, mask) == apply_mask(data, mask) == plain
