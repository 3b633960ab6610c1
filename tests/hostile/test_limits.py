"""F5, F6 and F17 in small: who may come in, exactly at each limit and one past it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import ActionServer, ConfigError, Reject, Server
from ahtransport import _admission as admission
from ahtransport._net import guarded
from ahtransport.testing import running
from certificates import secured
from hostile.support import Target, under_attack
from hostile.wire import TEXT, Answer, frame, request, upgrade

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from ahtransport import Request

TRANSFORMERS = ["websockets", "engine.io", "socket.io"]


def from_address(address: str) -> str:
    return f"X-Forwarded-For: {address}"


def refused(answer: Answer) -> tuple[int, str]:
    assert answer.header("Retry-After") == "7"
    return answer.status, json.loads(answer.body)["error"]


# -- connections


async def test_f5_as_many_connections_as_allowed_and_one_more() -> None:
    """The bystander has a seat, too."""
    async with under_attack(max_connections=3, retry_after="7 s") as target:
        first, _ = await target.websocket(), await target.websocket()
        assert refused(await target.exchange(upgrade())) == (503, "the server is full")
        # Browsers don't tell pages why a WebSocket was refused: their clients ask again like this.
        assert refused(await target.exchange(request("GET", "/primus"))) == (503, "the server is full")
        await first.send(frame(TEXT, b"1"))
        assert await first.text() == "1"
        first.hang_up()
        await target.wait_for(lambda: len(target.server.connections) == 2)
        await target.websocket()
        assert (await target.exchange(upgrade())).status == 503


@pytest.mark.parametrize("transformer", ["engine.io", "socket.io"])
async def test_f5_sessions_that_poll_and_websockets_count_alike(transformer: str) -> None:
    """A session counts once, whatever carries it; and it counts before any namespace is entered."""
    options: dict[str, Any] = {"transformer": {"websockets": "/primus", transformer: "/eio"}, "max_connections": 4}
    async with under_attack(**options) as target:
        opening = await target.exchange(request("GET", "/eio/?EIO=4&transport=polling"))
        sid = json.loads(opening.body[1:])["sid"]
        other = await target.websocket(target="/eio/?EIO=4&transport=websocket")
        await target.websocket()
        for attack in (
            request("GET", "/eio/?EIO=4&transport=polling"),
            request("GET", "/eio/?EIO=4&transport=websocket"),
            upgrade(target="/eio/?EIO=4&transport=websocket"),
            upgrade(),
        ):
            assert (await target.exchange(attack)).status == 503
        # Whoever is in may upgrade.
        moving = await target.websocket(target=f"/eio/?EIO=4&transport=websocket&sid={sid}")
        await moving.send(frame(TEXT, b"2probe"))
        assert (await moving.frame()) == (TEXT, b"3probe")
        await moving.send(frame(TEXT, b"5"))
        await target.bystander()
        assert (await target.exchange(upgrade())).status == 503
        moving.hang_up()
        other.hang_up()
        for _ in range(2):
            with trio.fail_after(5):
                while (await target.exchange(request("GET", "/eio/?EIO=4&transport=polling"))).status != 200:  # noqa: ASYNC110
                    await trio.sleep(0.01)
        assert (await target.exchange(upgrade())).status == 503
        for mount in target.server._mounts:
            mount.stop()


async def test_f5_a_refused_client_leaves_its_seat() -> None:
    def prepare(server: Server) -> None:
        @server.authorize
        async def authorize(request: Request) -> None:
            if "no" in request.query:
                await trio.sleep(0.01)
                raise Reject(401, "no")

    async with under_attack(prepare, max_connections=2) as target:
        for _ in range(5):
            assert (await target.exchange(upgrade(target="/primus?no"))).status == 401
        raw = await target.raw()
        await raw.send(upgrade(target="/primus?no"))
        raw.reset()
        await trio.testing.wait_all_tasks_blocked(0.05)
        await target.websocket()
        assert (await target.exchange(upgrade())).status == 503


@pytest.mark.parametrize("transformer", TRANSFORMERS)
async def test_f5_connections_per_address(transformer: str) -> None:
    """Behind a trusted proxy its clients' addresses count; IPv6 by its first 64 bits."""
    options: dict[str, Any] = {"transformer": {"websockets": "/canary", transformer: "/eio"}}
    if transformer == "websockets":
        options = {}
    async with under_attack_there(
        **options, trusted_proxies=["127.0.0.1"], max_connections_per_address=2, retry_after="7 s"
    ) as target:
        path = "/primus" if transformer == "websockets" else "/eio/?EIO=4&transport=websocket"

        async def status(address: str) -> int:
            raw = await target.raw()
            await raw.send(upgrade(from_address(address), target=path))
            answer = await raw.answer()
            if answer.status == 429:
                assert refused(answer) == (429, "too many connections from this address")
            return answer.status

        assert [await status("192.0.2.1") for _ in range(3)] == [101, 101, 429]
        assert await status("::ffff:192.0.2.1") == 429
        assert await status("192.0.2.2") == 101
        assert [await status(f"2001:db8:0:1::{host}") for host in (1, 2, 3)] == [101, 101, 429]
        assert await status("2001:db8:0:2::1") == 101


def under_attack_there(**options: Any) -> AbstractAsyncContextManager[Target]:
    """Attack a server of which the bystander knows where to find a plain WebSocket."""
    if "transformer" in options:
        options["transformer"] = {**options["transformer"], "websockets": "/primus"}
    return under_attack(**options)


# -- sockets


