"""The endpoints, the errors and the signature in the OpenAPI document."""

import re
from collections.abc import Mapping
from typing import Any

from dockgate_server.docs.schema import Schema, Value

DOWNLINK = "dockgate.downlink.v1"
ID = {"type": "string", "format": "uuid"}

_COMMANDS = "/api/v1/open/downlink/commands"
_STATUS = re.compile(r"HTTP (\d{3})")
_ONLY_BY_SUBMITTING = {
    "INVALID_REQUEST_BODY",
    "VALIDATION_FAILED",
    "UNSUPPORTED_VENDOR",
    "UNSUPPORTED_COMMAND",
    "DEVICE_NOT_FOUND",
    "IDEMPOTENCY_CONFLICT",
    "UNSUPPORTED_MEDIA_TYPE",
}
_ONLY_BY_ASKING = {"COMMAND_NOT_FOUND"}
# Of a request that is none of those described here.
_ELSEWHERE = {"METHOD_NOT_ALLOWED", "NOT_FOUND"}
_TITLES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    500: "InternalError",
    503: "Unavailable",
}
_RETRY_LATER = (429, 503)
_UNAUTHORIZED = 401
_SIGNATURE = """\
HMAC-SHA256 of the request under the API key's UTF-8 bytes, as 64 lower-case hex digits. Signed are
eight lines joined by a newline, with none at the end:

1. `UTMOS-HMAC-SHA256`
2. the HTTP method, in capitals
3. the path, percent-encoded as sent
4. the query string, its pairs sorted by name, then value, each as sent; empty when there is none
5. `X-Api-Id`
6. `X-Api-Timestamp`
7. `X-Api-Nonce`; empty when there is none
8. SHA-256 of the raw body as lower-case hex (of zero bytes for GET)"""
_HEADERS = {
    "ApiId": ("X-Api-Id", "The API ID."),
    "Timestamp": (
        "X-Api-Timestamp",
        "Unix seconds; by default at most 300 away from the gateway's clock.",
    ),
    "Nonce": (
        "X-Api-Nonce",
        "Never used before by this API ID. A GET may go without one, a POST may not.",
    ),
    "Signature": ("X-Api-Signature", _SIGNATURE),
}
_REQUEST_ID = {"type": "string", "minLength": 1, "maxLength": 128}


def endpoints(schema: Schema, examples: Mapping[str, Any]) -> dict[str, Any]:
    """The paths, with an example of a submission for each given one."""
    with_nonce: dict[str, list[str]] = {name: [] for name in _HEADERS}
    without_nonce: dict[str, list[str]] = {name: [] for name in _HEADERS if name != "Nonce"}
    shown = {name: {"value": value} for name, value in examples.items()}
    content = {"schema": {"$ref": "#/components/schemas/Submission"}, "examples": shown}
    command_id = {
        "name": "commandId",
        "in": "path",
        "required": True,
        "description": "The id that the submission answered.",
        "schema": ID,
    }
    return {
        _COMMANDS: {
            "post": {
                "operationId": "submitCommand",
                "summary": "Submit a command for a device.",
                "tags": ["commands"],
                "security": [with_nonce],
                "parameters": [_request_id_parameter()],
                "requestBody": {"required": True, "content": {"application/json": content}},
                "responses": {
                    "200": _answer("The same submission as before.", "Accepted"),
                    "202": _answer("A new command.", "Accepted"),
                    **_errors(schema, _ONLY_BY_ASKING),
                },
            }
        },
        f"{_COMMANDS}/{{commandId}}": {
            "get": {
                "operationId": "getCommand",
                "summary": "Say what became of a command.",
                "tags": ["commands"],
                "security": [with_nonce, without_nonce],
                "parameters": [command_id, _request_id_parameter()],
                "responses": {
                    "200": _answer("The command as it is now.", "Command"),
                    **_errors(schema, _ONLY_BY_SUBMITTING),
                },
            }
        },
    }


def responses(schema: Schema) -> dict[str, Any]:
    """Every error answer by its name, for the two endpoints."""
    made = {"OtherError": _error_response("Any other refusal.", _reasons(schema, _ELSEWHERE))}
    for without in (_ONLY_BY_ASKING, _ONLY_BY_SUBMITTING):
        for status, reasons in _by_status(schema, without).items():
            made[_response_name(schema, status, without)] = _error_response("", reasons, status)
    return dict(sorted(made.items()))


def security_schemes() -> dict[str, Any]:
    """The headers that together are the signature."""
    return {
        name: {"type": "apiKey", "in": "header", "name": header, "description": text}
        for name, (header, text) in _HEADERS.items()
    }


def _errors(schema: Schema, without: set[str]) -> dict[str, Any]:
    found = {
        str(status): _reference(_response_name(schema, status, without))
        for status in sorted(_by_status(schema, without))
    }
    return {**found, "default": _reference("OtherError")}


def _response_name(schema: Schema, status: int, without: set[str]) -> str:
    """One name for both endpoints where both give the same answers."""
    name = _TITLES.get(status, f"Http{status}")
    if _by_status(schema, _ONLY_BY_ASKING).get(status) == _by_status(
        schema, _ONLY_BY_SUBMITTING
    ).get(status):
        return name
    return f"{name}OnSubmit" if without == _ONLY_BY_ASKING else f"{name}OnGet"


def _by_status(schema: Schema, without: set[str]) -> dict[int, list[Value]]:
    """The reasons that an endpoint may give, by their HTTP status."""
    found: dict[int, list[Value]] = {}
    for value in schema.values(f"{DOWNLINK}.ErrorReason"):
        status = _STATUS.match(value.comment)
        if status and value.name not in without | _ELSEWHERE:
            found.setdefault(int(status[1]), []).append(value)
    return found


def _reasons(schema: Schema, names: set[str]) -> list[Value]:
    return [one for one in schema.values(f"{DOWNLINK}.ErrorReason") if one.name in names]


def _error_response(text: str, reasons: list[Value], status: int = 0) -> dict[str, Any]:
    lines = [f"- `{value.name}`: {_meaning(value)}" for value in reasons]
    headers: dict[str, Any] = {"X-Request-Id": _header("The id of this request.")}
    if status == _UNAUTHORIZED:
        headers["WWW-Authenticate"] = _header("The signature's algorithm.")
    if status in _RETRY_LATER:
        headers["Retry-After"] = _header("Seconds to wait.")
    shown = {
        value.name: {"value": {"code": value.name, "message": "…", "request_id": "…"}}
        for value in reasons
    }
    content = {"schema": {"$ref": "#/components/schemas/Error"}, "examples": shown}
    return {
        "description": "\n".join([text, *lines] if text else lines),
        "headers": headers,
        "content": {"application/json": content},
    }


def _meaning(value: Value) -> str:
    """The comment without the codes that it begins with."""
    return re.sub(r"^HTTP \d{3}(, [A-Z_]+)?\. ", "", value.comment)


def _answer(text: str, schema: str) -> dict[str, Any]:
    return {
        "description": text,
        "headers": {"X-Request-Id": _header("The id of this request.")},
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _request_id_parameter() -> dict[str, Any]:
    return {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "description": "An id of your own for this request; it is given back. Made when absent.",
        "schema": _REQUEST_ID,
    }


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{name}"}
