"""The head of an HTTP/1.1 request: checked strictly, then parsed by httptools.

Everything that lets two programs disagree about where a request ends is refused here (RFC 9112 sections 2.2, 5.1, 6.3):
bare line feeds, folded lines, blanks before a colon, two lengths, a length beside chunks, more than one Host.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import httptools

from ahtransport._errors import Reject
from ahtransport._http import Headers

__all__ = ["Head", "HeadReader", "Limits", "parse_head", "plain_head"]

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/(1\.[01])")
_PLAIN_LINE: Final = re.compile(rb"(GET|POST) (/[\x21-\x7e]*+) HTTP/1\.1\r\n")
_FIELD_LINES: Final = re.compile(rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9\-._~%!$&'()*+,;=]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_ABSOLUTE: Final = re.compile(r"https?://[^/?]*")
_CR: Final = 0x0D
_KEPT: Final = 512  # sets of header fields that are remembered
_KEPT_SIZE: Final = 1024  # bytes of one of them, at most
_NONCE: Final = b"Sec-WebSocket-Key:"
_DIGITS: Final = re.compile(r"[0-9]{1,18}")


class Limits:
    """How large the head of a request may be; sizes in bytes.

    Attributes:
        request_line: of the first line; a longer one is answered with 414.
        line: of one header field.
        total: of all header fields together.
        fields: how many header fields; more of any of these three is answered with 431 (RFC 6585 section 5).
    """

    __slots__ = ("fields", "line", "request_line", "small", "total")

    def __init__(self, request_line: int = 8192, line: int = 8192, total: int = 16384, fields: int = 100) -> None:
        self.request_line = request_line
        self.line = line
        self.total = total
        self.fields = fields
        self.small = min(line, total)  # so many bytes of fields are too many in no way


class Head:
    """A parsed head.

    Attributes:
        method: such as ``"GET"``.
        target: in origin form: it starts with ``/`` (or is ``*``).
        headers: the fields, decoded as latin-1 (RFC 9110 section 5.5), without those that have ``_`` in their names.
        keep_alive: whether the connection may serve another request.
        length: bytes of the body; None when it is chunked.
        http11: false for HTTP/1.0.
        websocket: whether it asks for an upgrade to WebSocket.
        continues: whether the client waits for ``100 Continue`` before it sends the body.
    """

    __slots__ = ("continues", "headers", "http11", "keep_alive", "length", "method", "target", "websocket")

    def __init__(self, method: str, target: str, fields: _Fields) -> None:
        self.method = method
        self.target = target
        self.headers = fields.headers
        self.http11 = fields.http11
        self.length = fields.length
        self.keep_alive = fields.keep_alive
        self.websocket = fields.websocket
        self.continues = fields.continues


class HeadReader:
    """Finds the end of a head in bytes that arrive in pieces of any size, and looks at each of them once.

    What is too long is refused as soon as it is, complete or not; so is what can't become a head whatever follows.
    """

    __slots__ = ("_fields", "_first", "_limits", "_line", "_seen")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.begin()

    def begin(self) -> None:
        """Forget everything: the next byte is the first of a head."""
        self._line = 0  # where the current line starts
        self._seen = 0
        self._first = -1  # where the request line ends
        self._fields = 0

    def end(self, data: bytearray) -> int | None:
        """Give where the head that ``data`` begins with ends, its empty line included; None: not all of it is there.

        ``data`` may only grow between calls, until the end was given; the next call is for the next head.

        Raises:
            Reject: 414, 431, and 400 for lines that do not end with CR LF, NUL, or a first line that is not HTTP's.
        """
        begin = self._seen
        while (feed := data.find(b"\n", self._seen)) >= 0:
            stop = feed - 1
            if stop < self._line or data[stop] != _CR:
                raise Reject(400, "lines must end with CR LF")
            if stop == self._line and self._first >= 0:
                self.begin()
                return feed + 1
            self._check_line(data, stop)
            if self._first < 0:
                if data[max(stop - 9, 0) : stop - 3] != b" HTTP/":  # such as HTTP/0.9: no header will ever follow
                    raise Reject(400, "the request line is malformed")
                self._first = stop
            else:
                self._fields += 1
                if self._fields > self._limits.fields:
                    raise Reject(431, "there are too many header fields")
            self._line = self._seen = feed + 1
        if data.find(b"\0", begin) >= 0:  # (a body may have some, but there is none yet)
            raise Reject(400, "there is a NUL")
        self._seen = len(data)
        self._check_line(data, len(data) - data.endswith(b"\r"))
        return None

    def _check_line(self, data: bytearray, stop: int) -> None:
        size = stop - self._line
        if self._first < 0:
            if size > self._limits.request_line:
                raise Reject(414, "the request line is too long")
        elif size > self._limits.line:
            raise Reject(431, "a header field is too long")
        elif size and stop - self._first > self._limits.total:
            raise Reject(431, "the header fields are too large")


class _Collector:
    """Takes what httptools reports."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        # Programs that turn "-" into "_", as CGI does, would take X_Forwarded_For for what a proxy wrote.
        if b"_" in name:
            return
        self.fields.append((name.decode("latin-1"), value.decode("latin-1").strip(" \t")))


