"""The endpoints, the errors and the signature in the OpenAPI document."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from dockgate_server.docs.schema import Schema, Value

DOWNLINK = "dockgate.downlink.v1"
ID = {"type": "string", "format": "uuid"}

_COMMANDS = "/api/v1/open/downlink/commands"
_REQUESTS = "/api/v1/open/device-requests"
_STATUS = re.compile(r"HTTP (\d{3})")
_WITH_A_BODY = {"VALIDATION_FAILED", "UNSUPPORTED_MEDIA_TYPE"}
_OWN = {
    "Submit": {
        *_WITH_A_BODY,
        "UNSUPPORTED_VENDOR",
        "UNSUPPORTED_COMMAND",
        "DEVICE_NOT_FOUND",
        "IDEMPOTENCY_CONFLICT",
    },
    "Get": {"COMMAND_NOT_FOUND"},
    "ListRequests": {"VALIDATION_FAILED", "UNSUPPORTED_VENDOR"},
    "GetRequest": {"DEVICE_REQUEST_NOT_FOUND"},
    "Reply": {*_WITH_A_BODY, "DEVICE_REQUEST_NOT_FOUND", "DEVICE_REQUEST_CLOSED"},
}
"""By endpoint that wants a signature, the reasons that not all of them give."""
_PUBLIC = {
    "INVALID_REQUEST_BODY",
    "METHOD_NOT_ALLOWED",
    "NOT_FOUND",
    "INTERNAL_ERROR",
    "UNAVAILABLE",
}
"""What is given where no signature is wanted; of these, INVALID_REQUEST_BODY means that what came
is not HTTP that can be read, or more of it than there may be."""
_REFERENCE = "Reference"
_TITLES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    500: "InternalError",
    503: "Unavailable",
}
_RETRY_LATER = (429, 503)
_UNAUTHORIZED = 401
_METHOD_NOT_ALLOWED = 405
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
_WHOSE = """\
What belongs to another tenant does not exist for the caller: 404, in the words of an id that was
never given out. What is of the caller's own tenant, on a device that its API key may not reach, is
refused: 403."""


def endpoints(schema: Schema, examples: Mapping[str, Any]) -> dict[str, Any]:
    """The paths, with an example of a submission for each given one."""
    shown = {name: {"value": value} for name, value in examples.items()}
    command_id = _path_parameter("commandId", "The id that the submission answered.")
    request_id = _path_parameter("requestId", "The request's id.")
    filters = [
        _filter("vendor", "Only requests of this vendor.", {"type": "string", "const": "dji"}),
        _filter("device_id", "Only requests of this gateway device.", {"type": "string"}),
        _filter("request_type", "Only requests of this type.", {"type": "string"}),
    ]
    return {
        _COMMANDS: {
            "post": {
                **_operation("Submit", "submitCommand", "Submit a command for a device."),
                "security": [_signature(_HEADERS)],
                "requestBody": _body("Submission", shown),
                "responses": {
                    "200": _answer("The same submission as before.", "Accepted"),
                    "202": _answer("A new command.", "Accepted"),
                    **_errors(schema, "Submit"),
                },
            }
        },
        f"{_COMMANDS}/{{commandId}}": {
            "get": {
                **_operation("Get", "getCommand", "Say what became of a command."),
                "description": _WHOSE,
                "parameters": [command_id, request_id_parameter()],
                "responses": {
                    "200": _answer("The command as it is now.", "Command"),
                    **_errors(schema, "Get"),
                },
            }
        },
        _REQUESTS: {
            "get": {
                **_operation("ListRequests", "listDeviceRequests", "List what devices ask for."),
                "parameters": [*filters, request_id_parameter()],
                "responses": {
                    "200": _answer("The newest requests, at most 500.", "DeviceRequests"),
                    **_errors(schema, "ListRequests"),
                },
            }
        },
        f"{_REQUESTS}/{{requestId}}": {
            "get": {
                **_operation("GetRequest", "getDeviceRequest", "Say what became of a request."),
                "description": _WHOSE,
                "parameters": [request_id, request_id_parameter()],
                "responses": {
                    "200": _answer("The request as it is now.", "DeviceRequest"),
                    **_errors(schema, "GetRequest"),
                },
            }
        },
        f"{_REQUESTS}/{{requestId}}/reply": {
            "post": {
                **_operation("Reply", "replyDeviceRequest", "Answer a request that waits."),
                "description": _WHOSE,
                "security": [_signature(_HEADERS)],
                "parameters": [request_id, request_id_parameter()],
                "requestBody": _body("DeviceRequestReply", {}),
                "responses": {
                    "202": _answer("The request as it was answered.", "DeviceRequest"),
                    **_errors(schema, "Reply"),
                },
            }
        },
    }


def responses(schema: Schema) -> dict[str, Any]:
    """Every error answer by its name, for all endpoints."""
    made = {
        _response_name(schema, status, endpoint): _error_response(reasons, status)
        for endpoint in (*_OWN, _REFERENCE)
        for status, reasons in _by_status(schema, endpoint).items()
    }
    return dict(sorted(made.items()))


def public_errors(schema: Schema) -> dict[str, Any]:
    """The error answers of an endpoint that wants no signature."""
    return _errors(schema, _REFERENCE)


def security_schemes() -> dict[str, Any]:
    """The headers that together are the signature."""
    return {
        name: {"type": "apiKey", "in": "header", "name": header, "description": text}
        for name, (header, text) in _HEADERS.items()
    }


def _operation(endpoint: str, operation_id: str, summary: str) -> dict[str, Any]:
    """What every endpoint has. A GET may go without a nonce."""
    return {
        "operationId": operation_id,
        "summary": summary,
        "tags": ["commands" if endpoint in ("Submit", "Get") else "device requests"],
        "security": [_signature(_HEADERS), _signature(set(_HEADERS) - {"Nonce"})],
        "parameters": [request_id_parameter()],
    }


def _signature(headers: Iterable[str]) -> dict[str, list[str]]:
    return {name: [] for name in _HEADERS if name in headers}


def _body(schema: str, examples: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    if examples:
        content["examples"] = examples
    return {"required": True, "content": {"application/json": content}}


def _path_parameter(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": text, "schema": ID}


def _filter(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": text, "schema": schema}


def _errors(schema: Schema, endpoint: str) -> dict[str, Any]:
    return {
        str(status): _reference(_response_name(schema, status, endpoint))
        for status in sorted(_by_status(schema, endpoint))
    }


def _response_name(schema: Schema, status: int, endpoint: str) -> str:
    """One name for all endpoints where all give the same answers."""
    name = _TITLES.get(status, f"Http{status}")
    having = [_by_status(schema, one) for one in (*_OWN, _REFERENCE)]
    found = [one[status] for one in having if status in one]
    return name if all(one == found[0] for one in found) else f"{name}On{endpoint}"


def _by_status(schema: Schema, endpoint: str) -> dict[int, list[Value]]:
    """The reasons that an endpoint may give, by their HTTP status."""
    others = set().union(*_OWN.values()) - _OWN.get(endpoint, set())
    found: dict[int, list[Value]] = {}
    for value in schema.values(f"{DOWNLINK}.ErrorReason"):
        status = _STATUS.match(value.comment)
        given = value.name in _PUBLIC if endpoint == _REFERENCE else value.name not in others
        if status and given:
            found.setdefault(int(status[1]), []).append(value)
    return found


def _error_response(reasons: list[Value], status: int) -> dict[str, Any]:
    lines = [f"- `{value.name}`: {_meaning(value)}" for value in reasons]
    headers: dict[str, Any] = {"X-Request-Id": header("The id of this request.")}
    if status == _UNAUTHORIZED:
        headers["WWW-Authenticate"] = header("The signature's algorithm.")
    if status == _METHOD_NOT_ALLOWED:
        headers["Allow"] = header("What is possible there.")
    if status in _RETRY_LATER:
        headers["Retry-After"] = header("Seconds to wait.")
    shown = {
        value.name: {"value": {"code": value.name, "message": "…", "request_id": "…"}}
        for value in reasons
    }
    content = {"schema": {"$ref": "#/components/schemas/Error"}, "examples": shown}
    return {
        "description": "\n".join(lines),
        "headers": headers,
        "content": {"application/json": content},
    }


def _meaning(value: Value) -> str:
    """The comment without the codes that it begins with."""
    return re.sub(r"^HTTP \d{3}.*?\. (?=[A-Z])", "", value.comment)


def _answer(text: str, schema: str) -> dict[str, Any]:
    return {
        "description": text,
        "headers": {"X-Request-Id": header("The id of this request.")},
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def request_id_parameter() -> dict[str, Any]:
    """The header with which a caller names its request."""
    return {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "description": "An id of your own for this request; it is given back. Made when absent.",
        "schema": _REQUEST_ID,
    }


def header(text: str) -> dict[str, Any]:
    """A header of a response."""
    return {"description": text, "schema": {"type": "string"}}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{name}"}
