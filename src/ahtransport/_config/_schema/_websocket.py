# ruff: noqa: RUF009 - option() is dataclasses.field() with a metadata of ours, not a value
"""Options of ``[servers.websocket]`` and the tables below it: realtime connections."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ahtransport._config._kinds import (
    Choices,
    Duration,
    Flag,
    Named,
    Origins,
    Plugins,
    Queue,
    Table,
    Text,
    Texts,
    TransformerChoice,
    Whole,
)
from ahtransport._config._schema._option import ORIGIN, PATH, TOKEN, option

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WebSocketClient", "WebSocketServer", "WebSocketServers"]

_HTTP_ORIGIN = r"(https?|wss?)://[^\s/?#'\"\\<>]+"


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
        Text(pattern=PATH, what='a path such as "/primus"', strip="/"),
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
        Origins(
            commas=True, pattern=rf"\*|{ORIGIN}", what='origins such as "https://example.com", or "*"', fold=str.lower
        ),
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
        Texts(commas=True, none=True, pattern=TOKEN, what="header names"),
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
        Text(pattern=f"({TOKEN})?", what="a cookie name"),
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
