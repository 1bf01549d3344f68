"""The requests of devices in the OpenAPI document."""

from typing import Any

from dockgate_server.docs import json_schema
from dockgate_server.docs.endpoints import DOWNLINK, ID
from dockgate_server.docs.schema import Schema

_REQUEST = f"{DOWNLINK}.DeviceRequest"
_REPLY = f"{DOWNLINK}.ReplyDeviceRequestRequest"
_MEMBERS: dict[str, dict[str, Any]] = {
    "request_id": ID,
    "vendor": {"type": "string", "const": "dji"},
    "device_id": {"type": "string"},
    "request_type": {"type": "string"},
    "inbound_payload": {},
    "routing_decision": {"type": "string", "enum": ["auto", "inbox"]},
    "reply_code": {"type": "integer", "format": "int32"},
    "reply_message": {"type": "string"},
    "reply_source": {"type": "string", "enum": ["auto", "manual"]},
    "standardized_reply": {"type": "object"},
    "received_at": {"type": "string", "format": "date-time"},
    "replied_at": {"type": "string", "format": "date-time"},
    "status": {"type": "string"},
    "replied_by": {"type": "string"},
    "expires_at": {"type": "string", "format": "date-time"},
}
_ALWAYS = (
    *("request_id", "vendor", "device_id", "request_type", "inbound_payload"),
    *("routing_decision", "received_at", "status", "expires_at"),
)
_EXAMPLE = {
    "request_id": "5d0c9e3a-7b3f-4c55-9a0e-1f2d3c4b5a69",
    "vendor": "dji",
    "device_id": "dock-001",
    "request_type": "flighttask_resource_get",
    "inbound_payload": {"flight_id": "flight-001"},
    "routing_decision": "inbox",
    "reply_code": 0,
    "reply_source": "manual",
    "standardized_reply": {
        "output": {"file": {"fingerprint": "…", "url": "https://files.example/flight-001.kmz"}},
        "result": 0,
    },
    "received_at": "2026-04-22T12:00:00.000Z",
    "replied_at": "2026-04-22T12:00:03.000Z",
    "status": "REPLIED",
    "replied_by": "dk_0123456789abcdef",
    "expires_at": "2026-04-22T12:00:40.000Z",
}
_EXAMPLE_REPLY = {
    "reply_code": 0,
    "payload": {
        "output": {"file": {"fingerprint": "…", "url": "https://files.example/flight-001.kmz"}}
    },
}


def schemas(schema: Schema) -> dict[str, Any]:
    """The schemas of a request, of a list of them, and of a reply."""
    return {
        "DeviceRequest": _request(schema),
        "DeviceRequests": {
            "type": "object",
            "description": "Requests, newest first.",
            "properties": {"items": {"type": "array", "items": _reference("DeviceRequest")}},
            "required": ["items"],
        },
        "DeviceRequestReply": _reply(schema),
    }


def _request(schema: Schema) -> dict[str, Any]:
    properties = {
        name: {**one, "description": schema.comment(f"{_REQUEST}.{name}")}
        for name, one in _MEMBERS.items()
    }
    statuses = schema.values(f"{DOWNLINK}.DeviceRequestStatus")[1:]
    properties["status"] |= {
        "enum": [value.name for value in statuses],
        "x-enum-descriptions": [value.comment for value in statuses],
    }
    return {
        "type": "object",
        "description": f"{schema.comment(_REQUEST)} What has no value is left out.",
        "properties": properties,
        "required": list(_ALWAYS),
        "examples": [_EXAMPLE],
    }


def _reply(schema: Schema) -> dict[str, Any]:
    fields = {field.name: field for field in schema.fields(_REPLY)}
    message = json_schema.of_field(fields["reply_message"])
    return {
        "type": "object",
        "description": schema.comment(_REPLY),
        "properties": {
            "reply_code": {
                "type": "integer",
                "format": "int32",
                "description": fields["reply_code"].comment,
            },
            "reply_message": message,
            "payload": {
                "type": "object",
                "not": {"required": ["result"]},
                "description": fields["payload"].comment,
            },
        },
        "required": ["reply_code"],
        "additionalProperties": False,
        "examples": [_EXAMPLE_REPLY],
    }


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
