"""From the catalogue of reasons to gRPC statuses: the one place where that happens."""

from typing import Any

import grpc
import structlog
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from dockgate_server.errors import (
    ERROR_DOMAIN,
    LONGEST_MESSAGE,
    LONGEST_VALUE,
    MOST_VIOLATIONS,
    DockgateError,
    Reason,
)

_log = structlog.get_logger(__name__)


def to_status(error: DockgateError) -> status_pb2.Status:
    """The error with its machine-readable details."""
    # google.rpc.Status wants its number.
    code, _ = grpc.StatusCode[error.reason.grpc_code].value
    message = error.message[:LONGEST_MESSAGE]
    status = status_pb2.Status(code=code, message=message)
    info = error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=ERROR_DOMAIN,
        metadata={key: value[:LONGEST_VALUE] for key, value in error.metadata.items()},
    )
    details: list[Any] = [info]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=violation.field[:LONGEST_VALUE],
                description=violation.description[:LONGEST_VALUE],
            )
            for violation in error.violations[:MOST_VIOLATIONS]
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.reason is Reason.RATE_LIMITED:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(
            round(float(error.metadata.get("retry_after_seconds", "1")) * 1000)
        )
        details.append(retry)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def refusal(error: Exception, request_id: str) -> DockgateError:
    """What a caller is told of any exception; the text of a bug goes to the log alone."""
    if isinstance(error, DockgateError):
        return error
    _log.error("internal_error", exc_info=error)
    return DockgateError(
        Reason.INTERNAL_ERROR,
        f"an internal error; the log has it under request_id {request_id}",
        metadata={"request_id": request_id},
    )
