"""Namespaces from the application's side: each has functions, connections and rooms of its own."""

from __future__ import annotations

import re
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import Connection, Reject, RoomError, Server
from socket_io.support import OPEN, hall, normal

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport import Namespace, Request
    from ahtransport._application import Application
    from ahtransport._namespaces import Namespaces

DYNAMIC = re.compile(r"/room-\d+")


async def test_d1_each_has_its_own(autojump_clock: object) -> None:
    """D1: connections, rooms and broadcasts of one reach nobody in another."""
    seen: list[tuple[str, str]] = []

    def prepare(server: Server) -> None:
        server.of("chat").on_open(lambda connection: seen.append(("/chat", connection.id)))
        server.on_open(lambda connection: seen.append(("/", connection.id)))

    async with hall(prepare) as place:
        server = place.server
        wire = await place.connected()
        await wire.send("0/chat,")
        assert normal(await wire.receive()) == '0/chat,{"sid":"-"}'
        chat = server.of("/chat")
        assert (chat.name, [name for name, _ in seen]) == ("/chat", ["/", "/chat"])
        assert list(chat.connections) == [seen[1][1]]
        assert list(server.connections) == [seen[0][1]]
        (member,) = chat.connections.values()
        assert (member.namespace, member.transport) == ("/chat", "websocket")
        chat.rooms.join(member, "kitchen")
        assert "kitchen" not in server.rooms
        chat.broadcast("for the kitchen", room="kitchen")
        server.broadcast("for the root")
        chat.broadcast("for nobody", exclude=[member])
        assert [await wire.receive() for _ in range(2)] == [
            '2/chat,["message","for the kitchen"]',
            '2["message","for the root"]',
        ]
        await wire.close()


async def test_d1_messages_of_a_namespace(autojump_clock: object) -> None:
    """D1: a handler of its own, or ``on_message``; not both. Transforms see its messages only."""

    async def shout(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message.upper())

    def prepare(server: Server) -> None:
        server.of("/loud").handler(shout)
        with pytest.raises(TypeError, match="not to both"):
            server.of("/loud").on_message(lambda connection, message: None)
        quiet = server.of("/quiet")
        quiet.on_message(lambda connection, message: connection.send_nowait(message.lower()))
        with pytest.raises(TypeError, match="not to both"):
            quiet.handler(shout)

        async def late(connection: Connection, error: BaseException) -> None:
            raise AssertionError

        with pytest.raises(TypeError, match="plain function"):
            quiet.on_error(late)
        with pytest.raises(ValueError, match="sideways"):
            quiet.transform("sideways", lambda envelope: None)  # type: ignore[arg-type]
        quiet.transform("outgoing", lambda envelope: envelope.data != "secret")

    async with hall(prepare) as place:
        wire = await place.socket("0/loud,", "0/quiet,")
        await wire.receive()
        await wire.receive()
        await wire.send('2/loud,["message","a"]', '2/quiet,["message","SECRET"]', '2/quiet,["message","B"]')
        got = {await wire.receive(), await wire.receive()}
        assert got == {'2/loud,["message","A"]', '2/quiet,["message","b"]'}
        await wire.close()


async def test_d9_a_passing_namespace_may_stay(autojump_clock: object) -> None:
    """D9: once the application names it, it does not go with its last client, and keeps what the pattern gave it."""

    def prepare(server: Server) -> None:
        assert server.of(DYNAMIC)._application is server.of(re.compile(r"/room-\d+"))._application
        server.of(DYNAMIC).on("hi")(lambda connection: connection.namespace)

    async with hall(prepare) as place:
        wire = await place.connected("/room-1")
        assert place.server.of("/room-1").name == "/room-1"
        place.server.of("/room-1").on_close(lambda connection, code, reason: None)
        await wire.send('2/room-1,1["hi"]')
        assert await wire.receive() == '3/room-1,1["/room-1"]'
        await wire.close()
        await place.until(lambda: place.closed)
        namespaces = place.server._namespaces
        assert not namespaces._passing
        assert "/room-1" in {application.name for application in namespaces}


