"""DJI's JSON from messages of ``dockgate.dji.v1``, and back.

Protobuf's own JSON mapping is not DJI's: it writes 64-bit integers as text and enums by name.
DJI wants numbers as numbers and names as the schema has them. A plan for each message is built
once from its descriptor; after that a message costs a few microseconds.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import json_format, message_factory, struct_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from dockgate.dji.v1 import options_pb2, raw_pb2
from dockgate_server.codec import enums, exact
from dockgate_server.errors import FieldViolation

_Encode = Callable[[Any], Any]
_STRUCT = "google.protobuf.Struct"
_INT_BOUNDS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
}


class _Plan:
    """How the fields of one message travel."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.fields = {field.name: field for field in descriptor.fields}
        self.specs = {
            field.number: field.GetOptions().Extensions[options_pb2.field_spec]
            for field in descriptor.fields
        }
        self.encoders = {field.number: self._encoder(field) for field in descriptor.fields}
        keys = [f.name for f in descriptor.fields if self.specs[f.number].payload_index_key]
        self.key = keys[0] if keys else None
        self.always = [f.name for f in descriptor.fields if self.specs[f.number].sent_when_empty]
        self.is_flat = all(f.message_type is None for f in descriptor.fields)

    def _encoder(self, field: FieldDescriptor) -> _Encode | None:
        """What turns the field's value into JSON; None where the value is JSON already."""
        if field.message_type is not None:
            is_struct = field.message_type.full_name == _STRUCT
            one: _Encode | None = _from_struct if is_struct else to_dict
        elif self.specs[field.number].wire_form == options_pb2.WIRE_FORM_BOOL_AS_INT:
            one = int
        else:
            one = None
        if field.is_repeated:
            return list if one is None else lambda values: [one(value) for value in values]
        return one


@functools.cache
def _plan(descriptor: Descriptor) -> _Plan:
    return _Plan(descriptor)


def to_dict(message: Message) -> dict[str, Any]:
    """The message as DJI's JSON object: what is set, in the order of the schema."""
    plan = _plan(message.DESCRIPTOR)
    encoders = plan.encoders
    result: dict[str, Any] = {name: [] for name in plan.always} if plan.always else {}
    for field, value in message.ListFields():
        encode = encoders[field.number]
        result[field.name] = value if encode is None else encode(value)
    return result


def to_data(message: Message, empty: "options_pb2.EmptyData.ValueType") -> dict[str, Any] | None:
    """The `data` member for a method: its object, or null where DJI wants null for nothing.

    A payload's index, where a message has one as a key, becomes the name under which the rest
    stands.
    """
    if message.DESCRIPTOR.full_name == raw_pb2.RawMethod.DESCRIPTOR.full_name:
        return to_dict(message).get("data")
    data = to_dict(message)
    key = _plan(message.DESCRIPTOR).key
    if key is not None and key in data:
        index = data.pop(key)
        data = {index: data}
    return None if not data and empty == options_pb2.EMPTY_DATA_NULL else data


def from_dict(values: Mapping[str, Any], message: Message, path: str = "") -> list[FieldViolation]:
    """Fill a message from DJI's JSON and say what does not fit; an empty list is success.

    Accepts what the platform's own examples hold: ``{}`` where a list stands, null for "not
    said", 0 and 1 for a bool that travels so, integers written as ``30.0``.

    Args:
        values: The parsed object.
        message: The empty message to fill.
        path: What to put before the names of offending fields, e.g. ``payload``.
    """
    plan = _plan(message.DESCRIPTOR)
    violations: list[FieldViolation] = []
    for name, value in values.items():
        where = _join(path, name)
        field = plan.fields.get(name)
        if field is None:
            known = ", ".join(plan.fields) or "none"
            violations.append(FieldViolation(where, f"is not a field here; the fields are {known}"))
        elif value is not None:
            violations += _set(message, field, plan.specs[field.number], value, where)
    return violations


def unknown_fields(message: Message, path: str = "") -> list[FieldViolation]:
    """The fields that a newer or mistaken client sent and this schema does not know.

    They would be dropped silently on the way to the device, so they are named instead.
    """
    violations = [
        FieldViolation(_join(path, f"#{number}"), "is a field that this gateway does not know")
        for number in unknown_numbers(message)
    ]
    if _plan(message.DESCRIPTOR).is_flat:
        return violations
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.full_name != _STRUCT:
            for one in value if field.is_repeated else (value,):
                violations += unknown_fields(one, _join(path, field.name))
    return violations


def unknown_numbers(message: Message) -> list[int]:
    """The numbers of the fields that stand in this message itself and are not in the schema."""
    unknown = UnknownFieldSet(message)
    return [unknown[index].field_number for index in range(len(unknown))]


def non_finite_numbers(message: Message, path: str) -> list[FieldViolation]:
    """The numbers that JSON cannot write: infinities and "not a number"."""
    violations = []
    for field, value in message.ListFields():
        where = _join(path, field.name)
        for one in value if field.is_repeated else (value,):
            if isinstance(one, struct_pb2.Struct):
                if not _all_finite(_from_struct(one)):
                    violations.append(FieldViolation(where, "must hold finite numbers only"))
            elif field.message_type is not None:
                violations += non_finite_numbers(one, where)
            elif isinstance(one, float) and not math.isfinite(one):
                violations.append(FieldViolation(where, "must be a finite number"))
    return violations


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def read_tolerantly(values: Mapping[str, Any], message: Message) -> None:
    """Fill a message with what a device sent, as far as it fits; the rest is passed over.

    Devices write digits as text and numbers for text, 0 and 1 for bools, one object where a list
    of them is documented, and send members that no document names: nothing of that must cost the
    members that can be read.
    """
    plan = _plan(message.DESCRIPTOR)
    for name, value in values.items():
        field = plan.fields.get(name)
        if field is None or value is None:
            continue
        if field.is_repeated:
            for element in value if isinstance(value, list) else [value]:
                _read_element(message, field, element)
        elif field.message_type is not None:
            if isinstance(value, dict):
                part = getattr(message, name)
                part.SetInParent()
                read_tolerantly(value, part)
        else:
            with contextlib.suppress(ValueError):
                setattr(message, name, _tolerant_scalar(field, value))


