"""Engine.IO requests: which session they are for, and what is refused.

What is refused and how follows npm ``engine.io``: plain requests get ``{"code": n, "message": …}``, upgrades a line of
text.
"""

from __future__ import annotations

import functools
import secrets
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from ahtransport.transports.engineio import _codec as codec
from ahtransport.transports.engineio._session import Session
from ahtransport.transports.engineio._sockets import Probe, SocketReceiver
from ahtransport.transports.engineio._state import NO_SEAT, Carried, State

from ahtransport.abc import Payload, Reject, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from ahtransport.abc import Core, Packet, Receiver, Request, Seat, WebSocket

__all__ = ["EngineIOTransformer"]

_TRANSPORTS: Final = ("polling", "websocket")
_KEPT_SIZE: Final = 256  # characters of a query that is remembered, at most
_CLIENT: Final = ("packets.js", "carriers.js", "client.js")
_REFUSALS: Final = {
    0: "Transport unknown",
    1: "Session ID unknown",
    2: "Bad handshake method",
    3: "Bad request",
    4: "Forbidden",
    5: "Unsupported protocol version",
}
_UNKNOWN_TRANSPORT, _UNKNOWN_SID, _BAD_METHOD, _BAD_REQUEST, _, _BAD_VERSION = _REFUSALS


def draw_sid() -> str:
    """Draw the id of a session: 128 random bits, since whoever guesses it has the session."""
    return secrets.token_urlsafe(16)


class _Query:
    """The parameters that Engine.IO looks at."""

    __slots__ = ("jsonp", "protocol", "sid", "transport")

    def __init__(self, request: Request) -> None:
        found: dict[str, str] = {}
        for name, value in request.query_pairs:
            # A parameter that comes twice means different things to different readers: then it means nothing.
            found[name] = "" if name in found else value
        self.protocol = found.get("EIO", "")
        self.transport = found.get("transport", "")
        # None: there is none. An empty one is unknown, like any other that was never given out.
        self.sid = found.get("sid")
        self.jsonp = "j" in found


