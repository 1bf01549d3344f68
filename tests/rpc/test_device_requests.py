"""DeviceRequestService over a real gRPC connection."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support.core import Core
from support.vault import VAULT

from dockgate.downlink.v1 import device_request_service_pb2 as pb
from dockgate.downlink.v1.device_request_service_pb2_grpc import DeviceRequestServiceStub
from dockgate_server.clock import SystemClock
from dockgate_server.config import Grpc
from dockgate_server.inbound.request_replies import RequestReplies
from dockgate_server.inbox import Inbox
from dockgate_server.model.device_request import NewRequest, Reply, ReplySource, Routing
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer

NOW = 1_776_859_200_000
NEW = NewRequest(
    "r-1", "dock-001", "config", "t1", "b1", b'["a",1]', Routing.INBOX, NOW, NOW + 40_000
)


@pytest.fixture
async def stub(core: Core) -> AsyncIterator[Any]:
    """A client of a server with an inbox."""
    clock = SystemClock()
    replies = RequestReplies(core.bridge, core.store.requests, clock, VAULT, 40)
    inbox = Inbox(core.store.requests, replies, clock, core.registry, heartbeat_seconds=0.05)
    settings = Grpc(listen="127.0.0.1:0")
    async with (
        RpcServer(settings, core.commands, Health(), stop_seconds=5, inbox=inbox) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield DeviceRequestServiceStub(channel)
        inbox.close()
    replies.close()


async def test_a_request_that_waits_has_no_answer(core: Core, stub: Any) -> None:
    """Its payload is the JSON that the device sent, whatever it is."""
    await core.store.requests.record(NEW, None)
    answer = await stub.GetDeviceRequest(pb.GetDeviceRequestRequest(request_id="r-1"))
    assert MessageToDict(answer.request, preserving_proto_field_name=True) == {
        "request_id": "r-1",
        "vendor": "dji",
        "device_id": "dock-001",
        "request_type": "config",
        "inbound_payload": ["a", 1.0],
        "routing_decision": "ROUTING_DECISION_INBOX",
        "status": "DEVICE_REQUEST_STATUS_PENDING",
        "received_at": "2026-04-22T12:00:00Z",
        "expires_at": "2026-04-22T12:00:40Z",
    }


async def test_a_request_is_answered_seen_and_listed(core: Core, stub: Any) -> None:
    """The answer is the same by each way; a code of 0 is there."""
    await core.store.requests.record(NEW, None)
    request = pb.ReplyDeviceRequestRequest(request_id="r-1", reply_code=0, reply_message="ok")
    request.payload.update({"ntp_server_host": "ntp.example"})
    answered = (await stub.ReplyDeviceRequest(request)).request
    assert answered.HasField("reply_code")
    seen = MessageToDict(answered, preserving_proto_field_name=True)
    assert seen["standardized_reply"] == {"ntp_server_host": "ntp.example"}
    assert (seen["reply_source"], seen["replied_by"]) == ("REPLY_SOURCE_MANUAL", "local")
    got = await stub.GetDeviceRequest(pb.GetDeviceRequestRequest(request_id="r-1"))
    listed = await stub.ListDeviceRequests(pb.ListDeviceRequestsRequest())
    assert got.request == answered
    assert list(listed.requests) == [answered]


async def test_an_answer_without_a_result_has_no_code(core: Core, stub: Any) -> None:
    """As that of the gateway to config."""
    reply = Reply(None, "", ReplySource.AUTO, b'{"app_id":"1"}', True, "registration", NOW)
    await core.store.requests.record(replace(NEW, routing=Routing.AUTO), reply)
    answer = await stub.GetDeviceRequest(pb.GetDeviceRequestRequest(request_id="r-1"))
    assert not answer.request.HasField("reply_code")


async def test_a_refusal_has_its_reason(stub: Any) -> None:
    """With the id that was asked for."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetDeviceRequest(pb.GetDeviceRequestRequest(request_id="r-9"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert info.reason == "DEVICE_REQUEST_NOT_FOUND"
    assert dict(info.metadata) == {"device_request_id": "r-9"}


async def test_a_watch_has_requests_and_signs_of_life(core: Core, stub: Any) -> None:
    """And does not end by itself."""
    await core.store.requests.record(NEW, None)
    watch = stub.WatchDeviceRequests(pb.WatchDeviceRequestsRequest(), timeout=30)
    assert (await watch.read()).request.request_id == "r-1"
    assert (await watch.read()).HasField("complete")
    assert (await watch.read()).HasField("heartbeat")
    watch.cancel()
