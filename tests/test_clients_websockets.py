"""The Python library `websockets` as a raw client: its synchronous client, in a thread beside the server."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response
from websockets.sync.client import ClientConnection, connect

from ahtransport import Connection
from clients.app import EchoApp, served
from clients.harness import of_transformer

pytestmark = of_transformer("websockets")


async def talk(app: EchoApp, client: Callable[[ClientConnection], None], path: str = "/primus", **options: Any) -> None:
    """Serve the application and run *client* on a connection to it, in a thread."""

    def run(url: str) -> None:
        with connect(url.replace("http", "ws") + path, **{"open_timeout": 10, "close_timeout": 10, **options}) as peer:
            client(peer)

    async with served(app) as url:
        with trio.fail_after(30):
            await trio.to_thread.run_sync(run, url)


def ask(peer: ClientConnection, message: Any) -> Any:
    peer.send(json.dumps(message))
    return json.loads(peer.recv(timeout=10))


@pytest.mark.parametrize("path", ["/primus", "/primus/", "/primus?query=1", "/primus?_primuscb=Q84Nu17"])
async def test_json(path: str) -> None:
    messages: list[Any] = [None, True, 1, 1.5, "wörld \u2028", [], {"a": [{"b": None}]}]

    def client(peer: ClientConnection) -> None:
        assert [ask(peer, message) for message in messages] == messages

    await talk(EchoApp(), client, path)


async def test_line_separators_leave_escaped_and_the_rest_raw() -> None:
    def client(peer: ClientConnection) -> None:
        peer.send('"\u2028 \u2029 \\u2028 w\u00f6rld \U0001f9a9"')
        assert peer.recv(timeout=10) == '"\\u2028 \\u2029 \\u2028 w\u00f6rld \U0001f9a9"'

    await talk(EchoApp(), client)


async def test_many_in_flight_keep_their_order() -> None:
    def client(peer: ClientConnection) -> None:
        for number in range(1000):
            peer.send(str(number))
        assert [json.loads(peer.recv(timeout=10)) for _ in range(1000)] == list(range(1000))

    await talk(EchoApp(), client)


async def test_fragments_make_one_message() -> None:
    def client(peer: ClientConnection) -> None:
        peer.send(iter(['{"text": "in ', "many ", 'pieces"}']))
        assert json.loads(peer.recv(timeout=10)) == {"text": "in many pieces"}

    await talk(EchoApp(), client)


async def test_websocket_ping_is_answered() -> None:
    def client(peer: ClientConnection) -> None:
        assert peer.ping(b"payload").wait(timeout=10)
        assert ask(peer, "still here") == "still here"

    await talk(EchoApp(), client)


async def test_primus_control_messages() -> None:
    def client(peer: ClientConnection) -> None:
        assert ask(peer, "primus::ping::1795369697871") == "primus::pong::1795369697871"
        answers = [ask(peer, "primus::id::") for _ in range(2)]
        assert answers[0] == answers[1]
        assert answers[0].removeprefix("primus::id::") not in {"", answers[0]}
        peer.send('"primus::server::close"')  # what only a server says never reaches an application that passes it on
        assert ask(peer, "primus::what::is this") == "primus::what::is this"  # an ordinary text

    await talk(EchoApp(), client)


async def test_compression_is_offered_and_declined() -> None:
    def client(peer: ClientConnection) -> None:
        assert peer.response is not None
        assert "Sec-WebSocket-Extensions" not in peer.response.headers
        assert ask(peer, "x" * 10_000) == "x" * 10_000

    await talk(EchoApp(), client, compression="deflate")


async def test_what_cannot_be_decoded_is_reported_and_harms_nobody() -> None:
    app = EchoApp()

    def client(peer: ClientConnection) -> None:
        for text in ["{", "NaN", "[1,]", "\ufeff1", ""]:
            peer.send(text)
        assert ask(peer, "still here") == "still here"

    await talk(app, client)
    assert len(app.undecodable) == 5


async def test_the_server_closes() -> None:
    def client(peer: ClientConnection) -> None:
        peer.send('{"do": "end"}')
        assert json.loads(peer.recv(timeout=10)) == "primus::server::close"
        with pytest.raises(ConnectionClosed) as closed:
            peer.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code in {1000, 1005}

    await talk(EchoApp(), client)


async def test_the_server_closes_with_a_code_of_its_own() -> None:
    app = EchoApp()

    @app.server.on_open
    def close(connection: Connection) -> None:
        connection.close(4001, "wörds", reconnect=True)

    def client(peer: ClientConnection) -> None:
        with pytest.raises(ConnectionClosed) as closed:
            peer.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "wörds")

    await talk(app, client)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going away"), (4321, "wörds")])
async def test_the_server_hears_why_the_client_closed(code: int, reason: str) -> None:
    app = EchoApp()
    heard: list[tuple[int, str]] = []

    @app.server.on_close
    def note(connection: Connection, code: int, reason: str) -> None:
        heard.append((code, reason))

    await talk(app, lambda peer: peer.close(code, reason))
    assert heard == [(code, reason)]


async def test_a_message_over_the_limit_closes_with_1009() -> None:
    def client(peer: ClientConnection) -> None:
        assert ask(peer, "x" * 998) == "x" * 998
        peer.send(json.dumps("x" * 999))
        with pytest.raises(ConnectionClosed) as closed:
            peer.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009

    await talk(EchoApp(max_length=1000), client)


async def refusal(app: EchoApp, path: str = "/primus", **options: Any) -> Response:
    """The response to a client that is not let in."""

    def run(url: str) -> Response:
        with pytest.raises(InvalidStatus) as refused, connect(url.replace("http", "ws") + path, **options):
            pass
        return refused.value.response

    async with served(app) as url:
        with trio.fail_after(30):
            return await trio.to_thread.run_sync(run, url)


async def test_refused_before_the_upgrade() -> None:
    response = await refusal(EchoApp(), "/primus?token=none")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="test"'
    assert json.loads(response.body or b"") == {"error": "a token is required"}


async def test_an_origin_that_is_not_listed_is_refused() -> None:
    response = await refusal(EchoApp(origins="https://good.example"), origin="https://bad.example")
    assert response.status_code == 403


async def test_an_origin_that_is_listed_is_let_in() -> None:
    def client(peer: ClientConnection) -> None:
        assert ask(peer, 1) == 1

    await talk(EchoApp(origins="https://good.example"), client, origin="https://good.example")
