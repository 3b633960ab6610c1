"""The generated client over HTTP and at start-up: from memory, on the disk, and for clients that are out of date."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ahtransport import ActionServer, Connection, Reject, Request, Response, Server
from ahtransport.abc import Event
from ahtransport.testing import HttpResponse, Variant, WebSocketClient, fetch, memory_host
from generated import config_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ahtransport.abc import Core

NAME = "ActionheroWebsocketClient"
FILES = [".js", ".min.js", ".mjs", ".d.ts", ".d.mts"]


def make(**options: Any) -> Server:
    return Server(**{"config": {}, "port": 0, "blocking_warning": 0, **options})  # a busy machine is not to be told of


@asynccontextmanager
async def served(server: Server) -> AsyncIterator[Any]:
    """Run a server; gives ``get(path, method="GET", **headers)``."""
    async with memory_host(server) as host:

        async def get(path: str, method: str = "GET", **headers: str) -> HttpResponse:
            fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
            return await fetch(host.stream(), method, path, fields)

        yield get


# -- from memory


@pytest.mark.parametrize("kind", [Server, ActionServer])
@pytest.mark.parametrize("extension", FILES)
@pytest.mark.parametrize("at", ["/public/javascript/", "/javascript/"])
async def test_g14_every_file_is_served_from_memory(kind: type[Server], extension: str, at: str) -> None:
    server = kind(config={}, port=0)
    async with served(server) as get:
        found = await get(f"{at}{NAME}{extension}")
        assert found.status == 200
        assert found.body == server.client_files().files[f"{NAME}{extension}"]
        script = not extension.endswith("ts")
        mime = "application/javascript" if script else "text/plain"
        assert found.headers["content-type"] == f"{mime}; charset=utf-8"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cache-control"] == "no-cache"
        assert found.headers["access-control-allow-origin"] == "*"
        head = await get(f"{at}{NAME}{extension}", "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(found.body))
        assert head.headers["etag"] == found.headers["etag"]


async def test_what_a_browser_has_already_is_not_sent_again() -> None:
    async with served(make()) as get:
        etag = (await get(f"/javascript/{NAME}.js")).headers["etag"]
        again = await get(f"/javascript/{NAME}.js", if_none_match=f'"other", {etag}')
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == etag
        assert (await get(f"/javascript/{NAME}.min.js", if_none_match=etag)).status == 200
    async with served(make(transformer="engine.io")) as get:
        assert (await get(f"/javascript/{NAME}.js", if_none_match=etag)).status == 200


async def test_a_date_alone_is_no_condition() -> None:
    async with served(make()) as get:
        found = await get(f"/javascript/{NAME}.js", if_modified_since="Thu, 01 Jan 2099 00:00:00 GMT")
        assert found.status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused(method: str) -> None:
    async with served(make()) as get:
        refused = await get(f"/javascript/{NAME}.js", method)
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", [f"/javascript/{NAME}.js", f"/javascript/{NAME}.min.js", "/primus/primus.js"])
async def test_g14_a_query_changes_nothing_and_is_not_reflected(path: str) -> None:
    """ACCEPTANCE G14."""
    evil = "callback=%3C/script%3E%3Cscript%3Ealert(1)&url=https://evil.example&pathname=/evil&_client=evil"
    async with served(make()) as get:
        plain, asked = await get(path), await get(f"{path}?{evil}", cookie="sessionID=evil", origin="http://localhost")
        assert plain.status == asked.status == 200
        assert plain.body == asked.body
        assert plain.headers["etag"] == asked.headers["etag"]
        assert "evil" not in repr(asked.headers)
        assert asked.headers["content-type"] == "application/javascript; charset=utf-8"
        assert asked.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "name", "urls"),
    [
        ("", "Chat", ["/Chat.js", "/public/Chat.min.js"]),
        ("/a//b\\c/./", "Chat", ["/a/b/c/Chat.js", "/public/a/b/c/Chat.mjs"]),
        ("js", "schön und gut", ["/js/sch%C3%B6n%20und%20gut.js"]),
        ("js", "1st", ["/js/1st.min.js"]),
        ("js", "it's <script>", ["/js/it's%20%3Cscript%3E.js"]),
    ],
)
async def test_the_files_are_where_the_options_say(path: str, name: str, urls: list[str]) -> None:
    async with served(make(client_js_path=path, client_js_name=name)) as get:
        for url in urls:
            assert (await get(url)).status == 200, url
        assert (await get(f"/javascript/{NAME}.js")).status == 404


async def test_without_a_name_there_is_no_file_but_primus(tmp_path: Path) -> None:
    own = tmp_path / "public" / "javascript"
    own.mkdir(parents=True)
    (own / f"{NAME}.js").write_bytes(b"mine")
    async with served(make(client_js_name="")) as get:
        assert (await get(f"/javascript/{NAME}.js")).body == b"mine"
        assert (await get("/javascript/.js")).status == 404
        assert (await get("/primus/primus.js")).status == 200
    assert [path.name for path in own.iterdir()] == [f"{NAME}.js"]


async def test_what_is_in_memory_wins_over_what_lies_there(tmp_path: Path) -> None:
    old = tmp_path / "public" / "javascript" / f"{NAME}.js"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    async with served(make(client_js_write=False)) as get:
        assert b"CONFIG" in (await get(f"/javascript/{NAME}.js")).body
    assert old.read_bytes() == b"old"


async def test_middleware_comes_first() -> None:
    server = make()

    @server.use
    def closed(request: Request) -> Response | None:
        return Response.text(403, "closed") if request.path.endswith(".js") else None

    async with served(server) as get:
        assert (await get(f"/javascript/{NAME}.js")).status == 403


async def test_a_server_without_web_has_primus_only() -> None:
    async with served(make(web={"enabled": False})) as get:
        assert (await get(f"/javascript/{NAME}.js")).status == 404
        assert (await get("/primus/primus.js")).status == 200


async def test_a_server_without_websockets_has_no_client() -> None:
    async with served(make(websocket={"enabled": False})) as get:
        assert (await get(f"/javascript/{NAME}.js")).status == 404


async def test_plugins_may_come_late() -> None:
    server = make()
    async with served(server) as get:
        before = await get(f"/javascript/{NAME}.js")
        server.plugin("late", {"client": "function () { /* late */ }"})
        after = await get(f"/javascript/{NAME}.js")
        assert b"/* late */" in after.body
        assert before.headers["etag"] != after.headers["etag"]


# -- primus.js


async def test_primus_alone_is_served_by_each_transformer_with_itself_first() -> None:
    server = make(transformer={"websockets": "/ws", "engine.io": "/eio", "socket.io": "/sio"})
    async with served(server) as get:
        for path, wire in (("/ws", "websockets"), ("/eio", "engine.io"), ("/sio", "socket.io")):
            found = await get(f"{path}/primus.js")
            assert found.status == 200
            assert b"class ActionheroWebsocketClient" not in found.body
            config = config_of(found.body.decode())
            assert config["servers"][0] == {"wire": wire, "pathname": path, "options": {}}
            assert len(config["servers"]) == 3
            assert config["hash"] == server.client_files().hash


async def test_primus_is_for_the_origins_that_may_connect() -> None:
    async with served(make(origins="https://good.example")) as get:
        found = await get("/primus/primus.js", origin="https://good.example")
        assert (found.status, found.headers["access-control-allow-origin"]) == (200, "https://good.example")
        assert (await get("/primus/primus.js", origin="https://evil.example")).status == 403


# -- what there is no client for


class Silent:
    """A transformer without a client side."""

    name = "silent"
    default_pathname = "/silent"

    def __init__(self, core: Core, options: Any) -> None:
        pass

    async def handle_request(self, request: Request) -> Response:
        return Response.text(200, "silent")

    async def handle_upgrade(self, request: Request, socket: Any) -> Any:
        raise Reject(400)

    def encode(self, packet: Any, wire: str) -> tuple[()]:
        return ()


class Failing(Silent):
    """A transformer whose client side fails."""

    name = "failing"

    @classmethod
    def client_modules(cls) -> Any:
        raise OSError("no such file")


class OwnParser:
    def encode(self, value: Any) -> str:
        return str(value)

    def decode(self, data: str | bytes) -> Any:
        return data


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"parser": OwnParser}, "the parser OwnParser has no client side; give it an attribute `client`"),
        ({"transformer": Silent}, "the transformer (silent) has no client_modules; choose another as well"),
    ],
)
async def test_without_a_client_its_address_says_what_to_do(
    options: Any, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(make(**options)) as get:
        for path in (f"/javascript/{NAME}.js", f"/public/javascript/{NAME}.d.ts"):
            found = await get(path)
            assert found.status == 404
            assert sentence in found.body.decode()
            assert 'client_js_name = ""' in found.body.decode()
    [record] = [record for record in caplog.records if "no browser client" in record.getMessage()]
    assert sentence in record.getMessage()


async def test_a_transformer_without_a_client_side_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    server = make(transformer=[Silent, "websockets", Failing], credentials=False)
    async with served(server) as get:
        config = config_of((await get(f"/javascript/{NAME}.js")).body.decode())
        assert [one["wire"] for one in config["servers"]] == ["websockets"]
        assert (await get("/primus/primus.js")).status == 200
        missing = await get("/silent/primus.js")
        assert (missing.status, missing.body) == (404, b"this transformer has no client side")
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "the client side of the transformer failing failed"


# -- clients that are out of date


async def test_a_client_of_other_options_is_told_once_it_is_open(variant: Variant) -> None:
    server = make(transformer=variant.transformer, **variant.options)

    @server.on_open
    def greet(connection: Connection) -> None:
        connection.send_nowait("hello")

    current = server.client_files().hash
    async with (
        memory_host(server) as host,
        variant.connect(host.dial, variant.pathname, query={"_client": "000000000000"}) as client,
    ):
        if variant.primus:
            assert await client.receive() == "hello"
            assert client.control == [f"primus::stale::{current}"]
        else:
            assert await client.receive() == Event("primus::stale", [current])
            assert await client.receive() == "hello"


@pytest.mark.parametrize("known", ["current", "none"])
async def test_other_clients_are_told_nothing(variant: Variant, known: str) -> None:
    server = make(transformer=variant.transformer, **variant.options)

    @server.on_open
    def greet(connection: Connection) -> None:
        connection.send_nowait("hello")

    query = {"_client": server.client_files().hash} if known == "current" else {}
    async with memory_host(server) as host, variant.connect(host.dial, variant.pathname, query=query) as client:
        assert await client.receive() == "hello"
        assert client.control == []


async def test_without_a_client_nobody_is_out_of_date() -> None:
    server = make(parser=OwnParser)

    @server.on_open
    def greet(connection: Connection) -> None:
        connection.send_nowait("hello")

    async with memory_host(server) as host:
        client = await WebSocketClient.connect(host.stream(), "/primus?_client=1")
        assert await client.receive() == "hello"


# -- refusals, which browsers do not show of a WebSocket


@pytest.mark.parametrize(
    ("refusal", "status", "body"),
    [
        (Reject(403, "members only"), 403, "members only"),
        (False, 401, "not authorized"),
        (None, 426, "Upgrade Required"),
    ],
)
async def test_a_plain_request_learns_why_a_websocket_is_refused(refusal: Any, status: int, body: str) -> None:
    server = make()
    asked = []

    @server.authorize
    async def authorize(request: Request) -> Any:
        asked.append(request.query["token"])
        if isinstance(refusal, Reject):
            raise refusal
        return refusal

    async with served(server) as get:
        answer = await get("/primus?token=1", origin="http://localhost")
        assert answer.status == status
        assert body in answer.body.decode()
        assert answer.headers["access-control-allow-origin"] == "http://localhost"
        assert (await get("/primus?token=2", "POST")).status == 426
        assert asked == ["1"]
