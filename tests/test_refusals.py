"""Whoever is refused is counted once, by status and by limit; and /healthz says so while nobody is let in."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from ahtransport import Reject, Request, Response, Server
from ahtransport import _admission as admission
from ahtransport._net import guarded
from ahtransport.abc import Later
from ahtransport.testing import Record, fetch, memory_host
from hostile.support import Target, under_attack
from hostile.wire import request, upgrade


def counts(target: Target) -> tuple[dict[int, int], dict[str, int]]:
    told = target.server.statistics()
    return dict(told.refused), dict(told.limited)


async def test_clients_that_find_no_seat() -> None:
    """However they come: by an upgrade, a poll, or to ask why there was no upgrade."""
    transformers = {"websockets": "/primus", "engine.io": "/eio", "socket.io": "/sio"}
    async with under_attack(transformer=transformers, max_connections=1) as target:
        assert counts(target) == ({}, {})
        polling = "?EIO=4&transport=polling"
        attacks = [upgrade(), request("GET", "/primus"), upgrade(target="/eio/?EIO=4&transport=websocket")]
        attacks += [request("GET", f"/eio/{polling}"), request("GET", f"/sio/{polling}")]
        for number, attack in enumerate(attacks, 1):
            assert (await target.exchange(attack)).status == 503
            assert counts(target) == ({503: number}, {"max_connections": number})


async def test_clients_and_requests_of_one_address() -> None:
    async with under_attack(max_connections_per_address=1, metrics="/metrics") as target:
        assert (await target.exchange(upgrade())).status == 429
        assert counts(target) == ({429: 1}, {"max_connections_per_address": 1})
        text = (await target.exchange(request("GET", "/metrics"))).body.decode()
        assert 'ahtransport_refused_total{status="429"} 1.0' in text
        assert 'ahtransport_limited_total{limit="max_connections_per_address"} 1.0' in text
    async with under_attack(request_rate=1, request_burst=2) as target:
        attacks = [request("GET", "/primus/spec")] * 5 + [upgrade(without=["Upgrade"])] * 5
        refused = [(await target.exchange(attack)).status for attack in attacks].count(429)
        assert refused > 5
        told, limited = counts(target)
        assert (told[429], limited) == (refused, {"request_rate": refused})


@pytest.mark.parametrize(
    ("limit", "status", "options"),
    [
        ("max_sockets", 503, {"max_sockets": 1}),
        ("max_sockets_per_address", 429, {"max_sockets_per_address": 1}),
        ("reserved_descriptors", 503, {"max_sockets": 50, "reserved_descriptors": 10}),
    ],
)
async def test_sockets(limit: str, status: int, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "free_descriptors", lambda: 11)
    async with under_attack(**options) as target:
        assert (await (await target.raw()).answer()).status == status
        assert counts(target) == ({status: 1}, {limit: 1})


@pytest.mark.parametrize("limit", ["message_rate", "byte_rate", "message_rate_per_address", "byte_rate_per_address"])
@pytest.mark.parametrize("path", ["/eio/", "/sio/"])
async def test_clients_that_poll_and_are_too_fast(path: str, limit: str, autojump_clock: object) -> None:
    """Their POST is refused; the application is told why they were closed, as of those on a WebSocket."""
    rate = 16_384 if "byte" in limit else 10
    options: dict[str, Any] = {limit: rate, "rate_patience": 2000}
    server = Server(config={}, transformer={"engine.io": "/eio", "socket.io": "/sio"}, port=0, **options)
    record = Record(server)
    async with memory_host(server) as host:
        stream = host.stream()
        opening = await fetch(stream, "GET", f"{path}?EIO=4&transport=polling")
        session = f"{path}?EIO=4&transport=polling&sid={json.loads(opening.body[1:])['sid']}"
        if path == "/sio/":
            assert (await fetch(stream, "POST", session, body=b"40")).status == 200
        message = b'"%s"' % (b"x" * 1000)
        packet = b'42["message",%s]' % message if path == "/sio/" else b"4%s" % message
        answer = await fetch(stream, "POST", session, body=b"\x1e".join([packet] * 100))
        reason = "too many bytes" if "byte" in limit else "too many messages"
        assert (answer.status, json.loads(answer.body)["error"]) == (429, reason)
        await stream.aclose()
        await record.until(lambda: record.closed)
        assert [end[1:] for end in record.closed] == [(1008, reason)]
        told = server.statistics()
        assert (told.refused, told.limited, told.closed) == ({429: 1}, {limit: 1}, {1008: 1})


async def test_handshakes_that_are_none_and_hosts_that_are_not_ours() -> None:
    async with under_attack(allowed_hosts=["localhost"]) as target:
        assert (await target.exchange(upgrade(without=["Sec-WebSocket-Key"]))).status == 400
        assert counts(target)[0] == {400: 1}
        for attack in (request("GET", "/primus/spec"), upgrade()):
            assert (await target.exchange(attack.replace(b"localhost", b"evil.example"))).status == 421
        assert counts(target) == ({400: 1, 421: 2}, {})


@pytest.mark.parametrize("around", ["nothing", "middleware", "compression"])
async def test_answers_that_are_refusals_after_all(around: str) -> None:
    """A ``Later`` that comes to a refusal counts as any other; a route's own does not, as its other refusals."""

    def later(request: Request) -> Any:
        def make() -> Response:
            raise Reject(409, "changed my mind")

        answer = Later(make, lambda: None)
        answer.ready()
        return answer

    server = Server(config={}, compression=around == "compression")
    if around == "middleware":
        server.use(lambda request: None)
    monkeypatched: Any = server._mounts[0]
    if around == "compression":
        from ahtransport._web.compression import compressing

        monkeypatched._answer = compressing(later, 10)
    else:
        monkeypatched._answer = later
    server.route("/mine", later)
    async with memory_host(server) as host:
        for number in (1, 2):
            assert (await fetch(host.stream(), "GET", "/primus")).status == 409
            assert server.statistics().refused == {409: number}
        assert (await fetch(host.stream(), "GET", "/mine")).status == 409
        assert server.statistics().refused == {409: 2}


