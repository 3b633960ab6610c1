"""Kinds that name something in code: "package.module:Class", or in code the thing itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from ahtransport._config._kinds._kind import Kind
from ahtransport._config._kinds._several import Table

__all__ = ["Named", "Plugins", "TransformerChoice"]

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, kw_only=True)
class Plugins(Table):
    """A table whose values are "package.module:attribute" strings, or objects where it is given in code."""

    expected = 'a table of names and "package.module:attribute" strings'

    def convert(self, value: Any) -> Mapping[str, Any]:
        table = super().convert(value)
        for name, plugin in table.items():
            good = _DOTTED.fullmatch(plugin) if isinstance(plugin, str) else None
            if good is None and (plugin is None or isinstance(plugin, str | bytes | bool | int | float | list | tuple)):
                raise ValueError(f"{name} = {plugin!r} is not one")
        return table

    def merged(self, lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
        return {**lower, **upper}  # a plug-in may be a mapping; half of one is none


@dataclass(frozen=True, kw_only=True)
class Named(Kind):
    """A name, a "package.module:Class" string, or in code a class or an object that has the ``methods``."""

    methods: tuple[str, ...]
    name: ClassVar[str] = "string"
    expected = 'a name or a "package.module:Class" string (in code a class, too)'

    def convert(self, value: Any) -> Any:
        if isinstance(value, str):
            good = bool(value.strip()) and (":" not in value or bool(_DOTTED.fullmatch(value)))
        else:
            good = all(callable(getattr(value, method, None)) for method in self.methods)
        if not good:
            raise ValueError
        return value.strip() if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True)
class TransformerChoice(Kind):
    """A name, a "package.module:Class" string or in code a class; or several at once as a list or a table."""

    name: ClassVar[str] = "string, list or table"
    expected = (
        'a name such as "websockets", a "package.module:Class" string (in code a class), a list or a table of these'
    )

    def convert(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if not value or not all(isinstance(key, str) for key in value):
                raise ValueError
            return MappingProxyType(dict(value))
        if isinstance(value, list | tuple):
            if not value:
                raise ValueError
            return tuple(self._one(item) for item in value)
        return self._one(value)

    @staticmethod
    def _one(value: Any) -> str | type:
        if isinstance(value, type):
            return value
        if not isinstance(value, str) or not value.strip() or (":" in value and not _DOTTED.fullmatch(value)):
            raise ValueError
        return value.strip()
