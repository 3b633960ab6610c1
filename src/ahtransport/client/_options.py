"""The configuration block: from the server's options to what the client reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ahtransport._config import read_duration
from ahtransport._errors import ConfigError
from ahtransport._parsers import JSONParser, MessagePackParser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ahtransport._config import Config
    from ahtransport.abc import Parser

__all__ = ["Wire", "client_config", "parser_kind"]

_SECTION = "servers.websocket.client"
#: Primus' options of reconnecting, and which of them are durations.
_RECONNECT = {"max": True, "min": True, "retries": False, "reconnect timeout": True, "factor": False}


@dataclass(frozen=True, slots=True)
class Wire:
    """The client's side of one transformer that is mounted.

    Attributes:
        name: the transformer's.
        pathname: where it is mounted.
        modules: JavaScript sources by name; empty: it has no client side.
        options: what the client side has to know of the server's.
    """

    name: str
    pathname: str
    modules: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def client_config(config: Config, wires: Sequence[Wire], parser: str) -> dict[str, Any]:
    """Give the configuration block without version, name and hash; times in milliseconds.

    Args:
        config: the server's.
        wires: the transformers, the default first.
        parser: "json", "msgpack" or "custom".

    Raises:
        ConfigError: an option of the client is impossible.
    """
    websocket = config.servers.websocket
    client = websocket.client
    return {
        "url": websocket.client_url,
        "apiPath": client.api_path,
        "cookieKey": client.cookie_key or config.servers.web.fingerprint.cookie_key,
        "servers": [
            {"wire": wire.name, "pathname": wire.pathname, "options": options}
            for wire, options in zip(wires, _transport(client.transport, wires), strict=True)
        ],
        "parser": parser,
        "pingInterval": _ms(websocket.server.ping_interval),
        "client": {
            "reconnect": _reconnect(client.reconnect),
            "timeout": _ms(client.timeout),
            "ping": _ms(client.ping),
            "pong": _ms(client.pong),
            "strategy": client.strategy,
            "manual": client.manual,
            "websockets": client.websockets,
            "network": client.network,
            "queueSize": None if client.queue_size == math.inf else client.queue_size,
        },
    }


def _ms(seconds: float) -> int | float:
    milliseconds = round(seconds * 1000, 3)
    return int(milliseconds) if milliseconds.is_integer() else milliseconds


def _transport(given: Mapping[str, Any], wires: Sequence[Wire]) -> list[Mapping[str, Any]]:
    """Give the options of each wire: of several, each has its own under its name, as on the server's side."""
    if len(wires) == 1:
        return [{**given, **wires[0].options}]
    names = {wire.name for wire in wires}
    for name, options in given.items():
        if name not in names:
            raise ConfigError(
                f"{_SECTION}.transport: with several transformers its keys are their names, unlike {name!r}"
            )
        if not isinstance(options, Mapping):
            raise ConfigError(f"{_SECTION}.transport.{name}: expected a table")
    return [{**given.get(wire.name, {}), **wire.options} for wire in wires]


def _reconnect(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check Primus' options of reconnecting; a duration may be text such as "10s", and "Infinity" is a number."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = "reconnect timeout" if key in ("reconnect_timeout", "reconnectTimeout") else key
        if name not in _RECONNECT:
            known = ", ".join(f'"{one}"' if " " in one else one for one in _RECONNECT)
            raise ConfigError(f"{_SECTION}.reconnect: unknown option {key!r}; there are {known}")
        if value == "Infinity":
            value = math.inf
        elif isinstance(value, str) and _RECONNECT[name]:
            try:
                value = _ms(read_duration(value))
            except ValueError as error:
                raise ConfigError(f"{_SECTION}.reconnect.{key}: {error}") from error
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ConfigError(f"{_SECTION}.reconnect.{key}: expected a number of at least 0, not {value!r}")
        found[name] = value
    return found


def parser_kind(parser: Parser) -> str:
    """Tell what the client's side of a parser is: "json", "msgpack" or "custom"."""
    if type(parser) is JSONParser:
        return "json"
    return "msgpack" if type(parser) is MessagePackParser else "custom"
