"""python-engineio's clients: the synchronous one in a thread, the asynchronous one in a process of its own."""

import json
import queue
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import engineio
import engineio.exceptions
import engineio.payload
import pytest
import requests
import trio

from ahtransport import Connection
from clients.app import EchoApp, MixedParser, served
from clients.harness import Record, of_transformer

pytestmark = of_transformer("engine.io")

SCRIPT = Path(__file__).parent / "clients" / "python_engineio.py"
MODES = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
BEATS = {"ping_interval": 200, "ping_timeout": 500}
#: A polling client that leaves while it still sends forgets to say so, and waits for its poll: that ends with a ping.
SOON = {"ping_interval": 1000, "ping_timeout": 3000}
VALUES: list[Any] = ["text", "w\u00f6rld \x1e \u2028", {"a": [{"b": None}]}, [], True]
SIZES = [9996, 1, 9998, 5000, 4990, 10, *[100] * 200]
#: What a client is told when the server closes: python-engineio takes a WebSocket that closes for an accident.
CLOSED = {"polling": "server disconnect", "websocket": "transport error", "upgrade": "transport error"}

each_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(autouse=True)
def _many_messages_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default this client gives up on a poll with more than 16 messages."""
    monkeypatch.setattr(engineio.payload.Payload, "max_decode_packets", 1000)


def app_with(**options: Any) -> EchoApp:
    return EchoApp(**{"transformer": "engine.io", "parser": MixedParser, "transport": SOON, **options})


class Engine(engineio.Client):  # type: ignore[misc]
    """The synchronous client, less its habit of giving each message to a thread of its own, in no order."""

    def _trigger_event(self, event: str, *args: Any, **kwargs: Any) -> Any:
        return super()._trigger_event(event, *args, **{**kwargs, "run_async": False})


class Client:
    """A client that collects what comes."""

    def __init__(self, url: str, mode: str) -> None:
        self.url = url
        self.mode = mode
        self.session = requests.Session()  # the client loses sight of one that it makes itself
        self.engine = Engine(handle_sigint=False, http_session=self.session)
        self.messages: queue.Queue[Any] = queue.Queue()
        self.reasons: queue.Queue[str] = queue.Queue()
        self.engine.on("message", self.messages.put)
        self.engine.on("disconnect", self.reasons.put)

    def connect(self, query: str = "") -> None:
        self.engine.connect(self.url + query, transports=MODES[self.mode], engineio_path="primus")

    def receive(self) -> Any:
        return self.messages.get(timeout=10)

    def ask(self, message: Any) -> Any:
        self.engine.send(message)
        return self.receive()


@contextmanager
def closing(client: Client) -> Iterator[Client]:
    """Leave nothing of the client behind."""
    try:
        yield client
    finally:
        reader, socket = client.engine.read_loop_task, client.engine.ws
        client.engine.disconnect()
        while reader is not None and reader.is_alive():
            client.engine.queue.put(None)  # it waits for its writer, which may have missed the end
            reader.join(0.05)
        client.session.close()
        if socket is not None:
            socket.shutdown()


async def talk(app: EchoApp, mode: str, scenario: Callable[[Client], None]) -> None:
    """Serve the application and run *scenario* with a client, in a thread."""

    def run(url: str) -> None:
        with closing(Client(url, mode)) as client:
            scenario(client)

    async with served(app) as url:
        with trio.fail_after(30):
            await trio.to_thread.run_sync(run, url)


@each_mode
async def test_text_and_binary(mode: str) -> None:
    def scenario(client: Client) -> None:
        client.connect()
        for value in VALUES:
            assert client.ask(json.dumps(value)) == value
        for size in (0, 1, 2, 3, 255, 70_000):
            sent = bytes(i % 256 for i in range(size))
            assert client.ask(sent) == sent
        transport = "polling" if mode == "polling" else "websocket"
        assert client.engine.transport() == client.ask({"do": "transport"}) == transport

    await talk(app_with(), mode, scenario)


@each_mode
async def test_many_keep_their_order(mode: str) -> None:
    def scenario(client: Client) -> None:
        client.connect()
        client.engine.send({"do": "count", "to": 200})
        for number in range(200):
            client.engine.send(str(number))
        messages = [client.receive() for _ in range(400)]
        numbers = [message for message in messages if isinstance(message, str)]
        assert numbers == [str(number) for number in range(200)]  # this client leaves numbers as text
        assert [message["number"] for message in messages if isinstance(message, dict)] == list(range(200))

    await talk(app_with(), mode, scenario)


@each_mode
async def test_a_burst_takes_several_polls(mode: str) -> None:
    def scenario(client: Client) -> None:
        client.connect()
        client.engine.send({"do": "burst", "sizes": SIZES})
        assert [len(client.receive()) for _ in SIZES] == SIZES

    await talk(app_with(max_length=10_000), mode, scenario)


@each_mode
async def test_heartbeats(mode: str) -> None:
    """It lives for several intervals, each of which would have been its end."""

    def scenario(client: Client) -> None:
        client.connect()
        assert (client.engine.ping_interval, client.engine.ping_timeout) == (0.2, 0.5)
        with pytest.raises(queue.Empty):
            client.messages.get(timeout=1.5)
        assert client.ask('"still here"') == "still here"

    await talk(app_with(transport=BEATS), mode, scenario)


@each_mode
async def test_the_server_closes(mode: str) -> None:
    def scenario(client: Client) -> None:
        client.connect()
        assert client.ask({"do": "last"}) == "the last word"
        assert client.reasons.get(timeout=10) == CLOSED[mode]

    await talk(app_with(), mode, scenario)


@each_mode
async def test_the_server_stops(mode: str) -> None:
    """All that was sent before arrives, and then the goodbye, although no poll waits when there is more than one."""

    def scenario(client: Client) -> None:
        client.connect()
        client.ask('"has two connections now"')  # nobody accepts another at the end
        client.engine.send({"do": "stop"})
        assert [client.receive() for _ in range(20)] == [str(number) for number in range(20)]
        assert client.reasons.get(timeout=10) == CLOSED[mode]

    await talk(app_with(), mode, scenario)


@each_mode
async def test_the_client_closes(mode: str) -> None:
    app = app_with()
    closed: list[tuple[int, str]] = []
    heard = trio.Event()

    @app.server.on_close
    def note(connection: Connection, code: int, reason: str) -> None:
        closed.append((code, reason))
        heard.set()

    def scenario(client: Client) -> None:
        client.connect()
        assert client.ask('"here"') == "here"
        client.engine.disconnect()
        assert client.reasons.get(timeout=10) == "client disconnect"
        trio.from_thread.run(heard.wait)

    await talk(app, mode, scenario)
    assert len(closed) == 1


@each_mode
async def test_refused(mode: str) -> None:
    def scenario(client: Client) -> None:
        with pytest.raises(engineio.exceptions.ConnectionError) as refused:
            client.connect("?token=wrong")
        if mode == "websocket":
            assert refused.value.args == ("Connection error",)
        else:
            status, said = refused.value.args
            assert status == "Unexpected status code 403 in server response"
            assert said == {"error": "this token is not known"}

    await talk(app_with(), mode, scenario)


async def drive(mode: str, scenario: str, **options: Any) -> list[Record]:
    """Run a scenario of the asynchronous client; its records."""
    async with served(app_with(**options)) as url:
        with trio.fail_after(30):
            done = await trio.run_process(
                [sys.executable, str(SCRIPT), mode, scenario, url],
                check=False,
                capture_stdout=True,
                capture_stderr=True,
            )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@each_mode
async def test_async_echo(mode: str) -> None:
    *echoes, transport, order, reason = await drive(mode, "echo")
    assert [record["got"] for record in echoes if "sent" in record] == [*VALUES[:4], "12", True]
    assert [record["same"] for record in echoes if "size" in record] == [True] * 6
    expected = "polling" if mode == "polling" else "websocket"
    assert transport == {"transport": expected, "seen": expected}
    assert order == {"inOrder": True}
    assert reason == {"reason": "client disconnect"}


@each_mode
async def test_async_heartbeats(mode: str) -> None:
    records = await drive(mode, "heartbeat", transport=BEATS)
    assert records == [{"interval": 0.2, "timeout": 0.5}, {"got": "still here"}]


@each_mode
async def test_async_last_word(mode: str) -> None:
    assert await drive(mode, "last") == [{"got": "the last word", "reason": CLOSED[mode]}]


@each_mode
async def test_async_burst(mode: str) -> None:
    assert await drive(mode, "burst", max_length=10_000) == [{"same": True}]


@each_mode
async def test_async_refused(mode: str) -> None:
    error, said = "Unexpected status code 403 in server response", {"error": "this token is not known"}
    if mode == "websocket":
        assert await drive(mode, "refused") == [{"error": "Connection error", "said": None}]
    else:
        assert await drive(mode, "refused") == [{"error": error, "said": said}]
