"""The OpenAPI 3.1 document of the HTTP open API."""

import json
from collections.abc import Mapping
from typing import Any

from dockgate_server.docs import (
    comments,
    device_requests,
    examples,
    json_schema,
    limits,
    reference,
)
from dockgate_server.docs.endpoints import DOWNLINK, ID, endpoints, responses, security_schemes
from dockgate_server.docs.schema import Field, Method, Schema
from dockgate_server.docs.tables import DJI_PAGES

Examples = Mapping[str, Mapping[str, Any]]
"""Whole submissions by method, where there are better ones than made ones."""

_COMMAND = f"{DOWNLINK}.Command"
_TIMES = ("accepted_at", "delivered_at", "completed_at", "response_received_at", "updated_at")
_MEMBERS = (
    "command_id",
    "status",
    "vendor",
    "device_id",
    "command_type",
    "response_code",
    "response_message",
    "vendor_response",
    "failure_code",
    "failure_reason",
    *_TIMES,
)
_ALWAYS = ["command_id", "status", "vendor", "device_id", "command_type", "accepted_at"]
_EXAMPLE_COMMAND = {
    "command_id": "100e2826-e45b-50cb-b41f-e8df6d20bea2",
    "status": "FAILED",
    "vendor": "dji",
    "device_id": "drone-001",
    "command_type": "camera_recording_start",
    "response_code": "5001",
    "response_message": "camera busy",
    "vendor_response": {"result": 5001, "message": "camera busy", "detail": "busy"},
    "failure_code": "DEVICE_EXECUTION_FAILED",
    "failure_reason": "camera busy",
    "accepted_at": "2026-04-22T12:00:00.000Z",
    "completed_at": "2026-04-22T12:00:03.000Z",
    "updated_at": "2026-04-22T12:00:03.000Z",
    "request_id": "8a1c9d0e-5b1f-4e57-9a55-2f4a3c1f0b6d",
}
_RAW_EXAMPLE = {"method": "a_newer_method", "channel": "services", "data": {"action": 1}}
_DESCRIPTION = """\
Sends commands to DJI docks, drones and remote controllers, and says what became of them.

A submission answers when the command is stored (ACCEPTED), not when it was carried out: ask for it
until it has ended. Sending the same submission again with the same `idempotency_key` is safe.

Each command_type has a schema of its own. Numbers of enums that are not listed are passed on;
members that are not listed are refused, as they would otherwise be dropped on their way to an
aircraft. A member that is null counts as absent."""


def document(schema: Schema, given: Examples, version: str) -> dict[str, Any]:
    """The whole document.

    Args:
        schema: The schema.
        given: Submissions by method, where there are better ones than made ones.
        version: The version of the API.
    """
    methods = sorted(schema.methods, key=lambda method: method.number)
    every = [*schema.raw, *methods]
    schemas: dict[str, Any] = {"Submission": _submission(every), **_shared(schema)}
    for method in methods:
        request = given.get(method.name) or _made_request(method)
        schemas[f"{method.message}Command"] = _command(method, request)
        schemas[method.message] = _payload(method, request)
        if method.answer:
            schemas[f"{method.message}Reply"] = _reply(method)
    for method in schema.raw:
        request = {**_made_request(method), "payload": _RAW_EXAMPLE}
        schemas[f"{method.message}Command"] = _command(method, request)
        schemas[method.message] = _payload(method, request)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dockgate open API",
            "version": version,
            "description": _DESCRIPTION,
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "commands", "description": "Commands and what became of them."},
            {"name": "device requests", "description": "What devices ask for, and answering it."},
            {"name": "reference", "description": "This document, for programs and for people."},
        ],
        "paths": {
            **endpoints(schema, {name: dict(given[name]) for name in sorted(given)}),
            **reference.endpoints(schema),
        },
        "components": {
            "schemas": schemas,
            "responses": responses(schema),
            "securitySchemes": security_schemes(),
        },
    }


