"""The server: how it is made, what it is told, and who answers a request."""

from __future__ import annotations

import errno
import logging
import re
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import ActionServer, ConfigError, Connection, Reject, Request, Response, Server, UnknownTransformer
from ahtransport._net.host import Host, peer_of
from ahtransport.testing import Record, Refused, WebSocketClient, connect_websocket, fetch, memory_host, running

if TYPE_CHECKING:
    from pathlib import Path


def make_server(handler: Any = None, **options: Any) -> Server:
    return Server(handler, config={}, **{"transformer": "websockets", "port": 0, **options})


async def nothing(connection: Connection) -> None: ...


# -- how it is made


@pytest.mark.parametrize("handler", [5, "text", object(), lambda connection: None])
def test_what_is_no_handler(handler: Any) -> None:
    with pytest.raises(TypeError, match="handler"):
        make_server(handler)


def test_a_loop_and_on_message_do_not_go_together() -> None:
    server = make_server(nothing)
    with pytest.raises(TypeError, match="not to both"):
        server.on_message(lambda connection, message: None)


def test_on_error_is_plain() -> None:
    with pytest.raises(TypeError, match="plain"):
        make_server().on_error(nothing)


def test_decorators_give_the_function_back() -> None:
    server = make_server()

    def function(*args: Any) -> None: ...

    assert server.on_open(function) is function
    assert server.on_message(function) is function
    assert server.on_close(function) is function
    assert server.on_error(function) is function
    assert server.on("event")(function) is function
    assert server.authorize(function) is function
    assert server.use(function) is function
    assert server.use(name="again")(function) is function
    assert server.middleware.names == ["function", "again"]


def test_unknown_options_and_transformers() -> None:
    with pytest.raises(ConfigError, match=r"ping_?[iI]nterval"):
        make_server(ping_intervall=5)
    with pytest.raises(UnknownTransformer, match="websockets"):
        make_server(transformer="sockjs")
    with pytest.raises(ConfigError, match="websockets transformer has none"):
        make_server(transport={"x": 1})


def test_what_can_t_be_found_is_said_with_where_it_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    for line, wrong in {
        'parser = "jsno"': r"unknown parser 'jsno'; .*did you mean 'JSON'\? \(FILE: KEY\.parser\)",
        'transformer = "sock"': r"unknown transformer 'sock'; installed are: .* \(FILE: KEY\.transformer\)",
        'transformer = ["sock"]': r"unknown transformer 'sock'; installed are: .* \(FILE: KEY\.transformer\)",
        'plugin = { a = "nowhere:b" }': r"nowhere:b: can't import nowhere: .* \(FILE: KEY\.plugin\.a\)",
    }.items():
        file.write_text(f"[servers.websocket.server]\n{line}\n")
        text = wrong.replace("FILE", re.escape(str(file))).replace("KEY", r"servers\.websocket\.server")
        with pytest.raises(ConfigError, match=f"^{text}$"):
            Server(config=file)
    with pytest.raises(UnknownTransformer, match=r"^unknown transformer 'sock'; installed are: [^()]*$") as unknown:
        make_server(transformer="sock")
    assert unknown.value.name == "sock"


def test_options_can_be_set_later() -> None:
    calls: list[str] = []
    server = make_server(nothing)
    server.on("event")(lambda connection: calls.append("event"))
    before = server._application
    server.configure(max_length=77)
    assert server.config.servers.websocket.server.max_length == 77
    assert server._application is not before
    assert server._application.handler is nothing
    assert server._application.has_events
    with pytest.raises(ConfigError):
        server.configure(max_lenght=78)


def test_names_that_new_options_do_not_allow_for_rooms() -> None:
    server = make_server()
    server.rooms.add("a long name")
    with pytest.raises(ConfigError, match=r"^servers\.websocket\.server\.max_name: .* 1 to 5 characters"):
        server.configure(max_name=5)


def test_starting_rooms_that_the_options_do_not_allow() -> None:
    with pytest.raises(ConfigError, match=r"default: general\.starting_chat_rooms: 'defaultRoom': .*max_name"):
        ActionServer(config={}, max_name=5)
    server = ActionServer(config={}, max_name=5, starting_chat_rooms=["tea"])
    assert server.rooms.list() == ["tea"]
    with pytest.raises(ConfigError, match=r"keyword argument: general\.starting_chat_rooms: 'coffee'"):
        server.configure(starting_chat_rooms=["coffee"])
    server = ActionServer(config={})
    server.configure(max_name=5, starting_chat_rooms=["tea"])  # the names from before do not matter any more
    assert server.rooms.list() == ["tea"]
    with pytest.raises(ConfigError, match="max_name"):
        server.configure(max_name=2)


