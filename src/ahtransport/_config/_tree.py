"""The tree of options by dotted key, made from the dataclasses, and how names are matched."""

from __future__ import annotations

import dataclasses
import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ahtransport._config._schema import General, Servers

if TYPE_CHECKING:
    from ahtransport._config._kinds import Kind

__all__ = ["FLAT", "OPTIONS", "SECTIONS", "SHORT", "Option", "flat_key", "nearest", "snake"]

# Where a flat name is looked for, in this order; and the sections that have short names of their own as keywords.
FLAT = ("servers.websocket.server", "servers.websocket", "servers.web", "servers.limits", "general")
SHORT = {
    "server": "servers.websocket.server",
    "client": "servers.websocket.client",
    "websocket": "servers.websocket",
    "web": "servers.web",
    "limits": "servers.limits",
}


@dataclass(frozen=True)
class Option:
    """One option: its dotted key, its kind, its default as a user writes it, and what it means."""

    key: str
    kind: Kind
    default: Any
    doc: str


OPTIONS: dict[str, Option] = {}
SECTIONS: dict[str, type] = {}


def _collect(section: type, key: str) -> None:
    SECTIONS[key] = section
    inner = []
    for field in dataclasses.fields(section):
        if "kind" in field.metadata:
            OPTIONS[f"{key}.{field.name}"] = Option(f"{key}.{field.name}", **field.metadata)
        else:
            inner.append(field)
    for field in inner:  # a section's own options come first, as TOML wants them
        assert isinstance(field.default_factory, type)
        _collect(field.default_factory, f"{key}.{field.name}")


_collect(General, "general")
_collect(Servers, "servers")


def snake(name: str) -> str:
    """Turn camelCase into snake_case; what is snake_case already stays."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def flat_key(name: str) -> str | None:
    """Give the dotted key of a flat snake_case name, the first section in :data:`FLAT` that has it; else None."""
    return next((key for key in (f"{section}.{name}" for section in FLAT) if key in OPTIONS or key in SECTIONS), None)


def nearest(dotted: str) -> str:
    """Name what was probably meant by an unknown key, as "; did you mean …?", or nothing.

    A look-alike in the same section comes first, then the same name elsewhere, then a look-alike anywhere.
    """
    known = [*OPTIONS, *SECTIONS]
    names = {key: key.rpartition(".")[2] for key in known}
    section, _, name = dotted.rpartition(".")

    def alike(keys: list[str]) -> list[str]:
        near = difflib.get_close_matches(name, {names[key]: None for key in keys}, 1, 0.7)
        return [key for key in keys if names[key] in near]

    near = (
        alike([key for key in known if key.rpartition(".")[0] == section])
        or [key for key in known if names[key] == name]
        or difflib.get_close_matches(dotted, known, 1, 0.85)
        or alike(known)
    )
    return f"; did you mean {' or '.join(near[:3])}?" if near else ""
