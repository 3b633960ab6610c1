"""H10, H11, H12, H19: peers that vanish, clocks that jump, servers that stand still; over every transformer."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from ahtransport import ConnectionClosed
from ahtransport.testing import VARIANTS, Record, Stage, Variant
from hostile.proxy import Proxy, through

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ahtransport import Connection
    from ahtransport.testing import MessageClient

SILENCE = 46.0  # seconds after which nobody is kept who says nothing
APP = """
import trio
from ahtransport import Server, _heartbeat

_heartbeat.STALL, _heartbeat.CATCH_UP = 0.5, 0.2  # a test has no time to stop it for longer
server = Server(config={{}}, port=0, {options})
server.on_message(lambda connection, message: connection.send_nowait(message))

async def main():
    async with trio.open_nursery() as nursery:
        print(*await nursery.start(server.serve), flush=True)

trio.run(main)
"""


def echo(connection: Connection, message: Any) -> None:
    connection.send_nowait(message)


def heartbeat(variant: Variant, interval: int, timeout: int) -> dict[str, Any]:
    """Give the options for such a heartbeat (milliseconds), whichever layer has it."""
    options: dict[str, Any] = {"transformer": variant.transformer}
    if variant.transformer_name != "websockets":
        options["transport"] = {"ping_interval": interval, "ping_timeout": timeout}
    if variant.primus:
        options |= {"ping_interval": interval, "timeout": interval + timeout}
    return options


async def listen(client: MessageClient) -> None:
    """Read, and so answer pings, until it ends."""
    with suppress(ConnectionClosed, trio.BrokenResourceError):
        while True:
            await client.receive()


def play(stage: Stage, scene: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        with trio.fail_after(3600):
            await scene()

    trio.run(main, clock=stage.clock)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "sending"])
def test_h10_a_peer_that_vanishes_without_a_word(variant: Variant, busy: bool) -> None:
    """No FIN, no reset, nobody reads: gone within 46 seconds, within 11 where bytes wait for it; one close."""
    stage = Stage(variant, "memory")
    server = stage.server()
    server.on_message(echo)
    record = Record(server)

    async def scene() -> None:
        async with stage.serving(server), stage.connect(capacity=4096) as client:
            await client.send("hello")
            assert await client.receive() == "hello"
            begun = trio.current_time()
            if busy:
                record.opened[0].send_nowait("x" * 100_000)
            await record.until(lambda: record.closed)
            patience = 11 if busy and variant.transport == "websocket" else SILENCE
            assert trio.current_time() - begun <= patience

    play(stage, scene)
    assert len(record.closed) == len(record.opened) == 1


async def test_h10_a_peer_behind_a_network_that_swallows_everything(variant: Variant) -> None:
    """The same through real sockets: the connection stays as it is for the kernel, and nothing passes any more."""
    stage = Stage(variant, "socket")
    server = stage.server(**heartbeat(variant, 500, 1000))
    server.on_message(echo)
    record = Record(server)
    with trio.fail_after(20):
        async with (
            stage.serving(server),
            through(Proxy(server.addresses[0])) as network,
            variant.connect(network.dial, variant.pathname) as client,
        ):
            await client.send("hello")
            assert await client.receive() == "hello"
            network.swallows = True
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen, client)
                await record.until(lambda: record.closed)
                nursery.cancel_scope.cancel()
        assert len(record.closed) == len(record.opened) == 1


@pytest.mark.parametrize("jump", [3600, -3600, 86400, -86400])
def test_h11_a_wall_clock_that_jumps(variant: Variant, jump: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who listens stays, and who is silent goes, when it would have: intervals are no business of the wall clock's."""
    stage = Stage(variant, "memory")
    server = stage.server()
    server.on_message(echo)
    record = Record(server)
    real = time.time
    shift = [0]

    async def scene() -> None:
        async with stage.serving(server), stage.connect() as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen, client)
                await trio.sleep(10)
                shift[0] = jump
                await trio.sleep(200)
                assert not record.closed
                nursery.cancel_scope.cancel()
            shift[0] = 2 * jump
            begun = trio.current_time()
            await record.until(lambda: record.closed)
            assert 1 < trio.current_time() - begun <= 2 * SILENCE

    monkeypatch.setattr(time, "time", lambda: real() + shift[0])
    for name, module in list(sys.modules.items()):
        if name.startswith("ahtransport") and getattr(module, "time", None) is real:  # imported by its name
            monkeypatch.setattr(module, "time", lambda: real() + shift[0])
    play(stage, scene)


