"""Between the open API's JSON and the requests of devices. Source: the open-api contract."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from google.protobuf import json_format, struct_pb2

from dockgate.downlink.v1 import device_request_service_pb2 as pb
from dockgate_server import errors
from dockgate_server.codec import exact
from dockgate_server.errors import FieldViolation
from dockgate_server.http.convert import present, time
from dockgate_server.model.command import Vendor
from dockgate_server.model.device_request import DeviceRequest

MOST_LISTED = 500
"""A list has no pages; it holds the newest."""

_FILTERS = ("vendor", "device_id", "request_type")
_MEMBERS = ("reply_code", "reply_message", "payload")
_INT32 = range(-(2**31), 2**31)


def listing(query: str) -> pb.ListDeviceRequestsRequest:
    """The request that the query of a list stands for.

    Raises:
        DockgateError: VALIDATION_FAILED.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    known = ", ".join(_FILTERS)
    violations = [
        FieldViolation(name, f"is not a parameter here; the parameters are {known}")
        for name, _ in pairs
        if name not in _FILTERS
    ]
    given = dict(pairs)
    if not violations and len(given) < len(pairs):
        violations.append(FieldViolation("query", "must have each parameter only once"))
    if violations:
        raise errors.validation_failed(violations)
    return pb.ListDeviceRequestsRequest(
        page_size=MOST_LISTED,
        vendor=given.get("vendor", ""),
        device_id=given.get("device_id", ""),
        request_type=given.get("request_type", ""),
    )


def reply(request_id: str, values: Mapping[str, Any]) -> pb.ReplyDeviceRequestRequest:
    """The request that the body of a reply stands for.

    Raises:
        DockgateError: VALIDATION_FAILED naming everything that is missing, unknown or of the
            wrong type.
    """
    code, message, payload = (values.get(name) for name in _MEMBERS)
    violations = []
    if code is None:
        violations.append(FieldViolation("reply_code", "is required"))
    elif isinstance(code, bool) or not isinstance(code, int) or code not in _INT32:
        violations.append(FieldViolation("reply_code", "must be a whole number of 32 bits"))
    if message is not None and not isinstance(message, str):
        violations.append(FieldViolation("reply_message", "must be text"))
    if payload is not None and not isinstance(payload, dict):
        violations.append(FieldViolation("payload", "must be an object"))
    violations += exact.inexact(payload, "payload")
    known = ", ".join(_MEMBERS)
    violations += [
        FieldViolation(name, f"is not a field here; the fields are {known}")
        for name in values
        if name not in _MEMBERS
    ]
    if violations:
        raise errors.validation_failed(violations)
    request = pb.ReplyDeviceRequestRequest(
        request_id=request_id, reply_code=code, reply_message=message or ""
    )
    if payload is not None:
        request.payload.CopyFrom(json_format.ParseDict(payload, struct_pb2.Struct()))
    return request


def document(of: DeviceRequest) -> dict[str, Any]:
    """A request of a device. Source of names and order: the open-api contract.

    Beside what that names: ``status``, ``replied_by`` and ``expires_at``.
    """
    members = {
        "request_id": of.id,
        "vendor": Vendor.DJI.value,
        "device_id": of.gateway_id,
        "request_type": of.request_type,
        "inbound_payload": orjson.Fragment(of.payload),
        "routing_decision": of.routing.lower(),
        "reply_code": of.reply_code,
        "reply_message": of.reply_message or None,
        "reply_source": None if of.reply_source is None else of.reply_source.lower(),
        "standardized_reply": None if of.reply is None else orjson.Fragment(of.reply),
        "received_at": time(of.received_at),
        "replied_at": time(of.replied_at),
        "status": of.status.value,
        "replied_by": of.replied_by or None,
        "expires_at": time(of.expires_at),
    }
    return present(members)
