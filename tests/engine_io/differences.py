"""Where our answers differ from npm's on purpose; docs/engine-io-differences.md argues each under the same heading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from engine_io.cases import MAX_LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence


class Difference(NamedTuple):
    """A case in which the answers differ.

    Attributes:
        heading: under which the documentation argues it.
        steps: only those that differ: npm's answer and ours; None where one of them says nothing any more.
    """

    heading: str
    steps: Sequence[tuple[str | None, str | None]]


OK: Final = "200 | text/html | ok"
UNKNOWN: Final = '400 | application/json | {"code":1,"message":"Session ID unknown"}'
BAD: Final = '400 | application/json | {"code":3,"message":"Bad request"}'
NO_TRANSPORT: Final = '400 | application/json | {"code":0,"message":"Transport unknown"}'
NO_VERSION: Final = '400 | application/json | {"code":5,"message":"Unsupported protocol version"}'
TOO_LARGE: Final = f'413 | application/json | {{"error":"the body is larger than {MAX_LENGTH} bytes"}}'
HANDSHAKE: Final = (
    '0{"sid":"<sid>","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000}'
)
_QUOTED: Final = HANDSHAKE.replace('"', '\\"')
OPENED: Final = f"200 | text/plain; charset=UTF-8 | {HANDSHAKE}"


def polled(packets: str) -> str:
    """What a poll is answered with."""
    return f"200 | text/plain; charset=UTF-8 | {packets}"


# A bad body ends the session on both sides; npm says "ok" all the same.
_SAYS_SO = [(OK, BAD)]
# npm goes on with what it has made of it.
_GOES_ON = [(OK, BAD), (OK, UNKNOWN), (polled("4check"), UNKNOWN)]

DIFFERENCES: Final[dict[str, Difference]] = {
    "parameters that come twice, the last one good": Difference(
        "Parameters that come twice", [(OPENED, NO_VERSION), (OPENED, NO_TRANSPORT), (OPENED, UNKNOWN)]
    ),
    "an empty sid": Difference("An empty sid", [(OPENED, UNKNOWN)]),
    "jsonp": Difference("JSONP", [(polled(f'___eio[0]("{_QUOTED}");'), BAD)]),
    "upgrade of a wrong version": Difference(
        "Upgrades are refused before they are accepted",
        [
            ("101", "400 | text/html | Unsupported protocol version"),
            ("no frame", "400 | text/html | Unsupported protocol version"),
            ("101", None),
            ("no frame", None),
        ],
    ),
    "upgrade to polling": Difference(
        "Upgrades are refused before they are accepted", [("101", "400 | text/html | Bad request"), ("closed", None)]
    ),
    "upgrade to polling of a session": Difference(
        "Upgrades are refused before they are accepted",
        [
            ("101", "400 | text/html | Bad request"),
            ("closed", OK),
            (OK, polled("4check")),
            (polled("4check"), None),
        ],
    ),
    "other methods on a session": Difference(
        "Other methods", [("500 | - | ", BAD)] * 4 + [("500 | - | ", "400 | - | ")]
    ),
    "no packets": Difference("Bad bodies", _SAYS_SO * 9),
    "bad packets behind good ones": Difference("Bad bodies", _SAYS_SO * 2),
    "a body of separators": Difference("Bad bodies", _SAYS_SO),
    "pings from the client": Difference("Bad bodies", _SAYS_SO * 2),
    "open packets from the client": Difference("Open packets", _GOES_ON * 2),
    "open packets on a websocket": Difference("Open packets", [("4check", "closed")]),
    "bad base64": Difference(
        "Base64",
        [
            step
            for garbage in ("b", "bAAAA", "b")
            for step in ((OK, BAD), (OK, UNKNOWN), (polled(garbage + "\x1e4check"), UNKNOWN))
        ],
    ),
    "bad base64 on a websocket": Difference("Base64", [("b''", "closed")]),
    "invalid utf-8": Difference(
        "Text that is not UTF-8", [(OK, BAD), (OK, UNKNOWN), (polled("4\ufffd\x1e4check"), UNKNOWN), (OK, BAD)]
    ),
    "octet stream with a parameter": Difference(
        "Text that is not UTF-8",
        [(OK, "400 | - | "), (polled("4hello"), UNKNOWN), (OK, UNKNOWN), (polled("4check"), UNKNOWN)],
    ),
    "another charset": Difference(
        "Text that is not UTF-8",
        [(OK, "400 | - | "), (polled("4hello"), UNKNOWN), (OK, UNKNOWN), (polled("4check"), UNKNOWN)],
    ),
    "compressed body": Difference(
        "Compressed bodies",
        [
            (OK, '415 | application/json | {"error":"bodies are not compressed here"}'),
            (polled("4zipped\x1e4check"), polled("4check")),
        ],
    ),
    "too many packets": Difference("A thousand packets", _GOES_ON),
    "the largest body": Difference(
        "Polls keep to the limit, too",
        [(polled(f"4{'x' * 39}… {MAX_LENGTH + 7}"), polled(f"4{'x' * 39}… {MAX_LENGTH}"))],
    ),
    "too large a body": Difference("Too large a body", [("413 | - | ", TOO_LARGE)]),
    "chunked bodies": Difference("Too large a body", [("chunked: 413 | - | ", f"chunked: {TOO_LARGE}")]),
    "two posts the first goes on": Difference(
        "A POST whose session is over", [("the first: cut", f"the first: {UNKNOWN}")]
    ),
    "the server closes behind messages": Difference(
        "Last words and goodbye in one", [(polled("4one"), polled("4one\x1e1")), (polled("6\x1e1"), UNKNOWN)]
    ),
    "goodbye on a websocket": Difference("Goodbye on a WebSocket", [("4check", "closed")]),
    "upgrade in spite of a poll": Difference(
        "A poll that still waits at the upgrade", [("the poll: " + polled("1"), "the poll: " + polled("6"))]
    ),
    "upgrade without a probe": Difference("An upgrade without a probe", [("nothing came", "closed"), (None, "closed")]),
}

_ECHOED = " | ".join(
    [
        "200 | - |  | may be stored",
        "access-control-allow-origin: https://page.example",
        "access-control-allow-credentials: true",
        "access-control-allow-methods: GET, HEAD, PUT, POST, DELETE, OPTIONS",
        "access-control-allow-headers: {}",
        "access-control-max-age: 2592000",
        "vary: Origin",
    ]
)
_ALLOWED: Final = ", ".join(
    ("Accept", "Accept-Language", "Authorization", "Cache-Control", "Content-Language", "Content-Type",
     "If-Modified-Since", "If-None-Match", "Pragma", "Range", "X-Requested-With")
)  # fmt: skip

PRIMUS_DIFFERENCES: Final[dict[str, Difference]] = {
    "preflight that asks for headers": Difference(
        "Preflights", [(_ECHOED.format("x-anything"), _ECHOED.format(_ALLOWED))]
    ),
    "a bad origin": Difference(
        "Malformed origins",
        [
            (
                OPENED.replace("100000", "10485760") + " | access-control-allow-origin: https://a b"
                " | access-control-allow-credentials: true | vary: Origin"
                " | cache-control: no-store, no-cache, must-revalidate, max-age=0 | pragma: no-cache",
                "403 | text/plain | Invalid HTTP Access Control (CORS) request:\n  Origin: https://a b\n  Method: GET",
            )
        ],
    ),
}
