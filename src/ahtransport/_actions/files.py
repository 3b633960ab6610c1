"""The ``file`` verb: a public file's content as a message."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import trio

from ahtransport._actions.texts import truthy
from ahtransport._web.files import find_file

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["file_reply"]

NOT_FOUND = "that file is not found"
NOT_PROVIDED = "file is a required param to send a file"
TOO_LARGE = "that file is too large to be sent as a message"


# Should the path have become a link or a FIFO since it was found: follow no link, wait for nobody.
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


async def file_reply(directories: Sequence[str | Path], name: Any, limit: int) -> dict[str, Any]:
    """Read a file below one of the public directories, at most ``limit`` bytes of it.

    Gives ``{content, mime, length, lastModified}``, ``length`` in bytes, or ``{error, content: None, mime, length}``,
    where as in ActionHero ``length`` is the error's. Whatever is not a plain file below a public directory is
    answered alike, so that nothing can be learnt of what else is there.
    """
    if not truthy(name):
        return _error(NOT_PROVIDED)
    if not isinstance(name, str):
        return _error(NOT_FOUND)
    return await trio.to_thread.run_sync(_read, [Path(one) for one in directories], name, limit)


def _read(directories: Sequence[Path], name: str, limit: int) -> dict[str, Any]:
    try:
        found = find_file(directories, quote(name))  # the name is no URL: a percent sign in it is one
        if found is None:
            return _error(NOT_FOUND)
        if found.size > limit:
            return _error(TOO_LARGE)
        with open(os.open(found.path, _FLAGS), "rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError):
        return _error(NOT_FOUND)
    if len(content) > limit:  # it has grown since
        return _error(TOO_LARGE)
    modified = datetime.fromtimestamp(found.mtime, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "content": content.decode(errors="replace"),
        "mime": found.mime,
        "length": len(content),
        "lastModified": modified,
    }


def _error(text: str) -> dict[str, Any]:
    return {"error": text, "content": None, "mime": "text/html", "length": len(text)}
