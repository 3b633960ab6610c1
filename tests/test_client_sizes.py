"""The sizes that the documentation tells are those of the files."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from generated import TRANSFORMERS, build, text

PAGE = Path(__file__).resolve().parents[1] / "docs" / "browser-client.md"
ROWS = {
    row[1]: [int(cell.replace(",", "")) for cell in row[2].split("|")]
    for row in re.finditer(
        r"^\| (`[a-z.]+`|all three) \| ([\d,]+ \| [\d,]+ \| [\d,]+) \|$", PAGE.read_text(), re.MULTILINE
    )
}
#: What a page may have to load, bytes with gzip.
LIMITS = {"`websockets`": 12 * 1024, "all three": 20 * 1024}


def test_the_table_has_every_transformer() -> None:
    assert list(ROWS) == [*(f"`{name}`" for name in TRANSFORMERS), "all three"]


@pytest.mark.parametrize("row", ROWS)
def test_sizes(row: str) -> None:
    files = build(transformer=TRANSFORMERS if row == "all three" else row.strip("`"))
    script, small = text(files).encode(), text(files, ".min.js").encode()
    packed = len(gzip.compress(small, 9, mtime=0))
    assert ROWS[row] == pytest.approx([len(script), len(small), packed], rel=0.05)
    assert packed <= LIMITS.get(row, packed)
