"""E1 to E9: what hostile clients say to a server of actions, over each carrier of messages and over real sockets."""

from __future__ import annotations

import json
import os
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import ActionServer, Connection
from hostile.support import Target, under_attack
from hostile.wire import TEXT, frame, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from hostile.wire import Raw

PATHS = {"websockets": "/primus", "engine.io": "/engine.io", "socket.io": "/socket.io"}
CARRIERS = ["websockets", "engine.io websocket", "engine.io polling", "socket.io websocket", "socket.io polling"]
each_carrier = pytest.mark.parametrize("carrier", CARRIERS)

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MEGABYTE = "x" * 2**20
OK = {"status": "OK", "data": True}
UNKNOWN = {"error": "unknown action or invalid apiVersion"}
MISSING = {"error": "that file is not found", "content": None, "mime": "text/html", "length": 22}


def error(text: str, data: Any) -> dict[str, Any]:
    """Give the reply to a verb that failed, less context and messageId."""
    return {"status": f"Error: {text}", "error": f"Error: {text}", "data": data}


# -- the attacking side


class WebSocket:
    """Packets as frames."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw

    async def put(self, packet: str) -> None:
        assert await self._raw.send(frame(TEXT, packet.encode()))

    async def get(self) -> str:
        opcode, payload = await self._raw.frame()
        assert opcode == TEXT, (opcode, payload)
        return payload.decode()

    async def leave(self) -> None:
        self._raw.hang_up()


class Polling:
    """Packets in the bodies of requests: what is said goes by one socket, what is heard comes by another."""

    def __init__(self, saying: Raw, hearing: Raw, target: str) -> None:
        self._saying, self._hearing, self._target = saying, hearing, target
        self._heard: list[str] = []

    async def put(self, packet: str) -> None:
        body = packet.encode()
        head = "Content-Type: text/plain;charset=UTF-8", f"Content-Length: {len(body)}"
        assert await self._saying.send(request("POST", self._target, *head, body=body))
        assert (await self._saying.answer()).status == 200

    async def get(self) -> str:
        if not self._heard:
            assert await self._hearing.send(request("GET", self._target))
            answer = await self._hearing.answer()
            assert answer.status == 200
            self._heard = answer.body.decode().split("\x1e")
        return self._heard.pop(0)

    async def leave(self) -> None:
        await self.put("1")  # sockets that are gone are nothing to a session that polls


class Client:
    """Somebody who says JSON, whatever carries it."""

    def __init__(self, wire: WebSocket | Polling, before: str = "", after: str = "") -> None:
        self._wire, self._before, self._after = wire, before, after
        self._number = 0

    async def say(self, text: str) -> None:
        """Send a message that is written already."""
        await self._wire.put(f"{self._before}{text}{self._after}")

    async def hear(self) -> Any:
        """Wait for the next message; answers heartbeats meanwhile."""
        while True:
            packet = await self._wire.get()
            if self._before and packet == "2":
                await self._wire.put("3")
            elif not packet.startswith(f'{self._before}"primus::'):
                assert packet.startswith(self._before), packet
                return json.loads(packet[len(self._before) : len(packet) - len(self._after)])

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a request, and give its reply less context and messageId; it has to be the next message."""
        self._number += 1
        await self.say(json.dumps({**message, "messageId": self._number}))
        reply = await self.hear()
        assert (reply.pop("messageId"), reply.pop("context")) == (self._number, "response")
        assert isinstance(reply, dict)
        return reply

    async def details(self) -> Any:
        """Look at oneself, as only a connection that lives can."""
        reply = await self.ask({"event": "detailsView"})
        assert reply["status"] == "OK"
        return reply["data"]

    async def play(self, table: Iterable[tuple[dict[str, Any], dict[str, Any]]]) -> None:
        """Send each request, and compare its reply."""
        for message, reply in table:
            assert await self.ask(message) == reply, message


