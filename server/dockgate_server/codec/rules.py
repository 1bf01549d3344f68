"""The rules that stand beside the fields in the schema (``buf.validate``), applied.

Of all the rules that there are, those that the schema uses. protovalidate, the library for them,
keeps a copy of the whole schema, 18 MiB with itself, and takes longer; so it is the judge in the
tests instead: both find the same, to the word. A plan for each message is built once from its
descriptor.
"""

import functools
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    OneofDescriptor,
)
from google.protobuf.message import Message

from buf.validate import validate_pb2
from dockgate_server.codec import enums
from dockgate_server.errors import FieldViolation

_Test = Callable[[Any], object]
"""Whether a value is as it must be."""
_FREE_OF_RULES = "google.protobuf"
_NUMBERS = frozenset({"int32", "int64", "double"})
_MATCHES = re.compile(r"this\.matches\('(.*)'\)")
_COMPARISON = re.compile(r"[ (]*this (==|>=|<=) (\d+)[ )]*")
_SIGNS = {"==": operator.eq, ">=": operator.ge, "<=": operator.le}


class _Rule(NamedTuple):
    """What a value must be."""

    holds: _Test
    words: str
    """What is said where it is not."""


class _Field(NamedTuple):
    """What is asked of a field."""

    name: str
    has_presence: bool
    is_required: bool
    may_be_zero: bool
    """Its rules are for what is not 0 and not empty."""
    rules: tuple[_Rule, ...]
    is_repeated: bool
    rules_of_each: tuple[_Rule, ...]
    """For the elements of a list."""
    is_message: bool
    oneof: OneofDescriptor | None = None
    """It stands for all of these instead, of which one is set at most."""


_NOTHING = _Field(
    "",
    has_presence=False,
    is_required=False,
    may_be_zero=False,
    rules=(),
    is_repeated=False,
    rules_of_each=(),
    is_message=False,
)


def violations(message: Message) -> list[FieldViolation]:
    """Every rule that the message breaks, with the path of the field."""
    found: list[FieldViolation] = []
    _look(message, "", found)
    return found


def _look(message: Message, path: str, found: list[FieldViolation]) -> None:
    for one in plan(message.DESCRIPTOR):
        field = one if one.oneof is None else _arm(one.oneof, message.WhichOneof(one.name))
        if field is None:
            continue
        name = field.name
        if field.has_presence and not message.HasField(name):
            if field.is_required:
                found.append(FieldViolation(path + name, "value is required"))
            continue
        value = getattr(message, name)
        if not value:
            if field.is_required and not field.has_presence:
                found.append(FieldViolation(path + name, "value is required"))
                continue
            if field.may_be_zero:
                continue
        for rule in field.rules:
            # Not a list of them: there mostly are none, and to make a list costs a call.
            if not rule.holds(value):
                found.append(FieldViolation(path + name, rule.words))  # noqa: PERF401
        if field.is_repeated:
            _look_at_each(field, value, path + name, found)
        elif field.is_message:
            _look(value, f"{path}{name}.", found)


def _look_at_each(field: _Field, values: Any, path: str, found: list[FieldViolation]) -> None:
    for number, value in enumerate(values):
        where = f"{path}[{number}]"
        found += [
            FieldViolation(where, rule.words)
            for rule in field.rules_of_each
            if not rule.holds(value)
        ]
        if field.is_message:
            _look(value, f"{where}.", found)


@functools.cache
def _arm(oneof: OneofDescriptor, name: str | None) -> _Field | None:
    """What is asked of the one that is set; of a vendor's methods most are never sent."""
    field = None if name is None else oneof.containing_type.fields_by_name[name]
    return None if field is None else _field(field)


@functools.cache
def plan(descriptor: Descriptor) -> tuple[_Field, ...]:
    """What is to be looked at in a message; the first one of its type pays 0.1 ms for it.

    Raises:
        NotImplementedError: It has a rule of a kind that is not applied here.
    """
    if descriptor.file.package == _FREE_OF_RULES:
        return ()
    groups = any(one.GetOptions().HasExtension(validate_pb2.oneof) for one in descriptor.oneofs)
    if groups or descriptor.GetOptions().HasExtension(validate_pb2.message):
        raise NotImplementedError(f"{descriptor.full_name}: rules are for single fields here")
    planned: dict[str, _Field] = {}
    for field in descriptor.fields:
        oneof = field.containing_oneof
        # One that stands for an optional field has the field's name behind a "_".
        if oneof is not None and not oneof.name.startswith("_"):
            planned.setdefault(oneof.name, _NOTHING._replace(name=oneof.name, oneof=oneof))
        elif field.message_type or field.GetOptions().HasExtension(validate_pb2.field):
            planned[field.name] = _field(field)
    return tuple(planned.values())


