"""What load balancers and Prometheus ask: /healthz and /metrics."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from prometheus_client import REGISTRY, Counter
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from ahtransport import ActionServer, ConfigError, ConnectionClosed, Reject, Request, Response, Server
from ahtransport.testing import Stage, WebSocketClient, connect_websocket, fetch, memory_host, running

if TYPE_CHECKING:
    from pathlib import Path

    from ahtransport.testing import HttpResponse, Variant


async def ask(server: Server, path: str, method: str = "GET", **headers: str) -> HttpResponse:
    """Send one request over a real socket."""
    stream = await trio.open_tcp_stream(*server.addresses[0])
    async with stream:
        return await fetch(stream, method, path, [(name.replace("_", "-"), text) for name, text in headers.items()])


# --- /healthz


async def test_healthy(variant: Variant) -> None:
    stage = Stage(variant, "socket")
    server = stage.server()
    async with stage.serving(server):
        answer = await stage.fetch("GET", "/healthz")
        assert (answer.status, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"].startswith("application/json")
        assert "set-cookie" not in answer.headers
        head = await stage.fetch("HEAD", "/healthz?verbose")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == answer.headers["content-length"]
        refused = await stage.fetch("POST", "/healthz", body=b"x")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
        assert (await stage.fetch("GET", "/healthz/")).status == 404
        assert (await stage.fetch("GET", "/healthz/x")).status == 404
        assert server.statistics().refused == {}


@pytest.mark.parametrize("options", [{"health": "/alive"}, {"health": ""}, {"health": False}])
async def test_its_path_is_an_option(options: dict[str, Any]) -> None:
    server = ActionServer(config={}, port=0, **options)
    async with running(server):
        assert (await ask(server, "/healthz")).status == 404
        assert (await ask(server, "/alive")).status == (200 if options["health"] else 404)


async def test_middleware_is_not_asked_and_web_need_not_be_on() -> None:
    server = Server(config={}, port=0)
    server.configure(health="/healthz")

    @server.use
    def nobody(request: Request) -> None:
        raise Reject(401, "who are you?")

    async with running(server):
        assert (await ask(server, "/healthz")).status == 200
        assert (await ask(server, "/healthz2")).status == 401
    bare = Server(config={"servers": {"web": {"enabled": False, "port": 0}}})
    async with running(bare):
        assert (await ask(bare, "/healthz")).status == 200


async def test_a_route_wins_and_a_file_does_not_vanish_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "healthz").write_text("my file")
    server = Server(config={}, port=0, public=[str(tmp_path)])
    async with running(server):
        assert (await ask(server, "/healthz")).json() == {"status": "ok"}
    assert [record for record in caplog.records if "the public file /healthz is hidden" in record.getMessage()]
    caplog.clear()

    async def mine(request: Request) -> Response:
        return Response.text(200, "mine")

    server.route("/healthz", mine)
    async with running(server):
        assert (await ask(server, "/healthz")).body == b"mine"
    assert not [record for record in caplog.records if "hidden" in record.getMessage()]


def test_paths_that_collide() -> None:
    colliding: list[dict[str, Any]] = [{"metrics": "/healthz"}, {"pathname": "/healthz"}]
    for options in (*colliding, {"metrics": "/x", "pathname": "/x"}):
        with pytest.raises(ConfigError, match=r"servers\.web"):
            Server(config={}, **options)
    for wrong in ("healthz", 5, "/a b", True):
        with pytest.raises(ConfigError, match='a path such as "/healthz", or false'):
            Server(config={}, health=wrong)


async def test_draining_is_told_while_everybody_is_still_served() -> None:
    """``shutdown_delay``: a load balancer sees 503 and sends nobody any more; who comes anyway is served."""
    server = Server(config={}, port=0, shutdown_delay="1 hour")
    server.on_message(lambda connection, message: connection.send_nowait(message))
    async with running(server):
        kept = await trio.open_tcp_stream(*server.addresses[0])
        assert (await fetch(kept, "GET", "/healthz")).status == 200
        server.shutdown()
        server.shutdown()
        assert not server.stopping
        for answer in (await fetch(kept, "GET", "/healthz"), await ask(server, "/healthz")):
            assert (answer.status, answer.json()) == (503, {"status": "draining"})
            assert answer.headers["cache-control"] == "no-store"
        assert (await ask(server, "/healthz", "HEAD")).status == 503
        assert server.statistics().draining
        stream = await trio.open_tcp_stream(*server.addresses[0])
        client = await WebSocketClient.connect(stream)
        await client.send("5")
        assert await client.receive() == "5"
        await stream.aclose()
        await kept.aclose()


async def test_the_drain_follows_the_delay(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(config={}, shutdown_delay=30_000)
    async with memory_host(server) as host, connect_websocket(host.dial, "/primus") as client:
        server.shutdown()
        began = trio.current_time()
        with pytest.raises(ConnectionClosed, match="1012: the server is shutting down"):
            await client.receive()
        assert trio.current_time() - began == pytest.approx(30)
        assert server.stopping
        with trio.fail_after(60):
            await server._ended.wait()
    server.shutdown()  # it does not run, and nothing lingers
    assert server.stopping


async def test_without_a_delay_new_connections_are_refused_at_once() -> None:
    server = Server(config={}, port=0)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        address = server.addresses[0]
        idle = await trio.open_tcp_stream(*address)
        assert (await fetch(idle, "GET", "/healthz")).status == 200
        server.shutdown()
        assert server.stopping
        assert await idle.receive_some() == b""  # kept alive no longer
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(*address)
        await idle.aclose()


# --- /metrics


async def scrape(server: Server, accept: str = "") -> dict[str, Any]:
    """Read the metrics as another program would; gives samples by name and labels."""

    def read() -> tuple[str, str]:
        asking = urllib.request.Request(server.url + "/metrics", headers={"Accept": accept} if accept else {})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asking, timeout=10) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Set-Cookie" not in answer.headers
            return answer.read().decode(), answer.headers["Content-Type"]

    text, kind = await trio.to_thread.run_sync(read)
    if "openmetrics" in accept:
        assert kind.startswith("application/openmetrics-text")
        read_openmetrics: Any = openmetrics.text_string_to_metric_families  # it has no types
        families = list(read_openmetrics(text))
    else:
        assert kind.startswith("text/plain; version=")
        families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation for family in families if family.name.startswith("ahtransport"))
    samples = [sample for family in families for sample in family.samples]
    return {f"{one.name}{sorted(one.labels.items()) or ''}": one.value for one in samples}


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_a_scrape(variant: Variant, accept: str) -> None:
    stage = Stage(variant, "socket")
    server = stage.server(metrics="/metrics")
    name = variant.transformer_name
    own = Counter("tea_cups", "A metric of the program's own")
    try:
        own.inc(3)
        async with stage.serving(server), stage.connect() as client:
            server.on_message(lambda connection, message: None)
            await client.send("hello")
            assert (await stage.fetch("BREW")).status == 501
            found = await scrape(server, accept)
            told = server.statistics()
            labels = [("transformer", name), ("transport", variant.transport)]
            assert found[f"ahtransport_connections{labels}"] == 1
            assert found[f"ahtransport_connections_accepted_total{[('transformer', name)]}"] == 1
            assert found[f"ahtransport_refused_total{[('status', '501')]}"] == 1
            assert found["ahtransport_sockets"] >= 1
            assert 0 < found["ahtransport_uptime_seconds"] <= told.uptime
            assert found["ahtransport_loop_lag_seconds"] >= 0
            assert found["ahtransport_draining"] == found["ahtransport_rooms"] == found["ahtransport_sessions"] == 0
            assert found["ahtransport_backlog_bytes"] == found["ahtransport_messages_dropped_total"] == 0
            assert found["ahtransport_actions_total"] == found["ahtransport_actions_failed_total"] == 0
            assert found["ahtransport_actions_pending"] == 0
            assert found["ahtransport_loop_blocked_total"] >= 0  # a busy machine blocks it
            assert found[f"ahtransport_log_lines_lost_total{[('why', 'dropped')]}"] == told.log_dropped
            assert found["ahtransport_tasks"] >= 0
            if sys.platform == "linux":
                assert 0 < found["ahtransport_received_bytes_total"] <= (told.received or 0)
                assert found["ahtransport_sent_bytes_total"] <= (told.sent or 0)
                assert found["process_resident_memory_bytes"] > 0
            assert found["tea_cups_total"] == 3
            assert any(key.startswith("ahtransport_info[('version'") for key in found)
            for connection in list(server.connections.values()):
                connection.close()
        assert f"ahtransport_connections_closed_total{[('code', '1000')]}" not in found
    finally:
        REGISTRY.unregister(own)


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=abc", "text/plain;version==", "text/plain;version=1.x, */*"]
)
async def test_a_format_that_can_not_be_read_is_the_text(accept: str) -> None:
    async with memory_host(Server(config={}, metrics="/metrics")) as host:
        answer = await fetch(host.stream(), "GET", "/metrics", [("Accept", accept)])
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert any(one.name == "ahtransport_rooms" for one in text_string_to_metric_families(answer.body.decode()))


async def test_there_are_none_unless_asked_for() -> None:
    for options in ({}, {"metrics": False}, {"metrics": ""}):
        server = Server(config={}, port=0, **options)
        async with running(server):
            assert (await ask(server, "/metrics")).status == 404


async def test_methods() -> None:
    server = Server(config={}, port=0, metrics="/internal/metrics")
    async with running(server):
        assert (await ask(server, "/internal/metrics", "HEAD")).body == b""
        answer = await ask(server, "/internal/metrics", "DELETE")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("options", "peer", "headers", "status"),
    [
        ({}, "127.0.0.1", {}, 200),
        ({}, "127.8.8.8", {}, 200),
        ({}, "::1", {}, 200),
        ({}, "10.0.0.1", {}, 403),
        ({}, "::ffff:10.0.0.1", {}, 403),
        ({}, "", {}, 403),
        ({"metrics_addresses": ["10.0.0.0/8"]}, "10.255.0.1", {}, 200),
        ({"metrics_addresses": ["10.0.0.0/8"]}, "11.0.0.0", {}, 403),
        ({"metrics_addresses": ["10.0.0.0/8"]}, "127.0.0.1", {}, 403),
        ({"metrics_addresses": []}, "127.0.0.1", {}, 403),
        # A proxy on this machine that nobody has named: it is not for the loopback that it asks.
        ({}, "127.0.0.1", {"X_Forwarded_For": "127.0.0.1"}, 403),
        ({}, "127.0.0.1", {"X_Forwarded_For": "203.0.113.5"}, 403),
        ({}, "127.0.0.1", {"Forwarded": "for=127.0.0.1"}, 403),
        ({}, "127.0.0.1", {"X_Real_IP": "127.0.0.1"}, 403),
        ({}, "127.0.0.1", {"Via": "1.1 proxy"}, 403),
        ({"trusted_proxies": ["127.0.0.1"]}, "127.0.0.1", {"X_Forwarded_For": "203.0.113.5"}, 403),
        ({"trusted_proxies": ["127.0.0.1"]}, "127.0.0.1", {"X_Forwarded_For": "127.0.0.1, 203.0.113.5"}, 403),
        ({"trusted_proxies": ["127.0.0.1"]}, "127.0.0.1", {"X_Forwarded_For": "127.0.0.1"}, 200),
        ({"trusted_proxies": ["127.0.0.1"]}, "10.0.0.1", {"X_Forwarded_For": "127.0.0.1"}, 403),
    ],
)
async def test_who_may_read(options: dict[str, Any], peer: str, headers: dict[str, str], status: int) -> None:
    server = Server(config={}, metrics="/metrics", **options)
    fields = [(name.replace("_", "-"), text) for name, text in headers.items()]
    async with memory_host(server) as host:
        answer = await fetch(host.stream(peer=(peer, 5000)), "GET", "/metrics", fields)
        assert answer.status == status
        if status == 403:
            assert answer.json() == {"error": "not for this address"}


def test_the_extra_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "ahtransport._web.metrics", raising=False)
    Server(config={})
    with pytest.raises(ConfigError, match=r'pip install "ahtransport\[prometheus\]"'):
        Server(config={}, metrics="/metrics")


async def test_a_collector_of_the_program_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def collect(self) -> Any:
            raise RuntimeError("on purpose")

        def describe(self) -> list[Any]:
            return []

    broken: Any = Broken()
    REGISTRY.register(broken)
    try:
        server = Server(config={}, port=0, metrics="/metrics")
        async with running(server):
            assert (await ask(server, "/metrics")).status == 500
            assert (await ask(server, "/healthz")).status == 200
    finally:
        REGISTRY.unregister(broken)
    assert [record for record in caplog.records if record.exc_info]
