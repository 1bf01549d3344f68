"""From the catalogue of reasons to gRPC statuses: the one place where that happens."""

import functools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc
import structlog
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status

from dockgate_server.errors import ERROR_DOMAIN, DockgateError, Reason

_log = structlog.get_logger(__name__)

Servicer = TypeVar("Servicer")
Request = TypeVar("Request")
Response = TypeVar("Response")
Context = aio.ServicerContext[Any, Any]

# google.rpc.Status wants code numbers, and a large error would not fit into the trailers, which
# are 8 KiB by default.
_MOST_VIOLATIONS = 20
_LONGEST_MESSAGE = 1000


def unary(
    handler: Callable[[Servicer, Request, Context], Awaitable[Response]],
) -> Callable[[Servicer, Request, Context], Awaitable[Response]]:
    """Make a handler's DockgateError the call's status, and any other exception INTERNAL."""

    @functools.wraps(handler)
    async def wrapped(servicer: Servicer, request: Request, context: Context) -> Response:
        try:
            return await handler(servicer, request, context)
        except Exception as error:
            await _abort(context, error)

    return wrapped


def streaming(
    handler: Callable[[Servicer, Request, Context], AsyncIterator[Response]],
) -> Callable[[Servicer, Request, Context], AsyncIterator[Response]]:
    """The same for a handler that streams."""

    @functools.wraps(handler)
    async def wrapped(
        servicer: Servicer, request: Request, context: Context
    ) -> AsyncIterator[Response]:
        try:
            async for response in handler(servicer, request, context):
                yield response
        except Exception as error:
            await _abort(context, error)

    return wrapped


def to_status(error: DockgateError) -> status_pb2.Status:
    """The error with its machine-readable details."""
    code, _ = grpc.StatusCode[error.reason.grpc_code].value
    message = error.message[:_LONGEST_MESSAGE]
    status = status_pb2.Status(code=code, message=message)
    info = error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=ERROR_DOMAIN,
        metadata={key: value[:256] for key, value in error.metadata.items()},
    )
    details: list[Any] = [info]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=violation.field[:256], description=violation.description[:256]
            )
            for violation in error.violations[:_MOST_VIOLATIONS]
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


async def _abort(context: Context, error: Exception) -> NoReturn:
    if isinstance(error, aio.AbortError):
        raise error
    if not isinstance(error, DockgateError):
        # The text of a bug belongs in the log; the caller gets the id by which it is found.
        request_id = str(uuid.uuid4())
        _log.error("internal_error", request_id=request_id, exc_info=error)
        error = DockgateError(
            Reason.INTERNAL_ERROR,
            f"an internal error; the log has it under request_id {request_id}",
            metadata={"request_id": request_id},
        )
    status = rpc_status.to_status(to_status(error))
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort() raises")
