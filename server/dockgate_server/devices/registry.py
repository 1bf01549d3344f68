"""Which devices there are, and by which gateway device each is reached.

Learnt from the topology that docks and remote controllers announce (``update_topo``), seeded by
the configuration, registered by callers, remembered by the store. A device under two gateways
belongs to the one whose topology came last.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import structlog

from dockgate_server.devices.feed import DeviceFeed
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.audit import Entry
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.device import Device, DeviceKind, Presence, Topology
from dockgate_server.store.devices import DeviceStore

_log = structlog.get_logger(__name__)

_GATEWAYS = (DeviceKind.DOCK, DeviceKind.REMOTE_CONTROLLER)
_MOST_OF_ONE_GATEWAY = 100
"""Devices that one has ever named, itself among them; RemoveDevice makes room."""

_NOBODY: frozenset[str] = frozenset()

T = TypeVar("T")


class Registry:
    """The devices that can be reached now.

    Args:
        store: Remembers them.
        presence: Knows which are there.
        seeds: Devices that are known before they announce themselves.
        assigned: Those of them, or others, whose tenant is decided by the configuration.
    """

    def __init__(
        self,
        store: DeviceStore,
        presence: PresenceBook,
        seeds: Iterable[Device] = (),
        assigned: Iterable[Device] = (),
    ) -> None:
        self._store = store
        self._presence = presence
        self._assigned = tuple(assigned)
        # A gateway device is of its devices' tenant, but for one that has a line of its own.
        self._reserved = {one.gateway_id: one.tenant for one in self._assigned}
        self._reserved |= {one.id: one.tenant for one in self._assigned}
        self.feed = DeviceFeed()
        """Wakes those who watch devices."""
        self._devices: dict[str, Device] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._sub_devices: dict[str, set[str]] = {}  # by gateway, for its comings and goings
        self._aircraft: dict[str, frozenset[str]] = {}  # by gateway, as it named them last
        self._being_saved: dict[str, Counter[str]] = {}  # by gateway, of topologies under way
        for device in seeds:
            self._put(device)
        presence.listen(self._presence_changed)

    async def load(self) -> None:
        """Take over what the store remembers; it overrules the seeds, but not their tenants."""
        if self._assigned:
            # Stored, as what devices say is recorded for the tenant that the store knows.
            gateways = {one.gateway_id: one.tenant for one in self._assigned}
            implied = [Device(tenant, one, one) for one, tenant in gateways.items()]
            await self._store.assign([*implied, *self._assigned])
        for device in await self._store.list():
            self._put(device)
            if device.listed and device.kind is DeviceKind.AIRCRAFT:
                there = self.aircraft_at(device.gateway_id)
                self._aircraft[device.gateway_id] = there | {device.id}
        self._presence.load(await self._store.whereabouts())

    def resolve(self, tenant: str, device_id: str) -> Device:
        """The device of that alias or serial number.

        Raises:
            DockgateError: DEVICE_NOT_FOUND, also for another tenant's device.
        """
        device = self.find(tenant, device_id)
        if device is None:
            raise unknown_device(device_id)
        return device

    def find(self, tenant: str, device_id: str) -> Device | None:
        """The device of that alias or serial number; None also for another tenant's.

        An alias was given by somebody who may; a serial number is what a device says of itself.
        So one that turns up under the alias of another does not get its commands.
        """
        device = self._devices.get(self._aliases.get((tenant, device_id), device_id))
        return device if device is not None and self.belongs(device, tenant) else None

    def belongs(self, device: Device, tenant: str) -> bool:
        """Whether the device is a tenant's, and so is the gateway device that it is reached by.

        A dock that was removed may have become another tenant's: its drone has not been told.
        """
        gateway = self._devices.get(device.gateway_id)
        return device.tenant == tenant and (gateway is None or gateway.tenant == tenant)

    def knows(self, serial_number: str) -> bool:
        """Whether there is such a device, whosever it is."""
        return serial_number in self._devices

    def get(self, serial_number: str) -> Device | None:
        """The device of a serial number, whosever it is."""
        return self._devices.get(serial_number)

    def list(self, tenant: str, gateway_id: str = "") -> list[Device]:
        """The tenant's devices, or those of one gateway device, in the order of their places."""
        found = (
            device
            for device in self._devices.values()
            if gateway_id in ("", device.gateway_id) and self.belongs(device, tenant)
        )
        return sorted(found, key=lambda device: device.place)

    def aircraft_at(self, gateway_id: str) -> frozenset[str]:
        """The aircraft that the gateway device's latest topology names, whosever they are."""
        return self._aircraft.get(gateway_id, _NOBODY)

    def forget_aircraft(self) -> None:
        """Topologies may have been missed: which drone is where is not known until the next ones.

        What a gateway device says otherwise shows that it is there, but not which drone is.
        """
        self._aircraft.clear()
        self.feed.changed()

    def presence(self, device: Device) -> Presence:
        """Whether the device can be reached: a drone is away when its dock no longer names it."""
        there = self._presence.of(device.gateway_id)
        return Presence.OFFLINE if there is Presence.ONLINE and not device.listed else there

    def heard_at(self, device: Device) -> int | None:
        """When the device itself was last heard of, or named by its gateway device; else None."""
        return self._presence.heard_at(device.id)

    def learn(self, topology: Topology) -> asyncio.Future[None]:
        """Remember a topology; commands can go to its devices when the future resolves.

        What has announced itself as a dock or remote controller is nobody's sub-device: whoever
        names it as one would be sent its commands. Nor does a device that makes up names fill the
        memory.
        """
        topology = self._believable(topology)
        saving = self._store.save_topology(self._tenant_of(topology.gateway_id), topology)
        self._await_saving(saving, topology)
        return _then(saving, lambda: self._learnt(topology))

    async def register(self, device: Device, audit: Entry | None = None) -> None:
        """Remember a device by its alias and gateway.

        Both become its tenant's when they are not known.

        Raises:
            DockgateError: DEVICE_NOT_FOUND, as one of them is another tenant's; UNAVAILABLE.
        """
        for serial_number in (device.id, device.gateway_id):
            known = self._devices.get(serial_number)
            tenant = self._reserved.get(serial_number) if known is None else known.tenant
            if tenant not in (None, device.tenant):
                raise unknown_device(serial_number)
        registering = self._store.register(device, audit)
        if not await _then(registering, lambda: self._registered(device, registering.result())):
            # Another tenant was a moment faster.
            raise unknown_device(device.id)

    def remove(self, device: Device, audit: Entry | None = None) -> asyncio.Future[None]:
        """Forget a device."""
        return _then(self._store.remove(device.id, audit), lambda: self._removed(device))

    def bound(self, gateway_id: str, callsigns: Mapping[str, str]) -> None:
        """Take note that devices were bound to an organisation, by the wish of a gateway device.

        The store knows it already; a drone that is not known yet will be announced.
        """
        tenant = self._tenant_of(gateway_id)
        for serial_number, callsign in callsigns.items():
            listed = serial_number == gateway_id
            new = Device(tenant, serial_number, gateway_id, listed=listed)
            known = self._devices.get(serial_number, new)
            self._put(replace(known, callsign=callsign))
        self.feed.changed(*callsigns)

    def _believable(self, topology: Topology) -> Topology:
        # Many topologies may come before the first one is saved.
        soon = self._being_saved.get(topology.gateway_id, Counter())
        room = _MOST_OF_ONE_GATEWAY - len(
            self._sub_devices.get(topology.gateway_id, set()).union(soon)
        )
        taken, refused = [], []
        for serial_number, model in topology.sub_devices:
            known = self._devices.get(serial_number)
            is_new = known is None and serial_number not in soon
            if room <= 0 if is_new else known is not None and _is_gateway(known):
                refused.append(serial_number)
            else:
                taken.append((serial_number, model))
                room -= is_new
        if refused:
            by = topology.gateway_id
            _log.warning(
                "sub_devices_not_believed", gateway=by, count=len(refused), first=refused[0]
            )
        return replace(topology, sub_devices=tuple(taken))

    def _await_saving(self, saving: "asyncio.Future[None]", topology: Topology) -> None:
        """Count what a topology names until it is saved, or could not be."""
        gateway_id = topology.gateway_id
        named = Counter(serial_number for serial_number, _ in topology.members)
        self._being_saved[gateway_id] = self._being_saved.get(gateway_id, Counter()) + named

        def over(_: object) -> None:
            if left := self._being_saved[gateway_id] - named:
                self._being_saved[gateway_id] = left
            else:
                del self._being_saved[gateway_id]

        saving.add_done_callback(over)

    def _learnt(self, topology: Topology) -> None:
        gateway_id = topology.gateway_id
        tenant = self._tenant_of(gateway_id)
        self._aircraft[gateway_id] = topology.aircraft
        changed = set()
        for serial_number in self._sub_devices.get(gateway_id, set()) - {gateway_id}:
            self._devices[serial_number] = replace(self._devices[serial_number], listed=False)
            changed.add(serial_number)
        for serial_number, model in topology.members:
            known = self._devices.get(serial_number, Device(tenant, serial_number, gateway_id))
            # The store decides in the same way.
            if known.tenant != tenant:
                if known.gateway_id != gateway_id:
                    about = {"gateway": gateway_id, "device": serial_number}
                    _log.warning("device_of_another_tenant", **about)
                    continue
                known = replace(known, tenant=tenant, alias=None)
            self._put(replace(known, gateway_id=gateway_id, model=model, listed=True))
            if serial_number != gateway_id:
                self._presence.named(serial_number, topology.seen_at)
            changed.add(serial_number)
        self.feed.changed(*changed)

    def _tenant_of(self, gateway_id: str) -> str:
        """Whose a gateway device is, or will be when it announces itself."""
        gateway = self._devices.get(gateway_id)
        if gateway is None:
            return self._reserved.get(gateway_id, DEFAULT_TENANT)
        return gateway.tenant

    def _registered(self, device: Device, is_ours: bool) -> None:
        if not is_ours:
            return
        if device.gateway_id not in self._devices:
            self._put(Device(device.tenant, device.gateway_id, device.gateway_id))
            self.feed.changed(device.gateway_id)
        before = self._aliases.get((device.tenant, device.name))
        if before is not None and before != device.id:
            self._put(replace(self._devices[before], alias=None))
            self.feed.changed(before)
        known = self._devices.get(device.id, device)
        # A gateway device that it is new under has not named it yet.
        listed = known.listed and device.gateway_id in (device.id, known.gateway_id)
        moved = replace(known, gateway_id=device.gateway_id, alias=device.alias, listed=listed)
        self._put(moved)
        self.feed.changed(device.id)

    def _removed(self, device: Device) -> None:
        self._take_out(device.id)
        self._aircraft.pop(device.id, None)
        self.feed.forget(device.id)
        self.feed.changed(device.id)

    def _put(self, device: Device) -> None:
        self._take_out(device.id)
        self._devices[device.id] = device
        self._sub_devices.setdefault(device.gateway_id, set()).add(device.id)
        if device.alias is not None:
            self._aliases[device.tenant, device.alias] = device.id

    def _take_out(self, serial_number: str) -> None:
        device = self._devices.pop(serial_number, None)
        if device is None:
            return
        self._sub_devices[device.gateway_id].discard(serial_number)
        if device.alias is not None and self._aliases.get((device.tenant, device.alias)) == (
            serial_number
        ):
            del self._aliases[device.tenant, device.alias]

    def _presence_changed(self, serial_number: str, presence: Presence) -> None:
        self.feed.changed(serial_number, *self._sub_devices.get(serial_number, ()))


def unknown_device(device_id: str) -> DockgateError:
    """There is no such device, or it is another tenant's: to a caller that is the same."""
    return DockgateError(
        Reason.DEVICE_NOT_FOUND,
        f"no device {device_id!r} is known; a device becomes known when its dock or "
        "remote controller announces it, by the configuration, or by RegisterDevice",
        metadata={"device_id": device_id},
    )


def _is_gateway(device: Device) -> bool:
    return device.id == device.gateway_id and device.kind in _GATEWAYS


def _then(asked: "asyncio.Future[T]", action: Callable[[], None]) -> "asyncio.Future[T]":
    """Do something when the store has done its part, before anybody else hears of it."""

    def done(asked: "asyncio.Future[T]") -> None:
        if not asked.cancelled() and asked.exception() is None:
            action()

    asked.add_done_callback(done)
    return asked
