"""A5, A11 to A16: the WebSocket handshake."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import trio

from ahtransport import Reject, Server
from hostile.support import Target, statuses, under_attack
from hostile.wire import KEY, TEXT, Raw, frame, request, upgrade

if TYPE_CHECKING:
    from ahtransport._http import Request

DEFLATE = "permessage-deflate"


@pytest.mark.parametrize(
    "offer",
    [
        *[f"{DEFLATE}; client_max_window_bits={bits}" for bits in ("abc", "99", '"15"', "8", "", "-1", "1" * 400)],
        f"{DEFLATE}; server_max_window_bits=7; client_no_context_takeover=5",
        f"{DEFLATE}; surprise",
        f"{DEFLATE}; client_max_window_bits; client_max_window_bits",
        DEFLATE,
        "constructor, __proto__; __class__=1, x-webkit-deflate-frame",
        "",
        ";,;,=,",
        '"',
    ],
    ids=lambda offer: offer[:60] or "nothing",
)
async def test_a5_offers_of_extensions_are_declined(offer: str) -> None:
    """RFC 7692 section 5: what is not understood is declined, not refused. A compressed frame is an error then."""
    async with under_attack() as target:
        ws = await _upgraded(target, f"Sec-WebSocket-Extensions: {offer}")
        await ws.send(frame(TEXT, b"1"))
        assert await ws.text() == "1"
        await ws.send(frame(TEXT, b"\xaa\x06\x00", rsv=4))
        assert await ws.closing() == 1002


async def _upgraded(target: Target, *headers: str) -> Raw:
    raw = await target.raw()
    await raw.send(upgrade(*headers))
    answer = await raw.answer()
    assert answer.status == 101
    assert answer.header("Sec-WebSocket-Extensions") is None
    assert answer.header("Sec-WebSocket-Protocol") is None
    return raw


async def test_a5_very_many_offers() -> None:
    async with under_attack() as target:
        await _upgraded(target, "Sec-WebSocket-Extensions: " + ", ".join(["permessage"] * 500))
        await _upgraded(target, *[f"Sec-WebSocket-Extensions: {DEFLATE}"] * 90)
        assert await statuses(target, [upgrade(*[f"Sec-WebSocket-Extensions: {DEFLATE}"] * 500)]) == [431]


@pytest.mark.parametrize(
    ("attack", "status"),
    [
        (upgrade().replace(b"GET", b"POST"), 405),
        (upgrade().replace(b"GET", b"HEAD"), 405),
        (upgrade(without=["Sec-WebSocket-Key"]), 400),
        (upgrade("Sec-WebSocket-Key: AQ==", without=["Sec-WebSocket-Key"]), 400),
        (upgrade("Sec-WebSocket-Key: " + "A" * 20, without=["Sec-WebSocket-Key"]), 400),
        (upgrade("Sec-WebSocket-Key: " + "A" * 23 + "=", without=["Sec-WebSocket-Key"]), 400),
        (upgrade("Sec-WebSocket-Key: " + "*" * 22 + "==", without=["Sec-WebSocket-Key"]), 400),
        (upgrade("Sec-WebSocket-Key: \xe9" + "A" * 21 + "==", without=["Sec-WebSocket-Key"]), 400),
        (upgrade(f"Sec-WebSocket-Key: {KEY}"), 400),
        (upgrade(without=["Sec-WebSocket-Version"]), 426),
        (upgrade("Sec-WebSocket-Version: 8", without=["Sec-WebSocket-Version"]), 426),
        (upgrade("Sec-WebSocket-Version: 99", without=["Sec-WebSocket-Version"]), 426),
        (upgrade("Sec-WebSocket-Version: 13, 8", without=["Sec-WebSocket-Version"]), 426),
        (upgrade("Sec-WebSocket-Version: 8"), 426),
        (upgrade(without=["Connection"]), 426),
        (upgrade("Connection: keep-alive", without=["Connection"]), 426),
        (upgrade("Connection: keep-alive, Upgraded", without=["Connection"]), 426),
        (upgrade(without=["Upgrade"]), 426),
        (upgrade("Upgrade: h2c", without=["Upgrade"]), 426),
        (upgrade("Upgrade: websockets", without=["Upgrade"]), 426),
        (upgrade("Connection: keep-alive , UPGRADE", without=["Connection"]), 101),
        (upgrade("Upgrade: h2c, WebSocket", without=["Upgrade"]), 101),
    ],
)
async def test_a11_variations_of_the_handshake(attack: bytes, status: int) -> None:
    async with under_attack() as target:
        answer = await target.exchange(attack, bodiless=attack.startswith(b"HEAD"))
        assert answer.status == status
        if status == 426 and b"Upgrade\r\nUpgrade: websocket" in attack:
            assert answer.header("Sec-WebSocket-Version") == "13"
        assert target.opened == 1 + (status == 101)


async def _seconds(target: Target, *attacks: bytes) -> list[float]:
    """Give the least processor time that each of them takes, ours and the server's, which is in the same thread."""
    best = [1.0] * len(attacks)
    for _ in range(8):
        for place, attack in enumerate(attacks):
            start = time.thread_time()
            assert (await target.exchange(attack)).status == 101
            best[place] = min(best[place], time.thread_time() - start)
    return best


