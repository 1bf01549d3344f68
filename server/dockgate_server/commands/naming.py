"""Devices that the fields of a method name, beside the one to which the command goes.

Which fields those are is marked in the schema (``FieldSpec.device_naming``) and read once: a method
without any is not looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from dockgate.dji.v1 import options_pb2
from dockgate_server.codec import catalogue
from dockgate_server.devices.reach import Reach
from dockgate_server.errors import DockgateError, FieldViolation, Reason

_OURS = options_pb2.DESCRIPTOR.package


class Naming(NamedTuple):
    """A field that names a device."""

    steps: tuple[FieldDescriptor, ...]
    """The fields that lead to it from the method's message; itself the last."""
    form: "options_pb2.DeviceNaming.ValueType"


def _read(descriptor: Descriptor, steps: tuple[FieldDescriptor, ...] = ()) -> Iterator[Naming]:
    for field in descriptor.fields:
        form = field.GetOptions().Extensions[options_pb2.field_spec].device_naming
        if form:
            yield Naming((*steps, field), form)
        elif field.message_type is not None and field.message_type.file.package == _OURS:
            yield from _read(field.message_type, (*steps, field))


METHODS: Mapping[str, Sequence[Naming]] = {
    name: found
    for name, method in catalogue.METHODS.items()
    if (found := tuple(_read(method.descriptor)))
}
"""The methods that have such fields, and which."""


def check(reach: Reach, method: str, message: Message) -> None:
    """Refuse a message that names a device which its caller may not reach.

    Args:
        reach: What the caller may reach.
        method: One of :data:`METHODS`.
        message: What is to be sent.

    Raises:
        DockgateError: DEVICE_NOT_FOUND, also for another tenant's device; FORBIDDEN. The field is
            among the violations.
    """
    for steps, form in METHODS[method]:
        for path, text in _texts(message, steps, f"dji.{method}"):
            is_video = form == options_pb2.DEVICE_NAMING_VIDEO_ID
            serial_number = text.partition("/")[0] if is_video else text
            must_be_known = form == options_pb2.DEVICE_NAMING_SERIAL_NUMBER
            try:
                reach.check_serial_number(serial_number, must_be_known=must_be_known)
            except DockgateError as refused:
                is_forbidden = refused.reason is Reason.FORBIDDEN
                why = "out of reach" if is_forbidden else "not known"
                refused.violations = (FieldViolation(path, f"names a device that is {why}"),)
                raise


def _texts(
    message: Message, steps: Sequence[FieldDescriptor], above: str
) -> Iterator[tuple[str, str]]:
    """What stands in a field wherever it is set, each with its path."""
    field, *further = steps
    path, value = f"{above}.{field.name}", getattr(message, field.name)
    if not field.is_repeated:
        found = [(path, value)] if message.HasField(field.name) else []
    else:
        found = [(f"{path}[{place}]", one) for place, one in enumerate(value)]
    for where, one in found:
        if further:
            yield from _texts(one, further, where)
        elif one:
            yield where, one
