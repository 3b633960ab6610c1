"""Finds the server that ``serve`` and ``config`` are told of: "app.py:server" or "package.module:server"."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ahtransport import AhTransportError, Server
from ahtransport._config import CONFIG_VARIABLE

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["find_server", "split_target", "watched"]

_OURS = str(Path(__file__).parent)


def split_target(target: str) -> tuple[str, str]:
    """Split "module_or_file:attribute"; the attribute is ``server`` unless it is given."""
    if match := re.fullmatch(r"(?s)(.+):([^\W\d]\w*(?:\.[^\W\d]\w*)*)", target):
        return match[1], match[2]
    return target, "server"


def watched(target: str) -> list[Path]:
    """Give the directories whose changes matter: the working one, and the application's where it lies outside."""
    here = Path.cwd()
    where, _ = split_target(target)
    own = Path(where).resolve().parent
    return [here] if not _is_file(where) or own.is_relative_to(here) else [here, own]


def find_server(target: str, config: str | None = None) -> Server:
    """Import an application and give its server.

    Args:
        target: "app.py:server", "directory/app.py" or "package.module:attribute".
        config: a configuration file, instead of the one in the working directory.

    Raises:
        click.ClickException: there is no such file, module or attribute, it is no server, it can't be imported, or it
            chooses its own configuration although ``config`` was given. The text is for the user.
    """
    where, attribute = split_target(target)
    if config is not None:
        os.environ[CONFIG_VARIABLE] = config
    found: Any = _import(where)
    names = vars(found)
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise click.ClickException(f"{where} has no {attribute!r}{_meant(attribute, names)}") from None
    if not isinstance(found, Server):
        raise click.ClickException(
            f"{where}:{attribute} is not a Server but {_article(type(found).__name__)}{_meant(attribute, names)}"
        )
    if config is not None and found.config.file != config:
        raise click.ClickException(f"{where}:{attribute} chooses its own configuration, so --config can't change it")
    return found


def _is_file(where: str) -> bool:
    return where.endswith(".py") or os.sep in where or "/" in where


def _import(where: str) -> ModuleType:
    """Import a module or a file.

    Raises:
        click.ClickException: it is not there, or it raises; then with the application's part of the traceback.
    """
    try:
        return _import_file(where) if _is_file(where) else _import_module(where)
    except click.ClickException:
        raise
    except AhTransportError as error:  # what it says is enough
        raise click.ClickException(f"{where}: {error}") from error
    except Exception as error:
        raise click.ClickException(f"{where} can't be imported:\n\n{_traceback(error)}") from error
    except SystemExit as error:
        raise click.ClickException(
            f"{where} ended the program while it was imported (exit code {error.code})"
        ) from error


def _import_module(name: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:  # the script, unlike python -m, does not have it there
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):  # it is there, and misses another
            raise
        raise click.ClickException(f"there is no module {name!r}, here or installed") from error


def _import_file(where: str) -> ModuleType:
    path = Path(where).resolve()
    if path.is_dir():
        raise click.ClickException(f"{where} is a directory; name a file in it, such as {Path(where) / 'app.py'}")
    if not path.is_file():
        beside = [one.name for one in path.parent.glob("*.py")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, 1)
        hint = f"; did you mean {Path(where).with_name(near[0])}?" if near else ""
        raise click.ClickException(f"there is no file {where}{hint}")
    parts, root = [path.stem], path.parent
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    if len(parts) > 1:  # part of a package: its relative imports have to work
        sys.path.insert(0, str(root))
        return importlib.import_module(".".join(parts))
    # By its location, for another module may have its name: one of the standard library, say.
    name = re.sub(r"\W", "_", path.stem)
    if name in sys.modules or ((known := importlib.util.find_spec(name)) and known.origin != str(path)):
        name += "_application"
    sys.path.insert(0, str(root))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise click.ClickException(f"{where} is not a Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _meant(attribute: str, names: dict[str, Any]) -> str:
    """Name the servers that a module does have, the likeliest first."""
    servers = [name for name, value in names.items() if isinstance(value, Server)]
    near = difflib.get_close_matches(attribute, servers, 1) or servers
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _article(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _traceback(error: Exception) -> str:
    """Format a traceback from the application's first line on, without the import system's and our own."""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(("<frozen importlib", _OURS)) and file != importlib.__file__:
            break
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()
