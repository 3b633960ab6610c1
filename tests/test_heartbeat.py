"""Deadlines, and the watch over a connection's signs of life."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from math import inf
from typing import TYPE_CHECKING, Any, Literal

import pytest
import trio
from trio.testing import MockClock

from ahtransport import Connection, Server
from ahtransport._heartbeat import Deadlines
from ahtransport._mount import Mount
from ahtransport.testing import Record, WebSocketClient, connect_websocket, memory_host, running

if TYPE_CHECKING:
    from ahtransport import Request


async def test_deadlines_come_in_order(autojump_clock: MockClock) -> None:
    deadlines, calls = Deadlines(), list[tuple[str, float]]()
    start = trio.current_time()

    def call(name: str) -> None:
        calls.append((name, trio.current_time() - start))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        await trio.testing.wait_all_tasks_blocked()  # it sleeps for ever now, and has to be woken
        for name, after in (("c", 3), ("a", 1), ("same", 3), ("past", -1), ("b", 2)):
            deadlines.at(start + after, lambda name=name: call(name))  # type: ignore[misc]
        assert len(deadlines) == 5
        await trio.sleep(10)
        assert calls == [("past", 0), ("a", 1), ("b", 2), ("c", 3), ("same", 3)]
        assert len(deadlines) == 0
        nursery.cancel_scope.cancel()


async def test_nothing_is_left_of_a_run_that_is_over(autojump_clock: MockClock) -> None:
    deadlines, calls = Deadlines(), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        await trio.testing.wait_all_tasks_blocked()
        timers = [deadlines.at(trio.current_time() + 1, lambda: calls.append("before")) for _ in range(3)]
        timers[0].cancel()
        nursery.cancel_scope.cancel()
    deadlines.clear()
    assert len(deadlines) == 0
    timers[1].cancel()
    assert len(deadlines) == 0
    async with trio.open_nursery() as nursery:
        autojump_clock.jump(100)
        nursery.start_soon(deadlines.run)
        await trio.testing.wait_all_tasks_blocked()
        deadlines.at(trio.current_time() + 1, lambda: calls.append("after"))
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    assert calls == ["after"]
    assert deadlines.awake_since == -inf  # it was nobody's run that took so long


async def test_a_callback_may_ask_for_another(autojump_clock: MockClock) -> None:
    deadlines, times = Deadlines(), list[float]()

    def again() -> None:
        times.append(trio.current_time())
        if len(times) < 4:
            deadlines.at(trio.current_time() + 5, again)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        start = trio.current_time()
        deadlines.at(start + 5, again)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert [time - start for time in times] == [5, 10, 15, 20]


async def test_cancelled_deadlines_do_not_happen(autojump_clock: MockClock) -> None:
    deadlines, calls = Deadlines(), list[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        timers = [deadlines.at(trio.current_time() + 1, lambda n=n: calls.append(n)) for n in range(10)]  # type: ignore[misc]
        for timer in timers[::2]:
            timer.cancel()
            timer.cancel()
        assert len(deadlines) == 5
        await trio.sleep(2)
        assert calls == [1, 3, 5, 7, 9]
        assert len(deadlines) == 0
        timers[1].cancel()  # too late, and harmless
        assert len(deadlines) == 0
        nursery.cancel_scope.cancel()


async def test_cancelled_deadlines_take_no_memory() -> None:
    deadlines = Deadlines()
    kept = deadlines.at(1e9, lambda: None)
    for _ in range(10_000):
        deadlines.at(2e9, lambda: None).cancel()
    assert len(deadlines) == 1
    assert len(deadlines._heap) < 200
    kept.cancel()
    assert len(deadlines) == 0


async def test_a_callback_that_fails_stops_nobody(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    deadlines, calls = Deadlines(), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        deadlines.at(trio.current_time() + 1, lambda: [].pop())
        deadlines.at(trio.current_time() + 2, lambda: calls.append("the next"))
        await trio.sleep(3)
        nursery.cancel_scope.cancel()
    assert calls == ["the next"]
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


# -- the watch


async def test_what_came_while_the_loop_stood_still_is_read_first() -> None:
    """Whoever sent something in time is not gone because a handler, or the machine, kept the server from looking."""
    for _ in range(6):  # whose turn came first was a matter of luck
        deadlines, calls = Deadlines(), list[str]()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(deadlines.run)
                timer = deadlines.at(trio.current_time() + 0.05, lambda calls=calls: calls.append("silent"))  # type: ignore[misc]
                deadlines.at(trio.current_time() + 0.05, lambda calls=calls: calls.append("another"))  # type: ignore[misc]
                await trio.testing.wait_all_tasks_blocked()
                theirs.send(b"alive")
                time.sleep(0.15)  # noqa: ASYNC251 -- this is what stands still
                await trio.lowlevel.wait_readable(ours)
                calls.append(ours.recv(100).decode())
                timer.cancel()
                await trio.sleep(0.2)
                nursery.cancel_scope.cancel()
        assert calls == ["alive", "another"]


@pytest.mark.parametrize("driver", ["reactor", "task"])
async def test_a_request_that_came_while_the_loop_stood_still_is_answered(
    driver: Literal["reactor", "task"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though by the clock its connection has been idle for too long."""
    monkeypatch.setattr(Server, "_driver", driver)
    request = b"GET /primus/spec HTTP/1.1\r\nHost: x\r\n\r\n"
    server = make_server(keep_alive=400)
    async with running(server):
        with socket.create_connection(("127.0.0.1", server.port)) as client:  # trio's would let the loop turn
            for still in (0, 0.55, 0, 0.55, 0, 0.55):
                client.send(request)
                time.sleep(still)  # noqa: ASYNC251 -- this is what stands still
                with trio.fail_after(10):
                    await trio.lowlevel.wait_readable(client)
                assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_so_are_many_that_take_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than others' turns would do: nobody is judged before all that were ready have been read."""
    answer = Mount.handle_request

    def take_time(self: Mount, request: Request) -> Any:
        time.sleep(0.003)  # so that each takes more than a slice of the reactor's
        return answer(self, request)

    monkeypatch.setattr(Mount, "handle_request", take_time)
    server = make_server(keep_alive=1500, blocking_warning=0)
    async with running(server):
        with ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(150)]
            for still in (0, 1.6):
                for client in clients:
                    client.send(b"GET /primus/spec HTTP/1.1\r\nHost: x\r\n\r\n")
                time.sleep(still)  # noqa: ASYNC251 -- this is what stands still
                for client in clients:
                    with trio.fail_after(20):
                        await trio.lowlevel.wait_readable(client)
                    assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def make_server(handler: Any = None, **options: Any) -> Server:
    return Server(handler, config={}, transformer="websockets", port=0, **options)


