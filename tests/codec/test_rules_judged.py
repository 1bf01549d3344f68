"""The rules as the gateway applies them, beside protovalidate: both must find the same."""

import math
import random
from collections.abc import Iterator
from typing import Any, Final

import protovalidate
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from dockgate.downlink.v1 import (
    command_service_pb2,
    device_request_service_pb2,
    device_service_pb2,
)
from dockgate_server.codec import enums, rules

SERVICES: Final = (command_service_pb2, device_service_pb2, device_request_service_pb2)
TRIES: Final = 12
_TEXTS: Final = (
    *("", "a", "abc_9", "A b", "services", "services\n", "dock/1", "dock#1", "abc\n", "\n", "x\ty"),
    # White space and control characters as others know them.
    *("a\u00a0b", "a\u2003b", "a\u0085b", "\x0b", "\x1f", "\x7f"),
    *("x" * 64, "x" * 65, "x" * 128, "x" * 129, "é" * 64, "é" * 65, "\U0001f681" * 64, "x" * 300),
)
_NUMBERS: Final = (0, 1, -1, 2, 3, 15, 19, 20, 28, 100, 300, 301, 1500, 1501, 2**31 - 1, -(2**31))
_FRACTIONS: Final = (
    0.0,
    -0.0,
    0.5,
    1.0,
    1.0000001,
    -17.5,
    180.1,
    1e9,
    math.nan,
    math.inf,
    -math.inf,
)
_COUNTS: Final = (0, 1, 2, 3, 27, 28, 29)
_DEEPEST: Final = 5


def _messages() -> Iterator[Descriptor]:
    """All that a caller may send, and all that it holds."""
    found: dict[str, Descriptor] = {}
    ahead = [
        one for service in SERVICES for one in service.DESCRIPTOR.message_types_by_name.values()
    ]
    while ahead:
        descriptor = ahead.pop()
        if descriptor.full_name in found or descriptor.file.package == "google.protobuf":
            continue
        found[descriptor.full_name] = descriptor
        ahead += [one.message_type for one in descriptor.fields if one.message_type is not None]
    yield from found.values()


MESSAGES: Final = tuple(_messages())


def _value(field: FieldDescriptor, chance: random.Random) -> Any:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return chance.choice(_TEXTS)
        case FieldDescriptor.TYPE_BYTES:
            return b"x"
        case FieldDescriptor.TYPE_BOOL:
            return chance.choice((True, False))
        case FieldDescriptor.TYPE_DOUBLE:
            return chance.choice((*_FRACTIONS, *_NUMBERS))
        case FieldDescriptor.TYPE_ENUM:
            return chance.choice((0, 1, 2, 3, 9999))
        case FieldDescriptor.TYPE_UINT32 | FieldDescriptor.TYPE_UINT64:
            return abs(chance.choice(_NUMBERS))
        case _:
            return chance.choice(_NUMBERS)


def _fill(message: Message, chance: random.Random, depth: int = 0) -> None:
    """Set what chance wants, right and wrong."""
    arms = {chance.choice(one.fields).name for one in message.DESCRIPTOR.oneofs}
    for field in message.DESCRIPTOR.fields:
        inner = field.message_type
        if chance.random() < 0.3 or (inner and inner.file.package == "google.protobuf"):
            continue
        if field.containing_oneof is not None and field.name not in arms:
            continue
        value = getattr(message, field.name)
        count = chance.choice(_COUNTS[:4] if depth else _COUNTS)
        if inner is None:
            if field.is_repeated:
                value.extend(_value(field, chance) for _ in range(count))
            else:
                setattr(message, field.name, _value(field, chance))
        elif depth < _DEEPEST:
            for one in [value.add() for _ in range(count)] if field.is_repeated else [value]:
                one.SetInParent()
                _fill(one, chance, depth + 1)


def _judged(message: Message) -> list[tuple[str, str]]:
    """What protovalidate finds."""
    return [
        (_path(found), _words(message.DESCRIPTOR, found))
        for found in protovalidate.collect_violations(message)
    ]


def _path(found: protovalidate.Violation) -> str:
    assert found.proto.field is not None
    path = ""
    for element in found.proto.field.elements:
        path += f".{element.field_name}"
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    return path.removeprefix(".")


def _words(descriptor: Descriptor, found: protovalidate.Violation) -> str:
    """Its words, but of the one rule for which the gateway has its own."""
    if found.proto.rule_id != "enum.not_in":
        return found.proto.message
    assert found.proto.field is not None
    field = None
    for element in found.proto.field.elements:
        field = descriptor.fields_by_name[element.field_name]
        descriptor = field.message_type or descriptor
    assert field is not None
    assert field.enum_type is not None
    return f"must be one of {enums.choices(field.enum_type)}"


@pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda one: one.full_name)
def test_the_library_finds_the_same(descriptor: Descriptor) -> None:
    """The same fields in the same order, in the same words."""
    chance = random.Random(descriptor.full_name)
    for _ in range(TRIES):
        message = message_factory.GetMessageClass(descriptor)()
        _fill(message, chance)
        found = [(one.field, one.description) for one in rules.violations(message)]
        assert found == _judged(message)


def test_most_of_these_messages_break_rules() -> None:
    """The comparison would say little otherwise."""
    chance, broken = random.Random(1), set()
    for descriptor in MESSAGES:
        message = message_factory.GetMessageClass(descriptor)()
        _fill(message, chance)
        broken |= {one.proto.rule_id for one in protovalidate.collect_violations(message)}
    assert {"required", "string.min_len", "string.max_len", "double.gte_lte"} <= broken
    assert {"int32.gte_lte", "enum.not_in", "repeated.max_items"} <= broken


def test_no_rule_asks_for_one_of_several_in_particular() -> None:
    """An arm of a oneof is looked at when it is set, so that it is missing would be overlooked."""
    arms = [
        field
        for descriptor in MESSAGES
        for field in descriptor.fields
        if field.containing_oneof is not None and not field.containing_oneof.name.startswith("_")
    ]
    asked = [one.GetOptions().Extensions[validate_pb2.field].required for one in arms]
    assert len(asked) > 200
    assert not any(asked)


def _with_rule(name: str, asked: validate_pb2.FieldRules) -> Descriptor:
    """A message with one text whose rule that is."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"tests/{name}.proto",
        package=f"tests.{name}",
        syntax="proto3",
        dependency=["buf/validate/validate.proto"],
    )
    field = file.message_type.add(name="Message").field.add(name="text", number=1)
    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
    field.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    field.options.Extensions[validate_pb2.field].CopyFrom(asked)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    return descriptor_pool.Default().FindMessageTypeByName(f"tests.{name}.Message")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("kind", validate_pb2.FieldRules(string=validate_pb2.StringRules(uuid=True))),
        ("half", validate_pb2.FieldRules(string=validate_pb2.StringRules(pattern="^a"))),
        ("ignored", validate_pb2.FieldRules(required=True, ignore=validate_pb2.IGNORE_ALWAYS)),
        ("cel", validate_pb2.FieldRules(cel=[validate_pb2.Rule(id="a", expression="this != ''")])),
        ("short", validate_pb2.FieldRules(cel_expression=["this != ''"])),
    ],
)
def test_a_rule_that_cannot_be_applied_is_not_passed_over(
    name: str, asked: validate_pb2.FieldRules
) -> None:
    """Whoever writes one into the schema hears of it here, not from a dock."""
    with pytest.raises(NotImplementedError):
        rules.plan(_with_rule(name, asked))
