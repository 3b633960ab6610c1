"""The parameters of an HTTP request: query and body, whatever the body's format."""

from __future__ import annotations

from email.message import Message
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from ahtransport._actions.inputs import Repeated
from ahtransport._errors import Reject

if TYPE_CHECKING:
    from ahtransport._http import Request
    from ahtransport._parsers import JSONParser

__all__ = ["MAX_FIELDS", "params_of"]

MAX_FIELDS = 1000
"""How many parameters a query or a form may have."""


async def params_of(request: Request, parser: JSONParser, max_body: int) -> dict[str, Any]:
    """Give a request's parameters, those of the body before those of the query.

    A JSON body that is an array is the parameter ``payload``, as in ActionHero. In a multipart form a field with a file
    is that file's content as bytes. GET and HEAD have no body.

    Raises:
        Reject: 400 the query or the body can't be read, 408 and 413 as :meth:`Request.read`, 415 an unknown format.
    """
    params = _pairs(_parse_form(request.query_string, "query"))
    if request.method in ("GET", "HEAD"):
        return params
    body = await request.read(max_body)
    if not body:
        return params
    header = Message()
    header["Content-Type"] = request.headers.get("content-type", "")
    kind = header.get_content_type()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            value = parser.decode(body)
        except ValueError as error:
            raise Reject(400, "the body is not valid JSON") from error
        if isinstance(value, list):
            value = {"payload": value}
        elif not isinstance(value, dict):
            raise Reject(400, "the body has to be a JSON object")
        params.update(value)
    elif kind == "application/x-www-form-urlencoded":
        params.update(_pairs(_parse_form(_text(body), "body")))
    elif kind == "multipart/form-data":
        params.update(_pairs(_parse_multipart(body, header)))
    else:
        raise Reject(415, "the body has to be application/json, a form, or multipart/form-data")
    return params


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in pairs:
        if name not in params:
            params[name] = value
        elif isinstance(value, bytes) or isinstance(params[name], bytes):
            raise Reject(400, "a file needs a name of its own: the form has another part of that name")
        else:
            if not isinstance(params[name], Repeated):
                params[name] = Repeated([params[name]])
            params[name].append(value)
    # What names the action is never ambiguous.
    for name in ("action", "apiVersion"):
        if isinstance(params.get(name), Repeated):
            params[name] = params[name][0]
    return params


def _parse_form(text: str, where: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Reject(400, f"the {where} has more than {MAX_FIELDS} parameters") from error


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Reject(400, "the body is not valid UTF-8") from error


def _parse_multipart(body: bytes, header: Message) -> list[tuple[str, Any]]:
    """Take a form apart (RFC 7578). Splitting is one pass over the bytes, so nothing that a client sends is slow."""
    boundary = _parameter(header, "content-type", "boundary")
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= 70 or not boundary.isascii():
        raise Reject(400, "the multipart body has no valid boundary")
    # The first delimiter may open the body without a line break before it (RFC 2046 section 5.1.1).
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), MAX_FIELDS + 1)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise Reject(400, f"the multipart body is not complete, or has more than {MAX_FIELDS} parts")
    pairs: list[tuple[str, Any]] = []
    for part in parts[1:-1]:
        head, blank, content = part.partition(b"\r\n\r\n")
        if not blank or len(head) > 8192:
            raise Reject(400, "a part of the multipart body has no valid headers")
        fields = HeaderParser().parsestr(head.decode("utf-8", "replace").strip())
        name = _parameter(fields, "content-disposition", "name")
        if not isinstance(name, str):
            raise Reject(400, "a part of the multipart body has no name")
        is_file = _parameter(fields, "content-disposition", "filename") is not None
        pairs.append((name, content if is_file else _text(content)))
    return pairs


def _parameter(fields: Message, header: str, name: str) -> object:
    """Give a parameter of a header as ``email`` does: a string, a tuple (RFC 2231), or None, there is none."""
    try:
        return fields.get_param(name, header=header)
    except (TypeError, ValueError) as error:  # of continuations that are numbered partly, or by more than int() reads
        raise Reject(400, f"the parameters of a {header} can't be read") from error
