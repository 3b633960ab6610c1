"""The fingerprint: a random name for a browser, in a cookie, under which its requests and connections find each other.

Whoever knows a fingerprint can use the session under it, so where it came from matters: a cookie was set by this
server, while a query parameter may stand in a link that somebody else made up. Both name a connection; only the
cookie's links a session unless the configuration says otherwise.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Collection

    from ahtransport._http import Request

__all__ = [
    "FingerprintOptions",
    "Source",
    "fingerprint_of",
    "may_link_session",
    "new_fingerprint",
    "set_cookie_header",
    "web_fingerprint",
]

Source: TypeAlias = Literal["cookie", "query"] | None

_MAX_LENGTH = 255
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PATH = re.compile(r"/[\x21-\x3a\x3c-\x7e]*")
# An origin as browsers serialise it (RFC 6454 section 6.2): scheme, host and perhaps a port.
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[^\[\]:/?#@\s,]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_DEFAULT_PORT = {"http": ":80", "https": ":443"}
_STATE = "ahtransport.fingerprint"


class CookieSettings(Protocol):
    """``servers.web.fingerprint.settings``."""

    @property
    def path(self) -> str: ...

    @property
    def expires(self) -> float: ...


class FingerprintOptions(Protocol):
    """``servers.web.fingerprint``."""

    @property
    def cookie_key(self) -> str: ...

    @property
    def to_set_cookie(self) -> bool: ...

    @property
    def settings(self) -> CookieSettings: ...


def new_fingerprint() -> str:
    """Make a fingerprint: 160 random bits, as 40 hexadecimal digits."""
    return secrets.token_hex(20)


def fingerprint_of(request: Request, options: FingerprintOptions) -> tuple[str | None, Source]:
    """Give the fingerprint that a handshake brings, and where it stood.

    The Cookie header wins; without one the query parameter of the same name counts, which is where ActionHero's own
    client puts it. A value that is empty, longer than 255 characters or not printable is none.
    """
    cookie = request.cookies.get(options.cookie_key, "")
    if _is_usable(cookie):
        return cookie, "cookie"
    parameter = request.query.get(options.cookie_key, "")
    if _is_usable(parameter):
        return parameter, "query"
    return None, None


def _is_usable(value: str) -> bool:
    return 0 < len(value) <= _MAX_LENGTH and value.isprintable()


def web_fingerprint(request: Request, options: FingerprintOptions) -> str:
    """Give the fingerprint of a plain web request: its cookie's, else a new one.

    A new one is the same for as long as the request lasts, and set as a cookie with the response, if
    ``to_set_cookie``. The query does not count: a link must not choose the session (fixation).
    """
    known = request.state.get(_STATE)
    if isinstance(known, str):
        return known
    cookie = request.cookies.get(options.cookie_key, "")
    if _is_usable(cookie):
        fingerprint = cookie
    else:
        fingerprint = new_fingerprint()
        if options.to_set_cookie:
            header = set_cookie_header(fingerprint, options, secure=request.secure)
            request.response_headers.append(("Set-Cookie", header))
    request.state[_STATE] = fingerprint
    return fingerprint


def set_cookie_header(fingerprint: str, options: FingerprintOptions, secure: bool) -> str:
    """Write the value of a Set-Cookie header (RFC 6265 section 4.1): HttpOnly, SameSite=Lax, Secure under TLS.

    ``settings.expires`` is in seconds; 0 leaves the cookie to the browser's session.

    Raises:
        ValueError: the cookie's name or path can't stand in a header.
    """
    name, path = options.cookie_key, options.settings.path
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} can't be the name of a cookie")
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} can't be the path of a cookie")
    parts = [f"{name}={quote(fingerprint, safe='')}", f"Path={path}"]
    if options.settings.expires > 0:
        parts.append(f"Max-Age={max(1, round(options.settings.expires))}")
    parts += ["HttpOnly", "SameSite=Lax"]
    if secure:
        parts.append("Secure")
    return "; ".join(parts)


def may_link_session(
    request: Request, source: Source, origins: Collection[str] = ("*",), link_session: str = "cookie"
) -> bool:
    """Tell whether a handshake may have the session of the fingerprint that it brought.

    It may when the fingerprint is from the cookie (or from the query, if ``link_session`` is "query"), and the page
    that opened the connection is this server's own or its origin is listed in ``origins`` by name. (``"*"`` lets it
    connect, but is no such listing, and neither is ``"null"``, which any sandboxed page may be.) A request without an
    Origin header is nobody's page: browsers always send one.

    Args:
        request: the handshake.
        source: what :func:`fingerprint_of` said.
        origins: ``servers.websocket.server.origins``.
        link_session: ``servers.websocket.server.link_session``.
    """
    if source is None or (source == "query" and link_session != "query"):
        return False
    sent = request.headers.get_all("origin")
    if not sent:
        return True
    if len(sent) > 1:
        return False
    return is_same_origin(request, sent[0]) or (sent[0] not in ("*", "null") and sent[0].lower() in origins)


def is_same_origin(request: Request, origin: str) -> bool:
    """Tell whether ``origin`` is that of the server as the client sees it: same host, same port.

    The scheme counts where it is known: under TLS the page must have come by TLS, too. (Without, there may be a proxy
    in front that speaks TLS and did not say so.)
    """
    match = _ORIGIN.fullmatch(origin)
    if match is None or not request.host:
        return False
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    if request.secure and scheme != "https":
        return False
    default = _DEFAULT_PORT[scheme]
    theirs = f"{host}:{port}" if port else host
    return theirs.removesuffix(default) == request.host.lower().removesuffix(default)
