"""The door for authors of plug-ins: what a transformer, a parser, a host and a link have to look like.

Only protocols and the plain values that pass between them; nothing here does any work.

The direction is always the same: **hosts push, transformers never read**. A host calls the transformer with requests
and upgraded sockets, and the :class:`Receiver` that it gets back with messages. So a transformer has no loops and no
tasks of its own, and an idle connection needs none either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import msgspec

from ahtransport._errors import ProtocolError, Reject
from ahtransport._http import Headers, Later, Request, Response
from ahtransport._payload import Payload

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = [
    "Ack",
    "Control",
    "Core",
    "Event",
    "Headers",
    "Later",
    "Link",
    "Message",
    "Outlet",
    "Pacer",
    "Packet",
    "Parser",
    "Payload",
    "Peer",
    "PrimusCodec",
    "ProtocolError",
    "Receiver",
    "Reject",
    "Request",
    "Response",
    "Seat",
    "Timer",
    "Transformer",
    "WebSocket",
]


class Message(msgspec.Struct, frozen=True, gc=False):
    """A plain message: any value that the parser can carry."""

    data: Any


class Event(msgspec.Struct, frozen=True, gc=False):
    """A named event with arguments; ``ack`` is the id under which the sender wants an answer, or None."""

    name: str
    args: Sequence[Any]
    ack: int | None = None


class Ack(msgspec.Struct, frozen=True, gc=False):
    """The answer to the event that came with this id."""

    ack: int
    args: Sequence[Any]


class Control(msgspec.Struct, frozen=True, gc=False):
    """One of Primus' own control messages, such as ``primus::ping::1795369697871``."""

    text: str


Packet: TypeAlias = Message | Event | Ack | Control


@runtime_checkable
class Parser(Protocol):
    """Turns values into what goes over the wire and back.

    It may have an attribute ``client``: JavaScript for the generated browser client, which sets ``parsers.custom`` to
    an object with ``encode(value)``, which gives a string or a Uint8Array, and ``decode(data)``, which takes either.
    Without it there is no generated client.
    """

    def encode(self, value: Any) -> str | bytes:
        """Encode ``value``; text travels as a text message, bytes as a binary one. (A parser of JSON may give its
        UTF-8 bytes and say so with ``binary = False``.)

        Raises:
            TypeError, ValueError: the value can't be carried.
        """
        ...

    def decode(self, data: str | bytes) -> Any:
        """Decode one message.

        Raises:
            ValueError: the data is not what this parser speaks. Anything else raised counts as that, too.
        """
        ...


class Outlet(Protocol):
    """A stream that whole WebSocket frames may be put into, past the links above it. That is what most recipients of a
    broadcast come to: it reads nothing of a connection but this and one more reference.
    """

    @property
    def straight(self) -> socket.socket | None:
        """The socket, as long as nothing waits for it, nothing is being collected and the stream is not ending; else
        None."""
        ...

    @property
    def descriptor(self) -> int:
        """The socket's descriptor; to be asked for while it is :attr:`straight`."""
        ...

    def keep(self, data: bytes, sent: int) -> bool:
        """Take care of the rest of ``data``, of which the socket took only ``sent`` bytes. False: something waits."""
        ...

    def cork(self) -> None:
        """Collect what is written, to send it in one piece, until anybody calls :meth:`uncork`; harmless when that is
        done already. What comes to much leaves before."""
        ...

    def uncork(self) -> None:
        """Send what was collected."""
        ...

    def next(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the running task has nothing more to do for now."""
        ...


class Link(Protocol):
    """Where a connection writes *now*: a WebSocket or a poll buffer; swapped on an upgrade.

    Nothing here waits; all of it may be called from any task of the loop.
    """

    @property
    def wire(self) -> str:
        """Which encoding of a payload it takes ("text", "polling" …); payloads are shared per wire."""
        ...

    @property
    def transport(self) -> str:
        """What carries it: "websocket" or "polling"."""
        ...

    @property
    def outlet(self) -> Outlet | None:
        """Where the frame of a payload may go past this link, as long as the link has not been closed and has not told
        that it is; None: nowhere, as for a poll buffer. All links of one transformer and namespace that have an outlet
        have the same ``wire``."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes that wait for the peer to read."""
        ...

    @property
    def queued(self) -> int:
        """Messages that wait for the peer to read."""
        ...

    def write(self, payload: Payload) -> bool:
        """Send one message, or queue it behind what waits already. False: something waits now."""
        ...

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2) once what waits has left. A code of 1005 sends none;
        1006 cuts the connection without a close frame."""
        ...

    def overflow(self, code: int, reason: str) -> None:
        """Close, and forget what waits: the peer does not read it anyway."""
        ...

    def pause(self) -> None:
        """Stop reading: the peer feels it through TCP."""
        ...

    def resume(self) -> None:
        """Go on reading. Messages never arrive before this returns."""
        ...


class WebSocket(Link, Protocol):
    """An upgraded socket, made by a host. As a link its wire is "text" and its transport "websocket"."""

    @property
    def read_since(self) -> float:
        """Since when it has been read without a break, seconds of trio's clock; -inf: it was never paused; inf: it is
        paused now, by whoever uses it or by the host, because the peer sends too fast."""
        ...


class Receiver(Protocol):
    """What a host pushes into. It never waits and never reads; an exception from it closes this socket alone."""

    def message(self, data: str | bytes) -> None:
        """Take one whole message: str from a text message, bytes from a binary one."""
        ...

    def alive(self, now: float) -> None:
        """Note that something, of whatever kind, came from the peer; ``now`` is trio's clock."""
        ...

    def writable(self) -> None:
        """Learn that what waited has left, after ``write`` returned False."""
        ...

    def closed(self, code: int, reason: str) -> None:
        """Learn, exactly once and last of all, that the socket is gone. 1006: without a close frame."""
        ...


