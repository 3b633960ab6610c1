# ruff: noqa: RUF009 - option() is dataclasses.field() with a metadata of ours, not a value
"""Every option there is: name, default, kind, bounds and meaning.

This is the single source of truth: the loader's defaults and checks, ``ahtransport config``, the file that
``ahtransport init`` writes and the reference in the documentation are all made from it.

A default is written as a user would write it (durations in milliseconds or words); the attribute holds the typed value
(durations in seconds). Names and defaults are ActionHero's and Primus' where they have the option.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ahtransport._config._kinds import (
    Addresses,
    Choices,
    Duration,
    Flag,
    Kind,
    Named,
    Plugins,
    Queue,
    Table,
    Text,
    Texts,
    TransformerChoice,
    Whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CookieSettings",
    "Fingerprint",
    "General",
    "Limits",
    "Servers",
    "WebServer",
    "WebSocketClient",
    "WebSocketServer",
    "WebSocketServers",
]

_HOST = r"\*|(\*\.)?[0-9A-Za-z._\-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?"
_PATH = r"/[^\s?#]*"
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 section 5.6.2
_HTTP_ORIGIN = r"(https?|wss?)://[^\s/?#'\"\\<>]+"
_ORIGIN = r"\*|null|[a-z][a-z0-9+.\-]*://[^\s/?#]+"


def option(default: Any, kind: Kind, doc: str) -> Any:
    """Declare one option."""
    metadata = {"kind": kind, "default": default, "doc": doc}
    return dataclasses.field(default_factory=lambda: kind.convert(default), metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class General:
    """What the server is called and how it treats actions."""

    server_name: str = option("ahtransport", Text(), "The server's name, shown in answers and in the welcome message.")
    api_version: str = option("0.1.0", Text(), "The version of your API, shown in answers.")
    id: str = option("", Text(), "The server's id among its siblings. Empty: one is made from the host's name.")
    description: str = option("", Text(), "What the server is for, shown by the status action.")
    welcome_message: str = option(
        "Welcome to the {server_name} api",
        Text(),
        "Said to every client that connects; empty: nothing is said. `{server_name}` stands for the option above.",
    )
    starting_chat_rooms: tuple[str, ...] = option(
        ["defaultRoom", "otherRoom"],
        Texts(what="names of rooms", keys=True),
        "Rooms that exist from the start, members or not. (A table, as in ActionHero, stands for its keys.)",
    )
    simultaneous_actions: int = option(
        5, Whole(minimum=1), "How many actions of one connection may run at once; more are refused."
    )
    action_timeout: float = option(
        0, Duration(zero="none"), "How long an action may run before it is cancelled and answered with an error."
    )
    blocking_warning: float = option(
        100,
        Duration(zero="never"),
        "A warning is logged when a handler keeps everybody waiting for longer than this, because it computes or waits "
        "without trio.",
    )
    log_format: str = option(
        "text",
        Choices(choices=("text", "json")),
        "How `server.run()` and the command line write the log: lines for people, or one JSON object per line. A "
        "program that sets up logging itself is left alone.",
    )
    tune_gc: bool = option(
        True,
        Flag(),
        "Whether Python's garbage collector looks less often while the server runs, so that thousands of connections "
        "make no pauses.",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "welcome_message", self.welcome_message.replace("{server_name}", self.server_name))


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketServer:
    """The server's side of realtime connections: how messages are carried, who may connect, and every limit."""

    transformer: str | type | tuple[str | type, ...] | Mapping[str, Any] = option(
        "websockets",
        TransformerChoice(),
        "What carries the messages: the name of an installed transformer (`ahtransport transformers` lists them), a "
        '`"package.module:Class"` string, or a list or table of these to have several at once.',
    )
    pathname: str = option(
        "/primus",
        Text(pattern=_PATH, what='a path such as "/primus"', strip="/"),
        "The path that clients connect to, and every path that begins with it.",
    )
    parser: Any = option(
        "JSON",
        Named(methods=("encode", "decode")),
        'How values become messages: `"JSON"`, `"binary"` or `"msgpack"` (both MessagePack), an installed parser or a '
        '`"package.module:Class"` string.',
    )
    plugin: Mapping[str, Any] = option({}, Plugins(), 'Plug-ins by name: `name = "package.module:attribute"`.')
    timeout: float = option(
        35000, Duration(zero="never"), "How long a client may be silent, heartbeats included, before it counts as gone."
    )
    ping_interval: float = option(
        30000,
        Duration(zero="no heartbeat"),
        "After how much silence the server sends a heartbeat. Clients from Primus 7 on hang up without one; "
        "a client that sends its own is never sent any.",
    )
    max_length: int = option(10485760, Whole(minimum=1, unit="bytes"), "The longest message that a client may send.")
    compression: bool = option(
        False,
        Flag(),
        "Whether messages may be compressed, for clients that ask for it: over WebSocket (permessage-deflate) and in "
        "the answers to polls (gzip).",
    )
    compression_threshold: int = option(
        1024, Whole(minimum=1, unit="bytes"), "From which length on a message, or the answer to a poll, is compressed."
    )
    compression_context_takeover: bool = option(
        False,
        Flag(),
        "Whether a compressed WebSocket message may refer to those before it. They become smaller, but each connection "
        "takes up to 200 KB more, and a broadcast is compressed for each receiver instead of once for all.",
    )
    origins: tuple[str, ...] = option(
        "*",
        Texts(commas=True, pattern=_ORIGIN, what='origins such as "https://example.com", or "*"', fold=str.lower),
        "The web origins that may connect (CORS and upgrades alike); others are refused with 403.",
    )
    methods: tuple[str, ...] = option(
        ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"],
        Texts(commas=True, pattern=r"[A-Z][A-Z\-]*", what="HTTP methods", fold=str.upper),
        "The methods that CORS allows.",
    )
    credentials: bool = option(True, Flag(), "Whether CORS allows cookies and credentials.")
    max_age: float = option("30 days", Duration(zero="not at all"), "How long a browser may remember a CORS preflight.")
    exposed: tuple[str, ...] = option(
        False,
        Texts(commas=True, none=True, pattern=_TOKEN, what="header names"),
        "The response headers that CORS shows to pages; false: none beyond the usual.",
    )
    transport: Mapping[str, Any] = option(
        {}, Table(), "Handed to the transformer, which checks it against its own options."
    )
    inbox: int = option(
        16, Whole(minimum=1, unit="messages"), "How many messages wait for the handler before the client is paused."
    )
    high_water: int = option(
        65536, Whole(minimum=1, unit="bytes"), "From how much unsent data on `send` waits and `send_nowait` refuses."
    )
    max_backlog: int = option(
        1048576,
        Whole(minimum=1, unit="bytes"),
        "How much unsent data one client may have; beyond it `overflow` decides.",
    )
    max_backlog_messages: int = option(
        1024,
        Whole(minimum=1, unit="messages"),
        "How many unsent messages one client may have; beyond it `overflow` decides.",
    )
    overflow: str = option(
        "close",
        Choices(choices=("close", "wait", "drop")),
        "What happens to a client over its backlog: `close` it with 1013, `wait` (only in `await send`), or `drop` "
        "the message.",
    )
    flush_timeout: float = option(
        10000, Duration(), "How long a client may take nothing of what waits for it before it is closed."
    )
    close_timeout: float = option(5000, Duration(), "How long a closing client may take to say that it closes, too.")
    max_fragments: int = option(1024, Whole(minimum=1), "Of how many fragments one WebSocket message may consist.")
    max_control_frames: int = option(
        100, Whole(minimum=1, unit="per second"), "How many WebSocket control frames a client may send."
    )
    upgrade_timeout: float = option(10000, Duration(), "How long authorization and the handshake may take together.")
    max_calls: int = option(
        1000, Whole(minimum=1), "How many acknowledgements may be outstanding on one connection, in each direction."
    )
    call_timeout: float = option(
        10000, Duration(), "How long `call` waits for the acknowledgement unless told otherwise."
    )
    max_rooms: int = option(128, Whole(minimum=1), "In how many rooms one connection may be.")
    max_name: int = option(255, Whole(minimum=1, unit="characters"), "The longest name of a room.")
    max_depth: int = option(64, Whole(minimum=1, maximum=500), "How deeply a JSON message may be nested.")
    link_session: str = option(
        "cookie",
        Choices(choices=("cookie", "query")),
        "Where the fingerprint that links a websocket to a session may come from. Anybody can put one into a link: "
        "choose `query` only if that is harmless.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketClient:
    """Compiled into the generated browser client. The names are Primus' client options in snake_case."""

    api_path: str = option("/api", Text(), "Where the client finds the API over HTTP.")
    cookie_key: str = option(
        "",
        Text(pattern=f"({_TOKEN})?", what="a cookie name"),
        "The cookie whose value the client sends along as its fingerprint; empty: `fingerprint.cookie_key` of "
        "`[servers.web]`.",
    )
    reconnect: Mapping[str, Any] = option(
        {},
        Table(),
        'Primus\' back-off: `max`, `min`, `retries`, `"reconnect timeout"`, `factor`; times in milliseconds.',
    )
    timeout: float = option(10000, Duration(browser=True), "How long one attempt to connect may take.")
    ping: float = option(
        25000, Duration(zero="none", browser=True), "How often clients up to Primus 6 send a heartbeat."
    )
    pong: float = option(10000, Duration(zero="for ever", browser=True), "How long the client waits for its answer.")
    strategy: str = option(
        "disconnect, online, timeout",
        Text(
            what='"disconnect", "online" and "timeout", comma-separated', pattern=r"(disconnect|online|timeout|[\s,])*"
        ),
        "After what the client reconnects by itself; empty: never.",
    )
    manual: bool = option(False, Flag(), "Whether the page opens the connection itself.")
    websockets: bool = option(True, Flag(), "False: avoid WebSocket, use long polling only.")
    network: bool = option(True, Flag(), "Whether the client listens to the browser's online and offline events.")
    transport: Mapping[str, Any] = option({}, Table(), "Handed to the client's side of the transformer.")
    queue_size: int | float = option(
        "Infinity", Queue(), "How many messages the client keeps while it is not connected."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketServers:
    """Realtime connections."""

    enabled: bool = option(True, Flag(), "Whether realtime connections are served at all.")
    client_url: str = option(
        "window.location.origin",
        Text(
            pattern=rf"window\.location\.origin|{_HTTP_ORIGIN}",
            what='"window.location.origin" or an origin such as "https://example.com"',
        ),
        "Where the generated client connects to.",
    )
    client_js_path: str = option(
        "javascript/", Text(path=True), "The directory of the generated client, under the first public directory."
    )
    client_js_name: str = option(
        "ActionheroWebsocketClient",
        Text(pattern=r"[^/\\\x00]*", what="a file name without its extension"),
        "The generated client's name: `NAME.js`, `NAME.min.js`, `NAME.mjs` and their types; empty: there is none.",
    )
    client_js_write: bool = option(
        True,
        Flag(),
        "Whether the generated client is written to the first public directory, where there is one; it is served from "
        "memory in any case.",
    )
    destroy_clients_on_shutdown: bool = option(
        False, Flag(), "Whether clients are told not to come back when the server stops."
    )
    shutdown_delay: float = option(
        0,
        Duration(zero="none"),
        "How long the server goes on as before when it is told to stop, while `health` says 503, so that load "
        "balancers send nobody any more.",
    )
    shutdown_grace: float = option(
        10000, Duration(zero="at once"), "How long handlers may go on after a shutdown began before they are cancelled."
    )
    server: WebSocketServer = dataclasses.field(default_factory=WebSocketServer)
    client: WebSocketClient = dataclasses.field(default_factory=WebSocketClient)


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSettings:
    """Attributes of the fingerprint's cookie."""

    path: str = option("/", Text(pattern=r"/[^\s;,\x00-\x1f\x7f]*", what='a path such as "/"'), "Its path.")
    expires: float = option(3600000, Duration(zero="with the browser"), "How long a browser keeps it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The cookie that links a browser's web requests to its websocket."""

    cookie_key: str = option("sessionID", Text(pattern=_TOKEN, what="a cookie name"), "The cookie's name.")
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
    public: tuple[str, ...] = option(
        ["public"], Texts(what="directories"), "Directories whose files are served, the first that has a file wins."
    )
    fingerprint: Fingerprint = dataclasses.field(default_factory=Fingerprint)
    secure: bool = option(False, Flag(), "HTTPS and WSS on the same port; needs `cert`.")
    cert: str = option("", Text(path=True), "The certificate's file (PEM), followed by those between it and the root.")
    key: str = option("", Text(path=True), "The private key's file (PEM); empty: it is in the file `cert`, too.")
    handshake_timeout: float = option(10000, Duration(), "How long a TLS handshake may take.")
    trusted_proxies: tuple[str, ...] = option(
        [], Addresses(commas=True), "Proxies whose `X-Forwarded-For` and the like, or `Forwarded`, are believed."
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
        "/api", Text(pattern=_PATH, what='a path such as "/api"', strip="/"), "Where the API is served."
    )
    health: str = option(
        "/healthz",
        Text(pattern=_PATH, what='a path such as "/healthz"', none=True),
        "Where the server says whether it serves, for load balancers: 200, or 503 while it stops. Empty or false: "
        "nowhere.",
    )
    metrics: str = option(
        False,
        Text(pattern=_PATH, what='a path such as "/metrics"', none=True),
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


_BURST = Whole(zero="as many as in a second")
_BYTES = Whole(minimum=16384, unit="bytes per second", zero="any")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much clients may ask of the server, alone and together. All of it is off unless set. An address counts as it
    is seen behind `trusted_proxies`, IPv6 by its first 64 bits."""

    max_connections: int = option(
        0, Whole(zero="any"), "How many clients may be connected, polling or not; others get 503 before any upgrade."
    )
    max_connections_per_address: int = option(
        0, Whole(zero="any"), "How many clients of one address may be connected; others get 429 before any upgrade."
    )
    max_sockets: int = option(
        0,
        Whole(zero="any"),
        "How many sockets may be open, whatever they are for; others get 503 as soon as they are accepted. A client "
        "that polls has two or three.",
    )
    max_sockets_per_address: int = option(
        0,
        Whole(zero="any"),
        "How many sockets of one address may be open; others get 429 as soon as they are accepted. Those of trusted "
        "proxies are not counted.",
    )
    reserved_descriptors: int = option(
        0,
        Whole(zero="none"),
        "How many of the descriptors that the process may open are kept free of sockets, for files and the like.",
    )
    max_memory: int = option(
        0,
        Whole(unit="bytes", zero="any"),
        "How large the process may become: while over 80 % of it are in use, new clients get 503. (Linux only.)",
    )
    message_rate: int = option(
        0,
        Whole(unit="per second", zero="any"),
        "How many messages one connection may send; a faster one is slowed down. Actions and verbs beyond it are "
        "answered with an error instead.",
    )
    message_burst: int = option(0, _BURST, "How many messages one connection may send at once after a quiet time.")
    message_rate_per_address: int = option(
        0, Whole(unit="per second", zero="any"), "Likewise, for all connections of one address together."
    )
    message_burst_per_address: int = option(0, _BURST, "Likewise, at once.")
    byte_rate: int = option(0, _BYTES, "How many bytes one connection may send; a faster one is slowed down.")
    byte_burst: int = option(0, _BURST, "How many bytes one connection may send at once after a quiet time.")
    byte_rate_per_address: int = option(0, _BYTES, "Likewise, for all connections of one address together.")
    byte_burst_per_address: int = option(0, _BURST, "Likewise, at once.")
    rate_patience: float = option(
        10000,
        Duration(zero="for ever"),
        "For how long a connection may be slowed down without a second of rest; beyond it, it is closed with 1008.",
    )
    join_rate: int = option(
        0, Whole(unit="per second", zero="any"), "How many rooms one connection may join; more is an error."
    )
    join_burst: int = option(0, _BURST, "How many rooms one connection may join at once after a quiet time.")
    request_rate: int = option(
        0,
        Whole(unit="per second", zero="any"),
        "How many HTTP requests one address may send, upgrades included; others get 429.",
    )
    request_burst: int = option(0, _BURST, "How many HTTP requests one address may send at once after a quiet time.")
    retry_after: float = option(
        5000, Duration(), "What `Retry-After` tells those who are refused because the server is full."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What is served."""

    websocket: WebSocketServers = dataclasses.field(default_factory=WebSocketServers)
    web: WebServer = dataclasses.field(default_factory=WebServer)
    limits: Limits = dataclasses.field(default_factory=Limits)
