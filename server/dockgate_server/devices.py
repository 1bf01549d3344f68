"""Which devices there are, and by which gateway device each is reached.

Learnt from the topology that docks and remote controllers announce (``update_topo``), seeded by
the configuration, remembered by the store. A device under two gateways belongs to the one whose
topology came last.
"""

import asyncio
from collections.abc import Iterable, Mapping

from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.device import SERIAL_NUMBER, Device, Topology
from dockgate_server.store.interface import Store


class Registry:
    """The devices that can be reached now."""

    def __init__(self, store: Store, seeds: Iterable[Device] = ()) -> None:
        self._store = store
        self._devices: dict[tuple[str, str], Device] = {}
        for device in seeds:
            self._put(device)

    async def load(self) -> None:
        """Take over what the store remembers; it overrules the seeds."""
        for device in await self._store.list_devices():
            self._put(device)

    def resolve(self, tenant: str, device_id: str) -> Device:
        """The device, with the gateway by which it is reached.

        Raises:
            DockgateError: DEVICE_NOT_FOUND, also for another tenant's device.
        """
        device = self._devices.get((tenant, device_id))
        if device is None:
            raise DockgateError(
                Reason.DEVICE_NOT_FOUND,
                f"no device {device_id!r} is known; a device becomes known when its dock or "
                "remote controller announces it, or by the configuration",
                metadata={"device_id": device_id},
            )
        return device

    def learn(self, topology: Topology) -> asyncio.Future[None]:
        """Remember a topology; commands can go to its devices when the future resolves."""
        saving = self._store.save_topology(DEFAULT_TENANT, topology)
        saving.add_done_callback(lambda saved: self._learnt(topology, saved))
        return saving

    @staticmethod
    def read_topology(gateway_id: str, data: object, seen_at: int) -> Topology | None:
        """The topology that the ``data`` of an update_topo holds; None when there is none.

        Source: DJI's device page. A drone that is away leaves ``sub_devices`` empty and stays
        known, as it will come back to the same dock.
        """
        if not isinstance(data, Mapping) or not SERIAL_NUMBER.fullmatch(gateway_id):
            return None
        listed = data.get("sub_devices")
        found = []
        for one in listed if isinstance(listed, list) else ():
            serial_number = one.get("sn") if isinstance(one, Mapping) else None
            if isinstance(serial_number, str) and SERIAL_NUMBER.fullmatch(serial_number):
                found.append((serial_number, _model(one)))
        return Topology(gateway_id, _model(data), tuple(found), seen_at)

    def _learnt(self, topology: Topology, saved: "asyncio.Future[None]") -> None:
        if saved.cancelled() or saved.exception() is not None:
            return
        members = ((topology.gateway_id, topology.gateway_model), *topology.sub_devices)
        for serial_number, model in members:
            self._put(Device(DEFAULT_TENANT, serial_number, topology.gateway_id, model))

    def _put(self, device: Device) -> None:
        self._devices[device.tenant, device.id] = device


def _model(data: Mapping[str, object]) -> str:
    parts = [data.get(name) for name in ("domain", "type", "sub_type")]
    return "-".join(str(p) for p in parts) if all(isinstance(p, int | str) for p in parts) else ""
