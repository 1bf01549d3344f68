"""The endpoints of the documentation itself in the OpenAPI document: no signature, no secrets."""

from typing import Any

from dockgate_server.docs.endpoints import header, public_errors, request_id_parameter
from dockgate_server.docs.schema import Schema

DOCUMENT = "/openapi.json"
PAGES = "/docs"
STYLE = f"{PAGES}/style.css"

_METHOD = {
    "name": "commandType",
    "in": "path",
    "required": True,
    "description": "A command_type.",
    "schema": {"type": "string", "pattern": "^[a-z0-9_]{1,64}$"},
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of what the client has; what has not changed is not sent again.",
    "schema": {"type": "string"},
}


def endpoints(schema: Schema) -> dict[str, Any]:
    """The paths of the document and of the pages made from it."""
    return {
        DOCUMENT: _got(schema, "Document", "This document.", "application/json", {}),
        PAGES: _got(schema, "Reference", "The reference, as a page.", "text/html", {}),
        f"{PAGES}/methods/{{commandType}}": _got(
            schema, "MethodPage", "A command_type, as a page.", "text/html", _METHOD
        ),
        STYLE: _got(schema, "Style", "How the pages look.", "text/css", {}),
    }


def _got(
    schema: Schema, name: str, summary: str, content_type: str, parameter: dict[str, Any]
) -> dict[str, Any]:
    parameters = [*([parameter] if parameter else []), _IF_NONE_MATCH, request_id_parameter()]
    headers = {
        "X-Request-Id": header("The id of this request."),
        "ETag": header("Changes with the content."),
    }
    kind = "object" if content_type == "application/json" else "string"
    found = {
        "description": summary,
        "headers": headers,
        "content": {content_type: {"schema": {"type": kind}}},
    }
    same = {"description": "The client has it already.", "headers": headers}
    shared = {"summary": summary, "tags": ["reference"], "security": [], "parameters": parameters}
    errors = public_errors(schema)
    empty = {
        status: {"description": "The same, without a body."} for status in ("200", "304", *errors)
    }
    return {
        "get": {
            "operationId": f"get{name}",
            **shared,
            "responses": {"200": found, "304": same, **errors},
        },
        "head": {"operationId": f"head{name}", **shared, "responses": empty},
    }