async def test_d9_looking_at_a_passing_namespace_does_not_make_it_stay(autojump_clock: object) -> None:
    """D9: nor does talking to those in it, whether anybody is in it or not; clients choose its name."""

    def prepare(server: Server) -> None:
        rooms = server.of(DYNAMIC)
        rooms.on("hi")(lambda connection: server.of(connection.namespace).emit("hi", connection.namespace))
        rooms.on_close(lambda connection, code, reason: server.of(connection.namespace).broadcast("gone"))

    async with hall(prepare) as place:
        namespaces = place.server._namespaces
        named = [application.name for application in namespaces]
        for number in range(40):
            name = f"/room-{number}"
            handle = place.server.of(name)
            for there in (False, True):
                if there:
                    wire = await place.connected(name)
                    (connection,) = handle.connections.values()
                    assert handle.rooms.join(connection, "tea")
                assert (handle.name, len(handle.connections), len(handle.rooms.members("tea"))) == (name, there, there)
                handle.emit("news", room="tea")
            assert await wire.receive() == f'2{name},["news"]'
            await wire.send(f'2{name},["hi"]')
            with trio.fail_after(10):
                assert await wire.receive() == f'2{name},["hi","{name}"]'
            await wire.close()
            await place.until(lambda number=number: len(place.closed) == number + 1)  # type: ignore[misc]
            assert handle.connections == {}
        assert [application.name for application in namespaces] == named
        looked_at = weakref.ref(namespaces.seen("/room-1"))
        assert looked_at() is None  # without the garbage collector


KEEPING: dict[str, Callable[[Namespace], object]] = {
    "on_open": lambda namespace: namespace.on_open(lambda connection: None),
    "on_message": lambda namespace: namespace.on_message(lambda connection, message: None),
    "on_close": lambda namespace: namespace.on_close(lambda connection, code, reason: None),
    "on_error": lambda namespace: namespace.on_error(lambda connection, error: None),
    "on": lambda namespace: namespace.on("more")(lambda connection: "more"),
    "on *": lambda namespace: namespace.on("*")(lambda connection, name: name),
    "authorize": lambda namespace: namespace.authorize(lambda request: None),
    "transform in": lambda namespace: namespace.transform("incoming", lambda envelope: None),
    "transform out": lambda namespace: namespace.transform("outgoing", lambda envelope: None),
    "a room": lambda namespace: namespace.rooms.add("tea"),
    "on_remove": lambda namespace: namespace.rooms.on_remove(lambda name: None),
}


def _registered(application: Application) -> list[Any]:
    """Give all functions of a namespace."""
    lists = application.on_open, application.on_message, application.on_close, application.on_error
    transforms = application.incoming.functions, application.outgoing.functions
    return [{**application._events}, [*application.authorizers], *([*one] for one in (*lists, *transforms))]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("what", KEEPING)
async def test_d9_what_is_registered_in_a_passing_namespace_is_its_own(
    what: str, there: bool, autojump_clock: object
) -> None:
    """D9: it stays, with what the pattern had; nothing of it is for the pattern's other namespaces, nor the reverse."""

    def prepare(server: Server) -> None:
        rooms = server.of(DYNAMIC)
        rooms.on("hi")(lambda connection: connection.namespace)
        rooms.authorize(lambda request: None)

    async with hall(prepare) as place:
        namespaces, rooms = place.server._namespaces, place.server.of(DYNAMIC)
        wires = [await place.connected("/room-2")]
        if there:
            wires.append(await place.connected("/room-1"))
        pattern = _registered(rooms._application)
        KEEPING[what](place.server.of("/room-1"))
        mine = namespaces.find("/room-1")
        assert mine is place.server.of("/room-1")._application
        assert mine.handles("hi")
        assert len(mine.authorizers) == 1 + (what == "authorize")
        for other in (rooms._application, namespaces.find("/room-2")):
            assert other is not None
            assert _registered(other) == pattern
        registered = _registered(mine)
        assert (registered == pattern) == (what in ("a room", "on_remove"))
        for keep in KEEPING.values():
            keep(rooms)
        assert _registered(mine) == registered
        for wire in wires:
            await wire.close()
        await place.until(lambda: len(place.closed) == len(wires))
        assert namespaces.find("/room-1") is mine
        assert ("tea" in mine.rooms) == (what == "a room")


