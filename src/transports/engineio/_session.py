"""One Engine.IO session: what outlives the requests and sockets that carry it.

It is the link of its connection: where the application's messages go now.
Its states are in ``_state``, what its requests do in ``_polls``.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import trio
from ahtransport.transports.engineio import _codec as codec
from ahtransport.transports.engineio._codec import Kind, Packet
from ahtransport.transports.engineio._heartbeat import Heartbeat
from ahtransport.transports.engineio._polls import Polls
from ahtransport.transports.engineio._state import GONE, NO_BUFFER, Carried, State

from ahtransport.abc import ProtocolError

if TYPE_CHECKING:
    from ahtransport.abc import Link, Outlet, Payload, WebSocket

__all__ = ["Session"]

_ABNORMAL: Final = 1006
_CLOSING, _CLOSED = State.CLOSING, State.CLOSED
_MESSAGE: Final = Kind.MESSAGE


class Session(Polls):
    """One session; made by the transformer, known by its ``sid``."""

    __slots__ = ()

    def begin(self, peer: Carried) -> None:
        """Take the connection's other end; from now on the client has to answer pings."""
        self.peer = peer
        transformer = self._transformer
        self._heartbeat = Heartbeat(
            self._core,
            transformer.ping_interval,
            transformer.ping_timeout,
            self._ping,
            self._expire,
            self.listened_since,
        )

    # -- as the link of its connection

    @property
    def transport(self) -> str:
        """What carries it now."""
        return self.wire

    @property
    def carrier(self) -> Link:
        """What to write to: the WebSocket, or this session as long as it polls."""
        return self if self._socket is None else self._socket

    @property
    def outlet(self) -> Outlet | None:
        """That of its WebSocket; None while it polls."""
        return self._socket.outlet if self._socket is not None else None

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client to fetch or read."""
        return self._socket.buffered if self._socket is not None else self._buffered

    @property
    def queued(self) -> int:
        """Messages that wait."""
        return self._socket.queued if self._socket is not None else len(self._buffer)

    def write(self, payload: Payload) -> bool:
        """Send a packet over the WebSocket, or keep it for the next poll."""
        socket = self._socket
        if socket is not None:
            return socket.write(payload)  # it takes nothing once it is closing
        state = self.state
        if state is _CLOSED or state is _CLOSING:
            return False
        return self._send(payload)

    def _send(self, payload: Payload) -> bool:
        if self._socket is not None:
            return self._socket.write(payload)
        self._buffer.append(payload)
        self._buffered += len(payload)
        self._ring()
        return False

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the session once what waits has been fetched, with a close packet."""
        if self.state in (State.CLOSING, State.CLOSED):
            return
        if self._socket is not None:
            socket = self._socket
            self._end(code, reason)
            socket.close(code, reason)
            return
        # A WebSocket that asks may stay: a client that has stopped polling by now fetches what waits there.
        self.state = State.CLOSING
        self._goodbye = (code, reason)
        if not self._buffer and not self._polling:
            self._buffer.append(codec.NOOP)  # as npm engine.io does: a late poll gets both
        self._buffer.append(codec.CLOSE)
        self._heartbeat.stop()
        self._closing_timer = self._core.at(self._core.now() + self._core.options.close_timeout, self._never_fetched)
        self._ring()
        self._take_again()

    def _never_fetched(self) -> None:
        self._end(_ABNORMAL, "")

    def overflow(self, code: int, reason: str) -> None:
        """End the session and forget what waits: the client does not fetch it."""
        if self._socket is not None:
            socket = self._socket
            self._end(code, reason)
            socket.overflow(code, reason)
        elif self.state is not _CLOSING:  # nothing is added to the goodbye, so it may wait
            self._buffer.clear()
            self._buffered = 0
            self.close(code, reason)

    def pause(self) -> None:
        """Take no messages: POSTs wait for their answer, a WebSocket is not read."""
        if self._taking is None:
            self._taking = trio.Event()
        if self._socket is not None:
            self._socket.pause()

    def resume(self) -> None:
        """Take messages again."""
        self._take_again()
        if self._socket is not None and self._owing is None:
            self._socket.resume()

    def _take_again(self) -> None:
        taking, self._taking = self._taking, None
        if taking is not None:
            self._listened_at = self._core.now()
            taking.set()

    def listened_since(self) -> float:
        """Tell since when the client has been listened to without a break; inf: it is not, for now."""
        if self._taking is not None or self._slowed or self._owing is not None:
            return inf
        socket = self._socket
        return self._listened_at if socket is None else max(self._listened_at, socket.read_since)

    def silent_since(self) -> float:
        """Tell since when nothing has come from the client though it was listened to; inf: that is not so, for now."""
        return inf if self._posting else max(self.now, self.listened_since())

    # -- packets

    def receive(self, packet: Packet) -> None:
        """Act on a packet, however it came.

        Raises:
            ProtocolError: only servers send this.
        """
        kind, data = packet
        if self.state is _CLOSED or (self.state is _CLOSING and kind is not Kind.CLOSE):
            return
        self.now = now = self._core.now()
        self.peer.alive(now)
        if kind is Kind.PONG:
            self._heartbeat.pong()
            return
        self._heartbeat.heard()
        if kind is _MESSAGE:
            self.peer.message(data)
            return
        match kind:
            case Kind.CLOSE:
                self._leave()
            case Kind.PING | Kind.OPEN:
                raise ProtocolError("only servers send this packet")
            case _:
                pass  # noop, or an upgrade that is none

    def _leave(self) -> None:
        """The client says goodbye; a poll that waits gets a noop."""
        socket = self._socket
        self._end(1000, "")
        if socket is not None:
            socket.close(1000)

    # -- heartbeat

    def _ping(self) -> bool:
        self._send(codec.PING)
        return self._socket is not None

    def _expire(self) -> None:
        self.fail("ping timeout", 1001)

    # -- upgrading

    def begin_probe(self, socket: WebSocket) -> None:
        """A WebSocket would like to take over."""
        self.state = State.PROBING
        self._probe = socket
        limit = self._core.now() + self._transformer.upgrade_timeout
        self._probe_timer = self._core.at(limit, lambda: self.stop_probe(socket))

    def probed(self, socket: WebSocket) -> None:
        """The WebSocket has asked: the poll that waits is let go, so that the client can stop polling."""
        if self._probe is socket and not socket.buffered:  # who asks again and again is answered while it listens
            socket.write(codec.PROBE)
            if self._noop_at == inf:
                self._noop_at = self._core.now()
                self._ring()  # a poll that waits looks at the time again
                if self._taking is not None:  # as does a POST
                    self._taking.set()
                    self._taking = trio.Event()

    def upgrade(self, socket: WebSocket) -> bool:
        """Move to the WebSocket: what waits goes first. False: it is not the one that may, or no longer."""
        if self._probe is not socket:
            return False
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        self._probe = None
        self._socket = socket
        self.wire = "websocket"
        closing = self.state is State.CLOSING
        self.state = State.WEBSOCKET
        for payload in self._buffer:
            if payload not in (codec.NOOP, codec.CLOSE):  # only polls need these
                socket.write(codec.for_websocket(payload))
        self._buffer = NO_BUFFER
        self._buffered = 0
        if closing:
            self.close(*self._goodbye)
            return True
        self._heartbeat.fetched()
        self._ring()
        if self._taking is not None or self._owing is not None:
            socket.pause()
        self._transformer.moved(self)
        if not socket.buffered:
            self.peer.writable()
        return True

    def stop_probe(self, socket: WebSocket) -> None:
        """The WebSocket has failed or takes too long; polling goes on."""
        if self._probe is socket:
            if self.state is State.PROBING:
                self.state = State.POLLING
            self._noop_at = inf
            self._stop_probe()

    def _stop_probe(self) -> None:
        probe, self._probe = self._probe, None
        if self._probe_timer is not None:
            self._probe_timer.cancel()
            self._probe_timer = None
        if probe is not None:
            probe.close(1000)

    # -- ending

    def lost(self, code: int, reason: str) -> None:
        """The WebSocket is gone."""
        self._end(code, reason)

    def stop(self) -> None:
        """End at once: the server is gone."""
        self._end(_ABNORMAL, "")

    def fail(self, reason: str, code: int = 1002, told: int = _ABNORMAL) -> None:
        """End the session because of something the client did, or did not do; ``code`` is for its WebSocket, ``told``
        for the application."""
        socket = self._socket
        if self.state is not State.CLOSED and self._polling and socket is None:
            self._buffer.clear()
            self._buffer.append(codec.CLOSE)  # for the poll that waits
        self._end(told, reason)
        if socket is not None:
            socket.close(code, reason)

    def _end(self, code: int, reason: str) -> None:
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._heartbeat.stop()
        if self._closing_timer is not None:
            self._closing_timer.cancel()
        self._stop_probe()
        self._take_again()
        self._ring()
        self._transformer.forget(self)
        peer, self.peer = self.peer, GONE  # the two would keep each other alive
        peer.closed(code, reason)
