"""Calls that wait for an acknowledgement, without a connection."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ahtransport import ConnectionClosed
from ahtransport._calls import Calls

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize(("args", "result"), [([], None), ([5], 5), ([None], None), ([[1]], [1]), ([1, 2], [1, 2])])
async def test_answers(args: list[Any], result: Any) -> None:
    calls = Calls(10)
    with calls.pending() as slot:
        calls.answer(slot.number, args)
        assert await slot.wait() == result


async def test_answers_find_their_call_whatever_their_order() -> None:
    async def call(number: int) -> None:
        with calls.pending() as slot:
            numbers.append(slot.number)
            results[slot.number] = await slot.wait()

    calls, numbers, results = Calls(10), list[int](), dict[int, Any]()
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(call, number)
        await trio.testing.wait_all_tasks_blocked()
        for number in reversed(numbers):
            calls.answer(number, [number * 10])
    assert sorted(numbers) == [1, 2, 3, 4, 5]  # primus-emitter counts from 1
    assert results == {number: number * 10 for number in numbers}


async def test_unknown_answers_are_ignored() -> None:
    calls = Calls(10)
    calls.answer(1, ["early"])
    with calls.pending() as slot:
        calls.answer(99, ["strange"])
        calls.answer(-1, ["strange"])
        calls.answer(slot.number, ["first"])
        calls.answer(slot.number, ["second"])
        assert await slot.wait() == "first"
    calls.answer(slot.number, ["late"])


async def test_only_so_many_wait(autojump_clock: MockClock) -> None:
    calls = Calls(2)
    with calls.pending(), calls.pending() as second:
        with pytest.raises(trio.WouldBlock):
            calls.pending()
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await second.wait()
    # Who gives up makes room.
    with calls.pending(), calls.pending():
        pass


async def test_all_fail_with_the_connection() -> None:
    calls = Calls(2)
    with calls.pending() as one, calls.pending() as two:
        calls.fail(ConnectionClosed(1001, "bye"))
        for slot in (one, two):
            with pytest.raises(ConnectionClosed) as closed:
                await slot.wait()
            assert (closed.value.code, closed.value.reason) == (1001, "bye")
    calls.fail(ConnectionClosed(1001, "bye"))


async def test_an_error_is_gone_with_who_has_got_it() -> None:
    async def call() -> None:
        with calls.pending() as slot:
            try:
                await slot.wait()
            except ConnectionClosed as error:
                errors.append(weakref.ref(error))
                said.append((error.code, error.reason))

    calls, errors, said = Calls(10), list[weakref.ref[ConnectionClosed]](), list[tuple[int, str]]()
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            calls.fail(ConnectionClosed(4001, "enough"))
        assert said == [(4001, "enough")] * 2
        assert [error() for error in errors] == [None, None]
    finally:
        gc.enable()
