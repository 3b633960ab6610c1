"""Bodies: chunks in any pieces, limits, and time."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from ahtransport._errors import Reject
from ahtransport._heartbeat import Deadlines
from ahtransport._net.body import EMPTY, Body, Whole
from ahtransport._net.chunked import ChunkedDecoder


def decode(data: bytes, cuts: list[int]) -> tuple[bytes, bool, bytes] | int:
    """Feed ``data`` in pieces; gives the body, whether it is complete and the rest, or the status of the refusal."""
    decoder, out, start = ChunkedDecoder(), b"", 0
    pieces = []
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        pieces.append(data[start:cut])
        start = cut
    try:
        while pieces and not decoder.finished:
            out += decoder.feed(pieces.pop(0))
    except Reject as refusal:
        return refusal.status
    return out, decoder.finished, decoder.rest() + b"".join(pieces) if decoder.finished else b""


cuts = st.lists(st.integers(0, 200), max_size=20)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=10), cuts)
def test_a15_chunks_in_any_pieces(chunks: list[bytes], rest: bytes, cuts: list[int]) -> None:
    lines = (b"%x%s\r\n%s\r\n" % (len(chunk), b" ;a=b" if chunk[0] % 2 else b"", chunk) for chunk in chunks)
    assert decode(b"".join(lines) + b"0\r\n\r\n" + rest, cuts) == (b"".join(chunks), True, rest)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.lists(
            st.sampled_from([b"5", b"1", b"b", b"0", b"\r\n", b"\n", b"abcde", b";x", b"\r", b"-", b"F" * 9]),
            max_size=12,
        ).map(b"".join),
    ),
    cuts,
)
def test_a15_pieces_do_not_matter(data: bytes, cuts: list[int]) -> None:
    assert decode(data, cuts) == decode(data, [])


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"x\r\n",
        b"123456789\r\n",
        b"-1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b" 1\r\n",
        b"1 \r\n",
        b"1\n",
        b"1\r\nab\r\n",
        b"1\r\na\n\r\n",
        b"1\r\na" + b"b" * 200,
        b"1;" + b"e" * 129 + b"\r\n",
        b"1" * 161,
        b"0\r\nA: b\r\n\r\n",
        b"1;\x00\r\n",
    ],
)
def test_what_is_no_chunk(data: bytes) -> None:
    assert decode(data, []) == 400
    assert decode(data, list(range(len(data)))) == 400


class Tap:
    """Stands for the channel: tells whether it was told to stop."""

    def __init__(self) -> None:
        self.open = True

    def pause(self) -> None:
        self.open = False

    def resume(self) -> None:
        self.open = True


def body(length: int | None, timeout: float = 10.0, deadlines: Deadlines | None = None) -> tuple[Body, Tap]:
    tap = Tap()
    clock = Deadlines() if deadlines is None else deadlines
    return Body(length, timeout, clock, tap.pause, tap.resume), tap


async def test_a_body_and_what_follows_it() -> None:
    one, _ = body(5)
    assert one.feed(b"123") == b""
    assert not one.complete
    assert one.feed(b"45GET") == b"GET"
    assert one.complete
    assert await one.read(5) == b"12345"
    assert await one.read(5) == b"12345"


@pytest.mark.parametrize("length", [6, None])
async def test_one_byte_past_the_limit(length: int | None) -> None:
    one, _ = body(length)
    one.feed(b"6\r\n123456\r\n0\r\n\r\n" if length is None else b"123456")
    assert await one.read(6) == b"123456"
    with pytest.raises(Reject) as caught:
        await one.read(5)
    assert caught.value.status == 413


async def test_a_body_that_came_with_its_head() -> None:
    one = Whole(b"123456")
    assert one.complete
    assert one.feed(b"GET") == b"GET"
    assert one.read_now(6) == await one.read(6) == b"123456"
    assert one.read_now(5) is None
    with pytest.raises(Reject) as caught:
        await one.read(5)
    assert caught.value.status == 413
    assert EMPTY.complete
    assert await EMPTY.read(0) == b""
    with trio.CancelScope() as scope:
        scope.cancel()
        await one.read(6)
    assert scope.cancelled_caught


async def test_a_length_over_the_limit_is_refused_before_it_comes() -> None:
    one, _ = body(10**12)
    with pytest.raises(Reject) as caught:
        await one.read(10**6)
    assert caught.value.status == 413


async def test_what_nobody_asks_for_is_not_taken() -> None:
    one, tap = body(200_000)
    one.feed(b"x" * 65536)
    assert tap.open
    one.feed(b"x")
    assert not tap.open
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def arrive() -> None:
            await trio.testing.wait_all_tasks_blocked()
            assert tap.open
            one.feed(b"x" * (200_000 - 65537))

        assert len(await one.read(200_000)) == 200_000


async def test_endless_chunks_stop_at_the_limit() -> None:
    one, tap = body(None)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def arrive() -> None:
            for _ in range(100):
                await trio.testing.wait_all_tasks_blocked()
                one.feed(b"400\r\n" + b"x" * 1024 + b"\r\n")

        with pytest.raises(Reject) as caught:
            await one.read(10_000)
        assert caught.value.status == 413
        assert not tap.open
        nursery.cancel_scope.cancel()


async def test_silence_is_408(autojump_clock: trio.testing.MockClock) -> None:
    deadlines = Deadlines()
    one, _ = body(5, 10.0, deadlines)
    one.feed(b"1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)

        @nursery.start_soon
        async def arrive() -> None:
            for digit in (b"2", b"3", b"4"):
                await trio.sleep(9)
                one.feed(digit)

        with pytest.raises(Reject) as caught:
            await one.read(100)
        assert len(deadlines) == 0
        nursery.cancel_scope.cancel()
    assert caught.value.status == 408
    assert trio.current_time() == pytest.approx(37.0)


async def test_what_came_while_the_loop_stood_still_is_in_time(mock_clock: trio.testing.MockClock) -> None:
    deadlines = Deadlines()
    one, _ = body(5, 1.0, deadlines)
    one.feed(b"1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)

        @nursery.start_soon
        async def arrive() -> None:
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(2)
            for _ in range(3):  # others have their turn before the network is read
                await trio.lowlevel.checkpoint()
            one.feed(b"2345")

        assert await one.read(100) == b"12345"
        assert len(deadlines) == 0
        nursery.cancel_scope.cancel()


async def test_a_broken_chunk_is_400_for_good() -> None:
    one, _ = body(None)
    assert one.feed(b"nonsense\r\n") == b""
    assert one.feed(b"0\r\n\r\nGET /") == b""
    assert not one.complete
    for _ in range(2):
        with pytest.raises(Reject) as caught:
            await one.read(100)
        assert caught.value.status == 400


def feed_when_asked(one: Body, data: bytes) -> list[int]:
    """Have a client send its body when it is asked to; the list grows each time that it is."""
    asked = []

    def ask() -> None:
        asked.append(1)
        one.feed(data)

    one.on_first_read = ask
    return asked


async def test_the_first_read_asks_for_the_body_once() -> None:
    one, _ = body(1)
    asked = feed_when_asked(one, b"x")
    assert await one.read(1) == b"x"
    assert await one.read(1) == b"x"
    assert asked == [1]


async def test_a_body_that_is_too_long_is_not_asked_for() -> None:
    """Whoever may read more of it asks."""
    one, _ = body(5)
    asked = feed_when_asked(one, b"hello")
    with pytest.raises(Reject) as caught:
        await one.read(4)
    assert caught.value.status == 413
    assert not asked
    assert await one.read(5) == b"hello"
    assert asked == [1]


async def test_a_cancelled_reader_gets_nothing() -> None:
    one, _ = body(1)
    one.feed(b"x")
    with trio.CancelScope() as scope:
        scope.cancel()
        await one.read(1)
    assert scope.cancelled_caught
