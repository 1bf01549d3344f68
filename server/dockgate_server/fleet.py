"""The use cases about devices: which there are, how they are, what they are called."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate_server import asking, errors
from dockgate_server.codec import cursor
from dockgate_server.devices.feed import Changed
from dockgate_server.devices.registry import Registry
from dockgate_server.devices.state import State, StateBoard
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.model.device import Device, Presence

_DEFAULT_PAGE = 50
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
    """A device that is no longer known."""

    device_id: str


class Complete:
    """Every device that is known has been given."""


class Fleet:
    """Looking at devices, and naming them.

    Args:
        registry: Knows them.
        states: Knows how they are.
        heartbeat_seconds: After how long of nothing a watcher gets a sign of life.
    """

    def __init__(
        self, registry: Registry, states: StateBoard, *, heartbeat_seconds: float = 15.0
    ) -> None:
        self._registry = registry
        self._states = states
        self._heartbeat_seconds = heartbeat_seconds

    def get(self, caller: Caller, request: pb.GetDeviceRequest) -> Seen:
        """A device with its state.

        Raises:
            DockgateError: VALIDATION_FAILED, DEVICE_NOT_FOUND.
        """
        asking.need(caller, Scope.READ)
        asking.check(request)
        device = self._registry.resolve(caller.tenant, request.device_id)
        return self._seen(device, with_state=True)

    def list(self, caller: Caller, request: pb.ListDevicesRequest) -> tuple[list[Seen], str]:
        """A page of devices in the order of their names, and the token of the next one.

        Raises:
            DockgateError: VALIDATION_FAILED.
        """
        asking.need(caller, Scope.READ)
        asking.check(request)
        behind = ""
        if request.page_token:
            behind = cursor.read_name(cursor.DEVICE, request.page_token, "page_token")
        found = [
            device
            for device in self._registry.list(caller.tenant, request.gateway_id)
            if device.name > behind
        ]
        limit = request.page_size or _DEFAULT_PAGE
        page = found[:limit]
        more = len(found) > limit
        token = cursor.write_name(cursor.DEVICE, page[-1].name) if more else ""
        return [self._seen(device, with_state=False) for device in page], token

    async def watch(
        self, caller: Caller, request: pb.WatchDevicesRequest
    ) -> AsyncIterator[Seen | Removed | Complete | None]:
        """Every device as it is, then each that changes; None is a sign of life.

        Raises:
            DockgateError: VALIDATION_FAILED; UNAVAILABLE when the gateway stops.
        """
        asking.need(caller, Scope.READ)
        asking.check(request)
        told: dict[str, Seen] = {}  # by serial number, what the watcher knows
        with self._registry.feed.watch() as changed:
            for device in self._registry.list(caller.tenant):
                for update in self._news(caller, request, told, device.id):
                    yield update
            yield Complete()
            while True:
                something = False
                async for serial_number in self._next(changed, request.with_state):
                    for update in self._news(caller, request, told, serial_number):
                        something = True
                        yield update
                if not something:
                    yield None

    async def register(self, caller: Caller, request: pb.RegisterDeviceRequest) -> Seen:
        """Give a device a name, or make one known.

        Raises:
            DockgateError: VALIDATION_FAILED, DEVICE_NOT_FOUND (the serial number is another
                tenant's), UNAVAILABLE.
        """
        asking.need(caller, Scope.CREATE)
        asking.check(request)
        serial_number = request.serial_number or request.device_id
        known = self._registry.get(serial_number)
        if known is not None:
            known = self._registry.resolve(caller.tenant, serial_number)
        gateway_id = request.gateway_id or (known.gateway_id if known else serial_number)
        alias = None if request.device_id == serial_number else request.device_id
        device = replace(
            known or Device(caller.tenant, serial_number, gateway_id),
            gateway_id=gateway_id,
            alias=alias,
        )
        await self._registry.register(device)
        return self._seen(self._registry.resolve(caller.tenant, serial_number), with_state=False)

    async def remove(self, caller: Caller, request: pb.RemoveDeviceRequest) -> None:
        """Forget a device.

        Raises:
            DockgateError: VALIDATION_FAILED, DEVICE_NOT_FOUND, UNAVAILABLE.
        """
        asking.need(caller, Scope.CREATE)
        asking.check(request)
        device = self._registry.resolve(caller.tenant, request.device_id)
        await self._registry.remove(device)
        self._states.forget(device.id)

    async def _next(self, changed: Changed, with_state: bool) -> AsyncIterator[str]:
        """What has changed by the time something has; nothing after a heartbeat's time."""
        waited = 0.0
        while waited < self._heartbeat_seconds:
            step = STATE_SECONDS if with_state else self._heartbeat_seconds
            woken = await changed.wait(step)
            if changed.closed:
                raise errors.unavailable("the gateway is stopping; watch again")
            if found := changed.take(with_state=with_state and not woken):
                for serial_number in sorted(found):
                    yield serial_number
                return
            waited += step

    def _news(
        self,
        caller: Caller,
        request: pb.WatchDevicesRequest,
        told: dict[str, Seen],
        serial_number: str,
    ) -> Iterator[Seen | Removed]:
        """What the watcher is to be told of a device, if it is to be told anything."""
        device = self._registry.get(serial_number)
        is_ours = device is not None and device.tenant == caller.tenant
        if device is not None and is_ours and request.device_id in ("", device.id, device.alias):
            told[serial_number] = self._seen(device, with_state=request.with_state)
            yield told[serial_number]
            return
        before = told.pop(serial_number, None)
        if before is not None:
            yield Removed(before.device.name)

    def _seen(self, device: Device, *, with_state: bool) -> Seen:
        return Seen(
            device,
            self._registry.presence(device),
            self._registry.heard_at(device),
            self._states.of(device.id) if with_state else None,
        )
