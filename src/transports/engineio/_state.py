"""What the parts of an Engine.IO session share.

=========== =========================================== ==========================================================
state       what carries it                             next
=========== =========================================== ==========================================================
POLLING     polls and POSTs                             PROBING: a WebSocket asks; CLOSING, CLOSED
PROBING     still polls and POSTs; a WebSocket is here  WEBSOCKET: it sends "5"; POLLING: it fails; CLOSING, CLOSED
WEBSOCKET   a WebSocket                                 CLOSED
CLOSING     what waits, and then a close packet; or     CLOSED: it was fetched, or nobody came for it
            without that by the WebSocket that asked
CLOSED      nothing                                     none
=========== =========================================== ==========================================================
"""

from __future__ import annotations

import enum
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

from ahtransport.abc import Receiver, Seat

if TYPE_CHECKING:
    import trio
    from ahtransport.transports.engineio._codec import Packet
    from ahtransport.transports.engineio._heartbeat import Heartbeat
    from ahtransport.transports.engineio._transformer import EngineIOTransformer

    from ahtransport.abc import Later, Pacer, Payload, Timer, WebSocket

__all__ = ["GONE", "NO_BUFFER", "NO_SEAT", "Carried", "SessionState", "State"]

NO_SEAT: Final = Seat()  # for what belongs to a session that has its seat
NO_BUFFER: Final[Any] = ()  # what a session has that never polls, or no longer


class State(enum.Enum):
    """Where a session stands; the table is in the module's docstring."""

    POLLING = enum.auto()
    PROBING = enum.auto()
    WEBSOCKET = enum.auto()
    CLOSING = enum.auto()
    CLOSED = enum.auto()


class Carried(Receiver, Protocol):
    """What a session carries: the connection, or something that has several."""

    def opened(self) -> None:
        """Learn that the handshake is done."""
        ...


class _Gone:
    """What a session carries when it has ended."""

    def opened(self) -> None:
        """It has ended."""

    def message(self, data: str | bytes) -> None:
        """It is for nobody any more."""

    def alive(self, now: float) -> None:
        """It has ended."""

    def writable(self) -> None:
        """Nothing is written any more."""

    def closed(self, code: int, reason: str) -> None:
        """It is known already."""


GONE: Final = _Gone()


class SessionState:
    """One session; made by the transformer, known by its ``sid``.

    Attributes:
        wire: how messages are encoded for what carries it now: "polling" or "websocket".
        query: what requests that poll have for a query, but for their stamp; None as long as that is not known.
        now: when bytes came over its WebSocket last, or a packet by polling; seconds of trio's clock.
    """

    __slots__ = (
        "_buffer",
        "_buffered",
        "_closing_timer",
        "_core",
        "_goodbye",
        "_heartbeat",
        "_listened_at",
        "_noop_at",
        "_owing",
        "_pacer",
        "_polling",
        "_posting",
        "_probe",
        "_probe_timer",
        "_slowed",
        "_socket",
        "_taking",
        "_transformer",
        "now",
        "peer",
        "query",
        "seat",
        "sid",
        "state",
        "wire",
    )

    def __init__(
        self,
        sid: str,
        transformer: EngineIOTransformer,
        socket: WebSocket | None = None,
        seat: Seat = NO_SEAT,
        pacer: Pacer | None = None,
    ) -> None:
        self.sid = sid
        self.seat = seat
        self._pacer = pacer
        self.state = State.POLLING if socket is None else State.WEBSOCKET
        self.peer: Carried
        self.wire = "polling" if socket is None else "websocket"
        self.query: str | None = None
        self.now = 0.0
        self._transformer = transformer
        self._core = transformer.core
        self._socket = socket
        self._probe: WebSocket | None = None
        self._buffer: deque[Payload] = deque() if socket is None else NO_BUFFER
        self._buffered = 0
        self._polling: Later | None = None  # the poll that waits
        self._posting = False
        self._owing: trio.Event | None = None  # set when what an answered POST has left is taken
        self._taking: trio.Event | None = None  # for POSTs that wait until the application takes messages again
        self._listened_at = -inf  # when it took messages again, or a POST that was held up went on
        self._slowed = False  # whether a POST is held up now because the client sends too fast
        self._noop_at = inf  # when the next noop may leave; only while upgrading
        self._heartbeat: Heartbeat
        self._closing_timer: Timer | None = None
        self._probe_timer: Timer | None = None
        self._goodbye = (1000, "")  # how the application closed it

    def receive(self, packet: Packet) -> None:
        """Act on a packet."""
        raise NotImplementedError  # pragma: no cover

    def fail(self, reason: str, code: int = 1002, told: int = 1006) -> None:
        """End the session because of something the client did, or did not do; ``code`` is for its WebSocket, ``told``
        for the application."""
        raise NotImplementedError  # pragma: no cover

    def _end(self, code: int, reason: str) -> None:
        raise NotImplementedError  # pragma: no cover
