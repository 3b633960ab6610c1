"""From settings to one checked, typed, immutable :class:`Config`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ahtransport._config._kinds import Table, spelled
from ahtransport._config._schema import General, Servers
from ahtransport._config._sources import KEYWORD, Setting, find_file, from_environment, from_file, from_keywords, shown
from ahtransport._config._tree import OPTIONS, flat_key, nearest, snake
from ahtransport._errors import ConfigError

__all__ = ["Config", "load_config", "located"]


class _Given(NamedTuple):
    """An option that some source sets: the value as it was written, converted, and where it was."""

    value: Any
    typed: Any
    origin: str
    parts: Mapping[str, str] = MappingProxyType({})  # of a table: each key's own origin


@dataclass(frozen=True, slots=True)
class Config:
    """The effective configuration: typed, checked, immutable.

    Attributes:
        general: names, actions, rooms.
        servers: ``servers.websocket`` (with ``.server`` and ``.client``) and ``servers.web``.
        file: the file that was read, as it was named; None: none was.

    Every duration is in seconds, whatever unit it was written in.
    """

    general: General = field(default_factory=General)
    servers: Servers = field(default_factory=Servers)
    file: str | None = field(default=None, compare=False)
    _given: Mapping[str, _Given] = field(default_factory=dict, repr=False, compare=False)

    def origin(self, key: str) -> str:
        """Say where an option's value came from: "default", the file's name, ``environment AHTRANSPORT__…``,
        "config argument" or "keyword argument".

        Args:
            key: dotted, such as "servers.web.port"; camelCase and the flat names of keywords work, too. A key inside
                a free-form table has an origin of its own.

        Raises:
            ConfigError: there is no such option.
        """
        dotted = snake(key)
        if dotted not in OPTIONS:
            dotted = flat_key(dotted) or dotted
        if dotted in OPTIONS:
            return self._given[dotted].origin if dotted in self._given else "default"
        for table, given in self._given.items():
            inside = key[len(table) + 1 :]
            if snake(key[: len(table) + 1]) == f"{table}." and inside in given.parts:
                return given.parts[inside]
        raise ConfigError(f"{key}: there is no such option{nearest(dotted)}")

    def to_dict(self) -> dict[str, Any]:
        """Give the effective tree as a file would hold it: snake_case keys, values as a user writes them (durations
        in milliseconds or words), nothing but strings, numbers, booleans, lists and tables."""
        tree: dict[str, Any] = {}
        for key, known in OPTIONS.items():
            *sections, name = key.split(".")
            at = tree
            for section in sections:
                at = at.setdefault(section, {})
            at[name] = spelled(self._given[key].value if key in self._given else known.default)
        return tree

    def replace(self, **options: Any) -> Config:
        """Give a copy in which these keyword arguments win; the names are those that the server takes.

        Raises:
            ConfigError: one is unknown, of the wrong type or impossible.
        """
        return _build([self._given, _checked(from_keywords(options))], self.file)


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> Config:
    """Read the configuration: defaults < file < environment < ``overrides``.

    Args:
        source: a TOML file (of a ``pyproject.toml`` the table ``[tool.ahtransport]``), or what one would hold as a
            mapping. None: the file that the environment variable ``AHTRANSPORT_CONFIG`` names, else the working
            directory's ``ahtransport.toml``, else its ``pyproject.toml``, else nothing. A :class:`Config` is taken as
            it is: neither files nor the environment are read again.
        overrides: keyword arguments, flat or nested. A flat name that occurs in several sections means that of
            ``servers.websocket.server``, then ``servers.websocket``, ``servers.web``, ``servers.limits``, ``general``;
            other sections' are reached by the section's name, such as ``client={…}`` or ``fingerprint={…}``.
        environ: the environment; None: the process's own.
        cwd: the working directory; None: the process's own.

    Raises:
        ConfigError: something is unknown, of the wrong type or impossible, or the file can't be read.
    """
    if isinstance(source, Config):
        return source.replace(**overrides) if overrides else source
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else Path(cwd)
    source = find_file(environ, cwd) if source is None else source
    layers = (
        from_file({} if source is None else source, cwd),
        from_environment(environ),
        from_keywords(overrides or {}),
    )
    file = None if source is None or isinstance(source, Mapping) else os.fspath(source)
    return _build([_checked(layer) for layer in layers], file)


@contextmanager
def located(config: Config, key: str) -> Iterator[None]:
    """Have a ConfigError about an option's value, which may not know of any option, say where that was given; not for
    a keyword argument, which is where the error comes out.

    Args:
        key: the option's, dotted.
    """
    try:
        yield
    except ConfigError as error:
        origin = config.origin(key)
        if origin != KEYWORD:
            error.args = (f"{error} ({origin}: {key})",)
        raise


def _checked(layer: Iterable[Setting]) -> dict[str, _Given]:
    """Check one source's settings and convert them."""
    result: dict[str, _Given] = {}
    for setting in layer:
        given = _convert(setting)
        before = result.get(setting.key)
        if before is not None and not isinstance(given.typed, Mapping):
            raise ConfigError(f"{setting.origin}: {setting.key} is given twice ({before.origin} has it, too)")
        result[setting.key] = _merged(setting.key, before, given)
    return result


def _convert(setting: Setting) -> _Given:
    kind = OPTIONS[setting.key].kind
    hint = ""
    for value in kind.readings(setting.value) if setting.raw else [setting.value]:
        try:
            typed = kind.convert(value)
        except ValueError as error:
            hint = hint or str(error)
        else:
            parts = dict.fromkeys(_paths(value), setting.origin) if isinstance(value, Mapping) else {}
            return _Given(value, typed, setting.origin, parts)
    text = f"{setting.origin}: {setting.key}: expected {kind.expected}, not {shown(setting.value)}"
    raise ConfigError(f"{text}; {hint}" if hint else text)


def _merged(key: str, lower: _Given | None, upper: _Given) -> _Given:
    """Put one setting over another: free-form tables merge key by key, everything else is replaced."""
    kind = OPTIONS[key].kind
    if lower is None or not isinstance(kind, Table):
        return upper
    value = kind.merged(lower.value, upper.value)
    parts = {path: upper.parts[path] if path in upper.parts else lower.parts[path] for path in _paths(value)}
    return _Given(value, kind.convert(value), upper.origin, parts)


def _paths(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Give the keys of a free-form table, dotted where they are in tables in it."""
    for key, value in table.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")


def _build(layers: Iterable[Mapping[str, _Given]], file: str | None) -> Config:
    given: dict[str, _Given] = {}
    for layer in layers:
        for key, one in layer.items():
            given[key] = _merged(key, given.get(key), one)
    general, servers = _section(General, "general", given), _section(Servers, "servers", given)
    config = Config(general, servers, file, MappingProxyType(given))
    web = config.servers.web
    if web.secure and not web.cert:
        raise ConfigError(
            f"{config.origin('servers.web.secure')}: servers.web.secure needs servers.web.cert, a PEM file's path"
        )
    return config


def _section(kind: type, prefix: str, given: Mapping[str, _Given]) -> Any:
    values: dict[str, Any] = {}
    for item in dataclasses.fields(kind):
        key = f"{prefix}.{item.name}"
        if key in given:
            values[item.name] = given[key].typed
        elif key not in OPTIONS:
            assert isinstance(item.default_factory, type)
            values[item.name] = _section(item.default_factory, key, given)
    return kind(**values)
