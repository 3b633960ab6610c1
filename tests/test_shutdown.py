"""The end of a server: signals, the drain, and those that would hold it up."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
from ahtransport.transports.engineio import EngineIOTransformer
from trio.testing import MockClock

from ahtransport import ActionServer, Connection, ConnectionClosed, Reject, Request, Response, Server
from ahtransport.abc import Control
from ahtransport.testing import (
    MemoryHost,
    Record,
    Refused,
    WebSocketClient,
    connect_websocket,
    fetch,
    leftovers,
    memory_host,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def make_server(handler: Any = None, **options: Any) -> Server:
    return Server(handler, config={}, transformer="websockets", port=0, **options)


async def stubborn(connection: Connection) -> None:
    """Go on whatever happens, as long as nobody cancels."""
    await trio.sleep_forever()


async def run_with_signals(server: Server, script: Callable[[], Any]) -> None:
    """Run as ``server.run`` does, beside a script."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server._run)
        while not server.addresses:
            await trio.lowlevel.checkpoint()
        await script()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_h2_a_signal_drains(number: signal.Signals, caplog: pytest.LogCaptureFixture) -> None:
    async def script() -> None:
        stream = await trio.open_tcp_stream(*server.addresses[0])
        client = await WebSocketClient.connect(stream)
        await record.until(lambda: record.opened)
        signal.raise_signal(number)
        with pytest.raises(ConnectionClosed, match="1012: the server is shutting down"):
            await client.receive()
        await stream.aclose()

    server = make_server()
    record = Record(server)
    caplog.set_level("INFO")
    with trio.fail_after(20):
        await run_with_signals(server, script)
    assert not leftovers(server)
    assert len(record.closed) == 1
    messages = [entry.getMessage() for entry in caplog.records]
    assert f"{number.name}: stopping; once more ends at once" in messages
    assert f"websockets on {server.url}" in messages


async def test_h2_a_second_signal_ends_at_once() -> None:
    async def script() -> None:
        stream = await trio.open_tcp_stream(*server.addresses[0])
        await WebSocketClient.connect(stream)
        await record.until(lambda: record.opened)
        signal.raise_signal(signal.SIGTERM)
        while not server.stopping:
            await trio.lowlevel.checkpoint()
        signal.raise_signal(signal.SIGTERM)
        with trio.fail_after(5):  # the grace would be ten seconds
            await server._ended.wait()
        await stream.aclose()

    server = make_server(stubborn)
    record = Record(server)
    with trio.fail_after(20):
        await run_with_signals(server, script)
    assert not leftovers(server)
    assert len(record.closed) == 1


def test_run_returns_when_all_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(original)
            while not server.addresses:
                await trio.lowlevel.checkpoint()
            server.shutdown()

    server = make_server()
    original = server._run
    monkeypatch.setattr(server, "_run", run)
    server.run()
    assert server.stopping
    assert not leftovers(server)


async def test_h2_nobody_comes_in_any_more(autojump_clock: MockClock) -> None:
    server = make_server(stubborn)
    async with memory_host(server) as host:
        idle, late = host.stream(), host.stream()
        client = await WebSocketClient.connect(host.stream())
        await late.send_all(b"GET /primus HTTP/1.1\r\nHost: x\r\n")
        await trio.testing.wait_all_tasks_blocked()
        server.shutdown()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="nobody"):
            host.stream()
        assert await idle.receive_some() == b""  # it had no request under way
        assert await late.receive_some() == b""
        with pytest.raises(ConnectionClosed, match="1012"):
            await client.receive()


def polled(stay_away: bool) -> Server:
    """A server whose clients poll, and get two messages at the end."""

    def bye(connection: Connection, message: Any) -> None:
        connection.send_nowait("one")
        connection.send_nowait("two")
        server.shutdown()

    transformer = {"engine.io": "/eio", "socket.io": "/sio"}
    server = Server(config={}, transformer=transformer, port=0, destroy_clients_on_shutdown=stay_away)
    server.on_message(bye)
    return server


