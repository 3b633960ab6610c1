"""Socket.IO on top of the Engine.IO transformer: namespaces, events, acknowledgements."""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ahtransport.transports.engineio import EngineIOTransformer, encode_message
from ahtransport.transports.socketio._client import Client, Farewell
from ahtransport.transports.socketio._codec import Codec, Frame, Kind, MessagePackCodec, TextCodec
from ahtransport.transports.socketio._version2 import Farewell2, explain, is_version_2

from ahtransport.abc import Ack, Control, Event, Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence

    from ahtransport.transports.engineio import Carried, Session

    from ahtransport.abc import Core, Packet, Payload, Receiver, Request, Response, WebSocket

__all__ = ["SocketIOTransformer"]

_EVENT = Kind.EVENT


#: How the generated client is told that it is not of this server's making any more.
_STALE: Final = "primus::stale"


class SocketIOTransformer(EngineIOTransformer):
    """Socket.IO, protocol 5.

    Options, under ``transport``: Engine.IO's, ``connect_timeout`` (45 seconds) within which a client has to connect to
    a namespace, and ``parser`` ("default" or "msgpack", as npm socket.io-msgpack-parser).
    """

    name: ClassVar[str] = "socket.io"
    default_pathname: ClassVar[str | None] = "/socket.io"

    def __init__(self, core: Core, options: Mapping[str, Any]) -> None:
        """Take the seam to the application and the options.

        Raises:
            ValueError: an option is unknown or impossible.
        """
        known = dict(options)
        self.connect_timeout = core.seconds(known.pop("connect_timeout", known.pop("connectTimeout", 45000)))
        parser = known.pop("parser", "default")
        if parser not in ("default", "msgpack"):
            raise ValueError('parser must be "default" or "msgpack"')
        super().__init__(core, known)
        self._msgpack = parser == "msgpack"
        self._encoder = self.codec()

    def codec(self) -> Codec:
        """Make a codec for one client."""
        if self._msgpack:
            return MessagePackCodec(self.core.messagepack)
        return TextCodec(self.core.json, self.core.options.max_length)

    def meet(self, request: Request) -> Response | Awaitable[Response]:
        """Answer as Engine.IO does; clients of Socket.IO 2 are told that they are too old.

        Raises:
            Reject: it is refused.
        """
        if is_version_2(request) and request.query.get("transport") == "polling":
            return explain()
        return super().meet(request)

    def handle_upgrade(self, request: Request, socket: WebSocket) -> Receiver | Awaitable[Receiver]:
        """Take a WebSocket as Engine.IO does; clients of Socket.IO 2 are told that they are too old.

        Raises:
            Reject: it is refused.
        """
        if is_version_2(request) and request.query.get("transport") == "websocket":
            return Farewell2(socket)
        return super().handle_upgrade(request, socket)

    def connect_peer(self, request: Request, session: Session) -> Carried:
        """Make what a session pushes into: a client, which has no connection before its CONNECT."""
        return Client(self, request, session)

    def moved(self, session: Session) -> None:
        """Have the namespaces of a session write to its WebSocket from now on."""
        super().moved(session)
        if isinstance(session.peer, Client):
            session.peer.moved()

    def dismiss(self, code: int, reason: str) -> None:
        """Say goodbye to the clients that are in no namespace, and so in no connection."""
        for session in tuple(self._sessions.values()):
            if isinstance(session.peer, Client):
                session.peer.dismiss(code, reason)

    def asks(self) -> bool:
        """Nobody is asked before CONNECT."""
        return False

    async def authorize(self, request: Request) -> None:
        """Nobody is asked before CONNECT, which brings the credentials along."""

    @classmethod
    def client_modules(cls) -> Mapping[str, str]:
        """Give the client's side, Engine.IO's first, for the generated browser client."""
        return {**super().client_modules(), "socket.io": _client()}

    def client_options(self) -> Mapping[str, Any]:
        """Say what the client's side has to know: which transports there are, and which parser."""
        return {**super().client_options(), **({"parser": "msgpack"} if self._msgpack else {})}

    def encode(self, packet: Packet, wire: str) -> Sequence[Payload]:
        """Encode a packet as an event, an ack or, for Primus' goodbye, a DISCONNECT."""
        if type(packet) is Message or type(packet) is Event:
            plain = self._encoder.plain(packet, wire)
            if plain is not None:
                return (plain,)
        carrier, _, namespace = wire.partition(" ")
        if type(packet) is Message:
            frame = Frame(_EVENT, namespace, None, ["message", packet.data])
        elif isinstance(packet, Event):
            frame = Frame(_EVENT, namespace, packet.ack, [packet.name, *packet.args])
        elif isinstance(packet, Ack):
            frame = Frame(Kind.ACK, namespace, packet.ack, list(packet.args))
        elif isinstance(packet, Control) and packet.text.startswith(_STALE):
            frame = Frame(_EVENT, namespace, None, [_STALE, packet.text.removeprefix(f"{_STALE}::")])
        elif isinstance(packet, Control) and packet.text == "primus::server::close":
            parts = self.wrap(self._encoder.encode(Frame(Kind.DISCONNECT, namespace, None, None)), carrier)
            return [Farewell(part.data, binary=part.binary) for part in parts]
        else:
            return ()
        return self.wrap(self._encoder.encode(frame), carrier)

    @staticmethod
    def wrap(payloads: Iterable[Payload], carrier: str) -> Sequence[Payload]:
        """Make Engine.IO messages of a packet's parts."""
        polling = carrier == "polling"
        return [encode_message(payload, polling=polling) for payload in payloads]


@functools.cache
def _client() -> str:
    return (resources.files("ahtransport.transports.socketio") / "client.js").read_text(encoding="utf-8")
