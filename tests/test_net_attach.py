"""Streams that somebody else has opened: Unix sockets, trio's own streams, ends of a pair; all of them have tasks."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Server
from ahtransport._heartbeat import Deadlines
from ahtransport._net.host import Host
from ahtransport._net.tasks import StreamChannel, TaskChannel
from ahtransport.testing import WebSocketClient, fetch, memory_stream_pair, running

if TYPE_CHECKING:
    from pathlib import Path

    from ahtransport import Connection


def echo_server(**options: Any) -> Server:
    server = Server(config={}, port=0, **options)

    @server.on_message
    def echo(connection: Connection, message: Any) -> None:
        connection.send_nowait(message)

    return server


def stream_pair(kind: str) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    if kind == "memory":
        return memory_stream_pair(1000)
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    streams = [trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (ours, theirs)]
    return streams[0], streams[1]


@pytest.mark.parametrize("kind", ["memory", "socket", "accepted"])
async def test_h2_who_comes_when_idle_connections_are_closed_holds_nothing_up(kind: str) -> None:
    """As it is with one that was accepted in the turn in which the server was told to stop."""
    host = Host(echo_server(), Deadlines(), reactor=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.serve, None, 0)
        host.stop()
        host.close_idle()
        if kind == "accepted":
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            client_end: trio.abc.Stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
            host._accepted(theirs, "")
        else:
            client_end, server_end = stream_pair(kind)
            host.attach(server_end)
        with trio.fail_after(5):
            assert await client_end.receive_some() == b""
            await client_end.aclose()
            await host.drained.wait()


@pytest.mark.parametrize("kind", ["memory", "socket"])
async def test_a_stream_that_is_attached(kind: str) -> None:
    server = echo_server()
    async with running(server):
        assert server._host is not None
        client_end, server_end = stream_pair(kind)
        server._host.attach(server_end, ("192.0.2.1", 7), secure=True)
        client = await WebSocketClient.connect(client_end)
        (connection,) = server.connections.values()
        (channel,) = server._host._channels
        assert isinstance(channel, StreamChannel)
        assert (connection.remote_ip, connection.remote_port) == ("192.0.2.1", 7)
        assert channel.secure
        for size in (0, 1, 125, 126, 65535, 65536, 300_000):
            await client.send('"' + "x" * size + '"')
            assert await client.receive() == '"' + "x" * size + '"'
        await client.close()
        while server._host.open_channels:  # noqa: ASYNC110
            await trio.sleep(0.005)


@pytest.mark.parametrize("driver", ["reactor", "task"])
async def test_a_unix_socket(tmp_path: Path, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "_driver", driver)
    server = echo_server()

    async def door(listener: trio.SocketListener) -> None:
        host = server._host
        assert host is not None
        while True:
            host.attach(await listener.accept())

    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(str(tmp_path / "door"))
        sock.listen()
        async with running(server), trio.open_nursery() as nursery:
            nursery.start_soon(door, trio.SocketListener(sock))
            client = await WebSocketClient.connect(await trio.open_unix_socket(str(tmp_path / "door")))
            await client.send('"hello"')
            assert await client.receive() == '"hello"'
            beside = await WebSocketClient.connect(await trio.open_tcp_stream(*server.addresses[0]))
            await beside.send("1")
            assert await beside.receive() == "1"
            kinds = sorted(isinstance(one, StreamChannel) for one in server._host._channels)  # type: ignore[union-attr]
            assert kinds == [False, True]
            async with await trio.open_unix_socket(str(tmp_path / "door")) as stream:
                assert (await fetch(stream, "GET", "/primus/spec")).status == 200
            await trio.aclose_forcefully(beside.stream)
            await trio.aclose_forcefully(client.stream)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("driver", ["reactor", "task"])
async def test_the_driver_is_the_servers_choice(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "_driver", driver)
    server = echo_server()
    async with running(server):
        client = await WebSocketClient.connect(await trio.open_tcp_stream(*server.addresses[0]))
        assert server._host is not None
        (channel,) = server._host._channels
        assert isinstance(channel, TaskChannel) == (driver == "task")
        await trio.aclose_forcefully(client.stream)


@pytest.mark.parametrize("kind", ["reactor", "task", "memory"])
async def test_who_says_much_and_hangs_up_is_heard_out(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one turn, and then the end of the stream, which must not come before the rest."""
    monkeypatch.setattr(Server, "_driver", "task" if kind == "task" else "reactor")
    server = Server(config={}, port=0)
    got: list[int] = []
    closed = trio.Event()
    server.on_close(lambda connection, code, reason: closed.set())

    @server.on_message
    async def slowly(connection: Connection, message: int) -> None:
        got.append(message)
        if message % 10 == 0:
            await trio.sleep(0)  # noqa: ASYNC115 -- as handlers do

    async with running(server):
        if kind == "memory":
            assert server._host is not None
            stream, theirs = memory_stream_pair(100_000)
            server._host.attach(theirs)
        else:
            stream = await trio.open_tcp_stream(*server.addresses[0])  # type: ignore[assignment]
        client = await WebSocketClient.connect(stream)
        for number in range(500):
            await client.send(str(number))
        await client.stream.aclose()
        await closed.wait()
    assert got == list(range(500))
