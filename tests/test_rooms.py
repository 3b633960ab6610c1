"""Rooms, with real connections."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from ahtransport import Connection, RoomError, Rooms, Server
from ahtransport.testing import Record, connect_websocket, memory_host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def crowd(count: int, rooms: Rooms | None = None) -> AsyncIterator[tuple[Server, list[Connection]]]:
    """Give a server with so many connections."""
    server = Server(config={}, transformer="websockets", port=0, max_rooms=3, max_name=20)
    record = Record(server)
    async with memory_host(server) as host, AsyncExitStack() as clients:
        for _ in range(count):
            await clients.enter_async_context(connect_websocket(host.dial))
        await record.until(lambda: len(record.opened) == count)
        yield server, record.opened


async def test_joining_and_leaving() -> None:
    async with crowd(2) as (server, (one, two)):
        rooms = server.rooms
        before = time.time()
        assert rooms.join(one, "red")
        assert not rooms.join(one, "red")
        assert rooms.join(two, "red")
        assert rooms.join(one, "blue")
        assert one.rooms == {"red", "blue"}
        assert list(rooms.members("red")) == [one, two]
        assert before <= rooms.members("red")[one] <= time.time()
        assert rooms.list() == ["red", "blue"]
        assert "red" in rooms
        assert 5 not in rooms
        assert len(rooms) == 2
        assert rooms.leave(one, "red")
        assert not rooms.leave(one, "red")
        assert not rooms.leave(one, "nowhere")
        assert one.rooms == {"blue"}
        assert list(rooms.members("red")) == [two]


async def test_a_room_from_joining_vanishes_and_one_that_was_added_stays() -> None:
    async with crowd(1) as (server, (one,)):
        rooms = server.rooms
        assert rooms.add("kept")
        assert not rooms.add("kept")
        rooms.join(one, "kept")
        rooms.join(one, "passing")
        rooms.leave_all(one)
        assert one.rooms == set()
        assert rooms.list() == ["kept"]
        rooms.join(one, "passing")
        assert not rooms.add("passing")  # it is there, and from now on it stays
        rooms.leave(one, "passing")
        assert rooms.list() == ["kept", "passing"]


async def test_removing_a_room_makes_its_members_leave() -> None:
    async with crowd(2) as (server, (one, two)):
        rooms, farewells = server.rooms, list[tuple[str, int]]()
        rooms.on_remove(lambda name: farewells.append((name, len(rooms.members(name)))))
        rooms.add("red")
        for connection in (one, two):
            rooms.join(connection, "red")
            rooms.join(connection, "blue")
        assert rooms.remove("red")
        assert not rooms.remove("red")
        assert farewells == [("red", 2)]  # they were still in it
        assert one.rooms == two.rooms == {"blue"}
        assert rooms.members("red") == {}
        assert rooms.list() == ["blue"]


async def test_who_was_taken_out_of_a_room_is_told_of() -> None:
    async with crowd(2) as (server, (one, two)):
        rooms, left = server.rooms, list[tuple[Connection, str]]()
        rooms.on_leave(lambda connection, name: left.append((connection, name)))
        for connection in (one, two):
            rooms.join(connection, "red")
            rooms.join(connection, "blue")
        assert rooms.leave(one, "red")
        assert not rooms.leave(one, "red")
        rooms.remove("blue")
        two.close()
        assert left == [(one, "red")]


async def test_the_end_of_a_connection_takes_it_out_of_its_rooms() -> None:
    async with crowd(2) as (server, (one, two)):
        for name in ("red", "blue"):
            server.rooms.join(one, name)
        server.rooms.join(two, "red")
        one.close()
        assert one.rooms == set()
        assert server.rooms.list() == ["red"]
        assert list(server.rooms.members("red")) == [two]
        with pytest.raises(RoomError, match="closed"):
            server.rooms.join(one, "red")
        assert not server.rooms.leave(one, "red")


@pytest.mark.parametrize("name", ["", "x" * 21, "line\nbreak", "\0", "tab\t", None, 5, ["red"], {}])
async def test_names_that_no_room_has(name: object) -> None:
    async with crowd(1) as (server, (one,)):
        with pytest.raises(RoomError):
            server.rooms.add(name)  # type: ignore[arg-type]
        with pytest.raises(RoomError):
            server.rooms.join(one, name)  # type: ignore[arg-type]
        assert server.rooms.list() == []
        assert one.rooms == set()


async def test_the_longest_name_and_the_most_rooms() -> None:
    async with crowd(1) as (server, (one,)):
        for name in ("x" * 20, "two", "três \U0001f9a9"):
            assert server.rooms.join(one, name)
        with pytest.raises(RoomError, match="3 rooms"):
            server.rooms.join(one, "four")
        assert "four" not in server.rooms
        assert not server.rooms.join(one, "two")  # in it already: that is no error
        server.rooms.leave(one, "two")
        assert server.rooms.join(one, "four")


async def test_rooms_outlive_a_change_of_the_configuration() -> None:
    server = Server(config={}, transformer="websockets", port=0)
    removed: list[str] = []
    server.rooms.add("red")
    server.rooms.on_remove(removed.append)
    server.configure(max_rooms=1)
    assert server.rooms.list() == ["red"]
    server.rooms.remove("red")
    assert removed == ["red"]


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "leave_all", "add", "remove"]),
        st.integers(0, 2),
        st.sampled_from(["a", "b", "c"]),
    ),
    max_size=40,
)


@settings(max_examples=50, deadline=None)
@given(OPERATIONS)
def test_both_sides_always_agree(operations: list[tuple[str, int, str]]) -> None:
    """Any sequence of operations leaves the same as a plain model: sets of pairs."""
    import trio

    async def main() -> None:
        async with crowd(3) as (server, connections):
            rooms, pairs, kept = server.rooms, set[tuple[int, str]](), set[str]()
            for verb, number, name in operations:
                connection = connections[number]
                exists = name in kept or any(pair[1] == name for pair in pairs)
                match verb:
                    case "join":
                        assert rooms.join(connection, name) == ((number, name) not in pairs)
                        pairs.add((number, name))
                    case "leave":
                        assert rooms.leave(connection, name) == ((number, name) in pairs)
                        pairs.discard((number, name))
                    case "leave_all":
                        rooms.leave_all(connection)
                        pairs = {pair for pair in pairs if pair[0] != number}
                    case "add":
                        assert rooms.add(name) != exists
                        kept.add(name)
                    case _:
                        assert rooms.remove(name) == exists
                        kept.discard(name)
                        pairs = {pair for pair in pairs if pair[1] != name}
                for at, each in enumerate(connections):
                    assert each.rooms == {room for member, room in pairs if member == at}
                for room in ("a", "b", "c"):
                    members = {connections[member] for member, its in pairs if its == room}
                    assert set(rooms.members(room)) == members
                    assert (room in rooms) == (room in kept or bool(members))

    trio.run(main, clock=MockClock(autojump_threshold=0))
