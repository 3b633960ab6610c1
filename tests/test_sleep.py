"""A task that sleeps until it is woken, as with trio's ``wait_task_rescheduled``."""

from __future__ import annotations

import pytest
import trio
from outcome import Error

from ahtransport._sleep import is_asleep, sleep, wake


class Sleeper:
    """A task that sleeps, again and again."""

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None
        self.woken = 0

    async def run(self) -> None:
        self.task = trio.lowlevel.current_task()
        while True:
            await sleep(self.task, self)
            self.woken += 1

    @property
    def asleep(self) -> bool:
        assert self.task is not None
        return is_asleep(self.task, self)

    def wake(self) -> None:
        assert self.task is not None
        wake(self.task)


async def test_many_tasks_are_woken_each_by_its_own_name(autojump_clock: trio.testing.MockClock) -> None:
    sleepers = [Sleeper() for _ in range(20)]
    async with trio.open_nursery() as nursery:
        for sleeper in sleepers:
            nursery.start_soon(sleeper.run)
        await trio.testing.wait_all_tasks_blocked()
        for round_ in range(3):
            assert all(sleeper.asleep for sleeper in sleepers)
            for sleeper in sleepers[round_:]:
                sleeper.wake()
            assert [sleeper.asleep for sleeper in sleepers] == [True] * round_ + [False] * (20 - round_)
            await trio.testing.wait_all_tasks_blocked()
        assert [sleeper.woken for sleeper in sleepers] == [1, 2] + [3] * 18
        nursery.cancel_scope.cancel()


async def test_who_is_cancelled_is_not_asleep_any_more(autojump_clock: trio.testing.MockClock) -> None:
    sleeper = Sleeper()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper.run)
        await trio.testing.wait_all_tasks_blocked()
        assert sleeper.asleep
        nursery.cancel_scope.cancel()
        assert not sleeper.asleep  # at once: whoever wakes it now would break trio
    assert nursery.cancel_scope.cancelled_caught
    assert sleeper.woken == 0


async def test_who_was_woken_before_it_was_cancelled_has_been_woken(autojump_clock: trio.testing.MockClock) -> None:
    sleeper = Sleeper()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper.run)
        await trio.testing.wait_all_tasks_blocked()
        sleeper.wake()
        nursery.cancel_scope.cancel()
    assert sleeper.woken == 1


async def test_an_error_reaches_who_sleeps(autojump_clock: trio.testing.MockClock) -> None:
    sleeper = Sleeper()
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="no more")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper.run)
            await trio.testing.wait_all_tasks_blocked()
            assert sleeper.task is not None
            trio.lowlevel.reschedule(sleeper.task, Error(ValueError("no more")))
