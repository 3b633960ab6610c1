"""Broadcasts: what the contract leaves to units."""

from __future__ import annotations

import random
import socket
import struct
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Connection, ConnectionClosed, Server
from ahtransport._broadcast import Broadcast
from ahtransport._net.channel import OnSocket
from ahtransport._parsers import JSONParser
from ahtransport.abc import Event
from ahtransport.testing import VARIANTS, PrimusClient, Record, connect_websocket, memory_host, running

if TYPE_CHECKING:
    from ahtransport._broadcast import ManySockets
    from ahtransport.testing import MemoryHost, MessageClient, Variant


def make_server(handler: Any = None, **options: Any) -> Server:
    return Server(handler, config={}, transformer="websockets", port=0, **options)


async def crowd(host: MemoryHost, stack: AsyncExitStack, record: Record, count: int) -> list[PrimusClient]:
    clients = [await stack.enter_async_context(connect_websocket(host.dial)) for _ in range(count)]
    await record.until(lambda: len(record.opened) == count)
    return clients


async def test_to_nobody() -> None:
    server = make_server()
    server.broadcast("before it runs")
    async with memory_host(server):
        server.broadcast("no one is here")
        server.broadcast("no such room", room="nowhere")


async def test_who_is_left_out_gets_nothing() -> None:
    server = make_server()
    record = Record(server)
    async with memory_host(server) as host, AsyncExitStack() as stack:
        clients = await crowd(host, stack, record, 5)
        server.broadcast("some", exclude=record.opened[:3])
        server.broadcast("none", exclude=(connection for connection in record.opened))
        server.broadcast("all")
        for client in clients[:3]:
            assert await client.receive() == "all"
        for client in clients[3:]:
            assert [await client.receive() for _ in range(2)] == ["some", "all"]


async def test_a_broadcast_does_not_wait_for_those_before_it() -> None:
    """It goes through even from within a handler, to the handler's own connection, too."""

    async def handler(connection: Connection) -> None:
        async for message in connection:
            server.broadcast(["first", message])
            await connection.send(["second", message])

    server = make_server(handler)
    record = Record(server)
    async with memory_host(server) as host, AsyncExitStack() as stack:
        one, two = await crowd(host, stack, record, 2)
        await one.send(1)
        assert [await one.receive() for _ in range(2)] == [["first", 1], ["second", 1]]
        assert await two.receive() == ["first", 1]


async def test_everybody_sees_the_same_order() -> None:
    async def chatter(connection: Connection) -> None:
        async for message in connection:
            server.broadcast(message, room="room")
            await trio.lowlevel.checkpoint()

    server = make_server(chatter)
    server.on_open(lambda connection: server.rooms.join(connection, "room"))
    record = Record(server)
    async with memory_host(server) as host, AsyncExitStack() as stack:
        clients = await crowd(host, stack, record, 5)

        async def talk(number: int) -> None:
            for step in range(20):
                await clients[number].send([number, step])

        seen: list[list[Any]] = [[] for _ in clients]

        async def listen(number: int) -> None:
            while len(seen[number]) < 100:
                seen[number].append(await clients[number].receive())

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(talk, number)
                nursery.start_soon(listen, number)
    assert all(messages == seen[0] for messages in seen)
    for number in range(5):
        assert [step for who, step in seen[0] if who == number] == list(range(20))


@pytest.mark.parametrize("limit", ["bytes", "messages"])
async def test_at_the_limit_and_one_past_it(limit: str) -> None:
    options = {"max_backlog": 1000} if limit == "bytes" else {"max_backlog_messages": 10}
    server = make_server(**options)
    record = Record(server)
    async with memory_host(server) as host, AsyncExitStack() as stack:
        await crowd(host, stack, record, 1)
        for _ in range(10):  # a frame of 100 bytes, so ten of them are 1,000
            server.broadcast("x" * 96)
        assert not record.closed
        server.broadcast("")
        assert [code for _, code, _ in record.closed] == [1013]
        assert not server.connections


async def test_a_message_longer_than_the_limit_passes_when_nothing_waits() -> None:
    server = make_server(max_backlog=1000)
    record = Record(server)
    async with memory_host(server) as host, AsyncExitStack() as stack:
        (client,) = await crowd(host, stack, record, 1)
        server.broadcast("x" * 5000)
        assert await client.receive() == "x" * 5000
        assert not record.closed


