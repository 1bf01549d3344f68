"""CancelCommand and ListUnmatchedResponses over a real connection."""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support.core import Core
from support.gateway import recording_start

from dockgate.downlink.v1 import command_pb2, error_reason_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec.cursor import PAGE, write
from dockgate_server.model.transitions import Unmatched


async def test_a_command_that_waits_is_cancelled(stub: Any, core: Core) -> None:
    """The answer is the command at its end."""
    core.bridge.connected = False
    command_id = (await stub.SubmitCommand(recording_start("k"))).command.command_id
    answer = await stub.CancelCommand(pb.CancelCommandRequest(command_id=command_id))
    assert answer.command.status == command_pb2.COMMAND_STATUS_FAILED
    assert answer.command.failure_code == error_reason_pb2.FAILURE_CODE_CANCELLED
    assert answer.command.HasField("completed_at")


async def test_a_refusal_carries_what_a_program_needs(stub: Any, core: Core) -> None:
    """FAILED_PRECONDITION, the status and the inverse method."""
    command_id = (await stub.SubmitCommand(recording_start("k"))).command.command_id
    await core.bridge.wait_published(1)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.CancelCommand(pb.CancelCommandRequest(command_id=command_id))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    status = rpc_status.from_call(refused.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert info.reason == "COMMAND_NOT_CANCELLABLE"
    assert info.metadata["inverse_method"] == "camera_recording_stop"


async def test_replies_that_fit_no_command_are_listed_page_by_page(stub: Any, core: Core) -> None:
    """Newest first, JSON as JSON and anything else as it came, with how many there were."""
    for number, data in enumerate([b'{"result":1}', b"\xff\xfe", b"[" * 200 + b"]" * 200]):
        gateway = f"dock-{number}"
        entry = Unmatched(gateway, f"t{number}", "cover_open", "why", data, 1_000 + number)
        await core.store.record_unmatched(entry)

    first = await stub.ListUnmatchedResponses(pb.ListUnmatchedResponsesRequest(page_size=2))
    rest = await stub.ListUnmatchedResponses(
        pb.ListUnmatchedResponsesRequest(page_size=2, page_token=first.next_page_token)
    )
    assert [one.tid for one in first.responses] == ["t2", "t1"]
    assert [one.tid for one in rest.responses] == ["t0"]
    assert rest.next_page_token == ""
    assert first.recorded_total == 3
    assert first.responses[0].raw.startswith(b"[[[")
    assert first.responses[1].raw == b"\xff\xfe"
    oldest = rest.responses[0]
    assert oldest.data.struct_value["result"] == 1
    assert (oldest.gateway_id, oldest.method, oldest.reason) == ("dock-0", "cover_open", "why")
    assert oldest.received_at.ToMilliseconds() == 1_000

    of_one = pb.ListUnmatchedResponsesRequest(gateway_id="dock-1")
    assert [one.tid for one in (await stub.ListUnmatchedResponses(of_one)).responses] == ["t1"]


async def test_a_token_of_another_list_is_refused(stub: Any) -> None:
    """A position in the order of commands is none in the ledger."""
    request = pb.ListUnmatchedResponsesRequest(page_token=write(PAGE, 1))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ListUnmatchedResponses(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
