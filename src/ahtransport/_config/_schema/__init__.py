"""Every option there is: name, default, kind, bounds and meaning.

This is the single source of truth: the loader's defaults and checks, ``ahtransport config``, the file that
``ahtransport init`` writes and the reference in the documentation are all made from it.

A default is written as a user would write it (durations in milliseconds or words); the attribute holds the typed value
(durations in seconds). Names and defaults are ActionHero's and Primus' where they have the option.

Each of the modules has one table of the configuration with those below it; here they are put together.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ahtransport._config._schema._general import General
from ahtransport._config._schema._limits import Limits
from ahtransport._config._schema._option import ORIGIN
from ahtransport._config._schema._web import CookieSettings, Fingerprint, WebServer
from ahtransport._config._schema._websocket import WebSocketClient, WebSocketServer, WebSocketServers

__all__ = [
    "ORIGIN",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What is served."""

    websocket: WebSocketServers = dataclasses.field(default_factory=WebSocketServers)
    web: WebServer = dataclasses.field(default_factory=WebServer)
    limits: Limits = dataclasses.field(default_factory=Limits)