async def test_a_client_that_is_paused_is_not_silent(autojump_clock: MockClock) -> None:
    """Whose messages nobody takes can't prove that he lives."""

    async def handler(connection: Connection) -> None:
        async for _ in connection:
            await trio.sleep(100)

    server = make_server(handler, inbox=1)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        for number in range(4):
            await client.send(number)
        await trio.sleep(310)
        assert record.opened
        assert not record.closed
        # Once it is heard again, it has a whole time-out to say something.
        assert not record.opened[0].is_paused
        await trio.sleep(200)
        assert [code for _, code, _ in record.closed] == [1001]


async def test_a_websocket_ping_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    server = make_server(ping_interval=0)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        for _ in range(20):
            assert isinstance(client.socket, WebSocketClient)
            await client.socket.ping(b"x")
            await trio.sleep(30)
        assert not record.closed
        await trio.sleep(6)
        assert record.closed


async def test_pings_and_timeouts_as_configured(autojump_clock: MockClock) -> None:
    server = make_server(ping_interval=1000, timeout=2500)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        client.answer_pings = False
        start = trio.current_time()
        await record.until(lambda: record.closed)
        assert trio.current_time() - start == pytest.approx(2.5)
        with pytest.raises(Exception, match="no sign of life"):
            await client.receive()
        assert [text[:14] for text in client.control] == ["primus::ping::"] * 2


async def test_who_starts_to_ping_later_is_pinged_no_more(autojump_clock: MockClock) -> None:
    server = make_server(ping_interval=10000)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        with trio.move_on_after(25):
            await client.receive()
        assert [text[:14] for text in client.control] == ["primus::ping::"] * 2
        for _ in range(5):
            await client.send("primus::ping::1")
            with trio.move_on_after(20):
                await client.receive()
        assert client.control[2:] == ["primus::pong::1"] * 5


def test_silence_is_judged_by_the_clock_of_the_run() -> None:
    """One run stood still, by a clock that was far ahead of the next one's."""

    async def run(clock: MockClock, begin: float) -> None:
        clock.jump(begin)
        clock.autojump_threshold = 0
        record = Record(server)
        async with memory_host(server) as host:
            await WebSocketClient.connect(host.stream())
            await record.until(lambda: record.opened)
            if begin:
                clock.jump(100)
                await trio.sleep(10)
                assert server._application.deadlines.awake_since > begin
                return
            await trio.sleep(40)
            assert [code for _, code, _ in record.closed] == [1001]

    server = Server(config={}, transformer="websockets", port=0, timeout=35_000)
    for begin in (1e6, 0):
        clock = MockClock()
        trio.run(run, clock, begin, clock=clock)