def _read_element(message: Message, field: FieldDescriptor, element: object) -> None:
    target = getattr(message, field.name)
    if field.message_type is None:
        with contextlib.suppress(ValueError):
            target.append(_tolerant_scalar(field, element))
    elif isinstance(element, dict):
        read_tolerantly(element, target.add())


_ANY_FORM = options_pb2.FieldSpec(wire_form=options_pb2.WIRE_FORM_BOOL_AS_INT)


def _tolerant_scalar(field: FieldDescriptor, value: object) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING and isinstance(value, int | float):
        value = str(value)
    elif field.type != FieldDescriptor.TYPE_STRING and isinstance(value, str):
        number = float(value)  # ValueError is what the caller expects
        if not math.isfinite(number):
            raise ValueError("must be a number that JSON can write")
        value = int(number) if number.is_integer() else number
    return _scalar(field, _ANY_FORM, value)


def _from_struct(struct: struct_pb2.Struct) -> Any:
    """A Struct as JSON; its numbers are doubles, and whole ones are meant as integers."""
    return {name: _from_value(value) for name, value in struct.fields.items()}


def _from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _from_struct(value.struct_value)
    if kind == "list_value":
        return [_from_value(one) for one in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        # Beyond 64 bits an integer could not be written.
        return int(number) if number.is_integer() and abs(number) < 2**63 else number
    return None if kind in (None, "null_value") else getattr(value, kind)


def _all_finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_all_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _set(
    message: Message,
    field: FieldDescriptor,
    spec: options_pb2.FieldSpec,
    value: object,
    where: str,
) -> list[FieldViolation]:
    if field.is_repeated:
        return _fill_list(message, field, spec, value, where)
    if field.message_type is not None:
        if not isinstance(value, dict):
            return [FieldViolation(where, f"must be an object, not {_kind(value)}")]
        part = getattr(message, field.name)
        if field.message_type.full_name == _STRUCT:
            if changed := list(exact.inexact(value, where)):
                return changed
            try:
                json_format.ParseDict(value, part)
            except json_format.ParseError:
                # Its own words may quote the value, which may be secret.
                return [FieldViolation(where, "holds something that JSON cannot be here")]
            return []
        part.SetInParent()  # {} is present and empty, which is not the same as absent
        return from_dict(value, part, where)
    try:
        setattr(message, field.name, _scalar(field, spec, value))
    except ValueError as wrong:
        return [FieldViolation(where, str(wrong))]
    return []


def _fill_list(
    message: Message,
    field: FieldDescriptor,
    spec: options_pb2.FieldSpec,
    value: object,
    where: str,
) -> list[FieldViolation]:
    if value == {}:
        return []
    if not isinstance(value, list):
        return [FieldViolation(where, f"must be a list, not {_kind(value)}")]
    target = getattr(message, field.name)
    violations: list[FieldViolation] = []
    for index, element in enumerate(value):
        here = f"{where}[{index}]"
        if field.message_type is None:
            try:
                target.append(_scalar(field, spec, element))
            except ValueError as wrong:
                violations.append(FieldViolation(here, str(wrong)))
        elif isinstance(element, dict):
            violations += from_dict(element, target.add(), here)
        else:
            violations.append(FieldViolation(here, f"must be an object, not {_kind(element)}"))
    return violations


def _scalar(field: FieldDescriptor, spec: options_pb2.FieldSpec, value: object) -> Any:
    """The value as the field takes it; ValueError says what would be right."""
    if field.type == FieldDescriptor.TYPE_STRING:
        if isinstance(value, str):
            return value
        raise ValueError(f"must be text, not {_kind(value)}")
    if field.type == FieldDescriptor.TYPE_BOOL:
        as_int = spec.wire_form == options_pb2.WIRE_FORM_BOOL_AS_INT
        if isinstance(value, bool):
            return value
        if as_int and value in (0, 1) and isinstance(value, int):
            return bool(value)
        raise ValueError(f"must be {'0, 1, ' if as_int else ''}true or false, not {_kind(value)}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        if field.enum_type is not None:
            raise ValueError(f"must be a number: {enums.choices(field.enum_type, value)}")
        raise ValueError(f"must be a number, not {_kind(value)}")
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        try:
            return float(value)
        except OverflowError:
            raise ValueError("must be a number that fits into 64 bits") from None
    if isinstance(value, float) and not value.is_integer():
        shown = "a fraction" if field.GetOptions().debug_redact else value
        raise ValueError(f"must be a whole number, not {shown}")
    low, high = _INT_BOUNDS.get(field.type, _INT_BOUNDS[FieldDescriptor.TYPE_INT32])
    if not low <= value <= high:
        raise ValueError(f"must be between {low} and {high}")
    return int(value)


def _kind(value: object) -> str:
    """What a JSON value is, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def new_message(descriptor: Descriptor) -> Message:
    """An empty message of the type."""
    return message_factory.GetMessageClass(descriptor)()
