"""Devices and the gateway devices by which they are reached."""

import re
from dataclasses import dataclass

SERIAL_NUMBER = re.compile(r"[^/+#\s\x00-\x1f\x7f]{1,64}")
"""What may stand as one level of an MQTT topic: the shape of every device id."""


@dataclass(frozen=True, slots=True)
class Device:
    """A dock, drone or remote controller that the gateway can reach.

    A gateway device (dock, remote controller) is its own gateway.
    """

    tenant: str
    id: str
    gateway_id: str
    model: str = ""
    """DJI's ``{domain}-{type}-{sub_type}``, e.g. "3-2-0" for a Dock 2; empty when not known."""


@dataclass(frozen=True, slots=True)
class Topology:
    """What a gateway device says of itself and of the devices connected to it."""

    gateway_id: str
    gateway_model: str
    sub_devices: tuple[tuple[str, str], ...]
    """Serial number and model of each."""
    seen_at: int
