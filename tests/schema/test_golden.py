"""The platform's own examples, byte for byte as its pages print them, through the schema."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import catalogue, dji_json, rules

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = [orjson.loads(file.read_bytes()) for file in sorted(GOLDEN.glob("*.json"))]


def _sent_form(value: Any) -> Any:
    """What the dock is to get: the example, with [] where it shows {} in place of a list."""
    if isinstance(value, dict):
        return {
            name: [] if name == "list" and one == {} else _sent_form(one)
            for name, one in value.items()
        }
    return [_sent_form(one) for one in value] if isinstance(value, list) else value


def test_the_examples_are_here() -> None:
    """One for each method page of the platform."""
    names = {example["command_type"] for example in EXAMPLES}
    assert names == {"camera_recording_start", "fileupload_start", "flighttask_prepare"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["command_type"])
def test_an_example_is_accepted_and_sent_as_it_is(example: dict[str, Any]) -> None:
    """No rule refuses it, nothing is lost, nothing is added, numbers stay numbers."""
    method = catalogue.METHODS[example["command_type"]]
    message = dji_json.new_message(method.descriptor)

    assert dji_json.from_dict(example["payload"], message) == []
    assert rules.violations(message) == []
    sent = dji_json.to_data(message, method.spec.empty_data)
    assert sent == _sent_form(example["payload"])

    again = dji_json.new_message(method.descriptor)
    assert dji_json.from_dict(orjson.loads(orjson.dumps(sent)), again) == []
    assert again == message


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["command_type"])
def test_an_example_is_a_valid_submission(example: dict[str, Any]) -> None:
    """Also with the rules of the request around it."""
    request = pb.SubmitCommandRequest(
        device_id=example["device_id"],
        idempotency_key=example["idempotency_key"],
        timeout_seconds=example["timeout_seconds"],
    )
    arm = getattr(request.dji, example["command_type"])
    arm.SetInParent()
    dji_json.from_dict(example["payload"], arm)
    assert rules.violations(request) == []
    assert dji_json.unknown_fields(request) == []
