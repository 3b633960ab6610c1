"""B2 to B10: WebSocket frames that are wrong, too large or too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from ahtransport import Connection, ConnectionClosed, Server
from hostile.support import Target, resident, under_attack
from hostile.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_frame, frame

if TYPE_CHECKING:
    from collections.abc import Iterable

MIB = 1024 * 1024


async def closing_code(target: Target, attack: bytes | Iterable[bytes], *, first: bool = False) -> int:
    """Attack on a new WebSocket, as its first bytes or after an echo; gives the code that the server closes with."""
    ws = await target.websocket()
    if not first:
        await ws.send(frame(TEXT, b"0"))
        assert await ws.text() == "0"
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
    "continuation after the end": frame(TEXT, b"1", fin=False) + frame(CONT, b"2") + frame(CONT, b"3"),
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


@pytest.mark.parametrize("attack", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("first", [True, False], ids=["at once", "later"])
async def test_b2_frames_that_break_the_protocol(attack: bytes, first: bool) -> None:
    async with under_attack() as target:
        assert await closing_code(target, attack, first=first) == 1002
        assert target.closed == [1002]
        assert (
            await closing_code(target, (attack[at : at + 1] for at in range(min(len(attack), 64))), first=first)
            == (1002)
            if len(attack) <= 64
            else True
        )


@pytest.mark.parametrize("attack", WRONG.values(), ids=WRONG)
async def test_b2_wrong_frames_in_the_handshakes_own_segment(attack: bytes) -> None:
    async with under_attack() as target:
        assert await (await target.websocket(early=attack)).closing() == 1002


async def test_b3_sending_when_the_peer_is_gone() -> None:
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

    async with under_attack(handler=handler) as target:
        for leave in ("reset", "hang up", "close", "close and send"):
            ws = await target.websocket()
            await ws.send(frame(TEXT, b'"flood"'))
            await ws.text()
            if leave == "reset":
                ws.reset()
            elif leave == "hang up":
                ws.hang_up()
            else:
                await ws.send(close_frame(1000))
                if leave == "close and send":
                    await ws.send(frame(TEXT, b"5") * 10)
                assert await ws.closing() == 1000
        await target.wait_for(lambda: len(ended) == 4)
        assert sorted(ended) == [1000, 1000, 1006, 1006]


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
        (close_frame(4000) + frame(TEXT, b"1") * 10, 4000),
        (close_frame(4000) + b"\xff" * 100, 4000),
    ],
)
async def test_b4_close_frames(attack: bytes, code: int) -> None:
    async with under_attack() as target:
        assert await closing_code(target, attack, first=True) == code
        assert target.closed == [code]
        assert target.messages == []


async def test_b4_data_after_our_close_is_ignored() -> None:
    def prepare(server: Server) -> None:
        @server.on("leave")
        def leave(connection: Connection) -> None:
            connection.close(4001, "enough")

    async with under_attack(prepare) as target:
        ws = await target.websocket()
        await ws.send(frame(TEXT, b'{"type":0,"data":["leave"]}') + frame(TEXT, b"1") * 10 + frame(PING) + frame(PONG))
        assert await ws.closing() == 4001
        assert target.messages == []
        # One that never answers the close is cut off.
        ws = await target.websocket()
        await ws.send(frame(TEXT, b'{"type":0,"data":["leave"]}'))
        with trio.fail_after(2):
            while await ws.more():
                pass


@pytest.mark.parametrize("claim", [2**31, 2**40, 2**62])
async def test_b5_claims_of_enormous_frames(claim: int) -> None:
    """Refused on the header, before any payload is waited for."""
    async with under_attack() as target:
        before = resident()
        for opcode in (TEXT, BINARY):
            for _ in range(20):
                assert await closing_code(target, frame(opcode, length=claim), first=True) == 1009
        assert await closing_code(target, frame(TEXT, b"1", fin=False) + frame(CONT, length=claim)) == 1009
        assert resident() - before < 32 * MIB


async def test_b6_fragments_that_add_up() -> None:
    async with under_attack(max_length=MIB) as target:
        before = resident()
        fragment = b"1" * 65536
        for opcode in (TEXT, BINARY):
            start, more = frame(opcode, b'"' + fragment[1:], fin=False), frame(CONT, fragment, fin=False)
            assert await closing_code(target, [start, *[more] * 1000]) == 1009
            # Exactly the limit goes through, in bytes as in fragments.
            ws = await target.websocket()
            for piece in [start, *[more] * 14, frame(CONT, fragment[1:] + b'"')]:
                await ws.send(piece)
            if opcode == TEXT:  # in binary it is no JSON
                assert len(await ws.text()) == MIB
        assert resident() - before < 32 * MIB


@pytest.mark.parametrize("limit", [100, 125, 126, 65535, 65536, 100_000])
async def test_b7_exactly_the_limit_and_one_more(limit: int) -> None:
    """Bytes count, not characters."""
    async with under_attack(max_length=limit) as target:
        for text in ("a", "é", "\U0001f600"):
            body = text * ((limit - 2) // len(text.encode()))
            message = f'"{body}"'.encode()
            message += b" " * (limit - len(message))
            assert len(message) == limit
            ws = await target.websocket()
            await ws.send(frame(TEXT, message))
            assert await ws.text() == f'"{body}"'
            await ws.send(frame(TEXT, message + b" "))
            assert await ws.closing() == 1009
            half = len(message) // 2
            parts = frame(TEXT, message[:half], fin=False) + frame(CONT, message[half:] + b" ")
            assert await closing_code(target, parts) == 1009


@pytest.mark.parametrize("payload", [b"1", b""], ids=["one byte each", "empty"])
async def test_b8_b9_fragments_one_more_than_the_limit(payload: bytes) -> None:
    async with under_attack(max_fragments=1024, max_length=4096) as target:
        ws = await target.websocket()
        start, middle = frame(TEXT, b'"', fin=False), frame(CONT, payload, fin=False)
        await ws.send(start + middle * 1022 + frame(PING) + frame(CONT, b'"'))
        assert await ws.frame() == (PONG, b"")
        assert await ws.text() == f'"{payload.decode() * 1022}"'
        assert await closing_code(target, start + middle * 1023 + frame(CONT, b'"'), first=True) == 1008
        assert await closing_code(target, [start, *[middle * 1000] * 10], first=True) == 1008
        assert len(target.messages) == 1


async def test_b9_a_message_byte_by_byte_takes_no_more_memory_than_it_is_long() -> None:
    async with under_attack(max_length=MIB) as target:
        ws = await target.websocket()
        whole = frame(TEXT, b'"' + "é".encode() * 10_000 + b'"')
        before = resident()
        await ws.drip(whole, 3)
        assert await ws.text() == '"' + "é" * 10_000 + '"'
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


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID)
async def test_b10_text_that_is_not_utf8(text: bytes) -> None:
    async with under_attack() as target:
        message = b'"abc' + text + b'"'
        assert await closing_code(target, frame(TEXT, message)) == 1007
        for cut in range(1, len(message)):
            parts = frame(TEXT, message[:cut], fin=False) + frame(CONT, message[cut:])
            assert await closing_code(target, parts) == 1007
        assert await closing_code(target, frame(TEXT, b'"' + text)) == 1007
        assert target.closed == [1007] * len(target.closed)


async def test_b10_valid_text_may_be_split_anywhere() -> None:
    async with under_attack() as target:
        text = '"κόσμε \U0001f600 \ud7ff\ue000\ufffd\U0010ffff"'
        message = text.encode()
        ws = await target.websocket()
        for cut in range(len(message) + 1):
            await ws.send(frame(TEXT, message[:cut], fin=False) + frame(PING, b"p") + frame(CONT, message[cut:]))
            assert await ws.frame() == (PONG, b"p")
            assert await ws.text() == text
            whole = frame(TEXT, message)
            await ws.send(whole[: cut + 6])
            await trio.testing.wait_all_tasks_blocked(0.0002)
            await ws.send(whole[cut + 6 :])
            assert await ws.text() == text
