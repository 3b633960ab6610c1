"""Who is judged to be gone, and when, on a virtual clock."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from ahtransport import ConnectionClosed
from engine_io.support import arena

if TYPE_CHECKING:
    from ahtransport import Connection, Server
    from engine_io.support import Arena

INTERVAL, TIMEOUT = 25, 20


def elapsed(since: float) -> float:
    """Give the virtual seconds that have passed."""
    return trio.current_time() - since


async def test_c18_a_client_that_never_polls(autojump_clock: object) -> None:
    """C18."""
    async with arena() as place:
        begun = trio.current_time()
        await place.open()
        await place.until(lambda: place.closed)
        assert elapsed(begun) == pytest.approx(INTERVAL + TIMEOUT, abs=1)
        assert place.reasons == ["ping timeout"]


async def test_c18_a_client_that_polls_and_never_pongs(autojump_clock: object) -> None:
    """C18: it hears of its end."""
    async with arena() as place:
        begun = trio.current_time()
        client = await place.open()
        assert await client.poll() == ["2"]
        assert await client.poll() == ["1"]
        assert elapsed(begun) == pytest.approx(INTERVAL + TIMEOUT, abs=1)
        assert place.reasons == ["ping timeout"]


@pytest.mark.parametrize("pause", [0.5, 4, 19])
async def test_c17_c18_a_client_that_pongs_and_never_polls(pause: float, autojump_clock: object) -> None:
    """C17, C18: pongs that answer nothing keep nobody alive."""
    async with arena() as place:
        begun = trio.current_time()
        client = await place.open()
        while (await client.post("3")).status == 200:  # noqa: ASYNC110 -- the client is what is tested
            await trio.sleep(pause)
        assert place.reasons == ["ping timeout"]
        (_, code, _) = place.closed[0]
        assert code == 1006
        assert elapsed(begun) == pytest.approx(INTERVAL + TIMEOUT, abs=max(1, pause + 0.5))


async def test_c18_a_client_that_sends_and_never_pongs(autojump_clock: object) -> None:
    """C18: other packets buy time once, as in npm engine.io."""
    async with arena() as place:
        place.echo = False
        begun = trio.current_time()
        client = await place.open()

        async def chat() -> None:
            while (await client.post("4hello")).status == 200:  # noqa: ASYNC110
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat)
            await place.until(lambda: place.closed)
        assert place.reasons == ["ping timeout"]
        assert elapsed(begun) == pytest.approx(INTERVAL + TIMEOUT + 1, abs=1.5)


async def test_c18_a_silent_websocket(autojump_clock: object) -> None:
    """C18."""
    async with arena() as place:
        socket = await place.upgrade()
        assert (await socket.receive())[:1] == "0"
        assert await socket.receive() == "2"
        with pytest.raises(ConnectionClosed):
            await socket.receive()
        assert trio.current_time() == pytest.approx(INTERVAL + TIMEOUT, abs=1)
        assert socket.closed == (1001, "ping timeout")
        assert place.reasons == ["ping timeout"]


async def test_c17_a_flood_of_pongs_makes_no_timers(autojump_clock: object) -> None:
    """C17."""
    async with arena() as place:
        client = await place.open()
        timers = len(place.server._application.deadlines)
        for _ in range(10):
            await client.send(*["3"] * 1000)
        await trio.sleep(10)
        assert len(place.server._application.deadlines) <= timers
        assert not place.closed


@pytest.mark.parametrize(("interval", "patience"), [(100, 50), ("0.5 s", "0.25 s"), (0.25, 0.25)])
async def test_c21_sub_second_heartbeats(interval: Any, patience: Any, autojump_clock: object) -> None:
    """C21."""
    async with arena(transport={"ping_interval": interval, "pingTimeout": patience}) as place:
        begun = trio.current_time()
        client = await place.open()
        milliseconds = {100: 100, "0.5 s": 500, 0.25: 0.25}[interval]
        assert client.handshake["pingInterval"] == milliseconds
        assert await client.poll() == ["2"]
        assert elapsed(begun) == pytest.approx(milliseconds / 1000, abs=0.001)
        assert await client.poll() == ["1"]


# -- silence of our own making


class Client:
    """Answers pings, whatever else it does; a POST waits for the one before, as browsers' do."""

    def __init__(self, place: Arena, wire: str) -> None:
        self.place = place
        self.wire = wire
        self._free = trio.Lock()

    async def open(self) -> None:
        """Open a session."""
        if self.wire == "polling":
            self.polling = await self.place.open()
        else:
            self.socket = await self.place.upgrade()

    async def answer(self) -> None:
        """Answer pings for as long as there are any."""
        if self.wire == "polling":
            while (got := await self.polling.poll()) != ["1"]:
                if "2" in got:
                    await self.send("3")
        else:
            with suppress(ConnectionClosed):
                while True:
                    if await self.socket.receive() == "2":
                        await self.socket.send("3")

    async def send(self, *packets: str) -> None:
        """Send packets; by polling in one POST."""
        if self.wire == "polling":
            async with self._free:
                await self.polling.send(*packets)
        else:
            for packet in packets:
                await self.socket.send(packet)


@pytest.mark.parametrize("wire", ["polling", "websocket"])
@pytest.mark.parametrize("why", ["busy", "limited"])
async def test_c18_who_is_not_listened_to_is_not_silent(why: str, wire: str, autojump_clock: object) -> None:
    """C18: the pong is behind messages that the application, or a limit, does not let in yet; it takes minutes."""
    handled: list[str] = []

    async def handle(connection: Connection, message: str) -> None:
        if why == "busy" and message != "canary":
            await trio.sleep(4)
        handled.append(message)

    def prepare(server: Server) -> None:
        server.on_message(handle)

    limits = {} if why == "busy" else {"message_rate": 1, "message_burst": 2, "rate_patience": 0}
    count = 50 if why == "busy" else 200
    async with arena(prepare, **limits) as place, trio.open_nursery() as nursery:
        place.echo = False
        client = Client(place, wire)
        await client.open()
        nursery.start_soon(client.answer)
        await client.send(*(f"4{number}" for number in range(count)))
        while len(handled) < count and not place.closed:  # noqa: ASYNC110 -- nothing would tell
            await trio.sleep(1)
        assert handled == [str(number) for number in range(count)]
        await trio.sleep(2 * (INTERVAL + TIMEOUT))
        assert place.reasons == []
        nursery.cancel_scope.cancel()


async def test_c18_who_is_listened_to_again_is_judged(autojump_clock: object) -> None:
    """C18: a client that never pongs is gone so long after the application had enough for the last time."""
    gate = trio.Event()

    def prepare(server: Server) -> None:
        @server.on_message
        async def wait(connection: Connection, message: str) -> None:
            await gate.wait()

    async with arena(prepare) as place:
        place.echo = False
        socket = await place.upgrade()
        for _ in range(16):
            await socket.send("4x")
        await trio.sleep(200)
        assert place.reasons == []
        gate.set()
        begun = trio.current_time()
        await place.until(lambda: place.closed)
        assert place.reasons == ["ping timeout"]
        assert TIMEOUT - 1 <= elapsed(begun) <= 2 * TIMEOUT
