"""Never run: it only has to pass ``mypy --strict``, which sees the stubs as any consumer's does.

Each ``type: ignore`` stands at a mistake; were it no longer found, the comment would be unused, and
that is an error as well.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Literal, assert_type

import grpc
import grpc.aio

from dockgate.dji.v1.camera_pb2 import CameraRecordingStart
from dockgate.dji.v1.method_pb2 import Method
from dockgate.downlink.v1 import command_pb2, error_reason_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1.command_service_pb2_grpc import CommandServiceStub


def messages() -> None:
    """Fields, oneofs and enums have types."""
    method = Method(camera_recording_start=CameraRecordingStart(payload_index="39-0-7"))
    request = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key="key-1", dji=method)
    assert_type(request.dji.camera_recording_start.payload_index, str)
    assert_type(request.WhichOneof("vendor_method"), Literal["dji"] | None)

    request.device_id = 1  # type: ignore[assignment]
    pb.WatchCommandResponse().WhichOneof("events")  # type: ignore[arg-type]
    Method(camera_recording_stat=CameraRecordingStart())  # type: ignore[call-arg]


def enums(command: command_pb2.Command) -> None:
    """A value of one enum is no value of another."""
    assert_type(command.status, command_pb2.CommandStatus.ValueType)
    assert_type(command.failure_code, error_reason_pb2.FailureCode.ValueType)
    assert_type(command_pb2.CommandStatus.Name(command.status), str)

    command.status = error_reason_pb2.FAILURE_CODE_DEVICE_OFFLINE  # type: ignore[assignment]


def blocking(channel: grpc.Channel) -> Iterator[command_pb2.CommandEvent]:
    """A blocking client."""
    commands = CommandServiceStub(channel)
    submitted = commands.SubmitCommand(pb.SubmitCommandRequest(), timeout=10)
    assert_type(submitted, pb.SubmitCommandResponse)
    assert_type(submitted.replayed, bool)
    for update in commands.WatchCommand(
        pb.WatchCommandRequest(command_id=submitted.command.command_id)
    ):
        assert_type(update, pb.WatchCommandResponse)
        if update.WhichOneof("update") == "event":
            yield update.event

    commands.SubmitCommand(pb.GetCommandRequest())  # type: ignore[arg-type]


async def asynchronous(channel: grpc.aio.Channel) -> AsyncIterator[command_pb2.CommandEvent]:
    """A client with asyncio."""
    commands = CommandServiceStub(channel)
    submitted = await commands.SubmitCommand(pb.SubmitCommandRequest(), timeout=10)
    assert_type(submitted, pb.SubmitCommandResponse)
    async for update in commands.WatchCommand(
        pb.WatchCommandRequest(command_id=submitted.command.command_id)
    ):
        assert_type(update, pb.WatchCommandResponse)
        if update.HasField("event"):
            yield update.event

    await commands.SubmitCommand(pb.GetCommandRequest())  # type: ignore[arg-type]
