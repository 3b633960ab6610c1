"""The kinds of value that an option may have: how each is checked and converted.

A kind knows nothing of sources or keys. It raises ValueError with what it expected; the loader adds where it was.
"""

from __future__ import annotations

import datetime
import difflib
import ipaddress
import json
import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

__all__ = [
    "Addresses",
    "Choices",
    "Duration",
    "Flag",
    "Kind",
    "Named",
    "Plugins",
    "Queue",
    "Table",
    "Text",
    "Texts",
    "TransformerChoice",
    "Whole",
    "from_text",
    "spelled",
]

# The units of npm's "ms", which Primus reads its own durations with; seconds each.
_UNITS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
    **dict.fromkeys(("y", "yr", "yrs", "year", "years"), 31557600.0),
}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)\s*", re.ASCII | re.IGNORECASE)
_LONGEST = 1e13  # ms, about 317 years: beyond it is a mistake, and close to what a date can hold
_LONGEST_IN_BROWSERS = 2**31 - 1  # ms: setTimeout fires at once for anything longer
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def spelled(value: Any) -> Any:
    """Give a value as it would stand in a file: text, numbers, booleans, lists and tables only."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value).replace("inf", "Infinity")
    if isinstance(value, datetime.timedelta):
        milliseconds = value / datetime.timedelta(milliseconds=1)
        return int(milliseconds) if milliseconds.is_integer() else milliseconds
    if isinstance(value, Mapping):
        return {str(key): spelled(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [spelled(item) for item in value]
    if isinstance(value, type) or callable(value):
        return f"{getattr(value, '__module__', '?')}:{getattr(value, '__qualname__', type(value).__qualname__)}"
    return f"{type(value).__module__}:{type(value).__qualname__}"


def from_text(raw: str) -> list[Any]:
    """Give what an environment variable may mean: its value as TOML, else as JSON, and always the text itself."""
    try:
        document = tomllib.loads(f"value = {raw}")
        if document.keys() == {"value"}:
            return [document["value"], raw]
    except (ValueError, RecursionError):
        pass
    try:
        return [json.loads(raw), raw]
    except (ValueError, RecursionError):
        return [raw]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of value. Subclasses say in ``name`` what the reference calls it and in ``expected`` what errors do."""

    name: ClassVar[str] = "value"

    @property
    def expected(self) -> str:
        """What a valid value looks like, to follow the word "expected"."""
        return f"a {self.name}"

    def convert(self, value: Any) -> Any:
        """Check a value as a user writes it and give what the typed attribute holds.

        Raises:
            ValueError: it is not one of these; the text, where there is one, is a hint beyond ``expected``.
        """
        raise NotImplementedError

    def readings(self, raw: str) -> list[Any]:
        """Give what an environment variable's text may mean here, the likeliest first."""
        return from_text(raw)


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


@dataclass(frozen=True, kw_only=True)
class Duration(Kind):
    """A time span: a number of milliseconds, a string such as "30 days" or a timedelta. Typed: seconds, float.

    Where ``zero`` says what 0 means, 0 is allowed, and so is false, as in Primus.
    """

    zero: str = ""
    browser: bool = False
    name: ClassVar[str] = "duration"

    @property
    def expected(self) -> str:
        bound = "; 0 allowed" if self.zero else ", more than 0"
        return f'a duration (milliseconds, or a string such as "10s" or "30 days"{bound})'

    def convert(self, value: Any) -> float:
        if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
            scale = _UNITS.get(match[2].lower() or "ms")
            if scale is None:
                near = difflib.get_close_matches(match[2].lower(), _UNITS, 1)
                raise ValueError(
                    f'"{match[2]}" is not a unit of time' + (f'; did you mean "{near[0]}"?' if near else "")
                )
            value = float(match[1]) * scale * 1000
        elif isinstance(value, datetime.timedelta):
            value = value / datetime.timedelta(milliseconds=1)
        elif value is False and self.zero:
            value = 0
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError
        longest = _LONGEST_IN_BROWSERS if self.browser else _LONGEST
        if value > longest:
            raise ValueError(f"at most {longest:.0f} ms" + (", as browsers' timers allow" if self.browser else ""))
        if not value >= 0 or (value == 0 and not self.zero):  # "not >=": NaN ends here, too
            raise ValueError
        return value / 1000


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
    """IP addresses and networks such as "10.0.0.0/8"."""

    what: str = 'IP addresses or networks such as "10.0.0.0/8"'

    def check(self, item: str) -> None:
        ipaddress.ip_network(item, strict=False)  # its ValueError says what is wrong


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


def read_duration(value: Any) -> float:
    """Read one duration outside the configuration's own options; gives seconds.

    Raises:
        ValueError: it is none; the text says what one looks like.
    """
    kind = Duration()
    try:
        return kind.convert(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not {kind.expected}" + (f": {error}" if str(error) else "")) from error