async def begin_polling(stream: trio.abc.Stream, path: str) -> str:
    """Have a connection by polling; the path of its polls."""
    opening = await fetch(stream, "GET", f"{path}?EIO=4&transport=polling")
    session = f"{path}?EIO=4&transport=polling&sid={json.loads(opening.body[1:])['sid']}"
    if path == "/sio/":
        await fetch(stream, "POST", session, body=b"40")
        assert (await fetch(stream, "GET", session)).body.startswith(b"40")
    return session


async def until_told(stream: trio.abc.Stream, client: WebSocketClient | None, session: str) -> None:
    """Wait for the end of a session, as its client is told of it."""
    if client is None:
        assert (await fetch(stream, "GET", session)).body.split(b"\x1e")[-1] == b"1"
        return
    with pytest.raises(ConnectionClosed, match="1012: the server is shutting down"):
        await client.receive()
    await stream.aclose()


@pytest.mark.parametrize("stay_away", [False, True])
@pytest.mark.parametrize("transport", ["websocket", "polling", "between two polls"])
@pytest.mark.parametrize("how", ["it never came", "it is being asked for", "it was refused", "it left"])
async def test_h2_who_is_in_no_namespace_is_told_too(
    how: str, transport: str, stay_away: bool, autojump_clock: MockClock
) -> None:
    """None of the connections is its, and so no connection's goodbye is for it."""

    async def authorize(request: Request) -> None:
        if how == "it is being asked for":
            await trio.sleep_forever()
        if how == "it was refused":
            raise Reject(401, "not you")

    server = Server(config={}, transformer="socket.io", port=0, destroy_clients_on_shutdown=stay_away)
    server.authorize(authorize)
    packets = [] if how == "it never came" else ["40"]
    async with memory_host(server) as host, trio.open_nursery() as nursery:
        stream, session, client = host.stream(), "", None
        if transport == "websocket":
            client = await WebSocketClient.connect(stream, "/socket.io/?EIO=4&transport=websocket")
            await client.receive()
        else:
            opening = await fetch(stream, "GET", "/socket.io/?EIO=4&transport=polling")
            session = f"/socket.io/?EIO=4&transport=polling&sid={json.loads(opening.body[1:])['sid']}"
        for packet in [*packets, *(["41"] if how == "it left" else [])]:
            if client is not None:
                await client.send(packet)
            else:
                await fetch(stream, "POST", session, body=packet.encode())
            if packet == "40" and how != "it is being asked for":
                answer = await client.receive() if client is not None else (await fetch(stream, "GET", session)).body
                assert answer[:2] in (("44", b"44") if how == "it was refused" else ("40", b"40"))
        if transport != "between two polls":
            nursery.start_soon(until_told, stream, client, session)
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        server.shutdown()
        if transport == "between two polls":
            await trio.sleep(0.5)
            await until_told(stream, client, session)
        await server._ended.wait()
        assert trio.current_time() - begun < 1.1
    assert not leftovers(server)


@pytest.mark.parametrize("stay_away", [False, True])
@pytest.mark.parametrize(("path", "message"), [("/eio/", b'4"%s"'), ("/sio/", b'42["message","%s"]')])
async def test_h2_who_is_between_two_polls_gets_it_all(
    path: str, message: bytes, stay_away: bool, autojump_clock: MockClock
) -> None:
    """The connection over which the next poll comes stays open for it, and nothing waits longer than for that."""
    server = polled(stay_away)
    async with memory_host(server) as host:
        stream, other = host.stream(), host.stream()
        session = await begin_polling(stream, path)
        assert (await fetch(other, "GET", f"{path}?EIO=4&transport=polling")).status == 200  # never polls
        begun = trio.current_time()
        assert (await fetch(stream, "POST", session, body=message % b"bye")).body == b"ok"
        await trio.sleep(0.5)
        packets = (await fetch(stream, "GET", session)).body.split(b"\x1e")
        assert packets[:2] == [message % b"one", message % b"two"]
        if path == "/sio/" and stay_away:
            assert packets[2:] == [b"41"]
        else:
            assert packets[-1] == b"1"
        assert await stream.receive_some() == await other.receive_some() == b""
        await server._ended.wait()
        assert trio.current_time() - begun < 1.1
    assert not leftovers(server)


