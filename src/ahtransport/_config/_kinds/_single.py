"""Kinds of a single value: text, a word, true or false, a number."""

from __future__ import annotations

import difflib
import math
import os
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from ahtransport._config._kinds._kind import Kind

__all__ = ["Choices", "Flag", "Queue", "Text", "Whole"]


@dataclass(frozen=True, kw_only=True)
class Text(Kind):
    """A string; with ``pattern`` it must match it whole, and ``what`` says so in words."""

    pattern: str = ""
    what: str = "a string"
    path: bool = False
    strip: str = ""
    none: bool = False  # whether false stands for the empty string
    name: ClassVar[str] = "string"

    @property
    def expected(self) -> str:
        return self.what + (", or false" if self.none else "")

    def convert(self, value: Any) -> str:
        if self.none and (value is False or value == ""):
            return ""
        if self.path and isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, str) or (self.pattern and not re.fullmatch(self.pattern, value)):
            raise ValueError
        return (value.rstrip(self.strip) or value[:1]) if self.strip else value


@dataclass(frozen=True, kw_only=True)
class Choices(Kind):
    """One of a few words."""

    choices: tuple[str, ...]
    name: ClassVar[str] = "string"

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(f'"{choice}"' for choice in self.choices)

    def convert(self, value: Any) -> str:
        if isinstance(value, str) and value in self.choices:
            return value
        near = difflib.get_close_matches(str(value).lower(), self.choices, 1)
        raise ValueError(f'did you mean "{near[0]}"?' if near else "")


@dataclass(frozen=True, kw_only=True)
class Flag(Kind):
    """True or false; in the environment 1 and 0, in any case, too."""

    name: ClassVar[str] = "boolean"
    expected = "true or false"

    def convert(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    def readings(self, raw: str) -> list[Any]:
        known = {"true": True, "1": True, "false": False, "0": False}
        return [known.get(raw.strip().lower(), raw)]


@dataclass(frozen=True, kw_only=True)
class Whole(Kind):
    """A whole number between two bounds, both included; where ``zero`` says what 0 means, 0 is allowed, too."""

    minimum: int = 0
    maximum: int = 2**53 - 1
    unit: str = ""
    zero: str = ""
    name: ClassVar[str] = "integer"

    @property
    def expected(self) -> str:
        unit = f" ({self.unit})" if self.unit else ""
        if self.zero and self.minimum:
            return f"a whole number of at least {self.minimum}{unit}, or 0: {self.zero}"
        if self.maximum < 2**53 - 1:
            return f"a whole number from {self.minimum} to {self.maximum}{unit}"
        return f"a whole number of at least {self.minimum}{unit}"

    def convert(self, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError
        if not self.minimum <= value <= self.maximum and not (self.zero and value == 0):
            raise ValueError
        return value


@dataclass(frozen=True, kw_only=True)
class Queue(Kind):
    """A whole number or "Infinity"; the typed value is an int or ``math.inf``."""

    name: ClassVar[str] = "integer or Infinity"
    expected = 'a whole number of at least 0, or "Infinity"'

    def convert(self, value: Any) -> int | float:
        if value == "Infinity" or (isinstance(value, float) and value == math.inf):
            return math.inf
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
            raise ValueError
        return value
