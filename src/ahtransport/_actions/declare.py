"""Actions as they are declared: a function's signature, its versions, and the documentation made from both."""

from __future__ import annotations

import functools
import inspect
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from ahtransport._actions.inputs import Input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType

__all__ = ["Action", "Actions", "declare", "version_text"]

_PARAMETER = inspect.Parameter


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """One version of one action.

    Attributes:
        function: what the application wrote.
        name: under which clients ask for it.
        version: such as "1".
        inputs: its parameters by name.
        takes_connection: whether the function has the connection as first parameter.
        is_plain: whether running it has nothing to wait for: a plain function whose inputs are plain, too.
        description: the docstring, unless given.
        middleware: names of the middleware that it asked for.
        output_example: shown by the documentation.
        blocked_connection_types: types of connections that may not call it, such as "websocket" or "web".
        timeout: seconds it may take; 0: any; None: what the configuration says.
        documented: whether the documentation lists it.
    """

    function: Callable[..., Any]
    name: str
    version: str
    inputs: Mapping[str, Input]
    takes_connection: bool
    is_plain: bool
    description: str
    middleware: tuple[str, ...]
    output_example: Any
    blocked_connection_types: frozenset[str]
    timeout: float | None
    documented: bool

    def document(self) -> dict[str, Any]:
        """Describe it for the documentation verb."""
        version: Any = int(self.version) if self.version.isdecimal() else self.version
        return {
            "name": self.name,
            "version": version,
            "description": self.description,
            "inputs": {name: one.document() for name, one in self.inputs.items()},
            "outputExample": msgspec.to_builtins(self.output_example),
        }


def version_text(version: Any) -> str | None:
    """Write a version as JavaScript would write the number: 1.0 is "1". None for what can't be one."""
    if isinstance(version, bool):
        return None
    if isinstance(version, float) and version.is_integer():
        version = int(version)
    return str(version) if isinstance(version, (int, float, str)) else None


def _newest(version: str) -> tuple[tuple[int, int, str], ...]:
    parts = version.split(".")
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts)


def declare(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    version: int | float | str = 1,
    middleware: Iterable[str] = (),
    output_example: Any = None,
    blocked_connection_types: Iterable[str] = (),
    timeout: float | None = None,
    documented: bool = True,
    frame: FrameType | None = None,
) -> Action:
    """Make an action of a function; ``frame`` is where its annotations may find local names.

    Raises:
        TypeError, ValueError: the signature or an option can't be used.
    """
    called = name if name is not None else getattr(function, "__name__", "")
    if not called or not isinstance(called, str):
        raise ValueError("an action needs a name")
    number = version_text(version)
    if not number:
        raise ValueError(f"action {called!r}: a version is a number or a text, not {version!r}")
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"action {called!r}: a timeout is a number of seconds, not {timeout!r}")
    takes_connection, inputs = _inputs(called, function, frame)
    return Action(
        function=function,
        name=called,
        version=number,
        inputs=inputs,
        takes_connection=takes_connection,
        is_plain=not (
            inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
        )
        and all(one.is_plain for one in inputs.values()),
        description=(inspect.getdoc(function) or "") if description is None else description,
        middleware=tuple(middleware),
        output_example={} if output_example is None else output_example,
        blocked_connection_types=frozenset(blocked_connection_types),
        timeout=timeout,
        documented=documented,
    )


def _inputs(called: str, function: Callable[..., Any], frame: FrameType | None) -> tuple[bool, dict[str, Input]]:
    parameters = list(inspect.signature(function).parameters.values())

    def hint_of(parameter: inspect.Parameter) -> Any:
        # One at a time: only those of inputs have to be known here. (A connection's often is for type checkers alone.)
        owner = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
        local = dict(frame.f_locals) if frame else None
        return get_type_hints(owner, _globals_of(function), local, include_extras=True)[parameter.name]

    takes_connection = bool(parameters) and parameters[0].kind in (
        _PARAMETER.POSITIONAL_ONLY,
        _PARAMETER.POSITIONAL_OR_KEYWORD,
    )
    if takes_connection:
        first = parameters.pop(0)
        hint: Any = None
        with suppress(NameError):
            hint = hint_of(first)
        if first.name != "connection" and _is_data(hint):
            raise TypeError(
                f"action {called!r}: the first parameter of an action is its connection, but {first.name!r} is a "
                "value; put a parameter 'connection' before it, or a '*' when the connection is not wanted"
            )
    inputs = {}
    for parameter in parameters:
        if parameter.kind not in (_PARAMETER.POSITIONAL_OR_KEYWORD, _PARAMETER.KEYWORD_ONLY):
            raise TypeError(
                f"action {called!r}: {parameter} can't be an input: every input of an action is a parameter with a "
                "name, and what else a client sends is dropped"
            )
        try:
            inputs[parameter.name] = Input.declare(parameter.name, hint_of(parameter), parameter.default)
        except NameError as error:
            raise TypeError(
                f"action {called!r}: the annotation of {parameter.name!r} names something that can't be found: {error}"
            ) from error
        except TypeError as error:
            raise TypeError(f"action {called!r}: {error}") from error
    return takes_connection, inputs


def _globals_of(function: Callable[..., Any]) -> dict[str, Any]:
    inner: Any = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not hasattr(inner, "__globals__"):
        inner = type(inner).__call__  # an object that can be called
    found: dict[str, Any] = getattr(inner, "__globals__", {})
    return found


def _is_data(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint in (str, int, float, bool, list, dict) or get_origin(hint) in (list, dict)


class Actions:
    """The actions of a server, by name and version."""

    def __init__(self) -> None:
        self._actions: dict[str, dict[str, Action]] = {}
        self._newest: dict[str, Action] = {}
        self._documentation: dict[str, Any] | None = None
        self._names: frozenset[str] = frozenset()

    def add(self, action: Action) -> None:
        """Add one.

        Raises:
            ValueError: there is one of this name and version.
        """
        versions = self._actions.setdefault(action.name, {})
        if action.version in versions:
            raise ValueError(f"action {action.name!r} version {action.version} is declared twice")
        versions[action.version] = action
        # The newest comes last, whatever the order of declaration.
        versions = self._actions[action.name] = dict(sorted(versions.items(), key=lambda item: _newest(item[0])))
        self._newest[action.name] = next(reversed(versions.values()))
        self._names |= action.inputs.keys()
        self._documentation = None

    def find(self, name: object, version: object = None) -> Action | None:
        """Give the action of this name and version, or the newest; None when there is none.

        Both come from the client as they are, of any type. A missing or empty version (None, "", 0) means the newest.
        """
        if not isinstance(name, str) or name not in self._newest:
            return None
        if version is None or version == "" or (version == 0 and not isinstance(version, bool)):
            return self._newest[name]
        text = version_text(version)
        return self._actions[name].get(text) if text is not None else None

    @property
    def input_names(self) -> frozenset[str]:
        """The names of all inputs of all actions."""
        return self._names

    def __iter__(self) -> Any:
        return (action for versions in self._actions.values() for action in versions.values())

    def __len__(self) -> int:
        return sum(map(len, self._actions.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._actions

    def documentation(self) -> Mapping[str, Any]:
        """Describe every documented action as ``{name: {version: {name, version, description, inputs,
        outputExample}}}``, as ActionHero's documentation verb did."""
        if self._documentation is None:
            documentation: dict[str, Any] = {}
            for action in self:
                if action.documented:
                    documentation.setdefault(action.name, {})[action.version] = action.document()
            self._documentation = documentation
        return self._documentation
