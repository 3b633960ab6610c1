"""The raw clients, thousands in one process: ``python -m soak.crowd PORT CONNECTIONS RATE CHURN SILENT PERIOD``.

It says on standard output, one JSON text a line, how each connection ended, what must not happen, and every so many
seconds what it has counted. On ``stop``, or the end of its standard input, everybody leaves in good order.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import trio

from soak.accounts import Latencies
from soak.client import Client
from soak.people import KINDS, Crowd, Kind
from soak.wire import Closed

OPENING = 80.0  # connections a second at the beginning
LEAVING = 300.0  # and at the end
SLOW = 10.0  # seconds between two clients that are slow for a while
DROWNED = 45.0  # seconds between two clients that don't read what is too much


class Population:
    """Keeps so many clients of each kind alive."""

    def __init__(self, crowd: Crowd, connections: int, churn: float, silent: float) -> None:
        self.crowd = crowd
        self.connections = connections
        self.churn = churn
        self.weights = (50, 35, 15 * silent)
        self.clients: dict[int, Client] = {}
        self.leaving = trio.Event()
        self._number = 0

    def kinds(self) -> list[Kind]:
        """Give the kind of each place, in an order that mixes them; there is at least one of each."""
        kinds = [kind for kind in KINDS for _ in range(max(1, round(self.connections * kind.share)))]
        random.Random(7).shuffle(kinds)
        return kinds

    async def place(self, kind: Kind) -> None:
        """Have one client after the other."""
        while not self.leaving.is_set():
            self._number += 1
            number = self._number
            client = self.clients[number] = Client(self.crowd, kind, number)
            try:
                await client.run()
            finally:
                del self.clients[number]
            if not client.ending and not client.expected:
                await trio.sleep(random.uniform(1, 20))  # it was refused, or sent away, as others were: not all at once

    def choose(self, websockets: bool = False) -> Client | None:
        """Give any client that is settled."""
        for _ in range(20):
            if self.clients:
                client = self.clients.get(random.randint(self._oldest(), self._number))
                client = client or random.choice(list(self.clients.values()))
                fits = client.kind.transport != "polling" or not websockets
                if client.settled.is_set() and not client.ending and not client.expected and fits:
                    return client
        return None

    def _oldest(self) -> int:
        return next(iter(self.clients))

    async def stir(self, nursery: trio.Nursery) -> None:
        """Have clients leave, each in its own way, which takes some a while; others take their places."""
        while True:
            await trio.sleep(random.expovariate(self.churn))
            client = self.choose()
            if client is not None:
                how = random.choices(("clean", "reset", "silent"), self.weights)[0]
                nursery.start_soon(self._end, client, how)

    async def _end(self, client: Client, how: str) -> None:
        self.crowd.counts[f"asked to end {how}"] += 1
        await client.leave(how)

    async def slow_down(self) -> None:
        """Have a client not read for a while, though much is sent to it."""
        while True:
            await trio.sleep(random.expovariate(1 / SLOW))
            client = self.choose(websockets=True)
            if client is not None:
                self.crowd.counts["slow readers"] += 1
                client.slow_until = trio.current_time() + 15
                client.carrier.deafen(random.uniform(2, 6))
                await self._ask(client, "flood", 300, 10000)

    async def drown(self) -> None:
        """Have a client not read more than may wait for it: the server has to send it away."""
        while True:
            await trio.sleep(random.expovariate(1 / DROWNED))
            client = self.choose(websockets=True)
            if client is not None and client.kind.transformer != "socket.io":
                self.crowd.counts["drowned"] += 1
                client.expected = True
                client.slow_until = trio.current_time() + 60
                client.carrier.deafen(20)
                await self._ask(client, "drown", 250, 60000)

    async def _ask(self, client: Client, *request: Any) -> None:
        with suppress(Closed):  # it will notice for itself
            await client.request(*request)


async def end_all(population: Population) -> None:
    """Have everybody leave in good order."""
    population.leaving.set()
    async with trio.open_nursery() as nursery:
        while population.clients:
            for client in list(population.clients.values()):
                if client.settled.is_set() and not client.ending and not client.expected:
                    nursery.start_soon(client.leave, "clean")
                    await trio.sleep(1 / LEAVING)
            await trio.sleep(0.5)


async def main(port: int, connections: int, rate: float, churn: float, silent: float, period: float) -> None:
    """Run the crowd until told to stop."""
    said: list[dict[str, Any]] = []
    crowd = Crowd(port, connections / rate, said.append, Counter(), Latencies())
    population = Population(crowd, connections, churn, silent)

    def flush() -> None:
        if said:
            sys.stdout.write("".join(json.dumps(one) + "\n" for one in said))
            sys.stdout.flush()
            said.clear()

    def count() -> None:
        settled = sum(client.settled.is_set() for client in population.clients.values())
        now = {"clients": len(population.clients), "settled": settled, "cpu_s": round(time.process_time(), 2)}
        said.append({"counts": {**now, **crowd.counts}, "latency_ms": crowd.latencies.report()})

    async def publish() -> None:
        due = trio.current_time() + period
        while True:
            await trio.sleep(0.2)
            if trio.current_time() >= due:
                due += period
                count()
            flush()

    async def watch() -> None:
        while True:
            due = trio.current_time() + 0.25
            await trio.sleep_until(due)
            if trio.current_time() > due + 1:
                crowd.latencies.held_up_at = trio.current_time()
                crowd.counts["times that the machine had no time for a second"] += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish)
        nursery.start_soon(watch)
        async with trio.open_nursery() as places, trio.open_nursery() as weather:
            for kind in population.kinds():
                places.start_soon(population.place, kind)
                await trio.sleep(1 / OPENING)
            said.append({"opened": len(population.clients)})
            weather.start_soon(population.stir, places)
            weather.start_soon(population.slow_down)
            weather.start_soon(population.drown)
            async for _ in trio.lowlevel.FdStream(sys.stdin.fileno()):
                break  # any word ends it
            weather.cancel_scope.cancel()
            said.append({"leaving": len(population.clients)})
            places.start_soon(end_all, population)
        nursery.cancel_scope.cancel()
    count()
    said.append({"over": True})
    flush()


if __name__ == "__main__":
    rate, churn, silent, period = map(float, sys.argv[3:])
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), rate, churn, silent, period)
