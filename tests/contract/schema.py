"""What the schema says about every method, in the same words as ``facts``."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from contract.facts import Facts
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from buf.validate import validate_pb2
from dockgate.dji.v1 import options_pb2
from dockgate_server.codec import catalogue

PROTO = Path(__file__).parents[2] / "proto" / "dockgate" / "dji" / "v1"

_KINDS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_ENUM: "enum",
    FieldDescriptor.TYPE_MESSAGE: "message",
}
_NUMBERS = ("int32", "int64", "double")


def method_facts(method: catalogue.Method) -> Facts:
    """What the schema says about a method, its fields and its reply."""
    facts: Facts = {method.name: _spec(method)}
    facts.update(_fields(method.descriptor, method.name))
    reply = catalogue.REPLIES.get(method.name)
    if reply is not None:
        facts[f"{method.name}.reply"] = {"message": reply.name}
        facts.update(_fields(reply, f"{method.name}.reply", is_reply=True))
    return facts


def event_facts(event: str) -> Facts:
    """What the schema says about an event and its fields."""
    message = catalogue.EVENTS[event]
    options = message.GetOptions()
    devices = options.Extensions[options_pb2.event_spec].devices
    spec = {
        "message": message.name,
        "devices": _devices(devices),
        "deprecated": _yes(options.deprecated),
    }
    return {f"{event}.event": spec, **_fields(message, f"{event}.event", is_reply=True)}


def _devices(devices: Iterable["options_pb2.DeviceModel.ValueType"]) -> str:
    names = [options_pb2.DeviceModel.Name(one) for one in devices]
    return " ".join(sorted(name.removeprefix("DEVICE_MODEL_").lower() for name in names))


def _spec(method: catalogue.Method) -> dict[str, str]:
    spec = method.spec
    return {
        "message": method.descriptor.name,
        "channel": options_pb2.Channel.Name(spec.channel).removeprefix("CHANNEL_").lower(),
        "domain": options_pb2.Domain.Name(spec.domain).removeprefix("DOMAIN_").lower(),
        "devices": _devices(spec.devices),
        "deprecated": _yes(method.descriptor.GetOptions().deprecated),
        "empty data": "null" if spec.empty_data == options_pb2.EMPTY_DATA_NULL else "{}",
        "seq": "top-level" if spec.seq == options_pb2.SEQ_FORM_TOP_LEVEL else "none",
        "progress": " ".join(sorted(event.method for event in spec.progress)) or "none",
    }


def _fields(descriptor: Descriptor, path: str, *, is_reply: bool = False) -> Facts:
    facts: Facts = {}
    for field in descriptor.fields:
        here = f"{path}.{field.name}"
        facts[here] = dict(_shape(field))
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if not is_reply:
            facts[here].update(_rules(field, rules))
        elif rules.ByteSize():
            facts[here]["rules"] = "what a device says is never refused"
        if field.message_type is not None:
            facts.update(_fields(field.message_type, here, is_reply=is_reply))
    return facts


def _shape(field: FieldDescriptor) -> Iterator[tuple[str, str]]:
    kind = _KINDS[field.type]
    yield "type", f"repeated {kind}" if field.is_repeated else kind
    yield "deprecated", _yes(field.GetOptions().deprecated)
    type_ = field.message_type or field.enum_type
    if type_ is not None:
        yield "type name", _singular(type_.name, field)
    if field.enum_type is not None:
        yield "numbers", _dji_numbers(field.enum_type)
    if kind == "bool":
        form = field.GetOptions().Extensions[options_pb2.field_spec].wire_form
        yield "on the wire", "0/1" if form == options_pb2.WIRE_FORM_BOOL_AS_INT else "false/true"


def _singular(name: str, field: FieldDescriptor) -> str:
    """One element of a list is called by the singular of the list's name; names are compared so."""
    plural = "".join(word[:1].upper() + word[1:] for word in field.name.split("_"))
    return plural if field.is_repeated and plural in (f"{name}s", f"{name[:-1]}ies") else name


def has_own_zero(enum: EnumDescriptor) -> bool:
    """Whether DJI gives 0 a meaning."""
    return not enum.values_by_number[0].name.endswith("_UNSPECIFIED")


