# ruff: noqa: ASYNC240 - files of the tests' own
"""A server on a Unix socket: its file, who its clients are, and what it says of itself."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from ahtransport import ConfigError, Connection, Request, Response, Server
from ahtransport._net.tasks import TaskChannel
from ahtransport._web.proxies import TrustedProxies
from ahtransport.cli import main
from ahtransport.testing import HttpResponse, WebSocketClient, fetch, memory_host, running
from certificates import secured, shake_hands

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")

# Elsewhere a door with many before it looks as if nobody lived there.
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
DOOR = Path("door")  # in the working directory, which is the test's own; absolute ones may be too long
FORWARDED = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "example.com")]


def make_server(**options: Any) -> Server:
    server = Server(config={}, socket=DOOR, **options)

    @server.on_message
    def answer(connection: Connection, message: Any) -> None:
        connection.send_nowait([connection.remote_ip, connection.remote_port])

    async def who(request: Request) -> Response:
        return Response.json(200, [request.remote_ip, request.secure, request.host])

    server.route("/who", who)
    return server


async def ask(path: str, headers: list[tuple[str, str]] | None = None) -> HttpResponse:
    async with await trio.open_unix_socket(str(DOOR)) as stream:
        return await fetch(stream, "GET", path, [("Host", "inner"), *(headers or [])])


async def refusal_of(server: Server) -> OSError:
    """Give what it says when it can't listen."""
    with pytest.raises(OSError, match=r".") as caught:
        await server.serve()
    return caught.value


def left_behind() -> None:
    """Leave the file of a server that is no more."""
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(DOOR))
        gone.listen()


