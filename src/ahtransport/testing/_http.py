"""The few lines of HTTP that a test client needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from ahtransport._errors import ProtocolError
from ahtransport._http import Headers

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["HttpResponse", "Reader", "Refused", "fetch", "read_response", "request_bytes"]


@dataclass(frozen=True)
class HttpResponse:
    """What a server answered.

    Attributes:
        status: the status code.
        headers: the header fields.
        body: all of it.
    """

    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def json(self) -> Any:
        """Decode the body as JSON."""
        return msgspec.json.decode(self.body)


class Refused(Exception):
    """A handshake was answered with something else than an upgrade.

    Attributes:
        response: the answer.
    """

    def __init__(self, response: HttpResponse) -> None:
        self.response = response
        super().__init__(f"{response.status}: {response.body.decode('utf-8', 'replace')}")


class Reader:
    """Reads from a stream by size and by line; what a cancelled call had read already is kept for the next.

    Attributes:
        buffer: what has been read too much.
    """

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self.buffer = bytearray()

    async def fill(self) -> None:
        """Read something.

        Raises:
            EOFError: nothing more comes, or the connection broke.
        """
        try:
            data = await self._stream.receive_some(65536)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise EOFError("the connection broke") from error
        if not data:
            raise EOFError("the server has hung up")
        self.buffer += data

    async def exactly(self, size: int) -> bytes:
        """Read ``size`` bytes.

        Raises:
            EOFError: there are fewer.
        """
        while len(self.buffer) < size:
            await self.fill()
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def until(self, end: bytes) -> bytes:
        """Read up to ``end``, which is not part of the result.

        Raises:
            EOFError: it does not come.
        """
        while (at := self.buffer.find(end)) < 0:
            await self.fill()
        data = bytes(self.buffer[:at])
        del self.buffer[: at + len(end)]
        return data


def request_bytes(
    method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", *, upgrade: bool = False
) -> bytes:
    """Write a request; ``Host`` and ``Content-Length`` are added where they are missing."""
    fields = list(headers)
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("Host", "localhost"))
    if (body or method in ("POST", "PUT")) and not upgrade and not names & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


async def read_response(reader: Reader, *, head_only: bool = False) -> HttpResponse:
    """Read one response; of a 101 and of the answer to a HEAD (``head_only``) the head alone.

    Raises:
        EOFError: it is not whole.
        ProtocolError: it is malformed.
    """
    first, *lines = (await reader.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status, _, _ = rest.partition(" ")
    if version != "HTTP/1.1" or not (len(status) == 3 and status.isdigit()):
        raise ProtocolError(f"this is no status line: {first!r}")
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise ProtocolError(f"this is no header field: {line!r}")
        fields.append((name, value.strip()))
    headers = Headers(fields)
    body = b""
    if not head_only and status != "101":
        length = headers.get("content-length")
        if length is None and status not in ("204", "304"):
            raise ProtocolError("the response does not say how long it is")
        body = await reader.exactly(int(length or 0))
    return HttpResponse(int(status), headers, body)


async def fetch(
    stream: trio.abc.Stream,
    method: str = "GET",
    path: str = "/",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> HttpResponse:
    """Send one request over ``stream`` and read its response. The stream stays open for the next request.

    Raises:
        EOFError: the server hung up before the response was whole.
        ProtocolError: the response is malformed.
    """
    await stream.send_all(request_bytes(method, path, headers, body))
    return await read_response(Reader(stream), head_only=method == "HEAD")
