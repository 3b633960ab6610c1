"""Spans of time."""

from __future__ import annotations

import datetime
import difflib
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from ahtransport._config._kinds._kind import Kind

__all__ = ["Duration", "read_duration"]

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