class EngineIOTransformer:
    """Engine.IO, protocol 4.

    Options, under ``transport`` in the configuration: ``ping_interval`` and ``ping_timeout`` (25 and 20 seconds),
    ``upgrade_timeout`` (10 seconds), ``transports`` (``["polling", "websocket"]``), ``allow_upgrades`` (true).
    """

    name: ClassVar[str] = "engine.io"
    default_pathname: ClassVar[str | None] = None

    def __init__(self, core: Core, options: Mapping[str, Any]) -> None:
        """Take the seam to the application and the options.

        Raises:
            ValueError: an option is unknown or impossible.
        """
        known = dict(options)
        self.core = core
        self._encode = core.codec.encode
        self.ping_interval = core.seconds(_take(known, "ping_interval", 25000))
        self.ping_timeout = core.seconds(_take(known, "ping_timeout", 20000))
        self.upgrade_timeout = core.seconds(_take(known, "upgrade_timeout", 10000))
        self.transports: Sequence[str] = _take(known, "transports", _TRANSPORTS)
        self.allow_upgrades: bool = _take(known, "allow_upgrades", True)
        if known:
            raise ValueError(
                f"unknown option {next(iter(known))!r}; there are ping_interval, ping_timeout, upgrade_timeout, "
                "transports and allow_upgrades"
            )
        if (
            not isinstance(self.transports, list | tuple)
            or not self.transports
            or set(self.transports) - {*_TRANSPORTS}
        ):
            raise ValueError('transports must be a list of "polling" and "websocket"')
        if not isinstance(self.allow_upgrades, bool):
            raise ValueError("allow_upgrades must be true or false")
        self._can_upgrade = self.allow_upgrades and "websocket" in self.transports
        self._sessions: dict[str, Session] = {}
        self._polling: dict[str, Session] = {}  # by the query that its requests have, without their stamps

    # -- what hosts call

    def claims(self, request: Request) -> bool:
        """Take requests with ``EIO=`` in their query, where several transformers share a pathname."""
        return "EIO" in request.query

    def handle_request(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a handshake, a poll or a POST.

        Raises:
            Reject: it is refused.
        """
        # The requests of a session say the same each time, but for the stamp against caches: that is read once.
        session = self._polling.get(_without_stamp(request.query_string))
        return self.meet(request) if session is None else self._answer(request, session)

    def meet(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a request in whose query there is something new.

        Raises:
            Reject: it is refused.
        """
        query = _Query(request)
        if query.sid is None:
            return self._welcome(request, query)
        session = self._verify(request, query, upgrade=False)
        if session is None:
            raise self.refusal(_BAD_REQUEST)
        if session.query is None and session.wire == "polling":
            known = _without_stamp(request.query_string)
            if len(known) <= _KEPT_SIZE:
                session.query = known
                self._polling[known] = session
        return self._answer(request, session)

    def _answer(self, request: Request, session: Session) -> Response | Awaitable[Response]:
        if request.method == "GET":
            return session.poll()
        if request.method == "POST":
            return session.post(request)
        raise self.refusal(_BAD_REQUEST)

    async def _welcome(self, request: Request, query: _Query) -> Response:
        """Answer a request that names no session: open one.

        Raises:
            Reject: it is refused.
        """
        if query.transport == "websocket" and request.method == "GET":
            # Pages are not told why a WebSocket was refused: the generated client asks like this. The rest is as ever.
            self.core.admit(request).leave()
            await self.authorize(request)
        self._verify(request, query, upgrade=False)
        session = await self._open(request, None)
        opening = self._handshake(session.sid, ["websocket"] if self._can_upgrade else [])
        return Response(200, opening.data, [("Content-Type", "text/plain; charset=UTF-8")])

    def handle_upgrade(self, request: Request, socket: WebSocket) -> Receiver | Awaitable[Receiver]:
        """Open a session on a WebSocket, or let one ask for a session that polls.

        Raises:
            Reject: it is refused.
        """
        query = _Query(request)
        try:
            session = self._verify(request, query, upgrade=True)
            if query.transport != "websocket":
                raise self.refusal(_BAD_REQUEST)
        except _Refusal as refusal:
            raise refusal.as_text() from None
        if session is None:
            if self.asks():
                return self._open_socket(request, socket)
            return SocketReceiver(self._begin(request, socket, self.core.admit(request)))
        probe = Probe(session, socket)
        if session.state is State.POLLING and self.allow_upgrades:
            session.begin_probe(socket)
        else:
            socket.close(1000)
        return probe

    async def _open_socket(self, request: Request, socket: WebSocket) -> Receiver:
        return SocketReceiver(await self._open(request, socket))

    @classmethod
    def client_modules(cls) -> Mapping[str, str]:
        """Give the client's side, for the generated browser client."""
        return {"engine.io": _client()}

    def client_options(self) -> Mapping[str, Any]:
        """Say what the client's side has to know: which transports there are, unless both are."""
        return {} if set(self.transports) == {*_TRANSPORTS} else {"transports": list(self.transports)}

    def encode(self, packet: Packet, wire: str) -> Sequence[Payload]:
        """Encode a packet of Primus' as one Engine.IO message."""
        return (codec.encode_message(self._encode(packet), polling=wire == "polling"),)

    # -- sessions

    def _verify(self, request: Request, query: _Query, *, upgrade: bool) -> Session | None:
        """Find the session that a request is for; None: it would like to open one.

        Raises:
            Reject: as npm engine.io refuses.
        """
        if query.transport not in self.transports:
            raise self.refusal(_UNKNOWN_TRANSPORT)
        if query.jsonp:
            raise self.refusal(_BAD_REQUEST)  # answers that are scripts can't be kept from other sites' pages
        if query.sid is not None:
            session = self._sessions.get(query.sid)
            if session is None:
                raise self.refusal(_UNKNOWN_SID)
            if query.protocol != "4" or (not upgrade and session.transport != query.transport):
                raise self.refusal(_BAD_REQUEST)
            return session
        if request.method != "GET":
            raise self.refusal(_BAD_METHOD)
        if query.transport == "websocket" and not upgrade:
            raise self.refusal(_BAD_REQUEST)
        if query.protocol != "4":
            raise self.refusal(_BAD_VERSION)
        return None

    def _handshake(self, sid: str, upgrades: list[str]) -> Payload:
        length = self.core.options.max_length
        return codec.encode_open(sid, upgrades, self.ping_interval, self.ping_timeout, length)

    async def _open(self, request: Request, socket: WebSocket | None) -> Session:
        """Open a session, if there is a seat and the application wants it.

        Raises:
            Reject: there is none, or it does not.
        """
        seat = self.core.admit(request)
        try:
            await self.authorize(request)
        except BaseException:
            seat.leave()
            raise
        return self._begin(request, socket, seat)

    def _begin(self, request: Request, socket: WebSocket | None, seat: Seat) -> Session:
        """Begin a session that has its seat.

        Raises:
            Reject: the application has no place for it.
        """
        try:
            sid = draw_sid()
            session = Session(sid, self, socket, seat, self.core.pacer(request) if socket is None else None)
            if socket is not None:
                socket.write(self._handshake(sid, []))
            session.begin(self.connect_peer(request, session))
        except BaseException:
            seat.leave()
            raise
        self._sessions[sid] = session
        session.peer.opened()
        return session

    def asks(self) -> bool:
        """Tell whether :meth:`authorize` has anything to do."""
        return self.core.asks()

    async def authorize(self, request: Request) -> None:
        """Ask whether a client may open a session.

        Raises:
            Reject: it may not.
        """
        await self.core.authorize(request)

    def connect_peer(self, request: Request, session: Session) -> Carried:
        """Make what a session pushes its messages into."""
        # Primus' client leaves its mark in the URL; others would take its control messages for the application's.
        primus = "_primuscb" in request.query
        return self.core.connect(request, session, self, wire_id=session.sid, primus=primus, seat=NO_SEAT)

    def moved(self, session: Session) -> None:
        """A session has moved to a WebSocket."""
        self._forget_query(session)

    def _forget_query(self, session: Session) -> None:
        if session.query is not None:
            del self._polling[session.query]
            session.query = None

    def unfetched(self) -> bool:
        """Tell whether something waits for a client's next poll."""
        return any(session.wire == "polling" and session.queued for session in self._sessions.values())

    def stop(self) -> None:
        """End all sessions: the server ends."""
        for session in tuple(self._sessions.values()):
            session.stop()

    def forget(self, session: Session) -> None:
        """A session is over."""
        self._sessions.pop(session.sid, None)
        self._forget_query(session)
        session.seat.leave()

    def refusal(self, code: int) -> _Refusal:
        """Make a refusal of npm engine.io's."""
        return _Refusal(code)


class _Refusal(Reject):
    """One of npm engine.io's refusals."""

    def __init__(self, code: int) -> None:
        self.code = code
        body = msgspec.json.encode({"code": code, "message": _REFUSALS[code]})
        super().__init__(400, _REFUSALS[code], [("Content-Type", "application/json")], body=body)

    def as_text(self) -> Reject:
        """Give it as upgrades are refused."""
        return Reject(400, self.reason, [("Content-Type", "text/html")], body=self.reason.encode())


@functools.cache
def _client() -> str:
    folder = resources.files("ahtransport.transports.engineio")
    return "".join((folder / name).read_text(encoding="utf-8") for name in _CLIENT)


def _without_stamp(query: str) -> str:
    """Give a query without the parameter ``t``, which is another one in each request and means nothing."""
    before, _, after = query.partition("&t=")
    _, more, after = after.partition("&")
    return f"{before}&{after}" if more else before


def _take(options: dict[str, Any], name: str, default: Any) -> Any:
    """Take an option out, by its name or its camelCase spelling."""
    first, *rest = name.split("_")
    camel = first + "".join(word.title() for word in rest)
    return options.pop(name, options.pop(camel, default))
