"""Kinds of several values: lists and tables."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from ahtransport._config._kinds._kind import Kind
from ahtransport._http import UNIX

__all__ = ["Addresses", "Origins", "Table", "Texts", "overlaid"]


@dataclass(frozen=True, kw_only=True)
class Texts(Kind):
    """A list of strings; a single string stands for a list of one. Typed: a tuple.

    Args:
        commas: a string is split at its commas, as Primus does.
        pattern, what: as for :class:`Text`, for each item.
        none: false stands for the empty list.
        keys: a table stands for the list of its keys.
        fold: applied to each item first, such as ``str.upper``.
    """

    commas: bool = False
    pattern: str = ""
    what: str = "strings"
    none: bool = False
    keys: bool = False
    fold: Callable[[str], str] | None = None
    name: ClassVar[str] = "list of strings"

    @property
    def expected(self) -> str:
        return f"a list of {self.what}" + (", or false" if self.none else "")

    def convert(self, value: Any) -> tuple[str, ...]:
        items: Sequence[Any]
        if isinstance(value, str):
            items = [item for part in value.split(",") if (item := part.strip())] if self.commas else [value]
        elif isinstance(value, os.PathLike):
            items = [value]
        elif value is False and self.none:
            items = []
        elif isinstance(value, list | tuple) or (self.keys and isinstance(value, Mapping)):
            items = list(value)
        else:
            raise ValueError
        items = [os.fspath(item) if isinstance(item, os.PathLike) else item for item in items]
        for item in items:
            if not isinstance(item, str):
                raise ValueError(f"{item!r} is not a string")
        folded = [self.fold(item) for item in items] if self.fold else items
        for item in folded:
            self.check(item)
        return tuple(dict.fromkeys(folded))

    def check(self, item: str) -> None:
        """Check one item.

        Raises:
            ValueError: it won't do.
        """
        if self.pattern and not re.fullmatch(self.pattern, item):
            near = difflib.get_close_matches(item, self.pattern.split("|"), 1)  # where the pattern is a list of words
            raise ValueError(f"{item!r} is not one" + (f'; did you mean "{near[0]}"?' if near else ""))


@dataclass(frozen=True, kw_only=True)
class Addresses(Texts):
    """IP addresses and networks such as "10.0.0.0/8", and "unix" for whoever comes by a Unix socket."""

    what: str = 'IP addresses or networks such as "10.0.0.0/8", or "unix"'

    def check(self, item: str) -> None:
        if item != UNIX:
            ipaddress.ip_network(item, strict=False)  # its ValueError says what is wrong


@dataclass(frozen=True, kw_only=True)
class Origins(Texts):
    """Web origins."""

    def check(self, item: str) -> None:
        if "*" in item and item != "*":
            raise ValueError(f'{item!r} is not one: there are no wildcards; list each origin, or "*" for all of them')
        super().check(item)


def overlaid(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Put a table over another: key by key, tables in them likewise; everything else is replaced."""
    result = dict(lower)
    for key, value in upper.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = overlaid(before, value)
        result[key] = value
    return result


@dataclass(frozen=True, kw_only=True)
class Table(Kind):
    """A free-form table; its keys stay as they are written. Typed: a read-only mapping."""

    name: ClassVar[str] = "table"

    def convert(self, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} is not a string")
        return MappingProxyType(dict(value))

    def merged(self, lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
        """Put one source's table over another's."""
        return overlaid(lower, upper)
