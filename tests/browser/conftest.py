"""A browser for all tests, servers that are shared, a context for each test."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from .support import HOST, MODES, Served, Site, Tab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext

    from .support import Mode

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FORMS = {
    "websockets": ("js", "min.js", "mjs"),
    "engine.io": ("js", "mjs"),
    "socket.io": ("js", "min.js"),
    "engine.io-polling": ("js", "min.js"),
    "socket.io-polling": ("js", "mjs"),
}
ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    """Give the browser's path: what ``CHROMIUM`` says, or the first of the usual names."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give tests each ``mode``, and those that ask for ``build`` each form of the file, over each wire.

    The scripts are the same text but for blanks and exports: not every form has to go every way.
    """
    own = [marker.args[0] for marker in metafunc.definition.iter_markers("parametrize")]
    if "build" in metafunc.fixturenames:
        forms = ("js", "min.js", "mjs") if metafunc.module.__name__.endswith("verbs") else ("js", "min.js")
        pairs = [(mode, form) for mode in MODES for form in forms if form in FORMS[mode.name]]
        metafunc.parametrize(("mode", "build"), pairs, ids=[f"{mode}-{form}" for mode, form in pairs])
    elif "mode" in metafunc.fixturenames and "mode" not in own:
        metafunc.parametrize("mode", MODES, ids=str)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    promised = os.environ.get("AHTRANSPORT_BROWSER") == "1"  # then its absence is a failure
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        if promised:
            raise
        pytest.skip("needs playwright: pip install -e '.[browser]'")
    chromium = find_chromium()
    if chromium is None:
        assert not promised, "no Chromium found; CHROMIUM may say where it is"
        pytest.skip("needs Chromium")
    arguments = [*ARGUMENTS, "--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else ARGUMENTS
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield launched
        launched.close()


@pytest.fixture(scope="session", autouse=True)
def _host() -> Iterator[None]:
    """No server outlives the tests."""
    yield
    HOST.stop()


@pytest.fixture(scope="session")
def sites() -> Iterator[Callable[[str], Site]]:
    """The servers that tests share, one per transformer."""
    running: dict[str, Site] = {}

    def site_of(transformer: str) -> Site:
        if transformer not in running:
            running[transformer] = Site(transformer=transformer)
        return running[transformer]

    yield site_of
    for site in running.values():
        site.stop()


@pytest.fixture
def site(mode: Mode, sites: Callable[[str], Site]) -> Site:
    """The shared server of this mode."""
    return sites(mode.transformer)


@pytest.fixture
def own_site(mode: Mode) -> Iterator[Site]:
    """A server that the test may stop and start."""
    site = Site(transformer=mode.transformer)
    yield site
    site.stop()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser without any past."""
    made = browser.new_context()
    yield made
    made.close()


@pytest.fixture
def tab(context: BrowserContext) -> Iterator[Callable[..., Tab]]:
    """Open tabs: ``tab(site, "/page.html")``. What went wrong in them unseen fails the test."""
    opened: list[Tab] = []

    def open_tab(site: Served, path: str, in_context: Any = None) -> Tab:
        made = Tab((in_context or context).new_page(), site)
        opened.append(made)
        return made.goto(path)

    yield open_tab
    errors = [error for one in opened for error in one.errors]
    assert not errors
