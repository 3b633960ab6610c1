"""What a browser asks for by itself: permessage-deflate for its WebSockets, gzip for what it fetches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .support import MODES, Mode, Site, Tab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.browser

# The client opens its WebSockets and requests through these, so that the page can see what was agreed on.
WATCH = """() => {
  window.agreed = [];
  const { WebSocket: Native } = window;
  window.WebSocket = class extends Native {
    constructor(...args) { super(...args); this.addEventListener('open', () => agreed.push(this.extensions)); }
  };
}"""


@pytest.fixture
def compressing(mode: Mode) -> Iterator[Site]:
    """A server that compresses whatever it can; one of them with context takeover."""
    site = Site(
        transformer=mode.transformer,
        compression=True,
        compression_threshold=100,
        compression_context_takeover=mode.transformer == "engine.io",
    )
    yield site
    site.stop()


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_long_messages_both_ways(compressing: Site, mode: Mode, tab: Callable[..., Tab]) -> None:
    page = tab(compressing, "/client.js.html")
    page.run(WATCH)
    encodings: list[Any] = []
    page.page.on("response", lambda response: encodings.append(response.headers.get("content-encoding")))
    page.connect(mode)
    page.settled(mode)
    page.run("() => bench.client.roomAdd('defaultRoom')")
    for number in range(3):
        text = f"{number} " + "what is said again and again " * 60
        page.run("(text) => bench.client.say('defaultRoom', text)", text)
        assert page.wait_for("say", number + 1)[1]["message"] == text
    if mode.transport == "websocket":
        assert any(extension.startswith("permessage-deflate") for extension in page.run("() => agreed"))
    else:
        assert "gzip" in encodings
