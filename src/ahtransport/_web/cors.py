"""Cross-origin rules for what is served under the pathname, as Primus has them (npm ``access-control``).

Without an Origin header nothing happens. With one, it must be allowed, and the method, too; then it is echoed with
``Vary: Origin``, which is what browsers want together with credentials. Stricter than Primus in two ways: an origin has
to look like one, and ``Access-Control-Allow-Headers`` is a fixed list, never an echo of what was asked for.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ahtransport._config import ORIGIN
from ahtransport._errors import Reject
from ahtransport._http import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["ALLOWED_HEADERS", "Cors", "cors_warning"]

# What a page may send along. The safe-listed ones (Fetch standard) may be sent anyway.
ALLOWED_HEADERS = (
    "Accept",
    "Accept-Language",
    "Authorization",
    "Cache-Control",
    "Content-Language",
    "Content-Type",
    "If-Modified-Since",
    "If-None-Match",
    "Pragma",
    "Range",
    "X-Requested-With",
)

_ORIGIN = re.compile(ORIGIN)
_KEPT = 256  # origins of which is remembered what follows from them
_SEPARATOR = re.compile(r"[,\s]+")


def _listed(value: Iterable[str] | str | bool | None) -> list[str]:
    """Take a list, a text with commas, or nothing (None, False)."""
    if isinstance(value, str):
        return [one for one in _SEPARATOR.split(value) if one]
    return [] if value is None or isinstance(value, bool) else list(value)


def _shown(text: str) -> str:
    """Quote something foreign in a plain text body: one line of printable characters, not too long."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text[:255])


class Cors:
    """The rules, made once from ``servers.websocket.server``.

    Args:
        origins: ``"*"``, several origins in one text with commas, or a list. Compared exactly, but without case.
        methods: likewise; none at all allows every method.
        credentials: whether pages may send cookies along.
        max_age: seconds for which a browser may remember a preflight; 0: it is not told.
        exposed: response headers that pages may read.
    """

    def __init__(
        self,
        origins: Iterable[str] | str = "*",
        methods: Iterable[str] | str = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"),
        credentials: bool = True,
        max_age: float = 2592000.0,
        exposed: Iterable[str] | str | bool | None = None,
    ) -> None:
        listed = [origin.lower() for origin in _listed(origins)]
        self.any_origin = "*" in listed
        self.origins = frozenset(listed) - {"*"}
        self.methods = tuple(method.upper() for method in _listed(methods))
        self.credentials = credentials
        self.max_age = int(max_age)
        self.exposed = ", ".join(_listed(exposed))
        self._allowed: Callable[[str], str | None] = lru_cache(_KEPT)(self._judge)
        self._granted: Callable[[str, str], tuple[tuple[str, str], ...] | None] = lru_cache(_KEPT)(self._grant)

    def handle(self, request: Request) -> Response | None:
        """Do all of it for a plain request, as a middleware: refuse, answer a preflight, or add the headers.

        None: go on; what belongs into the response is in ``request.response_headers``.
        """
        try:
            headers = self.check(request)
        except Reject as refusal:
            return Response.text(refusal.status, refusal.reason, [("X-Content-Type-Options", "nosniff")])
        if request.method == "OPTIONS" and self.is_preflight(request):
            return self.preflight(request)
        request.response_headers += headers
        return None

    def check_origin(self, request: Request) -> str | None:
        """Give the request's origin if it is allowed, as it was sent; None if there is none.

        For an upgrade request this is all there is to check: browsers apply no CORS to WebSockets, so a server has to
        refuse, and 101 responses carry none of the headers.

        Raises:
            Reject: 403.
        """
        sent = self._sent(request)
        if sent is None:
            return None
        origin = self._allowed(sent)
        if origin is None:
            raise self._refusal(request)
        return origin

    def _sent(self, request: Request) -> str | None:
        """Give the Origin header; None: there is none.

        Raises:
            Reject: 403, there are several.
        """
        sent = request.headers.get_all("origin")
        if len(sent) > 1:
            raise self._refusal(request)
        return sent[0] if sent else None

    def _judge(self, sent: str) -> str | None:
        """Give an origin, as it was sent; None: it is not allowed."""
        origin = sent.strip(" \t")  # not every blank of Unicode is one of HTTP
        lowered = origin.lower()
        known = self.any_origin or lowered in self.origins
        return origin if known and _ORIGIN.fullmatch(lowered) else None

    def check(self, request: Request) -> list[tuple[str, str]]:
        """Give the headers that the response to a request needs.

        Raises:
            Reject: 403, the origin or the method is not allowed; the reason is Primus' text.
        """
        sent = self._sent(request)
        if sent is None:
            return []
        granted = self._granted(sent, request.method)
        if granted is None:
            raise self._refusal(request)
        headers = [*granted]
        if self.exposed and not self.is_preflight(request):
            headers.append(("Access-Control-Expose-Headers", self.exposed))
        return headers

    def is_preflight(self, request: Request) -> bool:
        """Tell whether a browser asks for permission, before the request that it is about."""
        asked = "origin" in request.headers and "access-control-request-method" in request.headers
        return asked and request.method == "OPTIONS"

    def preflight(self, request: Request) -> Response:
        """Answer a preflight: 200 without a body, as Primus does.

        Raises:
            Reject: 403, as for :meth:`check`.
        """
        headers = self.check(request)
        if self.max_age > 0:
            headers.append(("Access-Control-Max-Age", str(self.max_age)))
        if self.methods:
            headers.append(("Access-Control-Allow-Methods", ", ".join(self.methods)))
        if "access-control-request-headers" in request.headers:
            headers.append(("Access-Control-Allow-Headers", ", ".join(ALLOWED_HEADERS)))
        return Response(200, b"", headers)

    def _grant(self, sent: str, method: str) -> tuple[tuple[str, str], ...] | None:
        """Give the headers that tell a browser so; None: the origin or the method is not allowed."""
        origin = self._allowed(sent)
        if origin is None or (self.methods and method not in self.methods):
            return None
        if self.any_origin and not self.credentials:
            return (("Access-Control-Allow-Origin", "*"),)
        headers = (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))
        return (*headers, ("Access-Control-Allow-Credentials", "true")) if self.credentials else headers

    def _refusal(self, request: Request) -> Reject:
        lines = (
            "Invalid HTTP Access Control (CORS) request:",
            f"  Origin: {_shown(request.headers['origin'])}",
            f"  Method: {_shown(request.method)}",
        )
        return Reject(403, "\n".join(lines))


def cors_warning(origins: Iterable[str] | str, credentials: bool) -> str | None:
    """Give what is to be logged once at start-up; None when there is nothing to warn of."""
    if not credentials or "*" not in _listed(origins):
        return None
    return (
        'servers.websocket.server.origins is "*" and credentials are allowed, so pages of any origin may connect with '
        "their visitors' cookies; they get no session by them. List the origins that you trust to have both."
    )
