"""permessage-deflate against zlib itself: any message, cut anywhere, with any parameters; and never without bound."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ahtransport._heartbeat import Deadlines
from ahtransport._net.compressed import CompressedWire
from ahtransport._net.deflate import Compression, Deflater, Inflater, Parameters, TooLong, deflated, negotiate
from ahtransport._net.host import Host
from ahtransport.abc import Payload
from ahtransport.testing._wires import MemoryChannel, Nobody
from hostile.wire import BINARY, CONT, PING, TEXT, close_frame, frame
from test_net_lane import cut
from test_net_websocket import Listener

LIMIT = 1 << 22
TAIL = b"\x00\x00\xff\xff"
DEFLATE = "permessage-deflate"


class Peer:
    """The other end, as RFC 7692 section 7.2 describes it: one object of zlib's for each direction, and no limits."""

    def __init__(self, parameters: Parameters, level: int = 6, memory: int = 8, strategy: int = 0) -> None:
        self.parameters = parameters
        self._make = (level, zlib.DEFLATED, -parameters.client_max_window_bits, memory, strategy)
        self._deflate = zlib.compressobj(*self._make)
        self._inflate = zlib.decompressobj(-parameters.server_max_window_bits)

    def deflate(self, data: bytes, flushes: list[int] | None = None, *, final: bool = False) -> bytes:
        """Deflate a message, flushed here and there; ``final``: as a stream that ends (section 7.2.3.4)."""
        out = b"".join(
            self._deflate.compress(piece) + self._deflate.flush(zlib.Z_SYNC_FLUSH) for piece in cut(data, flushes or [])
        )
        if final or self.parameters.client_no_context_takeover:
            last = self._deflate
            self._deflate = zlib.compressobj(*self._make)
            if final:
                return out + last.flush() + b"\0"
        if not out:
            return b"\0"
        assert out.endswith(TAIL)
        return out[:-4]

    def inflate(self, data: bytes) -> bytes:
        if self.parameters.server_no_context_takeover:
            self._inflate = zlib.decompressobj(-self.parameters.server_max_window_bits)
        return self._inflate.decompress(data + TAIL)


bits = st.integers(9, 15)
parameters = st.builds(Parameters, st.booleans(), st.booleans(), bits, bits)
words = st.lists(st.sampled_from([b"one ", b"two", b"\xff\xfe", b"three" * 50, bytes(700)]), max_size=30).map(b"".join)
messages = st.one_of(
    st.binary(max_size=300), words, st.builds(lambda a, b: a * b, st.binary(max_size=40), st.integers(0, 3000))
)


@settings(max_examples=150, deadline=None)
@given(
    parameters,
    st.lists(st.tuples(messages, st.lists(st.integers(0, 5000), max_size=3), st.booleans()), max_size=5),
    st.integers(0, 9),
    st.integers(1, 9),
    st.integers(0, 4),
)
@example(Parameters(), [(b"Hello", [], True), (b"Hello", [], False)], 6, 8, 0)
def test_what_zlib_deflates_is_inflated(
    agreed: Parameters, sent: list[tuple[bytes, list[int], bool]], level: int, memory: int, strategy: int
) -> None:
    peer, inflater = Peer(agreed, level, memory, strategy), Inflater(agreed)
    for data, flushes, final in sent:
        assert inflater.inflate(peer.deflate(data, flushes, final=final), LIMIT) == data


@settings(max_examples=150, deadline=None)
@given(parameters, st.lists(messages, max_size=5))
def test_what_is_deflated_zlib_inflates(agreed: Parameters, sent: list[bytes]) -> None:
    peer = Peer(agreed)
    deflater = None if agreed.server_no_context_takeover else Deflater(agreed)
    for data in sent:
        if deflater is not None:
            packed = deflater.deflate(data)
        else:
            used, packed = deflated(data, agreed.server_max_window_bits)
            assert 9 <= used <= agreed.server_max_window_bits
        assert packed
        assert peer.inflate(packed) == data


@settings(max_examples=150, deadline=None)
@given(messages, st.integers(-3, 3), st.booleans())
def test_the_limit_counts_what_a_message_becomes(data: bytes, more: int, takeover: bool) -> None:
    agreed = Parameters(client_no_context_takeover=not takeover)
    inflater, packed = Inflater(agreed), Peer(agreed).deflate(data)
    limit = max(0, len(data) + more)
    if len(data) <= limit:
        assert inflater.inflate(packed, limit) == data
    else:
        with pytest.raises(TooLong):
            inflater.inflate(packed, limit)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=400), messages.map(Peer(Parameters(client_no_context_takeover=True)).deflate)),
       st.integers(0, 5000), st.binary(max_size=3))  # fmt: skip
