"""The inputs that are kept with the project: a text file per target, ``fuzz/corpus/TARGET.txt``.

A line is an input as Python writes it, ``b"…"``. First come those that once broke the target, which stay for good; then
a few that lead to places of their own, which ``python -m fuzz --keep`` replaces by better ones.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DIRECTORY", "Corpus", "chosen", "read", "write"]

DIRECTORY: Final = Path(__file__).resolve().parent / "corpus"
MOST: Final = 60  # inputs that lead to places of their own
MOST_BYTES: Final = 20_000  # of text for them
_BROKE: Final = "# once broke it"
_LEADS: Final = "# leads to a place of its own"


class Corpus(NamedTuple):
    """What is kept for one target.

    Attributes:
        broke: inputs that once broke it.
        leads: inputs that lead to places of their own.
    """

    broke: tuple[bytes, ...] = ()
    leads: tuple[bytes, ...] = ()


def read(name: str) -> Corpus:
    """Read what is kept for a target; nothing, where there is no file.

    Raises:
        ValueError: a line is no input.
    """
    path = DIRECTORY / f"{name}.txt"
    found: dict[str, list[bytes]] = {_BROKE: [], _LEADS: []}
    section = ""
    for line in path.read_text("ascii").splitlines() if path.exists() else ():
        if line.startswith("#"):
            section = line
        else:
            data = ast.literal_eval(line)
            if type(data) is not bytes or section not in found:
                raise ValueError(f"{path}: {line[:80]}")
            found[section].append(data)
    return Corpus(tuple(found[_BROKE]), tuple(found[_LEADS]))


def write(name: str, corpus: Corpus) -> None:
    """Write what is kept for a target."""
    lines: list[str] = []
    for title, inputs in ((_BROKE, corpus.broke), (_LEADS, corpus.leads)):
        if inputs:
            lines += [title, *map(repr, inputs)]
    DIRECTORY.mkdir(exist_ok=True)
    (DIRECTORY / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), "ascii")


def chosen(inputs: Iterable[bytes], most: int = MOST) -> tuple[bytes, ...]:
    """Choose the shortest inputs, as many as may be kept."""
    kept: list[bytes] = []
    room = MOST_BYTES
    for data in sorted(set(inputs), key=lambda one: (len(one), one)):
        room -= len(repr(data)) + 1
        if room < 0 or len(kept) == most:
            break
        kept.append(data)
    return tuple(kept)
