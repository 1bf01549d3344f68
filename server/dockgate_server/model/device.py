"""Devices, the gateway devices by which they are reached, and what they say of themselves."""

import enum
import re
from dataclasses import dataclass

SERIAL_NUMBER = re.compile(
    r"[\u0021\u0022$-*,-.0-~\u00a1-\u167f\u1681-\u1fff\u2010-\u2027\u2030-\u205e\u2070-\u2fff"
    r"\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufefe\uff01-\uffef]{1,64}"
)
"""What may stand as one level of an MQTT topic: the shape of every device id, as in the schema. A
broker ends the connection, and everybody's commands with it, for a topic with characters that
control something or are none; so what cannot be seen is left out altogether."""


class Presence(enum.StrEnum):
    """What is known of a device's whereabouts."""

    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"
    UNKNOWN = "UNKNOWN"


class DeviceKind(enum.StrEnum):
    """What a device is: DJI's domains."""

    AIRCRAFT = "AIRCRAFT"
    PAYLOAD = "PAYLOAD"
    REMOTE_CONTROLLER = "REMOTE_CONTROLLER"
    DOCK = "DOCK"


_DOMAINS = {
    "0": DeviceKind.AIRCRAFT,
    "1": DeviceKind.PAYLOAD,
    "2": DeviceKind.REMOTE_CONTROLLER,
    "3": DeviceKind.DOCK,
}


@dataclass(frozen=True, slots=True)
class Device:
    """A dock, drone or remote controller that the gateway can reach.

    A gateway device (dock, remote controller) is its own gateway.
    """

    tenant: str
    id: str
    """The serial number."""
    gateway_id: str
    model: str = ""
    """DJI's ``{domain}-{type}-{sub_type}``, e.g. "3-2-0" for a Dock 2; empty when not known."""
    alias: str | None = None
    """How callers name it, where that is not its serial number."""
    callsign: str = ""
    """The name it was given when it was bound to an organisation."""
    listed: bool = True
    """Whether the latest topology of its gateway device names it."""

    @property
    def name(self) -> str:
        """How callers name it."""
        return self.alias or self.id

    @property
    def place(self) -> tuple[str, str]:
        """Where it stands in a list: by its name, which may also be the number of another one."""
        return self.name, self.id

    @property
    def kind(self) -> DeviceKind | None:
        """What it is; None while its model is not known."""
        return _kind(self.model)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a gateway device was when it was last written down."""

    id: str
    presence: Presence
    heard_at: int | None


@dataclass(frozen=True, slots=True)
class Topology:
    """What a gateway device says of itself and of the devices connected to it."""

    gateway_id: str
    gateway_model: str
    sub_devices: tuple[tuple[str, str], ...]
    """Serial number and model of each."""
    seen_at: int

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """The gateway device and its sub-devices."""
        return ((self.gateway_id, self.gateway_model), *self.sub_devices)

    @property
    def aircraft(self) -> frozenset[str]:
        """The serial numbers of the sub-devices that are known to be aircraft."""
        found = (one for one, model in self.sub_devices if _kind(model) is DeviceKind.AIRCRAFT)
        return frozenset(found)


def _kind(model: str) -> DeviceKind | None:
    return _DOMAINS.get(model.partition("-")[0])
