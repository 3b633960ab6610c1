"""B2 to B10: WebSocket frames that are wrong, too large or too many, whatever they carry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from ahtransport import Connection, ConnectionClosed, Server
from hostile.carriers import Carrier, all_under_attack, over_each
from hostile.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_frame, frame
from invariants import resident

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hostile.support import Target

MIB = 1024 * 1024


async def closing_code(
    target: Target, carrier: Carrier, attack: bytes | Iterable[bytes], *, first: bool = False
) -> int:
    """Attack on a new WebSocket, as its first bytes or after an echo; gives the code that the server closes with."""
    if first:
        ws = await target.websocket(target=carrier.target)
    else:
        ws = await carrier.open(target)
        await ws.send(carrier.frame(b"0"))
        assert await carrier.heard(ws) == "0"
    for piece in [attack] if isinstance(attack, bytes) else attack:
        if not await ws.send(piece):
            break
    with trio.fail_after(5):
        return await ws.closing()


WRONG = {
    "unmasked": frame(TEXT, b"1", mask=None),
    "unmasked and empty": frame(TEXT, mask=None),
    "unmasked and long": frame(TEXT, b"", mask=None, length=2**40),
    **{f"reserved bit {rsv}": frame(TEXT, b"1", rsv=rsv) for rsv in (1, 2, 4, 7)},
    "reserved bit of a ping": frame(PING, b"", rsv=4),
    **{f"opcode {opcode}": frame(opcode, b"1") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "opcode 3 and long": frame(3, length=2**40),
    "fragmented ping": frame(PING, b"1", fin=False),
    "fragmented pong": frame(PONG, b"1", fin=False),
    "fragmented close": frame(CLOSE, b"", fin=False),
    "ping of 126 bytes": frame(PING, b"p" * 126),
    "pong of 126 bytes": frame(PONG, b"p" * 126),
    "continuation of nothing": frame(CONT, b"1"),
    "unfinished continuation of nothing": frame(CONT, b"1", fin=False),
    "continuation after the end": frame(TEXT, b"6", fin=False) + frame(CONT) + frame(CONT, b"3"),  # "6" is a noop
    "text inside a text": frame(TEXT, b"1", fin=False) + frame(TEXT, b"2"),
    "binary inside a text": frame(TEXT, b"1", fin=False) + frame(BINARY, b"2"),
    "5 bytes in 16 bits": frame(TEXT, b"12345", form=16),
    "125 bytes in 16 bits": frame(TEXT, b"1" * 125, form=16),
    "5 bytes in 64 bits": frame(TEXT, b"12345", form=64),
    "65535 bytes in 64 bits": frame(TEXT, b"1" * 65535, form=64),
    "highest bit of a length": frame(TEXT, b"", length=2**63 + 5, form=64),
    "all bits of a length": frame(TEXT, b"", length=2**64 - 1, form=64),
    "HTTP": b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
}


@over_each
@pytest.mark.parametrize("attack", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("first", [True, False], ids=["at once", "later"])
async def test_b2_frames_that_break_the_protocol(attack: bytes, first: bool, carrier: Carrier) -> None:
    async with all_under_attack() as target:
        assert await closing_code(target, carrier, attack, first=first) == 1002
        assert target.closed == ([] if first and carrier.asks else [1002])
        if len(attack) <= 64:
            bytewise = (attack[at : at + 1] for at in range(len(attack)))
            assert await closing_code(target, carrier, bytewise, first=first) == 1002


@over_each
@pytest.mark.parametrize("attack", WRONG.values(), ids=WRONG)
async def test_b2_wrong_frames_in_the_handshakes_own_segment(attack: bytes, carrier: Carrier) -> None:
    async with all_under_attack() as target:
        assert await (await target.websocket(target=carrier.target, early=attack)).closing() == 1002


@over_each
async def test_b2_a_wrong_frame_behind_messages_that_wait(carrier: Carrier) -> None:
    """A busy application has its WebSocket not read: what came first comes first, but for an inbox full at the end."""
    busy = trio.Event()

    async def handler(connection: Connection) -> None:
        async for message in connection:
            if message == "wait":
                await busy.wait()
            await connection.send(message)

    async with all_under_attack(handler=handler, inbox=16) as target:
        ws = await carrier.open(target)
        count = 200
        numbers = b"".join(carrier.frame(b"%d" % number) for number in range(count))
        await ws.send(carrier.frame(b'"wait"') + numbers + frame(3, b"1"))
        await target.bystander()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert target.closed == []
        busy.set()
        assert await carrier.heard(ws) == '"wait"'
        for number in range(count - 17):
            assert await carrier.heard(ws) == f"{number}"
        assert await ws.closing() == 1002
        await target.wait_for(lambda: target.closed == [1002])


@over_each
async def test_b3_sending_when_the_peer_is_gone(carrier: Carrier) -> None:
    """The handler learns of it by ConnectionClosed, and nobody else does."""
    ended: list[int] = []

    async def flood(connection: Connection) -> None:
        while True:
            await connection.send("x" * 1000)

    async def handler(connection: Connection) -> None:
        async for message in connection:
            if message != "flood":
                await connection.send(message)
                continue
            with pytest.raises(ConnectionClosed) as caught:
                await flood(connection)
            ended.append(caught.value.code)
            with pytest.raises(ConnectionClosed):
                await connection.send("again")
            with pytest.raises(ConnectionClosed):
                connection.send_nowait("again")

    async with all_under_attack(handler=handler) as target:
        for leave in ("reset", "hang up", "close", "close and send"):
            ws = await carrier.open(target)
            await ws.send(carrier.frame(b'"flood"'))
            await carrier.heard(ws)
            if leave == "reset":
                ws.reset()
            elif leave == "hang up":
                ws.hang_up()
            else:
                await ws.send(close_frame(1000))
                if leave == "close and send":
                    await ws.send(carrier.frame(b"5") * 10)
                assert await ws.closing() == 1000
        await target.wait_for(lambda: len(ended) == 4)
        assert sorted(ended) == [1000, 1000, 1006, 1006]


@over_each
@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (frame(CLOSE), 1005),
        (frame(CLOSE, b"\x03"), 1002),
        *[(close_frame(code), code) for code in (1000, 1001, 1003, 1007, 1011, 1012, 1013, 3000, 3999, 4000, 4999)],
        *[
            (close_frame(code), 1002)
            for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
        ],
        (close_frame(1000, b"\xff\xfe"), 1007),
        (close_frame(1000, b"\xe2\x82"), 1007),
        (close_frame(1000, b"r" * 123), 1000),
        (close_frame(1000, b"r" * 124), 1002),
        (close_frame(1000) + close_frame(1001), 1000),
        (close_frame(4000) + b"\xff" * 100, 4000),
    ],
)
async def test_b4_close_frames(attack: bytes, code: int, carrier: Carrier) -> None:
    async with all_under_attack() as target:
        ws = await carrier.open(target)
        await ws.send(attack + carrier.frame(b"1") * 10)  # what comes behind it is ignored
        assert await ws.closing() == code
        assert target.closed == [code]
        assert target.messages == []


@over_each
async def test_b4_data_after_our_close_is_ignored(carrier: Carrier) -> None:
    def prepare(server: Server) -> None:
        @server.on("leave")
        def leave(connection: Connection) -> None:
            connection.close(4001, "enough")

    async with all_under_attack(prepare) as target:
        ws = await carrier.open(target)
        await ws.send(carrier.event("leave") + carrier.frame(b"1") * 10 + frame(PING) + frame(PONG))
        # Socket.IO's goodbye is one packet more, and whoever does not heed that breaks its rules.
        assert await ws.closing() == (1002 if carrier.asks else 4001)
        assert target.closed == [4001]
        assert target.messages == []
        # One that never answers the close is cut off.
        ws = await carrier.open(target)
        await ws.send(carrier.event("leave"))
        with trio.fail_after(2):
            while await ws.more():
                pass


@over_each
@pytest.mark.parametrize("claim", [2**31, 2**40, 2**62])
async def test_b5_claims_of_enormous_frames(claim: int, carrier: Carrier) -> None:
    """Refused on the header, before any payload is waited for."""
    async with all_under_attack() as target:
        before = resident()
        for opcode in (TEXT, BINARY):
            for _ in range(20):
                assert await closing_code(target, carrier, frame(opcode, length=claim), first=True) == 1009
        parts = frame(TEXT, b"1", fin=False) + frame(CONT, length=claim)
        assert await closing_code(target, carrier, parts) == 1009
        assert target.closed[-1] == 1009
        assert resident() - before < 32 * MIB


@over_each
async def test_b6_fragments_that_add_up(carrier: Carrier) -> None:
    async with all_under_attack(max_length=MIB) as target:
        before = resident()
        fragment = b"1" * 65536
        start = (carrier.before + b'"').ljust(65536, b"1")
        end = (b'"' + carrier.behind).rjust(65536, b"1")
        middle = frame(CONT, fragment, fin=False)
        for opcode in (TEXT, BINARY):
            attack = [frame(opcode, start, fin=False), *[middle] * 1000]
            assert await closing_code(target, carrier, attack) == 1009
            assert target.closed[-1] == 1009
            # Exactly the limit goes through, in bytes as in fragments.
            ws = await carrier.open(target)
            for piece in [frame(opcode, start, fin=False), *[middle] * 14, frame(CONT, end)]:
                await ws.send(piece)
            if opcode == TEXT:  # in binary it is no JSON
                assert len(await carrier.heard(ws)) == MIB - len(carrier.wrapped(b""))
        assert resident() - before < 32 * MIB


@over_each
@pytest.mark.parametrize("limit", [100, 125, 126, 65535, 65536, 100_000])
async def test_b7_exactly_the_limit_and_one_more(limit: int, carrier: Carrier) -> None:
    """Bytes count, not characters; what a message is wrapped in counts, too."""
    async with all_under_attack(max_length=limit) as target:
        room = limit - len(carrier.wrapped(b""))
        for text in ("a", "é", "\U0001f600"):
            body = text * ((room - 2) // len(text.encode()))
            message = f'"{body}"'.encode().ljust(room)
            assert len(carrier.wrapped(message)) == limit
            ws = await carrier.open(target)
            await ws.send(carrier.frame(message))
            assert await carrier.heard(ws) == f'"{body}"'
            await ws.send(carrier.frame(message + b" "))
            assert await ws.closing() == 1009
            whole = carrier.wrapped(message + b" ")
            parts = frame(TEXT, whole[: limit // 2], fin=False) + frame(CONT, whole[limit // 2 :])
            assert await closing_code(target, carrier, parts) == 1009
        assert target.closed == [1009] * 6


@over_each
@pytest.mark.parametrize("payload", [b"1", b""], ids=["one byte each", "empty"])
async def test_b8_b9_fragments_one_more_than_the_limit(payload: bytes, carrier: Carrier) -> None:
    async with all_under_attack(max_fragments=1024, max_length=4096) as target:
        ws = await carrier.open(target)
        start, middle = frame(TEXT, carrier.before + b'"', fin=False), frame(CONT, payload, fin=False)
        end = frame(CONT, b'"' + carrier.behind)
        await ws.send(start + middle * 1022 + frame(PING) + end)
        assert await ws.frame() == (PONG, b"")
        assert await carrier.heard(ws) == f'"{payload.decode() * 1022}"'
        for attack in (start + middle * 1023 + end, [start, *[middle * 1000] * 10]):
            ws = await carrier.open(target)
            begun = time.thread_time()
            for piece in [attack] if isinstance(attack, bytes) else attack:
                await ws.send(piece)
            assert await ws.closing() == 1008
            # Ours and the server's, which is in the same thread; a few milliseconds if nobody else wants the processor.
            assert time.thread_time() - begun < 0.5
        assert target.closed == [1008] * 2
        assert len(target.messages) == 1


@over_each
async def test_b9_a_message_byte_by_byte_takes_no_more_memory_than_it_is_long(carrier: Carrier) -> None:
    async with all_under_attack(max_length=MIB) as target:
        ws = await carrier.open(target)
        before = resident()
        await ws.drip(carrier.frame(b'"' + "é".encode() * 10_000 + b'"'), 3)
        assert await carrier.heard(ws) == '"' + "é" * 10_000 + '"'
        assert resident() - before < 8 * MIB


INVALID = {
    "no start byte": b"\x80",
    "never valid": b"\xff",
    "overlong slash": b"\xc0\xaf",
    "overlong NUL": b"\xe0\x80\x80",
    "surrogate": b"\xed\xa0\x80",
    "paired surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "cut short": b"\xe2\x82",
    "five bytes": b"\xf8\x88\x80\x80\x80",
}


@over_each
@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID)
async def test_b10_text_that_is_not_utf8(text: bytes, carrier: Carrier) -> None:
    async with all_under_attack() as target:
        message = carrier.wrapped(b'"abc' + text + b'"')
        assert await closing_code(target, carrier, frame(TEXT, message)) == 1007
        for cut in range(1, len(message)):
            parts = frame(TEXT, message[:cut], fin=False) + frame(CONT, message[cut:])
            assert await closing_code(target, carrier, parts) == 1007
        assert await closing_code(target, carrier, frame(TEXT, carrier.before + b'"' + text)) == 1007
        assert target.closed == [1007] * (len(message) + 1)


@over_each
async def test_b10_valid_text_may_be_split_anywhere(carrier: Carrier) -> None:
    async with all_under_attack() as target:
        text = '"κόσμε \U0001f600 \ud7ff\ue000\ufffd\U0010ffff"'
        message = carrier.wrapped(text.encode())
        ws = await carrier.open(target)
        for cut in range(len(message) + 1):
            await ws.send(frame(TEXT, message[:cut], fin=False) + frame(PING, b"p") + frame(CONT, message[cut:]))
            assert await ws.frame() == (PONG, b"p")
            assert await carrier.heard(ws) == text
            whole = frame(TEXT, message)
            await ws.send(whole[: cut + 6])
            await trio.testing.wait_all_tasks_blocked(0.0002)
            await ws.send(whole[cut + 6 :])
            assert await carrier.heard(ws) == text
