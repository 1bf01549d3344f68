"""What a request asks for, and whether it may: the same for every transport."""

import hashlib
from typing import Any

import orjson
from google.protobuf.message import Message

from dockgate.dji.v1 import raw_pb2
from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import asking, command_ids, errors
from dockgate_server.codec import catalogue, dji_json, envelope, rules
from dockgate_server.devices.reach import Reach
from dockgate_server.errors import DockgateError, FieldViolation, Reason, Subject
from dockgate_server.model.audit import Entry, Outcome
from dockgate_server.model.caller import Caller
from dockgate_server.model.command import Command, CommandFilter, Status, Vendor
from dockgate_server.store.interface import Store

_DEEPEST_RAW_DATA = envelope.DEEPEST - 2
"""As deep as it can be in the body of an HTTP request."""


def method_of(request: pb.SubmitCommandRequest) -> tuple[catalogue.Method, Message]:
    """The method that is set, and its message.

    Raises:
        DockgateError: VALIDATION_FAILED, UNSUPPORTED_COMMAND.
    """
    if request.WhichOneof("vendor_method") is None:
        example = "set the arm of the vendor and in it the arm of the method"
        missing = FieldViolation("vendor_method", f"is required: {example}")
        raise errors.validation_failed([*rules.violations(request), missing])
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


def is_emergency(request: pb.SubmitCommandRequest) -> bool:
    """Whether it submits what goes before all others."""
    return request.dji.WhichOneof("method") in catalogue.EMERGENCIES


def content_hash(
    request: pb.SubmitCommandRequest, method: catalogue.Method, values: dict[str, Any] | None
) -> bytes:
    """What a repetition must have in common with the first submission.

    Args:
        request: The submission.
        method: Its method; the channel counts too, as a raw method may name any.
        values: Its `data`, before it is written as JSON.
    """
    content: list[object] = [
        Vendor.DJI,
        request.device_id,
        method.name,
        method.spec.channel,
        values,
        request.timeout_seconds,
    ]
    if request.offline_policy:
        # Only where it is set: a key from before there was a policy keeps its content.
        content.append(request.offline_policy)
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


def violations(
    request: pb.SubmitCommandRequest, method: catalogue.Method, message: Message, data: bytes
) -> list[FieldViolation]:
    """Every rule that the submission breaks."""
    # Not of the request at once: to see that there are none is quicker in its parts.
    parts = (request, request.dji)
    odd = any(map(dji_json.unknown_numbers, parts)) or dji_json.unknown_fields(message)
    found = dji_json.unknown_fields(request) if odd else []
    found += rules.violations(request)
    if method.spec.control_stream and request.offline_policy == command_pb2.OFFLINE_POLICY_QUEUE:
        never = "must not be QUEUE: a control stream is sent at once or not at all"
        found.append(FieldViolation("offline_policy", never))
    if type(message) is raw_pb2.RawMethod and envelope.deeper_than(
        _DEEPEST_RAW_DATA, orjson.loads(data)
    ):
        deep = f"must not be nested deeper than {_DEEPEST_RAW_DATA} levels"
        found.append(FieldViolation("dji.raw_method.data", deep))
    # JSON has no word for infinity; orjson writes null, which we never write ourselves.
    if b"null" in data:
        found += dji_json.non_finite_numbers(message, f"dji.{request.dji.WhichOneof('method')}")
    return found


def filter_of(request: pb.ListCommandsRequest | pb.WatchCommandsRequest) -> CommandFilter:
    """Which commands a list or a fleet watch is about."""
    statuses: tuple[Status, ...] = ()
    if isinstance(request, pb.ListCommandsRequest):
        prefix = "COMMAND_STATUS_"
        names = (command_pb2.CommandStatus.Name(number) for number in request.statuses)
        statuses = tuple(Status(name.removeprefix(prefix)) for name in names)
    return CommandFilter(request.device_id, request.command_type, statuses)


def subject(request: pb.SubmitCommandRequest) -> Subject:
    """What a submission is about, whatever is wrong with it."""
    name = request.dji.WhichOneof("method") or ""
    if name == catalogue.RAW:
        return Subject(request.device_id, request.dji.raw_method.method, is_dangerous=True)
    method = catalogue.METHODS.get(name)
    is_dangerous = method is not None and method.spec.dangerous
    return Subject(request.device_id, name, is_dangerous)


def entry(
    caller: Caller,
    at: int,
    outcome: Outcome,
    request: pb.SubmitCommandRequest,
    command_id: str,
    content: bytes,
) -> Entry:
    """What the audit log says of a submission that was accepted, now or before."""
    about, origin = subject(request), caller.origin
    # Every submission makes one: written out, this is three times as fast as _replace().
    return Entry(
        at,
        "submit_command",
        outcome._value_,
        caller.tenant,
        caller.principal,
        True,
        origin.transport,
        origin.peer,
        origin.request_id,
        "",
        command_id,
        about.device_id,
        about.method,
        about.is_dangerous,
        content,
    )


def command_id(
    request: pb.GetCommandRequest | pb.WatchCommandRequest | pb.CancelCommandRequest,
) -> str:
    """The command that a request is about, where nothing is wrong with the request.

    Raises:
        DockgateError: VALIDATION_FAILED; COMMAND_NOT_FOUND for what is too long to be an id.
    """
    if len(request.command_id) > command_ids.LONGEST:
        raise _not_found(request.command_id)
    asking.check(request)
    return request.command_id.lower()


async def find(store: Store, reach: Reach, command_id: str) -> Command:
    """The caller's command.

    Raises:
        DockgateError: COMMAND_NOT_FOUND, also for another tenant's; FORBIDDEN for one of its own
            that went to a device out of reach.
    """
    command = await store.get_command(reach.caller.tenant, command_id)
    if command is None:
        raise _not_found(command_id)
    if not may_see(reach, command):
        raise asking.out_of_reach(reach.caller, command.device_id)
    return command


def _not_found(command_id: str) -> DockgateError:
    return DockgateError(
        Reason.COMMAND_NOT_FOUND,
        f"no command {command_id[:100]!r} is known",
        metadata={"command_id": command_id},
    )


def may_see(reach: Reach, command: Command) -> bool:
    """Whether a command of the caller's tenant went to a device within its reach."""
    return reach.has_target(command.gateway_id, command.device_id)


def not_cancellable(command: Command) -> DockgateError:
    """Why a command cannot be withdrawn any more, and what could be done instead."""
    metadata = {"command_id": command.id, "status": str(command.status)}
    if command.sending_at is None:
        return DockgateError(
            Reason.COMMAND_NOT_CANCELLABLE,
            f"the command has ended as {command.status}; there is nothing to withdraw",
            metadata=metadata,
        )
    if command.status is Status.FAILED:
        # The device, or the broker, would not have it: to undo it could break off something else.
        what = f"the command was sent and has ended as {command.status}; there is nothing to undo"
        return DockgateError(Reason.COMMAND_NOT_CANCELLABLE, what, metadata=metadata)
    method = catalogue.METHODS.get(command.command_type)
    undo = "no other method undoes it"
    if method is not None and method.spec.inverse:
        metadata["inverse_method"] = method.spec.inverse
        undo = f"{method.spec.inverse} is the method that undoes or stops it"
    when = f"has ended as {command.status}" if command.status.is_end else "may have left"
    return DockgateError(
        Reason.COMMAND_NOT_CANCELLABLE,
        f"the command was sent and {when}, so it cannot be called back; {undo}",
        metadata=metadata,
    )
