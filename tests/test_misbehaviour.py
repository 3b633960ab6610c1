"""Functions of the application that misbehave (H13).

Whatever they raise, leave open or wait for, it is their connection that pays for it, and nobody else.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Connection, ConnectionClosed, Response, Server
from ahtransport._log import LogFilter
from ahtransport.abc import Ack, Event
from ahtransport.testing import Record, Refused, Stage, leftovers
from hostile.support import under_attack
from hostile.wire import TEXT, frame, request, upgrade
from tricks import (
    ASYNC_PLACES,
    HANGING,
    LEAVING_OPEN,
    LEFT,
    PLACES,
    RAISING,
    TRICKS,
    Misbehaving,
    raise_plainly,
    timeout_left_open,
    trick_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ahtransport import Request
    from ahtransport.testing import MessageClient, Variant


@pytest.fixture(autouse=True)
def _leave_it_open() -> Iterator[None]:
    yield
    LEFT.clear()


def every_record_counts() -> None:
    """Have the log tell of each failure, as if those before had been seconds ago."""
    for one in logging.getLogger("ahtransport").filters:
        if isinstance(one, LogFilter):
            one._counts.clear()


async def talk(client: MessageClient) -> None:
    """Have the handlers of a connection do what they do, and see that it stays.

    Raises:
        ConnectionClosed: it does not.
    """
    await client.send("hello")
    await client.send_packet(Event("event", [], 1))
    await client.send_packet(Event("fine", [], 2))
    while await client.receive() != Ack(2, ["fine"]):
        pass
    await trio.sleep(10)
    await client.send_packet(Event("fine", [], 3))
    while await client.receive() != Ack(3, ["fine"]):
        pass
    await client.close()


async def listen(client: MessageClient, heard: deque[Any]) -> None:
    """Note what a client gets, and answer its heartbeats meanwhile."""
    with suppress(ConnectionClosed):
        while True:
            heard.append(await client.receive())


@pytest.mark.parametrize("place", PLACES)
def test_h13_whatever_a_function_raises_or_leaves_open(
    variant: Variant, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each trick in each place, one client after the other, beside one that stays."""
    stage = Stage(variant, "memory")
    misbehaving = Misbehaving(stage, place)
    server, record = misbehaving.server, misbehaving.record

    def stays(trick: str) -> bool:
        """Tell whether only the call fails. Socket.IO's events may; who is told of a close has gone already."""
        plain = place in ("plain event", "on_error")
        survives = variant.surviving and (plain or (place == "event" and TRICKS[trick] in RAISING))
        return survives or place in ("on_close", "plain on_close")

    heard: deque[Any] = deque()

    async def main() -> None:
        async with stage.serving(server), stage.connect() as canary, trio.open_nursery() as nursery:
            nursery.start_soon(listen, canary, heard)
            for number, trick in enumerate(TRICKS):
                every_record_counts()
                caplog.clear()
                with trio.fail_after(100):
                    try:
                        async with stage.connect(query={"trick": trick}) as client:
                            await talk(client)
                        assert stays(trick), trick
                    except (ConnectionClosed, EOFError):
                        assert not stays(trick), trick
                    except Refused:
                        assert place == "authorizer" or "on_open" in place, trick
                await trio.sleep(60)
                assert [one for one in caplog.records if one.levelname == "ERROR"], f"nobody was told of {trick}"
                await canary.send(number)
                await trio.sleep(1)
                assert heard.pop() == number
                assert list(server.connections.values()) == record.opened[:1]
                assert server._application.shared.busy == (1 if place == "handler" else 0)
                assert place == "authorizer" or stays(trick) or record.closed[-1][1] == 1011, (trick, record.closed[-1])
            assert [connection for connection, _, _ in record.closed] == record.opened[1:]
            assert len(record.closed) == (0 if place == "authorizer" else len(TRICKS))
            nursery.cancel_scope.cancel()

    trio.run(main, clock=stage.clock)
    assert leftovers(server) == []


@pytest.mark.parametrize("place", ASYNC_PLACES)
@pytest.mark.parametrize("end", ["the client leaves", "a shutdown"])
def test_h13_a_function_that_hangs_holds_up_nobody(variant: Variant, place: str, end: str) -> None:
    """Whoever does not notice that its connection has ended is ended, close_timeout later; at a shutdown the grace
    counts, for all together."""
    stage = Stage(variant, "memory")
    misbehaving = Misbehaving(stage, place)
    server, record = misbehaving.server, misbehaving.record
    grace = server.config.servers.websocket.shutdown_grace
    patience = server.config.servers.websocket.server.close_timeout
    heard: deque[Any] = deque()

    async def say(client: MessageClient) -> None:
        await client.send("hello")
        await client.send_packet(Event("event", [], 1))
        await trio.sleep(1)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(stage.serving(server))
            canary = await stack.enter_async_context(stage.connect())
            nursery = await stack.enter_async_context(trio.open_nursery())
            nursery.start_soon(listen, canary, heard)
            clients = [await stack.enter_async_context(stage.connect(query={"trick": trick})) for trick in HANGING]
            for client in clients:
                await say(client)
            assert len(server.connections) == 1 + len(clients)
            await canary.send("still here")
            await trio.sleep(0.1)
            assert heard.pop() == "still here"
            if end == "the client leaves":
                for client in clients:
                    await client.close()
                await trio.sleep(patience + 0.1)
                assert len(server.connections) == 1
                assert {connection for connection, _, _ in record.closed} == set(record.opened[1:])
                if place == "on_close":  # nothing ends these but the server
                    assert server._application.shared.busy == len(clients)
                await canary.send("still here")
                await trio.sleep(0.1)
                assert heard.pop() == "still here"
            began = trio.current_time()
            server.shutdown()
            await stage.stopped(server)
            assert trio.current_time() - began <= grace + 0.1
            assert len(record.closed) == len(record.opened)

    trio.run(main, clock=stage.clock)
    assert leftovers(server) == []