class Peer(Receiver, Protocol):
    """The core's end of one connection. As a receiver it takes messages in Primus' format; a transformer that decodes
    for itself pushes packets.

    (Every ``ahtransport.Connection`` is one.)
    """

    id: str

    def deliver(self, packet: Message | Event | Ack) -> None:
        """Take one packet that the transformer decoded itself."""
        ...

    def deliver_event(self, name: str, args: list[Any], ack: int | None = None) -> None:
        """Take one event of a protocol whose messages are events, as in Socket.IO. ``message`` is a plain message,
        unless it goes to a function: its own, or the one for all events where nothing takes plain messages."""
        ...

    def opened(self) -> None:
        """Tell the application of it: the last step of a handshake. It may be closed when this returns."""
        ...


class Timer(Protocol):
    """A deadline that may be cancelled."""

    def cancel(self) -> None:
        """Make it not happen; harmless when it has happened already."""
        ...


class Seat:
    """A client's place among those that the server takes. This one counts nowhere; a server that has a limit gives
    another kind."""

    __slots__ = ()

    def leave(self) -> None:
        """Give it back: the client is gone. Harmless when that was done already."""


class Pacer(Protocol):
    """Holds up a client that sends faster than it may, where that is not the WebSocket's business."""

    async def message(self, size: int) -> None:
        """Wait until one more message of ``size`` bytes may be taken.

        Raises:
            Reject: 429, the client has been too fast for too long: it is to be closed.
        """
        ...


class PrimusCodec(Protocol):
    """Primus' message layer with the configured parser: values to text and back."""

    def encode(self, packet: Packet) -> Payload:
        """Encode a packet as Primus (and its plug-in primus-emitter) put it on the wire."""
        ...

    def decode(self, data: str | bytes) -> Packet:
        """The reverse.

        Raises:
            ValueError: the parser could not decode it.
        """
        ...


