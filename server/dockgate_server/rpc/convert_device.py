"""From devices to the messages of ``dockgate.downlink.v1``."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2

from dockgate.downlink.v1 import device_pb2
from dockgate_server.devices import models
from dockgate_server.devices.state import State
from dockgate_server.fleet import Seen
from dockgate_server.model.reply import as_integer
from dockgate_server.rpc.convert import struct_of, timestamp

_HIDDEN = frozenset({"device_secret", "nonce", "app_key", "app_license"})
"""Members of a state that are nobody's business, should a device ever report them."""


def device(of: Seen) -> device_pb2.Device:
    """A device as callers see it."""
    found = of.device
    message = device_pb2.Device(
        device_id=found.name,
        serial_number=found.id,
        gateway_id=found.gateway_id,
        model=found.model,
        model_name=models.name(found.model),
        callsign=found.callsign,
        presence=device_pb2.Presence.Value(f"PRESENCE_{of.presence}"),
        last_seen_at=timestamp(of.heard_at),
    )
    if found.kind is not None:
        message.kind = device_pb2.DeviceKind.Value(f"DEVICE_KIND_{found.kind}")
    if of.state is not None:
        message.state.CopyFrom(_state(of.state))
    return message


def _state(of: State) -> device_pb2.DeviceState:
    """The summary, from whichever member of the state has it, and everything as it was written."""
    osd, reported = of.osd, of.reported
    return device_pb2.DeviceState(
        mode_code=_int32(osd.get("mode_code", reported.get("mode_code"))),
        cover_state=_int32(osd.get("cover_state")),
        drone_in_dock=_bool(osd.get("drone_in_dock")),
        battery_percent=_battery(osd),
        latitude=_number(osd.get("latitude")),
        longitude=_number(osd.get("longitude")),
        height=_number(osd.get("height")),
        elevation=_number(osd.get("elevation")),
        updated_at=timestamp(of.updated_at),
        osd=_struct(osd),
        reported=_struct(reported),
    )


def _battery(osd: Mapping[str, Any]) -> int | None:
    """A drone has its own battery; a dock tells of the drone's that it charges."""
    for member in ("battery", "drone_charge_state"):
        value = osd.get(member)
        if isinstance(value, Mapping) and "capacity_percent" in value:
            return _int32(value["capacity_percent"])
    return None


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    return struct_of({name: value for name, value in values.items() if name not in _HIDDEN})


def _int32(value: object) -> int | None:
    number = as_integer(value)
    return number if number is not None and -(2**31) <= number < 2**31 else None


def _bool(value: object) -> bool | None:
    number = as_integer(value)
    return value if isinstance(value, bool) else None if number is None else number != 0


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]
