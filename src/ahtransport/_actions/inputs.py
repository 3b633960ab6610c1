"""What an action takes: its typed keyword arguments, and how a request's values become them."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import msgspec

from ahtransport._errors import ActionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Input", "Param", "Repeated", "given_inputs", "maybe_await", "read_inputs", "type_name"]

_ARRAYS = (
    msgspec.inspect.ListType,
    msgspec.inspect.SetType,
    msgspec.inspect.FrozenSetType,
    msgspec.inspect.VarTupleType,
    msgspec.inspect.TupleType,
    msgspec.inspect.NamedTupleType,
)
_OBJECTS = (
    msgspec.inspect.DictType,
    msgspec.inspect.StructType,
    msgspec.inspect.DataclassType,
    msgspec.inspect.TypedDictType,
)


class Repeated(list[str]):
    """The values of a parameter that a query or a form named more than once; the first one counts unless the action
    wants an array."""


async def maybe_await(value: Any) -> Any:
    """Give ``value``, or what it comes to when it is awaitable: callbacks may be plain or async."""
    return await value if inspect.isawaitable(value) else value


def _many(functions: Callable[..., Any] | Sequence[Callable[..., Any]] | None) -> tuple[Callable[..., Any], ...]:
    if functions is None:
        return ()
    return (functions,) if callable(functions) else tuple(functions)


class Param:
    """What an annotation says about a parameter beyond its type: ``key: Annotated[str, Param(validator=long_enough)]``.

    Attributes:
        formatters: called with the value in turn, before its type is checked; each returns the value to go on with.
        validators: called with the value of the right type. True or None: it is good. False: it is not. A string is
            the error that the client gets, and so is the text of a raised :class:`ActionError` or ValueError.
        description: shown by the documentation.

    Formatters and validators may be async. (They are ActionHero's ``formatter`` and ``validator``.)
    """

    __slots__ = ("description", "formatters", "validators")

    def __init__(
        self,
        *,
        formatter: Callable[[Any], Any] | Sequence[Callable[[Any], Any]] | None = None,
        validator: Callable[[Any], Any] | Sequence[Callable[[Any], Any]] | None = None,
        description: str = "",
    ) -> None:
        self.formatters = _many(formatter)
        self.validators = _many(validator)
        self.description = description


@dataclass(frozen=True, slots=True)
class Input:
    """One parameter of an action.

    Attributes:
        name: as in the signature.
        type: what msgspec converts to.
        required: whether it has no default.
        default: the signature's default; meaningless when required.
        param: formatters, validators and description.
        admits_none: whether null is a value of it rather than its absence.
        admits_text: whether any string, the empty one included, is a value of it.
        array: whether it is made from a JSON array.
        structured: whether it is made from a JSON array or object, so that HTTP brings it as JSON text.
    """

    name: str
    type: Any
    required: bool
    default: Any
    param: Param
    admits_none: bool
    admits_text: bool
    array: bool
    structured: bool

    @classmethod
    def declare(cls, name: str, annotation: Any, default: Any) -> Input:
        """Make one from a parameter of a signature; ``inspect.Parameter.empty`` stands for what is not there.

        Raises:
            TypeError: no message can carry such a type.
        """
        kind, param = Any if annotation is inspect.Parameter.empty else annotation, Param()
        if get_origin(kind) is Annotated:
            base, *extras = get_args(kind)
            param = next((extra for extra in extras if isinstance(extra, Param)), param)
            kept = [extra for extra in extras if not isinstance(extra, Param)]
            kind = Annotated[(base, *kept)] if kept else base
        try:
            info = msgspec.inspect.type_info(kind)
        except (TypeError, NotImplementedError) as error:
            raise TypeError(f"parameter {name!r} has a type that no message can carry: {error}") from error
        kinds = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
        if not param.formatters and any(isinstance(one, msgspec.inspect.CustomType) for one in kinds):
            raise TypeError(
                f"parameter {name!r} is a {type_name(kind)}, which no message can carry; use a plain type, a "
                "msgspec.Struct, a dataclass or a TypedDict, or give a formatter that makes it"
            )
        anything = any(isinstance(one, msgspec.inspect.AnyType) for one in kinds)
        array = any(isinstance(one, _ARRAYS) for one in kinds)
        return cls(
            name=name,
            type=kind,
            required=default is inspect.Parameter.empty,
            default=default,
            param=param,
            admits_none=anything or any(isinstance(one, msgspec.inspect.NoneType) for one in kinds),
            admits_text=anything or any(isinstance(one, msgspec.inspect.StrType) for one in kinds),
            array=array,
            structured=array or any(isinstance(one, _OBJECTS) for one in kinds),
        )

    def missing(self, value: Any) -> bool:
        """Tell whether this value counts as not given.

        As in ActionHero null and "" are no value for a required parameter (unless its type admits None); an optional
        one keeps a string it was given, and takes its default where null or an empty form field can't be a value.
        """
        if value is None:
            return not self.admits_none or (self.required and self.type is Any)
        return value == "" and isinstance(value, str) and (self.required or not self.admits_text)

    @property
    def is_plain(self) -> bool:
        """Whether its type is all that it asks for: :meth:`convert` does what :meth:`read` does."""
        return not self.param.formatters and not self.param.validators

    async def read(self, value: Any) -> Any:
        """Make a value of the declared type, with its formatters and validators.

        Raises:
            ActionError: 422, it can't be, or a validator refuses it.
        """
        if isinstance(value, Repeated) and not self.array:
            value = value[0]
        if self.param.formatters:
            try:
                for formatter in self.param.formatters:
                    value = await maybe_await(formatter(value))
            except (ValueError, TypeError) as error:
                raise self._failed() from error
        value = self.convert(value)
        for validator in self.param.validators:
            try:
                verdict = await maybe_await(validator(value))
            except ValueError as error:
                raise ActionError(str(error) or str(self._failed()), 422) from error
            if isinstance(verdict, str):
                raise ActionError(verdict, 422)
            if verdict is not True and verdict is not None:
                raise self._failed()
        return value

    def convert(self, value: Any) -> Any:
        """Make a value of the declared type.

        Raises:
            ActionError: 422, it can't be.
        """
        if isinstance(value, Repeated) and not self.array:
            value = value[0]
        if self.type is Any or (self.type is str and type(value) is str):
            return value
        if self.structured and not self.admits_text and isinstance(value, str):
            if value.lstrip()[:1] in ("[", "{"):
                try:
                    value = msgspec.json.decode(value)
                except (ValueError, RecursionError) as error:
                    raise ActionError(f"{self.name}: not valid JSON", 422) from error
            elif self.array:
                value = [value]
        try:
            value = msgspec.convert(value, self.type, strict=False)
        except TypeError as error:  # a list in a set, say
            raise self._failed() from error
        except (ValueError, RecursionError) as error:
            # "Expected `int`, got `str` - at `$.y[0]`"
            text, _, path = str(error).replace("`", "").partition(" - at $")
            raise ActionError(f"{self.name}{path}: {text[:1].lower()}{text[1:]}", 422) from error
        if not _is_finite(value):
            raise ActionError(f"{self.name}: expected a finite number", 422)
        return value

    def _failed(self) -> ActionError:
        return ActionError(f'Input for parameter "{self.name}" failed validation!', 422)

    def document(self) -> dict[str, Any]:
        """Describe it for the documentation verb."""
        entry: dict[str, Any] = {"required": self.required}
        if not self.required:
            try:
                entry["default"] = msgspec.to_builtins(self.default)
            except (TypeError, ValueError):
                entry["default"] = str(self.default)
        entry["type"] = type_name(self.type)
        if self.param.description:
            entry["description"] = self.param.description
        return entry


def _is_finite(value: Any) -> bool:
    """Tell whether a converted value has neither NaN nor an infinity in it."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, float):
            if not math.isfinite(one):
                return False
        elif isinstance(one, (str, bytes, int, type(None))):
            continue
        elif isinstance(one, Decimal):
            if not one.is_finite():
                return False
        elif isinstance(one, dict):
            left += one
            left += one.values()
        elif isinstance(one, (list, tuple, set, frozenset)):
            left += one
        elif isinstance(one, msgspec.Struct):
            left += (getattr(one, name) for name in one.__struct_fields__)
        elif is_dataclass(one):
            left += (getattr(one, field.name) for field in fields(one))
    return True


def given_inputs(inputs: Mapping[str, Input], params: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the declared inputs out of a request's parameters.

    Only declared names are looked up: whatever else the client sent stays behind. A parameter that is missing and has a
    default is left out, so that Python's own default applies.

    Raises:
        ActionError: 422; a required parameter is missing.
    """
    given: dict[str, Any] = {}
    for name, one in inputs.items():
        value = params.get(name)
        if name in params and not one.missing(value):
            given[name] = value
        elif one.required:
            raise ActionError(f"{name} is a required parameter for this action", 422)
    return given


async def read_inputs(inputs: Mapping[str, Input], params: Mapping[str, Any]) -> dict[str, Any]:
    """Read the declared inputs out of a request's parameters.

    Raises:
        ActionError: 422; a missing parameter is reported before an invalid one, as in ActionHero.
    """
    return {name: await inputs[name].read(value) for name, value in given_inputs(inputs, params).items()}


def type_name(kind: Any) -> str:
    """Write a type as its author did: ``int``, ``list[str] | None``."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if isinstance(kind, type) and not get_args(kind):
        return kind.__name__
    return str(kind).replace("typing.", "")