async def test_f5_sockets_in_all_and_per_address() -> None:
    """Refused as soon as they are accepted, without a word from the client; what is open goes on."""
    async with under_attack(max_sockets=3, retry_after="7 s") as target:
        idle = [await target.raw() for _ in range(2)]
        await target.bystander()
        with trio.fail_after(5):
            for data in (b"", upgrade()):
                raw = await target.raw()
                if data:
                    await raw.send(data)
                assert refused(await raw.answer()) == (503, "the server is full")
                assert await raw.rest() == b""
        idle[0].hang_up()
        host = target.server._host
        assert host is not None
        assert target.server.statistics().refused == {503: 2}
        await target.wait_for(lambda: host.open_channels == 2)
        assert (await target.exchange(request("GET", "/primus/spec"))).status == 200
    async with under_attack(max_sockets_per_address=2, retry_after="7 s") as target:
        await target.raw()
        await target.bystander()
        raw = await target.raw()
        assert refused(await raw.answer()) == (429, "too many connections from this address")
    async with under_attack(max_sockets_per_address=2, trusted_proxies=["127.0.0.1"]) as target:
        for _ in range(5):  # a proxy's sockets are many clients'
            assert (await target.exchange(request("GET", "/primus/spec"))).status == 200
            await target.raw()


async def test_f6_no_plain_text_on_a_port_that_speaks_tls(tmp_path: Path) -> None:
    """To a client that shakes hands it would be a broken server; it gets an alert (RFC 8446 section 6)."""
    server = Server(config={}, port=0, max_sockets=1, **secured(tmp_path))
    async with running(server):
        first = await trio.open_tcp_stream(*server.addresses[0])
        await trio.testing.wait_all_tasks_blocked(0.01)
        second = await trio.open_tcp_stream(*server.addresses[0])
        assert (await second.receive_some(1000)).startswith(b"\x15\x03")
        assert server.statistics().refused == {503: 1}
        await first.aclose()
        await second.aclose()


async def test_f6_descriptors_in_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "free_descriptors", lambda: 12)
    async with under_attack(reserved_descriptors=10) as target:
        await target.raw()
        await target.bystander()
        assert (await (await target.raw()).answer()).status == 503


# -- memory


async def test_f17_new_clients_are_refused_while_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From 80 % of the limit on; who is there stays, and is served."""
    used = 800
    monkeypatch.setattr(admission, "resident_memory", lambda: used)
    monkeypatch.setattr(admission, "_SAMPLE", 0.01)
    async with under_attack(max_memory=1000, retry_after="7 s") as target:
        ws = await target.websocket()
        used = 801
        await trio.sleep(0.05)
        assert refused(await target.exchange(upgrade())) == (503, "the server is overloaded")
        await ws.send(frame(TEXT, b"1"))
        assert await ws.text() == "1"
        used = 700
        await trio.sleep(0.05)
        await target.websocket()


async def test_f17_a_server_that_is_started_again_looks_no_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "resident_memory", lambda: 700)
    server = Server(config={}, max_memory=1000, port=0)
    timers = []
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            timers.append(len(server._namespaces.shared.deadlines))
            nursery.cancel_scope.cancel()
    assert timers == [timers[0]] * 3


def test_f17_the_memory_in_use_is_known() -> None:
    used = admission.resident_memory()
    assert used is not None
    assert 2**20 < used < 2**40


async def test_nothing_is_limited_unless_asked_for() -> None:
    """The plain host, the plain rooms, the plain verbs: what is off costs nothing."""
    from ahtransport._actions.verbs import Verbs
    from ahtransport._net.host import Host
    from ahtransport._rooms import Rooms

    server = ActionServer(port=0)
    assert type(server._make_host(None)) is Host
    assert server._make_host(None).application is server
    assert type(server.rooms) is Rooms
    assert type(server._verbs) is Verbs
    assert server._mounts[0].pacer(None) is None  # type: ignore[arg-type]


async def test_f15_refusals_are_not_much_longer_than_what_they_refuse() -> None:
    """Nobody can make the server send to somebody else much more than was sent to it."""
    attacks = {
        "no path": request("GET", "/x"),
        "nonsense": b"NONSENSE /x HTTP/1.1\r\nHost: h\r\n\r\n",
        "no such session": request("GET", "/primus/?EIO=4&transport=polling&sid=x"),
        "no upgrade": request("GET", "/primus"),
        "wrong version": upgrade(without=["Sec-WebSocket-Version"]),
        "full": upgrade(),
        "preflight": request("OPTIONS", "/primus", "Origin: http://h", "Access-Control-Request-Method: GET"),
    }
    async with under_attack(transformer={"engine.io": "/eio", "websockets": "/primus"}, max_connections=1) as target:
        for name, attack in attacks.items():
            raw = await target.raw()
            await raw.send(attack)
            with trio.move_on_after(0.1):
                while await raw.more():
                    pass
            assert 0 < len(raw.buffer) <= 10 * len(attack), (name, raw.buffer)


@pytest.mark.parametrize("name", ["byte_rate", "byte_rate_per_address"])
def test_a_rate_of_bytes_is_none_or_as_much_as_is_read_at_once_in_a_few_seconds(name: str) -> None:
    for value in (0, 16384):
        assert getattr(Server(config={"servers": {"limits": {name: value}}}).config.servers.limits, name) == value
    with pytest.raises(ConfigError, match="at least 16384"):
        Server(config={"servers": {"limits": {name: 16383}}})


async def test_f5_a_query_that_is_refused_leaves_no_connection() -> None:
    """With a cookie, so that nobody has looked for the fingerprint in the query before."""
    async with under_attack(max_connections=2) as target:
        for _ in range(3):
            answer = await target.exchange(upgrade("Cookie: sessionID=abc", target="/primus?" + "a&" * 1001))
            assert answer.status == 400
        assert len(target.server.connections) == 1  # the bystander's
        assert target.server.statistics().accepted == {"websockets": 1}
        await target.websocket()
