"""Faults on purpose: an instrument of trio that counts the steps of a server's tasks, and strikes at the n-th."""

from __future__ import annotations

import inspect
import itertools
import random
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest
    from trio.lowlevel import Task

    from story import Story


# The tasks that are the server itself; a fault in one of them ends the server, which is as it should be.
REACTOR = "Reactor.run"
INFRASTRUCTURE = ("Deadlines.run", "Host.serve", "Host._accept", "Server._serve", REACTOR)

SCHEDULE = random.Random()
"""Where trio gets the order of its tasks from."""

Strike: TypeAlias = "Callable[[Task, Story], bool]"


class Fault(RuntimeError):
    """What is raised."""


class Saboteur(trio.abc.Instrument):
    """Counts the steps of a server's tasks, and strikes at one of them.

    The turns of a reactor count as well, where the strike is at a connection and not at the task itself.

    Attributes:
        steps: how many there were.
        struck: the name of the task that was hit.
    """

    def __init__(self, at: int, strike: Strike) -> None:
        self.at = at
        self.strike = strike
        self.steps = 0
        self.struck: str | None = None
        self.story: Story

        self._bystanders: set[Task] | None = None
        self._heeds_reactors = strike not in AT_TASKS

    def arm(self) -> None:
        """Count from now on; tasks that are there already are left in peace."""
        self._bystanders = set(tasks_below(trio.lowlevel.current_root_task()))

    def disarm(self) -> None:
        """Do no more harm."""
        self._bystanders = None

    def before_task_step(self, task: Task) -> None:
        if self._bystanders is None:
            return
        counts = self._heeds_reactors and task.name.endswith(REACTOR)
        if not counts and (task in self._bystanders or not is_servers(task)):
            return
        self.steps += 1
        if self.steps >= self.at and self.struck is None and self.strike(task, self.story):
            self.struck = task.name


def tasks_below(task: Task | None) -> Iterator[Task]:
    """Give a task and all its children."""
    if task is not None:
        yield task
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                yield from tasks_below(child)


def is_servers(task: Task) -> bool:
    """Tell whether a task belongs to a server, but is not the server itself."""
    if task.name.endswith(INFRASTRUCTURE):
        return False
    while task.parent_nursery is not None:
        task = task.parent_nursery.parent_task
        if task.name.endswith("Server._serve"):
            return True
    return False


def raise_here(task: Task, story: Story) -> bool:
    """Have what the task waits for raise. (It has come already, so nothing else is upset by that.)"""
    if inspect.getcoroutinestate(task.coro) == inspect.CORO_CREATED:
        return False  # it waits for nothing yet
    task._next_send_fn = task.coro.throw
    task._next_send = Fault("injected")
    return True


def cancel_here(task: Task, story: Story) -> bool:
    """Cancel the innermost cancel scope that is around the task, unless that is the server's."""
    status = task._cancel_status
    assert task.parent_nursery is not None
    if status is task.parent_nursery._cancel_status:
        return False  # the task has none of its own
    if any(status._scope in connection._scopes for connection in (*story.record.opened, *story.second.opened)):
        return close_here(task, story)  # such a scope ends with its connection, and never before
    status._scope.cancel()
    return True


def close_here(task: Task, story: Story) -> bool:
    """Have the server close the connection."""
    for connection in story.server.connections.values():
        if connection is not story.canary:
            connection.close(4001, "struck", reconnect=True)
            return True
    return False


def hang_up_here(task: Task, story: Story) -> bool:
    """Cut the client's connections."""
    return story.cut()


def end_here(task: Task, story: Story) -> bool:
    """Cancel everything."""
    story.scope.cancel()
    return True


AT_TASKS = (raise_here, cancel_here)
"""The strikes that hit the very task that has its turn."""

STRIKES: list[Any] = [raise_here, cancel_here, close_here, hang_up_here, end_here]


def every_step(strike: Strike) -> Iterator[Saboteur]:
    """Give a saboteur for each step, until one has found nothing left to strike at."""
    for at in itertools.count(1):
        saboteur = Saboteur(at, strike)
        yield saboteur
        if saboteur.struck is None:
            return


def fix_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have trio run tasks in an order that is the same each time."""
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr("trio._core._run._r", SCHEDULE)
