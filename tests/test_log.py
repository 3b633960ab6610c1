"""What reaches the log: ACCEPTANCE G12 and F14."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest

from ahtransport._log import LogFilter, escaped, get_logger

SOURCES = Path(__file__).resolve().parents[1] / "src"
LOGGERS = {"_log", "_access", "logger"}


def record(text: str, *args: object, line: int = 1, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("ahtransport", logging.INFO, "file.py", line, text, args, info)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain: ünïcode \U0001f600 日本", "plain: ünïcode \U0001f600 日本"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x1b[31mred\x1b[0m\x07", r"\x1b[31mred\x1b[0m\x07"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("\ud800", r"\ud800"),
        ("\0", r"\x00"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
    ],
)
def test_g12_what_could_do_harm_is_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected
    entry = record("%s!", text)
    assert LogFilter().filter(entry)
    assert entry.getMessage() == expected + "!"


@pytest.mark.parametrize("size", [512, 513, 1_000_000])
@pytest.mark.parametrize("char", ["x", "\n", "\U0001f600"])
def test_g12_a_line_ends(char: str, size: int) -> None:
    entry = record("%s", char * size)
    assert LogFilter().filter(entry)
    assert len(entry.getMessage()) == 512
    assert entry.getMessage().endswith("…") == (size > 512 or char == "\n")


def test_f14_of_each_kind_ten_pass_in_a_second() -> None:
    clock = 5.0
    limiter = LogFilter(now=lambda: clock)
    first = [limiter.filter(record("number %d", number)) for number in range(100)]
    assert first == [True] * 10 + [False] * 90
    assert limiter.filter(record("another line", line=2))
    clock = 6.0
    entry = record("number %d", 100)
    assert limiter.filter(entry)
    assert entry.getMessage() == "number 100 (90 more of this kind suppressed)"
    entry = record("x" * 1000)
    assert limiter.filter(entry)
    assert len(entry.getMessage()) == 512


def test_f14_exceptions_are_told_apart_by_type_and_place() -> None:
    limiter = LogFilter(per_second=1, now=lambda: 1.0)
    group = raised(ExceptionGroup("two", [raised(ValueError("a")), raised(KeyError("b"))]))
    for error in (raised(ValueError("a")), raised(KeyError("a")), ValueError("never raised"), group):
        # The group counts as its first exception, which is of the first kind.
        assert limiter.filter(record("failed", error=error)) == (error is not group)
    assert not limiter.filter(record("failed", error=raised(ValueError("another"))))


def test_f14_there_are_only_so_many_kinds() -> None:
    limiter = LogFilter(per_second=1, now=lambda: 1.0)
    for line in range(5000):
        limiter.filter(record("text", line=line))
        limiter.filter(record("text", line=line))
    assert len(limiter._counts) <= 1001
    assert len(limiter._suppressed) <= 1000


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


def test_what_can_not_be_put_into_words() -> None:
    """It is said what that was: who writes to the log must not fail because of what there is to say."""
    entry = record("%s sent %.200s", "a client", Speechless())
    assert LogFilter().filter(entry)
    text = "%s sent %.200s (of str, Speechless, which can't be put into words: RuntimeError)"
    assert entry.getMessage() == text
    entry = record(Speechless())  # type: ignore[arg-type]
    assert LogFilter().filter(entry)
    assert entry.getMessage() == "Speechless (of nothing, which can't be put into words: RuntimeError)"


def test_loggers_are_filtered_once(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("ahtransport", "ahtransport.test", "ahtransport.test"):
        logger = get_logger(name)
        assert sum(isinstance(one, LogFilter) for one in logger.filters) == 1
    with caplog.at_level(logging.INFO, "ahtransport"):
        logger.info("a%s", "\nb")
    assert caplog.messages == [r"a\nb"]


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.relative_to(SOURCES).as_posix())
def test_every_line_says_in_a_word_what_has_happened(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in LOGGERS
            and node.func.attr in {"info", "warning", "error", "exception"}
        ):
            assert "extra" in {keyword.arg for keyword in node.keywords}, f"line {node.lineno}"
