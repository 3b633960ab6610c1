"""The attacks: raw sockets and hand-made bytes. Each runs until it is cancelled, and hangs up then."""

from __future__ import annotations

import socket
import struct
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeAlias

import trio

from hostile.flood.harness import Flooded
from hostile.wire import CONT, PING, TEXT, Raw, frame, request, upgrade

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

Attack: TypeAlias = "Callable[[Flooded], Awaitable[object]]"

_GONE = (OSError, EOFError, trio.BrokenResourceError, trio.ClosedResourceError)


@contextmanager
def closing(raws: list[Raw]) -> Iterator[list[Raw]]:
    """Hang up on all of them at the end."""
    try:
        yield raws
    finally:
        for raw in raws:
            raw.hang_up()


async def in_parallel(flooded: Flooded, count: int, one: Attack) -> None:
    """Run so many attackers beside each other."""
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, flooded)
            if number % 50 == 49:
                await trio.sleep(0.01)


def crowds(*each: tuple[int, Attack]) -> Attack:
    """Make one attack of crowds: of each so many attackers that are alike, all beside each other."""

    async def attack(flooded: Flooded) -> None:
        async with trio.open_nursery() as nursery:
            for count, one in each:
                nursery.start_soon(in_parallel, flooded, count, one)

    return attack


def coming_again(
    connect: Callable[[Flooded], Awaitable[Raw | None]],
    attack: Callable[[Flooded, Raw], Awaitable[object]],
    *,
    pause: float = 0.0,
    refused: float | None = None,
) -> Attack:
    """Make an attacker that connects, does its worst until it has enough or is hung up on, and comes again.

    Args:
        connect: gives None when it was refused.
        attack: what is done with a connection.
        pause: between two connections, seconds.
        refused: the same after a refusal; None: as long as otherwise.
    """

    async def one(flooded: Flooded) -> None:
        while True:
            raw = await connect(flooded)
            if raw is not None:
                with closing([raw]), suppress(*_GONE):
                    await attack(flooded, raw)
            await trio.sleep(pause if raw is not None or refused is None else refused)

    return one


async def plain(flooded: Flooded) -> Raw:
    """Open a connection on which nothing has been said."""
    raw = await flooded.raw()
    flooded.connected += 1
    return raw


async def discard(raw: Raw) -> None:
    """Read to the end, and keep nothing."""
    while await raw.more():
        raw.buffer.clear()


async def nothing(flooded: Flooded) -> None:
    """No attack: what the others are compared with."""


def slowloris(connections: int, pause: float = 5.0) -> Attack:
    """F1: heads that come byte by byte."""
    head = upgrade()

    async def drip(flooded: Flooded, raw: Raw) -> None:
        for at in range(len(head)):
            if not await raw.send(head[at : at + 1]):
                break
            with trio.move_on_after(pause):
                if not await raw.more():
                    flooded.refused += 1
                    break
                raw.buffer.clear()

    return crowds((connections, coming_again(plain, drip, pause=pause / 5)))


def slow_bodies(connections: int) -> Attack:
    """F2: bodies of which a byte comes every second, some that stop, and frames of which only the header comes."""

    async def body(raw: Raw, size: int) -> None:
        await raw.send(request("POST", "/read", "Content-Length: 1000"))
        for _ in range(size):
            if not await raw.send(b"x"):
                break
            await trio.sleep(1)
        await raw.more()

    async def a_frame(_: Flooded, raw: Raw) -> None:
        await raw.send(frame(TEXT, length=1_000_000))
        await discard(raw)

    return crowds(
        (connections // 2, coming_again(plain, lambda _, raw: body(raw, 1000), pause=1)),
        (connections // 2, coming_again(plain, lambda _, raw: body(raw, 3), pause=1)),
        (connections, coming_again(Flooded.websocket, a_frame, pause=1)),
    )


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


def drowning(megabytes: int, pause: float = 5.0) -> Attack:
    """F3: a client that never reads while the server has much to say to it; when it is closed, it comes again."""

    async def drown(_: Flooded, raw: Raw) -> None:
        await raw.send(frame(TEXT, b'{"type":0,"data":["drown",%d]}' % megabytes))
        await trio.sleep(pause)

    return coming_again(small, drown)


def slow_room(slow: int, reading: int) -> Attack:
    """F4: a room of which many members read nothing."""
    join = frame(TEXT, b'{"type":0,"data":["join","flood"]}')

    async def reader(flooded: Flooded) -> None:
        raw = await flooded.websocket()
        assert raw is not None
        with closing([raw]), suppress(*_GONE):
            await raw.send(join)
            await discard(raw)

    async def stall(_: Flooded, raw: Raw) -> None:
        await raw.send(join)
        await trio.sleep(20)

    return crowds((reading, reader), (slow, coming_again(small, stall)))


def connecting(per_second: int) -> Attack:
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


def idle(connections: int) -> Attack:
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


def repeating(data: bytes, clients: int, *headers: str) -> Attack:
    """F7, F8: the same bytes again and again, as fast as they are taken; who is closed comes again."""

    async def repeat(_: Flooded, raw: Raw) -> None:
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                with suppress(*_GONE):
                    await discard(raw)
                nursery.cancel_scope.cancel()

            nursery.start_soon(read)
            while await raw.send(data):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    one = coming_again(lambda flooded: flooded.websocket("/primus", *headers), repeat, pause=0.01, refused=0.1)
    return crowds((clients, one))


def once(data: bytes) -> Attack:
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


def headers_held(connections: int) -> Attack:
    """F9: as many bytes of headers as are allowed, and the last line end never comes; or the upgrade is made."""
    lines = [f"X-{number}: {'x' * 7900}" for number in range(2)]

    async def upgraded(flooded: Flooded) -> Raw | None:
        return await flooded.websocket("/primus", *lines)

    async def say_nothing(_: Flooded, raw: Raw) -> None:
        await discard(raw)

    async def hold(_: Flooded, raw: Raw) -> None:
        await raw.send(upgrade(*lines)[:-2])
        await discard(raw)

    return crowds(
        (connections // 2, coming_again(upgraded, say_nothing, pause=0.2)),
        (connections // 2, coming_again(plain, hold, pause=0.2)),
    )


def polling(sessions: int) -> Attack:
    """F13: sessions that are opened and never polled."""

    async def attack(flooded: Flooded) -> None:
        for _ in range(sessions):
            raw = await flooded.raw()
            with closing([raw]):
                await raw.send(request("GET", "/engine.io/?EIO=4&transport=polling"))
                await raw.answer()
                flooded.connected += 1

    return attack


def rooms(connections: int, each: int) -> Attack:
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
