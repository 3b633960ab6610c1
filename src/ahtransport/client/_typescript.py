"""Python's types as TypeScript's: what a message may hold for a value of a type."""

from __future__ import annotations

import json
import re
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, get_type_hints

from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BYTES", "is_object", "key", "resolve", "type_of"]

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
#: What msgspec calls the types of bytes.
BYTES = ("BytesType", "ByteArrayType", "MemoryViewType")
_PLAIN = {
    "AnyType": "unknown",
    "NoneType": "null",
    "BoolType": "boolean",
    "IntType": "number",
    "FloatType": "number",
    "StrType": "string",
    # Bytes as Base64, times and spans as ISO 8601 writes them.
    **dict.fromkeys(BYTES, "string"),
    "DateTimeType": "string",
    "DateType": "string",
    "TimeType": "string",
    "TimeDeltaType": "string",
    "UUIDType": "string",
    "DecimalType": "string | number",
}


def key(name: str) -> str:
    """Write a property's name."""
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


def resolve(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    """Give what an annotation means; ``Any`` when it names what is not there, as those for type checkers do."""
    try:
        return get_type_hints(
            SimpleNamespace(__annotations__={"it": annotation}), dict(namespace), include_extras=True
        )["it"]
    except Exception:  # an annotation is any expression, and may raise anything
        return Any


def type_of(hint: Any, others: Mapping[str, str] = MappingProxyType({})) -> str:
    """Write the type of what stands for values of a Python type, in one line; "unknown" where nothing can be said.

    ``others`` are types that are not as in JSON: what to write by msgspec's names of them.
    """
    try:
        return _type(inspect.type_info(hint), (), {**_PLAIN, **others})
    except Exception:  # whatever msgspec says of what no message can carry
        return "unknown"


def is_object(hint: Any) -> bool:
    """Tell whether it is a type whose fields have names and types of their own."""
    try:
        info = inspect.type_info(hint)
    except Exception:  # as above
        return False
    if isinstance(info, inspect.StructType):
        return not info.array_like
    return isinstance(info, inspect.DataclassType | inspect.TypedDictType)


def _type(info: inspect.Type, outer: tuple[type, ...], known: Mapping[str, str]) -> str:
    """Write one type; ``outer`` are the classes that it is inside of, as a type may contain itself; ``known`` what to
    write by msgspec's names."""
    plain = known.get(type(info).__name__)
    if plain is not None:
        return plain
    if isinstance(info, inspect.Metadata):
        return _type(info.type, outer, known)
    if isinstance(info, inspect.UnionType):
        return " | ".join(dict.fromkeys(_type(one, outer, known) for one in info.types))
    if isinstance(info, inspect.LiteralType):
        return " | ".join(map(json.dumps, info.values))
    if isinstance(info, inspect.EnumType):
        values = [member.value for member in info.cls]
        return " | ".join(json.dumps(value) for value in values if isinstance(value, str | int)) or "unknown"
    if isinstance(info, inspect.TupleType):
        return f"[{', '.join(_type(one, outer, known) for one in info.item_types)}]"
    if isinstance(info, inspect.StructType | inspect.DataclassType | inspect.TypedDictType | inspect.NamedTupleType):
        return "unknown" if info.cls in outer else _fields(info, (*outer, info.cls), known)
    # Lists, sets and whatever else holds others; dictionaries by strings, as JSON has no other keys.
    item, value = getattr(info, "item_type", None), getattr(info, "value_type", None)
    if value is not None:
        return f"{{ [key: string]: {_type(value, outer, known)} }}"
    return f"Array<{_type(item, outer, known)}>" if item is not None else "unknown"


def _fields(
    info: inspect.StructType | inspect.DataclassType | inspect.TypedDictType | inspect.NamedTupleType,
    outer: tuple[type, ...],
    known: Mapping[str, str],
) -> str:
    tag = json.dumps(info.tag) if isinstance(info, inspect.StructType) and info.tag is not None else ""
    if isinstance(info, inspect.NamedTupleType) or getattr(info, "array_like", False):
        # An optional one needs a name: (A | B)? is no type.
        items = [
            f"{key(one.name)}{'' if one.required else '?'}: {_type(one.type, outer, known)}" for one in info.fields
        ]
        return f"[{', '.join([f'tag: {tag}', *items] if tag else items)}]"
    members = [
        f"{key(one.encode_name)}{'' if one.required else '?'}: {_type(one.type, outer, known)}" for one in info.fields
    ]
    if tag and isinstance(info, inspect.StructType) and info.tag_field is not None:
        members.insert(0, f"{key(info.tag_field)}: {tag}")
    return f"{{ {'; '.join(members)} }}" if members else "{}"
