"""From the catalogue of reasons to HTTP responses: the one place where that happens.

The body of every error is ``{"code", "message", "request_id"}``; beside them ``details`` (a list
of ``{"field", "description"}``) where fields are at fault, and ``metadata`` (an object of texts)
with the keys that ``error_reason.proto`` lists for the reason, where it has some.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from dockgate_server.access import signature
from dockgate_server.errors import (
    LONGEST_MESSAGE,
    LONGEST_VALUE,
    MOST_VIOLATIONS,
    DockgateError,
    Reason,
)
from dockgate_server.http.responses import json_response

RETRY_AFTER_SECONDS = 1
"""What a 503 asks its caller to wait."""

_HEADERS: dict[Reason, Callable[[DockgateError], dict[str, str]]] = {
    Reason.METHOD_NOT_ALLOWED: lambda error: {"Allow": error.metadata["allowed"]},
    Reason.RATE_LIMITED: lambda error: {"Retry-After": error.metadata["retry_after_seconds"]},
    Reason.UNAVAILABLE: lambda _: {"Retry-After": str(RETRY_AFTER_SECONDS)},
}


def error_response(error: DockgateError, request_id: str) -> web.Response:
    """The error as a response."""
    body: dict[str, Any] = {
        "code": error.reason.value,
        "message": _text(error.message, LONGEST_MESSAGE),
        "request_id": request_id,
    }
    if error.violations:
        body["details"] = [
            {
                "field": _text(violation.field),
                "description": _text(violation.description),
            }
            for violation in error.violations[:MOST_VIOLATIONS]
        ]
    if error.metadata:
        body["metadata"] = {key: _text(text) for key, text in error.metadata.items()}
    response = json_response(error.reason.http_status, body, request_id)
    if error.reason in _HEADERS:
        response.headers.update(_HEADERS[error.reason](error))
    if error.reason.http_status == web.HTTPUnauthorized.status_code:
        # RFC 9110 wants every 401 to name a scheme.
        response.headers["WWW-Authenticate"] = signature.ALGORITHM
    return response


def internal_error() -> DockgateError:
    """What a caller is told of a bug: nothing but that there is one."""
    return DockgateError(
        Reason.INTERNAL_ERROR, "an internal error; the log has it under this request_id"
    )


def _text(text: str, longest: int = LONGEST_VALUE) -> str:
    """As much of a text as is given back; bytes of a header that were no UTF-8 are written out."""
    return text[:longest].encode("utf-8", "backslashreplace").decode()