@example(b"", 0, b"")
@example(b"\0" * 3 + b"\x03\0" * 1000, 5000, b"")
def test_noise_is_refused_or_bounded(data: bytes, place: int, noise: bytes) -> None:
    place %= len(data) + 1
    data = data[:place] + noise + data[place + len(noise) :]
    inflater = Inflater(Parameters())
    try:
        assert len(inflater.inflate(data, 10_000)) <= 10_000
    except (TooLong, zlib.error):
        assert inflater._window == b""  # a message that failed leaves nothing behind


def test_a_message_that_was_cut_off_is_none() -> None:
    data = b"".join(b'{"number": %d, "word": "abc"}' % number for number in range(200))
    packed = Peer(Parameters()).deflate(data)
    for end in range(len(packed)):
        with pytest.raises(zlib.error):
            Inflater(Parameters()).inflate(packed[:end], LIMIT)
    assert Inflater(Parameters()).inflate(packed, LIMIT) == data


def test_the_examples_of_the_rfc() -> None:
    """Sections 7.2.3.1 to 7.2.3.6."""
    inflater = Inflater(Parameters())
    for packed in (
        "f248cdc9c90700",
        "f200110000",
        "000500faff48656c6c6f00",
        "f348cdc9c9070000",
        "f24805000000ffffcac9c90700",
    ):
        assert inflater.inflate(bytes.fromhex(packed), 5) == b"Hello", packed
    assert inflater.inflate(b"\0", 0) == b""


def test_streams_within_a_message_are_few() -> None:
    """Each takes as long to begin as kilobytes take to inflate, and an empty one has two bytes."""
    stream = zlib.compressobj(wbits=-15)
    one = stream.compress(b"x") + stream.flush()
    assert Inflater(Parameters()).inflate(one * 7 + b"\0", 100) == b"x" * 7
    with pytest.raises(zlib.error):
        Inflater(Parameters()).inflate(one * 8 + b"\0", 100)


def test_a_window_is_no_larger_than_agreed() -> None:
    peer = Peer(Parameters())
    first, second = bytes(range(256)) * 8 + b"." * 600, bytes(range(256))
    packed = [peer.deflate(first), peer.deflate(second)]
    large, small = Inflater(Parameters()), Inflater(Parameters(client_max_window_bits=9))
    assert [inflater.inflate(packed[0], 10_000) for inflater in (large, small)] == [first] * 2
    assert large.inflate(packed[1], 10_000) == second
    with pytest.raises(zlib.error):
        small.inflate(packed[1], 10_000)


@pytest.mark.parametrize("size", [10, 200])  # MiB; within the limit of 64, and beyond it
def test_b11_memory_is_bounded(size: int) -> None:
    """A bomb takes a few megabytes, whatever it would become; a message within the limit twice its size at most."""
    stream = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(stream.compress(bytes(1 << 20)) for _ in range(size)) + stream.flush(zlib.Z_SYNC_FLUSH)[:-4]
    tracemalloc.start()
    try:
        if size > 64:
            with pytest.raises(TooLong):
                Inflater(Parameters()).inflate(bomb, 64 << 20)
        else:
            assert len(Inflater(Parameters()).inflate(bomb, 64 << 20)) == size << 20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (8 << 20 if size > 64 else (2 * size + 4) << 20)


# -- what is agreed on

ALONE = f"{DEFLATE}; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offers", "answer", "with_takeover"),
    [
        ([DEFLATE], ALONE, DEFLATE),
        ([f"{DEFLATE}; client_max_window_bits"], ALONE, DEFLATE),  # as browsers ask
        ([f" {DEFLATE}\t;client_max_window_bits = 10 "], f"{ALONE}; client_max_window_bits=10",
         f"{DEFLATE}; client_max_window_bits=10"),
        ([f"{DEFLATE}; server_max_window_bits=9"], f"{ALONE}; server_max_window_bits=9",
         f"{DEFLATE}; server_max_window_bits=9"),
        ([f"{DEFLATE}; server_max_window_bits=15; client_max_window_bits=15"], f"{ALONE}; server_max_window_bits=15",
         f"{DEFLATE}; server_max_window_bits=15"),
        ([f"{DEFLATE}; server_no_context_takeover"], ALONE, f"{DEFLATE}; server_no_context_takeover"),
        ([f"{DEFLATE}; client_no_context_takeover"], ALONE, f"{DEFLATE}; client_no_context_takeover"),
        ([f"x-webkit-deflate-frame, {DEFLATE}; surprise, {DEFLATE}"], ALONE, DEFLATE),
        ([f"{DEFLATE}; server_max_window_bits=8", "foo", DEFLATE], ALONE, DEFLATE),
    ],
)  # fmt: skip
def test_offers_that_are_taken(offers: list[str], answer: str, with_takeover: str) -> None:
    assert str(negotiate(offers, Compression())) == answer
    assert str(negotiate(offers, Compression(context_takeover=True))) == with_takeover


