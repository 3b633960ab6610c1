"""Declaring actions: what a signature means, versions, documentation."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import math
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import msgspec
import pytest

from ahtransport._actions.declare import Action, Actions, declare, version_text
from ahtransport._actions.inputs import Param, Repeated, read_inputs, type_name
from ahtransport._errors import ActionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Point(msgspec.Struct):
    x: int
    y: list[int] = []


@dataclasses.dataclass
class Measure:
    size: float = 1.0


class Bundle(msgspec.Struct):
    table: dict[str, list[float]] = {}
    place: Measure = msgspec.field(default_factory=Measure)


@dataclasses.dataclass
class Place:
    name: str


class Named(TypedDict):
    name: str


class Colour(enum.Enum):
    RED = "red"


async def read(function: Callable[..., Any] | Action, params: Mapping[str, Any]) -> dict[str, Any]:
    return await read_inputs((function if isinstance(function, Action) else declare(function)).inputs, params)


async def failure(function: Callable[..., Any] | Action, params: Mapping[str, Any]) -> str:
    with pytest.raises(ActionError) as caught:
        await read(function, params)
    assert caught.value.status == 422
    return str(caught.value)


def text(connection: object, key: str) -> None: ...
def whole(connection: object, count: int) -> None: ...
def optional(connection: object, count: int = 5, text: str = "x", either: str | None = None) -> None: ...
def nullable(connection: object, either: str | None) -> None: ...
def anything(connection: object, value: Any) -> None: ...
def unannotated(connection, value) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def point(connection: object, point: Point) -> None: ...
def place(connection: object, place: Place) -> None: ...
def named(connection: object, named: Named) -> None: ...
def numbers(connection: object, numbers: list[int]) -> None: ...
def maybe_numbers(connection: object, numbers: list[int] | None = None) -> None: ...
def bounded(connection: object, size: Annotated[int, msgspec.Meta(ge=1, le=9)]) -> None: ...
def real(connection: object, value: float) -> None: ...
def exact(connection: object, value: Decimal) -> None: ...
def reals(connection: object, values: list[float]) -> None: ...
def bundle(connection: object, bundle: Bundle) -> None: ...
def different(connection: object, values: set[Any]) -> None: ...
def pair(connection: object, point: Annotated[dict[str, int], Param(description="a pair")]) -> None: ...


@pytest.mark.parametrize(
    ("function", "params", "expected"),
    [
        (text, {"key": "k"}, {"key": "k"}),
        (text, {"key": Repeated(["a", "b"])}, {"key": "a"}),
        (whole, {"count": 7}, {"count": 7}),
        (whole, {"count": "7"}, {"count": 7}),
        (whole, {"count": 7.0}, {"count": 7}),
        (optional, {}, {}),
        (optional, {"count": None, "text": None}, {}),
        (optional, {"count": "", "text": ""}, {"text": ""}),
        (optional, {"either": None}, {"either": None}),
        (nullable, {"either": None}, {"either": None}),
        (anything, {"value": {"a": [1]}}, {"value": {"a": [1]}}),
        (unannotated, {"value": 0}, {"value": 0}),
        (point, {"point": {"x": "3", "y": ["4"]}}, {"point": Point(3, [4])}),
        (point, {"point": '{"x": 3}'}, {"point": Point(3)}),
        (place, {"place": {"name": "n"}}, {"place": Place("n")}),
        (named, {"named": {"name": "n"}}, {"named": {"name": "n"}}),
        (numbers, {"numbers": ["1", 2]}, {"numbers": [1, 2]}),
        (numbers, {"numbers": "1"}, {"numbers": [1]}),
        (numbers, {"numbers": "[1, 2]"}, {"numbers": [1, 2]}),
        (numbers, {"numbers": Repeated(["1", "2"])}, {"numbers": [1, 2]}),
        (maybe_numbers, {"numbers": None}, {"numbers": None}),
        (bounded, {"size": "9"}, {"size": 9}),
        (real, {"value": "1.5"}, {"value": 1.5}),
        (exact, {"value": "1.5"}, {"value": Decimal("1.5")}),
        (reals, {"values": ["1", 2.5]}, {"values": [1.0, 2.5]}),
        (bundle, {"bundle": {"table": {"a": [1]}}}, {"bundle": Bundle({"a": [1.0]})}),
        (pair, {"point": '{"x": "1"}'}, {"point": {"x": 1}}),
    ],
)
async def test_values_become_what_the_signature_says(
    function: Callable[..., Any], params: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    assert await read(function, params) == expected


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("function", [text, unannotated])
async def test_null_and_the_empty_string_are_missing(function: Callable[..., Any], value: object) -> None:
    name = next(iter(declare(function).inputs))
    assert await failure(function, {name: value}) == f"{name} is a required parameter for this action"


async def test_a_missing_parameter_comes_before_an_invalid_one() -> None:
    def both(connection: object, first: int, second: str) -> None: ...

    assert await failure(both, {"first": "x"}) == "second is a required parameter for this action"


@pytest.mark.parametrize(
    ("function", "params", "error"),
    [
        (text, {}, "key is a required parameter for this action"),
        (text, {"key": 5}, "key: expected str, got int"),
        (whole, {"count": "x"}, "count: expected int, got str"),
        (whole, {"count": True}, "count: expected int, got bool"),
        (whole, {"count": ""}, "count is a required parameter for this action"),
        (whole, {"count": "9" * 6000}, "count: integer value out of range"),
        (point, {"point": {"x": 1, "y": ["q"]}}, "point.y[0]: expected int, got str"),
        (point, {"point": {}}, "point: object missing required field x"),
        (point, {"point": "{"}, "point: not valid JSON"),
        (point, {"point": "[" * 100_000}, "point: not valid JSON"),
        (point, {"point": "x"}, "point: expected object, got str"),
        (numbers, {"numbers": {"a": 1}}, "numbers: expected array, got object"),
        (bounded, {"size": 10}, "size: expected int <= 9"),
        (real, {"value": "nan"}, "value: expected a finite number"),
        (real, {"value": float("inf")}, "value: expected a finite number"),
        (exact, {"value": "sNaN"}, "value: expected a finite number"),
        (reals, {"values": ["nan"]}, "values: expected a finite number"),
        (reals, {"values": [math.inf]}, "values: expected a finite number"),
        (reals, {"values": Repeated(["1", "inf"])}, "values: expected a finite number"),
        (bundle, {"bundle": {"table": {"a": [1, float("nan")]}}}, "bundle: expected a finite number"),
        (bundle, {"bundle": {"place": {"size": "inf"}}}, "bundle: expected a finite number"),
    ],
)
async def test_an_error_names_the_parameter_and_what_was_expected(
    function: Callable[..., Any], params: Mapping[str, Any], error: str
) -> None:
    assert await failure(function, params) == error


async def test_an_array_in_a_set() -> None:
    # msgspec has words for it from 0.23 on.
    assert await failure(different, {"values": [[1]]}) in {
        'Input for parameter "values" failed validation!',
        "values[0]: expected a hashable value, got list",
    }


async def test_formatters_and_validators_run_in_order_and_may_be_async() -> None:
    async def upper(value: str) -> str:
        return value.upper()

    async def long_enough(value: str) -> bool | str:
        return len(value) > 2 or "at least 3 letters"

    def greet(
        connection: object,
        name: Annotated[str, Param(formatter=[str, upper], validator=[long_enough, str.isalnum], description="who")],
    ) -> None: ...

    greeting = declare(greet, frame=sys._getframe())
    assert await read(greeting, {"name": "abc"}) == {"name": "ABC"}
    assert await read(greeting, {"name": 123}) == {"name": "123"}
    assert await failure(greeting, {"name": "ab"}) == "at least 3 letters"
    assert await failure(greeting, {"name": "a b"}) == 'Input for parameter "name" failed validation!'
    assert greeting.inputs["name"].document()["description"] == "who"


async def test_what_a_validator_raises_for_the_client_is_shown() -> None:
    def refuse(value: str) -> None:
        if value == "empty":
            raise ValueError
        raise ActionError("not this one", 422) if value == "x" else ValueError("no good")

    def greet(connection: object, name: Annotated[str, Param(validator=refuse)]) -> None: ...

    greeting = declare(greet, frame=sys._getframe())
    assert await failure(greeting, {"name": "x"}) == "not this one"
    assert await failure(greeting, {"name": "y"}) == "no good"
    assert await failure(greeting, {"name": "empty"}) == 'Input for parameter "name" failed validation!'


async def test_a_formatter_that_can_not_make_anything_of_a_value_is_an_invalid_value() -> None:
    def read_count(connection: object, count: Annotated[int, Param(formatter=int)]) -> None: ...

    assert await failure(read_count, {"count": "secret"}) == 'Input for parameter "count" failed validation!'
    assert await failure(read_count, {"count": []}) == 'Input for parameter "count" failed validation!'


def test_a_formatter_may_make_what_no_message_can_carry() -> None:
    class Thing:
        pass

    def use(connection: object, thing: Annotated[Thing, Param(formatter=lambda value: Thing())]) -> None: ...

    assert list(declare(use, frame=sys._getframe()).inputs) == ["thing"]


def test_the_first_parameter_is_the_connection_unless_there_is_none() -> None:
    def none() -> None: ...
    def keywords(*, a: int) -> None: ...
    def other(anybody: object, /, a: int) -> None: ...

    assert [(one.takes_connection, list(one.inputs)) for one in (declare(none), declare(keywords), declare(other))] == [
        (False, []),
        (False, ["a"]),
        (True, ["a"]),
    ]


async def test_only_the_annotations_of_inputs_have_to_be_known() -> None:
    def act(connection: Nowhere, key: str) -> Elsewhere: ...  # type: ignore[name-defined]  # noqa: F821

    def first(who: Nowhere, key: str) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for function in (act, first):
        assert await read(declare(function), {"key": "k"}) == {"key": "k"}


async def test_whatever_can_be_called_can_be_an_action() -> None:
    class Office:
        async def __call__(self, connection: object, point: Point) -> None: ...
        async def method(self, connection: object, point: Point) -> None: ...

    async def three(prefix: str, connection: object, point: Point) -> None: ...

    functions: list[Callable[..., Any]] = [Office(), Office().method, functools.partial(three, "x")]
    for function in functions:
        action = declare(function, name="a")
        assert not action.is_plain
        assert action.takes_connection
        assert await read(action, {"point": {"x": 1}}) == {"point": Point(1)}


def test_signatures_that_can_not_work_are_refused() -> None:
    class Thing:
        pass

    def forgotten(key: str, value: str) -> None: ...
    def several(connection: object, *values: str) -> None: ...
    def whatever(connection: object, **values: str) -> None: ...
    def positional(connection: object, key: str, /) -> None: ...
    def custom(connection: object, thing: Thing) -> None: ...
    def ambiguous(connection: object, thing: Point | Place) -> None: ...
    def unknown(connection: object, thing: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="first parameter of an action is its connection, but 'key'"):
        declare(forgotten)
    no_inputs: list[Callable[..., None]] = [several, whatever, positional]
    for function in no_inputs:
        with pytest.raises(TypeError, match="can't be an input"):
            declare(function)
    no_types: list[Callable[..., None]] = [custom, ambiguous]
    for function in no_types:
        with pytest.raises(TypeError, match=r"'(custom|ambiguous)': parameter 'thing'"):
            declare(function, frame=sys._getframe())
    with pytest.raises(TypeError, match="Nowhere"):
        declare(unknown)


def test_options_that_can_not_work_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a name"):
        declare(text, name="")
    with pytest.raises(ValueError, match="version"):
        declare(text, version="")
    with pytest.raises(ValueError, match="version"):
        declare(text, version=True)
    with pytest.raises(ValueError, match="timeout"):
        declare(text, timeout=-1)


def action(name: str, version: int | float | str = 1, **options: Any) -> Action:
    def function(connection: object) -> None:
        """Do something.

        At length.
        """

    return declare(function, name=name, version=version, **options)


def test_the_newest_version_runs_unless_another_is_asked_for() -> None:
    actions = Actions()
    for version in ("10", 2, 1.0, "2.1", "beta"):
        actions.add(action("a", version))

    def found(version: object) -> str | None:
        one = actions.find("a", version)
        return one.version if one else None

    assert [found(version) for version in (None, "", 0, 0.0)] == ["10"] * 4
    assert [found(version) for version in (1, 1.0, "1", 2, "2.1", 2.1, "beta")] == [
        "1",
        "1",
        "1",
        "2",
        "2.1",
        "2.1",
        "beta",
    ]
    assert len(actions) == 5
    assert "a" in actions


@pytest.mark.parametrize("version", ["name", "__doc__", -1, "-1", "1.0", True, False, [], ["1"], {}, {"1": 1}, 1e300])
def test_e5_a_version_that_does_not_exist_is_unknown(version: object) -> None:
    actions = Actions()
    actions.add(action("a"))
    assert actions.find("a", version) is None


@pytest.mark.parametrize("name", ["constructor", "__class__", "__proto__", "add", "", None, 1, [], ["a"], {}, {"a": 1}])
def test_e5_an_action_that_does_not_exist_is_unknown(name: object) -> None:
    actions = Actions()
    actions.add(action("a"))
    assert actions.find(name) is None


def test_the_same_version_twice_is_refused() -> None:
    actions = Actions()
    actions.add(action("a"))
    with pytest.raises(ValueError, match="declared twice"):
        actions.add(action("a", 1.0))


def test_versions_are_written_as_javascript_writes_numbers() -> None:
    versions: list[Any] = [1, 1.0, 1.5, "x", True, None, []]
    assert [version_text(one) for one in versions] == ["1", "1", "1.5", "x", None, None, None]


def test_the_documentation_lists_inputs_and_examples() -> None:
    def greet(
        connection: object,
        name: str,
        when: datetime.date = datetime.date(2020, 1, 2),
        tone: Literal["kind", "cool"] = "kind",
        colour: Colour = Colour.RED,
        extra: Annotated[Any, Param(formatter=str)] = object,
    ) -> None:
        """Say hello."""

    actions = Actions()
    actions.add(declare(greet, version=2, output_example={"said": "hello"}))
    actions.add(action("hidden", documented=False))
    actions.add(action("a", "beta"))
    documentation = actions.documentation()
    assert documentation["greet"] == {
        "2": {
            "name": "greet",
            "version": 2,
            "description": "Say hello.",
            "inputs": {
                "name": {"required": True, "type": "str"},
                "when": {"required": False, "default": "2020-01-02", "type": "date"},
                "tone": {"required": False, "default": "kind", "type": "Literal['kind', 'cool']"},
                "colour": {"required": False, "default": "red", "type": "Colour"},
                "extra": {"required": False, "default": "<class 'object'>", "type": "Any"},
            },
            "outputExample": {"said": "hello"},
        }
    }
    assert documentation["a"]["beta"]["version"] == "beta"
    assert documentation["a"]["beta"]["description"] == "Do something.\n\nAt length."
    assert list(documentation) == ["greet", "a"]
    assert actions.documentation() is documentation
    actions.add(action("b"))
    assert "b" in actions.documentation()


def test_types_are_named_as_written() -> None:
    types: list[Any] = [int, list[str], str | None, Any, Annotated[int, msgspec.Meta(ge=1)]]
    assert [type_name(one) for one in types] == [
        "int",
        "list[str]",
        "str | None",
        "Any",
        "int",
    ]
