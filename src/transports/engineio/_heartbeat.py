"""Engine.IO's heartbeat: the server pings, and a client that does not answer is gone.

========= ================================== ======================================================
state     what is awaited                    next
========= ================================== ======================================================
QUIET     the next ping's time               WAITING: the ping is on its way, or waits for a poll
WAITING   the pong                           QUIET: it came; expired after ``timeout``, once longer
                                             if another packet came meanwhile, or as long as nobody
                                             listened to it; pinged anew if the server itself stood
                                             still
STOPPED   nothing                            none
========= ================================== ======================================================
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport.abc import Core, Timer

__all__ = ["Heartbeat"]


class _State(enum.Enum):
    QUIET = enum.auto()
    WAITING = enum.auto()
    STOPPED = enum.auto()


def _never() -> bool:
    return False


def _nothing() -> None:
    pass


class Heartbeat:
    """The heartbeat of one session; it has one timer, whatever the client sends.

    Args:
        core: whose clock and timers to use.
        interval: seconds between a pong and the next ping.
        timeout: seconds within which a pong must come.
        ping: sends a ping, and tells whether the client has it at once (or must fetch it first).
        expire: called when the client is gone.
        listened_since: tells since when the client has been listened to without a break; inf: it is not now.

    Attributes:
        listens: whether :meth:`heard` has to be told of the next packet.
    """

    __slots__ = ("_core", "_expire", "_has_ping", "_heard_at", "_interval", "_listened_since", "_ping", "_state",
                 "_timeout", "_timer", "listens")  # fmt: skip

    def __init__(
        self,
        core: Core,
        interval: float,
        timeout: float,
        ping: Callable[[], bool],
        expire: Callable[[], None],
        listened_since: Callable[[], float],
    ) -> None:
        self._core = core
        self._interval = interval
        self._timeout = timeout
        self._ping = ping
        self._expire = expire
        self._listened_since = listened_since
        self._state = _State.QUIET
        self._has_ping = False  # whether the ping has left for the client
        self._heard_at = 0.0  # when a packet other than a pong came while one was awaited; 0: none did
        self.listens = False
        self._timer: Timer = core.at(core.now() + interval, self._due)

    def _due(self) -> None:
        """Send a ping, or judge a client that has not answered the last one."""
        now = self._core.now()
        if self._state is _State.QUIET:
            self._state = _State.WAITING
            self._heard_at = 0.0
            self.listens = True
            self._has_ping = self._ping()
            self._timer = self._core.at(now + self._timeout, self._due)
        elif self._heard_at and self._heard_at + self._timeout > now:
            # The pong may be behind what came meanwhile. One more chance, as in npm engine.io: the second time round
            # the first packet heard is too old.
            self._timer = self._core.at(self._heard_at + self._timeout, self._due)
        elif self._core.awake_since() + self._timeout > now:
            self._state = _State.QUIET
            self._due()
        else:
            # The pong may be behind what nobody has taken yet: silence of our own making.
            since = min(self._listened_since(), now)
            if since + self._timeout > now:
                self._timer = self._core.at(since + self._timeout, self._due)
            else:
                self._expire()

    def fetched(self) -> None:
        """The ping has left for the client: from now on a pong can be its answer."""
        self._has_ping = True

    def heard(self) -> None:
        """A packet other than a pong came; the first one after a ping counts."""
        if self.listens:
            self.listens = False
            self._heard_at = self._core.now()

    def pong(self) -> None:
        """A pong came. One that answers no ping is ignored: whoever sends them unasked would never be judged."""
        if self._state is _State.WAITING and self._has_ping:
            self._state = _State.QUIET
            self.listens = False
            self._timer.cancel()
            self._timer = self._core.at(self._core.now() + self._interval, self._due)

    def stop(self) -> None:
        """It is over."""
        self._state = _State.STOPPED
        self.listens = False
        self._timer.cancel()
        # It and its session would keep each other alive.
        self._ping, self._expire, self._listened_since = _never, _nothing, self._core.now
