"""Running an action: limits, middleware, inputs, the function itself, and what its failures are called outside."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import trio

from ahtransport._actions.inputs import given_inputs, maybe_await, read_inputs
from ahtransport._errors import ActionError, ConnectionClosed, RoomError, unwrapped
from ahtransport._log import fields, get_logger

if TYPE_CHECKING:
    from ahtransport._actions.declare import Action, Actions

__all__ = ["INTERNAL_ERROR", "ActionCall", "ActionMiddleware", "Outcome", "Runner", "Tally", "told"]

logger = get_logger("ahtransport.actions")

INTERNAL_ERROR = "The server experienced an internal error"
UNKNOWN_ACTION = "unknown action or invalid apiVersion"

Hook: TypeAlias = "Callable[[ActionCall], Awaitable[Mapping[str, Any] | None] | Mapping[str, Any] | None]"


def told(error: BaseException) -> tuple[str, int] | None:
    """Give the text and the status that a client may see of an error; None: nothing of it.

    Only what was raised for the client's eyes is shown: :class:`ActionError`, :class:`RoomError` and whatever carries
    an integer ``status`` of an HTTP error. Any other exception's text may hold a query, a path or a secret.
    An exception group of one, as a nursery makes it, counts as that one.
    """
    error = unwrapped(error)
    status = getattr(error, "status", None)
    if isinstance(status, int) and not isinstance(status, bool) and 400 <= status <= 599:
        reason = getattr(error, "reason", None)
        return (reason if isinstance(reason, str) and reason else str(error)) or INTERNAL_ERROR, status
    if isinstance(error, RoomError):
        return str(error), 400
    return None


class Tally:
    """What is counted of one connection's actions.

    Attributes:
        total: how many were asked for, the refused ones included.
        pending: how many run now.
        tasks: how many tasks run or still send their reply.
    """

    __slots__ = ("pending", "tasks", "total")

    def __init__(self) -> None:
        self.total = self.pending = self.tasks = 0


class ActionCall:
    """One request to run an action, as middleware sees it.

    Attributes:
        connection: who asks; ``connection.type`` is "websocket", "web" or "local".
        action: what is asked for: ``action.name``, ``action.version`` …
        params: the request's parameters as they came; middleware may change them before they are read.
        inputs: the values that the action gets, once they are read.
        response: the outputs, to which ``before`` and ``after`` may add or in which they may change something.
        process: set it to False in ``before`` and the action is skipped: ``response`` is the answer then.
        begun: what its function gave to be awaited when it was called, where it was called ahead of everything else.
    """

    __slots__ = ("action", "begun", "connection", "inputs", "params", "process", "response")

    def __init__(self, connection: Any, action: Action, params: dict[str, Any]) -> None:
        self.connection = connection
        self.action = action
        self.params = params
        self.inputs: dict[str, Any] = {}
        self.response: dict[str, Any] = {}
        self.process = True
        self.begun: Awaitable[Any] | None = None


@dataclass(frozen=True, slots=True)
class ActionMiddleware:
    """Something around actions; ``before`` and ``after`` get the :class:`ActionCall`, may be async, may refuse by
    raising an :class:`ActionError`, and a mapping that they return is merged into the response."""

    name: str
    before: Hook | None
    after: Hook | None
    priority: int
    everywhere: bool


class Outcome(msgspec.Struct, frozen=True):
    """How an action ended.

    Attributes:
        outputs: what it answers; not to be changed.
        error: the text for the client; None when there is none.
        status: as HTTP status.
        cause: what was raised.
    """

    outputs: Mapping[str, Any]
    error: str | None = None
    status: int = 200
    cause: BaseException | None = None

    def reply(self) -> dict[str, Any]:
        """Give the answer's own keys: the outputs and the error."""
        reply = dict(self.outputs)
        if self.error is not None:
            reply["error"] = self.error
        return reply


