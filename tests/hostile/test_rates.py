"""F7 and G5 in small: how fast messages, bytes, verbs, joins and requests may come, exactly at the limit and beyond."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import ActionServer
from hostile.support import under_attack
from hostile.wire import CLOSE, TEXT, Answer, Raw, frame, request, upgrade

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from hostile.support import Target


def from_address(address: str) -> str:
    return f"X-Forwarded-For: {address}"


# -- messages and bytes


async def test_f7_messages_at_the_rate_and_beyond() -> None:
    """A burst goes through at once, the rest at the rate; nothing is lost."""
    async with under_attack(message_rate=20, message_burst=20, rate_patience=0) as target:
        ws = await target.websocket()
        began = trio.current_time()
        await ws.send(b"".join(frame(TEXT, b"%d" % number) for number in range(20)))
        for number in range(20):
            assert await ws.text() == str(number)
        assert trio.current_time() - began < 0.9  # the rate alone would take 1 s
        began = trio.current_time()
        await ws.send(b"".join(frame(TEXT, b"%d" % number) for number in range(30)))
        await target.bystander()
        for number in range(30):
            assert await ws.text() == str(number)
        assert 0.3 < trio.current_time() - began < 5


@pytest.mark.parametrize("transformer", ["websockets", "engine.io", "socket.io"])
async def test_f7_too_many_messages_for_too_long(transformer: str, caplog: pytest.LogCaptureFixture) -> None:
    message = {"websockets": b"1", "engine.io": b"41", "socket.io": b'42["message",1]'}[transformer]
    transformers = {transformer: "/there", "websockets": "/primus"}
    async with under_attack(transformer=transformers, message_rate=50, rate_patience=300) as target:
        if transformer == "websockets":
            ws = await target.websocket()
        else:
            ws = await target.websocket(target="/there/?EIO=4&transport=websocket")
            await ws.send(frame(TEXT, b"40" if transformer == "socket.io" else b"41"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, frame(TEXT, message) * 50_000)
            with trio.fail_after(5):
                assert await closing(ws) == (1008, b"too many messages")
            nursery.cancel_scope.cancel()
        assert 49 <= len(target.messages) < 100
        await target.wait_for(lambda: target.closed == [1008])
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def closing(ws: Raw) -> tuple[int, bytes]:
    while True:
        opcode, payload = await ws.frame()
        if opcode == CLOSE:
            return int.from_bytes(payload[:2]), payload[2:]


async def test_f7_too_many_bytes_for_too_long() -> None:
    """One long message counts, too, long before it is whole."""
    async with under_attack(byte_rate=65536, rate_patience=300) as target:
        ws = await target.websocket()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, frame(TEXT, b"1" * 8_000_000))
            with trio.fail_after(5):
                assert await closing(ws) == (1008, b"too many bytes")
            nursery.cancel_scope.cancel()
        assert target.messages == []


async def test_f7_bytes_at_the_rate() -> None:
    async with under_attack(byte_rate=400_000, rate_patience=0) as target:
        ws = await target.websocket()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, frame(TEXT, b'"%s"' % (b"x" * 99_996)) * 6)
            for _ in range(6):
                assert len(await ws.text()) == 99_998
        assert 0.25 < trio.current_time() - began < 3


async def test_f7_a_pause_for_bytes_does_not_end_one_for_messages() -> None:
    limits: dict[str, Any] = {"message_rate": 10, "message_burst": 1, "byte_rate": 60_000, "byte_burst": 256}
    # The bystander would say more than is allowed here, and be slowed down, too.
    async with under_attack(**limits, rate_patience=0, slowest=None) as target:
        ws = await target.websocket()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def talk() -> None:
                for number in range(10):  # each owes a tenth of a second as a message, and a hundredth for its bytes
                    await ws.send(frame(TEXT, b"%d" % number + b" " * 600))
                    await trio.sleep(0.02)

            for number in range(10):
                assert await ws.text() == str(number)
        assert 0.7 < trio.current_time() - began < 3


@pytest.mark.parametrize("kind", ["message", "byte"])
async def test_f7_all_connections_of_an_address_count_together(kind: str) -> None:
    options: dict[str, Any] = {f"{kind}_rate_per_address": 100 if kind == "message" else 65536, "rate_patience": 500}
    async with under_attack(**options, trusted_proxies=["127.0.0.1"]) as target:
        sockets = [await target.websocket(from_address("192.0.2.1")) for _ in range(4)]
        other = await target.websocket(from_address("192.0.2.2"))
        async with trio.open_nursery() as nursery:
            for ws in sockets:
                nursery.start_soon(ws.send, frame(TEXT, b"[1,2,3]") * 20_000)
            codes: list[int] = []

            async def end(ws: Raw) -> None:
                codes.append((await closing(ws))[0])

            with trio.fail_after(20):
                async with trio.open_nursery() as waiting:
                    for ws in sockets:
                        waiting.start_soon(end, ws)
                    for number in range(5):
                        await other.send(frame(TEXT, b"%d" % number))
                        assert await other.text() == str(number)
            assert codes == [1008] * 4
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("patience", [0, 300])
async def test_f7_clients_that_poll_are_held_up(patience: int) -> None:
    """Their POST is answered when the rate allows; when that takes too long, with 429, and the session ends."""
    transformers: dict[str, Any] = {"transformer": {"websockets": "/primus", "engine.io": "/eio"}}
    async with under_attack(**transformers, message_rate=50, message_burst=10, rate_patience=patience) as target:
        opening = await target.exchange(request("GET", "/eio/?EIO=4&transport=polling"))
        sid = json.loads(opening.body[1:])["sid"]
        began = trio.current_time()
        body = b"\x1e".join(b"4%d" % number for number in range(40))
        post = request("POST", f"/eio/?EIO=4&transport=polling&sid={sid}", f"Content-Length: {len(body)}", body=body)
        answer = await target.exchange(post)
        assert trio.current_time() - began > 0.28
        if patience:
            assert (answer.status, json.loads(answer.body)["error"]) == (429, "too many messages")
            assert 10 < len(target.messages) < 40
            await target.wait_for(lambda: len(target.closed) == 1)
        else:
            assert (answer.status, answer.body) == (200, b"ok")
            assert target.messages == list(range(40))
            for mount in target.server._mounts:
                mount.stop()


async def test_f7_the_bytes_of_clients_that_poll_are_counted() -> None:
    """A POST that is too large for the rate is answered with what was too much, and the session ends."""
    transformers: dict[str, Any] = {"transformer": {"websockets": "/primus", "engine.io": "/eio"}}
    async with under_attack(**transformers, byte_rate=16_384, message_rate=1000, rate_patience=300) as target:
        opening = await target.exchange(request("GET", "/eio/?EIO=4&transport=polling"))
        sid = json.loads(opening.body[1:])["sid"]
        body = b"\x1e".join(b'4"' + b"x" * 20_000 + b'"' for _ in range(10))
        post = request("POST", f"/eio/?EIO=4&transport=polling&sid={sid}", f"Content-Length: {len(body)}", body=body)
        answer = await target.exchange(post)
        assert (answer.status, json.loads(answer.body)["error"]) == (429, "too many bytes")
        assert 1 <= len(target.messages) < 10
        await target.wait_for(lambda: len(target.closed) == 1)


async def test_f7_who_pauses_the_client_and_who_slows_it_down_do_not_disturb_each_other() -> None:
    """A full inbox and the rate both stop reading; all messages arrive, in order."""
    got: list[Any] = []

    async def handler(connection: Any) -> None:
        async for message in connection:
            got.append(message)
            if isinstance(message, int) and message % 7 == 0:
                await trio.sleep(0.005)
            await connection.send(message)

    async with under_attack(handler=handler, message_rate=500, message_burst=3, inbox=2, rate_patience=0) as target:
        ws = await target.websocket()
        await ws.send(b"".join(frame(TEXT, b"%d" % number) for number in range(200)))
        with trio.fail_after(5):
            for number in range(200):
                assert await ws.text() == str(number)


# -- verbs and rooms


def verbs(**options: Any) -> AbstractAsyncContextManager[Target]:
    return under_attack(make=ActionServer, welcome_message="", **options)


async def ask(ws: Raw, **message: Any) -> dict[str, Any]:
    await ws.send(frame(TEXT, json.dumps(message).encode()))
    reply: dict[str, Any] = json.loads(await ws.text())
    return reply


async def test_f7_verbs_over_the_rate_get_an_error_then_the_end() -> None:
    async with verbs(message_rate=1, message_burst=5) as target:
        ws = await target.websocket()
        for number in range(5):
            assert (await ask(ws, event="detailsView", messageId=number))["status"] == "OK"
        for number in range(5, 10):
            reply = await ask(ws, event="detailsView", messageId=number)
            assert reply["error"] == "Error: you are sending too many messages"
            assert (reply["messageId"], reply["context"]) == (number, "response")
        await ws.send(frame(TEXT, b'{"event":"detailsView"}') * 2)
        with trio.fail_after(5):
            assert (await closing(ws))[0] == 1008


async def test_f7_verbs_of_one_address() -> None:
    async with verbs(message_rate_per_address=2, message_burst_per_address=3) as target:
        ws = await target.websocket()
        replies = [await ask(ws, event="detailsView", messageId=number) for number in range(4)]
        assert ["error" in reply for reply in replies][-1] is True


async def test_f7_joins_beyond_the_rate() -> None:
    async with verbs(
        join_rate=1, join_burst=3, starting_chat_rooms=[f"r{number}" for number in range(9)], max_rooms=100
    ) as target:
        ws = await target.websocket()
        replies = [await ask(ws, event="roomAdd", room=f"r{number}") for number in range(6)]
        assert [reply.get("error") for reply in replies] == [None] * 3 + [
            "Error: too many rooms joined in a short time"
        ] * 3
        await ws.send(frame(TEXT, b'{"event":"roomAdd","room":"r7"}') * 2)
        with trio.fail_after(5):
            assert (await closing(ws))[0] == 1008


# -- requests


async def test_g5_guessing_ids_is_slow_work() -> None:
    """429 with Retry-After once an address has asked too often; others are served."""
    options: dict[str, Any] = {"transformer": {"websockets": "/primus", "engine.io": "/eio"}}
    async with under_attack(**options, request_rate=5, request_burst=10, trusted_proxies=["127.0.0.1"]) as target:

        async def guess(address: str) -> Answer:
            wanted = f"/eio/?EIO=4&transport=polling&sid={'x' * 20}"
            return await target.exchange(request("GET", wanted, from_address(address)))

        answers = [await guess("192.0.2.1") for _ in range(30)]
        statuses = [answer.status for answer in answers]
        assert statuses[:10] == [400] * 10
        assert 10 <= statuses.count(400) <= 15
        assert statuses[-1] == 429
        assert int(answers[-1].header("Retry-After") or "") == 1
        upgraded = await target.exchange(upgrade(from_address("192.0.2.1")))
        assert upgraded.status == 429
        assert (await guess("192.0.2.2")).status == 400
        await trio.sleep(0.3)
        assert (await guess("192.0.2.1")).status == 400
