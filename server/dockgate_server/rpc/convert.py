"""From the model to the messages of ``dockgate.downlink.v1``."""

from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf import json_format, struct_pb2

from dockgate.downlink.v1 import command_pb2, error_reason_pb2
from dockgate_server.codec import catalogue, dji_json, job_words
from dockgate_server.model.command import (
    Command,
    CommandEvent,
    CompletionBasis,
    EventKind,
    FailureCode,
    Job,
    OfflinePolicy,
    Status,
)
from dockgate_server.model.transitions import Unmatched

ModelOf = Callable[[str], str]
"""Gives the model of a gateway device; "" while it is not known."""


# Looked up once: to put the schema's name together each time takes several times as long.
_STATUSES = {one: command_pb2.CommandStatus.Value(f"COMMAND_STATUS_{one}") for one in Status}
_POLICIES = {one: command_pb2.OfflinePolicy.Value(f"OFFLINE_POLICY_{one}") for one in OfflinePolicy}
_KINDS = {one: command_pb2.CommandEventKind.Value(f"COMMAND_EVENT_KIND_{one}") for one in EventKind}
_BASES = {
    one: command_pb2.CompletionBasis.Value(f"COMPLETION_BASIS_{one}") for one in CompletionBasis
}
_FAILURES = {one: error_reason_pb2.FailureCode.Value(f"FAILURE_CODE_{one}") for one in FailureCode}


def _of_no_model(gateway_id: str) -> str:
    return ""


def command(of: Command, model_of: ModelOf = _of_no_model) -> command_pb2.Command:
    """A command as callers see it; with the model of its dock its job is told in that one's words.

    Args:
        of: The command.
        model_of: Is asked only where there is a job.
    """
    message = command_pb2.Command(
        command_id=of.id,
        vendor=of.vendor,
        device_id=of.device_id,
        gateway_id=of.gateway_id,
        command_type=of.command_type,
        status=_STATUSES[of.status],
        revision=of.revision,
        timeout_seconds=of.timeout_seconds,
        response_code=of.response_code,
        response_message=of.response_message,
        failure_reason=of.failure_reason,
        accepted_at=timestamp(of.accepted_at),
        delivered_at=timestamp(of.delivered_at),
        completed_at=timestamp(of.completed_at),
        response_received_at=timestamp(of.response_received_at),
        updated_at=timestamp(of.updated_at),
        deadline_at=timestamp(of.deadline_at),
        offline_policy=_POLICIES[of.offline_policy],
    )
    if of.completion_basis is not None:
        message.completion_basis = _BASES[of.completion_basis]
    if of.failure_code is not None:
        message.failure_code = _FAILURES[of.failure_code]
    if of.vendor_response is not None:
        message.vendor_response.CopyFrom(struct(of.vendor_response))
        _fill_reply(of, message)
    if of.job is not None:
        message.job.CopyFrom(_job(of.command_type, of.job, model_of(of.gateway_id)))
    return message


def event(of: CommandEvent, model_of: ModelOf = _of_no_model) -> command_pb2.CommandEvent:
    """An event as callers see it, with its command as that was then."""
    message = command_pb2.CommandEvent(
        revision=of.revision,
        kind=_KINDS[of.kind],
        occurred_at=timestamp(of.occurred_at),
        command=command(of.command, model_of),
        note=of.note,
    )
    if of.reply is not None:
        json_format.ParseDict(orjson.loads(of.reply), message.reply)
    return message


def unmatched(of: Unmatched) -> command_pb2.UnmatchedResponse:
    """A reply of the ledger as callers see it."""
    message = command_pb2.UnmatchedResponse(
        gateway_id=of.gateway_id,
        tid=of.tid,
        method=of.method,
        reason=of.reason,
        received_at=timestamp(of.received_at),
    )
    try:
        json_format.ParseDict(orjson.loads(of.data), message.data)
    except (orjson.JSONDecodeError, json_format.ParseError):
        message.raw = of.data  # not JSON, cut off, or nested deeper than a Value can be
    return message


def _fill_reply(of: Command, message: command_pb2.Command) -> None:
    """The typed reply, of methods that have one. It stands beside the result or in `output`."""
    if of.command_type not in catalogue.REPLIES or of.vendor_response is None:
        return
    data = orjson.loads(of.vendor_response)
    output = data.get("output")
    members = {**data, **output} if isinstance(output, dict) else data
    part = getattr(message.reply, of.command_type)
    part.SetInParent()
    dji_json.read_tolerantly(members, part)


def _job(command_type: str, of: Job, model: str) -> command_pb2.Job:
    return command_pb2.Job(
        state=command_pb2.JobState.Value(f"JOB_STATE_{of.state}"),
        percent=of.percent,
        step=of.step,
        step_message=job_words.step(command_type, of, model),
        result=of.result,
        updated_at=timestamp(of.updated_at),
        result_message=job_words.result(of),
        break_reason=of.break_reason,
        break_reason_message=job_words.break_reason(of),
    )


def struct(raw: bytes) -> struct_pb2.Struct:
    """A JSON object as a message."""
    return struct_of(orjson.loads(raw))


def struct_of(values: dict[str, Any]) -> struct_pb2.Struct:
    """The same of a parsed one. Into a fresh message: json_format adds to whatever it is given."""
    return json_format.ParseDict(values, struct_pb2.Struct())


def timestamp(milliseconds: int | None) -> Any:
    """A time of the model, for the constructor of the message that it is for; None stays None.

    A dict, of which protobuf makes the message: that takes a third of the time of making it here.
    """
    if milliseconds is None:
        return None
    seconds, rest = divmod(milliseconds, 1000)
    return {"seconds": seconds, "nanos": rest * 1_000_000}
