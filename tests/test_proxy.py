"""Behind a real nginx, with the very configuration of the documentation: TLS ends there, everything goes through it."""

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import engineio
import pytest
import socketio
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from ahtransport import Connection, Request, Response, Server
from ahtransport.testing import HttpResponse, fetch, running
from certificates import authority_file, client_context, secured, shake_hands
from clients.harness import node_marks, run_node

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
# Where nginx is promised (AHTRANSPORT_NGINX=1, as the nox session sets) its absence is a failure, not a skip.
pytestmark = [
    pytest.mark.proxy,
    pytest.mark.skipif(
        NGINX is None and os.environ.get("AHTRANSPORT_NGINX") != "1",
        reason="nginx is not installed (such as: apt-get install nginx-light)",
    ),
]

CONFIGURATION = Path(__file__).resolve().parents[1] / "docs" / "deploying" / "nginx.conf"
AROUND = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {site}
}}
"""
BIG = "x" * 200_000


def free_port() -> int:
    """Give a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Proxy:
    """A running nginx.

    Attributes:
        port: of HTTPS.
        plain: of HTTP.
    """

    def __init__(self) -> None:
        self.port, self.plain = free_port(), free_port()
        self.origin = f"https://localhost:{self.port}"

    def configuration(self, directory: Path, backend: int, changes: dict[str, str]) -> str:
        """Write the documentation's, with the ports and paths of this machine."""
        secured(directory)
        site = CONFIGURATION.read_text(encoding="utf-8")
        for old, new in {
            "server 127.0.0.1:8080;": f"server 127.0.0.1:{backend};",
            "listen 80;": f"listen 127.0.0.1:{self.plain};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "/etc/letsencrypt/live/example.com/fullchain.pem": f"{directory}/cert.pem",
            "/etc/letsencrypt/live/example.com/privkey.pem": f"{directory}/key.pem",
            **changes,
        }.items():
            assert site.count(old) == 1, old
            site = site.replace(old, new)
        path = directory / "nginx.conf"
        path.write_text(AROUND.format(directory=directory, site=site), encoding="utf-8")
        return str(path)

    async def fetch(
        self, path: str = "/", headers: dict[str, str] | None = None, address: str = "127.0.0.1"
    ) -> HttpResponse:
        """Send one request over TLS, from some address of the loopback."""
        tcp = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=address)
        stream = await shake_hands(tcp)
        try:
            fields = {"Host": f"localhost:{self.port}", **(headers or {})}
            return await fetch(stream, "GET", path, fields.items())
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def behind_nginx(server: Server, directory: Path, changes: dict[str, str] | None = None) -> AsyncIterator[Proxy]:
    """Serve behind nginx; ``server`` need not be running yet, but must know its port."""
    proxy = Proxy()
    assert NGINX is not None
    path = proxy.configuration(directory, server.port, changes or {})
    process = await trio.lowlevel.open_process([NGINX, "-p", str(directory), "-c", path])
    try:
        with trio.fail_after(10):
            while True:
                assert process.poll() is None, "nginx does not like its configuration; see standard error"
                try:
                    await trio.aclose_forcefully(await trio.open_tcp_stream("127.0.0.1", proxy.port))
                    break
                except OSError:
                    await trio.sleep(0.01)
        yield proxy
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()


def make_server(transformer: str = "websockets", **options: Any) -> Server:
    settings: dict[str, Any] = {"config": {}, "port": 0, "transformer": transformer, "trusted_proxies": ["127.0.0.1"]}
    server = Server(**{**settings, **options})

    @server.on_message
    async def answer(connection: Connection, message: Any) -> None:
        if message == "who":
            await connection.send([connection.remote_ip, connection.session.get("user", "nobody")])
        else:
            await connection.send(message)

    async def login(request: Request) -> Response:
        async with server.session_for(request).change() as session:
            session["user"] = "alice"
        return Response.json(200, [request.remote_ip, request.secure, request.host])

    server.route("/login", login)
    return server


async def test_who_the_client_is(tmp_path: Path) -> None:
    """Address, scheme and name are the client's, whatever it makes up; and the cookie is for TLS only."""
    server = make_server()
    async with running(server), behind_nginx(server, tmp_path) as proxy:
        host = f"localhost:{proxy.port}"
        forged = {
            "X-Forwarded-For": "6.6.6.6",
            "X-Forwarded-Proto": "http",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Port": "1",
            "X-Real-IP": "6.6.6.6",
            "Forwarded": "for=6.6.6.6;host=evil.example;proto=http",
        }
        for headers in ({}, forged):
            response = await proxy.fetch("/login", headers, "127.0.0.2")
            assert json.loads(response.body) == ["127.0.0.2", True, host]
            assert response.headers["set-cookie"].endswith("; HttpOnly; SameSite=Lax; Secure")


async def test_by_a_unix_socket(tmp_path: Path) -> None:
    """Requests and WebSockets alike, and who the client is, too."""
    server = make_server(socket="door", trusted_proxies=["unix"])
    change = {"server 127.0.0.1:8080;": f"server unix:{tmp_path}/door;"}
    async with running(server), behind_nginx(server, tmp_path, change) as proxy:
        response = await proxy.fetch("/login", {}, "127.0.0.2")
        assert json.loads(response.body) == ["127.0.0.2", True, f"localhost:{proxy.port}"]

        def client() -> Any:
            with connect(f"wss://localhost:{proxy.port}/primus", ssl=client_context()) as socket:
                socket.send('"who"')
                return json.loads(socket.recv())

        assert await trio.to_thread.run_sync(client) == ["127.0.0.1", "nobody"]


