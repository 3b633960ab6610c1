"""One Socket.IO client: the namespaces that it is in, over one Engine.IO session.

============ ========================================== ===================================================
a namespace  what it waits for                          next
============ ========================================== ===================================================
(unknown)    CONNECT                                    PENDING; anything else ends the client
PENDING      the application's word                     OPEN, or forgotten after CONNECT_ERROR
OPEN         events, acks                               forgotten after DISCONNECT, from either side
============ ========================================== ===================================================
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import trio
from ahtransport.transports.socketio._codec import MAX_NAME, Frame, Kind

from ahtransport.abc import Ack, Payload, ProtocolError, Reject, Seat

if TYPE_CHECKING:
    from ahtransport.transports.engineio import Session
    from ahtransport.transports.socketio._transformer import SocketIOTransformer

    from ahtransport.abc import Link, Outlet, Peer, Request, Timer

__all__ = ["MAX_NAMESPACES", "Client", "Farewell", "NamespaceLink"]

#: How many namespaces one client may be in.
MAX_NAMESPACES: Final = 16
_EVENT: Final = Kind.EVENT
_PATIENCE: Final = 10.0  # seconds without a byte of the attachments that a packet has announced
_NO_SEAT: Final = Seat()  # a client's seat is its session's, however many namespaces it is in


class Farewell(Payload):
    """A DISCONNECT: the client is told not to come back to this namespace by itself."""


@lru_cache(1024)
def _wire(carrier: str, namespace: str) -> str:
    return f"{carrier} {namespace}"


class NamespaceLink:
    """Where the connection of one namespace writes: the session, which it shares with the client's other namespaces."""

    __slots__ = ("_carrier", "_client", "_said_farewell", "namespace", "wire")

    _carrier: Link
    #: The session's wire and the namespace, since both are part of what is encoded.
    wire: str

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self.namespace = namespace
        self._said_farewell = False
        self.follow()

    def follow(self) -> None:
        """Write to what carries the session now: to its WebSocket directly, since that is the way of every message."""
        session = self._client.session
        self._carrier = session.carrier
        self.wire = _wire(session.wire, self.namespace)

    @property
    def transport(self) -> str:
        """What carries it now."""
        return self._client.session.transport

    @property
    def outlet(self) -> Outlet | None:
        """That of what carries it now."""
        return self._carrier.outlet

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client."""
        return self._carrier.buffered

    @property
    def queued(self) -> int:
        """Messages that wait for the client."""
        return self._carrier.queued

    def write(self, payload: Payload) -> bool:
        """Send one Engine.IO message."""
        if type(payload) is not Payload:
            self._said_farewell = isinstance(payload, Farewell)  # the connection closes next
        return self._carrier.write(payload)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Leave the namespace. A client that was told so stays, in its other namespaces or to choose another; one that
        is to come back can only be made to by ending its session."""
        if self._said_farewell:
            self._client.leave(self.namespace)
        else:
            self._client.session.close(code, reason)

    def overflow(self, code: int, reason: str) -> None:
        """The client does not read: that is true for all its namespaces."""
        self._client.session.overflow(code, reason)

    def pause(self) -> None:
        """Stop reading from the client."""
        self._client.pause(self.namespace)

    def resume(self) -> None:
        """Go on reading, unless another namespace has had enough."""
        self._client.resume(self.namespace)


