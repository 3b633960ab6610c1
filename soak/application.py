"""The server under soak: ``python -m soak.application [SECONDS]``, which samples itself every so many seconds.

One ``ActionServer`` with all three transformers, everything else as it comes. It says on standard output, one JSON text
a line, where it listens, what became of each connection, and its samples; a line ``stop`` on standard input, or a
signal, ends it. Nothing of a connection is kept when it has ended: what grows is the server's.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from ahtransport import ActionServer, ConnectionClosed
from soak.accounts import Numbers, body_down, body_up

if TYPE_CHECKING:
    from ahtransport import Connection

ROOMS = 50
BROADCASTS = 2.0  # a second, in all rooms together
TICK = 0.05  # seconds between two looks at the loop's lag
PAGE = os.sysconf("SC_PAGE_SIZE")

server = ActionServer(
    config={}, port=0, transformer=["websockets", "engine.io", "socket.io"], client_js_write=False, public=[]
)
side = server.of("/soak")
said: list[dict[str, Any]] = []
counts: Counter[str] = Counter()
room_numbers: Counter[str] = Counter()


class Account:
    """What the server knows of one connection."""

    __slots__ = ("balanced", "key", "received", "sent", "wrong")

    def __init__(self, key: str) -> None:
        self.key = key
        self.received = Numbers()
        self.sent = 0
        self.wrong = 0
        self.balanced = False  # it said goodbye: nothing numbered follows


def account_of(connection: Connection) -> Account:
    """Give the account of a connection."""
    account: Account = connection.data["account"]
    return account


@server.on_open
@side.on_open
def opened(connection: Connection) -> None:
    counts["opened"] += 1
    connection.data["account"] = Account(connection.query.get("key", connection.id) + connection.namespace)


@server.on_close
@side.on_close
def closed(connection: Connection, code: int, reason: str) -> None:
    counts["closed"] += 1
    account = account_of(connection)
    came = account.received
    numbers = {"received": came.last, "lost": came.lost, "doubled": came.doubled, "reordered": came.reordered}
    said.append({"end": {"key": account.key, "sent": account.sent, "wrong": account.wrong, "code": code, **numbers}})


def tell(connection: Connection, echo: Any = None, body: bytes | None = None, size: int = 0) -> bool:
    """Send the next numbered message; False: so much waits for the client that it was not sent, and has no number."""
    account = account_of(connection)
    if account.balanced:
        return False
    number = account.sent + 1
    try:
        connection.emit("down", number, echo, body_down(account.key, number, size) if body is None else body)
    except trio.WouldBlock:
        counts["held back"] += 1
        return False
    except ConnectionClosed:
        return False
    account.sent = number
    return True


@server.on("up")
@side.on("up")
def up(connection: Connection, number: int, at: float, body: str | bytes) -> int:
    """Take a numbered message, answer with another, and ask something now and then."""
    account = account_of(connection)
    account.received.take(number)
    text = body if isinstance(body, str) else body.decode()
    if text != body_up(account.key, number):
        account.wrong += 1
    tell(connection, at, None if isinstance(body, str) else b"\x00" + text.encode())
    if number % 20 == 0:
        connection.start_soon(question, connection, number)
    return number


async def question(connection: Connection, number: int) -> None:
    """Ask the client something that it has to answer."""
    try:
        answer = await connection.call("question", number, timeout=30)
    except (ConnectionClosed, trio.WouldBlock):
        return
    except trio.TooSlowError:
        counts["unanswered"] += 1
        return
    counts["answered"] += 1
    if answer != number * 2:
        account_of(connection).wrong += 1


@server.on("where")
def where(connection: Connection) -> dict[str, int]:
    """Say which number each of its rooms is at."""
    return {room: room_numbers[room] for room in connection.rooms if room.startswith("room-")}


@server.on("bye")
@side.on("bye")
def bye(connection: Connection) -> dict[str, Any]:
    """Balance the account: what follows is not numbered any more."""
    account = account_of(connection)
    account.balanced = True
    return {"received": account.received.last, "sent": account.sent, "rooms": where(connection)}


@server.on("fire")
@side.on("fire")
async def fire(connection: Connection, count: int, pause: float) -> None:
    """Send so many messages with pauses of about so many seconds, beside all else."""
    connection.start_soon(_fire, connection, count, pause)


async def _fire(connection: Connection, count: int, pause: float) -> None:
    for _ in range(count):
        tell(connection)
        await trio.sleep(random.expovariate(1 / pause))


@server.on("flood")
async def flood(connection: Connection, count: int, size: int) -> None:
    """Send so many messages of this size as fast as the client takes them."""
    connection.start_soon(_flood, connection, count, size)


async def _flood(connection: Connection, count: int, size: int) -> None:
    for _ in range(count):
        while not tell(connection, size=size):
            if connection.state != "open" or account_of(connection).balanced:
                return
            await trio.sleep(0.05)
        await trio.lowlevel.checkpoint()


@server.on("drown")
async def drown(connection: Connection, count: int, size: int) -> None:
    """Send more than anybody may have waiting, whether the client reads or not."""
    connection.start_soon(_drown, connection, count, size)


async def _drown(connection: Connection, count: int, size: int) -> None:
    account = account_of(connection)
    server.rooms.join(connection, f"drowning {connection.id}")
    for _ in range(count):
        account.sent += 1
        body = body_down(account.key, account.sent, size)
        server.emit("down", account.sent, None, body, room=f"drowning {connection.id}")
        await trio.lowlevel.checkpoint()
    server.rooms.leave(connection, f"drowning {connection.id}")


@server.action
def echo(connection: Any, text: str) -> dict[str, Any]:
    """Say what was said."""
    counts["actions"] += 1
    return {"text": text}


@server.action
async def visit(connection: Any) -> dict[str, Any]:
    """Count in the session that all connections of a browser share."""
    async with connection.session.change() as data:
        visits = data["visits"] = data.get("visits", 0) + 1
        await trio.lowlevel.checkpoint()
    counts["visits"] += 1
    return {"visits": visits}


async def talk_to_rooms() -> None:
    """Say something numbered in one room after the other, in three ways."""
    number = 0
    while True:
        await trio.sleep(random.expovariate(BROADCASTS))
        number += 1
        room = f"room-{number % ROOMS}"
        at = room_numbers[room] = room_numbers[room] + 1
        if number % 3 == 0:
            server.broadcast({"room": room, "number": at, "text": "☃" * (number % 90)}, room=room)
        elif number % 3 == 1:
            server.emit("news", room, at, "z" * (number % 90), room=room)
        else:
            await server.chat.say(None, room, f"number {at}")
        counts["delivered to rooms"] += len(server.rooms.members(room))


class Lag:
    """How late a task of the same loop wakes up; seconds."""

    def __init__(self) -> None:
        self.worst = self.sum = 0.0
        self.ticks = 0

    async def watch(self) -> None:
        """Wake up again and again."""
        while True:
            due = trio.current_time() + TICK
            await trio.sleep_until(due)
            late = trio.current_time() - due
            self.worst = max(self.worst, late)
            self.sum += late
            self.ticks += 1

    def take(self) -> dict[str, float]:
        """Give what was since the last time, milliseconds."""
        mean = self.sum / self.ticks if self.ticks else 0.0
        taken = {"lag_max_ms": round(self.worst * 1000, 2), "lag_mean_ms": round(mean * 1000, 3)}
        self.worst = self.sum = 0.0
        self.ticks = 0
        return taken


def sample(lag: Lag) -> dict[str, Any]:
    """Look at the process and the tables."""
    tables = [namespace.connections for namespace in (server, side)]
    carried = Counter(connection.transport for connection in server.connections.values())
    engines = [len(found) for one in server.transformers if (found := getattr(one, "_sessions", None)) is not None]
    return {
        "at": time.monotonic(),
        "rss_kb": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE // 1024,
        "fds": len(os.listdir("/proc/self/fd")) - 1,  # one is the listing's own
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "connections": sum(map(len, tables)),
        "polling": carried["polling"],
        "engine_sessions": sum(engines),
        "rooms": len(server.rooms.list()),
        "members": sum(len(server.rooms.members(room)) for room in server.rooms.list()),
        "sessions": len(server.sessions),  # type: ignore[arg-type]
        "tallies": len(server.tallies),
        "joined": len(server.chat.joined),
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()) if os.environ.get("SOAK_OBJECTS") else 0,
        "cpu_s": round(time.process_time(), 2),
        **lag.take(),
        **counts,
    }


async def look(lag: Lag, period: float) -> None:
    """Take samples."""
    due = trio.current_time()
    while True:
        said.append({"sample": sample(lag)})
        due += period
        await trio.sleep_until(due)


async def publish() -> None:
    """Write what was said, a few times a second; the other end always reads."""
    while True:
        await trio.sleep(0.2)
        flush()


def flush() -> None:
    """Write what was said."""
    lines, said[:] = [json.dumps(one) for one in said], []
    if lines:
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


async def obey(lag: Lag) -> None:
    """Do as the lines of standard input say: ``sample`` now, or ``stop``."""
    orders = trio.lowlevel.FdStream(os.dup(sys.stdin.fileno()))
    pending = b""
    async for chunk in orders:
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            if line == b"sample":
                found = gc.collect()
                said.append({"asked": {**sample(lag), "garbage": found}})
                if os.environ.get("SOAK_OBJECTS"):
                    tell_garbage()
            elif line == b"stop":
                server.shutdown()
    server.shutdown()


def tell_garbage() -> None:
    """Say what the collector found, by class; for whoever looks for a leak."""
    kinds = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
    sys.stderr.write(f"garbage: {kinds.most_common(40)}\n")
    gc.garbage.clear()


async def main(period: float) -> None:
    """Serve until told to stop."""
    for number in range(ROOMS):
        server.rooms.add(f"room-{number}")
    if os.environ.get("SOAK_OBJECTS"):
        gc.set_debug(gc.DEBUG_SAVEALL)
    lag = Lag()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def end() -> None:
                async for _ in signals:
                    server.shutdown()

            for task in (talk_to_rooms, publish, lag.watch):
                nursery.start_soon(task)
            nursery.start_soon(obey, lag)
            await nursery.start(_serve, nursery.cancel_scope)
            said.append({"listening": server.addresses[0][1]})
            nursery.start_soon(look, lag, period)
    visits = sum(server.sessions.read(f"fingerprint:browser-{one}").get("visits", 0) for one in range(500))
    said.append({"finished": {**counts, "visits in sessions": visits}})
    flush()


async def _serve(scope: trio.CancelScope, *, task_status: trio.TaskStatus[Any]) -> None:
    await server.serve(task_status=task_status)
    scope.cancel()


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    trio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
