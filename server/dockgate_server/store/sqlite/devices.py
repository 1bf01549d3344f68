"""Devices in SQLite."""

import asyncio
from collections.abc import Iterable, Sequence

from dockgate_server.model.audit import Entry
from dockgate_server.model.device import Device, Presence, Topology, Whereabouts
from dockgate_server.store.sqlite.audit import SqliteAudit
from dockgate_server.store.sqlite.database import Database
from dockgate_server.store.sqlite.queries import DEVICES
from dockgate_server.store.sqlite.transaction import Transaction


class SqliteDevices:
    """See :class:`~dockgate_server.store.devices.DeviceStore`."""

    def __init__(self, database: Database, audit: SqliteAudit) -> None:
        self._db = database
        self._audit = audit

    async def list(self) -> Sequence[Device]:
        """See :class:`~dockgate_server.store.devices.DeviceStore`."""
        return [_device(*row) for row in await self._db.all(DEVICES["list_devices"], {})]

    async def whereabouts(self) -> Sequence[Whereabouts]:
        """See :class:`~dockgate_server.store.devices.DeviceStore`."""
        rows = await self._db.all(DEVICES["list_whereabouts"], {})
        return [Whereabouts(row[0], Presence(row[1]), row[2]) for row in rows]

    def save_topology(self, tenant: str, topology: Topology) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.devices.DeviceStore`."""

        def change(tx: Transaction) -> None:
            tx.db.execute(DEVICES["unlist_sub_devices"], {"gateway_id": topology.gateway_id})
            for serial_number, model in topology.members:
                values = {
                    "id": serial_number,
                    "tenant": tenant,
                    "gateway_id": topology.gateway_id,
                    "model": model,
                    "seen_at": topology.seen_at,
                }
                tx.db.execute(DEVICES["put_device"], values)

        return self._db.submit(change)

    def register(self, device: Device, audit: Entry | None = None) -> asyncio.Future[bool]:
        """See :class:`~dockgate_server.store.devices.DeviceStore`."""
        values = _values(device)

        def change(tx: Transaction) -> bool:
            # Looked at here and not before: two tenants may ask for the same device at once.
            if tx.db.execute(DEVICES["taken"], values).fetchone() is not None:
                return False
            for query in ("claim_gateway", "free_alias", "register_device"):
                tx.db.execute(DEVICES[query], values)
            return True

        return self._db.submit(self._audit.recorded(change, audit))

    def assign(self, devices: Iterable[Device]) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.devices.DeviceStore`."""
        values = [_values(device) for device in devices]

        def change(tx: Transaction) -> None:
            # Each by its own line comes last: it counts more than what its gateway is.
            tx.db.executemany(DEVICES["follow_gateway"], values)
            tx.db.executemany(DEVICES["assign_tenant"], values)

        return self._db.submit(change)

    def remove(self, serial_number: str, audit: Entry | None = None) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.devices.DeviceStore`."""

        def change(tx: Transaction) -> None:
            tx.db.execute(DEVICES["remove_device"], {"id": serial_number})
            self._audit.append(tx, audit)

        return self._db.submit(change)

    def note_whereabouts(self, found: Iterable[Whereabouts]) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.devices.DeviceStore`."""
        values = [
            {"id": one.id, "presence": one.presence, "heard_at": one.heard_at} for one in found
        ]
        return self._db.execute(DEVICES["note_whereabouts"], *values)


def _values(device: Device) -> dict[str, str | None]:
    return {name: getattr(device, name) for name in ("id", "tenant", "gateway_id", "alias")}


def _device(
    tenant: str,
    serial_number: str,
    gateway_id: str,
    model: str,
    alias: str | None,
    callsign: str,
    listed: int,
) -> Device:
    return Device(tenant, serial_number, gateway_id, model, alias, callsign, bool(listed))