@pytest.mark.parametrize("shape", ["b{blanks}x", "{commas}", "{quotes}", "a;{semicolons}"])
@pytest.mark.parametrize(
    "name", ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Cookie", "Connection: upgrade,"]
)
async def test_a12_long_values_cost_no_more_than_they_are_long(name: str, shape: str) -> None:
    def attack(size: int) -> bytes:
        value = shape.format(blanks=" " * size, commas="," * size, quotes='"' * size, semicolons=";" * size)
        line = f"{name} {value}" if name.endswith(",") else f"{name}: {value}"
        return upgrade(line, without=["Connection"]) if name.endswith(",") else upgrade(line)

    async with under_attack() as target:
        half, whole = await _seconds(target, attack(3950), attack(7900))
        assert whole < 0.02
        assert whole < 2.5 * max(half, 0.004)  # what takes less is lost in the noise


@pytest.mark.parametrize("name", ["constructor", "__proto__", "__class__", "chat, superchat", "{}", "\xe9"])
async def test_a13_subprotocols_and_extensions_are_never_made_up(name: str) -> None:
    async with under_attack() as target:
        await _upgraded(target, f"Sec-WebSocket-Protocol: {name}", f"Sec-WebSocket-Extensions: {name}")


async def test_a14_bytes_right_behind_the_handshake() -> None:
    async with under_attack() as target:
        assert await (await target.websocket(early=b"x")).closing() == 1002
        ws = await target.websocket(early=frame(TEXT, b"1") + frame(TEXT, b"2"))
        assert [await ws.text(), await ws.text()] == ["1", "2"]
        ws = await target.websocket(early=frame(TEXT, b"333")[:5])
        await ws.send(frame(TEXT, b"333")[5:])
        assert await ws.text() == "333"
        for lines, body in ((["Content-Length: 3"], b"abc"), (["Transfer-Encoding: chunked"], b"0\r\n\r\n")):
            assert await statuses(target, [upgrade(*lines) + body]) == [400]


async def test_a14_frames_that_come_while_the_application_decides() -> None:
    """They wait, however many: nothing is lost, and not more than a little is kept."""
    decided = trio.Event()

    def prepare(server: Server) -> None:
        @server.authorize
        async def decide(request: Request) -> None:
            if "wait" in request.query:
                await decided.wait()

    async with under_attack(prepare) as target:
        raw = await target.raw()
        count = 20_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raw.send, upgrade(target="/primus?wait") + frame(TEXT, b"12345") * count)
            await target.bystander()
            decided.set()
            assert (await raw.answer()).status == 101
            for _ in range(count):
                assert await raw.text() == "12345"


async def test_a15_the_handshake_split_anywhere() -> None:
    async with under_attack() as target:
        whole = upgrade("X-Other: value") + frame(TEXT, b"1")
        reference = await _seen(target, whole, len(whole))
        assert reference[0].startswith(b"HTTP/1.1 101")
        for cut in range(1, len(whole)):
            assert await _seen(target, whole, cut) == reference, cut


@pytest.mark.parametrize(
    "whole",
    [
        request("POST", "/primus/spec", "Content-Length: 5", body=b"12345") + request("GET", "/primus/spec"),
        request("POST", "/nowhere", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n") + request(),
        b"GET / HTTP/1.1\r\nHost: h\r\nBad Header: 5\r\n\r\n" + request(),
        upgrade(without=["Sec-WebSocket-Key"]),
    ],
    ids=["with a length", "chunked", "malformed", "refused"],
)
async def test_a15_requests_split_anywhere(whole: bytes) -> None:
    async with under_attack(keep_alive=50) as target:
        reference = await _seen(target, whole, len(whole))
        for cut in range(1, len(whole)):
            assert (await _seen(target, whole, cut))[0] == reference[0], cut


async def _seen(target: Target, whole: bytes, cut: int) -> tuple[bytes, bytes]:
    """Send in two pieces; gives the first status line, and the frame behind a 101."""
    raw = await target.raw()
    await raw.send(whole[:cut])
    await trio.testing.wait_all_tasks_blocked(0.0002)
    await raw.send(whole[cut:])
    answer = await raw.answer()
    echo = await raw.frame() if answer.status == 101 else (0, b"")
    raw.reset()
    return f"HTTP/1.1 {answer.status} {answer.body!r}".encode(), echo[1]


@pytest.mark.parametrize(
    "stage", ["before", "in the head", "after the request", "refused", "after the 101", "in a frame"]
)
async def test_a16_resets_at_every_stage(stage: str) -> None:
    def prepare(server: Server) -> None:
        @server.authorize
        async def decide(request: Request) -> None:
            if "no" in request.query:
                raise Reject(403)

    async with under_attack(prepare) as target:
        for number in range(80):
            raw = await target.raw()
            if stage == "in the head":
                await raw.send(upgrade()[:-10])
            elif stage == "after the request":
                await raw.send(upgrade())
            elif stage == "refused":
                await raw.send(upgrade(target="/primus?no"))
                if number % 2:
                    assert (await raw.answer()).status == 403
            elif stage in ("after the 101", "in a frame"):
                await raw.send(upgrade())
                await raw.more()
                if stage == "in a frame":
                    await raw.send(frame(TEXT, b"12345")[: 1 + number % 10])
            if number % 3:
                await trio.lowlevel.checkpoint()
            raw.reset()
        assert target.log.records == []