async def test_a_session_over_the_websocket(tmp_path: Path) -> None:
    """The page's origin is the server's, although the server itself knows nothing of TLS."""
    server = make_server()
    async with running(server), behind_nginx(server, tmp_path) as proxy:
        cookie = (await proxy.fetch("/login")).headers["set-cookie"].partition(";")[0]

        def client(origin: str) -> Any:
            with connect(
                f"wss://localhost:{proxy.port}/primus",
                ssl=client_context(),
                origin=Origin(origin),
                additional_headers={"Cookie": cookie},
                source_address=("127.0.0.2", 0),
                max_size=None,
            ) as peer:
                for message in ("text", "wörld", BIG):
                    peer.send(json.dumps(message))
                    assert json.loads(peer.recv(timeout=10)) == message
                peer.send('"who"')
                return json.loads(peer.recv(timeout=10))

        assert await trio.to_thread.run_sync(client, proxy.origin) == ["127.0.0.2", "alice"]
        assert await trio.to_thread.run_sync(client, "https://evil.example") == ["127.0.0.2", "nobody"]


def talk(kind: str, url: str, transports: list[str]) -> None:
    """Have a Python client echo over these transports."""

    async def main() -> None:
        answers: asyncio.Queue[str] = asyncio.Queue()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_context())) as session:
            client: Any = {"engine.io": engineio, "socket.io": socketio}[kind].AsyncClient(http_session=session)
            client.on("message", answers.put)
            where = {"engineio_path": "primus"} if kind == "engine.io" else {}
            await client.connect(url, transports=transports, **where)
            for message in ("text", BIG):
                await client.send(json.dumps(message) if kind == "engine.io" else message)
                assert await asyncio.wait_for(answers.get(), 10) == message
            await client.disconnect()
        await asyncio.sleep(0.25)  # for TLS to be closed: "Graceful Shutdown" in aiohttp's documentation

    asyncio.run(main())


@pytest.mark.parametrize("buffering", ["off", "on"])
@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="-".join)
@pytest.mark.parametrize("kind", ["engine.io", "socket.io"])
async def test_polling_and_upgrades(kind: str, transports: list[str], buffering: str, tmp_path: Path) -> None:
    """Polls are answered whole, so a proxy that buffers does no harm to them."""
    server = make_server(kind)
    changes = {"proxy_buffering    off;": f"proxy_buffering {buffering};"}
    async with running(server), behind_nginx(server, tmp_path, changes) as proxy:
        with trio.fail_after(30):
            await trio.to_thread.run_sync(talk, kind, proxy.origin, transports)


@node_marks[0]
@node_marks[1]
@pytest.mark.parametrize(
    ("kind", "transformer", "mode"),
    [
        ("primus8", "websockets", "websocket"),
        ("primus8", "engine.io", "upgrade"),
        ("socket.io-client", "socket.io", "upgrade"),
    ],
)
async def test_npm(kind: str, transformer: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", authority_file(tmp_path))
    server = make_server(transformer)
    async with running(server), behind_nginx(server, tmp_path) as proxy:
        options = json.dumps({"transformer": transformer})
        records = await run_node("tls_driver.cjs", kind, mode, proxy.origin, options)
    assert records == [{"echo": True}] * 4 + [{"transport": "websocket"}]


async def test_files_and_the_way_to_tls(tmp_path: Path) -> None:
    public = tmp_path / "public"
    public.mkdir()
    (public / "big.txt").write_text(BIG * 20)
    server = make_server(public=[str(public)])
    async with running(server), behind_nginx(server, tmp_path) as proxy:
        assert (await proxy.fetch("/big.txt")).body == (BIG * 20).encode()
        stream = await trio.open_tcp_stream("127.0.0.1", proxy.plain)
        response = await fetch(stream, "GET", "/page?x=1", [("Host", "example.com")])
        assert (response.status, response.headers["location"]) == (301, "https://example.com/page?x=1")
        await trio.aclose_forcefully(stream)


async def test_g15_names(tmp_path: Path) -> None:
    server = make_server(allowed_hosts=["localhost"])
    async with running(server), behind_nginx(server, tmp_path) as proxy:
        assert (await proxy.fetch("/login")).status == 200
        evil = {"Host": "evil.example", "X-Forwarded-Host": "localhost"}
        assert (await proxy.fetch("/login", evil)).status == 421


async def test_the_server_starts_again(tmp_path: Path) -> None:
    """Clients hear of it, nginx answers 502 meanwhile, and the first request afterwards is served."""
    server = make_server(port=free_port())
    async with behind_nginx(server, tmp_path) as proxy, trio.open_nursery() as nursery:
        assert (await proxy.fetch("/login")).status == 502
        await nursery.start(server.serve)
        assert (await proxy.fetch("/login")).status == 200
        opened = trio.Event()
        server.on_open(lambda connection: opened.set())
        codes: list[int] = []

        def client() -> None:
            with connect(f"wss://localhost:{proxy.port}/primus", ssl=client_context()) as peer:
                try:
                    while True:
                        peer.recv(timeout=10)
                except ConnectionClosed as closed:
                    codes.append(closed.code if closed.rcvd is None else closed.rcvd.code)

        with trio.fail_after(20):
            async with trio.open_nursery() as clients:
                clients.start_soon(trio.to_thread.run_sync, client)
                await opened.wait()
                server.shutdown()
                await server._ended.wait()
        assert codes == [1012]
        assert (await proxy.fetch("/login")).status == 502
        again = make_server(port=server.config.servers.web.port)
        await nursery.start(again.serve)
        for _ in range(5):
            assert (await proxy.fetch("/login")).status == 200
        again.shutdown()