class Runner:
    """Runs the actions of a server for whoever asks.

    Args:
        actions: the actions.
        limit: how many may run at once on one connection.
        timeout: seconds one may take unless it says otherwise; 0: any.

    Attributes:
        draining: whether the server is shutting down, so that none is begun any more.
        total: how many actions were asked for, the refused ones included.
        failed: how many of them were answered with an error.
        pending: how many run now.
    """

    def __init__(self, actions: Actions, *, limit: int = 5, timeout: float = 0) -> None:
        self.actions = actions
        self.limit = limit
        self.timeout = timeout
        self.draining = False
        self.total = self.failed = self.pending = 0
        self._middleware: dict[str, ActionMiddleware] = {}
        self._chains: dict[Action, tuple[ActionMiddleware, ...]] = {}
        self._waits: dict[Action, bool] = {}  # what is known of whether an action has to wait for something

    # Middleware

    def use(
        self,
        name: str,
        *,
        before: Hook | None = None,
        after: Hook | None = None,
        priority: int = 100,
        everywhere: bool = True,
    ) -> None:
        """Add a middleware.

        Args:
            name: under which actions ask for it, and under which it is removed.
            before: called before the parameters are read.
            after: called when the action has succeeded.
            priority: lower ones come first, before and after alike.
            everywhere: False: only around the actions that ask for it by name.

        Raises:
            ValueError: there is one of this name.
        """
        if name in self._middleware:
            raise ValueError(f"there is an action middleware {name!r} already")
        self._middleware[name] = ActionMiddleware(name, before, after, priority, everywhere)
        self._chains.clear()
        self._waits.clear()

    def remove(self, name: str) -> bool:
        """Remove a middleware; False when there was none."""
        self._chains.clear()
        self._waits.clear()
        return self._middleware.pop(name, None) is not None

    @property
    def names(self) -> list[str]:
        """The middleware's names in order of priority."""
        return [one.name for one in sorted(self._middleware.values(), key=lambda one: one.priority)]

    def check(self, actions: Iterable[Action] | None = None) -> None:
        """Make sure that every middleware that an action asks for exists.

        Raises:
            LookupError: one does not.
        """
        for action in self.actions if actions is None else actions:
            self._chain(action)

    def _chain(self, action: Action) -> tuple[ActionMiddleware, ...]:
        chain = self._chains.get(action)
        if chain is None:
            for name in action.middleware:
                if name not in self._middleware:
                    raise LookupError(f"action {action.name!r} asks for the middleware {name!r}, which does not exist")
            found = [one for one in self._middleware.values() if one.everywhere or one.name in action.middleware]
            chain = self._chains[action] = tuple(sorted(found, key=lambda one: one.priority))
        return chain

    # Running

    def accept(self, connection: Any, tally: Tally, params: Mapping[str, Any]) -> ActionCall | Outcome:
        """Count a request and say what is to be run, or at once how it ended.

        Whoever gets an :class:`ActionCall` has to :meth:`run` it, which counts it down again.
        """
        action = self._admit(connection, tally, params)
        return action if isinstance(action, Outcome) else ActionCall(connection, action, dict(params))

    def start(self, connection: Any, tally: Tally, params: Mapping[str, Any]) -> ActionCall | Outcome:
        """As :meth:`accept`, but what has nothing to wait for is run, without a task, and has ended then.

        The outcome's outputs may be the very mapping that the action returned: they are not to be changed.
        """
        action = self._admit(connection, tally, params)
        if isinstance(action, Outcome):
            return action
        if self._waits.get(action, not action.is_plain):
            return ActionCall(connection, action, dict(params))
        try:
            if action not in self._waits:
                self._waits[action] = waits = bool(self._chain(action))
                if waits:
                    return ActionCall(connection, action, dict(params))
            args = (connection,) if action.takes_connection else ()
            if action.inputs:
                given = given_inputs(action.inputs, params)
                inputs = {name: action.inputs[name].convert(value) for name, value in given.items()}
                result = action.function(*args, **inputs)
            else:
                result = action.function(*args)
            if type(result) is not dict:
                if inspect.isawaitable(result):
                    self._waits[action] = True
                    call = ActionCall(connection, action, dict(params))
                    call.begun = result
                    return call
                result = _outputs(result, action.name)
            outcome = Outcome(result)
        except BaseException as error:
            if not _is_failure(error):
                raise
            outcome = self._failed(ActionCall(connection, action, dict(params)), error, log=True)
        tally.pending -= 1
        return outcome

    def _admit(self, connection: Any, tally: Tally, params: Mapping[str, Any]) -> Action | Outcome:
        """Count a request, and give the action that it asks for, or why it may not run."""
        tally.total += 1
        self.total += 1
        action = self.actions.find(params.get("action"), params.get("apiVersion"))
        if self.draining:
            refusal = _refused("the server is shutting down", 503)
        elif tally.pending >= self.limit:
            refusal = _refused("you have too many pending requests", 429)
        elif action is None:
            refusal = _refused(UNKNOWN_ACTION, 404)
        elif action.blocked_connection_types and connection.type in action.blocked_connection_types:
            refusal = _refused(f"this action does not support the {connection.type} connection type", 400)
        else:
            tally.pending += 1
            return action
        self.failed += 1
        return refusal

    def drop(self, call: ActionCall, tally: Tally) -> None:
        """Count an accepted call down that will not be run to its end: nobody is there to hear of it."""
        tally.pending -= 1
        if inspect.iscoroutine(call.begun):
            call.begun.close()

    async def run(self, call: ActionCall, tally: Tally, *, log: bool = True) -> Outcome:
        """Run an accepted call and count it down. Nothing but a cancellation is raised; what must not be shown to a
        client is logged, unless the caller sees to it."""
        self.pending += 1
        try:
            return await self._run(call)
        except BaseException as error:
            if not _is_failure(error):
                raise
            return self._failed(call, error, log=log)
        finally:
            tally.pending -= 1
            self.pending -= 1

    def _failed(self, call: ActionCall, error: BaseException, *, log: bool) -> Outcome:
        self.failed += 1
        shown = told(error)
        if shown is not None:
            return Outcome(call.response, *shown, error)
        # (An action that notices that its client is gone has not failed.)
        if log and not isinstance(error, ConnectionClosed):
            extra = fields("action.failed", call.connection, action=call.action.name)
            logger.error("action %s failed", call.action.name, exc_info=error, extra=extra)
        return Outcome({}, INTERNAL_ERROR, 500, error)

    async def _run(self, call: ActionCall) -> Outcome:
        timeout = self.timeout if call.action.timeout is None else call.action.timeout
        if not timeout:
            await self._steps(call)
            return Outcome(call.response)
        with trio.move_on_after(timeout):
            await self._steps(call)
            return Outcome(call.response)
        extra = fields("action.timeout", call.connection, action=call.action.name, duration=timeout)
        logger.warning("action %s took more than %g seconds", call.action.name, timeout, extra=extra)
        self.failed += 1
        return _refused("this action took too long", 504)

    async def _steps(self, call: ActionCall) -> None:
        if call.begun is not None:
            _merge(call, await call.begun, call.action.name)
            return
        chain = self._chain(call.action)
        for one in chain:
            if one.before is not None:
                _merge(call, await maybe_await(one.before(call)), one.name)
        call.inputs = await read_inputs(call.action.inputs, call.params)
        if call.process:
            # The names in ``inputs`` are those of the signature, so nothing that a client made up is a keyword here.
            args = (call.connection,) if call.action.takes_connection else ()
            _merge(call, await maybe_await(call.action.function(*args, **call.inputs)), call.action.name)
        for one in chain:
            if one.after is not None:
                _merge(call, await maybe_await(one.after(call)), one.name)


def _refused(text: str, status: int) -> Outcome:
    return Outcome({}, text, status, ActionError(text, status))


def _is_failure(error: BaseException) -> bool:
    """Tell a failure from a cancellation or Ctrl+C. SystemExit is one, too: an action must not end the server by
    calling something that calls exit()."""
    if isinstance(error, BaseExceptionGroup):
        return error.split((Exception, SystemExit))[1] is None
    return isinstance(error, (Exception, SystemExit))


def _merge(call: ActionCall, outputs: Any, source: str) -> None:
    call.response.update(outputs if type(outputs) is dict else _outputs(outputs, source))


def _outputs(outputs: Any, source: str) -> Mapping[str, Any]:
    """Give what a function returned as a mapping."""
    if outputs is None:
        return {}
    if isinstance(outputs, Mapping):
        return dict(outputs)  # now, while somebody looks after what may go wrong
    built = msgspec.to_builtins(outputs)  # a Struct, a dataclass
    if not isinstance(built, dict):
        raise TypeError(f"{source} returned a {type(outputs).__name__}; it has to return its outputs as a mapping")
    return built
