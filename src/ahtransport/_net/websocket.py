"""A WebSocket on one channel: RFC 6455 after the handshake.

wsproto decides what is right and wrong in the protocol. Sizes, counts and rates, which it does not limit, are checked
here, on the header of each frame and before its payload is kept.

========== ============================================ ==============================
state      what is going on                             next
========== ============================================ ==============================
CONNECTING the application is deciding                  OPEN
OPEN       messages both ways                           CLOSING, CLOSED
CLOSING    our close frame is out, theirs is awaited    CLOSED
CLOSED     the rest of what waits is flushed            none
========== ============================================ ==============================
"""

from __future__ import annotations

import enum
from contextlib import suppress
from io import BytesIO, StringIO
from math import inf
from typing import TYPE_CHECKING, Any

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

from ahtransport._barrier import contained
from ahtransport._net.frames import FastLane, parse_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ahtransport._net.channel import Channel
    from ahtransport._net.host import Host
    from ahtransport._payload import Payload
    from ahtransport.abc import Outlet, Receiver, Timer

__all__ = ["WebSocketWire"]

_NO_STATUS = 1005
_ABNORMAL = 1006
_TURN = 128  # frames of one connection that are handled before all others have their turn
_SLOW = 8  # of these, what a frame counts for that goes to wsproto: it takes as long as so many others, and more
_RESERVED = 0x70  # the three bits of a frame's first byte that only extensions use; one has done away with its own


class State(enum.Enum):
    """Where a WebSocket stands; the table is in the module's docstring."""

    CONNECTING = enum.auto()
    OPEN = enum.auto()
    CLOSING = enum.auto()
    CLOSED = enum.auto()


