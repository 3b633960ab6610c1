"""Runs a flood: the server and the honest clients are processes of their own, the attack is this one's."""

from __future__ import annotations

import json
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import trio

from hostile.wire import Raw, upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

TESTS = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Lines:
    """Reads lines from a pipe."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def line(self) -> str:
        """Give the next line; EOFError: there is none."""
        while b"\n" not in self._buffer:
            data = await self._stream.receive_some(65536)
            if not data:
                raise EOFError("the process has ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()


class Flooded:
    """A server under a flood.

    Attributes:
        port: where it listens.
        connected, refused: what the attack counts.
    """

    def __init__(self, process: trio.Process, lines: Lines, port: int) -> None:
        self._process = process
        self._lines = lines
        self.port = port
        self.connected = self.refused = 0

    async def stats(self, order: str = "stats") -> dict[str, Any]:
        """Ask the server for its figures; "collect" has it tidy its memory first, "reset" forget the longest stall."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(order.encode() + b"\n")
        figures: dict[str, Any] = json.loads(await self._lines.line())
        return figures

    def memory(self) -> int:
        """Give the server's resident memory, bytes."""
        with open(f"/proc/{self._process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE

    def processor(self) -> float:
        """Give how many seconds of a processor the server has used."""
        with open(f"/proc/{self._process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """Give how many descriptors the server has open."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    async def raw(self) -> Raw:
        """Connect."""
        return Raw(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def websocket(self, target: str = "/primus", *headers: str) -> Raw | None:
        """Open a WebSocket; None: it was refused."""
        raw = None
        try:
            raw = await self.raw()
            await raw.send(upgrade(*headers, target=target))
            if (await raw.answer()).status == 101:
                self.connected += 1
                return raw
        except (OSError, EOFError, trio.BrokenResourceError):
            pass
        except BaseException:
            if raw is not None:
                raw.hang_up()
            raise
        self.refused += 1
        if raw is not None:
            raw.hang_up()
        return None


@dataclass(frozen=True)
class Flood:
    """One flood.

    Attributes:
        item: its number in the list of acceptance items.
        what: said of it in the table.
        attack: runs it until cancelled.
        options: the server's.
        memory: by how much the server may grow, MiB.
        codes: with which codes connections were closed in any case.
        stall: for how long one task may keep the loop, seconds of the processor.
        p99: what the honest clients' latency may be where it can't be what it is elsewhere, seconds.
        back: within how many seconds everything has to be back where it was.
    """

    item: str
    what: str
    attack: Callable[[Flooded], Awaitable[object]]
    options: Mapping[str, Any] = field(default_factory=dict)
    memory: int = 256
    codes: tuple[int, ...] = ()
    stall: float = inf
    p99: float = 0.0
    back: float = inf


@dataclass
class Outcome:
    """How it went. Latencies in seconds, memory in bytes.

    Attributes:
        sent, lost, dropped: the honest clients' messages, those without an answer, and clients that were disconnected.
        p50, p99, most: their latencies.
        base, peak, after: the server's memory before, at its worst, and when the attack was over.
        back: seconds until everything was back where it was; None: it was not.
        busy: share of a processor that the server used.
        stats: the server's figures at the end.
        flooded: what the attack counted.
    """

    def faults(self, flood: Flood, *, p99: float, seconds: float) -> list[str]:
        """Say what is not as it has to be; an empty list when all is well.

        Args:
            flood: what it was.
            p99: what the honest clients' latency may be, seconds.
            seconds: how long it took.
        """
        stats = self.stats
        wrong = {
            f"{self.lost} messages of honest clients were lost": self.lost,
            f"{self.dropped} honest clients were disconnected": self.dropped,
            f"p99 is {self.p99 * 1000:.0f} ms": self.p99 > max(p99, flood.p99),
            f"the server grew by {self.grown:.0f} MiB": self.grown > flood.memory,
            f"it did not come back to where it was: {stats}, {self.after / MIB:.0f} MiB": self.back is None,
            f"it was back after {self.back} seconds": self.back is not None and self.back > flood.back,
            f"a traceback: {stats['traceback']}": stats["tracebacks"],
            f"{stats['lines']} log lines": stats["lines"] > 10 * (seconds + 10),
            f"{stats['opened']} opened, {stats['closed']} closed": stats["opened"] != stats["closed"],
            f"connections were closed with {stats['codes']}": not {*map(str, flood.codes)} <= {*stats["codes"]},
            f"one task took {stats['stall'] * 1000:.0f} ms": stats["stall"] > flood.stall,
            "the attack reached nobody": flood.item != "none" and not self.flooded.connected,
        }
        return [what for what, is_so in wrong.items() if is_so]

    @property
    def grown(self) -> float:
        """By how much the server grew at its worst, MiB."""
        return (self.peak - self.base) / MIB

    sent: int
    lost: int
    dropped: int
    p50: float
    p99: float
    most: float
    base: int
    peak: int
    after: int
    back: float | None
    busy: float
    stats: dict[str, Any]
    flooded: Flooded


@asynccontextmanager
async def flooded_server(options: Mapping[str, Any], *, prefix: list[str] | None = None) -> AsyncIterator[Flooded]:
    """Run the server; ``prefix`` is a command that runs it, such as ``prlimit``."""
    command = [*(prefix or []), sys.executable, "-m", "hostile.flood.server", json.dumps(options)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, cwd=TESTS, stdin=PIPE, stdout=PIPE))
        lines = Lines(process.stdout)
        port = int(await lines.line())
        try:
            yield Flooded(process, lines, port)
        finally:
            with trio.CancelScope(shield=True):
                await process.stdin.aclose()  # then it ends by itself
                with trio.move_on_after(10):
                    await process.wait()
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def honest(flooded: Flooded, clients: int, rate: float, seconds: float) -> AsyncIterator[dict[str, Any]]:
    """Run honest clients beside the block; afterwards what came of them is in what this gives."""
    result: dict[str, Any] = {}
    command = [sys.executable, "-m", "hostile.flood.honest", str(flooded.port), str(clients), str(rate), str(seconds)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, cwd=TESTS, stdin=PIPE, stdout=PIPE))
        lines = Lines(process.stdout)
        assert await lines.line() == "ready"
        yield result
        result.update(json.loads(await lines.line()))


async def run(flood: Flood, *, seconds: float, clients: int, rate: float = 10.0, patience: float = 60.0) -> Outcome:
    """Run a flood for so long, beside so many honest clients, and wait until the server is back where it was."""
    async with flooded_server(flood.options) as flooded:
        await warm_up(flooded)
        before = await flooded.stats("collect")
        base = peak = flooded.memory()
        busy = flooded.processor()

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, flooded.memory())
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            async with honest(flooded, clients, rate, seconds) as result:
                await flooded.stats("reset")
                with trio.move_on_after(seconds):
                    await flood.attack(flooded)
                    await trio.sleep_forever()
            nursery.cancel_scope.cancel()
        busy = (flooded.processor() - busy) / seconds
        stats = await flooded.stats()
        ended = trio.current_time()
        back: float | None = None
        with trio.move_on_after(patience):
            while True:
                now = await flooded.stats("collect")
                same = all(now[name] == before[name] for name in ("connections", "sockets", "rooms"))
                # What Python keeps for later (a megabyte stays whole as long as anything is in it) is no leak.
                same = same and now["blocks"] <= before["blocks"] * 1.05 + 1000
                if same and now["opened"] == now["closed"] and flooded.memory() <= base * 1.1 + 24 * MIB:
                    back = trio.current_time() - ended
                    break
                await trio.sleep(0.5)
        final = await flooded.stats()
        final["stall"] = stats["stall"]
        return Outcome(
            sent=result["sent"],
            lost=result["lost"],
            dropped=result["dropped"],
            p50=result["p50"],
            p99=result["p99"],
            most=result["max"],
            base=base,
            peak=peak,
            after=flooded.memory(),
            back=back,
            busy=busy,
            stats=final,
            flooded=flooded,
        )


async def warm_up(flooded: Flooded) -> None:
    """Use everything once, so that what is loaded and cached at first use is not taken for a leak."""
    for target in ("/primus", "/engine.io/?EIO=4&transport=websocket", "/socket.io/?EIO=4&transport=websocket"):
        raw = await flooded.websocket(target)
        assert raw is not None
        raw.hang_up()
    flooded.connected = 0
    with trio.move_on_after(5):
        while (await flooded.stats())["connections"]:  # noqa: ASYNC110
            await trio.sleep(0.05)