@asynccontextmanager
async def connect(target: Target, carrier: str) -> AsyncIterator[Client]:
    """Connect, and take the welcome."""
    name, _, transport = carrier.partition(" ")
    path = f"{PATHS[name]}/?EIO=4&transport={transport}"
    wire: WebSocket | Polling
    if not transport:
        wire = WebSocket(await target.websocket(target=PATHS[name]))
    elif transport == "websocket":
        wire = WebSocket(await target.websocket(target=path))
        assert (await wire.get()).startswith('0{"sid":')
    else:
        opened = await target.exchange(request("GET", path))
        sid = json.loads(opened.body[1:])["sid"]
        wire = Polling(await target.raw(), await target.raw(), f"{path}&sid={sid}")
    if name == "socket.io":
        await wire.put("40")
        assert (await wire.get()).startswith('40{"sid":')
    marks = {"websockets": (), "engine.io": ("4",), "socket.io": ('42["message",', "]")}
    client = Client(wire, *marks[name])
    with trio.fail_after(120):
        assert (await client.hear())["context"] == "api"
        yield client
        await wire.leave()


def attack(
    prepare: Callable[[ActionServer], object] | None = None, **options: Any
) -> AbstractAsyncContextManager[Target]:
    """Run a server of actions by every carrier, and check the invariants afterwards."""

    def make(**options: Any) -> ActionServer:
        server = ActionServer(config={}, transformer=PATHS, **options)
        if prepare is not None:
            prepare(server)
        return server

    return under_attack(make=make, **options)


# -- the items


@each_carrier
async def test_e1_e2_messages_that_are_no_requests_and_verbs_that_are_none(carrier: str) -> None:
    """E1, E2: an error reply for each, with the message's own id where it has one; the connection goes on."""
    unknown = "verb not found or not allowed"
    messages: list[Any] = [None, 1, 1.5, "x", "", [], [1], ["message", {}], True, False, {}]
    verbs: list[tuple[Any, str]] = [
        ("nosuchverb", "nosuchverb"),
        *((name, name) for name in ("__init__", "__class__", "destroy", "_send", "_say", "answer", "constructor", "")),
        (5, "5"),
        (None, "null"),
        (True, "true"),
        (["roomAdd"], "roomAdd"),
        ({"a": 1}, "[object Object]"),
        ("quit ", "quit "),
        ("\r\n\x1b[31m\u2028", "\r\n\x1b[31m\u2028"),
        ("x" * 1000, "x" * 255 + "…"),
    ]
    async with attack() as target, connect(target, carrier) as client:
        for message in messages:
            await client.say(json.dumps(message))
            reply = await client.hear()
            assert UUID4.fullmatch(reply.pop("messageId"))
            assert reply.pop("context") == "response"
            assert reply == error(f"{unknown} (undefined)", message)
        await client.play([({"x": 1}, error(f"{unknown} (undefined)", {"x": 1}))])
        await client.play(({"event": verb, "x": 1}, error(f"{unknown} ({shown})", {"x": 1})) for verb, shown in verbs)
        assert (await client.details())["totalActions"] == 0
        assert target.log.records == []


@each_carrier
async def test_e3_message_ids(carrier: str) -> None:
    """E3: they come back as they are, or there is a new one instead; those that are too long are refused."""
    message_id: Any
    async with attack() as target, connect(target, carrier) as client:
        for message_id in (1, "a", 1.5, True, [], [1], {"a": 1}, "x" * 255, -3, 2**53, "\ud800", "\r\n\u2028"):
            for event in ("detailsView", "nosuchverb", "action", "file"):
                await client.say(json.dumps({"event": event, "messageId": message_id}))
                assert (await client.hear())["messageId"] == message_id
        for message_id in (None, 0, "", False):
            await client.say(json.dumps({"event": "detailsView", "messageId": message_id}))
            assert UUID4.fullmatch((await client.hear())["messageId"])
        for message_id in ("x" * 256, MEGABYTE, ["x" * 300], {"a": "x" * 300}, [1] * 200, 10**300, ["\ud800"]):
            await client.say(json.dumps({"event": "action", "params": {"action": "x"}, "messageId": message_id}))
            reply = await client.hear()
            assert reply["error"] == "Error: a messageId may have 255 characters"
            assert UUID4.fullmatch(reply["messageId"])
        await client.say('{"event":"detailsView","messageId":"first","messageId":"last"}')
        assert (await client.hear())["messageId"] == "last"
        assert (await client.details())["totalActions"] == 12
        assert target.log.records == []


