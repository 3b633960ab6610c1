"""Where the log goes when the server is its own program: to stderr, through a bounded queue, from a thread.

Writing to stderr blocks when it is a pipe that nobody empties, and an event loop that waits for it serves nobody. So a
thread writes; what it can't get rid of in time is dropped and counted, and the log says how much when it goes on. It
is the one thread in here that is not trio's: it must outlive ``trio.run``, and must not keep the process from ending.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from ahtransport._log import MAX_LINE, extras, fields, losses

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["JSONLines", "QueuedHandler", "Writer", "install"]

MAX_QUEUE: Final = 1000  # lines
MAX_BYTES: Final = 1 << 20  # that wait, all lines together
MAX_ENTRY: Final = 32768  # characters of a record with its traceback
_BATCH: Final = 64  # lines that are written at once
_PATIENCE: Final = 1.0  # seconds that the end of the process waits for the last lines
_RETRY: Final = 0.05  # seconds, where a descriptor that does not block takes nothing
_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_OURS: Final = "ahtransport"
_KEPT: Final = {"time", "level", "logger", "event", "exception"}  # what is never shortened to make a line fit


class JSONLines(logging.Formatter):
    """Formats a record as one line of JSON (RFC 8259), in ASCII: ``time`` (RFC 3339, UTC), ``level``, ``logger``,
    ``message``, then the record's fields, then ``exception`` with the traceback.

    A line of this package has at most 512 characters, not counting the traceback: its longest texts are shortened.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in extras(record).items():
            entry.setdefault(name, value)
        if record.name == _OURS or record.name.startswith(_OURS + "."):
            _fit(entry)
        if record.exc_info:
            entry["exception"] = _cut(self.formatException(record.exc_info))
        return _dumps(entry)


def _dumps(entry: Any) -> str:
    return json.dumps(entry, default=str, separators=(",", ":"))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_ENTRY else text[: MAX_ENTRY - 1] + "…"


def _fit(entry: dict[str, Any]) -> None:
    """Shorten the longest texts until the line is short enough."""
    while (excess := len(_dumps(entry)) - MAX_LINE) > 0:
        sizes = {name: len(_dumps(text)) for name, text in entry.items() if isinstance(text, str) and name not in _KEPT}
        longest = max(sizes, key=sizes.__getitem__, default="")
        if not longest or len(entry[longest]) < 8:
            return
        text = entry[longest]
        keep = int(len(text) * max(0.0, 1 - (excess + 6) / sizes[longest]))  # 6: what the mark becomes in ASCII
        entry[longest] = text[: min(keep, len(text) - 2)] + "…"


class Writer:
    """Writes lines from a thread, at most so many of them waiting.

    Args:
        stream: where to; None: nowhere, and every line counts as dropped.
        note: makes the line that says how many were dropped.
    """

    def __init__(self, stream: TextIO | None, note: Callable[[int], bytes]) -> None:
        self._stream = stream
        self._note = note
        self._descriptor = _duplicate(stream)
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._unsaid = 0  # lines that were dropped, and the log has not said so yet
        self._over = stream is None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="ahtransport-log", daemon=True)
        if stream is not None:
            self._thread.start()

    def put(self, line: bytes) -> None:
        """Have a line written; never waits for whoever reads it."""
        with self._changed:
            if self._over or len(self._lines) >= MAX_QUEUE or self._size + len(line) > MAX_BYTES:
                self._lost(1)
                return
            self._lines.append(line)
            self._size += len(line)
            self._changed.notify_all()

    def flush(self, patience: float = _PATIENCE) -> None:
        """Wait until everything is written, but not for longer than ``patience`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines or self._over, patience)

    def close(self, patience: float = _PATIENCE) -> None:
        """Write what waits, as far as that takes no longer than ``patience`` seconds, and stop."""
        self.flush(patience)
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _lost(self, count: int) -> None:
        losses.dropped += count
        self._unsaid += count

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._over)
                if self._over:
                    break
                lines = list(islice(self._lines, _BATCH))
            written = self._write(b"".join(lines))
            with self._changed:
                for line in lines:
                    self._size -= len(line)
                    self._lines.popleft()
                if not written:
                    self._lost(len(lines))
                elif self._unsaid and not self._lines:
                    note = self._note(self._unsaid)
                    self._lines.append(note)
                    self._size += len(note)
                    self._unsaid = 0
                self._changed.notify_all()
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _write(self, data: bytes) -> bool:
        """Write all of it, however long that takes. False: there is nobody to take it."""
        try:
            if self._descriptor is None:
                assert self._stream is not None
                self._stream.write(data.decode("utf-8", "replace"))
                self._stream.flush()
                return True
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    time.sleep(_RETRY)
        except (OSError, ValueError):
            return False
        return True


def _duplicate(stream: TextIO | None) -> int | None:
    """Give a descriptor of our own for what a stream writes to: neither somebody who closes it, nor the lock of its
    buffer at the end of the process, is in the way then. None: it has none."""
    try:
        return None if stream is None else os.dup(stream.fileno())
    except (OSError, ValueError):
        return None


class QueuedHandler(logging.Handler):
    """A handler that never waits: it formats, and leaves the writing to a thread."""

    def __init__(self, stream: TextIO | None, log_format: Literal["text", "json"] | str = "text") -> None:
        super().__init__()
        self.use(log_format)
        self._writer = Writer(stream, self._note)

    def use(self, log_format: Literal["text", "json"] | str) -> None:
        """Change the format: ``"text"`` or ``"json"``."""
        self.setFormatter(JSONLines() if log_format == "json" else logging.Formatter(_TEXT))

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record and queue it; whatever is wrong with it stays here."""
        try:
            self._writer.put(self._line(record))
        except Exception:  # a field whose text can't be made, say: the log must not fail who logs
            losses.dropped += 1

    def say(self, text: str, event: str, **more: object) -> None:
        """Write a word to whoever sits at the terminal, whatever the level: the bare text, or in JSON a record with the
        event and its fields, so that every line can be read by the same program."""
        if isinstance(self.formatter, JSONLines):
            record = logging.LogRecord(_OURS, logging.INFO, __file__, 0, text, None, None)
            record.__dict__.update(fields(event, **more))
            self._writer.put(self._line(record))
        else:
            self._writer.put(f"{text}\n".encode())

    def flush(self) -> None:
        """Wait for the last lines, but not for long."""
        self._writer.flush()

    def close(self) -> None:
        """Write what waits, but not for long, and stop."""
        self._writer.close()
        super().close()

    def uninstall(self) -> None:
        """Take it away from the root logger, and close it."""
        logging.getLogger().removeHandler(self)
        self.close()

    def _line(self, record: logging.LogRecord) -> bytes:
        return (_cut(self.format(record)) + "\n").encode("utf-8", "backslashreplace")

    def _note(self, dropped: int) -> bytes:
        text = "%d log lines were dropped: whoever reads the log is too slow, or was away"
        record = logging.LogRecord(_OURS, logging.WARNING, __file__, 0, text, (dropped,), None)
        record.__dict__.update(fields("log.dropped", dropped=dropped))
        return self._line(record)


def install(level: int, log_format: str = "text") -> QueuedHandler | None:
    """Log to stderr from here on. None: the program has set up logging itself, and nothing changes."""
    root = logging.getLogger()
    if root.handlers:
        return None
    handler = QueuedHandler(sys.stderr, log_format)
    root.addHandler(handler)
    root.setLevel(level)
    return handler