async def test_an_authorizer_for_one_passing_namespace_is_for_no_other(autojump_clock: object) -> None:
    def full(request: Request) -> None:
        raise Reject(403, "room 1 is full")

    async with hall(lambda server: server.of(DYNAMIC)) as place:
        wires = [await place.connected("/room-1")]
        place.server.of("/room-1").authorize(full)
        wires.append(await place.connected("/room-2"))
        wires.append(await place.socket("0/room-1,"))
        assert await wires[-1].receive() == '4/room-1,{"message":"room 1 is full"}'
        for wire in wires:
            await wire.close()


async def test_a_name_from_before_its_pattern_is_not_the_patterns(autojump_clock: object) -> None:
    def prepare(server: Server) -> None:
        server.of("/room-1")
        server.of(DYNAMIC).authorize(lambda request: False)

    async with hall(prepare) as place:
        wire = await place.connected("/room-1")
        await wire.send("0/room-2,")
        assert await wire.receive() == '4/room-2,{"message":"not authorized"}'
        await wire.close()


async def test_what_is_registered_for_a_pattern_reaches_those_that_live(autojump_clock: object) -> None:
    """Whatever it is: a function for one event or for all, or the handler of those who come from now on."""

    async def shout(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message.upper())

    async with hall(lambda server: server.of(DYNAMIC)) as place:
        rooms = place.server.of(DYNAMIC)
        first, own = await place.connected("/room-1"), await place.connected("/room-2")
        place.server.of("/room-2").on("mine")(lambda connection: None)
        rooms.on("*")(lambda connection, name: f"any {name}")
        rooms.on("one")(lambda connection: "one")
        await first.send('2/room-1,1["x"]', '2/room-1,2["one"]', '2/room-1,3["*"]')
        with trio.fail_after(10):
            got = [await first.receive() for _ in range(3)]
        assert got == ['3/room-1,1["any x"]', '3/room-1,2["one"]', '3/room-1,3["any *"]']
        rooms.handler(shout)
        second = await place.connected("/room-1")
        await second.send('2/room-1,["message","hello"]')
        assert await second.receive() == '2/room-1,["message","HELLO"]'
        assert place.server.of("/room-2")._application.handler is None
        for wire in (first, own, second):
            await wire.close()


async def test_rooms_of_a_namespace_that_has_gone(autojump_clock: object) -> None:
    """Who still holds them can have one of that name stay, unless others have come meanwhile."""
    async with hall(lambda server: server.of(DYNAMIC)) as place:
        wire = await place.connected("/room-1")
        rooms, namespaces = place.server.of("/room-1").rooms, place.server._namespaces
        await wire.close()
        await place.until(lambda: place.closed)
        wire = await place.connected("/room-1")
        rooms.add("tea")
        assert list(namespaces._passing) == ["/room-1"]
        await wire.close()
        await place.until(lambda: len(place.closed) == 2)
        rooms.add("coffee")
        assert place.server.of("/room-1").rooms is rooms


async def test_d9_a_function_that_fails_lets_nobody_in(autojump_clock: object) -> None:
    """D9: it is asked about any name, so its failure is logged each time, and means no."""

    def broken(name: str) -> bool:
        raise LookupError(name)

    async with hall(lambda server: server.of(broken)) as place:
        wire = await place.socket("0/anything,")
        assert await wire.receive() == '4/anything,{"message":"Invalid namespace"}'
        assert place.opened == []
        place.tracebacks = 1
        await wire.close()


