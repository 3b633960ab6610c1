"""What pages do with the client: every verb, over every way to the server, in every form of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from .support import Mode, Site, Tab

    OpenTab = Callable[..., Tab]

pytestmark = pytest.mark.browser


def test_every_verb(site: Site, mode: Mode, build: str, tab: OpenTab) -> None:
    page: Tab = tab(site, f"/client.{build}.html")
    details = page.connect(mode)
    assert details["status"] == "OK"
    page.settled(mode)
    assert page.run("() => [bench.client.state, bench.client.id, bench.client.primus.transformer]") == [
        "connected",
        details["data"]["id"],
        mode.transformer,
    ]
    welcome = page.wait_for("welcome")[1]
    assert welcome == {"welcome": "Welcome to the ahtransport demo api", "context": "api"}

    answer = page.run("() => bench.client.action('echo', {text: '<b>ü</b> \\u2028 \U0001f600', number: 2})")
    assert (answer["text"], answer["number"]) == ("<b>ü</b> \u2028 \U0001f600", 2)
    assert page.run("() => bench.outcome(bench.client.action('echo'))")[1] == {
        "message": "text is a required parameter for this action",
        "code": "RESPONSE",
    }
    # As in ActionHero: a callback with one parameter gets the response, one with two the error first.
    one = "() => new Promise((resolve) => bench.client.action('echo', {text: 'x'}, (response) => resolve(response)))"
    assert page.run(one)["text"] == "x"
    two = one.replace("(response) => resolve(response)", "(error, response) => resolve([error, response])")
    error, response = page.run(two)
    assert error is None
    assert response["text"] == "x"

    assert page.run("() => bench.client.roomAdd('defaultRoom')")["data"] is True
    assert page.run("() => bench.client.rooms") == ["defaultRoom"]
    view = page.run("() => bench.client.roomView('defaultRoom')")["data"]
    assert view["members"].keys() >= {details["data"]["id"]}
    assert page.run("() => bench.client.say('defaultRoom', 'hello')")["status"] == "OK"
    said = page.wait_for("say")[1]
    assert (said["message"], said["from"], said["room"]) == ("hello", details["data"]["id"], "defaultRoom")
    assert page.run("() => bench.client.detailsView()")["data"]["rooms"] == ["defaultRoom"]
    assert page.run("() => bench.client.roomLeave('defaultRoom')")["data"] is True
    refused = page.run("() => bench.outcome(bench.client.roomView('defaultRoom'))")[1]
    assert refused["message"] == "connection not in this room (defaultRoom)"
    assert page.run("() => bench.client.detailsView()")["data"]["rooms"] == []

    found = page.run("() => bench.client.file('module.js')")
    assert "as an ES module" in found["content"]
    assert found["mime"].endswith("javascript")
    assert "echo" in page.run("() => bench.client.documentation()")["data"]

    # What waits for an answer when the page says good-bye fails, and does not wait for ever.
    outcome = page.run(
        "() => { const slow = bench.client.action('slow'); bench.client.disconnect(); return bench.outcome(slow) }"
    )
    assert outcome[1]["code"] == "DISCONNECTED"
    assert page.run("() => bench.client.state") == "disconnected"
    assert [event[0] for event in page.events("connected", "disconnected", "reconnect")] == [
        "connected",
        "disconnected",
    ]
    if build == "mjs":
        assert page.run("() => exported") == {"same": True, "primus": "function", "globals": "undefined"}


def test_two_tabs_chat(site: Site, mode: Mode, build: str, tab: OpenTab) -> None:
    one: Tab = tab(site, f"/client.{build}.html")
    two: Tab = tab(site, f"/client.{build}.html")
    for page in (one, two):
        page.connect(mode)
        page.run("() => bench.client.roomAdd('otherRoom')")
        page.settled(mode)
    for number in range(20):
        one.run("(text) => { bench.client.say('otherRoom', text) }", f"one {number}")
        two.run("(text) => { bench.client.say('otherRoom', text) }", f"two {number}")
    for page in (one, two):
        page.wait_for("say", 40)
        said = [event[1]["message"] for event in page.events("say")]
        for who in ("one", "two"):
            assert [text for text in said if text.startswith(who)] == [f"{who} {number}" for number in range(20)]
    one.page.close()
    two.until("() => bench.client.roomView('otherRoom').then(({ data }) => data.membersCount === 1)")


def test_an_action_goes_over_http_when_there_is_no_connection(site: Site, mode: Mode, build: str, tab: OpenTab) -> None:
    page: Tab = tab(site, f"/client.{build}.html")
    ask = "() => bench.client.action('echo', {text: 'hello', number: 3})"
    page.run("(options) => { bench.make(options) }", mode.options)
    answer = page.run(ask)
    assert (answer["text"], answer["number"]) == ("hello", 3)
    assert "requesterInformation" in answer  # which only HTTP has
    assert page.run("() => bench.outcome(bench.client.action('nothing'))")[1]["status"] == 404
    page.run("() => bench.client.connect()")
    assert "requesterInformation" not in page.run(ask)
    page.run("() => bench.client.disconnect()")
    assert page.run(ask)["requesterInformation"]["receivedParams"]["text"] == "hello"
