"""From the model to the messages of ``dockgate.downlink.v1``."""

import orjson
from google.protobuf import json_format, struct_pb2, timestamp_pb2

from dockgate.downlink.v1 import command_pb2, error_reason_pb2
from dockgate_server.codec import catalogue, dji_json
from dockgate_server.model.command import Command, CommandEvent, Job


def command(of: Command) -> command_pb2.Command:
    """A command as callers see it."""
    message = command_pb2.Command(
        command_id=of.id,
        vendor=of.vendor,
        device_id=of.device_id,
        gateway_id=of.gateway_id,
        command_type=of.command_type,
        status=command_pb2.CommandStatus.Value(f"COMMAND_STATUS_{of.status}"),
        revision=of.revision,
        timeout_seconds=of.timeout_seconds,
        response_code=of.response_code,
        response_message=of.response_message,
        failure_reason=of.failure_reason,
        accepted_at=_time(of.accepted_at),
        delivered_at=_time(of.delivered_at),
        completed_at=_time(of.completed_at),
        response_received_at=_time(of.response_received_at),
        updated_at=_time(of.updated_at),
        deadline_at=_time(of.deadline_at),
    )
    if of.completion_basis is not None:
        name = f"COMPLETION_BASIS_{of.completion_basis}"
        message.completion_basis = command_pb2.CompletionBasis.Value(name)
    if of.failure_code is not None:
        name = f"FAILURE_CODE_{of.failure_code}"
        message.failure_code = error_reason_pb2.FailureCode.Value(name)
    if of.vendor_response is not None:
        # Into a fresh message: json_format writes into whatever it is given.
        message.vendor_response.CopyFrom(_struct(of.vendor_response))
        _fill_reply(of, message)
    if of.job is not None:
        message.job.CopyFrom(_job(of.job))
    return message


def event(of: CommandEvent) -> command_pb2.CommandEvent:
    """An event as callers see it."""
    message = command_pb2.CommandEvent(
        revision=of.revision,
        kind=command_pb2.CommandEventKind.Value(f"COMMAND_EVENT_KIND_{of.kind}"),
        occurred_at=_time(of.occurred_at),
        command=command(of.command),
        note=of.note,
    )
    if of.reply is not None:
        json_format.ParseDict(orjson.loads(of.reply), message.reply)
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


def _job(of: Job) -> command_pb2.Job:
    return command_pb2.Job(
        state=command_pb2.JobState.Value(f"JOB_STATE_{of.state}"),
        percent=of.percent,
        step=of.step,
        result=of.result,
        updated_at=_time(of.updated_at),
    )


def _struct(raw: bytes) -> struct_pb2.Struct:
    return json_format.ParseDict(orjson.loads(raw), struct_pb2.Struct())


def _time(milliseconds: int | None) -> timestamp_pb2.Timestamp | None:
    if milliseconds is None:
        return None
    seconds, rest = divmod(milliseconds, 1000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=rest * 1_000_000)
