"""The frame path: bytes in any pieces give the same messages, answers and end; and what happens around frames."""

from __future__ import annotations

import math
import random

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ahtransport._heartbeat import Deadlines
from ahtransport._net.host import Host
from ahtransport._net.websocket import WebSocketWire
from ahtransport.abc import Payload
from ahtransport.testing._wires import MemoryChannel, Nobody
from hostile.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_frame, frame


class Listener:
    """A receiver that notes what it is told, and fails when it is asked to."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.fail: set[str] = set()

    def _note(self, name: str, *event: object) -> None:
        self.events.append(event)
        if name in self.fail:
            raise RuntimeError("on purpose")

    def message(self, data: str | bytes) -> None:
        self._note("message", data)

    def alive(self, now: float) -> None:
        pass

    def writable(self) -> None:
        self._note("writable", "writable")

    def closed(self, code: int, reason: str) -> None:
        self._note("closed", "closed", code)


def opened(**limits: int) -> tuple[WebSocketWire, MemoryChannel, Listener]:
    channel, listener = MemoryChannel(), Listener()
    wire = WebSocketWire(channel, Host(Nobody(), Deadlines(), **limits))  # type: ignore[arg-type]
    wire.accept(listener, b"", b"")
    return wire, channel, listener


def outcome(data: bytes, cuts: list[int]) -> tuple[list[object], bytes, bool]:
    """Feed ``data`` in pieces; gives what the application saw, what was answered but for reasons, and if it is over."""
    wire, channel, listener = opened(max_length=60, max_fragments=3, max_control_frames=5)
    start = 0
    for cut in [*sorted(cuts), len(data)]:
        if cut > start:
            wire.data(data[start:cut], 1.0)
        start = cut
    sent = bytes(channel.sent)
    at = sent.rfind(b"\x88")
    if channel.ended:
        sent = sent[: at + 1] + sent[at + 2 : at + 4]  # without the length, which is the reason's
    return listener.events, sent, channel.ended


payloads = st.one_of(st.binary(max_size=70), st.text(max_size=20).map(str.encode))
frames = st.builds(
    frame,
    st.one_of(st.sampled_from([CONT, TEXT, BINARY, CLOSE, PING, PONG]), st.integers(0, 15)),
    payloads,
    fin=st.booleans(),
    rsv=st.sampled_from([0] * 20 + [1, 2, 4]),
    mask=st.one_of(st.binary(min_size=4, max_size=4), st.sampled_from([b"\0\0\0\0"] * 9 + [None])),
)
likely = st.sampled_from(
    [
        frame(TEXT, "é\U0001f600".encode()),
        frame(TEXT, b"a\xf0\x9f", fin=False),
        frame(CONT, b"\x98\x80b", fin=False),
        frame(CONT, b"\x98\x80b"),
        frame(CONT),
        frame(CONT, b"x" * 30, fin=False),
        frame(BINARY, b"\xff" * 60),
        frame(BINARY, b"\xff" * 61),
        frame(TEXT, b"", fin=False),
        frame(PING, b"p"),
        frame(PONG),
        frame(TEXT, length=2**40),
        frame(TEXT, length=2**63, form=64),
        frame(TEXT, b"1", form=16),
        close_frame(1000, b"bye"),
        close_frame(1005),
        frame(CLOSE),
        b"\xff",
        b"x",
    ]
)
streams = st.lists(st.one_of(likely, likely, frames), max_size=8).map(b"".join)


@settings(max_examples=200, deadline=None)
@given(streams, st.lists(st.integers(0, 300), max_size=8), st.integers(0, 2**32))
@example(frame(BINARY, b"x" * 60) + frame(CONT, b"123", fin=False), [6], 0)
@example(frame(TEXT, b"\xc2\x80" * 5 + b"\x80", fin=False), [8], 0)  # its reason says at which byte of the piece
async def test_b18_pieces_do_not_matter(data: bytes, cuts: list[int], seed: int) -> None:
    # Sometimes a few bits are wrong, too.
    chance = random.Random(seed)
    mutated = bytearray(data)
    for _ in range(chance.choice((0, 0, 0, 1, 3))):
        if mutated:
            mutated[chance.randrange(len(mutated))] ^= 1 << chance.randrange(8)
    data = bytes(mutated)
    whole = outcome(data, [])
    assert outcome(data, [min(cut, len(data)) for cut in cuts]) == whole
    assert outcome(data, list(range(len(data)))) == whole
    events, _, ended = whole
    closings = [event for event in events if isinstance(event, tuple) and event[0] == "closed"]
    assert len(closings) == ended
    assert events[len(events) - ended :] == closings


async def test_what_is_written_before_the_handshake_is_answered_follows_it() -> None:
    channel, listener = MemoryChannel(), Listener()
    wire = WebSocketWire(channel, Host(Nobody(), Deadlines()))
    assert wire.write(Payload.of("1"))
    wire.close(1005)
    wire.lost()  # no one to tell, yet
    wire.accept(listener, b"HANDSHAKE", b"")
    assert channel.sent == b"HANDSHAKE\x81\x011\x88\x00"
    assert not wire.write(Payload.of("2"))
    wire.data(frame(TEXT, b"ignored") + frame(PING) + frame(CLOSE), 1.0)
    assert listener.events == [("closed", 1005)]
    assert channel.ended


async def test_a_handshake_on_a_channel_that_is_gone() -> None:
    channel, listener = MemoryChannel(), Listener()
    wire = WebSocketWire(channel, Host(Nobody(), Deadlines()))
    channel.abort()
    wire.accept(listener, b"HANDSHAKE", b"")
    wire.lost()
    assert channel.sent == b""
    assert listener.events == [("closed", 1006)]


@pytest.mark.parametrize("where", ["message", "writable"])
async def test_a_receiver_that_fails_is_closed_with_1011(where: str) -> None:
    wire, channel, listener = opened()
    listener.fail.add(where)
    if where == "message":
        wire.data(frame(TEXT, b"1") + frame(TEXT, b"2"), 1.0)
    else:
        wire.flushed()
    assert listener.events[1:] == [("closed", 1011)]
    assert channel.sent[:4].startswith(b"\x88")
    assert channel.sent[2:4] == (1011).to_bytes(2)
    wire.data(frame(TEXT, b"3"), 1.0)
    wire.flushed()
    wire.eof()
    wire.lost()
    assert len(listener.events) == 2


async def test_a_receiver_that_fails_at_its_end_is_told_no_more() -> None:
    wire, channel, listener = opened()
    listener.fail.add("closed")
    wire.eof()
    wire.lost()
    assert listener.events == [("closed", 1006)]
    assert channel.closed


async def test_closing_without_a_close_frame() -> None:
    wire, channel, listener = opened()
    wire.close(1006, "gone")
    assert (bytes(channel.sent), channel.closed, listener.events) == (b"", True, [("closed", 1006)])
    wire.close(1000)
    assert channel.sent == b""


async def test_while_the_receiver_has_enough_nothing_is_delivered() -> None:
    wire, _, listener = opened()
    wire.pause()
    wire.data(frame(TEXT, b"1") + frame(TEXT, b"2"), 1.0)
    assert listener.events == []
    wire.resume()
    wire.data(b"", 1.0)
    assert listener.events == [("1",), ("2",)]
    # Closing reads on: their close frame may stand behind what nobody takes any more.
    wire.pause()
    wire.data(frame(TEXT, b"3"), 1.0)
    wire.close(4000)
    wire.data(frame(TEXT, b"4") + close_frame(4000), 1.0)
    assert listener.events == [("1",), ("2",), ("closed", 4000)]


async def test_of_the_pongs_that_wait_the_last_is_sent() -> None:
    wire, channel, listener = opened()
    channel.room = 1
    assert not wire.write(Payload.of("12345"))
    assert (wire.buffered, wire.queued) == (6, 1)
    wire.data(frame(PING, b"a") + frame(PING, b"b"), 1.0)
    channel.room = 100
    channel.drop_backlog()
    assert wire.buffered == 6  # the peer has a part of it already
    channel._sent(6)
    wire.flushed()
    assert channel.sent == b"\x81" + frame(PONG, b"b", mask=None)
    assert listener.events == [("writable",)]


async def test_a_peer_that_does_not_read_is_given_up() -> None:
    wire, channel, listener = opened()
    channel.room = 3
    for _ in range(3):
        wire.write(Payload.of("12345"))
    wire.data(frame(PING, b"a"), 1.0)
    wire.stalled()
    assert listener.events == [("closed", 1013)]
    assert wire.queued == 2  # the rest of the first message, and the close frame
    wire.flushed()  # no pong after a close frame
    assert wire.queued == 2
    wire.stalled()
    assert channel.closed


async def test_a_peer_that_does_not_answer_our_close_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    deadlines = Deadlines()
    channel, listener = MemoryChannel(), Listener()
    wire = WebSocketWire(channel, Host(Nobody(), deadlines, close_timeout=5.0))
    wire.accept(listener, b"", b"")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        wire.close(1000)
        wire.data(frame(3), 1.0)  # what it says instead counts for nothing, and moves no deadline
        await trio.sleep(4.9)
        assert not channel.closed
        await trio.sleep(0.2)
        assert channel.closed
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("said", [frame(CLOSE), frame(3)], ids=["their close", "a broken frame"])
async def test_a_peer_that_closes_and_reads_nothing_is_cut_off(
    said: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    deadlines = Deadlines()
    channel, listener = MemoryChannel(), Listener()
    wire = WebSocketWire(channel, Host(Nobody(), deadlines, close_timeout=5.0, flush_timeout=math.inf))
    wire.accept(listener, b"", b"")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        wire.data(said, 1.0)
        await trio.sleep(4.9)
        assert not channel.closed
        await trio.sleep(0.2)
        assert channel.closed
        nursery.cancel_scope.cancel()


async def test_early_bytes_wait_for_a_receiver_that_has_had_enough() -> None:
    channel, listener = MemoryChannel(), Listener()
    wire = WebSocketWire(channel, Host(Nobody(), Deadlines()))
    wire.pause()
    wire.accept(listener, b"", frame(TEXT, b"early"))
    channel.work()
    assert channel.paused
    assert not listener.events
    wire.resume()
    channel.work()
    assert listener.events == [("early",)]