@pytest.mark.parametrize(
    "offer",
    ["", DEFLATE.upper(), f"{DEFLATE};", f"{DEFLATE}; surprise", f"{DEFLATE}; server_max_window_bits",
     f"{DEFLATE}; server_no_context_takeover=", f"{DEFLATE}; client_no_context_takeover=true",
     f"{DEFLATE}; client_max_window_bits; client_max_window_bits=9",
     f'foo; bar="{DEFLATE}, {DEFLATE}"', f'{DEFLATE}; client_max_window_bits="15"',
     *[f"{DEFLATE}; {side}_max_window_bits={value}" for side in ("client", "server")
       for value in ("", "8", "16", "09", "+9", "-1", "9 9", "\u0661\u0662", "abc", "9" * 400)]],
)  # fmt: skip
@pytest.mark.parametrize("takeover", [False, True])
def test_a5_offers_that_are_declined(offer: str, takeover: bool) -> None:
    assert negotiate([offer], Compression(context_takeover=takeover)) is None


@given(st.lists(st.text(f'{DEFLATE}_clirws;=," \t019'), max_size=4))
def test_a5_no_offer_fails(offers: list[str]) -> None:
    negotiate(offers, Compression())


# -- on a socket


def opened(agreed: Parameters, **limits: int) -> tuple[CompressedWire, MemoryChannel, Listener]:
    channel, listener = MemoryChannel(), Listener()
    host = Host(Nobody(), Deadlines(), compression=Compression(threshold=100), **limits)  # type: ignore[arg-type]
    wire = CompressedWire(channel, host, agreed)
    wire.accept(listener, b"", b"")
    return wire, channel, listener


def read_frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10]), 10
        found.append((data[0], data[start : start + size]))
        data = data[start + size :]
    return found


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Parameters, list[str | bytes], bytes]:
    """Messages, compressed or not, in fragments, with pings between them; and the bytes that say so."""
    agreed = draw(parameters)
    peer = Peer(agreed)
    said: list[str | bytes] = []
    stream = b""
    for message in draw(st.lists(st.one_of(messages, st.text(max_size=200)), max_size=5)):
        kind, data = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
        rsv = draw(st.sampled_from([4, 4, 0]))
        packed = peer.deflate(data, draw(st.lists(st.integers(0, 500), max_size=2))) if rsv else data
        pieces = cut(packed, draw(st.lists(st.integers(0, 5000), max_size=3))) or [b""]
        for number, piece in enumerate(pieces):
            first = number == 0
            stream += frame(kind if first else CONT, piece, rsv=rsv if first else 0, fin=number == len(pieces) - 1)
            if draw(st.booleans()):
                stream += frame(PING, b"p")
        said.append(message)
    return agreed, said, stream


@settings(max_examples=200, deadline=None)
@given(conversations(), st.lists(st.integers(0, 20_000), max_size=8))
async def test_messages_arrive_however_the_bytes_are_cut(
    conversation: tuple[Parameters, list[str | bytes], bytes], places: list[int]
) -> None:
    agreed, said, stream = conversation
    wire, channel, listener = opened(agreed, max_control_frames=1000)
    for piece in cut(stream, places):
        wire.data(piece, 1.0)
        channel.work()  # turns that were over
    assert listener.events == [(message,) for message in said]
    assert not channel.ended


@settings(max_examples=100, deadline=None)
@given(parameters, st.lists(st.one_of(messages, st.text(max_size=200)), max_size=5))
async def test_what_is_sent_can_be_read(agreed: Parameters, said: list[str | bytes]) -> None:
    wire, channel, _ = opened(agreed)
    peer = Peer(agreed)
    for message in said:
        assert wire.write(Payload.of(message))
    read: list[str | bytes] = []
    for first, data in read_frames(bytes(channel.sent)):
        if first & 0x40:
            data = peer.inflate(data)
            assert len(data) >= 100
        read.append(data.decode() if first & 0x0F == TEXT else data)
    assert read == said


