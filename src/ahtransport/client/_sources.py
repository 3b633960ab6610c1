"""The JavaScript sources: where they are read, and how values get into them."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any

__all__ = ["literal", "source", "to_json"]


@functools.cache
def source(name: str) -> str:
    """Give one of the client's own source files, such as ``"primus.js"``. Each is read once.

    Raises:
        FileNotFoundError: there is none: the installation is not complete.
    """
    return (resources.files("ahtransport.client") / "js" / name).read_text(encoding="utf-8")


def to_json(value: Any) -> str:
    """Write a value as JSON in ASCII. Infinity, which JSON lacks, becomes a number that overflows to it.

    Args:
        value: made of strings, numbers, booleans, None, lists, tuples and mappings with strings as keys.

    Raises:
        TypeError: something in it is none of these.
        ValueError: a number is none (NaN), or the value contains itself.
    """
    try:
        return _write(value)
    except RecursionError:
        raise ValueError("it contains itself") from None


def _write(value: Any) -> str:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
        return "{" + ",".join(f"{json.dumps(key)}:{_write(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_write, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        if value != value:
            raise ValueError("NaN is not a value")
        return "1e999" if value > 0 else "-1e999"
    if value is None or isinstance(value, bool | int | float | str):
        return json.dumps(value)
    raise TypeError(f"{value!r} can't be written as JSON")


def literal(text: str) -> str:
    """Write JSON (in ASCII, as :func:`to_json` does) as a JavaScript expression that gives its value, whatever is in
    it: no quote, no ``</script>`` and no line separator ends anything."""
    text = text.replace("\\", "\\\\").replace("'", "\\'")
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return f"JSON.parse('{text}')"
