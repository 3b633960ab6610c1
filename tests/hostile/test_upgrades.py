"""A5, A11 to A16: the WebSocket handshake."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from ahtransport import Reject, Response, Server
from hostile.carriers import CARRIERS, WEBSOCKETS, Carrier, all_under_attack, over_each
from hostile.support import Target, statuses, under_attack
from hostile.wire import KEY, TEXT, Answer, Raw, frame, request, upgrade

if TYPE_CHECKING:
    from ahtransport._http import Request

DEFLATE = "permessage-deflate"


@over_each
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
async def test_a5_offers_of_extensions_are_declined(offer: str, carrier: Carrier) -> None:
    """RFC 7692 section 5: what is not understood is declined, not refused. A compressed frame is an error then."""
    async with all_under_attack() as target:
        ws = await _upgraded(target, f"Sec-WebSocket-Extensions: {offer}", carrier=carrier)
        await ws.send(carrier.frame(b"1"))
        assert await carrier.heard(ws) == "1"
        await ws.send(frame(TEXT, b"\xaa\x06\x00", rsv=4))
        assert await ws.closing() == 1002
        assert target.closed == [1002]


async def _upgraded(target: Target, *headers: str, carrier: Carrier = WEBSOCKETS) -> Raw:
    raw = await target.raw()
    await raw.send(upgrade(*headers, target=carrier.target))
    answer = await raw.answer()
    assert answer.status == 101
    assert answer.header("Sec-WebSocket-Extensions") is None
    assert answer.header("Sec-WebSocket-Protocol") is None
    await carrier.begin(raw)
    return raw


@over_each
async def test_a5_very_many_offers(carrier: Carrier) -> None:
    async with all_under_attack() as target:
        await _upgraded(target, "Sec-WebSocket-Extensions: " + ", ".join(["permessage"] * 500), carrier=carrier)
        await _upgraded(target, *[f"Sec-WebSocket-Extensions: {DEFLATE}"] * 90, carrier=carrier)
        too_many = upgrade(*[f"Sec-WebSocket-Extensions: {DEFLATE}"] * 500, target=carrier.target)
        assert await statuses(target, [too_many]) == [431]


@over_each
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
async def test_a11_variations_of_the_handshake(attack: bytes, status: int, carrier: Carrier) -> None:
    async with all_under_attack() as target:
        attack = attack.replace(WEBSOCKETS.target.encode(), carrier.target.encode(), 1)
        answer = await target.exchange(attack, bodiless=attack.startswith(b"HEAD"))
        if status == 426 and b"Upgrade\r\nUpgrade: websocket\r" in attack:
            assert answer.header("Sec-WebSocket-Version") == "13"
        elif status == 426 and carrier.greets:
            status = 400  # as npm engine.io says of plain requests
        assert answer.status == status
        assert target.opened == 1 + (status == 101 and not carrier.asks)


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


@over_each
async def test_a14_bytes_right_behind_the_handshake(carrier: Carrier) -> None:
    async with all_under_attack() as target:
        assert await (await target.websocket(target=carrier.target, early=b"x")).closing() == 1002
        # The first that may come is a message, or where there has to be a CONNECT that.
        first = frame(TEXT, b"40") if carrier.asks else carrier.frame(b"0")
        for cut in (len(first), 5):
            ws = await target.websocket(target=carrier.target, early=first[:cut])
            await ws.send(first[cut:] if carrier.asks else first[cut:] + carrier.frame(b"1"))
            await carrier.greeted(ws)
            if carrier.asks:
                await carrier.connected(ws)
            else:
                assert [await carrier.heard(ws), await carrier.heard(ws)] == ["0", "1"]
        for lines, body in ((["Content-Length: 3"], b"abc"), (["Transfer-Encoding: chunked"], b"0\r\n\r\n")):
            assert await statuses(target, [upgrade(*lines, target=carrier.target) + body]) == [400]


# Socket.IO asks its application when there is a CONNECT, and nothing may follow that before the answer.
@pytest.mark.parametrize("carrier", CARRIERS[:2])
async def test_a14_frames_that_come_while_the_application_decides(carrier: Carrier) -> None:
    """They wait, however many: nothing is lost, and not more than a little is kept."""
    decided = trio.Event()

    def prepare(server: Server) -> None:
        @server.authorize
        async def decide(request: Request) -> None:
            if "wait" in request.query:
                await decided.wait()

    async with all_under_attack(prepare) as target:
        raw = await target.raw()
        count = 20_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raw.send, upgrade(target=carrier.asking("wait")) + carrier.frame(b"12345") * count)
            await target.bystander()
            decided.set()
            assert (await raw.answer()).status == 101
            await carrier.begin(raw)
            for _ in range(count):
                assert await carrier.heard(raw) == "12345"


@over_each
async def test_a15_the_handshake_split_anywhere(carrier: Carrier) -> None:
    async with all_under_attack() as target:
        whole = upgrade("X-Other: value", target=carrier.target) + (b"" if carrier.asks else carrier.frame(b"1"))
        for cut in range(1, len(whole) + 1):
            raw = await _in_two(target, whole, cut)
            assert (await raw.answer()).status == 101, cut
            await carrier.begin(raw)
            if carrier.asks:
                await raw.send(carrier.frame(b"1"))
            assert await carrier.heard(raw) == "1", cut
            raw.reset()


REQUEST = request()
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
LENGTH, CHUNKED = f"Content-Length: {len(REQUEST)}", "Transfer-Encoding: chunked"
LAST = request("GET", "/primus/spec", "Connection: close")


@pytest.mark.parametrize(
    ("whole", "codes"),
    [
        (request("POST", "/read", LENGTH, body=REQUEST) + LAST, [200, 200]),
        (request("POST", "/nowhere", LENGTH, body=REQUEST) + LAST, [405, 200]),
        (request("POST", "/read", CHUNKED, body=CHUNKS) + LAST, [200, 200]),
        (request("POST", "/nowhere", CHUNKED, body=CHUNKS) + LAST, [405, 200]),
        (b"GET / HTTP/1.1\r\nHost: h\r\nBad Header: 5\r\n\r\n" + LAST, [400]),
        (upgrade(without=["Sec-WebSocket-Key"]) + LAST, [400]),
    ],
    ids=["a length", "a length, not read", "chunks", "chunks, not read", "malformed", "refused"],
)
async def test_a15_requests_split_anywhere(whole: bytes, codes: list[int]) -> None:
    """Every answer counts: where a body ends, the next request begins. For a body that nobody reads nobody waits, so
    that what has not come by then ends the connection: then there is no other answer."""

    async def read(request: Request) -> Response:
        return Response(200, await request.read(100))

    async with under_attack(lambda server: server.route("/read", read), keep_alive=50) as target:
        reference = await _answers(await _in_two(target, whole, len(whole)))
        assert [answer.status for answer in reference] == codes
        first = reference[0]
        others = [field for field in first.headers if field[0] != "Connection"]
        last = replace(first, headers=[*others, ("Connection", "close")])  # it always comes last
        if b"/read" in whole:
            assert first.body in (REQUEST, b"abc")
        for cut in range(1, len(whole)):
            answers = await _answers(await _in_two(target, whole, cut))
            assert answers == reference or (answers == [last] and b"/nowhere" in whole), cut


async def _in_two(target: Target, whole: bytes, cut: int) -> Raw:
    """Send in two pieces on a new connection."""
    raw = await target.raw()
    await raw.send(whole[:cut])
    await trio.testing.wait_all_tasks_blocked(0.0002)
    await raw.send(whole[cut:])
    return raw


async def _answers(raw: Raw) -> list[Answer]:
    """Read answers until the server hangs up; their dates are left out."""
    answers = []
    with trio.fail_after(5):
        while not raw.ended and (raw.buffer or await raw.more()):
            answer = await raw.answer()
            answer.headers = [field for field in answer.headers if field[0] != "Date"]
            answers.append(answer)
    raw.hang_up()
    return answers


@over_each
@pytest.mark.parametrize(
    "stage", ["before", "in the head", "after the request", "refused", "after the 101", "in a frame"]
)
async def test_a16_resets_at_every_stage(stage: str, carrier: Carrier) -> None:
    def prepare(server: Server) -> None:
        @server.authorize
        async def decide(request: Request) -> None:
            if "no" in request.query:
                raise Reject(403)

    async with all_under_attack(prepare) as target:
        for number in range(84):  # with six stages more than 500 times
            raw = await target.raw()
            if stage == "in the head":
                await raw.send(upgrade(target=carrier.target)[:-10])
            elif stage == "after the request":
                await raw.send(upgrade(target=carrier.target))
            elif stage == "refused":
                # Socket.IO's clients are refused when they connect to a namespace.
                await raw.send(upgrade(target=carrier.asking("no")) + (frame(TEXT, b"40") if carrier.asks else b""))
                if number % 2:
                    assert (await raw.answer()).status == (101 if carrier.asks else 403)
            elif stage in ("after the 101", "in a frame"):
                await raw.send(upgrade(target=carrier.target))
                await raw.more()
                if number % 4 > 1:  # else it may come before the session's first packet
                    await raw.answer()
                    await carrier.begin(raw)
                if stage == "in a frame":
                    await raw.send(frame(TEXT, b"12345")[: 1 + number % 10])
            if number % 3:
                await trio.lowlevel.checkpoint()
            raw.reset()
        assert target.log.records == []