@pytest.mark.parametrize("driver", ["reactor", "task"])
async def test_h13_plain_functions_on_sockets(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a plain function raises is raised in the very task that serves all sockets, or one."""
    monkeypatch.setattr(Server, "_driver", driver)

    def prepare(server: Server) -> None:
        @server.on("event")
        def event(connection: Connection) -> None:
            if trick := trick_of(connection):
                raise_plainly(trick)

    async with under_attack(prepare) as target:
        for trick in ("stop_iteration", "stop_async_iteration", "generator_exit", "grave"):
            ws = await target.websocket(target=f"/primus?trick={trick}")
            target.tracebacks += 1
            await ws.send(frame(TEXT, b'{"type":0,"data":["event"]}'))
            assert await ws.closing() == 1011
        assert len(target.log.records) == target.tracebacks


@pytest.mark.parametrize("trick", [trick for trick in LEAVING_OPEN if trick is not timeout_left_open])
@pytest.mark.parametrize("driver", ["reactor", "task"])
async def test_h13_functions_for_requests_that_leave_something_open(
    driver: str, trick: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Routes, middleware, and bodies that are written piece by piece."""
    monkeypatch.setattr(Server, "_driver", driver)

    def prepare(server: Server) -> None:
        async def answer(request: Request) -> Response:
            with trio.move_on_after(2):
                await trick()
            return Response.text(200, "hello")

        async def pieces() -> AsyncIterator[bytes]:
            yield b"hel"
            await trick()
            yield b"lo"

        async def write(request: Request) -> Response:
            return Response(200, pieces(), length=5)

        @server.use
        async def look(request: Request) -> None:
            if trick_of(request):
                await trick()

        server.route("/answer", answer)
        server.route("/pieces", write)

    async with under_attack(prepare) as target:
        target.tracebacks = 4
        query = f"?trick={trick.__name__}"
        for path in ("/answer", "/pieces", f"/nothing{query}", f"/primus/{query}"):
            raw = await target.raw()
            with trio.fail_after(5):
                await raw.send(request("GET", path))
                with suppress(EOFError):
                    await raw.answer()
                await target.bystander()
                raw.hang_up()
        ws = upgrade(target=f"/primus{query}")
        raw = await target.raw()
        target.tracebacks += 1
        with trio.fail_after(5), suppress(EOFError):
            await raw.send(ws)
            await raw.answer()
        await raw.rest()


async def test_h13_code_that_blocks_is_warned_of_and_the_others_wait_no_longer() -> None:
    def prepare(server: Server) -> None:
        @server.on("block")
        async def block(connection: Connection) -> str:
            await trio.lowlevel.checkpoint()
            time.sleep(0.2)  # noqa: ASYNC251 -- this is the offence
            return "done"

    async with under_attack(prepare, blocking_warning=100) as target:
        ws = await target.websocket()
        await ws.send(frame(TEXT, b'{"type":0,"data":["block"],"id":1}'))
        await target.bystander()
        assert await ws.text() == '{"type":1,"id":1,"data":["done"]}'
        assert target.server._watch is not None
        assert target.server._watch.worst >= 0.2
        assert ["event loop was blocked" in record.getMessage() for record in target.log.records] == [True]


def test_h13_ctrl_c_in_a_function_ends_the_server_in_order(variant: Variant) -> None:
    """It is no failure, wherever Python delivers it."""
    stage = Stage(variant, "memory")
    server = stage.server()
    record = Record(server)

    @server.on("interrupt")
    async def interrupt(connection: Connection) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        with suppress(ConnectionClosed, EOFError):
            async with stage.serving(server), stage.connect() as client, stage.connect():
                await client.send_packet(Event("interrupt", []))
                await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main, clock=stage.clock)
    assert caught.value.subgroup(KeyboardInterrupt) is not None
    assert caught.value.split((KeyboardInterrupt, ConnectionClosed, EOFError))[1] is None
    assert len(record.closed) == len(record.opened) == 2
    assert leftovers(server) == []