async def test_the_rooms_of_a_namespace_are_for_its_connections(autojump_clock: object) -> None:
    """One that is put into the rooms of another is refused, and ends as it should."""
    async with hall(lambda server: server.of("/a")) as place:
        wire = await place.connected("/a")
        (connection,) = place.opened
        main, own = place.server.rooms, place.server.of("/a").rooms
        with pytest.raises(RoomError, match=r"in the namespace /a: its rooms are server\.of\('/a'\)\.rooms"):
            main.join(connection, "staff")
        assert own.join(connection, "staff")
        main.add("staff")
        assert not main.leave(connection, "staff")
        assert main.remove("staff")
        assert list(own.members("staff")) == [connection]
        await wire.close()
        await place.until(lambda: place.closed)
        assert "staff" not in own


def test_namespaces_move_to_other_options() -> None:
    """Functions and rooms stay, connections do not."""
    server = Server(config={}, transformer="socket.io", port=0)
    server.of("/admin").on("x")(lambda connection: None)
    server.of("/admin").rooms.add("kitchen")
    server.of(DYNAMIC).on("y")(lambda connection: None)
    old = server._namespaces
    assert old.find("/room-1") is not None
    new: Namespaces = old.moved(old.shared)
    admin, room = new.find("/admin"), new.model("/room-1")
    assert admin is not None
    assert room is not None
    assert admin.handles("x")
    assert "kitchen" in admin.rooms
    assert room.handles("y")
    assert not new._passing
    assert not old.shared.running
    with pytest.raises(RuntimeError, match="not running"):
        old.shared.spawn(trio.sleep, 1)


@pytest.mark.parametrize("transport", OPEN)
async def test_one_busy_namespace_pauses_the_client(transport: str, autojump_clock: object) -> None:
    """The client's messages wait, none is lost, and all go on once the last busy namespace takes them again."""
    gates = {"/": trio.Event(), "/other": trio.Event()}

    async def slow(connection: Connection) -> None:
        await gates[connection.namespace].wait()
        async for message in connection:
            await connection.send(message)

    def prepare(server: Server) -> None:
        server.of("/other").handler(slow)

    async with hall(prepare, handler=slow, inbox=4) as place, trio.open_nursery() as nursery:
        wire = await OPEN[transport](place.dial)
        await wire.send("0")
        await wire.receive()
        await wire.send("0/other,")
        await wire.receive()

        async def send() -> None:
            packets = [f'2{"/other," if number % 2 else ""}["message",{number}]' for number in range(40)]
            await wire.send(*packets)

        nursery.start_soon(send)
        await trio.sleep(1)
        assert len(place.heard) < 12
        gates["/"].set()
        gates["/other"].set()
        got = {await wire.receive() for _ in range(40)}
        assert len(got) == 40
        await wire.close()


async def test_a_client_that_does_not_read(autojump_clock: object) -> None:
    """What waits for one namespace counts for all: the session ends, with all of them."""
    async with hall(max_backlog_messages=10) as place:
        wire = await OPEN["polling"](place.dial)
        for packet in ("0", "0/other,"):
            await wire.send(packet)
            await wire.receive()
        place.opened[0].send_nowait("x" * 100)
        for _ in range(20):
            place.server.broadcast("x" * 100)
        await place.until(lambda: len(place.closed) == 2)
        assert {code for _, code, _ in place.closed} <= {1013, 1006}


async def test_d1_credentials_come_with_the_connect(autojump_clock: object) -> None:
    """D1: each namespace has its own; the application sees them on the request and on the connection."""
    seen: list[Any] = []

    def prepare(server: Server) -> None:
        server.of("/other")

        @server.authorize
        def look(request: Request) -> None:
            seen.append(request.auth)

    async with hall(prepare) as place:
        wire = await place.socket('0{"token":1}', '0/other,{"token":2}')
        await wire.receive()
        await wire.receive()
        assert seen == [{"token": 1}]
        assert sorted(connection.auth["token"] for connection in place.opened) == [1, 2]
        await wire.close()
        seen.clear()