async def health(target: Target) -> tuple[int, dict[str, str]]:
    answer = await target.exchange(request("GET", "/healthz"))
    return answer.status, json.loads(answer.body)


async def test_f17_health_while_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    used = 800
    monkeypatch.setattr(admission, "resident_memory", lambda: used)
    monkeypatch.setattr(admission, "_SAMPLE", 0.01)
    async with under_attack(max_memory=1000) as target:
        assert await health(target) == (200, {"status": "ok"})
        used = 801
        await target.wait_for(lambda: target.server._overloaded)
        assert await health(target) == (503, {"status": "overloaded"})
        assert counts(target) == ({}, {})  # nobody has been refused yet
        assert (await target.exchange(upgrade())).status == 503
        assert counts(target) == ({503: 1}, {"max_memory": 1})
        used = 800
        await target.wait_for(lambda: not target.server._overloaded)
        assert await health(target) == (200, {"status": "ok"})


async def test_f5_health_while_there_is_room_for_no_socket() -> None:
    """On a connection that the checker has kept: a new one is told the same by the refusal."""
    async with under_attack(max_sockets=3) as target:
        kept = await target.raw()
        await kept.send(request("GET", "/healthz"))
        assert json.loads((await kept.answer()).body) == {"status": "ok"}
        last = await target.raw()
        await target.wait_for(lambda: target.server._overloaded)
        await kept.send(request("GET", "/healthz"))
        answer = await kept.answer()
        assert (answer.status, json.loads(answer.body)) == (503, {"status": "overloaded"})
        assert (await (await target.raw()).answer()).status == 503
        last.hang_up()
        await target.wait_for(lambda: not target.server._overloaded)
        await kept.send(request("GET", "/healthz"))
        assert (await kept.answer()).status == 200


async def test_draining_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(config={}, max_memory=1000, port=0, shutdown_delay="1 hour")
    monkeypatch.setattr(admission, "resident_memory", lambda: 2000)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        assert server._trouble() == "overloaded"
        server.shutdown()
        assert server._trouble() == "draining"
        nursery.cancel_scope.cancel()