class WebSocketWire(FastLane):
    """One upgraded socket: an ``ahtransport.abc.Link`` towards the transformer, a ``Wire`` towards the channel."""

    __slots__ = (
        "_buffer",
        "_closing",
        "_control_second",
        "_controls",
        "_early",
        "_early_close",
        "_fragments",
        "_held",
        "_host",
        "_left",
        "_partial",
        "_pong",
        "_proto",
        "_resumed_at",
        "_size",
        "_state",
    )

    wire = "text"
    transport = "websocket"
    #: What the handshake's answer says of extensions.
    extensions: Sequence[tuple[str, str]] = ()

    def __init__(self, channel: Channel, host: Host) -> None:
        self._channel = channel
        self._host = host
        self._max_length = host.max_length
        self._receiver: Receiver
        self._proto: Connection | None = None  # made when there is something for it
        self._state = State.CONNECTING
        self._open = False
        self._turn = _TURN
        self._early: list[Payload] | None = None  # written before the handshake was answered
        self._early_close: tuple[int, str] | None = None
        self._between = True
        self._buffer = b""  # the beginning of a header, or what came while the receiver had enough
        self._left = 0  # bytes of the current frame, header included, that wsproto has not had yet
        self._partial: Any = None  # StringIO or BytesIO: what has come of a message in more than one piece
        self._size = 0  # of the message that is arriving, bytes
        self._fragments = 0
        self._control_second = 0.0
        self._controls = 0
        self._closing: Timer | None = None  # when patience with a closing peer ends
        self._held = False  # whether the receiver has had enough for now
        self._resumed_at = -inf  # when it last took messages again
        self._pong: bytes | None = None  # the latest pong that had to wait; older ones are pointless

    # -- what transformers and connections call

    @property
    def buffered(self) -> int:
        """Bytes that wait for the peer to read."""
        return self._channel.buffered

    @property
    def queued(self) -> int:
        """Messages that wait for the peer to read."""
        return self._channel.queued

    @property
    def outlet(self) -> Outlet | None:
        """The channel, since frames leave there as they are; None: not now."""
        return self._channel if self._open else None

    def write(self, payload: Payload) -> bool:
        """Send one message, or queue it behind what waits. False: something waits now, or it is too late."""
        if self._open:
            return self._channel.write(payload._frame or payload.frame())
        if self._state is State.CONNECTING:
            if self._early is None:
                self._early = []
            self._early.append(payload)
            return True
        return False

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake; 1005 sends a close frame without a code, 1006 none at all."""
        if code == _ABNORMAL:
            self._finish(code, reason)
            self._channel.abort()
        elif self._state is State.CONNECTING:
            self._early_close = (code, reason)
        elif self._state is State.OPEN:
            self._send_close(code, reason)
            self._enter(State.CLOSING)
            self._held = False
            self._channel.resume()  # their close frame may be behind messages that nobody takes any more
            self._patience()

    @property
    def read_since(self) -> float:
        """Since when it has been read without a break; -inf: always; inf: it is not, for now."""
        return inf if self._held else self._resumed_at

    def pause(self) -> None:
        """Stop reading. While closing that is for nobody to ask: the peer's close frame is still to come."""
        if self._open or self._state is State.CONNECTING:
            self._held = True
            self._channel.pause()

    def resume(self) -> None:
        """Go on reading."""
        if self._held:
            self._held = False
            self._resumed_at = trio.current_time()
        self._channel.resume()

    def overflow(self, code: int, reason: str) -> None:
        """Close, and forget what waits: the peer does not read it anyway."""
        self._channel.drop_backlog()
        self.close(code, reason)

    # -- what the HTTP side calls

    def accept(self, receiver: Receiver, handshake: bytes, early: bytes) -> None:
        """Answer the handshake and take over the channel; ``early`` are bytes that came too soon."""
        self._receiver = receiver
        channel = self._channel
        channel.wire = self
        channel.flush_timeout = self._host.flush_timeout
        if channel.closed:
            self._finish(_ABNORMAL, "")
            return
        self._enter(State.OPEN)
        channel.cork()
        channel.write(handshake)
        for payload in self._early or ():
            channel.write(payload.frame())
        self._early = None
        if self._early_close is not None:
            self.close(*self._early_close)
        channel.uncork()
        if early:
            # Bytes that came before the 101 went out are handled where all others are.
            self._buffer = early
            self._between = False
            if not self._held:
                channel.pause()
                channel.resume()

    # -- what the channel calls

    def data(self, data: bytes, now: float) -> None:
        """Take bytes from the network."""
        if not self._open and self._state is State.CLOSED:
            return
        self._receiver.alive(now)
        channel = self._channel
        channel.cork()
        self._turn = _TURN
        try:
            if self._open and self._between and not channel._paused:
                data = self._lane(data)
                if data:  # which is rare
                    self._take(data, now)
            else:
                self._take(data, now)
        except BaseException as error:
            # Not a ``with`` around it: this is the way of every message, and entering one costs as much as a frame.
            with contained("a WebSocket's receiver"):
                raise error
            self._fail(1011, "internal error")
        finally:
            channel.end_turn()

    def eof(self) -> None:
        """The peer has hung up without a close frame, or after the closing handshake."""
        self._channel.uncork()  # who hears no more may still be answered
        self._finish(_ABNORMAL, "")
        self._channel.abort()

    def flushed(self) -> None:
        """The backlog is empty again."""
        if self._pong is not None:
            pong, self._pong = self._pong, None
            if self._state is State.OPEN:
                self._channel.write(pong)
        if self._state is State.OPEN:
            with contained("a WebSocket's receiver") as trouble:
                self._receiver.writable()
            if trouble.caught:
                self._fail(1011, "internal error")

    def stalled(self) -> None:
        """The peer has read nothing for too long."""
        if self._state is State.OPEN:
            self.overflow(1013, "the client does not read")
            self._finish(1013, "the client does not read")
        else:
            self._channel.abort()

    def lost(self) -> None:
        """The channel is closed."""
        if self._closing is not None:
            self._closing.cancel()
        if self._state is not State.CONNECTING:
            self._finish(_ABNORMAL, "")

    # -- frames

    def _take(self, data: bytes, now: float) -> None:
        """Handle what has come until the bytes, the turn or the receiver's appetite end."""
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        while data and self._state is not State.CLOSED:
            if self._channel.paused:
                break
            if self._turn > 0 and self._open and not self._left and not self._fragments:
                data = self._lane(data)
                if not data or self._channel.paused:
                    break
                if not self._open:
                    continue  # with whatever is still to come, if anything
            if not self._left and self._turn <= 0:
                self._channel.pause()
                self._channel.soon(self._next_turn)
                break
            rest = self._slow(data, now)
            if rest is None:
                break
            data = rest
        if data and self._state is not State.CLOSED:
            self._buffer = data
        self._between = not (self._buffer or self._left or self._fragments)

    def _slow(self, data: bytes, now: float) -> bytes | None:
        """Hand one frame, or what is there of it, to wsproto; gives what is left. None: not even its header is all
        there, or the connection is over."""
        if not self._left:
            self._turn -= _SLOW
            if data[0] & _RESERVED:  # wrong whatever follows, and perhaps nothing does
                self._fail(1002, "reserved bits are set")
                return None
            header = parse_header(data)
            if header is None:
                return None
            trouble = self._over_limit(header, now)
            if trouble is not None:
                # A length in a header that is not even right is no length: 1002, not 1009.
                if trouble[0] != 1009 or self._feed(data[: header[2]]):
                    self._fail(*trouble)
                return None
            self._left = header[2] + header[3]
        piece, rest = (data, b"") if self._left >= len(data) else (data[: self._left], data[self._left :])
        self._left -= len(piece)
        return rest if self._feed(piece) else None

    def _next_turn(self) -> None:
        """Others have had theirs: go on with what is left, unless the receiver has had enough meanwhile."""
        if not self._held:
            self._channel.resume()

    def _over_limit(self, header: tuple[int, bool, int, int], now: float) -> tuple[int, str] | None:
        """Check a frame's header against the limits; gives the code and the reason to close with."""
        opcode, fin, _, length = header
        if opcode >= 8:
            second = now // 1
            if second != self._control_second:
                self._control_second, self._controls = second, 0
            self._controls += 1
            if self._controls > self._host.max_control_frames:
                return 1008, "too many control frames"
            return None
        if opcode:
            self._size = self._fragments = 0
        self._size += length
        self._fragments += 1
        if self._size > self._host.max_length:
            return 1009, f"a message may have {self._host.max_length} bytes"
        if self._fragments > self._host.max_fragments:
            return 1008, "too many fragments"
        if fin:
            self._size = self._fragments = 0  # a fragment that follows nothing is wrong, not too long
        return None

    def _feed(self, piece: bytes) -> bool:
        """Let wsproto decode a piece and act on its events. False: the connection is over."""
        proto = self._protocol()
        proto.receive_data(piece)
        return all(map(self._event, proto.events()))

    def _protocol(self) -> Connection:
        """Give wsproto's state machine; most connections never need one."""
        if self._proto is None:
            self._proto = Connection(ConnectionType.SERVER)
        return self._proto

    def _event(self, event: Event) -> bool:
        if isinstance(event, TextMessage | BytesMessage):
            if self._partial is None and event.message_finished:
                self._deliver(event.data if isinstance(event, TextMessage) else bytes(event.data))
            else:
                # Not a list of pieces: a peer that sends byte by byte would make it many times as large as the message.
                if self._partial is None:
                    self._partial = StringIO() if isinstance(event, TextMessage) else BytesIO()
                self._partial.write(event.data)
                if event.message_finished:
                    whole, self._partial = self._partial.getvalue(), None
                    self._deliver(whole)
        elif isinstance(event, Ping):
            if self._state is State.OPEN:
                pong = self._protocol().send(event.response())
                if self._channel.buffered:
                    self._pong = pong
                else:
                    self._channel.write(pong)
        elif isinstance(event, CloseConnection):  # theirs, or what wsproto wants said to a peer that broke the rules
            code = _NO_STATUS if event.code is None else int(event.code)
            if self._state is State.OPEN:
                self._channel.write(self._protocol().send(event.response()))
            self._finish(code, event.reason or "")
            self._channel.shutdown()
            self._patience()
            return False
        return True

    def _deliver(self, data: str | bytes) -> None:
        if self._state is State.OPEN:
            self._receiver.message(data)

    # -- ending

    def _send_close(self, code: int, reason: str) -> None:
        if code == _NO_STATUS:
            event = CloseConnection(code=CloseReason.NO_STATUS_RCVD)  # the number alone would become 1000
        else:
            event = CloseConnection(code=code, reason=reason or None)
        self._channel.write(self._protocol().send(event))

    def _fail(self, code: int, reason: str) -> None:
        """Close because of something the peer (or the receiver) did; nothing more is read."""
        if self._state is State.OPEN:
            self._send_close(code, reason)
        self._buffer = b""
        self._finish(code, reason)
        self._channel.shutdown()
        self._patience()

    def _patience(self) -> None:
        if self._closing is None:
            self._closing = self._host.deadlines.at(trio.current_time() + self._host.close_timeout, self._channel.abort)

    def _enter(self, state: State) -> None:
        self._state = state
        self._open = state is State.OPEN

    def _finish(self, code: int, reason: str) -> None:
        self._enter(State.CLOSED)
        self._partial = None
        if hasattr(self, "_receiver"):
            receiver = self._receiver
            del self._receiver  # it is told once; and the two would keep each other alive
            with contained("a WebSocket's receiver"):
                receiver.closed(code, reason)
        if self._proto is not None:
            # Its parser is a generator that holds what holds it; a circle is left to the collector, which looks rarely.
            # (To close the generator is not enough: one that has not begun keeps what it holds.)
            with suppress(AttributeError):
                del self._proto._proto._parse_more
