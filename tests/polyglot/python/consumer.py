"""A client of dockgate with nothing but the generated stubs and grpcio.

python consumer.py ADDRESS DEVICE_ID
"""

import sys
import uuid

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1.command_service_pb2_grpc import CommandServiceStub


def submission(device_id: str, key: str, payload_index: str) -> pb.SubmitCommandRequest:
    """camera_recording_start for one of the cameras."""
    request = pb.SubmitCommandRequest(device_id=device_id, idempotency_key=key)
    request.dji.camera_recording_start.payload_index = payload_index
    return request


def refusal(commands: CommandServiceStub, request: pb.SubmitCommandRequest) -> grpc.Call:
    """The error with which a submission is refused."""
    try:
        commands.SubmitCommand(request, timeout=10)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call), "calls end with errors that know their status"  # noqa: PT017
        return error
    raise AssertionError("the submission was accepted")


def reason(error: grpc.Call) -> str:
    """The machine-readable reason that every error of dockgate carries."""
    status = rpc_status.from_call(error)
    assert status is not None, "no google.rpc.Status"
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    raise AssertionError("no ErrorInfo")


def follow(commands: CommandServiceStub, command_id: str) -> list[command_pb2.CommandEvent]:
    """All events of a command, to its end."""
    watch = commands.WatchCommand(pb.WatchCommandRequest(command_id=command_id), timeout=20)
    return [update.event for update in watch if update.WhichOneof("update") == "event"]


def main(address: str, device_id: str) -> None:
    """Submit, watch to the end, submit again, and again with other content."""
    key = str(uuid.uuid4())
    with grpc.insecure_channel(address) as channel:
        commands = CommandServiceStub(channel)
        first = commands.SubmitCommand(submission(device_id, key, "39-0-7"), timeout=10)
        assert not first.replayed, "the key is new"

        events = follow(commands, first.command.command_id)
        revisions = [event.revision for event in events]
        assert revisions == list(range(1, len(events) + 1)), revisions
        status = command_pb2.CommandStatus.Name(events[-1].command.status)
        assert status == "COMMAND_STATUS_SUCCEEDED", status

        again = commands.SubmitCommand(submission(device_id, key, "39-0-7"), timeout=10)
        assert again.replayed, "the key is known"
        assert again.command.command_id == first.command.command_id, "another command"

        error = refusal(commands, submission(device_id, key, "52-0-0"))
        assert error.code() is grpc.StatusCode.ALREADY_EXISTS, error.code()
        conflict = reason(error)
        assert conflict == "IDEMPOTENCY_CONFLICT", conflict
    print(f"python: {status} after {len(events)} events, replayed, {conflict}")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
