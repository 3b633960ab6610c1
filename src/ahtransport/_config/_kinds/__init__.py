"""The kinds of value that an option may have: how each is checked and converted.

A kind knows nothing of sources or keys. It raises ValueError with what it expected; the loader adds where it was.
"""

from __future__ import annotations

from ahtransport._config._kinds._code import Named, Plugins, TransformerChoice
from ahtransport._config._kinds._duration import Duration, read_duration
from ahtransport._config._kinds._kind import Kind
from ahtransport._config._kinds._several import Addresses, Origins, Table, Texts, overlaid
from ahtransport._config._kinds._single import Choices, Flag, Queue, Text, Whole
from ahtransport._config._kinds._written import from_text, spelled

__all__ = [
    "Addresses",
    "Choices",
    "Duration",
    "Flag",
    "Kind",
    "Named",
    "Origins",
    "Plugins",
    "Queue",
    "Table",
    "Text",
    "Texts",
    "TransformerChoice",
    "Whole",
    "from_text",
    "overlaid",
    "read_duration",
    "spelled",
]
