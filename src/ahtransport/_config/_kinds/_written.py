"""Values as they are written: in a file, and in an environment variable."""

from __future__ import annotations

import datetime
import json
import math
import os
import tomllib
from collections.abc import Mapping
from typing import Any

__all__ = ["from_text", "spelled"]


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