class Client:
    """What an Engine.IO session pushes into."""

    __slots__ = (
        "__weakref__",
        "_attachments",
        "_codec",
        "_core",
        "_full",
        "_links",
        "_over",
        "_peers",
        "_pending",
        "_request",
        "_root",
        "_timer",
        "_told",
        "_transformer",
        "id",
        "session",
    )

    def __init__(self, transformer: SocketIOTransformer, request: Request, session: Session) -> None:
        self.id = session.sid
        self.session = session
        self._transformer = transformer
        self._core = transformer.core
        self._request = request.kept()
        self._codec = transformer.codec()
        self._peers: dict[str, Peer] = {}
        self._root: Peer | None = None  # the one of "/", to which nearly everything goes
        # Those to be told when the session moves to a WebSocket; one that begins there never moves.
        self._links: dict[str, NamespaceLink] | None = {} if session.wire == "polling" else None
        self._pending: dict[str, trio.CancelScope] = {}
        self._full: frozenset[str] = frozenset()  # namespaces whose inbox is full
        self._over = False
        self._told = False  # whether the last namespace was closed with a word, after which clients hang up
        timeout = transformer.connect_timeout
        self._timer: Timer = self._core.at(self._core.now() + timeout, self._nobody_came)
        self._attachments: Timer | None = None

    # -- what the session calls

    def opened(self) -> None:
        """Nothing to tell: connections begin with CONNECT."""

    def alive(self, now: float) -> None:
        """Note a sign of life for all namespaces."""
        for peer in self._peers.values():  # nearly always one
            peer.alive(now)

    def writable(self) -> None:
        """Tell all namespaces."""
        for peer in tuple(self._peers.values()):
            peer.writable()

    def moved(self) -> None:
        """The session has moved to a WebSocket, and so have all namespaces."""
        links, self._links = self._links, None
        for link in (links or {}).values():
            link.follow()

    def message(self, data: str | bytes) -> None:
        """Take one Engine.IO message."""
        if self._root is not None and type(data) is str:
            event = self._codec.event(data)
            if event is not None:
                self._root.deliver_event(event[0], event[1:])
                return
        if not self._over:
            self._packet(data)

    def _packet(self, data: str | bytes) -> None:
        """Take whatever is no plain event."""
        try:
            frame = self._codec.decode(data)
        except ProtocolError as error:
            self._fail(str(error), error.code)
            return
        if frame is not None:
            if self._attachments is not None:
                self._attachments.cancel()
                self._attachments = None
            self._frame(frame)
        elif self._attachments is None:
            self._await_attachments(self._core.now())

    def closed(self, code: int, reason: str) -> None:
        """The session is gone, and with it every namespace."""
        self._over = True
        self._timer.cancel()
        if self._attachments is not None:
            self._attachments.cancel()
        pending, self._pending = self._pending, {}
        for scope in pending.values():
            scope.cancel()
        peers, self._peers = self._peers, {}
        self._root = self._links = None  # with their client they would keep each other alive
        for peer in peers.values():
            peer.closed(code, reason)

    # -- packets

    def _frame(self, frame: Frame) -> None:
        kind, namespace, number, data = frame
        peer = self._peers.get(namespace)
        if peer is None:
            if kind is Kind.CONNECT:
                self._connect(frame)
            else:
                self._fail("a packet for a namespace that is not connected")
        elif kind is _EVENT:
            peer.deliver_event(data[0], data[1:], number)
        elif kind is Kind.ACK:
            if number is not None:
                peer.deliver(Ack(number, data))
        elif kind is Kind.DISCONNECT:
            self._forget(frame.namespace)
            self._told = False
            peer.closed(1000, "client namespace disconnect")
            self._watch_for_nobody(self._transformer.connect_timeout)
        else:
            self._fail("a packet that may not come now")

    def _connect(self, frame: Frame) -> None:
        before = self._pending.pop(frame.namespace, None)
        if before is not None:
            before.cancel()  # it has given that up meanwhile, of which clients don't tell: what counts is the latest
        if len(self._peers) + len(self._pending) >= MAX_NAMESPACES:
            self._fail("too many namespaces")
            return
        if len(frame.namespace) > MAX_NAME or not self._core.has_namespace(frame.namespace):
            self._refuse(frame.namespace, "Invalid namespace")
            return
        scope = self._pending[frame.namespace] = trio.CancelScope()
        self._core.start_soon(self._admit, frame.namespace, frame.data, scope)

    async def _admit(self, namespace: str, auth: Any, scope: trio.CancelScope) -> None:
        """Ask the application, and open the connection or say why not."""
        request = self._request.with_auth(auth)
        try:
            with scope:  # cancelled when the client goes, or asks anew: then nobody wants to know
                await self._core.authorize(request, namespace)
            if self._pending.get(namespace) is not scope:
                return
            if not self._reads():  # a connection must not be closed before it has been opened
                return
            link = NamespaceLink(self, namespace)
            peer = self._core.connect(
                request,
                link,
                self._transformer,
                namespace=namespace,
                primus=False,
                farewell=True,
                events=True,
                seat=_NO_SEAT,
            )
        except Reject as refusal:
            if self._pending.get(namespace) is scope:
                self._refuse(namespace, refusal.reason or "not authorized", refusal.data)
            return
        finally:
            if self._pending.get(namespace) is scope:
                del self._pending[namespace]
        self._peers[namespace] = peer
        if self._links is not None:
            self._links[namespace] = link
        if namespace == "/":
            self._root = peer
        self._timer.cancel()
        self._send(Frame(Kind.CONNECT, namespace, None, {"sid": peer.id}))
        peer.opened()

    def _refuse(self, namespace: str, message: str, data: Any = None) -> None:
        body = {"message": message} if data is None else {"message": message, "data": data}
        self._send(Frame(Kind.CONNECT_ERROR, namespace, None, body))

    def _reads(self) -> bool:
        """Tell whether the client reads what it is sent; one that does not is closed."""
        options, session = self._core.options, self.session
        if session.buffered > options.max_backlog or session.queued >= options.max_backlog_messages:
            session.overflow(1013, "the client does not read")
            return False
        return True

    def _send(self, frame: Frame) -> None:
        if self._reads():
            for payload in self._transformer.wrap(self._codec.encode(frame), self.session.wire):
                self.session.write(payload)

    # -- leaving

    def leave(self, namespace: str) -> None:
        """The application has closed the connection of a namespace, and said so."""
        self._forget(namespace)
        self._told = True
        # Clients hang up by themselves then, or ask for another namespace; this one has a little time for either.
        self._watch_for_nobody(self._core.options.close_timeout)

    def dismiss(self, code: int, reason: str) -> None:
        """The server is stopping: say goodbye, unless the connection of a namespace has done so."""
        if not (self._peers or self._told or self._over):
            self.closed(code, reason)  # nobody is asked any more whether it may come in
            self.session.close(code, reason)

    def _forget(self, namespace: str) -> None:
        self._peers.pop(namespace, None)
        if self._links is not None:
            self._links.pop(namespace, None)
        if namespace == "/":
            self._root = None
        self.resume(namespace)

    def _watch_for_nobody(self, within: float) -> None:
        """End the client unless it is in a namespace again within so many seconds; being refused does not help."""
        if not self._peers and not self._over:
            self._timer.cancel()
            self._timer = self._core.at(self._core.now() + within, self._nobody_came)

    def _nobody_came(self, *, again: bool = False) -> None:
        if self._peers:
            return
        if self._pending and not again:  # it has come in time; by then the application will have judged it
            limit = self._core.now() + self._core.options.upgrade_timeout
            self._timer = self._core.at(limit, lambda: self._nobody_came(again=True))
            return
        self._fail("no namespace within the time")

    def _await_attachments(self, since: float) -> None:
        """Wait for the attachments of a packet, of which nothing has come since then."""
        self._attachments = self._core.at(since + _PATIENCE, self._look_for_attachments)

    def _look_for_attachments(self) -> None:
        """Go on waiting as long as anything comes, or would if somebody listened."""
        now = self._core.now()
        since = min(self.session.silent_since(), now)
        if since + _PATIENCE > now:
            self._await_attachments(since)
        else:
            self._fail("attachments are missing")

    def _fail(self, reason: str, code: int = 1002) -> None:
        """The client does not speak Socket.IO: its session ends."""
        self.closed(code, reason)
        self.session.close(code, "")

    # -- backpressure

    def pause(self, namespace: str) -> None:
        """One namespace has enough: the client is not read."""
        if not self._full:
            self.session.pause()
        self._full |= {namespace}

    def resume(self, namespace: str) -> None:
        """A namespace takes messages again."""
        if namespace in self._full:
            self._full -= {namespace}
            if not self._full:
                self.session.resume()
