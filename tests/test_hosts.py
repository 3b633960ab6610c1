"""ACCEPTANCE G15: under which names the server may be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ahtransport import ConfigError, Reject, Request, Server
from ahtransport._web.hosts import AllowedHosts, entrance, hosts_warning
from ahtransport.testing import Refused, WebSocketClient, fetch, memory_host

if TYPE_CHECKING:
    from trio.testing import MockClock

NAMES = ["example.com", "exact.example:8443", "*.below.example", "[::1]", "127.0.0.1"]


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("example.com", True),
        ("EXAMPLE.com", True),
        ("example.com.", True),
        ("example.com:80", True),
        ("example.com.:8443", True),
        ("exact.example:8443", True),
        ("exact.example", False),
        ("exact.example:84", False),
        ("a.below.example", True),
        ("a.b.below.example:1", True),
        ("below.example", False),
        ("xbelow.example", False),
        ("[::1]", True),
        ("[::1]:8080", True),
        ("[::2]", False),
        ("127.0.0.1:8080", True),
        ("127.0.0.2", False),
        ("", False),
        ("evil.example", False),
        ("example.com.evil.example", False),
        ("evil-example.com", False),
        ("example.com:80:80", False),
        ("evil.example:example.com", False),
    ],
)
def test_g15_names(host: str, allowed: bool) -> None:
    assert (host in AllowedHosts(NAMES)) is allowed
    assert host in AllowedHosts(["*"])


@pytest.mark.parametrize("name", ["http://example.com", "a b", "example.com/", "*.*.example", "ex*mple", "::1"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="allowed_hosts"):
        Server(config={}, allowed_hosts=[name])


def test_g15_a_proxys_word_is_not_enough() -> None:
    """A page that came by rebinding may send any header, and some proxy may let it through."""
    looks = entrance(Server(config={}, allowed_hosts=["good.example"], trusted_proxies=["10.0.0.1"]).config.servers.web)

    def ask(**headers: str) -> None:
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        request = Request("GET", "/", fields, peer=("10.0.0.1", 1))
        for look in looks:
            look(request)

    ask(host="good.example")
    ask(host="good.example", x_forwarded_host="good.example")
    for refused in (
        {"host": "evil.example"},
        {"host": "evil.example", "x_forwarded_host": "good.example"},
        {"host": "good.example", "x_forwarded_host": "evil.example"},
    ):
        with pytest.raises(Reject) as refusal:
            ask(**refused)
        assert refusal.value.status == 421


def test_the_log_names_the_option_once_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ahtransport")
    clock = iter([5.0, 14.9, 15.0, 30.0])
    allowed = AllowedHosts(["good.example"], now=lambda: next(clock))

    def refuse(host: str, forwarded: str | None = None) -> None:
        request = Request("GET", "/", [("Host", host)], peer=("10.0.0.1", 1))
        if forwarded is not None:
            request.host = forwarded
        with pytest.raises(Reject):
            allowed.check(request)

    allowed.check(Request("GET", "/", [("Host", "good.example")], peer=("10.0.0.1", 1)))
    for _ in range(3):
        refuse("evil\x1b.example")
    refuse("good.example", "evil.example")
    assert caplog.messages == [
        f"refusing requests with 421: {name} is not in servers.web.allowed_hosts ({count} refused so far)"
        for name, count in ((r"'evil\x1b.example'", 1), (r"'evil\x1b.example'", 3), ("'evil.example'", 4))
    ]
    assert [vars(record)["event"] for record in caplog.records] == ["host.refused"] * 3
    assert [vars(record)["host"] for record in caplog.records] == [r"evil\x1b.example"] * 2 + ["evil.example"]


def test_what_is_off_costs_nothing() -> None:
    assert entrance(Server(config={}).config.servers.web) == ()


@pytest.mark.parametrize("transformer", ["websockets", "engine.io", "socket.io"])
async def test_g15_rebinding(transformer: str, autojump_clock: MockClock) -> None:
    """The origin and the Host header agree, so only the name gives it away: no page, no poll, no websocket."""
    server = Server(config={}, transformer=transformer, allowed_hosts=["good.example"])
    path = next(iter(server.pathnames.values()))
    poll = f"{path}/?EIO=4&transport=polling"
    target = path if transformer == "websockets" else f"{path}/?EIO=4&transport=websocket"

    def named(name: str) -> list[tuple[str, str]]:
        return [("Host", name), ("Origin", f"http://{name}")]

    async with memory_host(server) as host:
        for where in (poll, f"{path}/spec"):
            assert (await fetch(host.stream(), "GET", where, named("good.example"))).status != 421
            assert (await fetch(host.stream(), "GET", where, named("evil.example"))).status == 421
        client = await WebSocketClient.connect(host.stream(), target, headers=named("good.example"))
        await client.abort()
        with pytest.raises(Refused, match="421"):
            await WebSocketClient.connect(host.stream(), target, headers=named("evil.example"))


def test_g15_the_warning() -> None:
    assert hosts_warning([("127.0.0.1", 1), ("::1", 1)], ()) is None
    assert hosts_warning([("203.0.113.1", 1)], ()) is None
    assert hosts_warning([], ()) is None
    for address in ("0.0.0.0", "::"):
        assert "allowed_hosts" in str(hosts_warning([(address, 1)], ()))
        assert hosts_warning([(address, 1)], ("example.com",)) is None