@each_carrier
async def test_e3_fifty_at_once_that_end_backwards(carrier: str) -> None:
    """E3: each reply has its own id and its own outputs, the last request's first."""

    def prepare(server: ActionServer) -> None:
        ended = [trio.Event() for _ in range(51)]
        ended[50].set()

        @server.action
        async def wait(connection: Connection, number: int) -> dict[str, int]:
            await ended[number + 1].wait()
            ended[number].set()
            return {"number": number}

    async with attack(prepare, simultaneous_actions=50) as target, connect(target, carrier) as client:
        for number in range(50):
            params = {"action": "wait", "number": number}
            await client.say(json.dumps({"event": "action", "params": params, "messageId": f"id {number}"}))
        replies = [await client.hear() for _ in range(50)]
        assert sorted(reply["number"] for reply in replies) == list(range(50))
        assert all(reply["messageId"] == f"id {reply['number']}" for reply in replies)
        assert replies[0]["number"] != 0
        assert (await client.details())["pendingActions"] == 0
        assert target.log.records == []


@each_carrier
async def test_e4_e5_names_of_parameters_and_actions(carrier: str) -> None:
    """E4, E5: names such as those of attributes are plain data, or none; what was not declared stays behind."""
    hostile = ["__proto__", "constructor", "__class__", "__init__", "connection", "call", "function", "args", "kwargs"]
    got: list[dict[str, Any]] = []

    def prepare(server: ActionServer) -> None:
        @server.action
        def act(connection: Connection, key: Any = "default", self: Any = "default") -> dict[str, bool]:
            got.append({"key": key, "self": self, "id": connection.id})
            return {"acted": True}

        @server.action
        def other(connection: Connection) -> dict[str, bool]:
            return {"other": True}

    async with attack(prepare) as target, connect(target, carrier) as client:
        own = (await client.details())["id"]
        for name in hostile:
            for value in ("evil", {"id": "evil"}, None):
                params: Any = {name: value, "action": "act", "key": value}
                await client.play([({"event": "action", "params": params}, {"acted": True})])
                assert got.pop() == {"key": value, "self": "default", "id": own}
        params = {"action": "act", "self": "mine", "key": {"__proto__": {"evil": 1}}}
        await client.play([({"event": "action", "params": params}, {"acted": True})])
        assert got.pop() == {"key": {"__proto__": {"evil": 1}}, "self": "mine", "id": own}
        await client.say('{"event":"action","messageId":"two","params":{"action":"other","action":"act"}}')
        assert await client.hear() == {"acted": True, "context": "response", "messageId": "two"}
        got.clear()
        names: list[Any] = [*hostile, "", "ACT", "act\0", "runner", "action", None, 5, ["act"], {"act": 1}]
        await client.play(({"event": "action", "params": {"action": name}}, UNKNOWN) for name in names)
        versions: list[Any] = ["name", "__doc__", "__class__", "constructor", -1, 2, 1e300, [1], {"1": 1}]
        await client.play(
            ({"event": "action", "params": {"action": "act", "apiVersion": version}}, UNKNOWN) for version in versions
        )
        others: list[Any] = [{}, [], [["action", "act"]], "act", None, 5]
        await client.play(({"event": "action", "params": params}, UNKNOWN) for params in others)
        assert got == []
        assert (await client.details())["pendingActions"] == 0
        assert target.log.records == []


