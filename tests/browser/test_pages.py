"""The pages: the chat, the linked session, plain Primus, a strict policy, ActionHero's tutorial; with photographs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .support import MODES, SCREENSHOTS, Mode, Site, Tab

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Dialog

    OpenTab = Callable[..., Tab]

pytestmark = pytest.mark.browser

LOOKS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1200, "height": 760}},
    "desk-dark": {"viewport": {"width": 1200, "height": 760}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "has_touch": True},
    "phone-dark": {
        "viewport": {"width": 360, "height": 740},
        "device_scale_factor": 2,
        "has_touch": True,
        "color_scheme": "dark",
    },
}

# What a reader needs (WCAG 2.2, 1.4.3): text against what is behind it, 4.5 : 1.
CONTRAST = """() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number)
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0)
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor)
      if (color.length === 3 || color[3] === 1) return color
    }
    return [255, 255, 255]
  }
  const found = []
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].some((one) => one.nodeType === 3 && one.data.trim())
    if (!text || !element.checkVisibility() || element.matches('script, noscript, :disabled')) continue
    const [one, two] = [light(parse(getComputedStyle(element).color)), light(behind(element))]
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)
    if (ratio < 4.5) found.push([element.tagName, element.className, ratio, element.textContent.trim().slice(0, 30)])
  }
  return found
}"""
# What can be operated has a name, and on a phone nothing is wider than the screen.
UNNAMED = """() => [...document.querySelectorAll('input, button, a')]
  .filter((one) => !(one.ariaLabel || one.textContent.trim() || (one.labels && one.labels.length)))
  .map((one) => one.outerHTML)"""
TOO_WIDE = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


def photograph(tab: Tab, name: str, full_page: bool = False) -> None:
    """Keep what a page looks like, and see that it can be read and used."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    tab.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full_page)
    assert tab.run(CONTRAST) == []
    assert tab.run(UNNAMED) == []
    assert not tab.run(TOO_WIDE)


def call_me(tab: Tab, name: str) -> None:
    tab.page.fill("#name", name)
    tab.page.press("#name", "Enter")


def say(tab: Tab, text: str) -> None:
    tab.page.fill("#text", text)
    tab.page.press("#text", "Enter")


def status(mode: Mode) -> str:
    return f"{mode.transformer} · {mode.transport}"


def page_of(mode: Mode) -> str:
    return "/?polling" if mode.options else "/"


def test_the_chat(own_site: Site, mode: Mode, browser: Browser, tab: OpenTab) -> None:
    contexts = [browser.new_context() for _ in "ab"]
    try:
        ada, bob = (tab(own_site, page_of(mode), context) for context in contexts)
        for one, name in ((ada, "Ada"), (bob, "Bob <b>")):
            one.sees("#status-text", status(mode))
            call_me(one, name)
        ada.sees("#members", "Bob <b>")
        bob.sees("#members", "Ada")
        say(ada, "<img src=x onerror=alert(1)> hello")
        bob.sees("#messages .bubble", "<img src=x onerror=alert(1)> hello")
        ada.sees("#messages .own .bubble", "hello")
        assert ada.run("() => document.querySelectorAll('#messages img').length") == 0

        # Another room, and what is said meanwhile where nobody looks.
        ada.page.click("#rooms >> text=otherRoom")
        ada.sees("#room-title", "otherRoom")
        say(bob, "are you there?")
        ada.sees("#rooms .unread", "1")
        assert ada.page.title() == "(1) ahtransport chat"
        ada.page.click("#rooms >> text=defaultRoom")
        ada.sees("#messages .bubble", "are you there?")
        assert ada.page.title() == "ahtransport chat"
        ada.page.click("#new-room summary")
        ada.page.fill("#new-room-name", "tea room")
        ada.page.press("#new-room-name", "Enter")
        ada.sees("#room-title", "tea room")
        ada.page.click("#leave")
        ada.sees("#room-title", "defaultRoom")

        # The connection breaks: Ada goes on writing, Bob goes on talking, and both have heard everything once.
        ada.page.click("#status")
        ada.sees("#d-transport", mode.transport)
        ada.page.click("#break")
        ada.page.keyboard.press("Escape")
        for number in range(5):
            say(ada, f"ada {number}")
            say(bob, f"bob {number}")
        ada.sees("#status-text", status(mode))
        for one in (ada, bob):
            for name in ("ada", "bob"):
                one.sees("#messages .bubble", f"{name} 4")
                texts = one.page.locator("#messages .bubble").all_inner_texts()
                assert [text for text in texts if text.startswith(name)] == [f"{name} {number}" for number in range(5)]
        assert ada.run("() => document.getElementById('d-reconnects').textContent") == "1"

        # The server goes: the page says what it does about it, and comes back by itself.
        own_site.stop()
        ada.sees("#banner-text", "No connection. Attempt")
        ada.sees("#countdown", "in ")
        say(ada, "said to nobody")
        ada.sees("#outbox", "waits for the connection")
        ada.page.click("#retry")
        own_site.start()
        # In one step: the page may find the server by itself meanwhile, and then there is no button.
        ada.run("() => { const retry = document.getElementById('retry'); if (retry.checkVisibility()) retry.click() }")
        ada.sees("#status-text", status(mode))
        ada.sees("#messages .own .bubble", "said to nobody")
        assert ada.page.locator("#outbox li").count() == 0
        bob.sees("#members", "Ada")
        assert not ada.page.locator("#banner").is_visible()
    finally:
        for context in contexts:
            context.close()


