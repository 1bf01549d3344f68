"""DeviceService: from messages to the use cases and back."""

from collections.abc import AsyncIterator

from dockgate.downlink.v1 import command_service_pb2, device_service_pb2_grpc
from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate_server.events import EventWatching
from dockgate_server.fleet import Complete, Fleet, Removed
from dockgate_server.model.caller import LOCAL
from dockgate_server.rpc import convert_device, convert_event
from dockgate_server.rpc.errors import Context, streaming, unary


class DeviceService(device_service_pb2_grpc.DeviceServiceServicer):
    """Translates; what each call does is documented in the schema."""

    def __init__(self, fleet: Fleet, events: EventWatching) -> None:
        self._fleet = fleet
        self._events = events

    @unary
    async def GetDevice(  # noqa: N802
        self, request: pb.GetDeviceRequest, context: Context
    ) -> pb.GetDeviceResponse:
        """Give a device with its state."""
        seen = self._fleet.get(LOCAL, request)
        return pb.GetDeviceResponse(device=convert_device.device(seen))

    @unary
    async def ListDevices(  # noqa: N802
        self, request: pb.ListDevicesRequest, context: Context
    ) -> pb.ListDevicesResponse:
        """List devices in the order of their names."""
        page, next_page_token = self._fleet.list(LOCAL, request)
        devices = [convert_device.device(seen) for seen in page]
        return pb.ListDevicesResponse(devices=devices, next_page_token=next_page_token)

    @streaming
    async def WatchDevices(  # noqa: N802
        self, request: pb.WatchDevicesRequest, context: Context
    ) -> AsyncIterator[pb.WatchDevicesResponse]:
        """Stream devices as they are and as they change."""
        async for update in self._fleet.watch(LOCAL, request):
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

    @unary
    async def RegisterDevice(  # noqa: N802
        self, request: pb.RegisterDeviceRequest, context: Context
    ) -> pb.RegisterDeviceResponse:
        """Give a device a name, or make one known."""
        seen = await self._fleet.register(LOCAL, request)
        return pb.RegisterDeviceResponse(device=convert_device.device(seen))

    @unary
    async def RemoveDevice(  # noqa: N802
        self, request: pb.RemoveDeviceRequest, context: Context
    ) -> pb.RemoveDeviceResponse:
        """Forget a device."""
        await self._fleet.remove(LOCAL, request)
        return pb.RemoveDeviceResponse()

    @streaming
    async def WatchEvents(  # noqa: N802
        self, request: pb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Stream what devices tell."""
        async for update in self._events.watch(LOCAL, request):
            response = pb.WatchEventsResponse(cursor=update.cursor)
            if update.event is None:
                response.heartbeat.SetInParent()
            else:
                convert_event.fill(update.event, update.cursor, response.event)
            yield response
