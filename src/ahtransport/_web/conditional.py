"""Conditional requests and ranges (RFC 9110 sections 13 and 14), for what has strong validators."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ahtransport._http import Headers

__all__ = ["Validators", "http_date", "not_modified", "precondition_failed", "requested_range"]

_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one state of a resource from another.

    Attributes:
        etag: a strong entity tag, quotes included.
        modified: epoch seconds.
    """

    etag: str
    modified: float


def http_date(seconds: float) -> str | None:
    """Write a date (RFC 9110 section 5.6.7); None for one that no such date can tell."""
    try:
        return formatdate(int(seconds), usegmt=True)
    except (ValueError, OverflowError, OSError):
        return None


def _parse_date(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError, OSError):
        return None


def _matches(condition: str, etag: str, *, weakly: bool) -> bool:
    """Compare with a list of entity tags, weakly or strongly (RFC 9110 section 8.8.3.2)."""
    if condition.strip() == "*":
        return True
    return any(tag == etag and (weakly or not weak) for weak, tag in _ENTITY_TAG.findall(condition))


def precondition_failed(headers: Headers, validators: Validators) -> bool:
    """Tell whether the answer is 412: If-Match, else If-Unmodified-Since."""
    if "if-match" in headers:
        return not _matches(headers["if-match"], validators.etag, weakly=False)
    since = _parse_date(headers["if-unmodified-since"]) if "if-unmodified-since" in headers else None
    return since is not None and int(validators.modified) > since


def not_modified(headers: Headers, validators: Validators) -> bool:
    """Tell whether the answer is 304: If-None-Match, else If-Modified-Since."""
    if "if-none-match" in headers:
        return _matches(headers["if-none-match"], validators.etag, weakly=True)
    since = _parse_date(headers["if-modified-since"]) if "if-modified-since" in headers else None
    return since is not None and int(validators.modified) <= since


def requested_range(headers: Headers, validators: Validators, size: int) -> tuple[int, int] | None:
    """Give the one range that is asked for, as first byte and end (exclusive).

    None: send everything, since no range is asked for, or several, or in a way that has to be ignored, or the
    condition in If-Range does not hold. An empty range: the answer is 416.
    """
    match = _RANGE.fullmatch(headers.get("range", ""))
    if match is None or not (match[1] or match[2]) or not _range_applies(headers, validators):
        return None
    first, last = (_number(text) if text else None for text in match.groups())
    if first is None:
        return (max(0, size - (last or 0)), size)
    if last is None:
        return (min(first, size), size)
    if last < first:
        return None  # section 14.1.1: invalid, which is not the same as beyond the end
    return (min(first, size), min(last + 1, size))


def _number(text: str) -> int:
    # No file is that long; and int() refuses more than 4,300 digits.
    return int(text) if len(text) < 20 else 10**20


def _range_applies(headers: Headers, validators: Validators) -> bool:
    condition = headers.get("if-range", "").strip()
    if not condition:
        return True
    if '"' in condition:
        match = _ENTITY_TAG.fullmatch(condition)
        return match is not None and not match[1] and match[2] == validators.etag
    return _parse_date(condition) == int(validators.modified)
