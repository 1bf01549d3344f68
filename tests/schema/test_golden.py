"""One golden file for every method: what the dock gets, byte for byte.

``golden/<method>.json`` holds the ``data`` of the method with every field set. The methods whose
pages the open platform shows have the platform's own example instead, as a whole submission.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.protobuf.message import Message

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import catalogue, dji_json, rules

GOLDEN = Path(__file__).parent / "golden"
SUBMISSIONS = {"camera_recording_start", "fileupload_start", "flighttask_prepare"}
"""Those whose examples are whole submissions."""


def _golden(name: str) -> Any:
    return orjson.loads((GOLDEN / f"{name}.json").read_bytes())


def _payload(name: str) -> dict[str, Any]:
    """What a caller submits: the fields of the method, a payload's index beside the others."""
    data = _golden(name)
    if name in SUBMISSIONS:
        return dict(data["payload"])
    if "payload_index" in catalogue.METHODS[name].descriptor.fields_by_name and (
        "payload_index" not in data
    ):
        ((index, rest),) = data.items()
        return {"payload_index": index, **rest}
    return data or {}


def _sent(name: str) -> Any:
    """What the dock gets; the platform's example writes {} where it means an empty list."""
    if name not in SUBMISSIONS:
        return _golden(name)
    payload = _golden(name)["payload"]
    for file in payload.get("params", {}).get("files", []):
        file["list"] = file["list"] or []
    return payload


def _bytes(value: Any) -> bytes:
    """Normalised: without spaces, and members in one order."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _unset(message: Message, path: str = "") -> Iterator[str]:
    """The fields that are not set, in lists: of any element."""
    given = {field.name: value for field, value in message.ListFields()}
    for field in message.DESCRIPTOR.fields:
        if field.name not in given:
            yield f"{path}{field.name}"
        elif field.message_type is not None:
            value = given[field.name]
            for one in value if field.is_repeated else [value]:
                yield from _unset(one, f"{path}{field.name}.")


def test_every_method_has_a_golden_file_and_no_file_is_left_over() -> None:
    """Whoever adds a method shows what it sends."""
    assert sorted(file.stem for file in GOLDEN.iterdir()) == sorted(catalogue.METHODS)


@pytest.mark.parametrize("name", catalogue.METHODS)
def test_json_survives_the_way_through_the_schema(name: str) -> None:
    """Nothing is refused, lost or added, no number becomes text, and it may be submitted."""
    method = catalogue.METHODS[name]
    request = pb.SubmitCommandRequest(device_id="dock-001", idempotency_key=f"golden-{name}")
    message = getattr(request.dji, name)
    message.SetInParent()

    assert dji_json.from_dict(_payload(name), message) == []
    assert rules.violations(request) == []
    assert dji_json.unknown_fields(request) == []
    assert dji_json.non_finite_numbers(message, name) == []
    sent = dji_json.to_data(message, method.spec.empty_data)
    assert _bytes(sent) == _bytes(_sent(name))
    if name not in SUBMISSIONS:
        assert list(_unset(message)) == [], "a golden file sets every field"


@pytest.mark.parametrize("name", sorted(SUBMISSIONS))
def test_a_submission_of_the_platforms_pages_is_accepted(name: str) -> None:
    """With everything that stands around the payload."""
    example = _golden(name)
    assert example["command_type"] == name
    request = pb.SubmitCommandRequest(
        device_id=example["device_id"],
        idempotency_key=example["idempotency_key"],
        timeout_seconds=example["timeout_seconds"],
    )
    dji_json.from_dict(example["payload"], getattr(request.dji, name))
    assert rules.violations(request) == []
