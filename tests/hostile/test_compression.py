"""B11, B12: compressed WebSocket messages, right and wrong, on real sockets; and A5 where compression is on."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import pytest
import trio

from hostile.carriers import ENGINE_IO, SOCKET_IO, WEBSOCKETS, Carrier, all_under_attack, over_each
from hostile.support import Target, under_attack
from hostile.wire import BINARY, CONT, PING, TEXT, Raw, frame, upgrade
from invariants import resident

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"
#: Every way to have it: what the server is told, and what the client asks for.
AGREEMENTS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({}, "; client_max_window_bits"),
    ({"compression_context_takeover": True}, "; client_max_window_bits"),
    ({"compression_context_takeover": True}, "; client_no_context_takeover; server_max_window_bits=9"),
]
agreements = pytest.mark.parametrize(("options", "parameters"), AGREEMENTS)


class Stream:
    """Messages deflated one after the other."""

    def __init__(self, *, alone: bool = False) -> None:
        self._alone = alone
        self._zlib = zlib.compressobj(wbits=-15)

    def __call__(self, data: bytes) -> bytes:
        if self._alone:
            self._zlib = zlib.compressobj(wbits=-15)
        return (self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def deflating(target: Target, parameters: str = "", carrier: Carrier = WEBSOCKETS) -> tuple[Raw, Stream]:
    """Open a WebSocket with permessage-deflate, and make what deflates as was agreed on."""
    raw = await target.raw()
    await raw.send(upgrade(OFFER + parameters, target=carrier.target))
    answer = await raw.answer()
    agreed = answer.header("Sec-WebSocket-Extensions") or ""
    assert answer.status == 101
    assert agreed.startswith("permessage-deflate")
    await carrier.begin(raw)
    return raw, Stream(alone="client_no_context_takeover" in agreed)


def compressed(data: bytes) -> bytes:
    return frame(TEXT, data, rsv=4)


def bomb(mebibytes: int) -> bytes:
    stream = zlib.compressobj(9, wbits=-15)
    return b"".join(stream.compress(bytes(MIB)) for _ in range(mebibytes)) + stream.flush(zlib.Z_SYNC_FLUSH)[:-4]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize(
    ("carrier", "fragments", "read"),
    [
        *[(WEBSOCKETS, fragments, read) for fragments in (1, 64) for read in (4096, 65536)],
        pytest.param(ENGINE_IO, 64, 65536, marks=pytest.mark.transformer("engine.io")),
        pytest.param(SOCKET_IO, 1, 4096, marks=pytest.mark.transformer("socket.io")),
    ],
    ids=lambda value: value.name if isinstance(value, Carrier) else str(value),
)
async def test_b11_a_bomb(carrier: Carrier, fragments: int, read: int) -> None:
    """255 KiB that become 256 MiB: 1009, and a few megabytes of memory meanwhile."""
    data = bomb(256)
    assert len(data) < 262_144
    parts = list(pieces(data, len(data) // fragments + 1))
    whole = b"".join(
        frame(CONT if number else TEXT, part, rsv=0 if number else 4, fin=number == len(parts) - 1)
        for number, part in enumerate(parts)
    )
    async with all_under_attack(compression=True) as target:
        for attack in range(3):
            ws, _ = await deflating(target, carrier=carrier)
            before, most = resident(), 0
            for piece in pieces(whole, read):
                await ws.send(piece)
                await trio.testing.wait_all_tasks_blocked()
                most = max(most, resident() - before)
            assert await ws.closing() == 1009
            if attack:  # the first may make the allocator reach out
                assert most <= 8 * MIB
        assert target.messages == []
        assert target.closed == [1009] * 3


@over_each
@agreements
async def test_b11_exactly_the_limit_and_one_more(options: dict[str, Any], parameters: str, carrier: Carrier) -> None:
    async with all_under_attack(compression=True, max_length=100_000, **options) as target:
        ws, deflate = await deflating(target, parameters, carrier)
        body = b'"' + b"x" * (99_998 - len(carrier.wrapped(b""))) + b'"'
        await ws.send(compressed(deflate(carrier.wrapped(body))))
        await ws.send(carrier.frame(b"1"))
        opcode, answer = await received(ws)
        assert (opcode, len(answer)) == (TEXT, 100_000)
        assert await carrier.heard(ws) == "1"
        await ws.send(compressed(deflate(carrier.wrapped(body + b" "))))
        assert await ws.closing() == 1009
        ws, _ = await deflating(target, parameters, carrier)
        await ws.send(frame(TEXT, length=100_001, rsv=4))  # on its header, compressed or not
        assert await ws.closing() == 1009
        assert target.closed == [1009] * 2


async def received(ws: Raw) -> tuple[int, bytes]:
    """Read a message that the server deflated without referring to any other."""
    first, size = await ws._take(2)
    assert first & 0xF0 == 0xC0
    if size == 126:
        size = int.from_bytes(await ws._take(2))
    return first & 15, zlib.decompress(await ws._take(size) + b"\x00\x00\xff\xff\x03\x00", -15)


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (frame(TEXT, b"", fin=False, rsv=4) + frame(CONT, b"\0", rsv=4), 1002),
        (frame(TEXT, b"1", fin=False) + frame(CONT, b"\0", rsv=4), 1002),
        (frame(TEXT, b"1", fin=False) + frame(TEXT, b"\0", rsv=4), 1002),
        (frame(CONT, b"\0", rsv=4), 1002),
        (frame(PING, b"\0", rsv=4), 1002),
        (frame(TEXT, b"\0", rsv=6), 1002),
        (frame(TEXT, b"\0", rsv=2), 1002),
        (frame(3, b"\0", rsv=4), 1002),
        (frame(TEXT, b"\0", rsv=4, mask=None), 1002),
        (frame(TEXT, b"1", rsv=4, form=16), 1002),
        (frame(TEXT, b"", rsv=4), 1007),
        (frame(TEXT, b"\xff\xff", rsv=4), 1007),  # a block of no type
        (compressed(Stream()(b'"a word and another"' * 20)[:-9]), 1007),  # cut off
        (compressed(b"\x00\x05\x00\xfa\xffHel"), 1007),
        (compressed(bytes.fromhex("f348cdc9c90700")), 1007),  # ends for ever, and that is not said
        (compressed(bytes.fromhex("83 e1 0f 00".replace(" ", ""))), 1007),  # refers to what never was
        (compressed(b"\x03\x00" * 100), 1007),  # a hundred streams in one message
        (compressed(Stream()(b'"\xff"')), 1007),  # no UTF-8
        (compressed(Stream()(b"\xed\xa0\x80")), 1007),
    ],
)
@pytest.mark.parametrize("piecemeal", [False, True])
@pytest.mark.parametrize("takeover", [False, True])
async def test_b12_what_is_wrong(attack: bytes, code: int, piecemeal: bool, takeover: bool) -> None:
    async with under_attack(compression=True, compression_context_takeover=takeover) as target:
        for before in ([], [b"7"]):
            ws, deflate = await deflating(target)
            for message in before:
                await ws.send(compressed(deflate(message)))
                assert await ws.text() == message.decode()
            if piecemeal:
                await ws.drip(attack, 1)
            else:
                await ws.send(attack)
            await ws.send(compressed(deflate(b"8")))  # the context goes on after an error, the connection does not
            assert await ws.closing() == code
        assert target.messages == [7]


async def test_b12_references_to_a_message_before_where_there_are_none() -> None:
    message = b'"' + b"abc" * 100 + b'"'
    for takeover, answer in ((True, [message] * 2), (False, [message])):
        async with under_attack(compression=True, compression_context_takeover=takeover) as target:
            ws, _ = await deflating(target)
            deflate = Stream()  # whatever was agreed on
            for _ in range(2):
                await ws.send(compressed(deflate(message)))
            for expected in answer:
                assert (await ws.text()).encode() == expected
            if not takeover:
                assert await ws.closing() == 1007


@agreements
async def test_b12_right_messages_of_every_shape(options: dict[str, Any], parameters: str) -> None:
    """Fragments that are empty, pings between them, plain messages between compressed ones, empty blocks."""
    async with under_attack(compression=True, **options) as target:
        ws, deflate = await deflating(target, parameters)
        one, two = deflate('"wörd"'.encode()), deflate(b'"' + b"abc" * 100 + b'"')
        await ws.send(
            frame(TEXT, b"", rsv=4, fin=False) + frame(PING, b"p") + frame(CONT, one[:3], fin=False)
            + frame(CONT, one[3:], fin=False) + frame(CONT, b"") + frame(TEXT, b"5") + compressed(two)
            + frame(TEXT, b"[", fin=False) + frame(CONT, b"6]")
            + compressed(b"\x00\x00\x00\xff\xff" * 50 + deflate(b"7"))
        )  # fmt: skip
        assert await ws.frame() == (10, b"p")
        assert [await ws.text() for _ in range(5)] == ['"wörd"', "5", f'"{"abc" * 100}"', "[6]", "7"]
        await ws.drip(compressed(deflate(b"8")), 1)
        assert await ws.text() == "8"


@over_each
@pytest.mark.parametrize("parameter", ["=8", '="15"', "=abc", "", "=99"])
async def test_a5_odd_offers_are_declined_where_compression_is_on(parameter: str, carrier: Carrier) -> None:
    async with all_under_attack(compression=True) as target:
        raw = await target.raw()
        await raw.send(upgrade(f"{OFFER}; server_max_window_bits{parameter}", target=carrier.target))
        assert (await raw.answer()).header("Sec-WebSocket-Extensions") is None
        await carrier.begin(raw)
        await raw.send(carrier.frame(b"1"))
        assert await carrier.heard(raw) == "1"
        await raw.send(compressed(Stream()(carrier.wrapped(b"2"))))
        assert await raw.closing() == 1002
        many = await target.raw()
        offers = f"{OFFER}; x, " + ", ".join(["permessage-deflate; y"] * 300)
        await many.send(upgrade(offers, target=carrier.target))
        assert (await many.answer()).header("Sec-WebSocket-Extensions") is None


async def test_b11_who_sends_little_that_becomes_much_takes_turns() -> None:
    """Fifty megabytes in fifty kilobytes: the bystander is served between them."""
    async with under_attack(compression=True) as target:
        ws, _ = await deflating(target)
        deflate = Stream(alone=True)
        one = frame(BINARY, deflate(bytes(MIB)), rsv=4)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, one * 50)
            await target.bystander()
