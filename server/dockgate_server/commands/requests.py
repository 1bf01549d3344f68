"""What a request asks for, and whether it may: pure, the same for every transport."""

import hashlib
from typing import Any

import orjson
from google.protobuf.message import Message

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import errors
from dockgate_server.codec import catalogue, dji_json, rules
from dockgate_server.errors import DockgateError, FieldViolation, Reason
from dockgate_server.model.command import CommandFilter, Status, Vendor


def method_of(request: pb.SubmitCommandRequest) -> tuple[catalogue.Method, Message]:
    """The method that is set, and its message.

    Raises:
        DockgateError: VALIDATION_FAILED, UNSUPPORTED_COMMAND.
    """
    if request.WhichOneof("vendor_method") is None:
        example = "set the arm of the vendor and in it the arm of the method"
        raise errors.validation_failed([FieldViolation("vendor_method", f"is required: {example}")])
    name = request.dji.WhichOneof("method")
    if name is None:
        numbers = [str(number) for number in dji_json.unknown_numbers(request.dji)]
        which = f"the method of number {numbers[0]}" if numbers else "an empty dji.method"
        raise DockgateError(
            Reason.UNSUPPORTED_COMMAND,
            f"{which} is not a method that this gateway knows",
            metadata={"command_type": numbers[0] if numbers else ""},
        )
    if name == catalogue.RAW:
        return catalogue.raw(request.dji.raw_method), request.dji.raw_method
    return catalogue.METHODS[name], getattr(request.dji, name)


def content_hash(
    request: pb.SubmitCommandRequest, method: catalogue.Method, values: dict[str, Any] | None
) -> bytes:
    """What a repetition must have in common with the first submission.

    Args:
        request: The submission.
        method: Its method; the channel counts too, as a raw method may name any.
        values: Its `data`, before it is written as JSON.
    """
    content = [
        Vendor.DJI,
        request.device_id,
        method.name,
        method.spec.channel,
        values,
        request.timeout_seconds,
    ]
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


def violations(
    request: pb.SubmitCommandRequest, method: catalogue.Method, message: Message, data: bytes
) -> list[FieldViolation]:
    """Every rule that the submission breaks."""
    found = dji_json.unknown_fields(request) + rules.violations(request)
    # JSON has no word for infinity; orjson writes null, which we never write ourselves.
    if b"null" in data:
        found += dji_json.non_finite_numbers(message, f"dji.{request.dji.WhichOneof('method')}")
    return found


def check(request: Message) -> None:
    """Hold a request against the rules beside its fields.

    Raises:
        DockgateError: VALIDATION_FAILED.
    """
    if broken := rules.violations(request):
        raise errors.validation_failed(broken)


def filter_of(request: pb.ListCommandsRequest | pb.WatchCommandsRequest) -> CommandFilter:
    """Which commands a list or a fleet watch is about."""
    statuses: tuple[Status, ...] = ()
    if isinstance(request, pb.ListCommandsRequest):
        prefix = "COMMAND_STATUS_"
        names = (command_pb2.CommandStatus.Name(number) for number in request.statuses)
        statuses = tuple(Status(name.removeprefix(prefix)) for name in names)
    return CommandFilter(request.device_id, request.command_type, statuses)