def _field(field: FieldDescriptor) -> _Field:
    asked, inner = field.GetOptions().Extensions[validate_pb2.field], field.message_type
    if asked.ignore == validate_pb2.IGNORE_ALWAYS or (inner and inner.GetOptions().map_entry):
        raise NotImplementedError(f"{field.full_name}: no maps, and rules are never ignored here")
    return _Field(
        field.name,
        field.has_presence,
        asked.required,
        asked.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE,
        tuple(_rules(field, asked)),
        field.is_repeated,
        tuple(_rules(field, asked.repeated.items)),
        inner is not None,
    )


def _rules(field: FieldDescriptor, asked: validate_pb2.FieldRules) -> Iterator[_Rule]:
    """What is asked of a value: of the field's, or of each element's."""
    for one in asked.cel:
        yield _Rule(_expression(one.expression), one.message)
    kind = asked.WhichOneof("type")
    said = {one.name: value for one, value in asked.ListFields()}
    for name in ("required", "ignore", "cel"):
        said.pop(name, None)
    if kind is not None:
        said = {f"{kind}.{one.name}": value for one, value in said.pop(kind).ListFields()} | said
    said.pop("repeated.items", None)
    if kind in _NUMBERS:
        yield _range(said.pop(f"{kind}.gte", -math.inf), said.pop(f"{kind}.lte", math.inf))
    for name, value in said.items():
        if name in _KINDS:
            yield _KINDS[name](value)
        elif name in _KINDS_OF_ENUM and field.enum_type is not None:
            yield _KINDS_OF_ENUM[name](value, field.enum_type)
        else:
            raise NotImplementedError(f"{field.full_name}: the rule {name} is not applied here")


def _range(low: float, high: float) -> _Rule:
    said = []
    if low > -math.inf:
        said.append(f"greater than or equal to {_shown(low)}")
    if high < math.inf:
        said.append(f"less than or equal to {_shown(high)}")
    # What is no number at all is in no range.
    return _Rule(lambda value: low <= value <= high, f"must be {' and '.join(said)}")


def _shown(number: float) -> str:
    return str(int(number) if number == int(number) else number)


def pattern_of(expression: str) -> str | None:
    """What an expression of CEL wants a text to match; None where it wants something else."""
    match = _MATCHES.fullmatch(expression)
    # The text of a CEL literal: a backslash stands there twice.
    return None if match is None else match[1].replace("\\\\", "\\")


def _expression(text: str) -> _Test:
    """An expression of CEL: what a text matches, or comparisons with numbers."""
    pattern = pattern_of(text)
    if pattern is not None:
        return _matching(pattern)
    alternatives = [[_comparison(one) for one in part.split("&&")] for part in text.split("||")]
    return lambda value: any(all(one(value) for one in part) for part in alternatives)


def _comparison(text: str) -> _Test:
    match = _COMPARISON.fullmatch(text)
    if match is None:
        raise NotImplementedError(f"this expression is not understood here: {text}")
    compare, number = _SIGNS[match[1]], int(match[2])
    return lambda value: compare(value, number)


def _matching(pattern: str) -> _Test:
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise NotImplementedError(f"a pattern is for the whole of a text here: {pattern}")
    # The whole: "$" by itself would let a line break pass.
    return re.compile(pattern, re.ASCII).fullmatch


_KINDS: Mapping[str, Callable[[Any], _Rule]] = {
    "string.min_len": lambda least: _Rule(
        lambda text: len(text) >= least, f"must be at least {least} characters"
    ),
    "string.max_len": lambda most: _Rule(
        lambda text: len(text) <= most, f"must be at most {most} characters"
    ),
    "string.max_bytes": lambda most: _Rule(
        lambda text: len(text.encode()) <= most, f"must be at most {most} bytes"
    ),
    "string.pattern": lambda pattern: _Rule(
        _matching(pattern), f"does not match regex pattern `{pattern}`"
    ),
    "string.in": lambda texts: _Rule(
        frozenset(texts).__contains__, f"must be in list [{', '.join(texts)}]"
    ),
    "repeated.min_items": lambda least: _Rule(
        lambda values: len(values) >= least, f"must contain at least {least} item(s)"
    ),
    "repeated.max_items": lambda most: _Rule(
        lambda values: len(values) <= most, f"must contain no more than {most} item(s)"
    ),
}

_KINDS_OF_ENUM: Mapping[str, Callable[[Any, EnumDescriptor], _Rule]] = {
    "enum.defined_only": lambda _, enum: _Rule(
        enums.names(enum).__contains__, "value must be one of the defined enum values"
    ),
    # Our 0 where DJI has none. In words of our own: the library's say only what is not right.
    "enum.not_in": lambda numbers, enum: _Rule(
        lambda number: number not in numbers, f"must be one of {enums.choices(enum)}"
    ),
}
