"""The crash barrier around everything that a peer or a handler can make fail.

In trio an exception that nobody catches ends the whole server. So each connection and each request runs behind one of
these; only cancellation and Ctrl+C pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import trio

from ahtransport._log import fields, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["close_nurseries", "contained"]

_log = get_logger()


class contained:
    """Catch what goes wrong inside, log it once with its traceback, and go on after the block.

    Exception groups are taken apart: what is a failure stays here, what is a cancellation goes on.

    Args:
        what: what the log says has failed.
        expected: tells of an exception that it is no failure; it ends the block and that is all.
        about: the connection or request whose failure it would be, for the log's fields.

    Attributes:
        caught: the failure, after the block; None when there was none.
    """

    __slots__ = ("about", "caught", "expected", "what")

    def __init__(
        self, what: str, expected: Callable[[BaseException], bool] | None = None, about: object = None
    ) -> None:
        self.what = what
        self.expected = expected
        self.about = about
        self.caught: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if error is None:
            return False
        if not trio.lowlevel.in_trio_task():
            return False  # GeneratorExit: trio has ended, and what it left behind is thrown away
        passing: tuple[type[BaseException], ...] = (KeyboardInterrupt,)
        if trio.current_effective_deadline() == -math.inf:
            passing += (trio.Cancelled,)  # a real one; one that was kept and raised later would end the server
        if isinstance(error, BaseExceptionGroup):
            rest, failure = error.split(passing)
            if failure is not None:
                self._catch(failure)
            if rest is not None:
                raise rest
            return True
        if isinstance(error, passing):
            return False
        self._catch(error)
        return True

    def _catch(self, error: BaseException) -> None:
        expected = self.expected
        if expected is not None:
            if isinstance(error, BaseExceptionGroup):
                # Python 3.11 takes plain functions only, no bound methods.
                _, rest = error.split(lambda one: expected(one))
                if rest is None:
                    return
                error = rest
            elif expected(error):
                return
        self.caught = error
        _log.error("%s failed", self.what, exc_info=error, extra=fields("failure", self.about, what=self.what))


def close_nurseries() -> None:
    """Close what nurseries the current task has left open, and cancel the tasks in them.

    The last step of a task that runs the application's code: where an async generator yields inside of a nursery and is
    not run to its end, say, trio has the task fail when it is over already, and no barrier inside of it could help.
    """
    # Trio has no other way; and this is cheap.
    nurseries = getattr(trio.lowlevel.current_task(), "_child_nurseries", None)
    if nurseries:
        for nursery in nurseries:
            nursery.cancel_scope.cancel()
        nurseries.clear()
