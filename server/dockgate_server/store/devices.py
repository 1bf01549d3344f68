"""What the gateway asks of a store about devices, whichever database is behind it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from dockgate_server.model.device import Device, Topology, Whereabouts


class DeviceStore(Protocol):
    """The record of every device."""

    async def list(self) -> Sequence[Device]:
        """Every device of every tenant."""

    async def whereabouts(self) -> Sequence[Whereabouts]:
        """Where every device was when it was last written down."""

    def save_topology(self, tenant: str, topology: Topology) -> asyncio.Future[None]:
        """Remember a gateway device and what is connected to it.

        What it does not name any more stays known, as it will come back to the same dock.
        """

    def register(self, device: Device) -> asyncio.Future[None]:
        """Remember a device's alias, gateway and tenant; the alias is taken from any other."""

    def remove(self, serial_number: str) -> asyncio.Future[None]:
        """Forget a device."""

    def note_whereabouts(self, found: Iterable[Whereabouts]) -> asyncio.Future[None]:
        """Write down where devices are; those that are not known are left out."""
