"""What hosts push into: a WebSocket that carries an Engine.IO session, and one that would like to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ahtransport.transports.engineio import _codec as codec

from ahtransport.abc import ProtocolError

if TYPE_CHECKING:
    from ahtransport.transports.engineio._session import Session

    from ahtransport.abc import WebSocket

__all__ = ["Probe", "SocketReceiver"]


class SocketReceiver:
    """What a host pushes into when a WebSocket carries a session."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def message(self, data: str | bytes) -> None:
        """Take one packet."""
        session = self._session
        if type(data) is str and data[:1] == "4":  # nearly all are: a message, as text
            peer = session.peer  # nobody, once the session has ended
            peer.alive(session.now)
            if session._heartbeat.listens:
                session._heartbeat.heard()
            peer.message(data[1:])
            return
        try:
            session.receive(codec.decode(data))
        except ProtocolError:
            session.fail("parse error")

    def alive(self, now: float) -> None:
        """Note the time; as a sign of life only packets count in Engine.IO."""
        self._session.now = now

    def writable(self) -> None:
        """Tell the connection."""
        self._session.peer.writable()

    def closed(self, code: int, reason: str) -> None:
        """End the session."""
        self._session.lost(code, reason)


class Probe:
    """What a host pushes into while a WebSocket asks to take over a session, and after it has."""

    __slots__ = ("_asked", "_carries", "_session", "_socket")

    def __init__(self, session: Session, socket: WebSocket) -> None:
        self._session = session
        self._socket = socket
        self._asked = False
        self._carries: SocketReceiver | None = None

    def message(self, data: str | bytes) -> None:
        """Take one packet: ``2probe``, then ``5``; anything else ends the attempt, not the session."""
        if self._carries is not None:
            self._carries.message(data)
        elif data == "2probe":
            self._asked = True
            self._session.probed(self._socket)
        elif isinstance(data, str) and data[:1] == "5" and self._asked and self._session.upgrade(self._socket):
            self._carries = SocketReceiver(self._session)
        else:
            self._session.stop_probe(self._socket)
            self._socket.close(1000)

    def alive(self, now: float) -> None:
        """Note the time once the session is carried here; a probe proves nothing."""
        if self._carries is not None:
            self._carries.alive(now)

    def writable(self) -> None:
        """Tell the connection, if there is one."""
        if self._carries is not None:
            self._carries.writable()

    def closed(self, code: int, reason: str) -> None:
        """End the session if it was carried here, else the attempt."""
        if self._carries is not None:
            self._carries.closed(code, reason)
        else:
            self._session.stop_probe(self._socket)
