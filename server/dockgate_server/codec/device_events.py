"""Events of devices as typed messages, for those that the schema knows."""

from collections.abc import Mapping
from typing import Any

from dockgate.dji.v1 import event_pb2, options_pb2
from dockgate_server.codec import catalogue, dji_json

_WHOLE: Mapping[str, str] = {
    event: field.name
    for event, descriptor in catalogue.EVENTS.items()
    for field in descriptor.fields
    if field.GetOptions().Extensions[options_pb2.field_spec].whole_data
}
"""The events whose ``data`` is a list, and how the schema calls it."""


def fill(event: str, data: object, message: event_pb2.Event) -> None:
    """Set the arm of an event in an empty message, as far as its ``data`` fits.

    An event that the schema does not know, or whose data has another form altogether, leaves the
    message as it is.
    """
    descriptor = catalogue.EVENTS.get(event)
    if descriptor is None:
        return
    if event in _WHOLE and isinstance(data, list):
        data = {_WHOLE[event]: data}
    if not isinstance(data, dict):
        return
    part = getattr(message, event)
    part.SetInParent()
    dji_json.read_tolerantly(
        _wrapped(data) if "output" in descriptor.fields_by_name else data, part
    )


def _wrapped(data: dict[str, Any]) -> dict[str, Any]:
    """With an ``output``: some of DJI's tables leave out what its examples and devices have."""
    return data if isinstance(data.get("output"), dict) else {**data, "output": data}
