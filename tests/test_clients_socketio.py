"""npm socket.io-client 4 and 3, by polling, by WebSocket and from one to the other; and what client 2 is told."""

from typing import Any

import pytest

from clients.harness import Record, drive_socketio, node_marks, of_transformer
from clients.socketio_app import SocketIOApp, served_socketio

pytestmark = [*node_marks, of_transformer("socket.io")]

VERSIONS = {4: "4.8.4", 3: "3.1.3", 2: "2.5.0"}
MODES = ("polling", "websocket", "upgrade")
CLIENTS = [(4, "default"), (3, "default"), (4, "msgpack")]

each = pytest.mark.parametrize(
    ("generation", "mode", "parser"),
    [
        pytest.param(generation, mode, parser, id=f"{generation}-{mode}-{parser}")
        for generation, parser in CLIENTS
        for mode in MODES
    ],
)


async def drive(
    generation: int, mode: str, parser: str, scenario: str, *, app: SocketIOApp | None = None, **options: Any
) -> list[Record]:
    """Run a scenario; the records, less the first, which says who the client is."""
    app = app or SocketIOApp(**{"transport": {"parser": parser}, **options})
    async with served_socketio(app) as url:
        first, *records = await drive_socketio(str(generation), mode, parser, scenario, url)
    assert first == {"client": VERSIONS[generation]}
    return records


@each
async def test_events(generation: int, mode: str, parser: str) -> None:
    assert await drive(generation, mode, parser, "events") == [
        {"same": True},
        {"none": [], "one": [1]},
        {"back": [1, "two"]},
        {"message": [{"plain": "message"}]},
        {"transport": "polling" if mode == "polling" else "websocket"},
        {"inOrder": True},
    ]


@each
async def test_binary(generation: int, mode: str, parser: str) -> None:
    sent = "<0001feff>"
    assert await drive(generation, mode, parser, "binary") == [
        {"ack": [sent, {"deep": [sent, 1]}, "text"]},
        {"back": [sent, sent]},
        {"message": [sent]},
        {"big": True},
    ]


@each
async def test_the_server_asks(generation: int, mode: str, parser: str) -> None:
    """Calls with binary parts in the question and in the answer; time-outs on either side."""
    expected: list[Record] = [{"answered": [{"first": "<0102>", "second": ["<03>"]}]}, {"slow": []}]
    if generation == 4:
        expected += [{"timeout": "operation has timed out"}, {"withAck": "x"}]
    assert await drive(generation, mode, parser, "question") == expected


@each
async def test_namespaces(generation: int, mode: str, parser: str) -> None:
    *records, last = await drive(generation, mode, parser, "namespaces")
    first, *refusals = records[:3]
    assert first == {"who": {"namespace": "/admin", "auth": {"token": "right"}}}
    for refusal in refusals:
        assert (refusal["refused"], refusal["data"], refusal["isError"]) == ("you are not known", {"code": 7}, True)
        if generation == 4:
            assert refusal["active"] is False  # it does not try again by itself
    assert [record["who"]["namespace"] for record in records[3:5]] == ["/room-7", "/fn-x"]
    assert records[5:] == [{"name": name, "refused": "Invalid namespace"} for name in ("/nowhere", "/room-x")]
    assert last == {"reasons": ["io server disconnect"], "root": "still here"}


@each
async def test_several_namespaces_over_one_connection(generation: int, mode: str, parser: str) -> None:
    assert await drive(generation, mode, parser, "several") == [
        {"ids": True, "who": {"namespace": "/room-1", "auth": None}},
        {"root": 1},
        {"again": 2},
    ]


@each
async def test_a_close_after_which_the_client_stays_away(generation: int, mode: str, parser: str) -> None:
    assert await drive(generation, mode, parser, "leave") == [
        {"reasons": ["io server disconnect"], "connected": False},
        {"again": [1]},
    ]


@each
async def test_a_close_after_which_the_client_comes_back(generation: int, mode: str, parser: str) -> None:
    assert await drive(generation, mode, parser, "bounce") == [{"reasons": ["transport close"], "again": [1]}]


@each
async def test_the_client_leaves(generation: int, mode: str, parser: str) -> None:
    app = SocketIOApp(transport={"parser": parser})
    assert await drive(generation, mode, parser, "goodbye", app=app) == [{"reasons": ["io client disconnect"]}]
    assert app.closed[0] == ("/", 1000, "client namespace disconnect")


@each
@pytest.mark.parametrize("destroy", [False, True])
async def test_shutdown(generation: int, mode: str, parser: str, destroy: bool) -> None:
    """The server goes and comes back. So does the client, unless it was told to stay away."""
    (record,) = await drive(generation, mode, parser, "restart", destroy_clients_on_shutdown=destroy)
    assert record == {"reasons": ["io server disconnect" if destroy else "transport close"], "back": not destroy}


@each
async def test_volatile(generation: int, mode: str, parser: str) -> None:
    assert await drive(generation, mode, parser, "volatile") == [{"sent": True}, {"ticks": ["tock"]}]


@pytest.mark.parametrize("mode", MODES)
async def test_clients_of_version_2_are_told_why_they_are_refused(mode: str) -> None:
    explanation = "this server speaks Socket.IO 3 and 4; socket.io-client 2 is too old for it"
    (record,) = await drive(2, mode, "default", "past")
    assert record["connected"] is False
    assert ["error", explanation] in record["heard"]
    assert "connect" not in [event for event, _ in record["heard"]]
