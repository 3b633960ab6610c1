"""What befalls a connection: no network, a server that goes and comes back, refusals, tabs that sleep."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from .support import SOON, Mode, Site, Tab

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import BrowserContext

    OpenTab = Callable[..., Tab]

pytestmark = pytest.mark.browser

CHANGES = ("connected", "disconnected", "reconnect", "refused")


def names(events: list[Any]) -> list[str]:
    return [event[0] for event in events]


def test_offline_and_online(site: Site, mode: Mode, build: str, tab: OpenTab, context: BrowserContext) -> None:
    page: Tab = tab(site, f"/client.{build}.html")
    page.connect(mode, **SOON)
    page.run("() => bench.client.roomAdd('defaultRoom')")
    page.settled(mode)
    before = page.run("() => bench.client.id")
    context.set_offline(True)
    page.wait_for("disconnected")
    # What is said meanwhile waits for the connection.
    page.run("() => { window.waits = bench.client.say('defaultRoom', 'while offline') }")
    context.set_offline(False)
    page.wait_for("reconnect")
    assert page.run("() => waits")["status"] == "OK"
    assert page.wait_for("say")[1]["message"] == "while offline"
    assert page.run("() => bench.client.id") != before
    assert page.run("() => bench.client.detailsView()")["data"]["rooms"] == ["defaultRoom"]
    assert names(page.events(*CHANGES)) == ["connected", "disconnected", "reconnect"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["asked", "killed"])
def test_a_server_that_restarts(own_site: Site, mode: Mode, how: int, tab: OpenTab) -> None:
    page: Tab = tab(own_site, f"/client.{'js' if how == signal.SIGTERM else 'min.js'}.html")
    page.connect(mode, **SOON)
    for room in ("otherRoom", "defaultRoom"):
        page.run("(room) => bench.client.roomAdd(room)", room)
    page.settled(mode)
    page.run("() => { window.pending = bench.outcome(bench.client.action('slow')) }")
    # Before it runs there, a server that stops would refuse it, which is an answer.
    page.until("async () => (await bench.client.detailsView()).data.pendingActions === 1")
    for round in (1, 2):
        own_site.stop(how)
        page.until("() => bench.client.state === 'reconnecting'")
        page.wait_for("reconnecting", round)
        if round == 1:
            assert page.run("() => pending")[1]["code"] == "DISCONNECTED"
        own_site.start()
        page.wait_for("reconnect", round)
        page.settled(mode)
        assert page.run("() => bench.client.detailsView()")["data"]["rooms"] == ["otherRoom", "defaultRoom"]
        page.run("(text) => bench.client.say('otherRoom', text)", f"round {round}")
        assert page.wait_for("say", round)[1]["message"] == f"round {round}"
    assert names(page.events(*CHANGES)) == ["connected", *["disconnected", "reconnect"] * 2]


@pytest.mark.parametrize(
    ("token", "status", "reason"), [("wrong", 401, "who are you?"), ("banned", 403, "not you again")]
)
def test_a_refusal_is_no_network_failure(
    site: Site, mode: Mode, token: str, status: int, reason: str, tab: OpenTab
) -> None:
    page: Tab = tab(site, f"/client.{'js' if token == 'wrong' else 'min.js'}.html")
    if mode.transformer == "socket.io":
        status = 401  # its refusals have a reason and data, no status
    options = {**mode.options, **SOON, "url": f"{site.url}?token={token}"}
    _, error = page.run("(options) => { bench.make(options); return bench.outcome(bench.client.connect()) }", options)
    assert (error["code"], error["refused"], error["status"]) == ("REFUSED", True, status)
    assert reason in error["message"]
    refused = page.wait_for("refused")[1]
    assert (refused["status"], refused["reason"]) == (status, reason)
    page.page.wait_for_timeout(600)  # more than the longest wait before another attempt
    assert page.run("() => bench.client.state") == "disconnected"
    assert not page.events("connected", "reconnect", "reconnecting")
    assert len(page.events("refused")) == 1


def test_a_server_that_is_not_there_is_no_refusal(mode: Mode, build: str, own_site: Site, tab: OpenTab) -> None:
    page: Tab = tab(own_site, f"/client.{build}.html")
    own_site.stop()
    page.run("(options) => { bench.make(options); bench.client.connect() }", {**mode.options, **SOON})
    page.wait_for("reconnecting", 2)
    assert not page.events("refused")
    own_site.start()
    page.wait_for("connected")
    # Those that will not try for ever say that they have given up.
    own_site.stop()
    few = {**mode.options, "reconnect": {"min": 10, "max": 20, "retries": 2}}
    _, error = page.run("(options) => { bench.make(options); return bench.outcome(bench.client.connect()) }", few)
    assert error["code"] == "DISCONNECTED"
    assert not page.events("refused")


def test_a_page_with_an_older_client_is_told(own_site: Site, mode: Mode, tab: OpenTab) -> None:
    page: Tab = tab(own_site, "/client.js.html")
    page.connect(mode, **SOON)
    page.settled(mode)
    assert not page.events("stale")
    own_site.stop()
    own_site.options["servers"] = {"websocket": {"client": {"timeout": 12345}}}
    own_site.start()
    _, own, theirs = page.wait_for("stale")
    assert own != theirs
    page.wait_for("reconnect")
    page.goto("/client.min.js.html")
    page.connect(mode)
    page.run("() => bench.client.detailsView()")
    assert not page.events("stale")


def test_a_laptop_that_slept_keeps_a_connection_that_lives(site: Site, mode: Mode, build: str, tab: OpenTab) -> None:
    page: Tab = tab(site, f"/client.{build}.html")
    page.page.clock.install()
    page.page.reload()
    page.connect(mode, **SOON)
    page.settled(mode)
    for _ in range(3):
        page.page.clock.fast_forward(10 * 60 * 1000)  # what was due fires once, late
        page.page.wait_for_timeout(300)
        assert page.run("() => bench.client.action('echo', {text: 'awake'})")["text"] == "awake"
    assert names(page.events(*CHANGES)) == ["connected"]


def test_a_server_that_fell_silent_is_noticed(own_site: Site, mode: Mode, tab: OpenTab) -> None:
    page: Tab = tab(own_site, "/client.js.html")
    page.page.clock.install()
    page.page.reload()
    page.connect(mode, **SOON)
    page.settled(mode)
    own_site.send(signal.SIGSTOP)
    for _ in range(40):
        page.page.clock.fast_forward(20_000)
        page.page.wait_for_timeout(50)
        if page.events("disconnected"):
            break
    page.wait_for("disconnected")
    own_site.send(signal.SIGCONT)
    page.page.clock.fast_forward(10_000)  # an attempt that was made in vain times out
    page.wait_for("reconnect")
    assert page.run("() => bench.client.action('echo', {text: 'back'})")["text"] == "back"


THROTTLED = """
const timers = window.setTimeout
const seconds = (wait) => { const due = Date.now() + (wait || 0); return Math.ceil(due / 1000) * 1000 - Date.now() }
window.setTimeout = (run, wait, ...rest) => timers(run, seconds(wait), ...rest)
Object.defineProperty(document, 'hidden', { get: () => window.inFront !== true })
Object.defineProperty(document, 'visibilityState', { get: () => window.inFront === true ? 'visible' : 'hidden' })
"""


def test_a_tab_in_the_background_stays_connected(mode: Mode, tab: OpenTab, context: BrowserContext) -> None:
    context.add_init_script(THROTTLED)  # timers of such tabs run once per second
    site = Site(transformer=mode.transformer, ping_interval=600)
    try:
        page: Tab = tab(site, "/client.js.html")
        page.connect(mode, ping=300, pong=200, **SOON)
        page.page.wait_for_timeout(2500)
        page.run("() => { window.inFront = true; document.dispatchEvent(new Event('visibilitychange')) }")
        page.page.wait_for_timeout(500)
        assert page.run("() => bench.client.action('echo', {text: 'still'})")["text"] == "still"
        assert names(page.events(*CHANGES)) == ["connected"]
    finally:
        site.stop()
