"""What a server tells of itself: the numbers are those of what happened."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from ahtransport import ActionServer, Connection, Reject, Request, Server, ServerStatistics
from ahtransport._blocking import _WINDOW, BlockingWatch
from ahtransport._observing import _SLICE
from ahtransport.testing import (
    Refused,
    Stage,
    WebSocketClient,
    connect_socketio,
    connect_websocket,
    fetch,
    memory_host,
    running,
)

if TYPE_CHECKING:
    from ahtransport.testing import Variant


def echo(connection: Connection, message: Any) -> None:
    connection.send_nowait(message)


@pytest.mark.parametrize("kind", ["socket", "memory"])
async def test_connections_that_come_and_go(variant: Variant, kind: Any) -> None:
    stage = Stage(variant, kind)
    server = stage.server()
    server.on_message(echo)
    name = variant.transformer_name
    before = server.statistics()
    assert (before.uptime, before.draining, before.sockets) == (0, False, 0)
    assert before.connections == {(name, "websocket"): 0}
    assert before.accepted == {name: 0}
    async with stage.serving(server):
        async with stage.connect() as client, stage.connect():
            await client.send("x" * 5000)
            assert await client.receive() == "x" * 5000
            server.rooms.join(next(iter(server.connections.values())), "tea")
            now = server.statistics()
            assert now.uptime > 0
            assert now.connections[name, variant.transport] == sum(now.connections.values()) == 2
            assert now.accepted == {name: 2}
            assert now.closed == {}
            assert now.sockets >= 1
            assert (now.rooms, now.sessions, now.backlog) == (1, 0, 0)
            if sys.platform == "linux" or kind == "memory":
                assert now.received is not None
                assert now.sent is not None
                assert now.received > 5000
                await stage.eventually(lambda: (server.statistics().sent or 0) > 5000)  # acknowledged, that is
        for connection in list(server.connections.values()):  # who only polls is not missed at once
            connection.close()
        await stage.eventually(lambda: server.statistics().sockets == 0)
        after = server.statistics()
        assert sum(after.connections.values()) == 0
        assert sum(after.closed.values()) == 2
        assert after.accepted == {name: 2}
        if after.received is not None and now.received is not None:
            assert after.received >= now.received  # of closed sockets, too
        assert after.rooms == after.tasks == 0
    assert server.statistics().uptime == 0
    total = server.statistics().received
    async with stage.serving(server):  # once more
        assert server.statistics().received == total
        assert server.statistics().accepted == {name: 2}


async def test_close_codes_that_anybody_may_choose_are_two() -> None:
    server = Server(config={}, port=0)
    async with running(server):
        for code in (1000, 1008, 3000, 3999, 4000, 4711, 4999):
            client = await WebSocketClient.connect(await trio.open_tcp_stream(*server.addresses[0]))
            await client.close(code)
        with trio.fail_after(5):
            while sum(server.statistics().closed.values()) < 7:  # noqa: ASYNC110 -- there is nothing that would tell
                await trio.sleep(0.005)
    assert server.statistics().closed == {1000: 1, 1008: 1, 3000: 2, 4000: 3}


async def test_refusals_are_counted_once(variant: Variant) -> None:
    stage = Stage(variant, "socket")
    server = stage.server(origins=["https://good.example"])

    @server.authorize
    def decide(request: Request) -> None:
        raise Reject(403, "no")

    async with stage.serving(server):
        for _ in range(3):
            with pytest.raises(Refused):
                async with stage.connect():
                    pass
        assert server.statistics().refused == {403: 3}
        assert server.statistics().accepted == {variant.transformer_name: 0}
        assert (await stage.fetch("BREW")).status == 501
        assert (await stage.fetch("GET", "/nothing")).status == 404  # nobody is refused by that
        assert server.statistics().refused == {403: 3, 501: 1}


async def test_whoever_is_refused_is_counted_wherever_that_is() -> None:
    """By the limit on requests, by the names and origins that are allowed, by middleware; asking for a WebSocket or
    not."""
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    server = Server(
        config={},
        port=0,
        request_rate=1,
        request_burst=9,
        allowed_hosts=["127.0.0.1"],
        origins=["https://good.example"],
    )

    @server.use
    def refuse(request: Request) -> None:
        if "teapot" in request.query:
            raise Reject(418, "short and stout")

    async with running(server):
        for headers in ({}, {**upgrade, "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}):
            for status, target, more in (
                (421, "/primus", {"Host": "evil.example"}),
                (403, "/primus", {"Origin": "https://evil.example"}),
                (418, "/primus?teapot", {}),
            ):
                stream = await trio.open_tcp_stream(*server.addresses[0])
                fields = {"Host": "127.0.0.1", **headers, **more}
                lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
                await stream.send_all("\r\n".join([*lines, "", ""]).encode())
                assert (await stream.receive_some(100)).startswith(f"HTTP/1.1 {status} ".encode())
                await stream.aclose()
        assert server.statistics().refused == {421: 2, 403: 2, 418: 2}
        stream = await trio.open_tcp_stream(*server.addresses[0])
        old = {"Host": "127.0.0.1", **upgrade, "Sec-WebSocket-Version": "8"}
        lines = ["GET /primus HTTP/1.1", *(f"{name}: {value}" for name, value in old.items())]
        await stream.send_all("\r\n".join([*lines, "", ""]).encode())
        assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 426 ")
        await stream.aclose()
        assert server.statistics().refused == {421: 2, 403: 2, 418: 2, 426: 1}
        stream = await trio.open_tcp_stream(*server.addresses[0])
        answer = b""
        with trio.fail_after(5):
            while not answer.startswith(b"HTTP/1.1 429 "):
                await stream.send_all(b"GET /primus HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                answer = await stream.receive_some(1000)
        await stream.aclose()
        assert server.statistics().refused == {421: 2, 403: 2, 418: 2, 426: 1, 429: 1}


@pytest.mark.parametrize("overflow", ["drop", "close"])
async def test_slow_clients(overflow: str, autojump_clock: trio.testing.MockClock) -> None:
    server = Server(config={}, overflow=overflow, max_backlog=10_000, flush_timeout=10_000)
    async with memory_host(server) as host:
        stream = host.stream(capacity=1000)
        client = await WebSocketClient.connect(stream)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(20):
            server.broadcast("x" * 1000)
        now = server.statistics()
        if overflow == "drop":
            assert 5_000 < now.backlog <= 10_000
            assert now.dropped >= 10
            assert now.closed == {}
        else:
            assert now.dropped == 0
            assert now.closed == {1013: 1}
        await stream.aclose()
        del client
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().backlog == 0


async def test_messages_dropped_in_namespaces_that_go(autojump_clock: trio.testing.MockClock) -> None:
    import re

    server = Server(config={}, transformer="socket.io")
    space = server.of(re.compile("/game-.*"))
    opened: list[Connection] = []
    space.on_open(opened.append)
    async with memory_host(server) as host:
        async with connect_socketio("websocket")(host.dial, "/socket.io", namespace="/game-1"):
            assert server.statistics().connections == {("socket.io", "websocket"): 1}
            opened[0]._application.dropped += 5
            assert server.statistics().dropped == 5
        await trio.sleep(1)
        assert server.statistics().dropped == 5


async def test_actions() -> None:
    server = ActionServer(config={}, simultaneous_actions=1)
    going = trio.Event()

    @server.action
    async def wait(connection: Any) -> None:
        await going.wait()

    @server.action(timeout=0.01)
    async def slow(connection: Any) -> None:
        await trio.sleep_forever()

    @server.action
    def fail(connection: Any) -> None:
        raise ValueError("on purpose")

    @server.action
    def add(connection: Any, a: int = 1) -> dict[str, int]:
        return {"sum": a}

    def counts() -> tuple[int, int, int]:
        now = server.statistics()
        return now.actions, now.actions_failed, now.actions_pending

    async with memory_host(server) as host:
        for path, expected in [("/api/fail", (1, 1, 0)), ("/api/nothing", (2, 2, 0)), ("/api/slow", (3, 3, 0))]:
            await fetch(host.stream(), "GET", path)
            assert counts() == expected
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, host.stream(), "GET", "/api/wait")
            await trio.testing.wait_all_tasks_blocked()
            assert counts() == (4, 3, 1)
            nursery.start_soon(server.run_action, "wait")
            await trio.testing.wait_all_tasks_blocked()
            assert counts() == (5, 3, 2)
            going.set()
        assert counts() == (5, 3, 0)
        async with trio.open_nursery() as nursery:
            going = trio.Event()
            nursery.start_soon(server.run_action, "wait")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert counts() == (6, 3, 0)  # nobody has got an answer
        # Over a websocket, what does not wait takes a way of its own.
        async with connect_websocket(host.dial, "/primus") as client:
            assert (await client.receive())["context"] == "api"
            for action, failures in (("fail", 4), ("nothing", 5), ("add", 5)):
                await client.send({"event": "action", "params": {"action": action}, "messageId": 1})
                assert ("error" in await client.receive()) == (action != "add")
                assert counts()[1:] == (failures, 0)
            assert counts()[0] == 9


async def test_sessions_and_stores_that_can_not_tell(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(config={})
    async with server.sessions.session("a").change() as data:
        data["x"] = 1
    assert server.statistics().sessions == 1

    class Store:
        def session(self, key: str) -> Any:
            raise NotImplementedError

    stranger = Server(config={}, sessions=Store())  # type: ignore[arg-type]
    assert stranger.statistics().sessions is None


async def test_it_stays_as_it_was_and_is_all_explained() -> None:
    server = Server(config={})
    now = server.statistics()
    with pytest.raises(dataclasses.FrozenInstanceError):
        now.sockets = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        now.closed[1000] = 1  # type: ignore[index]
    server._namespaces.shared.counters.close(1000)
    assert now.closed == {}
    for field in dataclasses.fields(ServerStatistics):
        assert f"{field.name}" in (ServerStatistics.__doc__ or ""), field.name


async def test_thousands_are_counted_while_others_have_their_turns(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(config={}, ping_interval=0, timeout=0)
    async with memory_host(server) as host:
        clients = [connect_websocket(host.dial, "/primus") for _ in range(_SLICE + 1)]
        for client in clients:
            await client.__aenter__()
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            await trio.lowlevel.checkpoint()
            turns = 0
            told = await server._statistics_in_turns()
            assert turns >= 3
            nursery.cancel_scope.cancel()
        assert told.connections == {("websockets", "websocket"): _SLICE + 1}
        clocks = {name: getattr(told, name) for name in ("uptime", "loop_lag", "loop_blocked")}
        assert told == dataclasses.replace(server.statistics(), **clocks)
        for client in clients:
            await client.__aexit__(None, None, None)


async def test_the_loop_s_lag() -> None:
    server = Server(config={}, port=0)
    assert server.statistics().loop_lag is None
    async with running(server):
        lag = server.statistics().loop_lag
        assert lag is not None
        assert lag >= 0
    deaf = Server(config={}, port=0, blocking_warning=0)
    async with running(deaf):
        assert deaf.statistics().loop_lag is None


def test_the_loop_s_lag_is_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr("ahtransport._blocking.perf_counter", lambda: clock)
    watch = BlockingWatch(limit=1000)

    def turn(at: float, took: float) -> None:
        nonlocal clock
        clock = at
        watch.after_io_wait(0)
        clock = at + took
        watch.before_io_wait(0)

    turn(100, 5)
    assert watch.recent() == 5
    turn(100 + _WINDOW + 1, 1)
    assert watch.recent() == 5
    turn(100 + 2 * _WINDOW + 2, 0.5)
    assert watch.recent() == 1
    turn(100 + 9 * _WINDOW, 0.25)  # nothing has happened for long
    assert watch.recent() == 0.25
    clock = 10_000
    assert watch.recent() == 0
    assert watch.worst == 5