def test_h12_a_server_that_stood_still_asks_before_it_judges(variant: Variant) -> None:
    """After a minute in which nothing ran, whatever was going on before, nobody who is alive is lost; who is not alive
    goes when it has not answered in time."""
    stage = Stage(variant, "memory")
    server = stage.server()
    server.on_message(echo)
    record = Record(server)

    async def scene() -> None:
        assert stage.clock is not None
        async with stage.serving(server), stage.connect() as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen, client)
                for phase in (1, 24, 26, 29, 31, 40, 44.5, 0.5):
                    await trio.sleep(phase)
                    await trio.testing.wait_all_tasks_blocked()
                    stage.clock.jump(60)
                    await trio.sleep(3)
                    assert not record.closed, phase
                await trio.sleep(300)
                assert not record.closed
                nursery.cancel_scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            stage.clock.jump(60)
            begun = trio.current_time()
            await record.until(lambda: record.closed)
            assert trio.current_time() - begun <= 2 * SILENCE

    play(stage, scene)


CHILDREN = [
    pytest.param(VARIANTS[name], id=name, marks=pytest.mark.transformer(VARIANTS[name].transformer_name))
    for name in ("websockets", "engine.io polling", "socket.io websocket")
]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("one", CHILDREN)
async def test_h12_a_process_that_was_stopped_and_continued(one: Variant) -> None:
    """SIGSTOP, longer than the whole heartbeat, then SIGCONT: all clients are still there, and are answered."""
    options = ", ".join(f"{key}={value!r}" for key, value in heartbeat(one, 500, 1500).items())
    program = [sys.executable, "-c", APP.format(options=options)]
    process = await trio.lowlevel.open_process(program, stdout=-1)
    assert process.stdout is not None
    try:
        with trio.fail_after(60):
            host, port = eval(await process.stdout.receive_some())

            async def dial() -> trio.SocketStream:
                return await trio.open_tcp_stream(host, port)

            async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
                clients = []
                for _ in range(20):
                    connected = one.connect(dial, one.pathname)
                    clients.append(await stack.enter_async_context(connected))
                for client in clients:
                    nursery.start_soon(listen, client)
                await trio.sleep(0.3)
                process.send_signal(signal.SIGSTOP)
                await trio.sleep(2.5)
                process.send_signal(signal.SIGCONT)
                await trio.sleep(2)
                assert [client.closed for client in clients] == [None] * 20
                nursery.cancel_scope.cancel()
            # The server goes on to do its work.
            async with one.connect(dial, one.pathname) as client:
                await client.send("hello")
                assert await client.receive() == "hello"
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        await process.stdout.aclose()


def test_h19_half_a_second_without_the_processor(variant: Variant) -> None:
    """What keeps the loop for less than the time-out, again and again, costs nobody the connection."""
    stage = Stage(variant, "memory")
    server = stage.server(**heartbeat(variant, 300, 600))
    record = Record(server)

    @server.on_message
    def hog(connection: Connection, message: Any) -> None:
        assert stage.clock is not None
        stage.clock.jump(0.5)  # for all that anybody can tell, the loop stood still
        connection.send_nowait(message)

    async def scene() -> None:
        async with stage.serving(server), AsyncExitStack() as stack, trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(listen, await stack.enter_async_context(stage.connect()))
            busy = await stack.enter_async_context(stage.connect())
            for number in range(20):
                await busy.send(number)
                assert await busy.receive() == number
                await trio.sleep(0.05)  # while it sleeps it answers no ping either
            assert not record.closed
            nursery.cancel_scope.cancel()

    play(stage, scene)