async def test_broadcasts_keep_their_place_among_all_else(variant: Variant) -> None:
    """To a client that reads by fits and starts: most go past the link, some wait behind what waits already."""
    chance, sent, received, straight, waited = random.Random(7), 0, 0, 0, 0
    server = Server(config={}, transformer=variant.transformer, port=0)
    record = Record(server)
    async with running(server):

        async def dial() -> trio.abc.Stream:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            return stream

        async with variant.connect(dial, variant.pathname) as client:
            await record.until(lambda: bool(record.opened))
            connection = record.opened[0]
            for _ in range(100):
                if (outlet := connection._link.outlet) is not None:
                    assert isinstance(outlet, OnSocket)
                    outlet._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
                for _ in range(chance.randrange(1, 40)):
                    text = "x" * chance.choice([1, 10, 10, 1000, 1000, 30_000])
                    straight += connection._outlet.straight is not None
                    if chance.randrange(3) or connection._is_slow():
                        server.broadcast([sent, text])
                    else:
                        connection.send_nowait([sent, text])
                    sent += 1
                    waited += connection._link.queued > 0
                    if not chance.randrange(10):
                        await trio.lowlevel.checkpoint()
                behind = max(0, chance.randrange(-20, 30))
                while received < sent - behind:
                    number, _ = await client.receive()
                    assert number == received
                    received += 1
    assert waited > 20
    assert straight > 20 or "polling" in variant.name


@pytest.mark.parametrize("transformed", [False, True], ids=["", "transformed"])
async def test_who_is_closed_in_a_broadcast_is_told_of_after_it(variant: Variant, *, transformed: bool) -> None:
    """Whatever ``on_close`` says to everybody comes after what was too much for the one."""
    server = Server(config={}, transformer=variant.transformer, port=0, max_backlog_messages=8)
    if transformed:
        server.transform("outgoing", lambda envelope: None)
    record = Record(server)

    @server.on_close
    def tell(connection: Connection, code: int, reason: str) -> None:
        if connection is record.opened[0]:
            server.broadcast([-1, reason])

    async with memory_host(server) as host, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(variant.connect(host.dial, variant.pathname)) for _ in range(10)]
        await record.until(lambda: len(record.opened) == 10)
        for number in range(200):
            server.broadcast([number, "x" * 5000])
            for client in clients[1:]:
                assert (await client.receive())[0] == number
            if record.closed:
                break
        for client in clients[1:]:
            assert await client.receive() == [-1, "the client does not read"]


class Counting:
    """What sends to many sockets, with a record of to how many it did, and of how many did not take all."""

    def __init__(self, many: ManySockets) -> None:
        self.longest = many.longest
        self.given: list[int] = []
        self.short = 0
        self._many = many

    def send(self, descriptors: list[int], data: bytes) -> list[tuple[int, int]]:
        self.given.append(len(descriptors))
        short = list(self._many.send(descriptors, data))
        self.short += len(short)
        return short


