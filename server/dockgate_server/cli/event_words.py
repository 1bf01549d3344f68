"""Events of devices in words, for people."""

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dockgate.downlink.v1 import device_pb2
from dockgate_server.cli import render
from dockgate_server.codec import enums, error_codes, job_words

_SHOWN = 3
"""Elements of a list that are shown; of the others only how many there are."""

_FIRST = ("status", "percent")
"""What a reader looks for."""

_Step = Callable[[str], str]
"""Gives the meaning of a step's number."""


def told(event: device_pb2.DeviceEvent, model_of: Callable[[str], str]) -> str:
    """What an event says: its fields in words where the schema knows it, its JSON otherwise.

    Args:
        event: The event.
        model_of: Gives the model of a gateway device, "" where it is not known. Asked only where
            the meaning of a number may depend on it.
    """
    arm = event.dji.WhichOneof("event")
    fields = list(_fields(getattr(event.dji, arm))) if arm else []
    if not fields:
        return render.dumps(render.plain(event.data))
    fields.sort(key=lambda one: one[0].name not in _FIRST)

    def step(number: str) -> str:
        return job_words.step_of_event(event.method, number, model_of(event.gateway_id))

    words = (_words(field, value, step) for field, value in fields)
    return ", ".join(filter(None, words))


def _fields(message: Message) -> Iterator[tuple[FieldDescriptor, Any]]:
    """Those that are set; those of a part as if they were the message's own."""
    for field, value in message.ListFields():
        if isinstance(value, Message):
            yield from _fields(value)
        else:
            yield field, value


def _words(field: FieldDescriptor, value: Any, step: _Step) -> str:
    """A field with its name, or what it means; "" where it says nothing."""
    if field.is_repeated:
        shown = " ".join(_element(field, one, step) for one in value[:_SHOWN])
        return f"{field.name} {shown}" + (f" … {len(value)} in all" if len(value) > _SHOWN else "")
    match field.name:
        case "percent":
            return f"{value} %"
        case "status":
            return str(value)
        case "result":
            meaning = error_codes.label(value) or error_codes.UNLISTED
            return f"result {value}: {meaning}" if value else ""
        case "current_step":
            meaning = step(str(value))
            return f"step {value}: {meaning}" if meaning else f"step {value}"
    return "" if value == "" else f"{field.name} {_value(field, value)}"


def _element(field: FieldDescriptor, one: Any, step: _Step) -> str:
    if not isinstance(one, Message):
        return _value(field, one)
    words = (_words(part, value, step) for part, value in _fields(one))
    return f"({', '.join(filter(None, words))})"


def _value(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type is not None:
        return str(enums.name(field.enum_type, value)).lower().replace("_", " ")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.9g}" if isinstance(value, float) else str(value)
