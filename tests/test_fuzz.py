"""The fuzz targets, each for a moment: with what hypothesis makes of their seeds, and with what once broke them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fuzz import kept  # noqa: E402
from fuzz.core import pieces  # noqa: E402
from fuzz.targets import TARGETS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuzz.core import Target

NAMES = sorted(TARGETS)
TOKENS = (b"\0", b"\xff", b"\r\n", b"\n", b" ", b",", b";", b":", b"[", b"]", b"{", b"}", b'"', b"\\", b"0", b"9" * 20,
          b"-1", b"=", b"&", b"%", b"/", b"\xc3\xa9", b"\xed\xa0\x80", b"\x80", b"\x81\x80", b"x" * 130)  # fmt: skip


def mutated(seeds: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Give seeds with a few cuts, repetitions and insertions, and several of them after one another."""
    edit = st.tuples(st.integers(0, 2**16), st.integers(0, 12), st.sampled_from(TOKENS) | st.binary(max_size=4))

    def apply(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
        for where, length, put in edits:
            at = where % (len(seed) + 1)
            seed = seed[:at] + put + seed[at + length :]
        return seed

    one = st.builds(apply, st.sampled_from(seeds), st.lists(edit, max_size=4))
    return st.one_of(one, st.lists(one, max_size=3).map(b"".join), st.binary(max_size=80))


def driven(target: Target) -> Callable[[], None]:
    """Make hypothesis drive a target."""
    # For a server in memory that is a second or so, and for a codec less.
    chosen = settings(
        max_examples=60 if target.slow else 300,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )

    def run(data: bytes) -> None:
        target.run(data)

    return chosen(given(mutated(target.seeds))(example(b"")(run)))


@pytest.mark.parametrize("name", NAMES)
def test_b18_d14_what_is_made_of_the_seeds(name: str) -> None:
    driven(TARGETS[name])()


@pytest.mark.parametrize("name", NAMES)
def test_b18_d14_seeds_and_what_once_broke_something(name: str) -> None:
    target = TARGETS[name]
    inputs = kept.read(name)
    assert len(inputs.leads) > 0, "python -m fuzz --seconds 30 TARGET, then --keep TARGET"
    for data in (*target.seeds, *inputs.broke, *inputs.leads):
        target.run(data)


def test_every_corpus_has_its_target_and_is_small() -> None:
    assert {path.name for path in kept.DIRECTORY.glob("*")} == {f"{name}.txt" for name in TARGETS}
    for name in NAMES:
        leads = kept.read(name).leads
        assert len(leads) <= kept.MOST
        assert sum(len(repr(data)) + 1 for data in leads) <= kept.MOST_BYTES


def test_a_corpus_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "DIRECTORY", tmp_path)
    assert kept.read("x") == kept.Corpus()
    some = kept.Corpus((b"\n#\r", bytes(range(256))), (b"", b"'\""))
    kept.write("x", some)
    assert kept.read("x") == some
    assert kept.chosen([b"bb", b"a", b"a", b"ccc"], 2) == (b"a", b"bb")
    assert kept.chosen([b"a", b"b" * kept.MOST_BYTES]) == (b"a",)
    for wrong in ("b'x'", "# once broke it\n'x'", "# once broke it\n[]"):
        (tmp_path / "x.txt").write_text(wrong)
        with pytest.raises(ValueError, match="txt"):
            kept.read("x")


def test_pieces_are_the_whole() -> None:
    for seed in range(256):
        for data in (b"", b"a", b"hello"):
            assert b"".join(pieces(data, seed)) == data


def test_a_target_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that was there would be found: here, nobody looks how deep things are nested."""
    monkeypatch.setattr("ahtransport._parsers._is_deeper", lambda data, limit: False)

    def again_and_again() -> None:  # chance finds it most times
        for _ in range(20):
            driven(TARGETS["json_parser"])()

    with pytest.raises(AssertionError):
        again_and_again()