@pytest.mark.parametrize("look", LOOKS)
def test_how_the_chat_looks(look: str, browser: Browser, tab: OpenTab) -> None:
    site = Site(transformer="engine.io")
    contexts = [browser.new_context(**LOOKS[look]), browser.new_context(), browser.new_context()]
    try:
        grace, tim, ada = (tab(site, "/", context) for context in contexts)
        for one, name in ((grace, "Grace Hopper"), (tim, "Tim"), (ada, "Ada Lovelace")):
            one.sees("#status-text", "websocket")
            call_me(one, name)
        grace.sees_member("Ada Lovelace")
        talk = [
            (ada, "Good morning! Which transport are you on?"),
            (grace, "Engine.IO. It began with long-polling and moved to a websocket while I was typing my name."),
            (tim, "Same here 🎉"),
            (tim, "And in the train it stays with polling; I did not notice until I looked at the corner."),
            (grace, "Nothing got lost in the tunnel, either."),
            (ada, "<b>Markup</b> stays text, and a_very_long_word_" + "that_never_ends_" * 6),
        ]
        for one, text in talk:
            say(one, text)
            grace.sees("#messages .bubble", text[:30])
        tim.page.click("#rooms >> text=otherRoom")
        grace.page.click("#rooms >> text=otherRoom")
        tim.sees_member("Grace Hopper")
        grace.page.click("#rooms >> text=defaultRoom")
        say(tim, "Anybody here?")
        say(tim, "Hello?")
        grace.sees("#rooms .unread", "2")
        photograph(grace, f"chat-{look}")
        if "phone" in look:
            grace.page.click("#show-people")
            photograph(grace, f"chat-people-{look}")
            grace.page.click("#text")
        grace.page.click("#status")
        photograph(grace, f"chat-connection-{look}")
        grace.page.keyboard.press("Escape")
        site.stop()
        grace.sees("#banner-text", "Attempt")
        say(grace, "I will say this when you are back.")
        grace.sees("#outbox", "waits")
        photograph(grace, f"chat-reconnecting-{look}")
    finally:
        site.stop()
        for context in contexts:
            context.close()


@pytest.mark.parametrize("look", LOOKS)
def test_how_the_linked_session_looks(look: str, sites: Callable[[str], Site], browser: Browser, tab: OpenTab) -> None:
    context = browser.new_context(**LOOKS[look], reduced_motion="reduce")
    try:
        page = tab(sites("engine.io"), "/linkedSession.html", context)
        page.sees("#socket .state-text", "websocket")
        page.page.fill("#web-note", "tea at four, at the usual place")
        page.page.click("#web button")
        for card in ("#web", "#socket"):
            page.sees(f"{card} .note", "tea at four")
        page.sees("#verdict", "the same session")
        page.run("() => { document.activeElement.blur(); scrollTo(0, 0) }")
        page.page.mouse.move(0, 0)
        photograph(page, f"linkedSession-{look}", full_page=True)
    finally:
        context.close()