@pytest.mark.parametrize("driver", ["reactor", "task"])
async def test_where_it_is(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reactor serves it, as every plain socket; and the port is none."""
    monkeypatch.setattr(Server, "_driver", driver)
    server = make_server()
    assert (server.url, server.port, server.addresses) == ("http://unix:door", 8080, [])
    async with running(server) as url:
        assert (url, server.port, server.addresses) == ("http://unix:door", 0, [("door", 0)])
        assert (await ask("/who")).body == b'["unix",false,"inner"]'
        client = await WebSocketClient.connect(await trio.open_unix_socket("door"))
        await client.send("1")
        assert await client.receive() == '["unix",0]'
        assert server._host is not None
        assert [isinstance(one, TaskChannel) for one in server._host.channels] == [driver == "task"]
        await client.close()
    assert not DOOR.exists()


async def test_the_umask_says_who_may_connect() -> None:
    before = os.umask(0o007)
    try:
        async with running(make_server()):
            assert stat.filemode(DOOR.stat().st_mode) == "srwxrwx---"
    finally:
        os.umask(before)


async def test_tls(tmp_path: Path) -> None:
    server = make_server(**secured(tmp_path))
    async with running(server) as url:
        assert url == "https://unix:door"
        stream = await shake_hands(await trio.open_unix_socket("door"))
        assert (await fetch(stream, "GET", "/who", [("Host", "inner")])).body == b'["unix",true,"inner"]'
        await trio.aclose_forcefully(stream)


# -- its file


async def test_a_file_that_a_server_has_left_is_replaced() -> None:
    left_behind()
    async with running(make_server()):
        assert (await ask("/who")).status == 200
    assert not DOOR.exists()


@pytest.mark.parametrize("busy", [False, pytest.param(True, marks=LINUX)])
async def test_a_living_server_keeps_its_file(busy: bool) -> None:
    """However many wait at its door."""
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as first:
        other.bind("door")
        other.listen(0 if busy else 10)
        if busy:
            first.connect("door")
        error = await refusal_of(make_server())
        assert error.errno == errno.EADDRINUSE
        assert error.__notes__ == ["while listening on door: servers.web.socket"]
        assert stat.S_ISSOCK(DOOR.stat().st_mode)
        if not busy:
            first.connect("door")
        other.accept()[0].close()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "link to a socket"])
async def test_nothing_else_is_replaced(kind: str) -> None:
    if kind == "file":
        DOOR.write_text("precious")
    elif kind == "directory":
        DOOR.mkdir()
    elif kind == "link":
        DOOR.symlink_to("nowhere")
    else:
        left_behind()
        DOOR.rename("elsewhere")
        DOOR.symlink_to("elsewhere")
    before = DOOR.lstat()
    error = await refusal_of(make_server())
    assert error.errno == errno.EEXIST
    assert "no socket" in str(error)
    assert error.filename == "door"
    assert DOOR.lstat() == before


async def test_a_directory_that_is_not_there() -> None:
    server = Server(config={}, socket="nowhere/door")
    error = await refusal_of(server)
    assert error.errno == errno.ENOENT
    assert error.__notes__ == ["while listening on nowhere/door: servers.web.socket"]


async def test_the_file_is_gone_as_soon_as_nobody_is_accepted() -> None:
    """The next server may have it while this one still says goodbye."""
    server, following = make_server(close_timeout=3_600_000, shutdown_grace=3_600_000), make_server()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        client = await WebSocketClient.connect(await trio.open_unix_socket("door"))
        server.shutdown()
        while DOOR.exists():  # noqa: ASYNC110
            await trio.sleep(0.005)
        async with running(following):
            await trio.aclose_forcefully(client.stream)
            await server._ended.wait()
            assert (await ask("/who")).status == 200  # and the end of the first does not take it away
    assert not DOOR.exists()


async def test_a_file_that_is_anothers_by_now_stays() -> None:
    async with running(make_server()):
        DOOR.unlink()
        DOOR.write_text("precious")
    assert DOOR.read_text() == "precious"


async def test_whoever_goes_elsewhere_still_tidies_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(make_server()):
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path / "sub")
    assert not (tmp_path / "door").exists()


async def test_serving_again() -> None:
    server = make_server()
    for _ in range(2):
        async with running(server):
            assert (await ask("/who")).status == 200


async def test_a_server_in_memory_has_no_file() -> None:
    async with memory_host(make_server()):
        assert not DOOR.exists()


# -- who its clients are


@pytest.mark.parametrize(
    ("trusted", "answer"),
    [
        (["unix"], b'["203.0.113.9",true,"example.com"]'),
        (["10.0.0.1", "unix"], b'["203.0.113.9",true,"example.com"]'),
        (["127.0.0.1", "::/0", "0.0.0.0/0"], b'["unix",false,"inner"]'),
        ([], b'["unix",false,"inner"]'),
    ],
)
async def test_a_proxy_is_believed_where_it_is_named(trusted: list[str], answer: bytes) -> None:
    async with running(make_server(trusted_proxies=trusted)):
        assert (await ask("/who", FORWARDED)).body == answer


async def test_nobody_makes_themselves_local_by_a_header() -> None:
    """The name "unix" in a header is no address: the hop before it is the client."""
    async with running(make_server(trusted_proxies=["unix"])):
        assert (await ask("/who", [("X-Forwarded-For", "203.0.113.9, unix")])).body == b'["unix",false,"inner"]'
        assert (await ask("/who", [("X-Forwarded-For", "unix, 203.0.113.9")])).body == b'["203.0.113.9",false,"inner"]'
    server = Server(config={}, port=0, trusted_proxies=["unix"])  # and by TCP nobody is

    async def who(request: Request) -> Response:
        return Response.json(200, request.remote_ip)

    server.route("/who", who)
    async with running(server), await trio.open_tcp_stream(*server.addresses[0]) as stream:
        response = await fetch(stream, "GET", "/who", [("Host", "inner"), ("X-Forwarded-For", "203.0.113.9")])
        assert response.body == b'"127.0.0.1"'
    assert not TrustedProxies(["unix"]).knows("a stream that somebody has attached")


@pytest.mark.parametrize("trusted", [[], ["unix"]])
async def test_sockets_are_counted_unless_it_is_a_proxy(trusted: list[str]) -> None:
    server = make_server(max_sockets_per_address=1, trusted_proxies=trusted)
    async with running(server), await trio.open_unix_socket("door") as stream:
        assert (await fetch(stream, "GET", "/who", [("Host", "inner")])).status == 200
        async with await trio.open_unix_socket("door") as second:
            if trusted:
                assert (await fetch(second, "GET", "/who", [("Host", "inner")])).status == 200
            else:  # it is told before it has asked
                assert (await second.receive_some()).startswith(b"HTTP/1.1 429 ")


@pytest.mark.parametrize(("readers", "status"), [(["127.0.0.0/8"], 403), (["127.0.0.0/8", "unix"], 200)])
async def test_who_reads_the_metrics(readers: list[str], status: int) -> None:
    async with running(make_server(metrics="/metrics", metrics_addresses=readers)):
        assert (await ask("/metrics")).status == status
        assert (await ask("/metrics", FORWARDED)).status == 403


@pytest.mark.parametrize("option", [{"socket": "a\0b"}, {"socket": 1}, {"trusted_proxies": ["unixes"]}])
def test_what_will_not_do(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"keyword argument: servers\.web\."):
        Server(config={}, **option)


# -- the command line


def test_the_command_line_says_why_it_does_not_listen() -> None:
    DOOR.write_text("precious")
    Path("app.py").write_text("from ahtransport import Server\n\nserver = Server()\n")
    result = CliRunner().invoke(main, ["serve", "app.py", "--socket", "door"])
    assert result.exit_code == 1
    assert result.output == "Error: can't listen on door: something is there that is no socket\n"


def test_a_port_on_the_command_line_wins_over_a_socket_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("app.py").write_text('from ahtransport import Server\n\nserver = Server(socket="door")\n')
    served: list[Server] = []
    monkeypatch.setattr("ahtransport.cli.run", lambda server, logs: served.append(server))
    for arguments in ([], ["--port", "9"], ["--host", "::1"], ["--port", "9", "--socket", "window"]):
        assert CliRunner().invoke(main, ["serve", "app.py", *arguments]).exit_code == 0
    urls = [server.url for server in served]
    assert urls == ["http://unix:door", "http://127.0.0.1:9", "http://[::1]:8080", "http://unix:window"]
