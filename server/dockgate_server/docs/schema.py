"""What the schema says about every method, read from descriptors that carry their comments.

Everything is read through a pool of its own, not through the stubs: what counts is the schema
at hand, also while the stubs have not been generated again.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from dockgate_server.docs import comments

VENDOR = "dockgate.dji.v1"
DEFAULT_TIMEOUT_SECONDS = 30
"""That of the catalogue, which needs the stubs."""
_PROTO = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    _PROTO.TYPE_STRING: "text",
    _PROTO.TYPE_BOOL: "bool",
    _PROTO.TYPE_DOUBLE: "number",
    _PROTO.TYPE_INT32: "integer",
    _PROTO.TYPE_INT64: "integer",
    _PROTO.TYPE_ENUM: "integer",
    _PROTO.TYPE_MESSAGE: "object",
}
_STRUCT = "google.protobuf.Struct"
_REACH = {
    "serial_number": "Must name a device that is known and that the caller may reach.",
    "own": "Must not name a device that the caller may not reach.",
    "video_id": "Must not name a device that the caller may not reach.",
}
"""What is said of a field that names a device."""
_OPTIONS = {
    "method_spec": f"{VENDOR}.method_spec",
    "event_spec": f"{VENDOR}.event_spec",
    "field_spec": f"{VENDOR}.field_spec",
    "field": "buf.validate.field",
    "message": "buf.validate.message",
}


@dataclass(frozen=True, slots=True)
class Value:
    """A value of an enum."""

    name: str
    """Without the prefix that the enum's name makes."""
    number: int
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a method, or of an object within one."""

    name: str
    type: str
    """text, bool, integer, number, object, or json for an object of any form; of each element,
    where it is a list."""
    bits: int
    """Of an integer."""
    repeated: bool
    presence: bool
    """Whether absent and 0 (or "") differ."""
    rules: Mapping[str, Any]
    """The ``buf.validate`` rules by their names."""
    values: tuple[Value, ...]
    """Of an enum; others are passed on."""
    parts: tuple["Field", ...]
    """Of an object."""
    comment: str
    secret: bool
    deprecated: bool
    wire: Mapping[str, Any]
    """The FieldSpec."""

    @property
    def required(self) -> bool:
        """Whether a message without the field is refused."""
        return bool(self.rules.get("required"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method, with all that its MethodSpec says."""

    name: str
    number: int
    message: str
    """The message's name without its package."""
    summary: str
    description: str
    spec: Mapping[str, Any]
    """The MethodSpec, its enums as words in lower case without their prefix."""
    deprecated: bool
    rules: Mapping[str, Any]
    """The ``buf.validate`` rules over several fields."""
    fields: tuple[Field, ...]
    answer: tuple[Field, ...]
    """What the reply carries beyond a result."""
    answer_description: str

    @property
    def domain(self) -> str:
        """The part of the system that the method belongs to."""
        return str(self.spec["domain"])

    @property
    def timeout_seconds(self) -> int:
        """Seconds to wait for an answer when the caller does not say."""
        return int(self.spec.get("default_timeout_seconds") or DEFAULT_TIMEOUT_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a device tells by itself."""

    name: str
    number: int
    message: str
    """The message's name without its package."""
    domain: str
    """As that of methods; ``general`` for what belongs to none."""
    summary: str
    description: str
    spec: Mapping[str, Any]
    """The EventSpec, its enums as words in lower case without their prefix."""
    fields: tuple[Field, ...]


class Schema:
    """A schema with its comments.

    Args:
        descriptor_set: A serialized FileDescriptorSet with all imports, and with source info.
    """

    def __init__(self, descriptor_set: bytes) -> None:
        pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
            pool.Add(file)
        # Read with the schema's own idea of its options.
        known = message_factory.GetMessageClass(
            pool.FindMessageTypeByName("google.protobuf.FileDescriptorSet")
        )
        self._extensions = {
            name: pool.FindExtensionByName(full_name) for name, full_name in _OPTIONS.items()
        }
        self._nodes: dict[str, Any] = {}
        self._comments: dict[str, str] = {}
        whole: Any = known.FromString(descriptor_set)
        for file in whole.file:
            self._index(file)
        arms = tuple(self._methods())
        self.methods = tuple(method for method in arms if method.spec)
        self.raw = tuple(method for method in arms if not method.spec)
        """The way round the schema: an arm that is no method itself."""
        self.events = tuple(self._events())

    def comment(self, full_name: str) -> str:
        """The comment of anything that has a name, as paragraphs."""
        return self._comments.get(full_name, "")

    def event(self, name: str) -> Event:
        """The event of that name; KeyError where there is none."""
        return {event.name: event for event in self.events}[name]

    def fields(self, message: str) -> tuple[Field, ...]:
        """The fields of any message by its full name, apart from the arms of a oneof."""
        return tuple(
            self._field(message, field)
            for field in self._nodes[message].field
            if field.proto3_optional or not field.HasField("oneof_index")
        )

    def values(self, enum: str) -> tuple[Value, ...]:
        """The values of an enum by its full name."""
        node = self._nodes[enum]
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", node.name).upper() + "_"
        scope = enum.rpartition(".")[0]
        return tuple(
            Value(one.name.removeprefix(prefix), one.number, self.comment(f"{scope}.{one.name}"))
            for one in node.value
        )

    def _index(self, file: Any) -> None:
        leading = {
            tuple(location.path): comments.prose(location.leading_comments)
            for location in file.source_code_info.location
            if location.leading_comments
        }
        for full_name, node, path in _walk(file, file.package, (), ("message_type", "enum_type")):
            self._nodes[full_name] = node
            self._comments[full_name] = leading.get(path, "")
        # The comment above `syntax` is the file's.
        self._comments[file.name] = leading.get((12,), "")

    def _methods(self) -> Iterator[Method]:
        replies = self._nodes.get(f"{VENDOR}.Reply")
        answers = {one.name: one.type_name[1:] for one in replies.field} if replies else {}
        for arm in self._nodes[f"{VENDOR}.Method"].field:
            full_name = arm.type_name.removeprefix(".")
            node = self._nodes[full_name]
            answer = answers.get(arm.name)
            description = self.comment(full_name).removeprefix(f"{arm.name}: ")
            yield Method(
                name=arm.name,
                number=arm.number,
                message=full_name.removeprefix(f"{VENDOR}."),
                summary=self.comment(f"{VENDOR}.Method.{arm.name}"),
                description=description[:1].upper() + description[1:],
                spec=self._option(node, "method_spec", words=True),
                deprecated=node.options.deprecated or arm.options.deprecated,
                rules=self._option(node, "message"),
                fields=self.fields(full_name),
                answer=self.fields(answer) if answer else (),
                answer_description=self.comment(answer) if answer else "",
            )

    def _events(self) -> Iterator[Event]:
        # The numbers of events come in the blocks of methods, one for each domain.
        domains = {method.number // 100: method.domain for method in self.methods}
        for arm in self._nodes[f"{VENDOR}.Event"].field:
            full_name = arm.type_name.removeprefix(".")
            description = self.comment(full_name).removeprefix(f"{arm.name}: ")
            yield Event(
                name=arm.name,
                number=arm.number,
                message=full_name.removeprefix(f"{VENDOR}."),
                domain=domains.get(arm.number // 100, "general"),
                summary=self.comment(f"{VENDOR}.Event.{arm.name}"),
                description=description[:1].upper() + description[1:],
                spec=self._option(self._nodes[full_name], "event_spec", words=True),
                fields=self.fields(full_name),
            )

    def _field(self, message: str, field: Any) -> Field:
        type_name = field.type_name.removeprefix(".")
        is_enum = field.type == _PROTO.TYPE_ENUM
        rules = self._option(field, "field")
        refused = rules.get("enum", {}).get("not_in", ())
        is_json = type_name == _STRUCT
        is_object = field.type == _PROTO.TYPE_MESSAGE and not is_json
        wire = self._option(field, "field_spec", words=True)
        comment = self.comment(f"{message}.{field.name}") or self.comment(type_name)
        return Field(
            name=field.name,
            type="json" if is_json else _TYPES[field.type],
            bits=64 if field.type == _PROTO.TYPE_INT64 else 32,
            repeated=field.label == _PROTO.LABEL_REPEATED,
            presence=field.proto3_optional or field.type == _PROTO.TYPE_MESSAGE,
            rules=rules,
            values=tuple(
                value
                for value in (self.values(type_name) if is_enum else ())
                if value.number not in refused
            ),
            parts=self.fields(type_name) if is_object else (),
            comment=" ".join(filter(None, (comment, _REACH.get(wire.get("device_naming", ""))))),
            secret=field.options.debug_redact,
            deprecated=field.options.deprecated,
            wire=wire,
        )

    def _option(self, node: Any, name: str, *, words: bool = False) -> dict[str, Any]:
        extension = self._extensions[name]
        if not node.options.HasExtension(extension):
            return {}
        return plain(node.options.Extensions[extension], words=words)


def plain(message: Message, *, words: bool = False) -> dict[str, Any]:
    """What is set in a message, by name; enums as words in lower case if they are wanted so."""
    values = {}
    for field, value in message.ListFields():
        one = _plain_value(field, words=words)
        values[field.name] = [one(part) for part in value] if field.is_repeated else one(value)
    return values


def _plain_value(field: Any, *, words: bool) -> Any:
    if field.message_type is not None:
        return lambda value: plain(value, words=words)
    if field.enum_type is None or not words:
        return lambda value: value
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", field.enum_type.name).upper() + "_"
    names = {value.number: value.name.removeprefix(prefix) for value in field.enum_type.values}
    return lambda value: names[value].lower()


_CHILDREN = {
    "message_type": (4, ("nested_type", "enum_type", "field")),
    "nested_type": (3, ("nested_type", "enum_type", "field")),
    "enum_type": (5, ("value",)),
    "field": (2, ()),
    "value": (2, ()),
}
_NESTED_ENUM = 4


def _walk(
    node: Any, scope: str, path: tuple[int, ...], kinds: tuple[str, ...]
) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    """Everything that has a name within a node: its full name, itself, its path in the file."""
    for kind in kinds:
        number, below = _CHILDREN[kind]
        if kind == "enum_type" and path:
            number = _NESTED_ENUM
        for index, child in enumerate(getattr(node, kind)):
            here = (*path, number, index)
            full_name = f"{scope}.{child.name}"
            yield full_name, child, here
            # The values of an enum stand beside it, as in C++.
            inner = scope if kind == "enum_type" else full_name
            yield from _walk(child, inner, here, below)
