"""Files of the generated client on disk: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ClientFiles", "write_file"]

_WISHES = ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY")
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | sum(getattr(os, name, 0) for name in _WISHES)


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """The generated client: what is served, and what may be put anywhere else.

    Attributes:
        name: what the files are called, without extension.
        hash: stands for the options and the sources; clients show it when they connect.
        files: contents by file name: ``NAME.js``, ``NAME.min.js``, ``NAME.mjs``, ``NAME.d.ts``, ``NAME.d.mts``.
        primus: ``primus.js``, which is Primus alone.
    """

    name: str
    hash: str
    files: Mapping[str, bytes]
    primus: bytes

    def write(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Write all of them, ``primus.js`` included, into a directory, which is made when it is not there.

        Each file is replaced in one step: who reads it meanwhile, or after a crash, finds the old or the new one. A
        file that has this content already is left alone.

        Returns:
            where they are.

        Raises:
            OSError: one of them can't be written; those before it are.
        """
        target = Path(directory)
        target.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, content in {**self.files, "primus.js": self.primus}.items():
            write_file(target / name, content)
            paths.append(target / name)
        return paths


def write_file(path: Path, content: bytes) -> bool:
    """Make a file have this content, in one step; False: it had it already.

    A temporary file next to it, which no web server shows for its name begins with a dot, is written to the disk and
    takes its place.

    Raises:
        OSError: it can't be written; what was there is as it was.
    """
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return False
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(os.open(temporary, _FLAGS, 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return True
