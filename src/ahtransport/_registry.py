"""Finds transformers and parsers: by the name of an entry point, by "package.module:Class", or given as a class.

The project's own come by entry points like everybody else's, so the core knows none of them by name.
"""

from __future__ import annotations

import difflib
import importlib
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from ahtransport._errors import ConfigError, UnknownTransformer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ahtransport.abc import Parser, Transformer

__all__ = [
    "PARSERS",
    "TRANSFORMERS",
    "Installed",
    "installed_parsers",
    "installed_transformers",
    "load_object",
    "load_parser",
    "load_transformer",
    "same_name",
]

TRANSFORMERS = "ahtransport.transformers"
PARSERS = "ahtransport.parsers"

# In Primus these differ only in the server's library, never on the wire.
_ALIASES = {"ws": "websockets", "websocket": "websockets", "faye": "websockets", "uws": "websockets"}
_OTHER_SPELLINGS = {"engine.io": ("engineio",), "socket.io": ("socketio",)}  # shown only: folding makes them equal
_PRIMUS_KNOWS = ("browserchannel", "engine.io", "socket.io", "sockjs")
_TRANSFORMER_METHODS = ("handle_request", "handle_upgrade", "encode")


@dataclass(frozen=True, slots=True)
class Installed:
    """One entry point that is installed.

    Attributes:
        name: as the configuration names it.
        distribution: the package that brought it, as pip names it.
        version: of that package.
        module: where it is, "package.module:Class".
        aliases: other names for it.
        error: why it can't be used; empty when it can.
    """

    name: str
    distribution: str
    version: str
    module: str
    aliases: tuple[str, ...] = ()
    error: str = ""


def load_transformer(choice: str | type) -> type[Transformer]:
    """Give the transformer's class.

    Args:
        choice: an entry point's name, matched without case and punctuation; a "package.module:Class" string; a class.

    Raises:
        UnknownTransformer: nothing of this name is installed, or it can't be imported; the text says what to do.
        ConfigError: what was found is no transformer, or two packages supply the name.
    """
    if not isinstance(choice, str):
        return _checked_transformer(choice, repr(choice))
    if ":" in choice:
        try:
            found = load_object(choice)
        except ConfigError as error:
            raise UnknownTransformer(choice, _names(TRANSFORMERS), hint=str(error)) from error
        return _checked_transformer(found, choice)
    entry = _find(TRANSFORMERS, choice, _ALIASES)
    if entry is None:
        raise UnknownTransformer(choice, _names(TRANSFORMERS), hint=_hint(choice))
    try:
        found = entry.load()
    except Exception as error:
        others = [name for name in _names(TRANSFORMERS) if name != entry.name]
        package, why = _blame(entry, error)
        raise UnknownTransformer(entry.name, others, package, why) from error
    return _checked_transformer(found, f"{entry.name} ({entry.value})")


def same_name(one: str, other: str) -> bool:
    """Tell whether two names are the same, as transformers' are matched: without case and punctuation."""
    return _fold(one) == _fold(other)


def load_parser(choice: Any) -> Parser:
    """Give a parser, ready to use.

    Args:
        choice: an entry point's name, matched without case; a "package.module:Class" string; a class that is called
            without arguments; or an object that has ``encode`` and ``decode`` already.

    Raises:
        ConfigError: there is none of this name, it can't be imported, or it is no parser.
    """
    found, where = choice, repr(choice)
    if isinstance(choice, str) and ":" in choice:
        found, where = load_object(choice), choice
    elif isinstance(choice, str):
        entry = _find(PARSERS, choice, {})
        if entry is None:
            names = _names(PARSERS)
            folded = {_fold(name): name for name in names}
            near = difflib.get_close_matches(_fold(choice), folded, 1)
            hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
            raise ConfigError(f"unknown parser {choice!r}; installed are: {', '.join(names) or 'none'}{hint}")
        try:
            found, where = entry.load(), f"{entry.name} ({entry.value})"
        except Exception as error:
            package, why = _blame(entry, error)
            install = f"; to add it: python -m pip install {package}" if package else ""
            raise ConfigError(f"the parser {entry.name!r} can't be used: {why}{install}") from error
    missing = [method for method in ("encode", "decode") if not callable(getattr(found, method, None))]
    if missing:
        raise ConfigError(f"{where} is not a parser: it has no {' and no '.join(missing)}")
    return cast("Parser", found() if isinstance(found, type) else found)


