"""DJI's JSON for any message, made up from its fields and their rules."""

import random
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2
from dockgate.dji.v1 import options_pb2

Make = Callable[[Descriptor, random.Random], dict[str, Any]]

_BOUNDS = {"int32": 2**31 - 1, "int64": 2**63 - 1, "double": 8e307}
_KINDS = {
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_DOUBLE: "double",
}
_ALLOWED = {"this == 0 || (this >= 20 && this <= 1500)": (0, 20, 777, 1500)}
"""Values for the rules that are expressions."""
_LETTERS = 'aZ0 _-/&"\\\n\u00e9\u4e2d\U0001f681'


def minimal(descriptor: Descriptor, chance: random.Random) -> dict[str, Any]:
    """Only what is required, and the lists that are sent even when they are empty."""
    made: dict[str, Any] = {}
    for field in descriptor.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if rules.required:
            made[field.name] = _field(field, chance, minimal)
        elif field.GetOptions().Extensions[options_pb2.field_spec].sent_when_empty:
            made[field.name] = []
    return made


def maximal(descriptor: Descriptor, chance: random.Random) -> dict[str, Any]:
    """Every field, with values from anywhere in their ranges, the ends first of all."""
    return {field.name: _field(field, chance, maximal) for field in descriptor.fields}


def _field(field: FieldDescriptor, chance: random.Random, make: Make) -> Any:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if not field.is_repeated:
        return _one(field, rules, chance, make)
    least = rules.repeated.min_items or 1
    count = least if make is minimal else chance.randint(least, rules.repeated.max_items or 3)
    return [_one(field, rules, chance, make) for _ in range(count)]


def _one(
    field: FieldDescriptor, rules: validate_pb2.FieldRules, chance: random.Random, make: Make
) -> Any:
    if field.message_type is not None:
        return make(field.message_type, chance)
    if field.enum_type is not None:
        numbers = [value.number for value in field.enum_type.values]
        refused = rules.enum.not_in
        # Firmware adds numbers without a new document.
        return chance.choice([number for number in [*numbers, 9999] if number not in refused])
    if field.type == FieldDescriptor.TYPE_BOOL:
        form = field.GetOptions().Extensions[options_pb2.field_spec].wire_form
        said = chance.random() < 0.5
        return int(said) if form == options_pb2.WIRE_FORM_BOOL_AS_INT else said
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(rules.string, chance)
    return _number(_KINDS[field.type], rules, chance)


def _text(rules: validate_pb2.StringRules, chance: random.Random) -> str:
    longest = min(rules.max_len or 40, (rules.max_bytes or 160) // 4)
    length = chance.choice([rules.min_len, longest, chance.randint(rules.min_len, longest)])
    return "".join(chance.choices(_LETTERS, k=length))


def _number(kind: str, rules: validate_pb2.FieldRules, chance: random.Random) -> float:
    for rule in rules.cel:
        return chance.choice(_ALLOWED[rule.expression])
    limits = getattr(rules, kind)
    low = limits.gte if limits.HasField("gte") else -_BOUNDS[kind]
    high = limits.lte if limits.HasField("lte") else _BOUNDS[kind]
    if kind == "double":
        return chance.choice([low, high, low + (high - low) * chance.random(), low / 2 + high / 2])
    return chance.choice([low, high, chance.randint(int(low), int(high))])
