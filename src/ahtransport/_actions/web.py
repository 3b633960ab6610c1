"""Actions over HTTP: ``/api/NAME`` and ``/api?action=NAME``, in ActionHero's shape."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from ahtransport._actions.bodies import params_of
from ahtransport._actions.runner import INTERNAL_ERROR, Outcome, Tally
from ahtransport._errors import Reject
from ahtransport._http import Headers, Request, Response
from ahtransport._log import fields, get_logger
from ahtransport._parsers import JSONParser
from ahtransport._web.fingerprint import web_fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ahtransport._actions.server import ActionServer

__all__ = ["Api", "WebConnection"]

logger = get_logger("ahtransport.actions")

METHODS = ("HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# What counts as received beside the inputs of the actions.
_SAFE_PARAMS = frozenset({"action", "apiVersion", "callback", "file", "messageId"})


class WebConnection:
    """What an action that came by HTTP gets as its connection: as much of a websocket's as one request has.

    Attributes:
        type: "web".
        id: the fingerprint and the message's id.
        fingerprint: from the cookie, or new.
        session: the browser's session, which its websockets share.
        remote_ip, remote_port, headers, query, connected_at: as on a websocket.
        request: the request itself.
        data: free for middleware and actions.
        response_headers: added to the response.
        response_status: the response's status, unless there is an error; None: 200.
    """

    type = "web"
    transport = "http"
    transformer = "http"
    state = "open"
    rooms: frozenset[str] = frozenset()

    def __init__(self, request: Request, fingerprint: str, session: Any) -> None:
        self.message_id = str(uuid.uuid4())
        self.id = f"{fingerprint}-{self.message_id}"
        self.fingerprint = fingerprint
        self.session = session
        self.remote_ip = request.remote_ip
        self.remote_port = request.remote_port
        self.headers: Headers = request.headers
        self.connected_at = time.time()
        self.request = request
        self.data: dict[str, Any] = {}
        self.response_headers: list[tuple[str, str]] = []
        self.response_status: int | None = None

    @property
    def _log_fields(self) -> Mapping[str, object]:
        return {"connection": self.id, "remote": self.remote_ip, "transport": "http"}

    @property
    def query(self) -> Mapping[str, str]:
        """The query's parameters."""
        return self.request.query

    def __repr__(self) -> str:
        return f"<WebConnection {self.request.method} {self.request.path}>"


class Api:
    """Answers the requests below one path.

    Args:
        server: whose actions.
        path: where it is mounted, without a slash at its end.

    Attributes:
        path: the same.
    """

    def __init__(self, server: ActionServer, path: str) -> None:
        self._server = server
        self.path = path
        self._parser = JSONParser(server.config.servers.websocket.server.max_depth)

    async def __call__(self, request: Request) -> Response:
        """Run the action that a request asks for.

        Raises:
            Reject: 404, ``servers.web.enabled`` is off.
        """
        web = self._server.config.servers.web
        if not web.enabled:
            raise Reject(404, "not found")
        if request.method == "OPTIONS":
            return Response(200, b"", [("Allow", ", ".join(METHODS)), *_CORS])
        if request.method not in METHODS:
            return Response.json(405, {"error": "method not allowed"}, [("Allow", ", ".join(METHODS)), *_CORS])
        session = self._server.session_for(request)
        connection = WebConnection(request, web_fingerprint(request, web.fingerprint), session)
        params: dict[str, Any] = {}
        try:
            params = await params_of(request, self._parser, web.max_body)
        except Reject as refusal:
            return self._respond(connection, params, Outcome({}, refusal.reason, refusal.status))
        name = unquote(request.path[len(self.path) :]).strip("/")
        if name:
            params["action"] = name
        tally = Tally()
        call = self._server.runner.accept(connection, tally, params)
        outcome = call if isinstance(call, Outcome) else await self._server.runner.run(call, tally)
        return self._respond(connection, params, outcome)

    def _respond(self, connection: WebConnection, params: Mapping[str, Any], outcome: Outcome) -> Response:
        body = outcome.reply()
        status = outcome.status if outcome.error is not None else connection.response_status or 200
        try:
            encoded = self._encode(connection, params, body)
        except (TypeError, ValueError):
            logger.exception("an action's outputs can't be sent", extra=fields("reply.unsendable", connection))
            status, encoded = 500, self._encode(connection, {}, {"error": INTERNAL_ERROR})
        own = {name.lower() for name, _ in connection.response_headers}
        headers = [(name, value) for name, value in _HEADERS if name.lower() not in own]
        return Response(status, encoded, [*headers, *connection.response_headers])

    def _encode(self, connection: WebConnection, params: Mapping[str, Any], body: dict[str, Any]) -> bytes:
        web, general = self._server.config.servers.web, self._server.config.general
        now = time.time()
        if web.server_information:
            body["serverInformation"] = {
                "serverName": general.server_name,
                "apiVersion": general.api_version,
                "requestDuration": round((now - connection.connected_at) * 1000),
                "currentTime": int(now * 1000),
            }
        if web.requester_information:
            known = self._server.actions.input_names | _SAFE_PARAMS
            body["requesterInformation"] = {
                "id": connection.id,
                "fingerprint": connection.fingerprint,
                "messageId": connection.message_id,
                "remoteIP": connection.remote_ip,
                "receivedParams": {
                    name: "(a file)" if isinstance(value, bytes) else value
                    for name, value in params.items()
                    if name in known
                },
            }
        encoded = self._parser.encode(body)
        return _indented(encoded, web.padding) if web.padding else encoded


def _indented(encoded: bytes, padding: int) -> bytes:
    try:
        return msgspec.json.format(encoded, indent=padding)
    except msgspec.DecodeError:  # it does not know lone surrogates
        return json.dumps(json.loads(encoded), indent=padding).encode()


_CORS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", ", ".join(METHODS)),
    ("Access-Control-Allow-Headers", "Content-Type"),
]
_HEADERS = [
    ("Content-Type", "application/json; charset=utf-8"),
    ("X-Content-Type-Options", "nosniff"),
    *_CORS,
]
