"""CommandService over a real connection."""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support.core import Core
from support.gateway import recording_start

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.errors import ERROR_DOMAIN
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.command import CommandFilter


def reason(error: grpc.aio.AioRpcError) -> tuple[str, str, list[str]]:
    """A refused call's status code, its reason and the fields it names."""
    status = rpc_status.from_call(error)
    assert status is not None
    info, fields = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(fields)
    assert info.domain == ERROR_DOMAIN
    return error.code().name, info.reason, [one.field for one in fields.field_violations]


async def refused(call: Any) -> tuple[str, str, list[str]]:
    """What a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return reason(caught.value)


async def test_submitting_answers_with_the_command_as_accepted(stub: Any, core: Core) -> None:
    """The answer is revision 1, whatever has happened to the command by then."""
    answer = await stub.SubmitCommand(recording_start("k1", timeout_seconds=12))

    command = answer.command
    assert command.status == command_pb2.COMMAND_STATUS_ACCEPTED
    assert (command.revision, command.timeout_seconds) == (1, 12)
    assert (command.device_id, command.gateway_id) == ("drone-001", "dock-001")
    assert command.deadline_at.ToMilliseconds() - command.accepted_at.ToMilliseconds() == 12_000
    assert not answer.replayed


async def test_the_same_key_and_content_give_the_same_command(stub: Any, core: Core) -> None:
    """Repeating a call whose answer was lost creates nothing."""
    first = await stub.SubmitCommand(recording_start("k1"))
    again = await stub.SubmitCommand(recording_start("k1"))

    assert again.replayed
    assert again.command == first.command
    assert await core.stored() == 1


async def test_the_same_key_with_other_content_is_a_conflict(stub: Any, core: Core) -> None:
    """A key names one submission for ever."""
    await stub.SubmitCommand(recording_start("k1"))

    code, why, _ = await refused(stub.SubmitCommand(recording_start("k1", timeout_seconds=9)))

    assert (code, why) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
    assert await core.stored() == 1


def _without(field: str) -> pb.SubmitCommandRequest:
    request = recording_start("k1")
    if field == "payload_index":
        request.dji.camera_recording_start.ClearField(field)
    else:
        request.ClearField(field)
    return request


PAYLOAD_INDEX = "dji.camera_recording_start.payload_index"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (_without("device_id"), "device_id"),
        (_without("idempotency_key"), "idempotency_key"),
        (_without("payload_index"), PAYLOAD_INDEX),
        (_without("dji"), "vendor_method"),
        (recording_start("k1", device_id="a/b"), "device_id"),
        (recording_start("k1", device_id="a+b"), "device_id"),
        (recording_start("k1", device_id="a#b"), "device_id"),
        (recording_start("k" * 256), "idempotency_key"),
        (recording_start("k1", timeout_seconds=-1), "timeout_seconds"),
        (recording_start("k1", timeout_seconds=301), "timeout_seconds"),
    ],
    ids=str,
)
async def test_bad_input_names_the_field_and_stores_nothing(
    stub: Any, core: Core, request_: pb.SubmitCommandRequest, field: str
) -> None:
    """A refused submission leaves no trace."""
    code, why, fields = await refused(stub.SubmitCommand(request_))

    assert (code, why, fields) == ("INVALID_ARGUMENT", "VALIDATION_FAILED", [field])
    assert await core.stored() == 0
    assert core.bridge.published == []


async def test_an_empty_required_text_is_refused(stub: Any, core: Core) -> None:
    """Empty is not a value."""
    request = recording_start("k1")
    request.dji.camera_recording_start.payload_index = ""

    code, why, fields = await refused(stub.SubmitCommand(request))

    assert (code, why, fields) == ("INVALID_ARGUMENT", "VALIDATION_FAILED", [PAYLOAD_INDEX])


async def test_a_field_that_the_server_does_not_know_is_refused(stub: Any, core: Core) -> None:
    """A parameter of a flight command must never be dropped silently."""
    request = recording_start("k1")
    method = request.dji.camera_recording_start
    method.MergeFromString(b"\xfa\x07\x03new")  # field 127, from a newer schema

    code, why, fields = await refused(stub.SubmitCommand(request))

    assert (code, why) == ("INVALID_ARGUMENT", "VALIDATION_FAILED")
    assert fields == ["dji.camera_recording_start.#127"]
    assert await core.stored() == 0


async def test_a_method_that_the_server_does_not_know_is_unsupported(stub: Any, core: Core) -> None:
    """A newer client's method is not mistaken for an empty one."""
    request = recording_start("k1")
    request.dji.Clear()
    request.dji.MergeFromString(b"\xfa\xff\x01\x00")  # arm 4095

    assert await refused(stub.SubmitCommand(request)) == (
        "INVALID_ARGUMENT",
        "UNSUPPORTED_COMMAND",
        [],
    )


