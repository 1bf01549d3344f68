"""What the gateway asks of a store about devices, whichever database is behind it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from dockgate_server.model.audit import Entry
from dockgate_server.model.device import Device, Topology, Whereabouts


class DeviceStore(Protocol):
    """The record of every device.

    A change that a caller asks for is given what the audit log says of it, in one transaction.
    """

    async def list(self) -> Sequence[Device]:
        """Every device of every tenant."""

    async def whereabouts(self) -> Sequence[Whereabouts]:
        """Where every device was when it was last written down."""

    def save_topology(self, tenant: str, topology: Topology) -> asyncio.Future[None]:
        """Remember a gateway device and what is connected to it.

        A gateway device that is not known becomes the tenant's. What is connected is of the same
        tenant as it; a device of another one is left alone, unless it was under this gateway
        already. What it does not name any more stays known, as it will come back to the same dock.
        """

    def register(self, device: Device, audit: Entry | None = None) -> asyncio.Future[bool]:
        """Remember a device's alias and gateway; the alias is taken from any other.

        A device and a gateway device that are not known become its tenant's. False, and nothing is
        changed, when one of them is another's.
        """

    def assign(self, devices: Iterable[Device]) -> asyncio.Future[None]:
        """Have devices belong to their tenants, and what is connected to them as well.

        One that comes to another tenant loses its alias.
        """

    def remove(self, serial_number: str, audit: Entry | None = None) -> asyncio.Future[None]:
        """Forget a device."""

    def note_whereabouts(self, found: Iterable[Whereabouts]) -> asyncio.Future[None]:
        """Write down where devices are; those that are not known are left out."""
