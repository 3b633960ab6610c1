"""The crash barrier: failures stay, cancellations and Ctrl+C pass."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

import pytest
import trio

from ahtransport._barrier import close_nurseries, contained

if TYPE_CHECKING:
    from collections.abc import Generator


class Trouble(BaseException):
    """Not even an Exception."""


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


async def test_without_a_failure_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    with contained("it") as trouble:
        pass
    assert trouble.caught is None
    assert not errors(caplog)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        SystemExit(3),
        GeneratorExit(),
        Trouble("x"),
        ExceptionGroup("several", [ValueError("one"), OSError("two")]),
        BaseExceptionGroup("several", [SystemExit(1), ExceptionGroup("more", [ValueError("two")])]),
    ],
)
async def test_failures_stay_and_are_logged_once(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    with contained("it") as trouble:
        raise error
    assert repr(trouble.caught) == repr(error)
    assert errors(caplog) == ["it failed"]
    assert caplog.records[-1].exc_info


async def test_ctrl_c_passes() -> None:
    with pytest.raises(KeyboardInterrupt), contained("it") as trouble:
        raise KeyboardInterrupt
    assert trouble.caught is None


def test_a_task_that_trio_has_left_behind_can_be_thrown_away(caplog: pytest.LogCaptureFixture) -> None:
    @types.coroutine
    def wait() -> Generator[None]:
        yield

    async def task() -> None:
        with contained("it"):
            await wait()

    left = task()
    left.send(None)
    left.close()
    assert not errors(caplog)


async def test_nurseries_that_were_left_open_are_closed() -> None:
    """Without that, trio has the task fail when it is over, and with it the nursery that it is in."""
    ended = trio.Event()

    async def stay() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async def leave_open() -> None:
        try:
            manager = trio.open_nursery()
            (await manager.__aenter__()).start_soon(stay)
            (await trio.open_nursery().__aenter__()).start_soon(trio.sleep_forever)
            await trio.testing.wait_all_tasks_blocked()
        finally:
            close_nurseries()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave_open)
    await ended.wait()


async def test_cancellation_passes() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        with contained("it") as trouble:
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trouble.caught is None


async def test_a_cancellation_that_was_kept_is_a_failure() -> None:
    kept: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            kept.append(error)
            raise
    with contained("it") as trouble:
        raise kept[0]
    assert trouble.caught is kept[0]


async def test_groups_are_taken_apart() -> None:
    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while it was cancelled")

    with trio.CancelScope() as scope, contained("it") as trouble:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert isinstance(trouble.caught, BaseExceptionGroup)
    assert [type(error) for error in trouble.caught.exceptions] == [ValueError]


async def test_what_is_expected_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    def expected(error: BaseException) -> bool:
        return isinstance(error, EOFError)

    with contained("it", expected) as trouble:
        raise EOFError
    assert trouble.caught is None
    with contained("it", expected) as trouble:
        raise ExceptionGroup("several", [EOFError(), ExceptionGroup("more", [EOFError()])])
    assert trouble.caught is None
    assert not errors(caplog)
    with contained("it", expected) as trouble:
        raise ExceptionGroup("several", [EOFError(), ValueError("x")])
    assert isinstance(trouble.caught, ExceptionGroup)
    assert [type(error) for error in trouble.caught.exceptions] == [ValueError]
    with contained("it", expected) as trouble:
        raise ValueError("x")
    assert isinstance(trouble.caught, ValueError)
    assert errors(caplog) == ["it failed", "it failed"]