def as_text(whole: Mapping[str, Any]) -> str:
    """The document for people and for a comparison line by line."""
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def as_served(whole: Mapping[str, Any]) -> str:
    """The same without a space too many."""
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False) + "\n"


def _submission(methods: list[Method]) -> dict[str, Any]:
    references = {method.name: _reference(f"{method.message}Command") for method in methods}
    return {
        "title": "Submission",
        "description": "A command for a device, by its command_type.",
        "type": "object",
        "oneOf": list(references.values()),
        "discriminator": {
            "propertyName": "command_type",
            "mapping": {name: one["$ref"] for name, one in references.items()},
        },
    }


def _command(method: Method, request: Mapping[str, Any]) -> dict[str, Any]:
    required = ["vendor", "device_id", "command_type", "idempotency_key"]
    if method.fields:
        required.append("payload")
    timeout = {**_reference("TimeoutSeconds"), "default": method.timeout_seconds}
    return {
        "title": method.name,
        "description": _summary(method),
        "type": "object",
        "properties": {
            "vendor": _reference("Vendor"),
            "device_id": _reference("DeviceId"),
            "command_type": {"type": "string", "const": method.name},
            "payload": _reference(method.message),
            "idempotency_key": _reference("IdempotencyKey"),
            "timeout_seconds": timeout,
        },
        "required": required,
        "additionalProperties": False,
        **({"deprecated": True} if method.deprecated else {}),
        "examples": [dict(request)],
        **({"x-dji": _facts(method)} if method.spec else {}),
    }


def _payload(method: Method, request: Mapping[str, Any]) -> dict[str, Any]:
    description = method.description
    for rule in limits.over_several_fields(method.rules):
        description += f"\n\nRule: {rule}"
    return {
        "title": f"Payload of {method.name}",
        "description": description,
        **json_schema.of_object(method.fields),
        "examples": [request.get("payload") or {}],
    }


def _reply(method: Method) -> dict[str, Any]:
    return {
        "title": f"Answer to {method.name}",
        "description": method.answer_description,
        **json_schema.of_object(method.answer, is_open=True),
    }


def _facts(method: Method) -> dict[str, Any]:
    spec = method.spec
    facts: dict[str, Any] = {
        "channel": spec["channel"],
        "domain": spec["domain"],
        "devices": list(spec.get("devices", ())),
        "safe_to_repeat": spec.get("safe_to_repeat", False),
        "dangerous": spec.get("dangerous", False),
        "overtakes": spec.get("overtakes", False),
        "progress_events": [event["method"] for event in spec.get("progress", ())],
    }
    if "inverse" in spec:
        facts["undone_by"] = spec["inverse"]
    if "page" in spec:
        facts["page"] = f"{DJI_PAGES}{spec['page']}"
    if method.answer:
        facts["reply"] = _reference(f"{method.message}Reply")
    return facts


def _made_request(method: Method) -> dict[str, Any]:
    request: dict[str, Any] = {
        "vendor": "dji",
        "device_id": "drone-001",
        "command_type": method.name,
        "payload": examples.of(method),
        "idempotency_key": f"req-{method.name}-001",
        "timeout_seconds": method.timeout_seconds,
    }
    return request


def _shared(schema: Schema) -> dict[str, Any]:
    """What is no method's own."""
    asked = {field.name: field for field in schema.fields(f"{DOWNLINK}.SubmitCommandRequest")}
    return {
        "Vendor": {"type": "string", "const": "dji", "description": "Whose device it is."},
        "DeviceId": _of_request(asked["device_id"]),
        "IdempotencyKey": _of_request(asked["idempotency_key"]),
        "TimeoutSeconds": _of_request(asked["timeout_seconds"]),
        "Accepted": _accepted(schema),
        "Command": _state(schema),
        "Job": _job(schema),
        **device_requests.schemas(schema),
        "Error": _error(schema),
    }


def _of_request(field: Field) -> dict[str, Any]:
    return json_schema.of_field(field)


