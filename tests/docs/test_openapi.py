"""The OpenAPI document: valid, complete, and of one mind with the gateway."""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from docs.conftest import ROOT
from docs.fields import rules_of
from google.protobuf.descriptor import Descriptor
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.open_api import NEVER_OVER_HTTP
from support.records import NOW

from dockgate_server.access import signature
from dockgate_server.codec import catalogue, dji_json, rules
from dockgate_server.docs import examples
from dockgate_server.docs.schema import Schema
from dockgate_server.errors import Reason
from dockgate_server.http import convert, device_requests, open_api
from dockgate_server.http.responses import REQUEST_ID
from dockgate_server.model.command import (
    Channel,
    Command,
    CompletionBasis,
    FailureCode,
    Job,
    JobState,
    Status,
    Vendor,
)
from dockgate_server.model.device_request import (
    DeviceRequest,
    ReplySource,
    RequestStatus,
    Routing,
)

GOLDEN = [
    file
    for file in sorted((ROOT / "tests" / "schema" / "golden").glob("*.json"))
    if b'"vendor"' in file.read_bytes()
]
"""The platform's own submissions, among the payloads."""
_BEYOND = 2**31 - 1
"""The format int32 says what lies behind it, and formats are not enforced."""


def _validator(openapi: dict[str, Any], name: str) -> Draft202012Validator:
    reference = {"$ref": f"#/components/schemas/{name}"}
    return Draft202012Validator({**reference, "components": openapi["components"]})


def _arm(name: str) -> str:
    return str(catalogue.METHODS[name].descriptor.name)


def _takes(name: str, payload: dict[str, Any]) -> bool:
    """Whether the gateway takes the payload."""
    message = dji_json.new_message(catalogue.METHODS[name].descriptor)
    return not (dji_json.from_dict(payload, message) or rules.violations(message))


