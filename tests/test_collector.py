"""The garbage collector: tuned while a server runs, put back afterwards, and not needed to let connections go."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import ConnectionClosed, Server
from ahtransport._collector import _THRESHOLDS, tune_collector
from ahtransport.testing import memory_host, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ahtransport import Connection
    from ahtransport.testing import Variant

PLAIN = (700, 10, 10)


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """Begin with a collector as Python has it, and leave none that is different."""
    before = gc.get_threshold()
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*PLAIN)
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*before)


def test_it_is_tuned_and_put_back() -> None:
    restore = tune_collector()
    assert gc.get_threshold() == _THRESHOLDS
    assert gc.get_freeze_count() > 0
    restore()
    assert gc.get_threshold() == PLAIN
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("first", [0, 1])
def test_servers_may_overlap(first: int) -> None:
    restores = [tune_collector(), tune_collector()]
    restores[first]()
    assert gc.get_threshold() == _THRESHOLDS
    assert gc.get_freeze_count() > 0
    restores[1 - first]()
    assert gc.get_threshold() == PLAIN
    assert gc.get_freeze_count() == 0
    restore = tune_collector()  # and once more
    assert gc.get_threshold() == _THRESHOLDS
    restore()
    assert gc.get_threshold() == PLAIN


@pytest.mark.parametrize("default", [(700, 10, 10), (2000, 10, 10), (2000, 10, 0)])
def test_every_python_has_a_default_of_its_own(default: tuple[int, int, int]) -> None:
    gc.set_threshold(*default)
    restore = tune_collector()
    assert gc.get_threshold() == _THRESHOLDS
    restore()
    # Some versions have no third threshold to set.
    assert gc.get_threshold()[:2] == default[:2]


@pytest.mark.parametrize("own", [(5000, 20, 20), (0, 10, 10), _THRESHOLDS])
def test_an_applications_own_thresholds_are_respected(own: tuple[int, int, int]) -> None:
    gc.set_threshold(*own)
    restore = tune_collector()
    assert gc.get_threshold() == own
    assert gc.get_freeze_count() == 0
    restore()
    assert gc.get_threshold() == own


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    restore = tune_collector()
    assert not gc.isenabled()
    assert gc.get_threshold() == PLAIN
    restore()
    assert (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()) == (False, PLAIN, 0)


def test_thresholds_that_change_meanwhile_stay() -> None:
    restore = tune_collector()
    gc.set_threshold(1234, 5, 6)
    late = tune_collector()  # another server leaves them alone, too
    restore()
    late()
    assert gc.get_threshold()[:2] == (1234, 5)
    assert gc.get_freeze_count() == 0


def test_what_an_application_has_frozen_stays_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    restore = tune_collector()
    assert gc.get_threshold() == _THRESHOLDS
    restore()
    assert gc.get_freeze_count() > frozen // 2 > 0  # some have died meanwhile
    assert gc.get_threshold() == PLAIN


def test_thresholds_set_before_the_import_count_as_an_applications() -> None:
    program = (
        "import gc; gc.set_threshold(9000, 15, 15); from ahtransport._collector import tune_collector; "
        "restore = tune_collector(); assert gc.get_threshold()[0] == 9000; restore(); print('ok')"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "ok\n"


@pytest.mark.parametrize("tuned", [True, False])
async def test_servers_tune_it_while_they_run(tuned: bool) -> None:
    with trio.CancelScope() as scope:
        async with memory_host(Server(config={}, tune_gc=tuned)):
            assert gc.get_threshold() == (_THRESHOLDS if tuned else PLAIN)
            async with memory_host(Server(config={})):
                assert gc.get_threshold() == _THRESHOLDS
            assert gc.get_threshold() == (_THRESHOLDS if tuned else PLAIN)
            scope.cancel()
            await trio.sleep_forever()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (PLAIN, 0)


def test_what_an_application_leaves_in_cycles_is_found() -> None:
    """However many connections come and go: no more is left of them than the docstring says."""

    def visit() -> list[Any]:
        things: list[Any] = [[] for _ in range(20)]
        for one in things:
            one.append(things)
        return things

    restore = tune_collector()
    here = deque(visit() for _ in range(5000))
    most = 0
    for number in range(100_000):
        here.append(visit())
        here.popleft()
        if number % 10_000 == 0:
            most = max(most, len(gc.get_objects()))
    restore()
    assert most < 21 * len(here) + 1_000_000


# -- connections are freed by reference counts alone

KEPT = {
    *(
        "Connection",
        "ReactorChannel",
        "SocketChannel",
        "HttpWire",
        "WebSocketWire",
        "Body",
        "Request",
        "Headers",
        "Watch",
    ),
    *("Session", "SocketReceiver", "Probe", "Heartbeat", "Client", "NamespaceLink"),
}


def alive() -> dict[str, int]:
    counts = Counter(type(one).__name__ for one in gc.get_objects() if type(one).__module__.startswith("ahtransport"))
    return {name: count for name, count in counts.items() if name in KEPT}


def dialing(server: Server) -> Callable[[], Awaitable[trio.abc.Stream]]:
    """Give what reaches the server over a real socket."""

    async def dial() -> trio.abc.Stream:
        return await trio.open_tcp_stream(*server.addresses[0])

    return dial


async def gone(server: Server) -> None:
    """Wait until nobody is there any more."""
    while server.connections or (server._host is not None and server._host.open_channels):  # noqa: ASYNC110
        await trio.sleep(0.005)
    await trio.testing.wait_all_tasks_blocked(0.01)


@pytest.mark.parametrize("driver", ["reactor", "task"])
@pytest.mark.parametrize("style", ["function", "loop"])
@pytest.mark.parametrize("leave", ["client closes", "server closes", "client vanishes"])
async def test_connections_are_gone_without_the_collector(
    variant: Variant, driver: str, style: str, leave: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if leave == "client vanishes" and variant.transport == "polling":
        pytest.skip("whoever polls is missed after its time only; that is the heartbeat's test")
    monkeypatch.setattr(Server, "_driver", driver)
    handled = 0

    async def loop(connection: Connection) -> None:
        async for message in connection:
            answer(connection, message)

    def answer(connection: Connection, message: Any) -> None:
        nonlocal handled
        handled += 1
        if leave == "server closes":
            connection.close(4000)
        else:
            connection.send_nowait(message)

    options = {**variant.options, "close_timeout": 0.1}  # after which what looks after a loop's end lets go of it
    handler = loop if style == "loop" else None
    server = Server(handler, config={}, port=0, transformer=variant.transformer, **options)
    if handler is None:
        server.on_message(answer)

    async def visit() -> None:
        async with variant.connect(dialing(server), variant.pathname) as client:
            await client.send("x")
            if leave == "server closes":
                with pytest.raises(ConnectionClosed):
                    await client.receive()
            else:
                assert await client.receive() == "x"
                if leave == "client closes":
                    await client.close()

    async with running(server):
        for _ in range(3):
            await visit()
        await gone(server)
        await trio.sleep(0.15)
        gc.collect()
        gc.disable()
        before = alive()
        for _ in range(25):
            await visit()
        await gone(server)
        assert handled == 28
        with trio.move_on_after(5 if style == "loop" else 0):
            while alive() != before:  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert alive() == before


async def test_a_call_that_is_cut_off_leaves_nothing(variant: Variant) -> None:
    """The error that its handler gets is gone with it, and does not hold all the frames that it went through."""
    if variant.transport == "polling":
        pytest.skip("whoever polls is missed after its time only")
    server = Server(config={}, port=0, transformer=variant.transformer, **{**variant.options, "close_timeout": 50})
    cut = 0

    async def ask(connection: Connection) -> None:
        nonlocal cut
        try:
            await connection.call("question", timeout=30)
        except ConnectionClosed:
            cut += 1

    @server.on_message
    def answer(connection: Connection, message: Any) -> None:
        for _ in range(2):
            connection.start_soon(ask, connection)
        connection.send_nowait(message)

    async def visit() -> None:
        async with variant.connect(dialing(server), variant.pathname) as client:
            await client.send("x")
            assert await client.receive() == "x"

    async with running(server):
        await visit()
        await gone(server)
        gc.collect()
        gc.disable()
        for _ in range(5):
            await visit()
        await gone(server)
        assert cut == 12
        with trio.fail_after(25):
            while "Connection" in alive():  # noqa: ASYNC110 -- what ends handlers that notice nothing comes later
                await trio.sleep(0.01)


@pytest.mark.slow
async def test_two_thousand_connections_leave_nothing(monkeypatch: pytest.MonkeyPatch, variant: Variant) -> None:
    if variant.name not in ("websockets", "engine.io websocket", "socket.io websocket"):
        pytest.skip("once for each transformer")
    server = Server(config={}, port=0, transformer=variant.transformer, **variant.options)

    async def visits(count: int) -> None:
        for _ in range(count):
            async with variant.connect(dialing(server), variant.pathname) as client:
                await client.send("x")

    async with running(server):
        await visits(3)
        await gone(server)
        gc.collect()
        before = alive()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(visits, 200)
        await gone(server)
        assert alive() == before
        assert len(server._namespaces.shared.deadlines._heap) < 200
