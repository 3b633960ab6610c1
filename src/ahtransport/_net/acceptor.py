"""A listening socket that a reactor watches."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ahtransport._log import fields, get_logger
from ahtransport._net.poller import READ

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ahtransport._net.reactor import Reactor

__all__ = ["NOT_OURS", "QUIET", "RETRY", "Acceptor"]

_log = get_logger()

_ACCEPTS: Final = 64  # connections accepted before those that are there have their turn
NOT_OURS: Final = {errno.ECONNABORTED, errno.EPERM, errno.EPROTO}  # that connection's trouble alone
QUIET: Final = 10.0  # seconds in which the lack of resources is logged once
RETRY: Final = 0.1  # seconds after which it is looked again for resources


class Acceptor:
    """A listening socket that a reactor watches."""

    def __init__(
        self, sock: socket.socket, reactor: Reactor, accepted: Callable[[socket.socket, object], None]
    ) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._reactor = reactor
        self._accepted = accepted
        self._quiet_until = 0.0
        self._over = False
        reactor.add(self._fd, self)

    def ready(self, events: int, now: float) -> None:
        """Accept whoever waits outside, but not all at once."""
        for _ in range(_ACCEPTS):
            try:
                client, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in NOT_OURS:
                    continue
                # Mostly a lack of descriptors or memory: whoever is connected stays so; who waits outside is taken
                # when something is free again.
                if now >= self._quiet_until:
                    self._quiet_until = now + QUIET
                    _log.error("can't accept connections for now: %s", error, extra=fields("accept.failed"))
                self._reactor.watch(self._fd, 0)
                self._reactor.deadlines.at(now + RETRY, self._retry)
                return
            self._accepted(client, address)

    def _retry(self) -> None:
        if not self._over:
            self._reactor.watch(self._fd, READ)

    def failed(self) -> None:
        """Nothing to do: the next connection may fare better."""

    def end(self) -> None:
        """Stop listening."""
        if not self._over:
            self._over = True
            self._reactor.remove(self._fd)
            self._sock.close()