def _accepted(schema: Schema) -> dict[str, Any]:
    properties = {
        "command_id": {**ID, "description": schema.comment(f"{_COMMAND}.command_id")},
        "status": {"type": "string", "const": "ACCEPTED"},
        "accepted_at": _time(schema.comment(f"{_COMMAND}.accepted_at")),
        "request_id": {"type": "string", "description": "The id of this request."},
    }
    example = {name: _EXAMPLE_COMMAND[name] for name in properties} | {"status": "ACCEPTED"}
    return {
        "type": "object",
        "description": "A command that is stored and will be sent, or end in a stated reason.",
        "properties": properties,
        "required": list(properties),
        "examples": [example],
    }


def _state(schema: Schema) -> dict[str, Any]:
    text = {name: schema.comment(f"{_COMMAND}.{name}") for name in _MEMBERS}
    # What follows is about gRPC.
    text["vendor_response"] = text["vendor_response"].partition("\n\n")[0]
    properties: dict[str, Any] = {
        name: {"type": "string", "description": text[name]} for name in _MEMBERS
    }
    properties |= {name: _time(text[name]) for name in _TIMES}
    properties["command_id"] |= ID
    properties["vendor_response"]["type"] = "object"
    statuses = schema.values(f"{DOWNLINK}.CommandStatus")[1:]
    properties["status"] |= {
        "enum": [value.name for value in statuses],
        "x-enum-descriptions": [value.comment for value in statuses],
    }
    failures = schema.values(f"{DOWNLINK}.FailureCode")[1:]
    properties["failure_code"] |= json_schema.open_words(failures)
    job = schema.comment(f"{_COMMAND}.job")
    properties["job"] = {**_reference("Job"), "description": job}
    properties["request_id"] = {"type": "string", "description": "The id of this request."}
    return {
        "type": "object",
        "description": f"{schema.comment(_COMMAND)} What has no value is left out.",
        "properties": properties,
        "required": [*_ALWAYS, "updated_at", "request_id"],
        "examples": [_EXAMPLE_COMMAND],
    }


def _job(schema: Schema) -> dict[str, Any]:
    job = f"{DOWNLINK}.Job"
    states = schema.values(f"{DOWNLINK}.JobState")[1:]
    types: dict[str, Any] = {
        "state": json_schema.open_words(states),
        "percent": {"type": "integer"},
        "step": {"type": "string"},
        "step_message": {"type": "string"},
        "result": {"type": "integer", "format": "int64"},
        "result_message": {"type": "string"},
        "break_reason": {"type": "integer"},
        "break_reason_message": {"type": "string"},
        "updated_at": {"type": "string", "format": "date-time"},
    }
    return {
        "type": "object",
        "description": schema.comment(job),
        "properties": {
            name: {**one, "description": schema.comment(f"{job}.{name}")}
            for name, one in types.items()
        },
        "required": ["state", "updated_at"],
    }


def _error(schema: Schema) -> dict[str, Any]:
    reasons = schema.values(f"{DOWNLINK}.ErrorReason")[1:]
    violation = {
        "type": "object",
        "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
        "required": ["field", "description"],
    }
    metadata = "What belongs to the code, as its description lists."
    return {
        "type": "object",
        "description": "Why a call was refused.",
        "properties": {
            "code": json_schema.open_words(
                [value for value in reasons if value.comment.startswith("HTTP")]
            ),
            "message": {"type": "string", "description": "For people; not to be parsed."},
            "request_id": {"type": "string", "description": "Finds the call in the log."},
            "details": {"type": "array", "items": violation, "description": "Fields at fault."},
            "metadata": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": metadata,
            },
        },
        "required": ["code", "message", "request_id"],
    }


def _time(text: str) -> dict[str, Any]:
    return {"type": "string", "format": "date-time", "description": text}


def _summary(method: Method) -> str:
    return method.summary or comments.first_sentence(method.description)


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