async def test_h2_who_polls_no_more_holds_nothing_up(autojump_clock: MockClock) -> None:
    """There is no connection over which a poll could come."""
    server = polled(False)
    async with memory_host(server) as host:
        for _ in range(3):
            stream = host.stream()
            await begin_polling(stream, "/eio/")
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        server.shutdown()
        await server._ended.wait()
        assert trio.current_time() - begun < 0.1
    assert not leftovers(server)


async def test_an_upgrade_that_comes_too_late_is_refused() -> None:
    async def middleware(request: Request) -> None:
        server.shutdown()

    server = make_server()
    server.use(middleware)
    record = Record(server)
    async with memory_host(server) as host:
        with pytest.raises(Refused) as refused:
            await WebSocketClient.connect(host.stream())
        assert refused.value.response.status == 503
        assert refused.value.response.headers["retry-after"] == "1"
    assert not record.opened


async def test_h2_requests_in_flight_are_answered(autojump_clock: MockClock) -> None:
    async def slow(request: Request) -> Response:
        await trio.sleep(8)
        return Response.text(200, "done")

    server = make_server()
    server.route("/slow", slow)
    async with memory_host(server) as host:
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await fetch(host.stream(), "GET", "/slow"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            server.shutdown()
        assert answers[0].body == b"done"
        assert answers[0].headers["connection"] == "close"
        await server._ended.wait()


@pytest.mark.parametrize("grace", [0, 3000])
async def test_h2_the_grace_is_as_configured(grace: int, autojump_clock: MockClock) -> None:
    async def slow(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    server = make_server(stubborn, shutdown_grace=grace, close_timeout=100_000)
    server.route("/slow", slow)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial):
        await host.stream().send_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await record.until(lambda: record.opened)
        start = trio.current_time()
        server.shutdown()
        await server._ended.wait()
        assert trio.current_time() - start == pytest.approx(grace / 1000)
    assert not leftovers(server)
    assert len(record.closed) == 1


@pytest.mark.parametrize("how", ["handler", "on_message"])
async def test_h2_a_grace_that_is_longer_than_close_timeout_is_given(how: str, autojump_clock: MockClock) -> None:
    finished: list[bool] = []

    async def work(connection: Connection, message: Any = None) -> None:
        await trio.sleep(8)
        finished.append(connection.state != "open")

    server = make_server(work if how == "handler" else None, shutdown_grace=30_000, close_timeout=1000)
    if how == "on_message":
        server.on_message(work)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send("go on")
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        server.shutdown()
        with pytest.raises(ConnectionClosed, match="1012"):
            await client.receive()
        await server._ended.wait()
        assert trio.current_time() - begun == pytest.approx(8)
    assert finished == [True]
    assert not leftovers(server)


async def test_h2_an_action_is_finished_for_who_will_hear_of_it(autojump_clock: MockClock) -> None:
    """By HTTP, that is; one that came over a connection ends with that, and has no grace."""
    ends: list[str] = []
    server = ActionServer(config={}, transformer="websockets", port=0)

    @server.action
    async def slow(connection: Any) -> dict[str, Any]:
        try:
            await trio.sleep(3)
        except trio.Cancelled:
            ends.append(f"{connection.type} cancelled after {trio.current_time() - begun:.0f} s")
            raise
        ends.append(f"{connection.type} done after {trio.current_time() - begun:.0f} s")
        return {}

    async def ask() -> None:
        assert (await fetch(host.stream(), "GET", "/api/slow")).status == 200

    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        await client.send({"event": "action", "params": {"action": "slow"}, "messageId": 1})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            begun = trio.current_time()
            server.shutdown()
        await client.close()
        await server._ended.wait()
    assert ends == ["websocket cancelled after 0 s", "web done after 3 s"]


@pytest.mark.parametrize("method", ["unfetched", "dismiss", "stop", "encode"])
async def test_h2_a_transformer_that_fails_at_the_end_ends_nothing_else(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: EngineIOTransformer, *args: Any) -> Any:
        if method == "encode" and not isinstance(args[0], Control):
            return EngineIOTransformer.encode(self, *args)
        raise ValueError("a bug")

    kind = type("Buggy", (EngineIOTransformer,), {"name": "buggy", method: fail})
    transformers = [kind, "websockets"] if method == "encode" else ["websockets", kind]
    server = Server(config={}, transformer=transformers, port=0, destroy_clients_on_shutdown=True)
    record = Record(server)
    async with memory_host(server) as host, connect_websocket(host.dial) as client:
        stream, idle = host.stream(), host.stream()
        await WebSocketClient.connect(stream, "/primus?EIO=4&transport=websocket&_primuscb=1")
        await record.until(lambda: len(record.opened) == 2)
        server.shutdown()
        with pytest.raises(ConnectionClosed, match="1012"):
            await client.receive()
        await stream.aclose()
        assert await idle.receive_some() == b""
        await server._ended.wait()
    assert {str(entry.exc_info[1]) for entry in caplog.records if entry.exc_info} == {"a bug"}
    assert not leftovers(server)


async def test_nothing_is_left_to_wait_for() -> None:
    server = make_server()
    async with memory_host(server):
        server.shutdown()
        await server._ended.wait()
        server.shutdown()
    assert server.stopping


async def test_h2_many_connections_are_told_in_turns() -> None:
    """More than are told in one go; others are served meanwhile."""
    server = make_server()
    record = Record(server)
    async with memory_host(server) as host, trio.open_nursery() as nursery:
        codes: list[int] = []

        async def stay() -> None:
            client = await WebSocketClient.connect(host.stream())
            try:
                await client.receive()
            except ConnectionClosed as closed:
                codes.append(closed.code)
            await client.close()

        for _ in range(1100):
            nursery.start_soon(stay)
        await record.until(lambda: len(record.opened) == 1100)
        server.shutdown()
        await server._ended.wait()
    assert codes == [1012] * 1100
    assert len(record.closed) == 1100


async def open_many(host: MemoryHost, record: Record, count: int) -> None:
    for _ in range(count):
        await WebSocketClient.connect(host.stream())
    await record.until(lambda: len(record.opened) == count)


async def test_h2_everybody_is_told_however_short_the_grace_is() -> None:
    server = make_server(shutdown_grace=0)
    record = Record(server)
    async with memory_host(server) as host:
        await open_many(host, record, 1100)
        server.shutdown()
        await server._ended.wait()
    assert Counter(code for _, code, _ in record.closed) == {1012: 1100}
    assert not leftovers(server)


async def test_h2_who_cancels_does_not_wait_until_everybody_is_told() -> None:
    server = make_server()
    record = Record(server)
    with trio.CancelScope() as scope:
        server.on_close(lambda connection, code, reason: scope.cancel())
        async with memory_host(server) as host:
            await open_many(host, record, 1100)
            server.shutdown()
            await trio.sleep_forever()
    assert Counter(code for _, code, _ in record.closed) == {1012: 500, 1006: 600}
    assert not leftovers(server)


async def test_h2_hundreds_on_real_sockets(caplog: pytest.LogCaptureFixture) -> None:
    """WebSockets, polls that wait, handlers at work and one that hangs: goodbye to all at once, then the grace."""
    many, polls, at_work = 300, 20, 25
    ends: Counter[str] = Counter()
    begun = finished = 0
    told = trio.Event()

    async def work(connection: Connection, message: Any) -> None:
        nonlocal begun, finished
        begun += message != "idle"
        if message == "work":
            await told.wait()
            await trio.sleep(0.3)
            finished += 1
        elif message == "hang":
            await trio.sleep_forever()

    server = Server(config={}, port=0, transformer={"websockets": "/primus", "engine.io": "/eio"}, shutdown_grace=3000)
    server.on_message(work)
    record = Record(server)

    async def stay(number: int) -> None:
        async with await trio.open_tcp_stream(*server.addresses[0]) as stream:
            client = await WebSocketClient.connect(stream)
            await client.send('"hang"' if number == 0 else '"work"' if number <= at_work else '"idle"')
            try:
                await client.receive()
            except ConnectionClosed as closed:
                ends[f"{closed.code}"] += 1

    async def poll(number: int) -> None:
        async with await trio.open_tcp_stream(*server.addresses[0]) as stream:
            opening = await fetch(stream, "GET", "/eio/?EIO=4&transport=polling")
            sid = json.loads(opening.body[1:])["sid"]
            if number % 2:
                await told.wait()  # between two polls when the end comes
            for _ in range(3):
                answer = await fetch(stream, "GET", f"/eio/?EIO=4&transport=polling&sid={sid}")
                ends[f"poll {answer.status}"] += 1
                if b"1" in answer.body.split(b"\x1e"):
                    ends["poll over"] += 1
                    return

    async def script() -> None:
        async with trio.open_nursery() as clients:
            for number in range(many):
                clients.start_soon(stay, number)
            for number in range(polls):
                clients.start_soon(poll, number)
            await record.until(lambda: len(record.opened) == many + polls)
            # Handlers are counted by themselves: a handshake may have a task as well.
            while begun < at_work + 1:  # noqa: ASYNC110 -- nothing would tell
                await trio.sleep(0.005)
            signal.raise_signal(signal.SIGTERM)
            told.set()

    began = trio.current_time()
    with trio.fail_after(30):
        await run_with_signals(server, script)
    assert ends["1012"] == many
    assert (ends["poll over"], ends["poll 200"] >= polls) == (polls, True)
    assert finished == at_work
    assert trio.current_time() - began < 20
    assert len(record.closed) == many + polls
    assert not leftovers(server)
    assert not [entry for entry in caplog.records if entry.exc_info]


CROWD = """
import sys, trio
from ahtransport import Server

server = Server(config={}, port=int(sys.argv[1]), transformer={"websockets": "/primus", "socket.io": "/sio"})

@server.on_message
async def handle(connection, message):
    connection.send_nowait("begun")
    if message == "hang":
        await trio.sleep_forever()
    await trio.sleep(3)
    print("done", flush=True)

server.run()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("AHTRANSPORT_SLOW") != "1", reason="takes half a minute: set AHTRANSPORT_SLOW=1")
@pytest.mark.parametrize("signals", [1, 2])
async def test_h2_thousands_and_a_process_of_its_own(signals: int) -> None:
    """A third of them speak Socket.IO. Goodbye to all, the grace for busy handlers, and the process ends with 0; after
    a second signal it ends at once."""
    many, busy = 5000, 50
    ends: Counter[str] = Counter()
    begun = 0
    welcome = trio.Event()

    async def stay(port: int, number: int) -> None:
        nonlocal begun
        sio = number % 3 == 0
        async with limit:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            client = await WebSocketClient.connect(stream, "/sio/?EIO=4&transport=websocket" if sio else "/primus")
            if sio:
                await client.receive()
                await client.send("40")
                await client.receive()
            if number < busy:
                message = "hang" if number == 0 else "work"
                await client.send(f'42["message","{message}"]' if sio else f'"{message}"')
                assert "begun" in str(await client.receive())
        begun += 1
        if begun == many:
            welcome.set()
        try:
            await client.receive()
        except (ConnectionClosed, EOFError, trio.BrokenResourceError) as closed:
            ends[str(getattr(closed, "code", "cut"))] += 1
        await trio.aclose_forcefully(stream)

    limit = trio.CapacityLimiter(200)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", CROWD, str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with trio.fail_after(120):
        while True:
            with suppress(OSError):
                await trio.aclose_forcefully(await trio.open_tcp_stream("127.0.0.1", port))
                break
            await trio.sleep(0.1)
        async with trio.open_nursery() as clients:
            for number in range(many):
                clients.start_soon(stay, port, number)
            await welcome.wait()
            began = trio.current_time()
            process.send_signal(signal.SIGTERM)
            if signals == 2:
                await trio.sleep(1)
                began = trio.current_time()
                process.send_signal(signal.SIGTERM)
            await process.wait()
            took = trio.current_time() - began
    if signals == 2:
        assert took < 1
        return
    assert process.returncode == 0
    assert took < 30
    assert ends["1012"] == many
    assert (await process.stdout.receive_some(65536)).count(b"done") == busy - 1


async def test_the_port_is_free_again() -> None:
    server = make_server()
    async with running(server):
        port = server.port
        server.shutdown()
        await server._ended.wait()
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        for listener in listeners:
            await listener.aclose()


@pytest.mark.parametrize("level", [Server, ActionServer])
async def test_a_server_may_serve_again(level: type[Server]) -> None:
    server = level(config={}, transformer="websockets", port=0)
    server.shutdown()  # nobody is served yet, so it means nothing
    for _ in range(2):
        async with memory_host(server) as host, connect_websocket(host.dial) as client:
            if isinstance(server, ActionServer):
                assert (await client.receive())["context"] == "api"
                await client.send({"event": "action", "params": {"action": "nothing"}, "messageId": 1})
                assert (await client.receive())["error"] == "unknown action or invalid apiVersion"
            server.shutdown()
            with pytest.raises(ConnectionClosed, match="1012"):
                await client.receive()


@pytest.mark.parametrize("level", [Server, ActionServer])
def test_what_was_sent_in_one_run_does_not_count_in_the_next(level: type[Server]) -> None:
    """Nor would it matter that the clock of the next one begins elsewhere."""

    async def run(clock: MockClock, begin: float) -> None:
        clock.jump(begin)
        clock.autojump_threshold = 0
        async with memory_host(server) as host, connect_websocket(host.dial) as client:
            for number in range(1, 6):
                await client.send({"event": "detailsView", "messageId": number})
                with trio.fail_after(5):
                    while (answer := await client.receive()).get("messageId") != number:
                        pass
                assert "error" not in answer, answer

    server = level(config={}, transformer="websockets", port=0, message_rate_per_address=1, message_burst_per_address=5)
    if level is Server:
        server.on_message(lambda connection, message: connection.send_nowait(message))
    for begin in (1000, 0, 0) if level is Server else (1000, 0):
        clock = MockClock()
        trio.run(run, clock, begin, clock=clock)


async def test_h2_who_is_still_being_asked_for_is_refused(autojump_clock: MockClock) -> None:
    """A connection that came to be after all were told would not hear of the end."""

    async def slow(request: Request) -> None:
        await trio.sleep(1)

    server = make_server(shutdown_grace=10_000)
    server.authorize(slow)
    record = Record(server)
    begun = trio.current_time()
    async with memory_host(server) as host:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def connect() -> None:
                with pytest.raises(Refused) as caught:
                    await WebSocketClient.connect(host.stream())
                assert caught.value.response.status == 503

            await trio.sleep(0.5)
            server.shutdown()
        assert not record.opened
    assert trio.current_time() - begun < 2


@pytest.mark.parametrize("transformer", ["engine.io", "socket.io"])
async def test_h2_no_session_begins_in_a_drain(transformer: str) -> None:
    def stop(request: Request) -> None:
        server.shutdown()

    server = Server(config={}, transformer=transformer, port=0, pathname="/primus")
    server.use(stop)
    async with memory_host(server) as host:
        answer = await fetch(host.stream(), "GET", "/primus/?EIO=4&transport=polling", [("Host", "h")])
        assert answer.status == 503
        assert not server.connections


async def test_h2_a_signal_that_comes_before_anybody_is_served_ends_it() -> None:
    class Slow(Server):
        async def serve(self, **options: Any) -> None:
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep(60)
            await super().serve(**options)

    with trio.fail_after(20):
        await Slow(config={}, transformer="websockets", port=0)._run()