def test_it_is_valid(openapi: dict[str, Any]) -> None:
    """As an OpenAPI 3.1 document, by somebody else's judgement."""
    assert openapi["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(openapi).iter_errors()] == []


def test_the_packaged_document_is_the_one_in_docs(openapi: dict[str, Any]) -> None:
    """One for people, one to be served."""
    assert json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")) == openapi


def test_every_method_has_its_schema(openapi: dict[str, Any]) -> None:
    """By the discriminator, and as one of all."""
    submission = openapi["components"]["schemas"]["Submission"]
    mapping = submission["discriminator"]["mapping"]
    assert set(mapping) == {*catalogue.METHODS, catalogue.RAW}
    assert [one["$ref"] for one in submission["oneOf"]] == list(mapping.values())
    for name, reference in mapping.items():
        schema = openapi["components"]["schemas"][reference.rpartition("/")[2]]
        assert schema["properties"]["command_type"]["const"] == name
    for name, method in catalogue.METHODS.items():
        schema = openapi["components"]["schemas"][mapping[name].rpartition("/")[2]]
        assert ("payload" in schema["required"]) == bool(method.descriptor.fields)
        timeout = schema["properties"]["timeout_seconds"]["default"]
        assert timeout == method.default_timeout_seconds
        assert schema["x-dji"].get("undone_by", "") == method.spec.inverse


def _same_rules(schema: dict[str, Any], descriptor: Descriptor, where: str) -> Iterator[str]:
    """What a schema says otherwise than buf.validate."""
    required = [field.name for field in descriptor.fields if rules_of(field).required]
    if schema.get("required", []) != required:
        yield f"{where}: required"
    if list(schema["properties"]) != [field.name for field in descriptor.fields]:
        yield f"{where}: names"
    if schema["additionalProperties"] is not False:
        yield f"{where}: open"
    for field in descriptor.fields:
        here = f"{where}.{field.name}"
        one = schema["properties"][field.name]
        one = one["items"] if field.is_repeated else one
        limits = rules_of(field)
        for kind in ("int32", "int64", "double"):
            if limits.WhichOneof("type") == kind:
                numbers = getattr(limits, kind)
                for rule, member in (("gte", "minimum"), ("lte", "maximum")):
                    if numbers.HasField(rule) and one.get(member) != getattr(numbers, rule):
                        yield f"{here}: {member}"
        if field.message_type is not None:
            yield from _same_rules(one, field.message_type, here)


def test_a_schema_has_the_rules_of_the_fields(openapi: dict[str, Any]) -> None:
    """Required, names and ranges, at every depth."""
    schemas = openapi["components"]["schemas"]
    assert [
        wrong
        for name, method in catalogue.METHODS.items()
        for wrong in _same_rules(schemas[_arm(name)], method.descriptor, name)
    ] == []


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_the_platforms_examples_fit_their_schema(openapi: dict[str, Any], file: Path) -> None:
    """The bodies as the pages print them."""
    example = json.loads(file.read_bytes())
    validator = _validator(openapi, "Submission")
    assert [error.message for error in validator.iter_errors(example)] == []
    assert not validator.is_valid({**example, "unknown": 1})
    assert not validator.is_valid({**example, "timeout_seconds": 301})


def test_the_platforms_examples_are_those_of_the_document(openapi: dict[str, Any]) -> None:
    """Under the names that integrators look for."""
    operation = openapi["paths"][open_api.COMMANDS_PATH]["post"]
    shown = operation["requestBody"]["content"]["application/json"]["examples"]
    assert {"camera_recording_start", "fileupload_start", "flighttask_prepare"} <= set(shown)
    example = json.loads((ROOT / "tests/schema/golden/fileupload_start.json").read_bytes())
    assert shown["fileupload_start"]["value"] == example


def _changed(schema: dict[str, Any], payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The payload with one thing changed, in every way that a schema speaks of."""
    yield {**payload, "no_such_field": 1}
    for name, part in schema["properties"].items():
        if name not in payload:
            continue
        yield {key: value for key, value in payload.items() if key != name}
        values: list[Any] = ["", "text", 0, -1, 1, 0.5, 7, _BEYOND, -_BEYOND, True, [], {}, [{}]]
        values += [
            part[key] + by for key in ("minimum", "maximum") if key in part for by in (-1, 1)
        ]
        values += ["x" * (part["maxLength"] + 1)] if "maxLength" in part else []
        yield from ({**payload, name: value} for value in values)
        if part["type"] == "object":
            for inner in _changed(part, payload[name]):
                yield {**payload, name: inner}
        elif isinstance(payload[name], list) and part["items"]["type"] == "object":
            for inner in _changed(part["items"], payload[name][0]):
                yield {**payload, name: [inner, *copy.deepcopy(payload[name][1:])]}


@pytest.mark.parametrize("name", catalogue.METHODS)
def test_schema_and_gateway_are_of_one_mind(
    openapi: dict[str, Any], schema: Schema, name: str
) -> None:
    """Whatever is changed about an example, both take it or both refuse it."""
    described = openapi["components"]["schemas"][_arm(name)]
    validator = _validator(openapi, _arm(name))
    (method,) = (one for one in schema.methods if one.name == name)
    example = examples.payload(method.fields)
    assert validator.is_valid(example)
    assert _takes(name, example)
    looser = "x-rules" in json.dumps(described)
    for payload in _changed(described, example):
        fits = validator.is_valid(payload)
        if not (fits and looser):
            assert fits == _takes(name, payload), payload


def _full_command() -> Command:
    """A command of which everything is known."""
    return Command(
        seq=1,
        id="100e2826-e45b-50cb-b41f-e8df6d20bea2",
        tenant="default",
        principal="tests",
        vendor=Vendor.DJI,
        device_id="drone-001",
        gateway_id="dock-001",
        channel=Channel.SERVICES,
        command_type="flighttask_execute",
        data=b"null",
        timeout_seconds=30,
        accepted_at=NOW,
        deadline_at=NOW,
        job_key="x",
        status=Status.FAILED,
        revision=3,
        updated_at=NOW,
        sending_at=NOW,
        delivered_at=NOW,
        completed_at=NOW,
        completion_basis=CompletionBasis.DEVICE_REPLY,
        response_received_at=NOW,
        response_code="1",
        response_message="no",
        vendor_response=b'{"result":1}',
        failure_code=FailureCode.DEVICE_EXECUTION_FAILED,
        failure_reason="no",
        job=Job(JobState.FAILED, NOW, 100, "7", 314008, 1281),
    )


def test_answers_have_the_members_that_the_document_names(openapi: dict[str, Any]) -> None:
    """No more and no fewer, when everything is known."""
    schemas = openapi["components"]["schemas"]
    command = _full_command()
    status, accepted = convert.status(command, "r"), convert.accepted(command, "r")
    status["vendor_response"] = json.loads(command.vendor_response or b"")
    assert set(status) == set(schemas["Command"]["properties"])
    assert set(status["job"]) == set(schemas["Job"]["properties"])
    assert set(accepted) == set(schemas["Accepted"]["properties"])
    assert _validator(openapi, "Command").is_valid(status)
    assert _validator(openapi, "Accepted").is_valid({**accepted, "status": "ACCEPTED"})


def test_the_document_says_what_is_kept_of_a_reply(openapi: dict[str, Any]) -> None:
    """As the schema does, but for what holds over gRPC alone."""
    described = openapi["components"]["schemas"]["Command"]["properties"]["vendor_response"]
    assert "128 KiB" in described["description"]
    assert "doubles" not in described["description"]


def test_a_request_of_a_device_has_the_members_that_the_document_names(
    openapi: dict[str, Any],
) -> None:
    """No more and no fewer, when everything is known; one that waits has fewer."""
    waiting = DeviceRequest(
        seq=1,
        id="100e2826-e45b-50cb-b41f-e8df6d20bea2",
        tenant="default",
        gateway_id="dock-001",
        request_type="config",
        tid="t1",
        bid="b1",
        payload=b"null",
        routing=Routing.INBOX,
        received_at=NOW,
        expires_at=NOW,
        status=RequestStatus.PENDING,
    )
    answered = replace(
        waiting,
        status=RequestStatus.REPLIED,
        reply_code=0,
        reply_message="m",
        reply_source=ReplySource.MANUAL,
        reply=b"{}",
        replied_by="tests",
        replied_at=NOW,
    )
    schema = openapi["components"]["schemas"]["DeviceRequest"]
    documents = [
        json.loads(orjson.dumps(device_requests.document(one))) for one in (answered, waiting)
    ]
    assert set(documents[0]) == set(schema["properties"])
    assert set(documents[1]) == set(schema["required"])
    validator = _validator(openapi, "DeviceRequests")
    assert [error.message for error in validator.iter_errors({"items": documents})] == []


def test_every_example_fits_its_schema(openapi: dict[str, Any]) -> None:
    """Those of the answers too."""
    for name, schema in openapi["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            errors = [error.message for error in _validator(openapi, name).iter_errors(example)]
            assert errors == [], name


def test_every_error_is_an_answer(openapi: dict[str, Any]) -> None:
    """Each under its own status, and with the words of the schema."""
    responses = openapi["components"]["responses"]
    shown: dict[str, set[str]] = {}
    for path in openapi["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                assert status != "default"
                if "$ref" in answer:
                    answer = responses[answer["$ref"].rpartition("/")[2]]
                    for code in answer["content"]["application/json"]["examples"]:
                        shown.setdefault(code, set()).add(status)
    expected = {reason.value: {str(reason.http_status)} for reason in Reason}
    for reason in NEVER_OVER_HTTP:
        del expected[reason]
    assert shown == expected


def test_paths_and_headers_are_those_of_the_gateway(openapi: dict[str, Any]) -> None:
    """They are written in the document on their own."""
    commands, requests = open_api.COMMANDS_PATH, open_api.REQUESTS_PATH
    assert {path: set(one) for path, one in openapi["paths"].items()} == {
        commands: {"post"},
        f"{commands}/{{commandId}}": {"get"},
        requests: {"get"},
        f"{requests}/{{requestId}}": {"get"},
        f"{requests}/{{requestId}}/reply": {"post"},
        "/openapi.json": {"get", "head"},
        "/docs": {"get", "head"},
        "/docs/style.css": {"get", "head"},
        "/docs/methods/{commandType}": {"get", "head"},
    }
    schemes = openapi["components"]["securitySchemes"]
    headers = [signature.API_ID, signature.TIMESTAMP, signature.NONCE, signature.SIGNATURE]
    assert [scheme["name"] for scheme in schemes.values()] == headers
    assert signature.ALGORITHM in schemes["Signature"]["description"]
    parameters = openapi["paths"][commands]["post"]["parameters"]
    assert parameters[0]["name"] == REQUEST_ID
    get = openapi["paths"][f"{commands}/{{commandId}}"]["get"]["security"]
    assert [sorted(one) for one in get] == [sorted(schemes), sorted(set(schemes) - {"Nonce"})]
