"""The fields of a method as JSON Schema: what the gateway takes over HTTP.

The same as the gateway takes: numbers of enums that nobody has heard of yet are passed on, an
empty object is read as an empty list, a bool that travels as 0 or 1 may be given so. Only null,
which is read as "not said", is not promised.
"""

from collections.abc import Sequence
from typing import Any

from dockgate_server.docs import comments, limits
from dockgate_server.docs.schema import Field, Value

_BITS = {32: "int32", 64: "int64"}


def of_object(fields: Sequence[Field], *, is_open: bool = False) -> dict[str, Any]:
    """An object with these fields.

    Args:
        fields: The fields.
        is_open: Whether there may be others, as in what a device sends.
    """
    found: dict[str, Any] = {
        "type": "object",
        "properties": {field.name: of_field(field, is_open=is_open) for field in fields},
    }
    required = [field.name for field in fields if field.required]
    if required and not is_open:
        found["required"] = required
    if not is_open:
        found["additionalProperties"] = False
    return found


def of_field(field: Field, *, is_open: bool = False) -> dict[str, Any]:
    """One field, with its comment."""
    text = comments.without_required(field.comment)
    words = limits.words(field.rules)
    found: dict[str, Any] = {"description": text} if text else {}
    if field.repeated:
        items = _of_value(field, is_open=is_open)
        items |= limits.schema(field.rules.get("repeated", {}).get("items", {}))
        # {} stands for an empty list.
        found |= {"type": ["array", "object"], "items": items, "maxProperties": 0}
        found |= limits.list_schema(field.rules)
        if found.get("minItems"):
            found["type"] = "array"
            del found["maxProperties"]
    else:
        found |= _of_value(field, is_open=is_open) | limits.schema(field.rules)
        if field.required and not field.presence and field.type == "text":
            found.setdefault("minLength", 1)
    if field.rules.get("cel") or field.rules.get("cel_expression"):
        found["x-rules"] = words
    if field.deprecated:
        found["deprecated"] = True
    if field.secret:
        # Taken, and given back by nobody.
        found["writeOnly"] = True
    return found


def open_choice(values: Sequence[Value]) -> dict[str, Any]:
    """Numbers with their meanings; others are possible."""
    listed = {
        "enum": [value.number for value in values],
        "x-enum-varnames": [value.name for value in values],
        "x-enum-descriptions": [value.comment for value in values],
    }
    return {"anyOf": [listed, {"description": "Any other number is passed on."}]}


def open_words(values: Sequence[Value]) -> dict[str, Any]:
    """Words with their meanings; later versions may know more."""
    listed = {
        "enum": [value.name for value in values],
        "x-enum-descriptions": [value.comment for value in values],
    }
    later = {"description": "Later versions may know more."}
    return {"type": "string", "anyOf": [listed, later]}


def _of_value(field: Field, *, is_open: bool) -> dict[str, Any]:
    match field.type:
        case "object":
            return of_object(field.parts, is_open=is_open)
        case "json":
            return {"type": "object"}
        case "text":
            return {"type": "string"}
        case "number":
            return {"type": "number", "format": "double"}
        case "bool" if is_open or field.wire.get("wire_form") == "bool_as_int":
            return {"type": ["boolean", "integer"], "enum": [True, False, 0, 1]}
        case "bool":
            return {"type": "boolean"}
    found: dict[str, Any] = {"type": "integer", "format": _BITS[field.bits]}
    return found | open_choice(field.values) if field.values else found
