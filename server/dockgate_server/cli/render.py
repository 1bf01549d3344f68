"""Messages of the API as JSON: the one form in which ``--json`` prints them."""

import base64
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from google.protobuf import struct_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dockgate_server.codec import enums

_LARGEST_EXACT = 2**53


def print_json(document: Mapping[str, Any]) -> None:
    """Write one document to standard output, on a line of its own."""
    sys.stdout.write(dumps(document) + "\n")
    sys.stdout.flush()


def dumps(value: object) -> str:
    """JSON in one line."""
    return orjson.dumps(value).decode()


def to_json(message: Message) -> dict[str, Any]:
    """A message as a JSON object: what is set, by the schema's names, in its order."""
    result: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.is_repeated:
            result[field.name] = [_value(field, one) for one in value]
        else:
            result[field.name] = _value(field, value)
    return result


def rfc3339(at_ms: int) -> str:
    """A time as the API's JSON has it."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, timestamp_pb2.Timestamp):
        return rfc3339(value.ToMilliseconds())
    if isinstance(value, struct_pb2.Struct | struct_pb2.Value):
        return plain(value)
    if isinstance(value, Message):
        return to_json(value)
    if field.enum_type is not None:
        return enums.name(field.enum_type, value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()  # as in the JSON of protobuf
    return value


def plain(value: struct_pb2.Struct | struct_pb2.Value) -> Any:
    """The JSON that a Struct or Value stands for, integers as integers."""
    if isinstance(value, struct_pb2.Struct):
        return {name: plain(one) for name, one in value.fields.items()}
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return plain(value.struct_value)
    if kind == "list_value":
        return [plain(one) for one in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        # A Struct knows doubles only; the device wrote 0, not 0.0.
        exact = number.is_integer() and abs(number) <= _LARGEST_EXACT
        return int(number) if exact else number
    return None if kind in (None, "null_value") else getattr(value, kind)
