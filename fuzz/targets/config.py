"""The configuration: files, variables and keywords."""

from __future__ import annotations

import tomllib

from ahtransport._config import Config, load_config
from ahtransport._errors import ConfigError
from fuzz.core import Source, target


def _written_down(config: Config) -> None:
    """What it says of itself gives the same again. (Compared as text: NaN is not itself; free-form tables may hold it,
    and dates, which are written as text.)"""
    assert repr(load_config(config.to_dict(), environ={}).to_dict()) == repr(config.to_dict())


_FILES = (
    b'[servers.web]\nport = 8080\nheader_timeout = "5s"\n[servers.websocket.server]\npingInterval = 1000\n',
    b'[general]\nstarting_chat_rooms = ["a"]\nrooms = 5\n',
    b"servers = 1\n",
    b'[servers.websocket.client]\n"a.b" = nan\n',
    b'[servers.web]\nport = 70000\nsecure = true\nhost = ""\nmax_file = "1 GiB"\nmax_headers = -1\n',
    b'[servers.websocket.server.transport]\nx = {y = [1, "2", 1979-05-27]}\ntransformer = "engine.io"\n',
    b"[" * 500,
)


@target(_FILES)
def configuration(data: bytes) -> None:
    """A file that is TOML gives a configuration or a ConfigError; what it gives, written down, gives the same again."""
    try:
        tree = tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        return
    try:
        config = load_config(tree, environ={})
    except ConfigError as error:
        assert str(error)
        return
    _written_down(config)


_VARIABLES = ("SERVERS__WEB__PORT", "SERVERS__WEBSOCKET__SERVER__ORIGINS", "GENERAL__STARTING_CHAT_ROOMS",
              "SERVERS__WEB__HEADER_TIMEOUT", "SERVERS__WEBSOCKET__SERVER__TRANSPORT__X__Y", "SERVERS__WEB",
              "SERVERS__WEB__SECURE", "SERVERS__WEB__TRUSTED_PROXIES")  # fmt: skip
_VALUES = (b"8080", b"*", b'["a", "b"]', b"5 s", b"{", b"{}", b"true", b"1e9", b"nan", b"10.0.0.0/8", b"")


@target(bytes((kind, len(value))) + value + b"\x01" for kind in range(len(_VARIABLES) + 1) for value in _VALUES)
def variables(data: bytes) -> None:
    """Environment variables and keywords likewise, whatever their names and values are."""
    source = Source(data)
    environ: dict[str, str] = {}
    keywords: dict[str, object] = {}
    while source and len(environ) + len(keywords) < 20:
        kind = source.byte()
        value = source.take().decode("utf-8", "replace")
        if kind < len(_VARIABLES):
            environ[f"AHTRANSPORT__{_VARIABLES[kind]}"] = value
        elif kind & 1:
            environ[f"AHTRANSPORT__{source.text()}"] = value
        else:
            keywords[source.text()] = source.pick((value, source.byte(), None, [value], {value: value}, float("nan")))
    try:
        config = load_config({}, keywords, environ)
    except ConfigError as error:
        assert str(error)
        return
    _written_down(config)
