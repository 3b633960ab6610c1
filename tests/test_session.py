"""Sessions: atomic changes, expiry, bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from ahtransport._session import MemorySessions, Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from ahtransport._session import SessionStore


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemorySessions:
    return MemorySessions(expires=60.0, max_sessions=3, now=clock)


async def put(session: Session, **values: Any) -> None:
    async with session.change() as data:
        data.update(values)


def test_it_is_a_store(store: MemorySessions) -> None:
    checked: SessionStore = store
    assert isinstance(checked.session("a"), Session)


async def test_an_untouched_session_reads_as_empty_and_costs_nothing(store: MemorySessions) -> None:
    session = store.session("a")
    assert dict(session) == {}
    assert "user" not in session
    assert session.get("user") is None
    with pytest.raises(KeyError):
        session["user"]
    assert len(store) == 0
    async with session.change():
        pass
    assert len(store) == 0


async def test_those_with_the_same_key_share_live(store: MemorySessions) -> None:
    one, other, stranger = store.session("a"), store.session("a"), store.session("b")
    await put(one, user="Ann")
    assert other["user"] == "Ann"
    assert list(other) == ["user"]
    assert len(other) == 1
    assert "user" in other
    assert dict(stranger) == {}
    await put(other, user="Bob")
    assert one["user"] == "Bob"


async def test_a_change_is_seen_when_it_is_committed(store: MemorySessions) -> None:
    session = store.session("a")
    await put(session, n=1)
    async with session.change() as data:
        data["n"] = 2
        assert session["n"] == 1
    assert session["n"] == 2


async def test_changes_take_turns(store: MemorySessions) -> None:
    async def count() -> None:
        async with store.session("a").change() as data:
            before = data.get("n", 0)
            await trio.lowlevel.checkpoint()
            data["n"] = before + 1

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(count)
    assert store.session("a")["n"] == 100


async def test_different_sessions_do_not_wait_for_each_other(store: MemorySessions) -> None:
    async with store.session("a").change():
        await put(store.session("b"), n=1)
    assert store.session("b")["n"] == 1


async def test_a_block_that_raises_changes_nothing(store: MemorySessions) -> None:
    session = store.session("a")
    await put(session, items=[1])

    async def fail() -> None:
        async with session.change() as data:
            data["items"].append(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert session["items"] == [1]
    await put(session, more=True)
    assert dict(session) == {"items": [1], "more": True}


async def test_a_cancelled_block_changes_nothing_and_lets_the_next_one_in(store: MemorySessions) -> None:
    session = store.session("a")
    with trio.CancelScope() as scope:
        async with session.change() as data:
            data["n"] = 1
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert dict(session) == {}
    await put(session, n=2)
    assert session["n"] == 2


async def test_cancelled_while_waiting_its_turn(store: MemorySessions) -> None:
    session = store.session("a")
    async with trio.open_nursery() as nursery, session.change() as data:
        nursery.start_soon(lambda: put(session, n="never"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        data["n"] = 1
    assert session["n"] == 1
    assert not store._turns


async def test_cancelled_at_the_end_of_the_block_it_is_committed_all_the_same(store: MemorySessions) -> None:
    session = store.session("a")
    with trio.CancelScope() as scope:
        async with session.change() as data:
            data["n"] = 1
            scope.cancel()
    assert session["n"] == 1


async def test_the_same_task_can_not_change_inside_a_change(store: MemorySessions) -> None:
    session = store.session("a")
    async with session.change() as data:
        data["n"] = 1
        with pytest.raises(RuntimeError):
            async with session.change():
                pytest.fail("two changes at once")
    assert session["n"] == 1


async def test_nobody_changes_it_behind_the_lock(store: MemorySessions) -> None:
    session = store.session("a")
    mine = [1]
    async with session.change() as data:
        data["items"] = mine
        kept = data
    mine.append(2)
    kept["other"] = True
    session["items"].append(3)
    dict(session)["items"].append(4)
    for value in session.values():
        value.append(5)
    async with session.change() as data:
        data["items"].append(6)
        assert session["items"] == [1]
    assert dict(session) == {"items": [1, 6]}
    with pytest.raises(TypeError):
        session["items"] = []  # type: ignore[index]


async def test_what_can_not_be_copied_is_refused_on_leaving(store: MemorySessions) -> None:
    session = store.session("a")
    await put(session, n=1)
    with pytest.raises(TypeError):
        await put(session, generator=(_ for _ in ()))
    assert dict(session) == {"n": 1}


async def test_iterating_survives_a_commit(store: MemorySessions) -> None:
    session = store.session("a")
    await put(session, a=1, b=2)
    names = []
    for name in session:
        names.append(name)
        await put(session, **{f"new-{name}": 1})
    assert names == ["a", "b"]


async def test_emptied_it_vanishes(store: MemorySessions) -> None:
    session = store.session("a")
    await put(session, n=1)
    async with session.change() as data:
        data.clear()
    assert len(store) == 0
    assert dict(session) == {}


@pytest.mark.parametrize(
    "use",
    [lambda session: session.get("n"), len, list, lambda session: "n" in session],
    ids=["get", "len", "iterate", "contains"],
)
async def test_it_expires_without_use_and_every_use_counts(
    store: MemorySessions, clock: Clock, use: Callable[[Session], object]
) -> None:
    session = store.session("a")
    await put(session, n=1)
    for _ in range(3):
        clock.time += 59.0
        use(session)
    assert dict(session) == {"n": 1}
    clock.time += 60.0
    assert dict(session) == {}
    assert not store._records
    async with session.change() as data:
        assert data == {}


async def test_what_has_expired_is_swept_when_others_are_changed(store: MemorySessions, clock: Clock) -> None:
    await put(store.session("a"), n=1)
    clock.time += 30.0
    await put(store.session("b"), n=1)
    clock.time += 30.0
    await put(store.session("c"), n=1)
    assert list(store._records) == ["b", "c"]
    clock.time += 60.0
    assert len(store) == 0


async def test_it_is_bounded_and_the_least_recently_used_goes(store: MemorySessions) -> None:
    for key in "abc":
        await put(store.session(key), n=1)
    assert store.session("a")["n"] == 1
    await put(store.session("d"), n=1)
    assert len(store) == 3
    assert dict(store.session("b")) == {}
    assert [store.session(key).get("n") for key in "acd"] == [1, 1, 1]


async def test_a_session_that_goes_during_its_change_comes_back_whole(store: MemorySessions) -> None:
    session = store.session("a")
    await put(session, n=1)
    async with session.change() as data:
        data["more"] = True
        for key in "bcd":
            await put(store.session(key), n=1)
        assert dict(session) == {}
    assert dict(session) == {"n": 1, "more": True}


def test_what_a_log_sees_of_it(store: MemorySessions) -> None:
    assert repr(store.session("secret")) == "<Session with 0 values>"


@pytest.mark.parametrize("options", [{"expires": 0}, {"expires": -1.0}, {"max_sessions": 0}])
def test_impossible_bounds(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        MemorySessions(**options)
