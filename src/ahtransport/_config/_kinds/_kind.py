"""What every kind of value has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ahtransport._config._kinds._written import from_text

__all__ = ["Kind"]


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
