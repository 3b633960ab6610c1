"""Listening on a Unix socket: a file in the place of an address and a port."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress

__all__ = ["SocketFile"]


class SocketFile:
    """A Unix socket that is listened on, and its file, which gets the mode that the process's umask leaves.

    Args:
        path: the file's; one that a server has left, which is no more, is replaced.
        backlog: how many clients may wait to be accepted.

    Attributes:
        sock: what is listened on.

    Raises:
        OSError: it can't be made; among others EADDRINUSE, another server listens on it; EEXIST, it is no socket.
    """

    def __init__(self, path: str, backlog: int) -> None:
        if not hasattr(socket, "AF_UNIX"):  # pragma: no cover -- Windows
            raise OSError(errno.EAFNOSUPPORT, "there are no Unix sockets on this system", path)
        _make_way(path)
        self._path = os.path.abspath(path)
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.bind(path)
            self._identity = _identity(path)
            self.sock.listen(backlog)
        except BaseException:
            self.sock.close()
            raise

    def remove(self) -> None:
        """Take the file away, unless it is gone, or another server's by now. To be called while it is listened on:
        after that, anybody may replace it."""
        with suppress(OSError):
            if _identity(self._path) == self._identity:
                os.unlink(self._path)


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _make_way(path: str) -> None:
    """Remove a socket's file that nobody listens on."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "something is there that is no socket", path)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # there is somebody, who has much to do
    raise OSError(errno.EADDRINUSE, "another server listens on it", path)