@each_carrier
async def test_e6_a_sixth_action(carrier: str) -> None:
    """E6: refused at once; the count recovers when they end, when they fail, and when their client goes."""
    gate, waiting = trio.Event(), 0

    def prepare(server: ActionServer) -> None:
        @server.action
        async def wait(connection: Connection, fail: bool = False) -> dict[str, bool]:
            nonlocal waiting
            waiting += 1
            try:
                await gate.wait()
            finally:
                waiting -= 1
            if fail:
                raise RuntimeError("on purpose")
            return {"waited": True}

    async def start(client: Client) -> None:
        for number in range(5):
            params = {"action": "wait", "fail": number % 2 == 1}
            await client.say(json.dumps({"event": "action", "params": params, "messageId": f"id {number}"}))

    async with attack(prepare) as target:
        server = target.server
        assert isinstance(server, ActionServer)
        target.tracebacks = 2
        async with connect(target, carrier) as client:
            await start(client)
            too_many = {"error": "you have too many pending requests"}
            await client.play([({"event": "action", "params": {"action": "wait"}}, too_many)] * 20)
            assert (await client.details())["pendingActions"] == 5
            async with connect(target, carrier) as other:  # it is each client's own count
                await start(other)
                await other.play([({"event": "action", "params": {"action": "wait"}}, too_many)])
            await target.wait_for(lambda: waiting == server.runner.pending == 5)
            gate.set()
            replies = {reply.pop("messageId"): reply for reply in [await client.hear() for _ in range(5)]}
            failed = {"error": "The server experienced an internal error", "context": "response"}
            done = {"waited": True, "context": "response"}
            assert replies == {f"id {number}": failed if number % 2 else done for number in range(5)}
            details = await client.details()
            assert (details["totalActions"], details["pendingActions"]) == (25, 0)
            await client.play([({"event": "action", "params": {"action": "wait"}}, {"waited": True})] * 6)
        assert server.runner.pending == 0
        assert len(target.log.records) == 2


@each_carrier
async def test_e7_rooms_that_do_not_exist_and_one_too_many(carrier: str) -> None:
    """E7: an error reply for each; no room comes into being."""
    names = [f"room {number}" for number in range(129)]

    def prepare(server: ActionServer) -> None:
        for name in names:
            server.rooms.add(name)

    async with (
        attack(prepare) as target,
        connect(target, carrier) as client,
        connect(target, carrier) as other,
    ):
        known = target.server.rooms.list()
        rooms: list[Any] = [{"a": 1}, {}, [], ["room 1"], 1, True, "x" * 256, MEGABYTE, "\n", "\0", "nowhere", " "]
        for room in [*rooms, "__proto__", "ROOM 1", (await other.details())["id"]]:
            assert await client.ask({"event": "roomAdd", "room": room}) == error("room does not exist", {})
            for event in ("roomView", "roomLeave"):
                reply = await client.ask({"event": event, "room": room})
                assert reply["error"].startswith("Error: connection not in this room (")
                assert len(reply["error"]) < 310
        for room in ("", None, 0, False):
            for event in ("roomAdd", "roomView", "roomLeave"):
                reply = await client.ask({"event": event, "room": room})
                assert reply == error("a room is required", {"room": room})
        await client.play(({"event": "roomAdd", "room": name}, OK) for name in names[:128])
        too_many = error("a connection may be in 128 rooms", {})
        await client.play([({"event": "roomAdd", "room": names[128]}, too_many)] * 2)
        again = error(f"connection already in this room ({names[0]})", {})
        await client.play([({"event": "roomAdd", "room": names[0]}, again)])
        assert len((await client.details())["rooms"]) == 128
        assert (await other.details())["rooms"] == []
        assert not target.server.rooms.members(names[128])
        assert target.server.rooms.list() == known
        assert target.log.records == []


