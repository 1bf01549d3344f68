"""Between the open API's JSON and the schema and model.

The JSON of a submission becomes the same message that a gRPC caller sends, and the same use
case applies the rules to it; here is only what JSON has and a message cannot have: members that
are missing, unknown or of another type.
"""

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import errors
from dockgate_server.codec import catalogue, dji_json, job_words
from dockgate_server.errors import DockgateError, FieldViolation, Reason
from dockgate_server.http import body
from dockgate_server.model.command import Command, Job, Vendor

_TEXTS = ("vendor", "device_id", "command_type", "idempotency_key")
_MEMBERS = ("vendor", "device_id", "command_type", "payload", "idempotency_key", "timeout_seconds")
_INT32 = (-(2**31), 2**31 - 1)


def submission(values: Mapping[str, Any]) -> pb.SubmitCommandRequest:
    """The request that the body of a submission stands for.

    Raises:
        DockgateError: VALIDATION_FAILED naming everything that is missing, unknown or of the
            wrong type; UNSUPPORTED_VENDOR, UNSUPPORTED_COMMAND.
    """
    if violations := _wrong_members(values):
        raise errors.validation_failed(violations)
    if values["vendor"] != Vendor.DJI:
        raise errors.unsupported_vendor(values["vendor"], Vendor.DJI.value)
    name = values["command_type"]
    if name != catalogue.RAW:
        name = catalogue.find(name).name
    request = pb.SubmitCommandRequest(
        device_id=values["device_id"], idempotency_key=values["idempotency_key"]
    )
    timeout = values.get("timeout_seconds")
    if timeout is not None:
        # What does not fit into the field breaks its rule all the same.
        low, high = _INT32
        request.timeout_seconds = min(max(int(timeout), low), high)
    arm = getattr(request.dji, name)
    # Without fields the arm would otherwise not be set at all.
    arm.SetInParent()
    if violations := dji_json.from_dict(values.get("payload") or {}, arm, "payload"):
        raise errors.validation_failed(violations)
    return request


def is_emergency(raw: bytes) -> bool:
    """Whether a body is that of a submission which must get through; False if it is none."""
    try:
        name = body.parse_object(raw).get("command_type")
    except DockgateError:
        return False
    return isinstance(name, str) and name in catalogue.EMERGENCIES


def in_terms_of_json(error: DockgateError, command_type: str) -> DockgateError:
    """The error with fields of the method's message named as the body names them."""
    if not error.violations:
        return error
    arm = f"dji.{command_type}"
    renamed = [
        FieldViolation(f"payload{violation.field[len(arm) :]}", violation.description)
        if violation.field == arm or violation.field.startswith((f"{arm}.", f"{arm}["))
        else violation
        for violation in error.violations
    ]
    if error.reason is Reason.VALIDATION_FAILED:
        in_terms = errors.validation_failed(renamed)
    else:
        in_terms = DockgateError(
            error.reason, error.message, metadata=error.metadata, violations=renamed
        )
    in_terms.subject = error.subject
    return in_terms


def accepted(command: Command, request_id: str) -> dict[str, Any]:
    """The answer to a submission."""
    return {
        "command_id": command.id,
        "status": command.status.value,
        "accepted_at": time(command.accepted_at),
        "request_id": request_id,
    }


def status(command: Command, request_id: str, gateway_model: str = "") -> dict[str, Any]:
    """The answer to a query. Source of names and order: the platform's services-reply page.

    Args:
        command: The command.
        request_id: That of the query.
        gateway_model: The model of the command's dock, in whose words its job is told.
    """
    response = command.vendor_response
    members = {
        "command_id": command.id,
        "status": command.status.value,
        "vendor": command.vendor.value,
        "device_id": command.device_id,
        "command_type": command.command_type,
        "response_code": command.response_code,
        "response_message": command.response_message,
        # As the device wrote it: parsed and written again, its numbers might change.
        "vendor_response": None if response is None else orjson.Fragment(response),
        "failure_code": None if command.failure_code is None else command.failure_code.value,
        "failure_reason": command.failure_reason,
        "accepted_at": time(command.accepted_at),
        "delivered_at": time(command.delivered_at),
        "completed_at": time(command.completed_at),
        "response_received_at": time(command.response_received_at),
        "updated_at": time(command.updated_at),
        "job": _job(command.command_type, command.job, gateway_model) if command.job else None,
        "request_id": request_id,
    }
    return present(members)


def _wrong_members(values: Mapping[str, Any]) -> list[FieldViolation]:
    violations = []
    for name in _MEMBERS:
        problem = _problem(name, values.get(name), values)
        if problem is not None:
            violations.append(FieldViolation(name, problem))
    known = ", ".join(_MEMBERS)
    violations += [
        FieldViolation(name, f"is not a field here; the fields are {known}")
        for name in values
        if name not in _MEMBERS
    ]
    return violations


def _problem(name: str, value: Any, values: Mapping[str, Any]) -> str | None:
    """What is wrong with a member, as far as its presence and type go."""
    if name in _TEXTS:
        if value is None or value == "":
            return "is required and must not be empty"
        return None if isinstance(value, str) else "must be text"
    if name == "payload":
        if value is None:
            return "is required" if _needs_payload(values.get("command_type")) else None
        return None if isinstance(value, dict) else "must be an object"
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return None
    if isinstance(value, float) and value.is_integer():
        return None
    return "must be a whole number of seconds, 0 to 300"


def _needs_payload(command_type: Any) -> bool:
    """Whether a payload must be there; of a method that does not exist nobody can say."""
    if not isinstance(command_type, str) or command_type in ("", catalogue.RAW):
        return True
    method = catalogue.METHODS.get(command_type)
    return method is not None and bool(method.descriptor.fields)


def _job(command_type: str, job: Job, model: str) -> dict[str, Any]:
    members = {
        "state": job.state.value,
        "percent": job.percent,
        "step": job.step or None,
        "step_message": job_words.step(command_type, job, model) or None,
        "result": job.result,
        "updated_at": time(job.updated_at),
        "result_message": job_words.result(job) or None,
        "break_reason": job.break_reason,
        "break_reason_message": job_words.break_reason(job) or None,
    }
    return present(members)


def present(members: dict[str, Any]) -> dict[str, Any]:
    """The members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


def time(milliseconds: int | None) -> str | None:
    """RFC 3339 in UTC with milliseconds."""
    if milliseconds is None:
        return None
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03}Z"


@functools.lru_cache
def _second(seconds: int) -> str:
    # The times of a command, and of those beside it, are of few different seconds.
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
