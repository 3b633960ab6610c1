"""HTTP as the rest of the program sees it: headers, a request, a response, now or later. No I/O here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Final, TypeVar, overload
from urllib.parse import parse_qsl, unquote

import msgspec
import trio

from ahtransport._errors import Reject

__all__ = ["UNIX", "Headers", "Later", "Request", "Response", "parse_query", "query_pairs"]

#: The address of whoever comes by a Unix socket, which has none.
UNIX: Final = "unix"
_MAX_PARAMETERS = 1000
T = TypeVar("T")


def parse_query(text: str) -> dict[str, str]:
    """Read a query string; of a repeated name the first value counts.

    Raises:
        Reject: 400, there are more than 1,000 parameters.
    """
    return _first_of_each(query_pairs(text))


def _first_of_each(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def query_pairs(text: str) -> list[tuple[str, str]]:
    """Read a query string: each name and value in the order in which they came.

    Raises:
        Reject: 400, there are more than 1,000 parameters.
    """
    if not text:
        return []
    if text.count("&") >= _MAX_PARAMETERS:
        raise Reject(400, "there are too many query parameters")
    if "%" in text or "+" in text:
        return parse_qsl(text, keep_blank_values=True)
    # What parse_qsl does, for what needs no decoding, in a fifth of the time.
    return [pair.partition("=")[::2] for pair in text.split("&") if pair]


class Headers(Mapping[str, str]):
    """Header fields, looked up without case.

    A field that came more than once reads as its values joined with ", " (RFC 9110 section 5.2); ``get_all`` keeps
    them apart.
    """

    __slots__ = ("_packed", "_unpacked")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._packed = ""
        self._unpacked: dict[str, list[str]] | None = {}
        for name, value in fields:
            self._unpacked.setdefault(name.lower(), []).append(value)

    def packed(self) -> Headers:
        """Give a copy that is kept as one text and taken apart only while somebody looks: a fifth of the memory, for
        connections that live long."""
        twin = Headers()
        if self._unpacked is None or any("\n" in value for values in self._unpacked.values() for value in values):
            return self
        twin._packed = "\n".join(f"{name}\n{value}" for name, values in self._unpacked.items() for value in values)
        twin._unpacked = None
        return twin

    @property
    def _fields(self) -> dict[str, list[str]]:
        if self._unpacked is not None:
            return self._unpacked
        fields: dict[str, list[str]] = {}
        parts = iter(self._packed.split("\n") if self._packed else ())
        for name, value in zip(parts, parts, strict=True):
            fields.setdefault(name, []).append(value)
        return fields

    def __getitem__(self, name: str) -> str:
        values = self._fields[name.lower()]
        return values[0] if len(values) == 1 else ", ".join(values)

    @overload
    def get(self, name: str, /) -> str | None: ...

    @overload
    def get(self, name: str, /, default: str | T) -> str | T: ...

    def get(self, name: str, /, default: str | T | None = None) -> str | T | None:
        """Give the value of ``name``, or ``default`` when there is none."""
        # What is inherited raises and catches an error for each that is not there.
        values = self._fields.get(name.lower())
        if values is None:
            return default
        return values[0] if len(values) == 1 else ", ".join(values)

    def get_all(self, name: str) -> list[str]:
        """Give every value of ``name``, in order of arrival; an empty list when there is none."""
        return list(self._fields.get(name.lower(), ()))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


async def _no_body(limit: int) -> bytes:
    return b""


def _not_now(limit: int) -> None:
    return None


class Request:
    """One HTTP request, an upgrade request included.

    Attributes:
        method: such as ``"GET"``, upper case.
        target: as it stood in the request line.
        path: the part before ``?``, still percent-encoded.
        query_string: the part after ``?``, still percent-encoded.
        headers: the header fields.
        peer: address and port of the other end of the TCP connection; ``"unix"`` and 0 of a Unix socket's.
        remote_ip: the client's address: ``peer``, or what a trusted proxy says.
        remote_port: likewise; 0 when a proxy does not tell.
        secure: whether the client uses TLS, here or at a trusted proxy.
        host: the server's name and perhaps port, as the client knows it: the Host header, or what a trusted proxy says.
        auth: what a Socket.IO client sent along with its CONNECT; None for all others.
        state: free for middleware to leave things in.
        response_headers: added to whatever response is given, the 101 included.
    """

    __slots__ = (
        "_cookies",
        "_host",
        "_pairs",
        "_query",
        "_read",
        "_read_now",
        "auth",
        "headers",
        "method",
        "path",
        "peer",
        "query_string",
        "remote_ip",
        "remote_port",
        "response_headers",
        "secure",
        "state",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers | Iterable[tuple[str, str]] = (),
        *,
        peer: tuple[str, int] = ("127.0.0.1", 0),
        secure: bool = False,
        read: Callable[[int], Awaitable[bytes]] = _no_body,
        read_now: Callable[[int], bytes | None] = _not_now,
    ) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query_string = target.partition("?")
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.peer = peer
        self.remote_ip, self.remote_port = peer
        self.secure = secure
        self._host: str | None = None
        self.auth: Any = None
        self.state: dict[str, Any] = {}
        self.response_headers: list[tuple[str, str]] = []
        self._read = read
        self._read_now = read_now
        self._pairs: list[tuple[str, str]] | None = None
        self._query: dict[str, str] | None = None
        self._cookies: dict[str, str] | None = None

    @property
    def _log_fields(self) -> Mapping[str, object]:
        return {"remote": self.remote_ip, "method": self.method, "path": self.path}

    @property
    def host(self) -> str:
        """See above; ``""`` when nobody says so."""
        return self.headers.get("host", "") if self._host is None else self._host

    @host.setter
    def host(self, host: str) -> None:
        self._host = host

    @property
    def query(self) -> Mapping[str, str]:
        """The query's parameters, percent-decoded; of a repeated name the first value counts.

        Raises:
            Reject: 400, there are more than 1,000.
        """
        if self._query is None:
            self._query = _first_of_each(self.query_pairs)
        return self._query

    @property
    def query_pairs(self) -> Sequence[tuple[str, str]]:
        """The query's parameters, percent-decoded: each name and value in the order in which they came.

        Raises:
            Reject: 400, there are more than 1,000.
        """
        if self._pairs is None:
            self._pairs = query_pairs(self.query_string)
        return self._pairs

    @property
    def cookies(self) -> Mapping[str, str]:
        """The Cookie header (RFC 6265 section 5.4); of a repeated name the first value counts."""
        if self._cookies is None:
            self._cookies = {}
            for pair in ";".join(self.headers.get_all("cookie")).split(";"):
                name, sign, value = pair.partition("=")
                if sign:
                    self._cookies.setdefault(name.strip(), unquote(value.strip().removeprefix('"').removesuffix('"')))
        return self._cookies

    def kept(self) -> Request:
        """Give a copy to keep for as long as a connection lives: small, and without a body."""
        twin = copy(self)
        twin.headers = self.headers.packed()
        twin._read = _no_body
        twin._read_now = _not_now
        twin._pairs = twin._query = twin._cookies = None
        return twin

    def with_auth(self, auth: Any) -> Request:
        """Give a copy that has ``auth``; one handshake may lead to several namespaces."""
        twin = copy(self)
        twin.auth = auth
        return twin

    async def read(self, limit: int) -> bytes:
        """Read the whole body, of at most ``limit`` bytes, counted while they arrive.

        Raises:
            Reject: 413 when there are more, 408 when they come too slowly.
        """
        return await self._read(limit)

    def read_now(self, limit: int) -> bytes | None:
        """Give the whole body if it is here and has at most ``limit`` bytes; None: :meth:`read` knows more."""
        return self._read_now(limit)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"


class Response:
    """One HTTP response.

    Attributes:
        status: the status code.
        headers: fields in the order in which they go out; ``Content-Length``, ``Date`` and ``Connection`` are the
            host's business.
        body: all of it, or an async iterator of pieces together with ``length``.
        length: how many bytes the body has.
        on_sent: called exactly once by the host, if it is not None: with True when all of it has left for the network,
            with False when the client was gone before. It must not wait.
    """

    __slots__ = ("body", "headers", "length", "on_sent", "status")

    def __init__(
        self,
        status: int = 200,
        body: str | bytes | AsyncIterator[bytes] = b"",
        headers: Iterable[tuple[str, str]] = (),
        *,
        length: int | None = None,
    ) -> None:
        self.status = status
        self.headers = list(headers)
        if isinstance(body, str):
            body = body.encode()
        if isinstance(body, bytes):
            length = len(body)
        elif length is None:
            raise TypeError("a streamed body needs its length in bytes")
        self.body = body
        self.length = length
        self.on_sent: Callable[[bool], None] | None = None

    @classmethod
    def text(cls, status: int, text: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
        """Make a plain text response."""
        return cls(status, text, [("Content-Type", "text/plain; charset=utf-8"), *headers])

    @classmethod
    def json(cls, status: int, value: object, headers: Iterable[tuple[str, str]] = (), *, indent: int = 0) -> Response:
        """Make a JSON response, indented by ``indent`` blanks (0: on one line)."""
        body = msgspec.json.encode(value)
        if indent:
            body = msgspec.json.format(body, indent=indent)
        return cls(status, body, [("Content-Type", "application/json; charset=utf-8"), *headers])

    def __repr__(self) -> str:
        return f"<Response {self.status}, {self.length} bytes>"


class Later:
    """A response that is not there yet and that no task waits for, such as a long poll's.

    Who gives it instead of a response calls :meth:`ready` when there is something to say. Soon afterwards, when what
    goes on at that moment is over, the host asks for the response; or it says that the client has gone before that.

    Args:
        make: gives the response; may raise :class:`Reject`.
        gone: called instead of ``make`` when the client has gone. It must not wait, and neither must ``make``.
    """

    __slots__ = ("_is_ready", "_on_ready", "gone", "make")

    def __init__(self, make: Callable[[], Response], gone: Callable[[], None]) -> None:
        self.make = make
        self.gone = gone
        self._on_ready: Callable[[], None] | None = None
        self._is_ready = False

    def ready(self) -> None:
        """Tell that the response can be made; further calls mean nothing."""
        if not self._is_ready:
            self._is_ready = True
            if self._on_ready is not None:
                self._on_ready()

    def when_ready(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called once, by :meth:`ready` or, if it is ready by now, at once (for hosts)."""
        self._on_ready = callback
        if self._is_ready:
            callback()

    def __await__(self) -> Generator[Any, Any, Response]:
        """Wait for it in a task, for whoever has one anyway."""
        return self._wait().__await__()

    async def _wait(self) -> Response:
        event = trio.Event()
        self.when_ready(event.set)
        try:
            await event.wait()
        except BaseException:
            self.gone()
            raise
        return self.make()
