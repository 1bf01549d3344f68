"""DeviceService: from messages to the use cases and back."""

from collections.abc import AsyncIterator

from dockgate.downlink.v1 import command_service_pb2
from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate_server.events import EventWatching
from dockgate_server.fleet import Complete, Fleet, Removed
from dockgate_server.model.caller import Caller
from dockgate_server.rpc import convert_device, convert_event


class DeviceService:
    """Translates; what each call does is documented in the schema.

    Called through :class:`~dockgate_server.rpc.calls.Calls`, which knows the caller.
    """

    def __init__(self, fleet: Fleet, events: EventWatching) -> None:
        self._fleet = fleet
        self._events = events

    async def GetDevice(  # noqa: N802
        self, caller: Caller, request: pb.GetDeviceRequest
    ) -> pb.GetDeviceResponse:
        """Give a device with its state."""
        seen = self._fleet.get(caller, request)
        return pb.GetDeviceResponse(device=convert_device.device(seen))

    async def ListDevices(  # noqa: N802
        self, caller: Caller, request: pb.ListDevicesRequest
    ) -> pb.ListDevicesResponse:
        """List devices in the order of their names."""
        page, next_page_token = self._fleet.list(caller, request)
        devices = [convert_device.device(seen) for seen in page]
        limited = bool(caller.devices)
        return pb.ListDevicesResponse(
            devices=devices, next_page_token=next_page_token, limited=limited
        )

    async def WatchDevices(  # noqa: N802
        self, caller: Caller, request: pb.WatchDevicesRequest
    ) -> AsyncIterator[pb.WatchDevicesResponse]:
        """Stream devices as they are and as they change."""
        async for update in self._fleet.watch(caller, request):
            match update:
                case None:
                    heartbeat = command_service_pb2.Heartbeat()
                    yield pb.WatchDevicesResponse(heartbeat=heartbeat)
                case Removed():
                    yield pb.WatchDevicesResponse(removed_device_id=update.device_id)
                case Complete():
                    complete = pb.WatchDevicesResponse.Complete()
                    yield pb.WatchDevicesResponse(complete=complete)
                case _:
                    yield pb.WatchDevicesResponse(device=convert_device.device(update))

    async def RegisterDevice(  # noqa: N802
        self, caller: Caller, request: pb.RegisterDeviceRequest
    ) -> pb.RegisterDeviceResponse:
        """Give a device a name, or make one known."""
        seen = await self._fleet.register(caller, request)
        return pb.RegisterDeviceResponse(device=convert_device.device(seen))

    async def RemoveDevice(  # noqa: N802
        self, caller: Caller, request: pb.RemoveDeviceRequest
    ) -> pb.RemoveDeviceResponse:
        """Forget a device."""
        await self._fleet.remove(caller, request)
        return pb.RemoveDeviceResponse()

    async def WatchEvents(  # noqa: N802
        self, caller: Caller, request: pb.WatchEventsRequest
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Stream what devices tell."""
        async for update in self._events.watch(caller, request):
            response = pb.WatchEventsResponse(cursor=update.cursor)
            if update.event is None:
                response.heartbeat.SetInParent()
            else:
                convert_event.fill(update.event, update.cursor, response.event)
            yield response
