"""How an option is declared, and the patterns that options of several tables share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ahtransport._config._kinds import Kind

__all__ = ["ORIGIN", "PATH", "TOKEN", "option"]

# An origin as browsers serialise it: scheme and authority, no user, no path. Extensions and embedded web views have
# schemes of their own, with an empty authority in the case of file://.
ORIGIN = r"null|[a-z][a-z0-9+.\-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._~\-]*)(?::[0-9]{1,5})?"
PATH = r"/[^\s?#]*"
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 section 5.6.2


def option(default: Any, kind: Kind, doc: str) -> Any:
    """Declare one option."""
    metadata = {"kind": kind, "default": default, "doc": doc}
    return dataclasses.field(default_factory=lambda: kind.convert(default), metadata=metadata)
