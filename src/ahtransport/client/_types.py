"""The declarations for TypeScript: the client's types, and those of the server's actions."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any, is_typeddict

from ahtransport.client._sources import source
from ahtransport.client._typescript import BYTES, is_object, key, resolve, type_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ahtransport._actions.declare import Action
    from ahtransport._actions.inputs import Input

__all__ = ["declarations"]

_CLASS = "ActionheroWebsocketClient"
_DECLARED = re.compile(r"^(?:declare class|interface|type) (\w+)", re.MULTILINE)

# Of these a variable can have no name.
_RESERVED = frozenset(
    re.findall(
        r"\w+",
        """await break case catch class const continue debugger default delete do else enum export extends false finally
        for function if implements import in instanceof interface let new null package private protected public return
        static super switch this throw true try typeof undefined var void while with yield""",
    )
)

# For require(), and for pages with a script tag: there the class is known by the names of "export as namespace".
_CLASSIC = """\
declare namespace {class_name} {{
  export {{ {names} }};
}}
export = {class_name};
{globals}
declare global {{
  const Primus: {class_name}.PrimusStatic;
  type Primus = {class_name}.Primus;
}}
"""
_MODULE = """\
export {{ {values}, {class_name} as default }};
export type {{ {types} }};
"""


def declarations(
    name: str,
    actions: Iterable[Action] = (),
    *,
    module: bool = False,
    parsers: Collection[str] = (),
    wires: Collection[str] = (),
) -> str:
    """Write the declarations of the client's file.

    Args:
        name: under which the file's class is known, too; an identifier.
        actions: whose parameters and results are told. Those that are not documented are left out.
        module: False: for the classic script, which ``require()`` takes as well; True: for the ES module.
        parsers: what may decode results, "msgpack" among them: it has types that JSON has not.
        wires: what may carry results, "socket.io" among them: it has bytes.

    Returns:
        the text of ``NAME.d.ts`` or ``NAME.d.mts``. Names and descriptions are data: whatever is in them, they end no
        comment and no string, and the text has no character that UTF-8 lacks.
    """
    core = [source("primus.d.ts"), source("actionhero.d.ts")]
    # EventEmitter is a value in Primus only.
    types = sorted({*_DECLARED.findall("".join(core)), "Actions"} - {_CLASS, "Primus", "EventEmitter"})
    aliases = [] if name in {_CLASS, "Primus", "EventEmitter", *types, *_RESERVED} else [name]
    if module:
        values = [_CLASS, "Primus", *(f"{_CLASS} as {alias}" for alias in aliases)]
        tail = _MODULE.format(class_name=_CLASS, values=", ".join(values), types=", ".join(types))
    else:
        # The class is on itself, too, for whoever takes it apart: const { ActionheroWebsocketClient } = require(…).
        exported = [*types, "Primus", _CLASS, f"{_CLASS} as default", *(f"{_CLASS} as {alias}" for alias in aliases)]
        known = "\n".join(f"export as namespace {one};" for one in (_CLASS, *aliases))
        tail = _CLASSIC.format(class_name=_CLASS, names=", ".join(exported), globals=known)
    text = "\n".join((*core, _actions(actions, _Results(parsers, wires)), tail))
    return text.encode("utf-8", "backslashreplace").decode()


class _Results:
    """What stands for the values of results that JSON does not have; over HTTP they are as JSON has them."""

    def __init__(self, parsers: Collection[str], wires: Collection[str]) -> None:
        has_types = "msgpack" in parsers
        self._integers = {"IntType": "number | bigint"} if has_types else {}
        self._all = dict(self._integers)
        if has_types:
            self._all["DateTimeType"] = "string | Date"
        if has_types or "socket.io" in wires:
            self._all.update(dict.fromkeys(BYTES, "string | Uint8Array"))

    def of(self, hint: Any) -> Mapping[str, str]:
        """Give them for a type: of an object, times and bytes are written as text before they are sent."""
        return self._all if is_typeddict(hint) else self._integers


def _actions(actions: Iterable[Action], results: _Results) -> str:
    """Write the interface with an entry for each action: the parameters of its versions, and what it answers."""
    versions: dict[str, list[Action]] = {}
    for action in actions:
        if action.documented:
            versions.setdefault(action.name, []).append(action)
    lines = ["/** The server's actions. */", "interface Actions {"]
    for name, several in versions.items():
        # They come in the order of their versions.
        lines += [*_comment(several[-1].description, "  "), f"  {key(name)}: {{"]
        lines += _alternatives("params", [_params(action, several) for action in several])
        lines += [f"    result: {' | '.join(dict.fromkeys(_result(action, results) for action in several))};", "  };"]
    return "\n".join((*lines, "}", ""))


def _alternatives(name: str, several: list[list[str]]) -> list[str]:
    """Write a member whose type is one of several objects, given by the lines of their members."""
    if several == [[]]:
        return [f"    {name}: {{}};"]
    lines = []
    for number, members in enumerate(several):
        start = f"    {name}: " if number == 0 else "    } | "
        lines.append(f"{start}{{")
        lines += members
    return [*lines, "    };"]


def _params(action: Action, several: Sequence[Action]) -> list[str]:
    lines = []
    if len(several) > 1:
        version = json.dumps(action.version)
        accepted = f"{version} | {int(action.version)}" if action.version.isdecimal() else version
        lines.append(f"      apiVersion{'?' if action is several[-1] else ''}: {accepted};")
    for one in action.inputs.values():
        if one.name != "action":  # which is the action's own name, wherever it comes from
            mark = "" if one.required else "?"
            lines += [*_comment(_words(one), "      "), f"      {key(one.name)}{mark}: {_accepted(one)};"]
    return lines


def _words(one: Input) -> str:
    """Say about a parameter what its type does not."""
    words = [one.param.description.strip()]
    if not one.required and one.default is not None:
        default = one.document()["default"]
        words.append(f"Default: {default if isinstance(default, str) and default else json.dumps(default)}")
    return "\n".join(filter(None, words))


def _accepted(one: Input) -> str:
    """Write what may be given. A formatter's parameter tells what that takes; where it does not, the type of what comes
    of it is told, which a page may give, too."""
    if one.param.formatters:
        function: Any = inspect.unwrap(one.param.formatters[0])
        try:
            first = next(iter(inspect.signature(function).parameters.values()))
        except (TypeError, ValueError, StopIteration):  # a built-in, perhaps
            return type_of(one.type)
        if first.annotation is not inspect.Parameter.empty:
            given = type_of(resolve(first.annotation, getattr(function, "__globals__", {})))
            if given != "unknown":
                return given
    return type_of(one.type)


def _result(action: Action, results: _Results) -> str:
    """Write what an action answers, as far as its signature tells."""
    function: Any = inspect.unwrap(action.function)
    hint = resolve(getattr(function, "__annotations__", {}).get("return", Any), getattr(function, "__globals__", {}))
    return type_of(hint, results.of(hint)) if is_object(hint) else "{ [name: string]: any }"


def _comment(text: str, margin: str) -> list[str]:
    """Write a comment's lines, whatever is in it; none when there is nothing to say."""
    text = "".join(char if char.isprintable() or char == "\n" else " " for char in text.expandtabs()).strip()
    if not text:
        return []
    lines = text.replace("*/", "* /").split("\n")
    if len(lines) == 1:
        return [f"{margin}/** {lines[0]} */"]
    return [f"{margin}/**", *(f"{margin} * {line}".rstrip() for line in lines), f"{margin} */"]