async def test_a_request_over_the_limit_is_refused(stub: Any, core: Core) -> None:
    """The same limit as over HTTP, and the same reason."""
    request = recording_start("k1")
    request.dji.camera_recording_start.payload_index = "x" * 300 * 1024

    code, why, _ = await refused(stub.SubmitCommand(request))

    assert (code, why) == ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE")
    assert await core.stored() == 0


async def test_what_is_too_large_as_json_is_refused(stub: Any, core: Core) -> None:
    """A broker would end the connection for it, and with it everybody's commands."""
    request = recording_start("k1")
    request.dji.camera_recording_start.payload_index = "\x01" * 50_000

    code, why, _ = await refused(stub.SubmitCommand(request))

    assert (code, why) == ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE")
    assert await core.stored() == 0


async def test_every_call_has_the_limit_of_its_size(stub: Any) -> None:
    """Also those that change nothing."""
    code, why, _ = await refused(stub.ListCommands(pb.ListCommandsRequest(device_id="x" * 262_144)))

    assert (code, why) == ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE")


async def test_an_unknown_device_is_not_found(stub: Any, core: Core) -> None:
    """Commands go only to devices that the gateway can reach."""
    code, why, _ = await refused(stub.SubmitCommand(recording_start("k1", device_id="other")))

    assert (code, why) == ("NOT_FOUND", "DEVICE_NOT_FOUND")
    assert await core.stored() == 0


async def test_an_unknown_command_is_not_found(stub: Any) -> None:
    """Whatever its id looks like, to see as well as to withdraw or to watch."""
    for command_id in ("03fb4905-d3cf-68b0-36fc-36975d618724", "nonsense", "x" * 1000):
        for call in (
            stub.GetCommand(pb.GetCommandRequest(command_id=command_id)),
            stub.CancelCommand(pb.CancelCommandRequest(command_id=command_id)),
            stub.WatchCommand(pb.WatchCommandRequest(command_id=command_id)).read(),
        ):
            assert await refused(call) == ("NOT_FOUND", "COMMAND_NOT_FOUND", [])


async def test_an_id_has_no_case(stub: Any, core: Core) -> None:
    """It is a UUID; we write it in small letters."""
    command_id = (await stub.SubmitCommand(recording_start("k1"))).command.command_id
    await core.reply(command_id, {"result": 0})
    large = command_id.upper()
    found = (await stub.GetCommand(pb.GetCommandRequest(command_id=large))).command
    assert found.command_id == command_id
    watch = stub.WatchCommand(pb.WatchCommandRequest(command_id=large))
    revisions = [update.event.revision async for update in watch]
    assert revisions == list(range(1, found.revision + 1))
    _, why, _ = await refused(stub.CancelCommand(pb.CancelCommandRequest(command_id=large)))
    assert why == "COMMAND_NOT_CANCELLABLE"


async def test_a_failed_command_shows_the_devices_words(stub: Any, core: Core) -> None:
    """The example of the platform's services-reply page, field by field."""
    submitted = await stub.SubmitCommand(recording_start("k1"))
    command_id = submitted.command.command_id
    data = {"result": 5001, "code": 5001, "message": "camera busy", "detail": "busy"}
    await core.reply(command_id, data)

    answer = await stub.GetCommand(pb.GetCommandRequest(command_id=command_id))

    command = answer.command
    assert command.status == command_pb2.COMMAND_STATUS_FAILED
    assert command.completion_basis == command_pb2.COMPLETION_BASIS_DEVICE_REPLY
    assert (command.response_code, command.response_message) == ("5001", "camera busy")
    assert command.failure_reason == "camera busy"
    assert dict(command.vendor_response) == data
    assert command.completed_at.ToMilliseconds() == 1_776_859_203_000


async def test_commands_are_listed_newest_first_in_pages(stub: Any, core: Core) -> None:
    """A token leads to the next page, and the last page has none."""
    for number in range(5):
        await stub.SubmitCommand(recording_start(f"k{number}"))
    submitted = [command.id for command in (await _all(core))]

    seen, token = [], ""
    while True:
        page = await stub.ListCommands(pb.ListCommandsRequest(page_size=2, page_token=token))
        seen += [command.command_id for command in page.commands]
        token = page.next_page_token
        if not token:
            break

    assert seen == submitted


async def _all(core: Core) -> Any:
    return (await core.store.list_commands(DEFAULT_TENANT, CommandFilter(), None, 100)).commands


@pytest.mark.parametrize("token", ["x", "cGFnZTp4", "cmVzdW1lOjE"])
async def test_a_token_of_somebody_else_is_refused(stub: Any, token: str) -> None:
    """Nonsense, and a resume token where a page token belongs."""
    refusal = await refused(stub.ListCommands(pb.ListCommandsRequest(page_token=token)))

    assert refusal == ("INVALID_ARGUMENT", "VALIDATION_FAILED", ["page_token"])