@pytest.mark.parametrize("io_uring", [True, False], ids=["io_uring", "send"])
async def test_a_crowd_that_reads_by_fits_and_starts(variant: Variant, *, io_uring: bool) -> None:
    """Everybody gets everything, once and in order, however much fits; one who is cut off is no trouble to the rest."""
    chance, sent, waited, size = random.Random(11), 0, 0, 12
    server = Server(config={}, transformer=variant.transformer, port=0, io_uring=io_uring)
    record = Record(server)
    async with running(server), AsyncExitStack() as stack:
        shared = server._application.shared
        counting = None if shared.many is None else Counting(shared.many)
        shared.many = counting
        assert io_uring or counting is None
        streams: list[trio.SocketStream] = []

        async def dial() -> trio.abc.Stream:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            streams.append(stream)
            return stream

        clients = [await stack.enter_async_context(variant.connect(dial, variant.pathname)) for _ in range(size)]
        await record.until(lambda: len(record.opened) == size)
        for connection in record.opened:
            if (outlet := connection._link.outlet) is not None:
                assert isinstance(outlet, OnSocket)
                outlet._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        received = [0] * size
        for turn in range(30):
            for _ in range(chance.randrange(1, 15)):
                server.broadcast([sent, "x" * chance.choice([1, 10, 10, 1000, 30_000])])
                sent += 1
                waited += sum(connection._link.queued > 0 for connection in server.connections.values())
            if turn == 15:
                linger = struct.pack("ii", 1, 0)
                streams[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                streams[0].socket.close()
                received[0] = -1
                server.broadcast([sent, "into the void"])
                sent += 1
            for place, client in enumerate(clients):
                behind = max(0, chance.randrange(-10, 12))
                while -1 < received[place] < sent - behind:
                    number, _ = await client.receive()
                    assert number == received[place]
                    received[place] += 1
        for place, client in enumerate(clients[1:], 1):
            while received[place] < sent:
                assert (await client.receive())[0] == received[place]
                received[place] += 1
    assert waited > 20
    if counting is not None and "polling" not in variant.name:
        assert max(counting.given) == size
        assert counting.short > 20


MIXED = {"websockets": "/primus", "engine.io": "/eio"}


async def mixed_crowd(server: Server, stack: AsyncExitStack, record: Record, count: int) -> list[MessageClient]:
    """Connect clients of both transformers by turns, over real sockets."""

    async def dial() -> trio.abc.Stream:
        return await trio.open_tcp_stream("127.0.0.1", server.port)

    clients: list[MessageClient] = []
    for number in range(count):
        variant, path = [("websockets", "/primus"), ("engine.io websocket", "/eio")][number % 2]
        clients.append(await stack.enter_async_context(VARIANTS[variant].connect(dial, path)))
        await record.until(lambda: len(record.opened) == len(clients))
    return clients


async def test_transformers_by_turns_are_one_call_each() -> None:
    """Clients come as they like; whoever has the same encoding is reached together."""
    server = Server(config={}, transformer=MIXED, port=0)
    record = Record(server)
    async with running(server), AsyncExitStack() as stack:
        shared = server._application.shared
        if shared.many is None:
            pytest.skip("this system gives no io_uring")
        clients = await mixed_crowd(server, stack, record, 40)
        server.broadcast("by their links")
        shared.many = counting = Counting(shared.many)
        server.broadcast("past them")
        for client in clients:
            assert [await client.receive() for _ in range(2)] == ["by their links", "past them"]
    assert sorted(counting.given) == [19, 20]  # the first goes before the second kind is encoded


@pytest.mark.parametrize("io_uring", [True, False], ids=["io_uring", "send"])
async def test_a_parser_that_does_more(monkeypatch: pytest.MonkeyPatch, *, io_uring: bool) -> None:
    """Whatever it does to a connection comes before the message or after it; never is a socket used that was looked at
    before."""
    server = Server(config={}, transformer=MIXED, port=0, io_uring=io_uring)
    record = Record(server)
    encode = Broadcast._encode

    def close_and_encode(self: Broadcast, connection: Connection) -> Any:
        if connection.transformer == "engine.io":
            record.opened[0].close(4000, "by a parser")
        return encode(self, connection)

    async with running(server), AsyncExitStack() as stack:
        clients = await mixed_crowd(server, stack, record, 20)
        server.broadcast("by their links")
        monkeypatch.setattr(Broadcast, "_encode", close_and_encode)
        server.broadcast("past them")
        for client in clients:
            assert [await client.receive() for _ in range(2)] == ["by their links", "past them"]
        with pytest.raises(ConnectionClosed, match="4000: by a parser"):
            await clients[0].receive()


@pytest.mark.parametrize("io_uring", [True, False], ids=["io_uring", "send"])
async def test_a_parser_that_sends_while_it_encodes_for_another_wire(*, io_uring: bool) -> None:
    """The first polls, so the message is encoded once more for those behind it; and then by a parser that fills their
    sockets."""

    class Watching:
        longest = 65536

        def send(self, descriptors: list[int], data: bytes) -> Any:
            assert None not in [connection._outlet.straight for connection in record.opened[1:]]
            assert many is not None
            return many.send(descriptors, data)

    class Sending(JSONParser):
        count = 0

        def encode(self, value: Any) -> Any:
            if value == "message":
                self.count += 1
                if self.count == 2:
                    for connection in record.opened[1:]:
                        connection.send_nowait("N" * 500_000)
            return super().encode(value)

    server = Server(config={}, transformer="engine.io", port=0, io_uring=io_uring, parser=Sending, max_backlog=1 << 24)
    record = Record(server)

    async def dial() -> trio.abc.Stream:
        return await trio.open_tcp_stream("127.0.0.1", server.port)

    async with running(server), AsyncExitStack() as stack:
        many = server._application.shared.many
        if many is not None:
            server._application.shared.many = Watching()
        clients: list[MessageClient] = []
        for number in range(12):
            variant = VARIANTS["engine.io websocket" if number else "engine.io polling"]
            clients.append(await stack.enter_async_context(variant.connect(dial, variant.pathname)))
            await record.until(lambda: len(record.opened) == len(clients))
        server.broadcast("first")
        for connection in record.opened[1:]:
            outlet = connection._outlet
            assert isinstance(outlet, OnSocket)
            outlet._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        server.broadcast("message")
        server.broadcast("last")
        assert [await clients[0].receive() for _ in range(3)] == ["first", "message", "last"]
        for client in clients[1:]:
            got = [await client.receive() for _ in range(4)]
            assert [one[:7] for one in got] == ["first", "N" * 7, "message", "last"]


async def test_with_transforms_each_gets_its_own() -> None:
    def transform(envelope: Any) -> bool | None:
        if envelope.connection is record.opened[0]:
            return False
        envelope.data = [envelope.data, record.opened.index(envelope.connection)]
        return None

    server = make_server()
    server.transform("outgoing", transform)
    record = Record(server)
    async with memory_host(server) as host, AsyncExitStack() as stack:
        clients = await crowd(host, stack, record, 4)
        server.broadcast("x", exclude=[record.opened[1]])
        for number in (2, 3):
            assert await clients[number].receive() == ["x", number]
        record.opened[1].close()
        with pytest.raises(ConnectionClosed):
            await clients[1].receive()


async def test_h21_a_transform_that_fails_for_one_fails_for_one() -> None:
    def transform(envelope: Any) -> None:
        if envelope.connection is record.opened[1]:
            raise RuntimeError("a bug")

    server = make_server()
    server.transform("outgoing", transform)
    record = Record(server)
    async with memory_host(server) as host, AsyncExitStack() as stack:
        clients = await crowd(host, stack, record, 3)
        server.broadcast("x")
        assert await clients[0].receive() == "x"
        assert await clients[2].receive() == "x"
        with pytest.raises(ConnectionClosed, match="1011"):
            await clients[1].receive()
        assert [connection for connection, _ in record.errors] == [record.opened[1]]


async def test_what_is_said_of_a_failure_comes_after_the_broadcast() -> None:
    def transform(envelope: Any) -> None:
        if envelope.data == "x" and envelope.connection is record.opened[0]:
            raise RuntimeError("a bug")

    server = make_server()
    server.transform("outgoing", transform)
    record = Record(server)
    server.on_error(lambda connection, error: server.broadcast("somebody has failed"))
    server.on_close(lambda connection, code, reason: server.broadcast("somebody has left"))
    async with memory_host(server) as host, AsyncExitStack() as stack:
        clients = await crowd(host, stack, record, 4)
        server.broadcast("x")
        for client in clients[1:]:
            assert [await client.receive() for _ in range(3)] == ["x", "somebody has failed", "somebody has left"]


async def test_h21_a_parser_that_fails_in_its_own_way_costs_nobody_else_the_message() -> None:
    class Failing(JSONParser):
        def encode(self, value: Any) -> Any:
            if value == "x":
                raise LookupError(value)
            return super().encode(value)

    server = make_server(parser=Failing)
    record = Record(server)
    async with memory_host(server) as host, AsyncExitStack() as stack:
        clients = await crowd(host, stack, record, 2)
        with pytest.raises(LookupError):
            server.broadcast("x")
        server.broadcast("y")
        for client in clients:
            assert await client.receive() == "y"
        assert server._application.shared.afterwards is None


@pytest.mark.transformer("socket.io")
async def test_h21_what_one_transformer_can_not_carry_reaches_the_others(autojump_clock: object) -> None:
    """The caller is told once; nobody else misses it, wherever in the room they stand, and nobody is closed."""
    server = Server(config={}, transformer={"websockets": "/primus", "socket.io": "/socket.io"})
    record = Record(server)
    carriers = [VARIANTS["websockets"], VARIANTS["socket.io websocket"], VARIANTS["websockets"]]
    async with memory_host(server) as host, AsyncExitStack() as stack:
        clients = []
        for variant in carriers:
            clients.append(await stack.enter_async_context(variant.connect(host.dial, variant.pathname)))
            await record.until(lambda: len(record.opened) == len(clients))
            server.rooms.join(record.opened[-1], "room")
        with pytest.raises(ValueError, match="not for applications"):
            server.emit("connect", 1, room="room")  # to a client of Socket.IO this would be a lie
        server.emit("next", room="room")
        assert await clients[0].receive() == Event("connect", [1], None)
        assert await clients[2].receive() == Event("connect", [1], None)
        for client in clients:
            assert await client.receive() == Event("next", [], None)
        assert not record.closed
