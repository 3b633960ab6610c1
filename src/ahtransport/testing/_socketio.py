"""A small Socket.IO client: events, acknowledgements and messages as text, in one namespace."""

from __future__ import annotations

import functools
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ahtransport._errors import ConnectionClosed, ProtocolError
from ahtransport._parsers import JSONParser
from ahtransport.abc import Ack, Control, Event
from ahtransport.testing._engineio import EngineIOClient
from ahtransport.testing._http import HttpResponse, Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from ahtransport.abc import Packet, Parser
    from ahtransport.testing._clients import Dial
    from ahtransport.testing._engineio import Mode

__all__ = ["SocketIOClient", "connect_socketio"]

_PACKET: Final = re.compile(r"([0-4])(?:(/[^,]*),)?([0-9]+)?(.*)", re.DOTALL)
_CONNECT, _DISCONNECT, _EVENT, _ACK, _CONNECT_ERROR = "01234"
_CLOSE: Final = "primus::server::close"


class SocketIOClient:
    """One namespace over one Engine.IO session; binary parts are left to the real clients.

    Attributes:
        engine: the session below.
        sid: the connection's id, as the server told it.
        control: ``"primus::server::close"`` once the server has sent DISCONNECT, which says the same.
    """

    def __init__(self, engine: EngineIOClient, namespace: str = "/") -> None:
        self.engine = engine
        self.sid = ""
        self.control: list[str] = []
        self._prefix = "" if namespace == "/" else f"{namespace},"
        self._namespace = namespace
        self._parser: Parser = JSONParser()

    @property
    def closed(self) -> tuple[int, str] | None:
        """How the session ended, once it has."""
        return self.engine.closed

    async def connect(self, auth: Mapping[str, Any] | None = None) -> None:
        """Ask for the namespace.

        Raises:
            Refused: the server answered with CONNECT_ERROR. The response has the status 0, since there is none, and
                the error's message and data.
            ConnectionClosed: the server hung up.
        """
        await self._send(_CONNECT, None if auth is None else dict(auth))
        kind, _, data = await self._receive()
        if kind == _CONNECT_ERROR:
            body = {"error": data["message"], **({"data": data["data"]} if "data" in data else {})}
            raise Refused(HttpResponse(0, body=msgspec.json.encode(body)))
        if kind != _CONNECT:
            raise ProtocolError(f"the answer to CONNECT is {kind}{data}")
        self.sid = data["sid"]

    async def _send(self, kind: str, data: Any = None, number: int | None = None) -> None:
        encoded = self._parser.encode(data)
        body = "" if data is None else encoded if isinstance(encoded, str) else encoded.decode()
        await self.engine.send(f"{kind}{self._prefix}{'' if number is None else number}{body}")

    async def send(self, value: Any) -> None:
        """Send a message: the event ``message``."""
        await self._send(_EVENT, ["message", value])

    async def send_packet(self, packet: Packet) -> None:
        """Send a packet.

        Raises:
            TypeError: there are no control messages here.
        """
        if isinstance(packet, Event):
            await self._send(_EVENT, [packet.name, *packet.args], packet.ack)
        elif isinstance(packet, Ack):
            await self._send(_ACK, list(packet.args), packet.ack)
        elif isinstance(packet, Control):
            raise TypeError("Socket.IO has no control messages of Primus'")
        else:
            await self.send(packet.data)

    async def send_encoded(self, data: str | bytes) -> None:
        """Send as one packet what need not be one."""
        await self.engine.send(data)

    async def receive(self) -> Any:
        """Wait for the next message, event or acknowledgement."""
        kind, number, data = await self._receive()
        if kind == _EVENT:
            name, *args = data
            if name == "message" and number is None:
                return args[0] if len(args) == 1 else args
            return Event(name, args, number)
        if kind == _ACK and number is not None:
            return Ack(number, data)
        if kind != _DISCONNECT:
            raise ProtocolError(f"a server sent {kind}{data}")
        self.control.append(_CLOSE)
        await self.engine.close()
        raise ConnectionClosed(*(self.closed or (1005, "")))

    async def _receive(self) -> tuple[str, int | None, Any]:
        text = await self.engine.receive()
        match = _PACKET.fullmatch(text) if isinstance(text, str) else None
        if match is None or (match[2] or "/") != self._namespace:
            raise ProtocolError(f"a server sent {text!r}")
        return match[1], int(match[3]) if match[3] else None, self._parser.decode(match[4]) if match[4] else None

    async def close(self) -> None:
        """Leave the namespace, and then the server."""
        if self.closed is None:
            await self._send(_DISCONNECT)
        await self.engine.close()

    async def abort(self) -> None:
        """Vanish."""
        await self.engine.abort()


@asynccontextmanager
async def _connect(
    mode: Mode,
    dial: Dial,
    path: str = "/socket.io",
    *,
    query: Mapping[str, str] | None = None,
    headers: Iterable[tuple[str, str]] = (),
    parser: Parser | None = None,
    namespace: str = "/",
    auth: Mapping[str, Any] | None = None,
) -> AsyncIterator[SocketIOClient]:
    if parser is not None:
        raise TypeError("what Socket.IO's packets are written in is not up to the option `parser`")
    engine = await EngineIOClient.connect(dial, path, mode=mode, query=query, headers=headers)
    try:
        client = SocketIOClient(engine, namespace)
        await client.connect(auth)
        if mode == "upgrade":
            await engine.upgrade()
        yield client
    finally:
        await engine.cut()


def connect_socketio(mode: Mode) -> functools.partial[Any]:
    """Give what connects a :class:`SocketIOClient` in this way, as ``Variant.connect``; besides it takes ``namespace``
    and ``auth``."""
    return functools.partial(_connect, mode)