def load_object(dotted: str) -> Any:
    """Import what a "package.module:attribute" string names.

    Raises:
        ConfigError: the module can't be imported or has no such attribute.
    """
    module_name, _, attribute = dotted.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(f"{dotted}: can't import {module_name}: {_said(error)}") from error
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            near = difflib.get_close_matches(name, dir(found), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{dotted}: {module_name} has no {attribute!r}{hint}") from None
    return found


def installed_transformers() -> list[Installed]:
    """List the transformers that are installed, by name; each is imported to see whether it can be."""
    return [_inspect(entry, _checked_transformer) for entry in _entries(TRANSFORMERS)]


def installed_parsers() -> list[Installed]:
    """List the parsers that are installed, by name."""
    return [_inspect(entry, lambda found, _: load_parser(found)) for entry in _entries(PARSERS)]


# --- entry points ------------------------------------------------------------------------------------------------


def _entries(group: str) -> list[EntryPoint]:
    # The same entry twice (a package that is on the path twice) is one.
    unique = {(entry.name, entry.value): entry for entry in reversed(list(entry_points(group=group)))}
    return sorted(unique.values(), key=lambda entry: (entry.name.lower(), entry.value))


def _names(group: str) -> list[str]:
    return list(dict.fromkeys(entry.name for entry in _entries(group)))


def _fold(name: str) -> str:
    return re.sub(r"[\s._-]+", "", name.lower())


def _find(group: str, name: str, aliases: dict[str, str]) -> EntryPoint | None:
    """Find an entry point; its own name beats an alias.

    Raises:
        ConfigError: several have it.
    """
    wanted = _fold(name)
    entries = _entries(group)
    for candidate in (wanted, aliases.get(wanted)):
        found = [entry for entry in entries if _fold(entry.name) == candidate]
        if len(found) > 1:
            where = " and ".join(f'"{entry.value}" of {_distribution(entry)[0]}' for entry in found)
            raise ConfigError(f"{name!r} is supplied by {where}; name one of them by its module and class")
        if found:
            return found[0]
    return None


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    dist = entry.dist
    return (dist.name, dist.version) if dist is not None else ("?", "?")


def _inspect(entry: EntryPoint, check: Any) -> Installed:
    name, version = _distribution(entry)
    error = ""
    try:
        check(entry.load(), entry.value)
    except ConfigError as problem:
        error = str(problem)
    except Exception as problem:
        package, error = _blame(entry, problem)
        if package:
            error += f"; python -m pip install {package}"
    aliases: tuple[str, ...] = ()
    if entry.group == TRANSFORMERS:
        aliases = (*_OTHER_SPELLINGS.get(entry.name, ()), *(a for a, name in _ALIASES.items() if name == entry.name))
    return Installed(entry.name, name, version, entry.value, aliases, error)


# --- saying what is wrong ----------------------------------------------------------------------------------------


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _hint(name: str) -> str:
    """Say what may help with a name that nobody supplies."""
    known = next((one for one in _PRIMUS_KNOWS if _fold(one) == _fold(name)), None)
    if known:
        return f"Primus has a transformer {known!r}, but no installed package supplies it for ahtransport"
    names = {_fold(one): one for one in [*_ALIASES, *_names(TRANSFORMERS)]}
    near = difflib.get_close_matches(_fold(name), names, 1)
    return f"did you mean {names[near[0]]!r}?" if near else ""


def _blame(entry: EntryPoint, error: Exception) -> tuple[str | None, str]:
    """Say what to install so that an entry point can be imported, if that is what it needs, and what went wrong."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None, f"{entry.value} of {_distribution(entry)[0]} fails to import: {_said(error)}"
    missing = error.name.partition(".")[0]
    why = f"{entry.value} needs the module {error.name!r}, which is not installed"
    if missing == entry.module.partition(".")[0]:
        return None, f"{entry.value} of {_distribution(entry)[0]} is not there: no module {error.name!r}"
    if entry.extras:
        return f'"{_distribution(entry)[0]}[{",".join(entry.extras)}]"', why
    return _requirement(missing, (entry.dist.requires or ()) if entry.dist is not None else ()), why


def _requirement(module: str, requires: Iterable[str]) -> str:
    """Give the requirement that most likely brings a module (``engineio`` is in ``python-engineio``), else its name."""
    names = [match[0] for line in requires if (match := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line))]
    exact = [name for name in names if _fold(name) in (_fold(module), f"python{_fold(module)}", f"py{_fold(module)}")]
    return (exact or [name for name in names if _fold(module) in _fold(name)] or [module])[0]


def _checked_transformer(found: Any, where: str) -> type[Transformer]:
    """Check that something looks like a transformer's class.

    Raises:
        ConfigError: it does not.
    """
    if not isinstance(found, type):
        raise ConfigError(f"{where} is not a transformer: expected a class, not {type(found).__name__}")
    missing = [method for method in _TRANSFORMER_METHODS if not callable(getattr(found, method, None))]
    if not isinstance(getattr(found, "name", None), str):
        missing.insert(0, "name")
    if missing:
        raise ConfigError(f"{where} is not a transformer: it has no {' and no '.join(missing)}")
    return cast("type[Transformer]", found)