async def test_short_and_very_long_messages_and_those_that_do_not_shrink_leave_as_they_are() -> None:
    noise = zlib.compress(b"".join(b"%d" % number for number in range(1000)))
    for data, first in ((b"x" * 99, 0x82), (b"x" * 100, 0xC2), (b"x" * (1 << 20), 0xC2), (bytes((1 << 20) + 1), 0x82),
                        (noise, 0x82)):  # fmt: skip
        wire, channel, _ = opened(Parameters(server_no_context_takeover=True))
        wire.write(Payload.of(data))
        assert channel.sent[0] == first
    wire, channel, _ = opened(Parameters())
    wire.write(Payload.of(noise))
    assert channel.sent[0] == 0xC2  # what comes later may refer to it


async def test_a_broadcast_is_compressed_once() -> None:
    payload = Payload.of("to everybody " * 100)
    frames: list[bytes] = []

    def note(data: bytes) -> bool:
        frames.append(data)
        return True

    def to(bits: int) -> bytes:
        wire, channel, _ = opened(Parameters(server_no_context_takeover=True, server_max_window_bits=bits))
        channel.write = note  # type: ignore[method-assign]
        wire.write(payload)
        return frames[-1]

    assert to(15) is to(15)
    assert to(9) is not frames[0]
    assert to(15) is frames[-2]  # whoever can look back further reads it, too
    plain, channel, _ = opened(Parameters())
    assert channel.sent == b""
    assert payload.frame()[0] == 0x81
    assert plain.extensions == [("Sec-WebSocket-Extensions", DEFLATE)]


@pytest.mark.parametrize("kind", ["lane", "compressed"])
async def test_b11_long_messages_are_inflated_in_turns(kind: str) -> None:
    """A megabyte is a kilobyte on the wire: after each quarter of one, others have their turn, and nothing is read."""
    agreed = Parameters(client_no_context_takeover=True)
    wire, channel, listener = opened(agreed)
    one = frame(BINARY, Peer(agreed).deflate(bytes(1 << 20)), rsv=4)
    after = frame(TEXT, b"1") if kind == "lane" else one
    wire.data(one * 8 + after * 5, 1.0)
    seen = [0]
    while channel.errands:
        assert len(seen) % 2 == 0 or channel.paused
        channel.errands.pop(0)()
        seen.append(len(listener.events))
    assert listener.events == [(bytes(1 << 20),)] * 8 + ([("1",)] if kind == "lane" else [(bytes(1 << 20),)]) * 5
    turns = [later - before for before, later in pairwise(seen)]
    assert max(turns[:40]) == 1
    assert len(turns) >= 8 * 3 * 2  # to be called, and to go on
    assert not channel.paused


@pytest.mark.parametrize("end", ["pause", "close", "limit", "noise", "lost"])
async def test_b11_what_happens_while_a_message_is_inflated(end: str) -> None:
    agreed = Parameters(client_no_context_takeover=True)
    wire, channel, listener = opened(agreed, max_length=3 << 20)
    size = 4 << 20 if end == "limit" else 2 << 20
    whole = random.Random(3).randbytes(1 << 19) + bytes(size - (1 << 19))
    data = Peer(agreed).deflate(whole)
    if end == "noise":
        data = data[:-200]
    wire.data(frame(BINARY, data, rsv=4) + frame(TEXT, b"next"), 1.0)
    for _ in range(3):
        channel.errands.pop(0)()
    assert listener.events == []
    if end == "pause":
        wire.pause()
        channel.work()
        assert listener.events == []
        wire.resume()
        channel.work()
        assert listener.events == [(whole,), ("next",)]
    elif end == "close":
        wire.close(4000)
        channel.work()
        assert listener.events == []
        wire.data(close_frame(4000), 1.0)
        assert listener.events == [("closed", 4000)]
    elif end == "lost":
        channel.abort()
        wire.lost()
        channel.work()
        assert listener.events == [("closed", 1006)]
    else:
        channel.work()
        assert listener.events == [("closed", 1009 if end == "limit" else 1007)]


async def test_what_comes_while_closing_is_not_inflated() -> None:
    wire, channel, listener = opened(Parameters())
    wire.close(4000)
    wire.data(frame(TEXT, b"\xff", rsv=4) + frame(TEXT, Peer(Parameters()).deflate(b"1"), rsv=4), 1.0)
    assert listener.events == []
    assert not channel.ended
    wire.data(close_frame(4000), 1.0)
    assert listener.events == [("closed", 4000)]
    assert channel.ended