class Core(Protocol):
    """What a transformer is given when it is made: the application's side of the seam.

    Attributes:
        options: the effective options of ``servers.websocket.server``, durations in seconds.
        pathname: the path under which this transformer is mounted.
        codec: Primus' message layer.
        json: the parser of JSON, with the configured limits.
        messagepack: the parser of MessagePack.
        spec: what ``GET {pathname}/spec`` answers.
    """

    options: Any
    pathname: str
    codec: PrimusCodec
    json: Parser
    messagepack: Parser
    spec: Mapping[str, Any]

    def now(self) -> float:
        """Give the time of trio's clock, seconds."""
        ...

    def awake_since(self) -> float:
        """Tell since when the server has been running without a long pause, seconds of trio's clock; -inf: always.

        Who was silent while it stood still (the process stopped, the machine asleep) need not be gone.
        """
        ...

    def seconds(self, duration: Any) -> float:
        """Read a duration from the transformer's options as the configuration does: milliseconds, or text.

        Raises:
            ValueError: it is none.
        """
        ...

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` when trio's clock reaches ``when``. One task serves all deadlines; it must not wait."""
        ...

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a function that has to wait, such as for :meth:`authorize`, beside everything else."""
        ...

    def has_namespace(self, name: str) -> bool:
        """Tell whether the application has this namespace (Socket.IO's ``/name``; all others know only "/")."""
        ...

    def asks(self, namespace: str = "/") -> bool:
        """Tell whether :meth:`authorize` has anything to do; where not, a handshake may do without it, and so without
        a wait and the task for it."""
        ...

    async def authorize(self, request: Request, namespace: str = "/") -> None:
        """Ask the application whether this client may connect.

        Raises:
            Reject: it may not.
        """
        ...

    def admit(self, request: Request) -> Seat:
        """Give a new client a seat: the first step of a handshake, before anything is spent on it. Whoever took it has
        to :meth:`Seat.leave` it when the handshake fails, and when the client is gone.

        Raises:
            Reject: 503 or 429: there is none, now or for this address.
        """
        ...

    def pacer(self, request: Request) -> Pacer | None:
        """Give what paces the messages of a client that come by other ways than a WebSocket; None: nothing does."""
        ...

    def connect(
        self,
        request: Request,
        link: Link,
        transformer: Transformer,
        *,
        wire_id: str | None = None,
        namespace: str = "/",
        primus: bool = True,
        farewell: bool | None = None,
        events: bool = False,
        seat: Seat | None = None,
    ) -> Peer:
        """Make a connection; the application learns of it by :meth:`Peer.opened`.

        Args:
            request: the handshake; headers, query, address and fingerprint come from it.
            link: where to write now.
            transformer: who encodes for it.
            wire_id: the id under which the client knows itself, where that is not the connection's own.
            primus: whether the client speaks Primus' protocol: its heartbeat keeps watch, its control messages
                are sent.
            namespace: which part of the application it is for.
            farewell: whether ``primus::server::close`` is encoded for a client that is not to come back; None: as
                ``primus``.
            events: whether events are this protocol's messages, each on its own: a function that fails on one costs
                the client its acknowledgement, not the connection.
            seat: what the connection leaves when it ends; None: it takes one of its own. A ``Seat()`` is for
                connections of a client that has its seat already.

        Raises:
            Reject: there is no such namespace, or no longer; there is no seat.
        """
        ...


class Transformer(Protocol):
    """One wire protocol, called by hosts. Made with ``(core, options)``: the seam to the application, and what stands
    under ``transport`` in the configuration, to be checked by the transformer itself.

    Attributes:
        name: under which the registry and ``connection.transformer`` know it.
        default_pathname: where it is mounted unless the configuration says so; None: where
            ``servers.websocket.server.pathname`` says by default.

    A transformer may have a method ``claims(request) -> bool``, which is asked where several share a pathname: the
    first that claims a request gets it. One without the method claims all. It may have a method ``stop()``, called when
    the server ends, cancelled or not: whatever it keeps that no stream carries at the moment ends then. It may have a
    method ``dismiss(code, reason)``, called when the server begins to stop and every connection has been closed with
    this code and reason: clients that have no connection are to be told then. It may have a method
    ``unfetched() -> bool``, asked while the server stops: as long as it tells that something waits for a client's next
    request, connections that idle stay open for a moment, so that the request can come.

    It may have a client side for the generated browser client. ``client_modules()`` gives JavaScript sources by name;
    of a name that several transformers give, the last counts. Together they define ``wires[NAME]``, a class as
    "Writing a transformer" describes it. ``client_options()`` gives what that class needs to know of the server's
    options, as a mapping that JSON can carry. Without ``client_modules`` the browser client does without the
    transformer.
    """

    name: ClassVar[str]
    default_pathname: ClassVar[str | None]

    def handle_request(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a plain HTTP request under the pathname. It may wait: an ``async def`` gets a task for it; where that
        costs too much, as for a long poll, it may give a :class:`Later`. An answer that is there needs neither.

        Raises:
            Reject: turned into its response by the caller.
        """
        ...

    def handle_upgrade(self, request: Request, socket: WebSocket) -> Receiver | Awaitable[Receiver]:
        """Take an upgraded socket. It may wait: an ``async def`` gets a task for it, and leaves none behind. What is
        written to ``socket`` before it returns leaves right after the 101.

        Raises:
            Reject: nothing has been accepted yet, the client gets a plain HTTP response.
        """
        ...

    def encode(self, packet: Packet, wire: str) -> Sequence[Payload]:
        """Encode for one kind of wire. Pure: the result is shared by everybody on such a wire.

        Raises:
            TypeError, ValueError: the value can't be carried.
        """
        ...
