"""The configuration: typed options, where their values come from, and their reference.

``_schema`` declares every option, a module for each table, ``_kinds`` says what each kind of value may be, ``_sources``
reads files, the environment and keyword arguments, ``_load`` makes one :class:`Config` of them, ``_reference`` writes
it all down.
"""

from __future__ import annotations

from ahtransport._config._kinds import overlaid, read_duration
from ahtransport._config._load import Config, load_config, located
from ahtransport._config._reference import reference_markdown, section_markdown, template_toml, to_toml
from ahtransport._config._schema import (
    ORIGIN,
    CookieSettings,
    Fingerprint,
    General,
    Limits,
    Servers,
    WebServer,
    WebSocketClient,
    WebSocketServer,
    WebSocketServers,
)
from ahtransport._config._sources import CONFIG_VARIABLE
from ahtransport._config._tree import OPTIONS, SECTIONS, Option

__all__ = [
    "CONFIG_VARIABLE",
    "OPTIONS",
    "ORIGIN",
    "SECTIONS",
    "Config",
    "CookieSettings",
    "Fingerprint",
    "General",
    "Limits",
    "Option",
    "Servers",
    "WebServer",
    "WebSocketClient",
    "WebSocketServer",
    "WebSocketServers",
    "load_config",
    "located",
    "overlaid",
    "read_duration",
    "reference_markdown",
    "section_markdown",
    "template_toml",
    "to_toml",
]
