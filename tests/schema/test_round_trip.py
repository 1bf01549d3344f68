"""Any payload that the rules allow survives JSON → message → JSON, for every method."""

import random
from typing import Any

import orjson
import pytest
from google.protobuf.descriptor import Descriptor
from schema import generated

from dockgate_server.codec import catalogue, dji_json, rules


def _bytes(value: Any) -> bytes:
    """Normalised: the members in one order."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize("name", catalogue.METHODS)
@pytest.mark.parametrize("make", [generated.minimal, generated.maximal])
def test_what_is_allowed_survives(name: str, make: generated.Make) -> None:
    """Nothing is refused, lost, added or written otherwise; through bytes, both ways."""
    descriptor = catalogue.METHODS[name].descriptor
    chance = random.Random(name)
    for _ in range(3):
        payload = make(descriptor, chance)
        message = dji_json.new_message(descriptor)
        text = _bytes(payload)
        assert dji_json.from_dict(orjson.loads(text), message) == []
        assert rules.violations(message) == []
        assert _bytes(dji_json.to_dict(message)) == text

        copy = dji_json.new_message(descriptor)
        copy.MergeFromString(message.SerializeToString())
        assert _bytes(dji_json.to_dict(copy)) == text


@pytest.mark.parametrize(
    "descriptor",
    [*catalogue.REPLIES.values(), *catalogue.EVENTS.values()],
    ids=lambda descriptor: descriptor.name,
)
def test_what_a_device_says_survives(descriptor: Descriptor) -> None:
    """A reply or event is read as tolerantly as can be, and nothing of it is lost."""
    name = descriptor.name
    chance = random.Random(name)
    for _ in range(3):
        answer = generated.maximal(descriptor, chance)
        message = dji_json.new_message(descriptor)
        dji_json.read_tolerantly(orjson.loads(orjson.dumps(answer)), message)
        assert _bytes(dji_json.to_dict(message)) == _bytes(answer)
