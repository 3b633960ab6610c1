"""The generated client and the pages in a real browser: Debian's or any other Chromium, driven by Playwright.

``python -m nox -s browser`` installs what these tests need. They run in a process of their own, without trio; the
server runs in another one. Screenshots of the pages are kept in ``.nox/screenshots``, or where
``AHTRANSPORT_SCREENSHOTS`` says.
"""