class _Fields:
    """The header fields of a request, and what they say of it; see :class:`Head`."""

    __slots__ = ("continues", "count", "headers", "http11", "keep_alive", "length", "websocket")

    def __init__(self, fields: list[tuple[str, str]], http11: bool, count: int) -> None:
        self.count = count  # with those that were left out
        self.headers = Headers(fields)
        self.http11 = http11
        self.length: int | None = _body_length(self.headers, self.http11)
        connection = {word.strip(" \t").lower() for word in self.headers.get("connection", "").split(",")}
        self.keep_alive = "close" not in connection and (http11 or "keep-alive" in connection)
        upgrade = {word.strip(" \t").lower() for word in self.headers.get("upgrade", "").split(",")}
        self.websocket = "upgrade" in connection and "websocket" in upgrade
        self.continues = http11 and self.headers.get("expect", "").lower() == "100-continue"
        hosts = self.headers.get_all("host")
        if len(hosts) > 1 or (http11 and not hosts) or (hosts and not _HOST.fullmatch(hosts[0])):
            raise Reject(400, "there must be one Host header with a host in it")


def parse_head(data: bytes) -> Head:
    """Parse a head that ends with an empty line.

    Raises:
        Reject: 400 for what is malformed, 501 for an unknown method, 505 for a version other
            than 1.0 and 1.1.
    """
    line, _, lines = data.partition(b"\r\n")
    request_line = _REQUEST_LINE.fullmatch(line)
    if request_line is None:
        if re.fullmatch(_TOKEN + rb" [\x21-\x7e]+ HTTP/[0-9.]+", line):
            raise Reject(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        raise Reject(400, "the request line is malformed")
    method, target = request_line[1].decode("ascii"), request_line[2].decode("ascii")
    if method not in _METHODS:
        raise Reject(501, "this method is not supported")
    fields = _fields_of(lines, request_line[3])
    if not target.startswith("/"):
        target = _origin_form(method, target, data)
    return Head(method, target, fields)


def plain_head(data: bytes, limits: Limits) -> tuple[Head, int] | None:
    """Parse a head as nearly all of them are: there at once, for a path, and well within all limits.

    Gives it and where it ends. None: it takes a :class:`HeadReader` and :func:`parse_head`, which know the reason.
    """
    line = _PLAIN_LINE.match(data)
    if line is None:
        return None
    begin = line.end()
    end = data.find(b"\r\n\r\n", begin) + 4
    if begin - 2 > limits.request_line or not 4 < end - begin <= limits.small:
        return None
    try:
        fields = _fields_of(data[begin:end], b"1.1")
    except Reject:
        return None
    return (Head(line[1].decode(), line[2].decode(), fields), end) if fields.count <= limits.fields else None


def _fields_of(lines: bytes, version: bytes) -> _Fields:
    # What a client says of itself is the same with each of its requests, unless it asks for a WebSocket.
    if len(lines) > _KEPT_SIZE or lines.find(_NONCE) >= 0:
        return _parse_fields(lines, version)
    return _known_fields(lines, version)


def _parse_fields(lines: bytes, version: bytes) -> _Fields:
    """Parse header fields and the empty line after them.

    Raises:
        Reject: 400.
    """
    if not _FIELD_LINES.fullmatch(lines, 0, len(lines) - 2):
        raise Reject(400, "a header field is malformed")
    # The target is of no importance to httptools when it begins with a slash, and neither is the method.
    return _Fields(_feed(b"GET / HTTP/%b\r\n%b" % (version, lines)).fields, version == b"1.1", lines.count(b"\n") - 1)


_known_fields = lru_cache(_KEPT)(_parse_fields)


def _origin_form(method: str, target: str, data: bytes) -> str:
    """Give the path and query of a target in another form (RFC 9112 section 3.2).

    Raises:
        Reject: 400, it has none.
    """
    _feed(data)  # which knows what a URL is
    if absolute := _ABSOLUTE.match(target):
        return "/" + target[absolute.end() :].removeprefix("/")
    if target != "*" or method != "OPTIONS":
        raise Reject(400, "the request target is malformed")
    return target


def _feed(head: bytes) -> _Collector:
    """Have httptools parse a head.

    Raises:
        Reject: 400.
    """
    seen = _Collector()
    try:
        httptools.HttpRequestParser(seen).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # an upgrade is our own affair: all that was fed is the head
    except (httptools.HttpParserError, ValueError) as error:
        raise Reject(400, "the request is malformed") from error
    return seen


def _body_length(headers: Headers, http11: bool) -> int | None:
    codings = headers.get_all("transfer-encoding")
    lengths = headers.get_all("content-length")
    if codings:
        if lengths or not http11 or [coding.lower() for coding in codings] != ["chunked"]:
            raise Reject(400, "Transfer-Encoding must be chunked, alone and without Content-Length")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
        raise Reject(400, "Content-Length must be one number")
    return int(lengths[0])
