"""Values as JavaScript would write or weigh them, where the wire format depends on it."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["UNDEFINED", "shortened", "text_of", "truthy"]


class _Undefined:
    """What a key that is not there reads as."""

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Any = _Undefined()


def truthy(value: Any) -> bool:
    """Tell whether JavaScript takes ``value`` for true: empty arrays and objects are."""
    if value is UNDEFINED:
        return False
    if isinstance(value, float) and math.isnan(value):
        return False
    return isinstance(value, (list, dict)) or bool(value)


def text_of(value: Any) -> str:
    """Write a JSON value as a JavaScript template string would."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    if isinstance(value, dict):
        return "[object Object]"
    if isinstance(value, (list, tuple)):
        # One level only: deeper ones would let a small message cost a long time.
        return ",".join(
            "" if one is None else text_of(one) if not isinstance(one, (list, tuple)) else "…" for one in value
        )
    return str(value)


def shortened(text: str, limit: int = 255) -> str:
    """Cut what an error repeats of a request, so that no reply is long because the request was."""
    return text if len(text) <= limit else text[:limit] + "…"
