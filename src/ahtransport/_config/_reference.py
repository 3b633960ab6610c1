"""The options written down: as a reference in Markdown, as a commented file, as TOML."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from ahtransport._config._kinds import Choices, Duration, Whole
from ahtransport._config._tree import OPTIONS, SECTIONS, Option

__all__ = ["reference_markdown", "section_markdown", "template_toml", "to_toml"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(value: Any) -> str:
    """Write one value as TOML, on one line.

    Args:
        value: a string, number, boolean, list or mapping of these.
    """
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {to_toml(item)}" for name, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml(item) for item in value)}]"
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else to_toml(name)


def _sections() -> Iterable[tuple[str, str, list[Option]]]:
    """Give each section that has options of its own: key, meaning, options."""
    for key, section in SECTIONS.items():
        own = [option for name, option in OPTIONS.items() if name.rpartition(".")[0] == key]
        if own:
            yield key, " ".join(inspect.getdoc(section).split()), own  # type: ignore[union-attr]


def _bounds(option: Option) -> str:
    """Say what the kind alone does not: unit, bounds, choices, what 0 means."""
    kind = option.kind
    if isinstance(kind, Duration):
        return f"0 = {kind.zero}" if kind.zero else "more than 0"
    if isinstance(kind, Whole):
        upper = f" to {kind.maximum}" if kind.maximum < 2**53 - 1 else " or more"
        zero = f"; 0 = {kind.zero}" if kind.zero else ""
        return f"{kind.minimum}{upper}" + (f", {kind.unit}" if kind.unit else "") + zero
    if isinstance(kind, Choices):
        return " | ".join(f'"{choice}"' for choice in kind.choices)
    return ""


def reference_markdown() -> str:
    """Give the reference of all options in Markdown: a heading and a table for each section."""
    lines = [
        'A duration is a number of milliseconds or a string such as `"10s"`, `"1.5 hours"` or `"30 days"`; in Python '
        "it may be a `datetime.timedelta`, and the typed attribute is in seconds. camelCase spellings are accepted.",
        "",
    ]
    for key, meaning, options in _sections():
        lines += [f"## `[{key}]`", "", meaning, "", *_table(options), ""]
    return "\n".join(lines)


def section_markdown(section: str) -> str:
    """Give the table of one section's options in Markdown.

    Raises:
        KeyError: there is no such section, or it has no options of its own.
    """
    return "\n".join([*_table({key: options for key, _, options in _sections()}[section]), ""])


def _table(options: Iterable[Option]) -> Iterable[str]:
    yield from ("| option | default | type | meaning |", "|---|---|---|---|")
    for option in options:
        name = option.key.rpartition(".")[2]
        bounds = _bounds(option)
        kind = option.kind.name + (f" ({bounds})" if bounds else "")
        cells = (f"`{name}`", f"`{to_toml(option.default)}`", kind, option.doc)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def template_toml(values: Mapping[str, Any] | None = None) -> str:
    """Give a file with every option, its meaning and its default, all commented out but for ``values``.

    Args:
        values: dotted keys and what to set them to.
    """
    values = values or {}
    lines = ["# Every option of ahtransport with its default. Take away the # of what you want to change.", ""]
    for key, meaning, options in _sections():
        lines += [*_comment(meaning), f"[{key}]"]
        for option in options:
            name = option.key.rpartition(".")[2]
            bounds = _bounds(option)
            doc = option.doc + (f" ({bounds})" if bounds else "")
            lines += _comment(doc)
            if option.key in values:
                lines.append(f"{name} = {to_toml(values[option.key])}")
            else:
                lines.append(f"# {name} = {to_toml(option.default)}")
        lines.append("")
    return "\n".join(lines)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="## ", subsequent_indent="## ", break_on_hyphens=False)
