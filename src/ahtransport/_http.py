"""HTTP as the rest of the program sees it: headers, a request, a response. No I/O here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from copy import copy
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from ahtransport._errors import Reject

__all__ = ["Headers", "Request", "Response", "parse_query"]


def parse_query(text: str) -> dict[str, str]:
    """Read a query string; of a repeated name the first value counts.

    Raises:
        Reject: 400, there are more than 1,000 parameters.
    """
    if not text:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise Reject(400, "there are too many query parameters") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


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


class Request:
    """One HTTP request, an upgrade request included.

    Attributes:
        method: such as ``"GET"``, upper case.
        target: as it stood in the request line.
        path: the part before ``?``, still percent-encoded.
        query_string: the part after ``?``, still percent-encoded.
        headers: the header fields.
        peer: address and port of the other end of the TCP connection.
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
        "_query",
        "_read",
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
        self._query: dict[str, str] | None = None
        self._cookies: dict[str, str] | None = None

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
            self._query = parse_query(self.query_string)
        return self._query

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
        twin._query = twin._cookies = None
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
