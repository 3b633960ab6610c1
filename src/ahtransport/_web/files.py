"""Files below the public directories, and nothing else.

Whatever is not a plain file there is answered alike, with 404, so that nothing can be learnt of what else exists.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import trio

from ahtransport._http import Request, Response
from ahtransport._web.conditional import Validators, http_date, not_modified, precondition_failed, requested_range
from ahtransport._web.fingerprint import FingerprintOptions, web_fingerprint
from ahtransport._web.mime import content_type, mime_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FoundFile", "StaticFiles", "find_file", "is_plain_name", "serve_file"]

INDEX = "index.html"
# One piece is read per trip to a thread: large enough for the trip not to matter, small enough for memory.
PIECE = 256 * 1024
_MAX_PATH = 4096
# What Windows takes for a device, whatever the extension; refused everywhere, so that a site behaves the same.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\xb9\xb2\xb3])(?:\..*)?", re.IGNORECASE)
# No terminal to take over, no FIFO to hang on, no link at the end of what has been resolved.
_WISHES = ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in _WISHES)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A plain file below a public directory.

    Attributes:
        path: absolute, without symbolic links.
        size: bytes.
        mtime: when it was last modified, epoch seconds.
        mime: such as ``"text/html"``, without a charset.
        identity: device, inode, size and modification time in nanoseconds, to notice when it is another one.
    """

    path: Path
    size: int
    mtime: float
    mime: str
    identity: tuple[int, int, int, int]

    @property
    def etag(self) -> str:
        """A strong entity tag (RFC 9110 section 8.8.3)."""
        return f'"{self.identity[3]:x}-{self.size:x}"'


def find_file(directories: Sequence[Path | str], url_path: str) -> FoundFile | None:
    """Find what ``url_path`` names below the first of ``directories`` that has it. It blocks: call it in a thread.

    ``/public/FILE`` and ``/FILE`` are the same file, a directory means its ``index.html``. Symbolic links may lead
    anywhere within their public directory.

    Args:
        directories: the public ones.
        url_path: percent-encoded, with or without a slash in front, without a query.

    Gives None for everything else: what does not exist or may not be read, paths that lead out, devices, hidden files
    (``.well-known`` is not hidden), and names that some operating system takes for something else.
    """
    if len(url_path) > _MAX_PATH:
        return None
    try:
        path = unquote_to_bytes(url_path).decode()  # strictly: overlong forms of a slash or a dot are no UTF-8
    except UnicodeError:
        return None
    parts = [part for part in path.split("/") if part]
    if parts and parts[0] == "public":
        del parts[0]
    if path.endswith("/"):
        parts.append(INDEX)  # so that a plain file with a slash behind it is not found
    if not all(map(is_plain_name, parts)):
        return None
    for directory in directories:
        try:
            root = os.path.realpath(directory)
            found = _below(root, os.path.join(root, *parts))
        except (OSError, ValueError):
            continue
        if found is not None:
            return found
    return None


def is_plain_name(part: str) -> bool:
    """Tell whether a file of this name is served: it is not hidden, and every system takes it for a name alone."""
    if part.startswith(".") and part != ".well-known":
        return False
    if not part.isprintable() or part.endswith((".", " ")) or any(char in part for char in '\\:*?"<>|'):
        return False
    return not _DEVICE.fullmatch(part)


def _below(root: str, path: str) -> FoundFile | None:
    real = os.path.realpath(path, strict=True)
    if os.path.isdir(real):
        path = os.path.join(path, INDEX)
        real = os.path.realpath(path, strict=True)
    if not real.startswith(root.rstrip(os.sep) + os.sep):
        return None
    status = os.stat(real)
    if not stat.S_ISREG(status.st_mode) or not os.access(real, os.R_OK):
        return None
    return FoundFile(Path(real), status.st_size, status.st_mtime, mime_of(path), _identity(status))


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _read(found: FoundFile, start: int, size: int) -> bytes:
    """Read ``size`` bytes from ``start`` on.

    The file is open during this call only, so there is no handle that a response nobody reads to its end could leak.

    Raises:
        OSError: it can't be read, or is not the file any more that was found.
    """
    descriptor = os.open(found.path, _FLAGS)
    with open(descriptor, "rb", buffering=0) as file:
        if _identity(os.fstat(file.fileno())) != found.identity:
            raise OSError(f"{found.path} has changed while it was being sent")
        file.seek(start)
        pieces = []
        while size > 0:
            piece = file.read(size)
            if not piece:
                raise OSError(f"{found.path} is shorter than it was")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


