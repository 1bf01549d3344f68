"""Events of devices as typed messages: as far as they fit, and never a reason to lose one."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic.messages import MESSAGES

from dockgate.dji.v1 import event_pb2
from dockgate_server.codec import catalogue, device_events, dji_json

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def read(event: str, data: object) -> event_pb2.Event:
    """The typed form of an event."""
    message = event_pb2.Event()
    device_events.fill(event, data, message)
    return message


def typed(event: str, data: object) -> Any:
    """The same as JSON; None where there is none."""
    message = read(event, data)
    arm = message.WhichOneof("event")
    if arm is None:
        return None
    assert arm == event
    return dji_json.to_dict(getattr(message, arm))


def recorded() -> Iterator[tuple[str, Any]]:
    """Events of real devices that the schema knows, each method with each set of members once."""
    seen = set()
    for message in MESSAGES:
        content = message.payload
        if message.topic.endswith("/events") and content["method"] in catalogue.EVENTS:
            key = (content["method"], str(_shape(content["data"])))
            if key not in seen:
                seen.add(key)
                yield content["method"], content["data"]


def _documented(value: Any) -> Any:
    if isinstance(value, list):
        return [_documented(one) for one in value]
    if not isinstance(value, dict):
        return value
    # A message cannot tell an empty list from none.
    known = (name for name in value if name != "transition_wayline_info" and value[name] != [])
    return {name: _documented(value[name]) for name in known}


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((name, _shape(one)) for name, one in value.items())
    return [_shape(one) for one in value[:1]] if isinstance(value, list) else ()


@pytest.mark.parametrize(("event", "data"), list(recorded()))
def test_of_what_real_docks_tell_nothing_is_lost(event: str, data: Any) -> None:
    """Every member is one that the schema has, in its type, but for one that no document has."""
    whole = {"aircraft": data} if isinstance(data, list) else data
    assert typed(event, data) == _documented(whole)


@pytest.mark.parametrize(
    ("event", "data", "expected"),
    [
        # A list without a name, and an empty one.
        ("airsense_warning", [{"icao": "780533"}, {}], {"aircraft": [{"icao": "780533"}, {}]}),
        ("airsense_warning", [], {}),
        # One where a list is documented, as the table of the drone's location has it.
        (
            "flight_areas_drone_location",
            {"drone_locations": {"area_id": "a", "is_in_area": 1}},
            {"drone_locations": [{"area_id": "a", "is_in_area": True}]},
        ),
        # Without the wrapper, as DJI's tables have it.
        (
            "flighttask_progress",
            {"status": "ok", "progress": {"percent": 100}, "ext": {"media_count": 3}},
            {
                "output": {
                    "status": "ok",
                    "progress": {"percent": 100},
                    "ext": {"media_count": 3},
                }
            },
        ),
        # Numbers as text and text as numbers.
        (
            "file_upload_callback",
            {"file": {"metadata": {"gimbal_yaw_degree": "-91.40", "absolute_altitude": 56}}},
            {"file": {"metadata": {"gimbal_yaw_degree": -91.4, "absolute_altitude": 56.0}}},
        ),
        ("device_exit_homing_notify", {"reason": 3, "action": "1"}, {"reason": "3", "action": 1}),
        # What no document has is left out, and so is what has another type.
        (
            "hms",
            {"list": [{"level": "grave", "code": "0x16100083", "new": 1}, 7], "newer": []},
            {"list": [{"code": "0x16100083"}]},
        ),
        ("joystick_invalid_notify", {"reason": "NaN"}, {}),
        ("poi_status_notify", {"circle_radius": "Infinity", "reason": 2**40}, {}),
        # A number of an enum that is newer than the schema.
        ("drc_status_notify", {"drc_state": 9}, {"drc_state": 9}),
        # Of another form altogether, or of an event that the schema does not know.
        ("hms", [], None),
        ("hms", "", None),
        ("airsense_warning", {"aircraft": [{"icao": "1"}]}, {"aircraft": [{"icao": "1"}]}),
        ("uom_fly_data_info", {"output": {}}, None),
        ("", {}, None),
        ("event", {}, None),
    ],
)
def test_what_fits_is_read(event: str, data: object, expected: object) -> None:
    """The rest costs nothing of it."""
    assert typed(event, data) == expected


@given(event=st.sampled_from(sorted(catalogue.EVENTS)), data=_JSON, chance=st.randoms())
def test_whatever_a_device_writes_can_be_given(event: str, data: Any, chance: Any) -> None:
    """Nothing raises, and what comes of it can be sent and written as JSON."""
    names = _names(catalogue.EVENTS[event])
    for odd in (data, {chance.choice(names): data}, {"output": {chance.choice(names): [data]}}):
        message = read(event, odd)
        message.SerializeToString()
        orjson.dumps(dji_json.to_dict(message))


def _names(descriptor: Any) -> list[str]:
    names = [field.name for field in descriptor.fields]
    return names + [n for f in descriptor.fields if f.message_type for n in _names(f.message_type)]
