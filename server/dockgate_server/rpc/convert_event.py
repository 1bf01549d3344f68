"""From events of devices to the messages of ``dockgate.downlink.v1``."""

from typing import Any

import orjson
from google.protobuf import struct_pb2

from dockgate.downlink.v1 import device_pb2
from dockgate_server.model.event import DeviceEvent


def fill(of: DeviceEvent, cursor: str, message: device_pb2.DeviceEvent) -> None:
    """Write an event as callers see it into an empty message."""
    message.cursor = cursor
    message.gateway_id = of.gateway_id
    message.method = of.method
    message.tid = of.tid
    message.bid = of.bid
    message.need_reply = of.need_reply
    seconds, rest = divmod(of.received_at, 1000)
    message.received_at.seconds, message.received_at.nanos = seconds, rest * 1_000_000
    _fill_value(orjson.loads(of.data), message.data)


def _fill_value(value: Any, message: struct_pb2.Value) -> None:
    """What ``json_format.ParseDict`` does, at half the cost: events come in storms."""
    match value:
        case None:
            message.null_value = struct_pb2.NULL_VALUE
        case bool():
            message.bool_value = value
        case int() | float():
            message.number_value = value
        case str():
            message.string_value = value
        case list():
            message.list_value.SetInParent()
            for one in value:
                _fill_value(one, message.list_value.values.add())
        case _:
            message.struct_value.SetInParent()
            for name, one in value.items():
                _fill_value(one, message.struct_value.fields[name])
