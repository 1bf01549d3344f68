"""From events of devices to the messages of ``dockgate.downlink.v1``."""

import functools
from typing import Any

import orjson
from google.protobuf import struct_pb2

from dockgate.downlink.v1 import device_pb2
from dockgate_server.codec import device_events
from dockgate_server.model.event import DeviceEvent
from dockgate_server.rpc.convert import timestamp

_SHARED_EVENTS = 512
"""Watchers that keep up are within so many events of each other, and share the messages."""

_SHARED_BYTES = 4096
"""The data of larger events is not kept in memory."""


def fill(of: DeviceEvent, cursor: str, message: device_pb2.DeviceEvent) -> None:
    """Write an event as callers see it into an empty message."""
    message.CopyFrom(_shared(of) if len(of.data) <= _SHARED_BYTES else _message(of))
    message.cursor = cursor


def _message(of: DeviceEvent) -> device_pb2.DeviceEvent:
    message = device_pb2.DeviceEvent(
        gateway_id=of.gateway_id,
        method=of.method,
        tid=of.tid,
        bid=of.bid,
        need_reply=of.need_reply,
        received_at=timestamp(of.received_at),
    )
    data = orjson.loads(of.data)
    _fill_value(data, message.data)
    device_events.fill(of.method, data, message.dji)  # reading `dji` does not set it
    return message


_shared = functools.lru_cache(_SHARED_EVENTS)(_message)
"""The same, made once for all who watch. Not to be changed."""


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
