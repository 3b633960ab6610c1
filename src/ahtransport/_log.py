"""What may reach the log, whatever peers send: one line per record, not too long, not too often.

A record that says something about a peer may carry the peer's own bytes. So control characters, line and paragraph
separators and what changes the direction of text are escaped, a line ends after 512 characters, and of one kind of
record ten pass per second; the next that passes then says how many did not. Tracebacks stay as they are.

What a record says in words it says in fields, too (:func:`fields`), for whoever reads logs by program; they are
attributes of the record, as ``extra`` of :mod:`logging` makes them. The page "Operating" lists them.
"""

from __future__ import annotations

import logging
import time
import unicodedata
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MAX_LINE", "LogFilter", "Losses", "escaped", "extras", "fields", "get_logger", "losses"]

MAX_LINE: Final = 512
MAX_FIELD: Final = 128
MAX_PER_SECOND: Final = 10
_MAX_KINDS: Final = 1000
# Control, format (bidi marks are among them), surrogate, private use, unassigned, line separator, paragraph separator.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: What every record has, or gets when it is formatted; all else came with ``extra``.
_USUAL: Final = {*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName"}


class Losses:
    """What did not reach the log since the process began.

    Attributes:
        suppressed: records that were too many of one kind.
        dropped: lines that whoever takes the log did not take in time, or at all.
    """

    def __init__(self) -> None:
        self.suppressed = 0
        self.dropped = 0


losses: Final = Losses()


def fields(event: str, about: object = None, **more: object) -> dict[str, Any]:
    """Give the fields of a record, for ``extra=``.

    Args:
        event: what has happened, as a word that does not change, such as ``"connection.closed"``.
        about: a connection or a request, which brings its own fields; None: nobody's.
        more: further fields. Text in them may be a peer's: the filter makes it harmless.
    """
    own: Mapping[str, object] = getattr(about, "_log_fields", {})
    return {"event": event, **own, **more}


def extras(record: logging.LogRecord) -> dict[str, Any]:
    """Give the fields of a record, however they got there."""
    return {name: value for name, value in record.__dict__.items() if name not in _USUAL}


def escaped(text: str, limit: int = MAX_LINE) -> str:
    """Give ``text`` on one line of at most ``limit`` characters that does nothing to whoever looks at it."""
    cut = text[: limit + 1]
    if not cut.isprintable():
        cut = "".join(
            char.encode("unicode_escape").decode("ascii") if unicodedata.category(char) in _UNSAFE else char
            for char in cut
        )
    return cut if len(cut) <= limit else cut[: limit - 1] + "…"


class LogFilter(logging.Filter):
    """Lets through what may be logged, made harmless.

    Args:
        per_second: how many records of one kind pass in a second. Records are of one kind when the same line of the
            program wrote them and, where there is an exception, it is of the same type from the same place.
        now: a clock, seconds.
    """

    def __init__(self, per_second: int = MAX_PER_SECOND, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._per_second = per_second
        self._now = now
        self._second = 0
        self._counts: dict[object, int] = {}
        self._suppressed: dict[object, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide on a record, and make its text safe."""
        kind = _kind(record)
        second = int(self._now())
        if second != self._second or len(self._counts) > _MAX_KINDS:
            self._second = second
            self._counts.clear()
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count > self._per_second:
            losses.suppressed += 1
            if kind in self._suppressed or len(self._suppressed) < _MAX_KINDS:
                self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return False
        suppressed = self._suppressed.pop(kind, 0)
        note = f" ({suppressed} more of this kind suppressed)" if suppressed else ""
        record.msg = escaped(_text(record), MAX_LINE - len(note)) + note
        record.args = ()
        for name, value in extras(record).items():
            if isinstance(value, str):
                record.__dict__[name] = escaped(value, MAX_FIELD)
        if suppressed:
            record.__dict__["suppressed"] = suppressed
        return True


def _text(record: logging.LogRecord) -> str:
    """Give what a record says. Something in it may be of the application's making, and fail when it is put into words:
    that must not become a failure of whoever has something to say."""
    try:
        return record.getMessage()
    except Exception as error:
        what = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        kinds = ", ".join(type(one).__name__ for one in record.args or ())
        return f"{what} (of {kinds or 'nothing'}, which can't be put into words: {type(error).__name__})"


def _kind(record: logging.LogRecord) -> object:
    kind: tuple[object, ...] = (record.pathname, record.lineno)
    error = record.exc_info[1] if record.exc_info else None
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        kind += (type(error), at.tb_frame.f_code if at is not None else None)
    return kind


_filter: Final = LogFilter()


def get_logger(name: str = "ahtransport") -> logging.Logger:
    """Give a logger whose records pass the filter."""
    logger = logging.getLogger(name)
    if _filter not in logger.filters:
        logger.addFilter(_filter)
    return logger
