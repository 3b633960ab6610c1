"""Options of ``[servers.web]`` and the tables below it: the listening socket and plain HTTP."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ahtransport._config._kinds import Addresses, Duration, Flag, Text, Texts, Whole
from ahtransport._config._schema._option import PATH, TOKEN, option

__all__ = ["CookieSettings", "Fingerprint", "WebServer"]

_HOST = r"\*|(\*\.)?[0-9A-Za-z._\-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?"


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSettings:
    """Attributes of the fingerprint's cookie."""

    path: str = option("/", Text(pattern=r"/[^\s;,\x00-\x1f\x7f]*", what='a path such as "/"'), "Its path.")
    expires: float = option(3600000, Duration(zero="with the browser"), "How long a browser keeps it; not renewed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The cookie that links a browser's web requests to its websocket."""

    cookie_key: str = option("sessionID", Text(pattern=TOKEN, what="a cookie name"), "The cookie's name.")
    to_set_cookie: bool = option(True, Flag(), "Whether the server sets it for browsers that have none.")
    settings: CookieSettings = dataclasses.field(default_factory=CookieSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServer:
    """The listening socket and everything that is plain HTTP."""

    enabled: bool = option(True, Flag(), "Whether the API and files are served over HTTP.")
    host: str = option(
        "127.0.0.1",
        Text(pattern=r"\S+", what="an address or a host name"),
        'The address to listen on; `"0.0.0.0"` or `"::"` to be reached from elsewhere.',
    )
    port: int = option(8080, Whole(maximum=65535), "The port to listen on; 0: any free one.")
    socket: str = option(
        "",
        Text(path=True, pattern=r"[^\x00]*", what="a path"),
        'A Unix socket to listen on, instead of `host` and `port`: the path of its file, such as `"/run/app.sock"`. '
        "The process's umask says who may connect. Empty: none.",
    )
    public: tuple[str, ...] = option(
        ["public"], Texts(what="directories"), "Directories whose files are served, the first that has a file wins."
    )
    fingerprint: Fingerprint = dataclasses.field(default_factory=Fingerprint)
    secure: bool = option(False, Flag(), "HTTPS and WSS on the same port; needs `cert`.")
    cert: str = option("", Text(path=True), "The certificate's file (PEM), followed by those between it and the root.")
    key: str = option("", Text(path=True), "The private key's file (PEM); empty: it is in the file `cert`, too.")
    handshake_timeout: float = option(10000, Duration(), "How long a TLS handshake may take.")
    trusted_proxies: tuple[str, ...] = option(
        [],
        Addresses(commas=True),
        'Proxies whose `X-Forwarded-For` and the like, or `Forwarded`, are believed; `"unix"`: whoever comes by '
        "`socket`.",
    )
    allowed_hosts: tuple[str, ...] = option(
        [],
        Texts(commas=True, pattern=_HOST, what='host names such as "example.com" or "*.example.com"', fold=str.lower),
        "The names under which the server may be asked, with a port or for all ports; others are refused with 421. "
        "Empty: every name.",
    )
    max_request_line: int = option(8192, Whole(minimum=64, unit="bytes"), "The longest request line; beyond it 414.")
    max_header_line: int = option(8192, Whole(minimum=64, unit="bytes"), "The longest header line; beyond it 431.")
    max_header_bytes: int = option(16384, Whole(minimum=64, unit="bytes"), "All headers together; beyond it 431.")
    max_headers: int = option(100, Whole(minimum=1), "How many headers a request may have; beyond it 431.")
    header_timeout: float = option(10000, Duration(), "How long a request's headers may take.")
    body_timeout: float = option(10000, Duration(), "How long a request's body may be silent.")
    keep_alive: float = option(5000, Duration(zero="closed at once"), "How long an idle HTTP connection is kept open.")
    max_body: int = option(10485760, Whole(unit="bytes"), "The longest request body; beyond it 413.")
    max_sessions: int = option(100000, Whole(minimum=1), "How many sessions are kept; beyond it the oldest go.")
    padding: int = option(2, Whole(maximum=16), "The indentation of the API's JSON answers.")
    api_path: str = option(
        "/api", Text(pattern=PATH, what='a path such as "/api"', strip="/"), "Where the API is served."
    )
    health: str = option(
        "/healthz",
        Text(pattern=PATH, what='a path such as "/healthz"', none=True),
        "Where the server says whether it serves, for load balancers: 200, or 503 while it stops. Empty or false: "
        "nowhere.",
    )
    metrics: str = option(
        False,
        Text(pattern=PATH, what='a path such as "/metrics"', none=True),
        "Where Prometheus finds the statistics; needs the extra `prometheus`. Empty or false: nowhere.",
    )
    metrics_addresses: tuple[str, ...] = option(
        ["127.0.0.0/8", "::1"],
        Addresses(commas=True),
        "Who may read the metrics, after `trusted_proxies`; others: 403.",
    )
    server_information: bool = option(True, Flag(), "Whether the API's answers have `serverInformation`.")
    requester_information: bool = option(True, Flag(), "Whether the API's answers have `requesterInformation`.")
    max_file: int = option(67108864, Whole(unit="bytes"), "The largest file that is sent over the websocket.")