async def test_configuring_that_fails_changes_nothing() -> None:
    def fail(server: Server, options: Any) -> None:
        server.configure(max_length=5)
        server.route("/new", ask_nobody)
        raise ValueError("on purpose")

    async def ask_nobody(request: Request) -> Response:
        return Response.text(200, "new")

    server = ActionServer(config={}, starting_chat_rooms=["tea"], metrics="/metrics", api_path="/actions", port=0)
    farewells: list[str] = []
    server.rooms.on_remove(farewells.append)
    before = {**vars(server)}
    routes, limit = {**server._routes}, server.runner.limit
    new: dict[str, Any] = {"starting_chat_rooms": ["coffee"], "api_path": "/api", "simultaneous_actions": 9}
    for wrong in (
        {"transformer": "nope"},
        {"max_lenght": 5},
        {"max_name": 3},
        {"health": "/metrics"},
        {"secure": True, "cert": "nowhere.pem"},
        {"plugin": {"first": {"client": ""}, "second": {"server": fail}}},
        {"plugin": {"third": "nowhere:b"}},
    ):
        with pytest.raises((ConfigError, ValueError)):
            server.configure(**new, **wrong)
        assert vars(server) == before
        assert server._routes == routes
        assert server.plugins == server._loaded == {}
        assert (server.rooms.list(), server.runner.limit, farewells) == (["tea"], limit, [])
    async with memory_host(server) as host:
        socket = await WebSocketClient.connect(host.stream())
        assert (await fetch(host.stream(), "GET", "/actions/none")).json()["error"].startswith("unknown action")
        await socket.close()
    server.configure(**new)
    assert (server.rooms.list(), server.runner.limit, farewells) == (["coffee"], 9, ["tea"])


