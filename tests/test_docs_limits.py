"""The page "Security and limits": it names every option that is a limit, with the default that it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ahtransport._config import OPTIONS
from ahtransport._config._kinds import Duration, Whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ahtransport._config._tree import Option

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "security.md").read_text(encoding="utf-8")
#: Pages to which it may leave what is off unless set.
OTHERS = [path.read_text(encoding="utf-8") for name in ("limits", "deploying", "operating")
          if (path := DOCS / f"{name}.md").exists()]  # fmt: skip
#: Numbers and durations that limit nobody.
NO_LIMITS = {
    "general.blocking_warning": "only a warning",
    "servers.websocket.server.compression_threshold": "what is worth it",
    "servers.websocket.server.max_age": "for browsers",
    "servers.websocket.server.ping_interval": "a heartbeat",
    "servers.websocket.shutdown_delay": "a pause at the end",
    "servers.web.padding": "looks",
    "servers.web.port": "a place",
}
UNITS = {"bytes": {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}, "time": {"h": 3_600_000, "min": 60_000, "s": 1000}}


def limits() -> list[Option]:
    """Every option that has a number or a duration, and is for the server."""
    return [
        option
        for key, option in OPTIONS.items()
        if isinstance(option.kind, Duration | Whole)
        and key not in NO_LIMITS
        and not key.startswith("servers.websocket.client.")
    ]


def written(option: Option) -> str:
    """How the page writes its default."""
    value = option.default
    assert isinstance(value, int), option.key
    kind = "time" if isinstance(option.kind, Duration) else option.kind.unit if isinstance(option.kind, Whole) else ""
    for unit, size in UNITS.get(kind, {}).items():
        if value and value % size == 0:
            return f"{value // size:,} {unit}"
    return f"{value:,}" + {"time": " ms", "bytes": " bytes"}.get(kind, "")


def cells(page: str) -> Iterator[list[str]]:
    """Each row of its tables."""
    for line in page.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.mark.parametrize("option", limits(), ids=lambda option: option.key)
def test_every_limit_is_named_with_its_default(option: Option) -> None:
    name = f"`{option.key.rpartition('.')[2]}`"
    if not option.default and any(name in page for page in (PAGE, *OTHERS)):
        return  # it is off
    rows = [row for row in cells(PAGE) if name in row[0] or name in row[1]]
    assert rows, (
        f"docs/security.md does not name {option.key}. If it is a limit, give it a row with {name} and its default, "
        f"{written(option)}; if not, enter it in NO_LIMITS here."
    )
    amount = re.compile(rf"(?<![\d,.]){re.escape(written(option))}(?![\d,.\w])")
    assert any(amount.search(" ".join(row[:2])) for row in rows), f"the default of {option.key} is {written(option)}"


def test_what_is_written_of_a_default() -> None:
    said = {key: written(OPTIONS[f"servers.{key}"]) for key in ("web.max_body", "web.keep_alive", "web.max_headers")}
    assert said == {"web.max_body": "10 MiB", "web.keep_alive": "5 s", "web.max_headers": "100"}
    assert written(OPTIONS["servers.websocket.server.max_backlog_messages"]) == "1,024"
    assert written(OPTIONS["servers.web.fingerprint.settings.expires"]) == "1 h"


def test_rows_say_what_happens_beyond() -> None:
    (table,) = re.findall(r"^\| what \| limit \| over it \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    rows = list(cells(table))
    assert len(rows) > 30
    assert all(len(row) == 3 and all(row) for row in rows)
