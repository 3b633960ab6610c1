"""Code that blocks the event loop is noticed (H13)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from ahtransport._blocking import BlockingWatch

if TYPE_CHECKING:
    import pytest


async def _turns(watch: BlockingWatch, *durations: float) -> None:
    trio.lowlevel.add_instrument(watch)
    try:
        for duration in durations:
            await trio.sleep(0.001)
            time.sleep(duration)  # noqa: ASYNC251 -- this is the offence
            await trio.sleep(0.001)
    finally:
        trio.lowlevel.remove_instrument(watch)


async def test_h13_blocking_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    watch = BlockingWatch(0.02)
    await _turns(watch, 0.05)
    assert watch.count >= 1
    assert watch.worst >= 0.05
    assert [record.message for record in caplog.records if "event loop was blocked" in record.message]


async def test_one_warning_a_second(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("ahtransport._blocking._QUIET", 60)  # the machine may stand still for a second
    watch = BlockingWatch(0.02)
    await _turns(watch, 0.03, 0.03, 0.03)
    assert watch.count >= 3
    assert len([record for record in caplog.records if "event loop was blocked" in record.message]) == 1


async def test_waiting_is_not_blocking(caplog: pytest.LogCaptureFixture) -> None:
    watch = BlockingWatch(5)
    await _turns(watch, 0)
    assert watch.count == 0
    assert not caplog.records