def test_a_plugin_that_fails_may_be_tried_again() -> None:
    def install(server: Server, options: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("not yet")

    calls: list[int] = []
    server = make_server()
    with pytest.raises(ValueError, match="not yet"):
        server.plugin("late", {"server": install})
    server.plugin("late", {"server": install})
    assert (list(server.plugins), len(calls)) == (["late"], 2)


def test_what_is_said_of_one_transformer_of_several() -> None:
    """From wherever it comes, and however the name is written there."""

    def of(name: str, **options: Any) -> tuple[float, float]:
        server = make_server(**options)
        (found,) = [transformer for transformer in server.transformers if transformer.name == name]
        return found.ping_interval, found.ping_timeout  # type: ignore[attr-defined]

    both = ["websockets", "SocketIO"]
    interval, timeout = {"ping_interval": 1000}, {"ping_timeout": 2000}
    assert of("socket.io", transformer=both, transport={"socketio": {**interval, **timeout}}) == (1, 2)
    assert of("socket.io", transformer=both, transport={"socketio": interval, "socket.io": timeout}) == (1, 2)
    table = {"websockets": {}, "socketio": {"transport": interval}}
    assert of("socket.io", transformer=table, transport={"Socket-IO": {"ping_interval": 5, **timeout}}) == (1, 2)
    with pytest.raises(ConfigError, match=r"its keys are their names, unlike 'engine\.io'"):
        make_server(transformer=both, transport={"engine.io": interval})
    with pytest.raises(ConfigError, match=r"transport\.socketio: must be a table"):
        make_server(transformer=both, transport={"socketio": 5})


async def test_a_running_server_is_not_configured() -> None:
    server = make_server()
    async with memory_host(server):
        with pytest.raises(RuntimeError, match="running"):
            server.configure(max_length=77)


async def test_it_runs_once_at_a_time() -> None:
    server = make_server()
    async with memory_host(server):
        with pytest.raises(RuntimeError, match="already"):
            await server.serve()


async def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = make_server(port=port)
        with pytest.raises(OSError, match=r".") as failed:
            await server.serve()
    assert failed.value.errno == errno.EADDRINUSE
    assert failed.value.__notes__ == [
        f"while listening on port {port} of 127.0.0.1: servers.web.port and servers.web.host"
    ]
    async with running(server):
        pass  # the port is free by now, and nothing is left of the attempt


def test_a_port_that_is_taken_from_the_beginning() -> None:
    """`run` raises what it says, in no group, so that a program can handle it."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match=r".") as failed:
        make_server(port=taken.getsockname()[1]).run()
    assert failed.value.errno == errno.EADDRINUSE


def test_nothing_can_be_started_before_it_runs() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        make_server()._application.spawn(trio.sleep, 0)
    server = make_server()
    assert server.addresses == []
    assert server.port == 0
    assert make_server(port=99).url == "http://127.0.0.1:99"
    assert make_server(port=99, host="::1").url == "http://[::1]:99"
    assert [transformer.name for transformer in server.transformers] == ["websockets"]


async def test_addresses() -> None:
    server = make_server()
    async with running(server) as url:
        ((host, port),) = server.addresses
        assert (host, server.port) == ("127.0.0.1", port)
        assert url == server.url == f"http://127.0.0.1:{port}"
        assert port > 0


# -- plug-ins


def test_plugins() -> None:
    def install(server: Server, options: Any) -> None:
        calls.append((server, options.pathname))

    calls: list[Any] = []
    server = make_server(plugin={"configured": SimpleNamespace(server=install)})
    server.plugin("both", {"server": install, "client": "function () {}"})
    server.plugin("client", SimpleNamespace(client="function () {}"))
    assert calls == [(server, "/primus"), (server, "/primus")]
    assert list(server.plugins) == ["configured", "both", "client"]
    with pytest.raises(ConfigError, match="already"):
        server.plugin("both", {"server": install})
    for nothing_in_it in ({}, {"client": 5}, SimpleNamespace(), {"server": "text"}):
        with pytest.raises(ConfigError, match="neither"):
            server.plugin("empty", nothing_in_it)


def test_plugins_that_come_with_other_options_later() -> None:
    def install(server: Server, options: Any) -> None:
        calls.append(options.pathname)
        server.configure(max_length=77)  # which does not load it once more

    calls: list[str] = []
    first, second = SimpleNamespace(server=install), SimpleNamespace(client="function () {}")
    server = make_server(plugin={"first": first})
    server.configure(plugin={"second": second}, pathname="/here")
    server.configure(plugin={"first": first, "third": {"server": install}})
    assert calls == ["/primus", "/here"]
    assert list(server.plugins) == ["first", "second", "third"]
    assert server.config.servers.websocket.server.max_length == 77
    with pytest.raises(ConfigError, match="nowhere"):
        server.configure(plugin={"fourth": "nowhere:b"})
    server = make_server(plugin={"first": first})
    for _ in range(2):
        with pytest.raises(ConfigError, match="already"):
            server.configure(plugin={"first": second})


class Shop(ActionServer):
    """A server of a higher level."""

    def prepare(self) -> None:
        super().prepare()
        self.goods: list[str] = []


def test_plugins_meet_the_whole_server() -> None:
    """Of whatever level: those that the configuration names are loaded when everything is there."""

    class Baker:
        @staticmethod
        def server(server: Shop, options: Any) -> None:
            server.goods.append("bread")
            server.chat.use("baker", join=lambda connection, room: None)
            server.action_middleware("baker")
            server.configure(starting_chat_rooms=["bakery"], simultaneous_actions=2)

            @server.action
            async def bake(connection: Any) -> dict[str, Any]:
                return {"goods": server.goods}

    server = Shop(config={}, plugin={"baker": Baker})
    assert server.goods == ["bread"]
    assert server.chat.names == server.runner.names == ["baker"]
    assert (server.rooms.list(), server.runner.limit) == (["bakery"], 2)
    assert [action.name for action in server.actions] == ["bake"]
    assert len(server._application.on_message) == 1
    assert [parameter for parameter in ("actions", "chat") if not hasattr(ActionServer(config={}), parameter)] == []


# -- who answers


async def ask(server: Server, path: str, method: str = "GET") -> tuple[int, bytes]:
    async with memory_host(server) as host:
        response = await fetch(host.stream(), method, path)
        return response.status, response.body


async def test_the_longest_route_wins() -> None:
    def answer(text: str) -> Any:
        async def handler(request: Request) -> Response:
            return Response.text(200, text)

        return handler

    server = make_server()
    for prefix in ("/", "/api", "/api/deep/", "/primus/mine"):
        server.route(prefix, answer(prefix))
    expected = {
        "/": "/",
        "/x": "/",
        "/api": "/api",
        "/api?x=/api/deep": "/api",
        "/api/x": "/api",
        "/apix": "/",
        "/api/deep": "/api/deep/",
        "/api/deep/x": "/api/deep/",
        "/api/deeper": "/api",
        "/primus/mine": "/primus/mine",
    }
    async with memory_host(server) as host:
        for path, prefix in expected.items():
            assert (await fetch(host.stream(), "GET", path)).body == prefix.encode(), path
        # As in Primus, every path that begins with the pathname is the transformer's.
        for path in ("/primus", "/primus/", "/primusXYZ", "/primus?x=1"):
            response = await fetch(host.stream(), "GET", path)
            assert (response.status, response.body) == (426, b"Upgrade Required"), path
            assert response.headers["upgrade"] == "websocket"
            assert "no-store" in response.headers["cache-control"]
        server.route("/primus", answer("later"))  # (the transformer's path, as before)
        server.route("/primus/", answer("later"))
        assert (await fetch(host.stream(), "GET", "/primus/")).status == 426
        server.route("/primus/mine", answer("now"))
        assert (await fetch(host.stream(), "GET", "/primus/mine")).body == b"now"
    with pytest.raises(ValueError, match="slash"):
        server.route("api", answer("x"))


async def test_what_nobody_answers() -> None:
    assert (await ask(make_server(), "/nothing"))[0] == 404


async def test_a_route_that_fails_or_refuses() -> None:
    async def fail(request: Request) -> Response:
        raise BaseExceptionGroup("several", [SystemExit(1), ValueError("x")])

    async def refuse(request: Request) -> Response:
        raise Reject(418, "short and stout", [("X-Pot", "tea")])

    server = make_server()
    server.route("/fail", fail)
    server.route("/refuse", refuse)
    async with memory_host(server) as host:
        assert (await fetch(host.stream(), "GET", "/fail")).status == 500
        response = await fetch(host.stream(), "GET", "/refuse")
        assert (response.status, response.json()) == (418, {"error": "short and stout"})
        assert response.headers["x-pot"] == "tea"


async def test_middleware_answers_requests() -> None:
    def middleware(request: Request) -> Response | None:
        return Response.text(200, "mine") if request.path == "/mine" else None

    server = make_server()
    server.use(middleware)
    assert await ask(server, "/mine") == (200, b"mine")
    assert (await ask(server, "/other"))[0] == 404


async def test_websockets_elsewhere_are_refused() -> None:
    server = make_server()
    record = Record(server)
    async with memory_host(server) as host:
        for path in ("/", "/other", "/Primus"):
            with pytest.raises(Refused) as refused:
                await WebSocketClient.connect(host.stream(), path)
            assert refused.value.response.status == 404
    assert not record.opened


async def test_middleware_that_answers_an_upgrade_refuses_it() -> None:
    """The client gets the answer as it is, except where it would say that all went well."""

    async def pieces() -> Any:
        yield b"x"
        yield b"y"

    elsewhere, sent = [("Location", "/login")], list[bool]()
    counted = Response(200, pieces(), length=2)
    counted.on_sent = sent.append
    answers = [
        (Response.text(200, "a page"), 403, b"a page"),
        (Response(204), 403, b""),
        (counted, 403, b"xy"),
        (Response(503, pieces(), length=2), 503, b"xy"),
        (Response(302, b"", elsewhere), 302, b""),
        (Response(307, "over there", elsewhere), 307, b"over there"),
        (Response(302, "where?"), 403, b"where?"),
        (Response.text(410, "no"), 410, b"no"),
        (Response.json(401, {"error": "who?"}, [("WWW-Authenticate", "Basic")]), 401, b'{"error":"who?"}'),
    ]
    given: list[Response] = []

    def answer(request: Request) -> Response:
        request.response_headers.append(("X-From", "middleware"))
        return given[-1]

    server = make_server()
    server.use(answer)
    async with memory_host(server) as host:
        for response, status, body in answers:
            given.append(response)
            with pytest.raises(Refused) as refused:
                await WebSocketClient.connect(host.stream())
            got = refused.value.response
            assert (got.status, got.body) == (status, body)
            for name, value in [*response.headers, ("X-From", "middleware")]:
                assert got.headers[name] == value
        assert sent == [True]
        assert given[0].status == 200  # it may be used again
        assert server.statistics().refused == {403: 4, 503: 1, 302: 1, 307: 1, 410: 1, 401: 1}


@pytest.mark.parametrize("place", ["authorize", "use"])
async def test_a_refusal_in_a_nursery_is_a_refusal(place: str) -> None:
    """trio makes a group of it."""

    async def refuse(request: Request) -> None:
        async with trio.open_nursery(), trio.open_nursery():
            raise Reject(401, "a token is required", [("WWW-Authenticate", "Bearer")])

    async def fail(request: Request) -> None:
        async with trio.open_nursery():
            raise ValueError("on purpose")

    for function, status in ((refuse, 401), (fail, 403 if place == "authorize" else 500)):
        server = make_server()
        getattr(server, place)(function)
        async with memory_host(server) as host:
            with pytest.raises(Refused) as refused:
                await WebSocketClient.connect(host.stream())
            got = refused.value.response
            assert got.status == status
            if function is refuse:
                assert got.json() == {"error": "a token is required"}
                assert got.headers["www-authenticate"] == "Bearer"
                assert server.statistics().refused == {401: 1}
            if place == "use":
                assert (await fetch(host.stream(), "GET", "/")).status == status


async def test_a_refusal_in_a_routes_nursery_is_a_refusal() -> None:
    async def refuse(request: Request) -> Response:
        async with trio.open_nursery():
            raise Reject(410, "gone")

    async def fail(request: Request) -> Response:
        async with trio.open_nursery():
            raise ValueError("on purpose")

    server = make_server()
    server.route("/gone", refuse)
    server.route("/broken", fail)
    async with memory_host(server) as host:
        answer = await fetch(host.stream(), "GET", "/gone")
        assert (answer.status, answer.json()) == (410, {"error": "gone"})
        assert (await fetch(host.stream(), "GET", "/broken")).status == 500


async def test_the_pathname_is_as_configured() -> None:
    server = make_server(pathname="/elsewhere/deep")
    async with memory_host(server) as host:
        async with connect_websocket(host.dial, "/elsewhere/deep") as client:
            assert client.closed is None
        assert (await fetch(host.stream(), "GET", "/elsewhere/deep/spec")).json() == {
            "pingInterval": 30000,
            "pathname": "/elsewhere/deep",
            "version": "8.0.9",
            "transformer": "websockets",
            "parser": "json",
        }
        with pytest.raises(Refused):
            await WebSocketClient.connect(host.stream(), "/primus")


async def test_a_preflight() -> None:
    async with memory_host(make_server()) as host:
        response = await fetch(
            host.stream(),
            "OPTIONS",
            "/primus",
            [("Origin", "https://page.example"), ("Access-Control-Request-Method", "GET")],
        )
        assert response.status == 200
        assert response.headers["access-control-allow-origin"] == "https://page.example"
        assert response.headers["access-control-max-age"] == "2592000"


# -- the host


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        (("1.2.3.4", 5), ("1.2.3.4", 5)),
        (("::1", 5, 0, 0), ("::1", 5)),
        (("::ffff:1.2.3.4", 5, 0, 0), ("1.2.3.4", 5)),
        (("::ffff:1", 5, 0, 0), ("::ffff:1", 5)),
        (("fe80::1%eth0", 5, 0, 2), ("fe80::1", 5)),
        ("/run/socket", ("unix", 0)),
        (b"", ("unix", 0)),
    ],
)
def test_peers(address: Any, peer: tuple[str, int]) -> None:
    assert peer_of(address) == peer


class Listener:
    """A listening socket on which accepting fails in every way."""

    def __init__(self, *errors: OSError) -> None:
        self.errors = list(errors)

    async def accept(self) -> Any:
        await trio.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.pop(0)
        await trio.sleep_forever()


async def test_accepting_goes_on_whatever_happens(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """Without descriptors it waits a moment; a client that is gone again is nobody's business."""
    server = make_server()
    async with memory_host(server):
        host = server._host
        assert isinstance(host, Host)
        codes = [
            errno.EMFILE,
            errno.ENFILE,
            errno.ECONNABORTED,
            errno.EMFILE,
            errno.EPROTO,
            errno.ENOBUFS,
            errno.ECONNRESET,
        ]
        listener = Listener(*(OSError(code, "no") for code in codes))
        with trio.move_on_after(60):
            await host._accept(listener)  # type: ignore[arg-type]
        assert not listener.errors
        with pytest.raises(OSError, match="really"):
            await host._accept(Listener(OSError(errno.EBADF, "really")))  # type: ignore[arg-type]
    warned = [entry for entry in caplog.records if entry.levelno >= logging.WARNING and "origins" not in entry.msg]
    assert 1 <= len(warned) <= 4


async def test_nothing_can_be_started_on_a_host_that_does_not_serve() -> None:
    server = make_server()
    async with memory_host(server):
        host = server._host
    assert host is not None
    with pytest.raises(RuntimeError, match="not serving"):
        host.spawn(trio.sleep, 0)


async def test_a_burst_of_clients_is_accepted() -> None:
    server = make_server()
    record = Record(server)
    async with running(server):
        streams = [await trio.open_tcp_stream(*server.addresses[0]) for _ in range(150)]
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(WebSocketClient.connect, stream)
        await record.until(lambda: len(record.opened) == 150)
        for stream in streams:
            await stream.aclose()
        await record.until(lambda: len(record.closed) == 150)