@each_carrier
async def test_e8_what_is_said_and_by_whom_it_is_heard(carrier: str) -> None:
    """E8: by members alone, of whatever carrier, its speaker among them; who is no member neither speaks nor looks."""
    async with (
        attack(starting_chat_rooms=["in", "out"]) as target,
        connect(target, carrier) as client,
        connect(target, "websockets") as member,
        connect(target, carrier) as outsider,
    ):
        for one in (client, member):
            assert await one.ask({"event": "roomAdd", "room": "in"}) == OK
        assert await outsider.ask({"event": "roomAdd", "room": "out"}) == OK
        own = (await client.details())["id"]
        foreign = {
            name: error(f"connection not in this room ({name})", {"message": "hi"}) for name in ("in", "out", "1")
        }
        await outsider.play([({"event": "say", "room": "in", "message": "hi"}, foreign["in"])])
        await outsider.play([({"event": "roomView", "room": "in"}, error("connection not in this room (in)", {}))])
        text, nothing = "a message has to be text", "both room and message are required"
        refused: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"room": "out", "message": "hi"}, foreign["out"]),
            ({"room": 1, "message": "hi"}, foreign["1"]),
            ({"room": ["in"], "message": "hi"}, foreign["in"]),
            ({"room": "in", "message": {"a": 1}}, error(text, {"message": {"a": 1}})),
            ({"room": "in", "message": ["a"]}, error(text, {"message": ["a"]})),
            ({"room": "in", "message": ""}, error(nothing, {"message": ""})),
            ({"room": "in", "message": None}, error(nothing, {"message": None})),
            ({"room": "in"}, error(nothing, {})),
            ({"room": "", "message": "hi"}, error(nothing, {"room": "", "message": "hi"})),
            ({"message": "hi"}, error(nothing, {"message": "hi"})),
            ({}, error(nothing, {})),
        ]
        await client.play(({"event": "say", **fields}, reply) for fields, reply in refused)
        for message, shown in (
            ("a\u2028\0\x1b[2J</script>", None),
            ("primus::server::close", None),
            (MEGABYTE, None),
            (5, "5"),
        ):
            fields = {"event": "say", "room": "in", "message": message, "from": "0", "context": "api", "sentAt": 1}
            await client.say(json.dumps({**fields, "messageId": "say"}))
            heard = [await client.hear(), await client.hear()]
            assert {"status": "OK", "context": "response", "messageId": "say"} in heard
            heard = [*(one for one in heard if one["context"] == "user"), await member.hear()]
            for one in heard:
                assert one.pop("sentAt") > 1_600_000_000_000
                assert one == {"message": shown or message, "room": "in", "from": own, "context": "user"}
            assert len(heard) == 2
        for one in (member, outsider):  # the next that each of them gets is what it asks for itself
            await one.details()
        assert target.log.records == []


@each_carrier
async def test_e9_files_that_are_none_of_the_clients_business(carrier: str, tmp_path: Path) -> None:
    """E9: "that file is not found" in the same words whatever else is there; one that is too large is not read."""
    public = tmp_path / "public"
    (public / "deep").mkdir(parents=True)
    (public / "simple.html").write_text("simple")
    (public / "just.txt").write_text("x" * 100)
    (public / "over.txt").write_text("x" * 101)
    with (public / "large.bin").open("wb") as file:
        file.truncate(5 * 2**30)  # sparse
    (tmp_path / "secret.txt").write_text("secret")
    (public / "out.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(public / "fifo")
    names: list[Any] = [
        *("../secret.txt", "deep/../../secret.txt", "....//secret.txt", "..\\secret.txt", "deep\\..\\..\\secret.txt"),
        *(
            "%2e%2e/secret.txt",
            "%2e%2e%2fsecret.txt",
            "%252e%252e/secret.txt",
            "..%c0%afsecret.txt",
            "..%00/secret.txt",
        ),
        *("/etc/hostname", "//etc/hostname", "/dev/zero", "file:///etc/hostname", "C:\\Windows\\win.ini", "CON"),
        *("simple.html\0", "\0", "\ud800", "simple.html/", "simple.html/..", "simple.html ", "simple.html.", "a\r\nb"),
        *("simple%2ehtml", "\uff53imple.html", "out.txt", "fifo", "deep", "x" * 5000, MEGABYTE),
        *(str(public / "simple.html"), str(tmp_path / "secret.txt")),
        *(5, ["simple.html"], {"a": 1}, [], True),
    ]
    async with attack(public=[str(public)], max_file=100) as target, connect(target, carrier) as client:
        await client.play(({"event": "file", "file": name}, MISSING) for name in names)
        for name in ("large.bin", "over.txt"):
            reply = await client.ask({"event": "file", "file": name})
            assert (reply["error"], reply["content"]) == ("that file is too large to be sent as a message", None)
        for name, content in (("simple.html", "simple"), ("just.txt", "x" * 100)):
            assert (await client.ask({"event": "file", "file": name}))["content"] == content
        await client.details()
        assert target.log.records == []
