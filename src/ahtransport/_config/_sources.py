"""Where settings come from: files, the environment, keyword arguments; each gives the same flat list of settings."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ahtransport._config._kinds import Table, from_text
from ahtransport._config._tree import OPTIONS, SECTIONS, SHORT, flat_key, nearest, snake
from ahtransport._errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "CONFIG_VARIABLE",
    "FILE",
    "KEYWORD",
    "PREFIX",
    "Setting",
    "find_file",
    "from_environment",
    "from_file",
    "from_keywords",
    "shown",
]

FILE = "ahtransport.toml"
PREFIX = "AHTRANSPORT__"
CONFIG_VARIABLE = "AHTRANSPORT_CONFIG"
KEYWORD = "keyword argument"


class Setting(NamedTuple):
    """A value on its way in, not checked yet.

    Attributes:
        key: the option's dotted key.
        value: as it was written.
        origin: "ahtransport.toml", "environment AHTRANSPORT__…", "keyword argument" …
        raw: whether it is an environment variable's text, to be read as its option needs it.
    """

    key: str
    value: Any
    origin: str
    raw: bool = False


def shown(value: Any) -> str:
    """Give a value for an error message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def find_file(environ: Mapping[str, str], cwd: Path) -> str | None:
    """Name the file that is read when nobody names one: what ``AHTRANSPORT_CONFIG`` says, else the working directory's
    own where there is one."""
    named = environ.get(CONFIG_VARIABLE)
    return named or next((name for name in (FILE, "pyproject.toml") if (cwd / name).is_file()), None)


def from_file(source: str | os.PathLike[str] | Mapping[str, Any], cwd: Path) -> Iterator[Setting]:
    """Read a file, or a mapping in its place.

    Raises:
        ConfigError: while iterating: it can't be read, is not TOML, or names something unknown.
    """
    if isinstance(source, Mapping):
        return _walk(source, "", "config argument")
    return _read(cwd / source, os.fspath(source))


def from_environment(environ: Mapping[str, str]) -> Iterator[Setting]:
    """Read every ``AHTRANSPORT__SECTION__NAME``; further parts reach into free-form tables.

    Raises:
        ConfigError: while iterating: one names something unknown.
    """
    for variable in sorted(environ):
        if variable.startswith(PREFIX):
            yield from _variable(variable, environ[variable])


def from_keywords(options: Mapping[str, Any]) -> Iterator[Setting]:
    """Read keyword arguments: flat names, sections' short names, and nested mappings.

    Raises:
        ConfigError: while iterating: one names something unknown.
    """
    for name, value in options.items():
        word = snake(name)
        key = word if word in SECTIONS else SHORT.get(word) or flat_key(word)
        if key is None:
            raise ConfigError(f"{KEYWORD}: {name} is not known{nearest(word)}")
        yield from _at(key, value, KEYWORD)


def _at(key: str, value: Any, origin: str) -> Iterator[Setting]:
    """Give the settings of one known key, a section's or an option's."""
    if key in OPTIONS:
        yield Setting(key, value, origin)
    elif isinstance(value, Mapping):
        yield from _walk(value, f"{key}.", origin)
    else:
        raise ConfigError(f"{origin}: {key}: expected a table of options, not {shown(value)}")


def _walk(tree: Mapping[Any, Any], prefix: str, origin: str) -> Iterator[Setting]:
    for name, value in tree.items():
        key = prefix + snake(str(name))
        if key not in SECTIONS and key not in OPTIONS:
            raise ConfigError(f"{origin}: {prefix}{name} is not known{nearest(key)}")
        yield from _at(key, value, origin)


def _read(path: Path, name: str) -> Iterator[Setting]:
    try:
        tree: Any = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{name}: can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are both ValueErrors
        raise ConfigError(f"{name}: is not valid TOML: {error}") from error
    if path.name == "pyproject.toml":
        name = f"{name} [tool.ahtransport]"
        tool = tree.get("tool")
        tree = tool.get("ahtransport", {}) if isinstance(tool, Mapping) else {}
        if not isinstance(tree, Mapping):
            raise ConfigError(f"{name}: expected a table, not {shown(tree)}")
    yield from _walk(tree, "", name)


def _variable(variable: str, text: str) -> Iterator[Setting]:
    origin = f"environment {variable}"
    key, *rest = (part.lower() if part.isupper() else snake(part) for part in variable.removeprefix(PREFIX).split("__"))
    while rest and key not in OPTIONS:
        key = f"{key}.{rest.pop(0)}"
    inside = ".".join([key, *rest])
    if key in SECTIONS:
        yield from _at(key, from_text(text)[0], origin)
    elif key not in OPTIONS or (rest and not isinstance(OPTIONS[key].kind, Table)):
        raise ConfigError(f"{origin}: {inside} is not known{nearest(inside)}")
    elif rest:
        value = from_text(text)[0]
        for name in reversed(rest):
            value = {name: value}
        yield Setting(key, value, origin)
    else:
        yield Setting(key, text, origin, raw=True)
