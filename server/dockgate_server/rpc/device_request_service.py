"""``dockgate.downlink.v1.DeviceRequestService`` on top of the use cases."""

from collections.abc import AsyncIterator

import orjson
from google.protobuf import json_format, struct_pb2

from dockgate.downlink.v1 import command_service_pb2, device_request_pb2
from dockgate.downlink.v1 import device_request_service_pb2 as pb
from dockgate_server.inbox import Inbox
from dockgate_server.inbox.watching import Complete
from dockgate_server.model.caller import Caller
from dockgate_server.model.command import Vendor
from dockgate_server.model.device_request import DeviceRequest
from dockgate_server.rpc.convert import struct, timestamp


class DeviceRequestService:
    """Translates; what each call does is documented in the schema.

    Called through :class:`~dockgate_server.rpc.calls.Calls`, which knows the caller.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def GetDeviceRequest(  # noqa: N802
        self, caller: Caller, request: pb.GetDeviceRequestRequest
    ) -> pb.GetDeviceRequestResponse:
        """Give a request as it is now."""
        found = await self._inbox.get(caller, request)
        return pb.GetDeviceRequestResponse(request=device_request(found))

    async def ListDeviceRequests(  # noqa: N802
        self, caller: Caller, request: pb.ListDeviceRequestsRequest
    ) -> pb.ListDeviceRequestsResponse:
        """List requests, newest first."""
        page, next_page_token = await self._inbox.list(caller, request)
        requests = [device_request(one) for one in page.requests]
        return pb.ListDeviceRequestsResponse(requests=requests, next_page_token=next_page_token)

    async def ReplyDeviceRequest(  # noqa: N802
        self, caller: Caller, request: pb.ReplyDeviceRequestRequest
    ) -> pb.ReplyDeviceRequestResponse:
        """Answer a request that waits."""
        answered = await self._inbox.reply(caller, request)
        return pb.ReplyDeviceRequestResponse(request=device_request(answered))

    async def WatchDeviceRequests(  # noqa: N802
        self, caller: Caller, request: pb.WatchDeviceRequestsRequest
    ) -> AsyncIterator[pb.WatchDeviceRequestsResponse]:
        """Stream the requests that wait, then each one that comes or changes."""
        async for one in self._inbox.watch(caller, request):
            match one:
                case None:
                    heartbeat = command_service_pb2.Heartbeat()
                    yield pb.WatchDeviceRequestsResponse(heartbeat=heartbeat)
                case Complete():
                    complete = pb.WatchDeviceRequestsResponse.Complete()
                    yield pb.WatchDeviceRequestsResponse(complete=complete)
                case _:
                    yield pb.WatchDeviceRequestsResponse(request=device_request(one))


def device_request(of: DeviceRequest) -> device_request_pb2.DeviceRequest:
    """A device's request as callers see it."""
    message = device_request_pb2.DeviceRequest(
        request_id=of.id,
        vendor=Vendor.DJI,
        device_id=of.gateway_id,
        request_type=of.request_type,
        routing_decision=device_request_pb2.RoutingDecision.Value(f"ROUTING_DECISION_{of.routing}"),
        status=device_request_pb2.DeviceRequestStatus.Value(f"DEVICE_REQUEST_STATUS_{of.status}"),
        reply_code=of.reply_code,
        reply_message=of.reply_message,
        replied_by=of.replied_by,
        received_at=timestamp(of.received_at),
        replied_at=timestamp(of.replied_at),
        expires_at=timestamp(of.expires_at),
    )
    # Into a fresh message: json_format writes into whatever it is given.
    payload = json_format.ParseDict(orjson.loads(of.payload), struct_pb2.Value())
    message.inbound_payload.CopyFrom(payload)
    if of.reply_source is not None:
        name = f"REPLY_SOURCE_{of.reply_source}"
        message.reply_source = device_request_pb2.ReplySource.Value(name)
    if of.reply is not None:
        message.standardized_reply.CopyFrom(struct(of.reply))
    return message