class _Pieces:
    """The body of a large file: an iterator of pieces, each read in a thread when it is asked for."""

    def __init__(self, found: FoundFile, first: bytes, start: int, end: int) -> None:
        self._found = found
        self._first = first
        self._position = start
        self._end = end

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            piece, self._first = self._first, b""
        elif self._position < self._end:
            size = min(PIECE, self._end - self._position)
            # A slow disk must not hold up a cancellation; the thread closes its file by itself.
            piece = await trio.to_thread.run_sync(_read, self._found, self._position, size, abandon_on_cancel=True)
        else:
            raise StopAsyncIteration
        self._position += len(piece)
        return piece


async def serve_file(
    request: Request, found: FoundFile, *, max_age: int = 60, headers: Sequence[tuple[str, str]] = ()
) -> Response:
    """Answer GET or HEAD with a file, in pieces, as RFC 9110 says: preconditions (section 13), one range (section 14).

    Args:
        request: the request.
        found: what to serve.
        max_age: seconds for which it may be cached.
        headers: added to the response.

    Raises:
        OSError: it can't be read.
    """
    validators = Validators(found.etag, found.mtime)
    common = [
        ("ETag", found.etag),
        *([("Last-Modified", date)] if (date := http_date(found.mtime)) else []),
        ("Cache-Control", f"max-age={max_age}"),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
        *headers,
    ]
    if precondition_failed(request.headers, validators):
        return Response.text(412, "precondition failed", common)
    if not_modified(request.headers, validators):
        return Response(304, b"", common)
    common.insert(0, ("Content-Type", content_type(found.mime)))
    status, start, end = 200, 0, found.size
    if request.method == "GET":
        wanted = requested_range(request.headers, validators, found.size)
        if wanted is not None:
            start, end = wanted
            common.append(("Content-Range", f"bytes {f'{start}-{end - 1}' if end > start else '*'}/{found.size}"))
            if end <= start:
                return Response(416, b"", common[1:])
            status = 206
    if request.method == "HEAD":
        return Response(status, _Pieces(found, b"", end, end), common, length=found.size)
    first = await trio.to_thread.run_sync(_read, found, start, min(PIECE, end - start), abandon_on_cancel=True)
    if len(first) == end - start:
        return Response(status, first, common)
    return Response(status, _Pieces(found, first, start, end), common, length=end - start)


class StaticFiles:
    """A request handler for the public directories.

    Args:
        directories: the public ones; the first that has a file wins.
        max_age: seconds for which browsers may keep a file without asking.
        allow_origin: sent as ``Access-Control-Allow-Origin``; None sends none.
        fingerprint: the cookie that a browser gets when it opens a page, so that the page's connection has it already;
            None: none.
    """

    def __init__(
        self,
        directories: Sequence[Path | str],
        max_age: float = 60,
        *,
        allow_origin: str | None = "*",
        fingerprint: FingerprintOptions | None = None,
    ) -> None:
        self._fingerprint = fingerprint
        self.directories = [Path(directory) for directory in directories]
        self.max_age = int(max_age)
        self._headers = [("Access-Control-Allow-Origin", allow_origin)] if allow_origin else []

    async def __call__(self, request: Request) -> Response:
        """Answer a request: the file, 404, or 405 for other methods than GET and HEAD."""
        always = [("X-Content-Type-Options", "nosniff"), *self._headers]
        if request.method not in ("GET", "HEAD"):
            return Response.text(405, "method not allowed", [("Allow", "GET, HEAD"), *always])
        found = await trio.to_thread.run_sync(find_file, self.directories, request.path, abandon_on_cancel=True)
        if found is not None:
            try:
                response = await serve_file(request, found, max_age=self.max_age, headers=self._headers)
            except OSError:
                pass  # it went, or changed, between being found and being read
            else:
                self._greet(request, found, response)
                return response
        return Response.text(404, "that file is not found", always)

    def _greet(self, request: Request, found: FoundFile, response: Response) -> None:
        """Give a browser that opens a page its fingerprint; no cache may hand the same one to anybody else."""
        opened = found.mime == "text/html" and "text/html" in request.headers.get("accept", "")
        if self._fingerprint is None or not opened:
            return
        before = len(request.response_headers)
        web_fingerprint(request, self._fingerprint)
        if len(request.response_headers) > before:
            response.headers = [
                (name, f"private, {value}" if name == "Cache-Control" else value) for name, value in response.headers
            ]
