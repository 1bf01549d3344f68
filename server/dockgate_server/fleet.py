"""The use cases about devices: which there are, how they are, what they are called."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate_server import asking, errors
from dockgate_server.clock import Clock, SystemClock
from dockgate_server.codec import cursor
from dockgate_server.devices.reach import Reach
from dockgate_server.devices.registry import Registry, unknown_device
from dockgate_server.devices.state import State, StateBoard
from dockgate_server.errors import DockgateError, FieldViolation, Reason
from dockgate_server.limits import Limits, unlimited
from dockgate_server.model.audit import Entry, by
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.model.device import Device, Presence

STATE_SECONDS = 1.0
"""How often a watcher gets the state of a device at most."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A device and what is known of it now."""

    device: Device
    presence: Presence
    heard_at: int | None
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """A device that is no longer known by this name."""

    device_id: str


class Complete:
    """Every device that is known has been given."""


class Fleet:
    """Looking at devices, and naming them.

    Args:
        registry: Knows them.
        states: Knows how they are.
        heartbeat_seconds: After how long of nothing a watcher gets a sign of life.
        limits: How many watches may be open; none by default.
        clock: The time; the machine's by default.
    """

    def __init__(
        self,
        registry: Registry,
        states: StateBoard,
        *,
        heartbeat_seconds: float = 15.0,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._registry = registry
        self._clock = clock or SystemClock()
        self._states = states
        self._heartbeat_seconds = heartbeat_seconds
        self._watches = (limits or unlimited()).watches

    def get(self, caller: Caller, request: pb.GetDeviceRequest) -> Seen:
        """A device with its state.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, DEVICE_NOT_FOUND.
        """
        asking.need(caller, Scope.READ)
        asking.check(request)
        device = Reach(self._registry, caller).resolve(request.device_id)
        return self._seen(device, with_state=True)

    def list(self, caller: Caller, request: pb.ListDevicesRequest) -> tuple[list[Seen], str]:
        """A page of devices in the order of their names, and the token of the next one.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN.
        """
        asking.need(caller, Scope.READ)
        asking.check(request)
        reach, behind = Reach(self._registry, caller), ("", "")
        if request.page_token:
            behind = cursor.read_place(cursor.DEVICE, request.page_token, "page_token")
        found = [
            device
            for device in self._registry.list(caller.tenant, request.gateway_id)
            if device.place > behind and reach.has(device)
        ]
        limit = asking.page_size(request.page_size)
        page = found[:limit]
        more = len(found) > limit
        token = cursor.write_place(cursor.DEVICE, page[-1].place) if more else ""
        return [self._seen(device, with_state=False) for device in page], token

    async def watch(
        self, caller: Caller, request: pb.WatchDevicesRequest
    ) -> AsyncIterator[Seen | Removed | Complete | None]:
        """Every device as it is, then each that changes; None is a sign of life.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, RATE_LIMITED; UNAVAILABLE when the gateway
                stops.
        """
        asking.need(caller, Scope.READ)
        asking.check(request)
        reach = Reach(self._registry, caller)
        reach.check_name(request.device_id)
        told: dict[str, Seen] = {}  # by serial number, what the watcher knows
        now = asyncio.get_running_loop().time
        feed = self._registry.feed
        with self._watches.one_more(caller), feed.watch() as changed:
            report = feed.reports
            for device in self._registry.list(caller.tenant):
                for update in self._news(reach, request, told, device.id):
                    yield update
            yield Complete()
            heard = looked = now()  # others' devices wake the watch, but its caller hears nothing
            while True:
                due = heard + self._heartbeat_seconds
                if request.with_state:
                    due = min(due, looked + STATE_SECONDS)
                await changed.wait(max(0.0, due - now()))
                if changed.closed:
                    raise errors.unavailable("the gateway is stopping; watch again")
                found = changed.take()
                if request.with_state and now() >= looked + STATE_SECONDS:
                    found |= {one for one in told if feed.has_reported(one, report)}
                    report, looked = feed.reports, now()
                for serial_number in sorted(found):
                    for update in self._news(reach, request, told, serial_number):
                        yield update
                        heard = now()
                if now() >= heard + self._heartbeat_seconds:
                    yield None
                    heard = now()

    async def register(self, caller: Caller, request: pb.RegisterDeviceRequest) -> Seen:
        """Give a device a name, or make one known.

        What is not known becomes the tenant's, the gateway device too.

        Raises:
            DockgateError: VALIDATION_FAILED, also for a name that is the serial number of another
                device of the tenant, or the other way round; FORBIDDEN; DEVICE_NOT_FOUND, as the
                serial number or the gateway device is another tenant's; UNAVAILABLE.
        """
        # A name decides where commands go: to the wrong aircraft, if it is wrong.
        asking.need(caller, Scope.DANGEROUS)
        asking.check(request)
        self._check_serial_numbers(caller, request)
        serial_number = request.serial_number or request.device_id
        known = self._registry.get(serial_number)
        if known is not None and not self._registry.belongs(known, caller.tenant):
            raise unknown_device(serial_number)
        gateway_id = request.gateway_id or (known.gateway_id if known else serial_number)
        device = replace(
            known or Device(caller.tenant, serial_number, gateway_id),
            gateway_id=gateway_id,
            alias=None if request.device_id == serial_number else request.device_id,
        )
        self._check_registration(Reach(self._registry, caller), known, device)
        self._check_alias(device)
        audit = self._audit(caller, "register_device", device)
        await self._registry.register(device, audit)
        return self._seen(self._registry.get(serial_number) or device, with_state=False)

    async def remove(self, caller: Caller, request: pb.RemoveDeviceRequest) -> None:
        """Forget a device.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, DEVICE_NOT_FOUND, UNAVAILABLE.
        """
        asking.need(caller, Scope.DANGEROUS)
        asking.check(request)
        device = Reach(self._registry, caller).resolve(request.device_id)
        audit = self._audit(caller, "remove_device", device)
        await self._registry.remove(device, audit)
        self._states.forget(device.id)

    def _check_registration(self, reach: Reach, known: Device | None, device: Device) -> None:
        """A caller who is limited to some devices must not come by others with it.

        Raises:
            DockgateError: FORBIDDEN.
        """
        if not reach.is_limited:
            return
        before = known or replace(device, alias=None)
        if not reach.has(before):
            raise asking.out_of_reach(reach.caller, device.id)
        is_moved = known is None or device.gateway_id != known.gateway_id
        is_elsewhere = device.gateway_id != device.id
        if is_moved and is_elsewhere and not reach.has_gateway(device.gateway_id):
            raise asking.out_of_reach(reach.caller, device.gateway_id)
        if device.alias != before.alias:
            # Limits go by names: with a name it could widen its own, or take another's device.
            raise DockgateError(
                Reason.FORBIDDEN,
                f"{reach.caller.principal} is limited to some devices, and cannot name any",
                metadata={"device_id": device.name},
            )

    def _check_serial_numbers(self, caller: Caller, request: pb.RegisterDeviceRequest) -> None:
        """The alias of one device must not be taken for the serial number of another.

        Raises:
            DockgateError: VALIDATION_FAILED.
        """
        given = {"gateway_id": request.gateway_id}
        if not request.serial_number:
            given["device_id"] = request.device_id
        elif request.serial_number != request.device_id:  # who gives it twice means the number
            given["serial_number"] = request.serial_number
        wrong = []
        for field, number in given.items():
            known = self._registry.find(caller.tenant, number)
            if known is not None and known.id != number:
                stands = f"is the alias of the device with the serial number {known.id!r}"
                wrong.append(FieldViolation(field, f"{stands}; give a serial number"))
        if wrong:
            raise errors.validation_failed(wrong)

    def _check_alias(self, device: Device) -> None:
        """What is meant for one device must not go to another that has taken its number for a name.

        Raises:
            DockgateError: VALIDATION_FAILED.
        """
        other = self._registry.get(device.alias or "")
        # Of another tenant's it stands for nothing, and to refuse it would tell that it is there.
        if other is not None and self._registry.belongs(other, device.tenant):
            taken = "is the serial number of another device; the alias must be another name"
            raise errors.validation_failed([FieldViolation("device_id", taken)])

    def _news(
        self,
        reach: Reach,
        request: pb.WatchDevicesRequest,
        told: dict[str, Seen],
        serial_number: str,
    ) -> Iterator[Seen | Removed]:
        """What the watcher is to be told of a device, if it is to be told anything."""
        device = self._registry.get(serial_number)
        if device is not None:
            is_ours = self._registry.belongs(device, reach.caller.tenant)
            is_meant = request.device_id in ("", device.id, device.alias)
            if not (is_ours and is_meant and reach.has(device)):
                device = None
        before = told.pop(serial_number, None)
        if before is not None and (device is None or device.name != before.device.name):
            name = before.device.name
            # It may be another one's by now, of which the watcher has been told.
            if all(one.device.name != name for one in told.values()):
                yield Removed(name)
        if device is not None:
            told[serial_number] = self._seen(device, with_state=request.with_state)
            yield told[serial_number]

    def _audit(self, caller: Caller, action: str, device: Device) -> Entry:
        entry = by(caller, self._clock.now_ms(), action)
        return entry._replace(target=device.alias or "", device_id=device.id)

    def _seen(self, device: Device, *, with_state: bool) -> Seen:
        return Seen(
            device,
            self._registry.presence(device),
            self._registry.heard_at(device),
            self._states.of(device.id) if with_state else None,
        )