@pytest.mark.parametrize("mode", MODES[:3], ids=str)
def test_a_web_request_and_a_websocket_share_a_session(site: Site, mode: Mode, browser: Browser, tab: OpenTab) -> None:
    first = tab(site, "/linkedSession.html")
    first.sees("#verdict", "the same session")
    first.sees("#socket .note", "nothing yet")
    first.page.fill("#web-note", "tea at four")
    first.page.click("#web button")
    for card in ("#web", "#socket"):
        first.sees(f"{card} .note", "tea at four")
        first.sees(f"{card} .set-over", "HTTP")
    second = tab(site, "/linkedSession.html")
    second.sees("#web .note", "tea at four")
    second.sees("#socket .note", "tea at four")
    first.page.fill("#socket-note", "coffee <b>now</b>")
    first.page.press("#socket-note", "Enter")
    for page in (first, second):  # the second is told by its websocket, and asks over HTTP
        for card in ("#web", "#socket"):
            page.sees(f"{card} .note", "coffee <b>now</b>")
            page.sees(f"{card} .set-over", "the websocket")
    stranger = browser.new_context()
    try:
        other = tab(site, "/linkedSession.html", stranger)
        other.sees("#verdict", "the same session")
        other.sees("#web .note", "nothing yet")
    finally:
        stranger.close()


def test_plain_primus(site: Site, mode: Mode, tab: OpenTab) -> None:
    page: Tab = tab(site, "/plain.html")
    assert page.run("() => typeof ActionheroWebsocketClient") == "undefined"
    page.run(
        """(options) => {
          window.heard = []
          window.primus = new Primus(location.origin, options)
          primus.on('open', () => primus.write({ event: 'detailsView', messageId: 7 }))
          primus.on('data', (message) => heard.push(message))
        }""",
        mode.options,
    )
    answer = page.until("() => heard.find((message) => message.messageId === 7)")
    assert answer["status"] == "OK"
    page.until("(transport) => primus.transport === transport", mode.transport)
    known = page.run("() => new Promise((resolve) => primus.id(resolve))")
    assert known == page.run("() => new Promise((resolve) => primus.id(resolve))")
    # Engine.IO's is that of its session, as with npm's clients.
    assert (known == answer["data"]["id"]) == (mode.transformer != "engine.io")
    page.run("() => new Promise((resolve) => { primus.on('end', resolve); primus.end() })")
    assert page.run("() => primus.readyState") == page.run("() => Primus.CLOSED")


def test_under_a_strict_policy(site: Site, mode: Mode, tab: OpenTab) -> None:
    page: Tab = tab(site, "/strict/client.html")
    page.run(
        """() => document.addEventListener('securitypolicyviolation', (event) => {
          bench.events.push(['violation', event.violatedDirective])
        })"""
    )
    page.connect(mode)
    page.settled(mode)
    assert page.run("() => bench.client.action('echo', {text: 'strict'})")["text"] == "strict"
    page.run("() => bench.client.disconnect()")
    assert page.run("() => bench.client.action('echo', {text: 'http'})")["text"] == "http"
    assert not page.events("violation")


def test_the_example_of_actionheros_tutorial(mode: Mode, tab: OpenTab) -> None:
    # Its client takes no options: the server's configuration says how it connects.
    site = Site(transformer=mode.transformer, servers={"websocket": {"client": mode.options}})
    try:
        page: Tab = tab(site, "/plain.html")
        said: list[str] = []
        page.page.on("console", lambda message: said.append(message.text))

        def alerted(dialog: Dialog) -> None:
            said.append(dialog.message)
            dialog.accept()

        page.page.on("dialog", alerted)
        page.goto("/tutorial.html")
        page.until("() => client.state === 'connected'")
        page.until("(transport) => client.transport === transport", mode.transport)
        assert said == ["connected!"]
        assert page.run("() => shown") == [{"welcome": "Welcome to the ahtransport demo api", "context": "api"}]
        details = page.until(
            "async () => { const { data } = await client.detailsView(); return data.rooms.length && data }"
        )
        assert (details["rooms"], details["totalActions"]) == (["defaultRoom"], 1)
        page.run("() => client.say('defaultRoom', 'hello')")
        assert page.until("() => shown[1]")["message"] == "hello"
        page.run("() => client.action('alertMe')")
        assert said[1:] == ["[object Object]"]  # the example's alert() shows what came, and that is an object
        del said[:]
        site.stop()
        page.until("() => client.state === 'reconnecting'")
        site.start()
        page.until("() => client.state === 'connected'")
        assert page.run("() => client.detailsView()")["data"]["rooms"] == ["defaultRoom"]
        assert {"disconnected :(", "reconnecting"} < set(said)
        assert said[-1] == "reconnect"
    finally:
        site.stop()