def _dji_numbers(enum: EnumDescriptor) -> str:
    """The numbers that are DJI's own."""
    numbers = {value.number for value in enum.values} - (set() if has_own_zero(enum) else {0})
    return " ".join(map(str, sorted(numbers)))


def _rules(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Iterator[tuple[str, str]]:
    """The rules beside a field; one of a kind that is not known here is named as it is."""
    known = {"required", "string.min_len", "string.max_len", "string.max_bytes"}
    known |= {"repeated.min_items", "repeated.max_items", "enum.not_in"}
    known |= {f"{kind}.{end}" for kind in _NUMBERS for end in ("gte", "lte")}
    given = dict(_flat(rules))
    may_be_empty = rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE
    least = given.get("repeated.min_items") or ("1" if rules.required else "")

    kind = _KINDS[field.type]
    if field.is_repeated:
        yield "required", _yes(is_sent_when_empty(field) or (least and not may_be_empty))
        yield (
            "size",
            f"{'0 or ' if may_be_empty else ''}{least}..{given.get('repeated.max_items', '')}",
        )
    else:
        empty = kind == "string" and given.get("string.min_len") != "1"
        yield "required", "may be empty" if rules.required and empty else _yes(rules.required)
        if kind == "string":
            in_bytes = given.get("string.max_bytes")
            yield (
                "max length",
                f"{in_bytes} bytes" if in_bytes else given.get("string.max_len", "none"),
            )
        if kind in _NUMBERS:
            low, high = (given.get(f"{kind}.{end}", "") for end in ("gte", "lte"))
            yield "range", f"{low}..{high}"
        if field.enum_type is not None and not has_own_zero(field.enum_type):
            yield "UNSPECIFIED", "refused" if given.get("enum.not_in") == "[0]" else "accepted"
    for name in sorted(given.keys() - known - {"ignore"}):
        yield name, given[name]


def _flat(rules: validate_pb2.FieldRules) -> Iterator[tuple[str, str]]:
    for kind, value in rules.ListFields():
        if kind.name == "cel":
            yield "cel", " and ".join(rule.expression for rule in value)
        elif kind.message_type is not None:
            for name, limit in value.ListFields():
                shown = f"{limit:g}" if isinstance(limit, float) else str(limit)
                yield f"{kind.name}.{name.name}", shown
        else:
            yield kind.name, str(value)


_COMMENT = re.compile(r"\s*//\s?(.*)")
_OPENS = re.compile(r"\s*(?:message|enum) (\w+) \{")
_FIELD = re.compile(r"\s*(?:optional |repeated )?[\w.]+ (\w+) = -?\d+\b")
_VALUE = re.compile(r"\s*(\w+) = -?\d+\b")


def comments() -> dict[str, str]:
    """The comment above every message, field and enum value, by full name without the package.

    Reads the text: the files are formatted by buf, and stubs hold no comments.
    """
    found: dict[str, str] = {}
    for file in PROTO.glob("*.proto"):
        scope: list[str] = []
        above: list[str] = []
        for line in file.read_text(encoding="utf-8").splitlines():
            comment = _COMMENT.fullmatch(line)
            if comment:
                above.append(comment[1])
                continue
            opened = _OPENS.match(line)
            named = opened or _FIELD.match(line) or _VALUE.match(line)
            if named:
                found[".".join([*scope, named[1]])] = " ".join(above)
            above = []
            if line.endswith("{"):
                scope.append(opened[1] if opened else "")
            elif line.strip().startswith("}"):
                scope.pop()
    return found


def _yes(value: object) -> str:
    return "yes" if value else "no"


def walk(descriptor: Descriptor) -> Iterator[FieldDescriptor]:
    """Every field of a message and of the messages in it."""
    for field in descriptor.fields:
        yield field
        if field.message_type is not None:
            yield from walk(field.message_type)


def short(named: FieldDescriptor | EnumDescriptor) -> str:
    """The full name without the package, as in ``comments``."""
    return named.full_name.removeprefix("dockgate.dji.v1.")


def is_sent_when_empty(field: FieldDescriptor) -> bool:
    """Whether a list goes to the device as [] rather than not at all."""
    return field.GetOptions().Extensions[options_pb2.field_spec].sent_when_empty


def is_required(field: FieldDescriptor) -> bool:
    """Whether a message without the field is refused."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    return dict(_rules(field, rules))["required"] != "no"
