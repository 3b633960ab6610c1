"""docs/acceptance.md says which test tries which item: here the table is held to the tests, and they to the table."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "acceptance.md"

_ITEM = re.compile(r"\b([A-H])(\d+)\b")
_NAME = re.compile(r"(?:[a-h]\d+_(?:to_[a-h]\d+_)?)+")
_PART = re.compile(r"([a-h])(\d+)_(?:to_[a-h](\d+)_)?")


def items_of(name: str) -> set[str]:
    """Give the items that a test's name begins with: ``test_a1_b2_…``, ``test_c1_to_c14_…``."""
    match = _NAME.match(name.removeprefix("test_"))
    if match is None:
        return set()
    return {
        f"{letter.upper()}{number}"
        for letter, first, last in _PART.findall(match[0])
        for number in range(int(first), int(last or first) + 1)
    }


@cache
def by_item() -> dict[str, set[str]]:
    """Give the files that have tests of each item. An item that only a range stands for must be named beside it."""
    files: dict[str, set[str]] = defaultdict(set)
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            single = set(map("".join, _ITEM.findall(node.name.removeprefix("test_").upper().replace("_", " "))))
            for item in items_of(node.name):
                if item in single or _named_beside(path, item):
                    files[item].add(path.name)
    return files


def _named_beside(path: Path, item: str) -> bool:
    """Tell whether the scripts that a test plays have this item."""
    return any(re.search(rf"\b{item}\b", other.read_text("utf-8")) for other in path.parent.glob("c*.py"))


@cache
def rows() -> list[tuple[list[str], list[str]]]:
    """Give the items and the files of each row of the page's tables."""
    found = []
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else [""]
        items = ["".join(item) for item in _ITEM.findall(cells[0])]
        if items and _ITEM.sub("", cells[0]).strip(" ,") == "":
            found.append((items, re.findall(r"`(?:[a-z_]+/)?(test_\w+\.py)`", cells[-1])))
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: "-".join(row[0]))
def test_every_row_of_the_table_has_its_tests(row: tuple[list[str], list[str]]) -> None:
    items, files = row
    for item in items:
        assert by_item()[item], f"no test has {item} in its name"
        assert by_item()[item] & set(files), f"{item} is tested in {by_item()[item]}, and this row says {files}"
    for file in files:  # some say more about it than the tests that have its number
        assert any(TESTS.rglob(file)), f"there is no {file}"


def test_every_test_of_an_item_has_its_row() -> None:
    told: dict[str, set[str]] = defaultdict(set)
    for items, files in rows():
        for item in items:
            told[item] |= set(files)
    untold = {item: files - told[item] for item, files in by_item().items() if files - told[item]}
    assert not untold


def test_the_table_is_read() -> None:
    assert len(rows()) > 80
    assert items_of("test_a1_b2_c") == {"A1", "B2"}
    assert items_of("test_c1_to_c3_x") == {"C1", "C2", "C3"}
    assert items_of("test_attach") == set()
