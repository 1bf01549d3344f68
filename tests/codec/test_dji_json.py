"""DJI's JSON: numbers as numbers, names as DJI writes them, nothing dropped in silence."""

import math
from typing import Any

import orjson
import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from dockgate.dji.v1 import (
    camera_pb2,
    device_pb2,
    file_pb2,
    live_pb2,
    method_pb2,
    raw_pb2,
    wayline_pb2,
)
from dockgate.dji.v1.options_pb2 import EMPTY_DATA_NULL, EMPTY_DATA_UNSPECIFIED
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import catalogue, dji_json


def wrong(values: dict[str, Any], message: Message) -> dict[str, str]:
    """What does not fit, by field."""
    return {one.field: one.description for one in dji_json.from_dict(values, message, "payload")}


def test_numbers_travel_as_numbers() -> None:
    """Protobuf's own mapping would write a 64-bit integer as text and an enum by name."""
    task = wayline_pb2.FlighttaskPrepare(execute_time=1_776_859_200_000, task_type=1)
    task.break_point.progress = 0.5
    assert dji_json.to_dict(task) == {
        "execute_time": 1_776_859_200_000,
        "task_type": 1,
        "break_point": {"progress": 0.5},
    }


def test_zero_is_sent_and_absent_is_not() -> None:
    """0 has a meaning; what the caller did not say is left to the device."""
    assert dji_json.to_dict(wayline_pb2.FlighttaskPrepare(rth_altitude=0)) == {"rth_altitude": 0}
    assert dji_json.to_dict(live_pb2.LiveStartPush(url="")) == {"url": ""}


def test_a_number_that_the_enum_does_not_list_passes() -> None:
    """Firmware adds values without a new document."""
    message = live_pb2.LiveStartPush()
    assert dji_json.from_dict({"url_type": 2, "video_quality": 17}, message) == []
    assert dji_json.to_dict(message) == {"url_type": 2, "video_quality": 17}


def test_a_bool_that_travels_as_a_number_is_taken_and_sent_as_one() -> None:
    """Both forms are taken, the example's is sent."""
    for said, sent in ((True, 1), (1, 1), (False, 0), (0, 0)):
        message = wayline_pb2.FlighttaskPrepare()
        assert dji_json.from_dict({"flight_safety_advance_check": said}, message) == []
        data = dji_json.to_dict(message)
        assert orjson.dumps(data) == b'{"flight_safety_advance_check":%d}' % sent


@pytest.mark.parametrize("said", [2, 1.0, "1", "true", [], -1])
def test_a_bool_is_no_other_thing(said: object) -> None:
    """1.0 and "1" are what a careless caller sends; what they mean is not ours to guess."""
    found = wrong({"flight_safety_advance_check": said}, wayline_pb2.FlighttaskPrepare())
    assert found["payload.flight_safety_advance_check"].startswith("must be 0, 1, true or false")


def test_an_empty_object_stands_for_an_empty_list() -> None:
    """The platform's own example holds it."""
    message = file_pb2.FileuploadStart()
    assert dji_json.from_dict({"params": {"files": {}}}, message) == []
    assert dji_json.to_dict(message) == {"params": {"files": []}}


def test_an_empty_object_is_present() -> None:
    """{} says something that absence does not."""
    message = wayline_pb2.FlighttaskPrepare()
    assert dji_json.from_dict({"file": {}}, message) == []
    assert message.HasField("file")
    assert dji_json.to_dict(message) == {"file": {}}


def test_null_is_not_said() -> None:
    """Many serialisers write null for what is absent."""
    message = wayline_pb2.FlighttaskPrepare()
    assert dji_json.from_dict({"file": None, "rth_altitude": None}, message) == []
    assert dji_json.to_dict(message) == {}


def test_a_method_without_fields_sends_null() -> None:
    """As DJI's pages print it; {} where the spec does not say null."""
    assert dji_json.to_data(device_pb2.ChargeOpen(), EMPTY_DATA_NULL) is None
    assert dji_json.to_data(device_pb2.ChargeOpen(), EMPTY_DATA_UNSPECIFIED) == {}
    said = camera_pb2.CameraRecordingStart(payload_index="39-0-7")
    assert dji_json.to_data(said, EMPTY_DATA_NULL) == {"payload_index": "39-0-7"}


@pytest.mark.parametrize(
    ("field", "said", "right"),
    [
        ("flight_id", 7, "must be text, not a number"),
        ("flight_id", True, "must be text, not true"),
        ("flight_id", ["x"], "must be text, not a list"),
        ("flight_id", {}, "must be text, not an object"),
        ("rth_altitude", "30", "must be a number, not text"),
        ("rth_altitude", True, "must be a number, not true"),
        ("rth_altitude", 30.5, "must be a whole number, not 30.5"),
        ("rth_altitude", math.nan, "must be a whole number, not nan"),
        ("rth_altitude", math.inf, "must be a whole number, not inf"),
        ("rth_altitude", 2**31, "must be between -2147483648 and 2147483647"),
        ("rth_altitude", -(2**31) - 1, "must be between -2147483648 and 2147483647"),
        ("execute_time", 2**63, f"must be between {-(2**63)} and {2**63 - 1}"),
        ("task_type", 2**31, "must be between -2147483648 and 2147483647"),
        ("task_type", "TIMED", "must be a number: 0 immediate, 1 timed, 2 conditional"),
        ("task_type", [], "must be a number: 0 immediate, 1 timed, 2 conditional"),
        ("file", "x", "must be an object, not text"),
        ("file", [], "must be an object, not a list"),
    ],
)
def test_a_wrong_type_is_named_with_what_would_be_right(
    field: str, said: object, right: str
) -> None:
    """A flight command is never guessed at."""
    assert wrong({field: said}, wayline_pb2.FlighttaskPrepare()) == {f"payload.{field}": right}


def test_whole_numbers_may_be_written_with_a_point() -> None:
    """JavaScript and Excel write 30.0."""
    message = wayline_pb2.FlighttaskPrepare()
    assert dji_json.from_dict({"rth_altitude": 30.0, "task_type": 1.0}, message) == []
    assert orjson.dumps(dji_json.to_dict(message)) == b'{"task_type":1,"rth_altitude":30}'


def test_a_double_takes_any_number_that_fits() -> None:
    """1 is a double too; a number beyond all doubles is refused, not an exception."""
    message = wayline_pb2.FlighttaskPrepare()
    assert dji_json.from_dict({"break_point": {"progress": 1}}, message) == []
    assert message.break_point.progress == 1.0
    assert wrong({"break_point": {"height": 10**400}}, wayline_pb2.FlighttaskPrepare()) == {
        "payload.break_point.height": "must be a number that fits into 64 bits"
    }


def test_whole_numbers_that_a_struct_would_change_are_named() -> None:
    """Each where it stands. Beyond 64 bits nobody can tell any more whether one was changed."""
    kept = [2**53, -(2**53), 2**60, 2**63, 0.1, 1e15, True, "9007199254740993", None]
    for changed in (2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**64 - 1, 1e20, -1e300, 10**400):
        data = {"a": kept, "b": [{"c": changed}], "d": changed}
        found = wrong({"data": data}, raw_pb2.RawMethod())
        assert list(found) == ["payload.data.b[0].c", "payload.data.d"], changed
    message = raw_pb2.RawMethod()
    assert dji_json.from_dict({"data": {"a": kept}}, message) == []
    assert dji_json.to_dict(message) == {"data": {"a": kept}}


@pytest.mark.parametrize("text", ["-9223372036854775809", "18446744073709551616", "-1e19"])
def test_whole_numbers_that_the_parser_has_rounded_are_named(text: str) -> None:
    """Beyond 64 bits it makes doubles of them, and does not tell."""
    found = wrong({"data": orjson.loads(f'{{"a":{text}}}')}, raw_pb2.RawMethod())
    assert list(found) == ["payload.data.a"]


@pytest.mark.parametrize("text", ["-9223372036854775808", "9223372036854775808", "-1e18"])
def test_whole_numbers_of_64_bits_that_a_double_holds_are_taken(text: str) -> None:
    """Up to both ends."""
    message = raw_pb2.RawMethod()
    assert dji_json.from_dict({"data": orjson.loads(f'{{"a":{text}}}')}, message) == []
    assert dji_json.to_dict(message) == {"data": {"a": int(float(text))}}


def test_text_that_is_no_text_is_named() -> None:
    """Half of a surrogate pair cannot be sent."""
    assert set(wrong({"flight_id": "\ud800"}, wayline_pb2.FlighttaskPrepare())) == {
        "payload.flight_id"
    }


def test_unknown_members_are_named_with_their_path_and_what_there_is() -> None:
    """At every depth, all of them in one answer."""
    values = {
        "altitude": 5,
        "params": {"files": [{"list": [{"bot_index": 1}], "modul": "0"}, 3, {"list": 5}]},
    }
    found = wrong(values, file_pb2.FileuploadStart())
    assert set(found) == {
        "payload.altitude",
        "payload.params.files[0].list[0].bot_index",
        "payload.params.files[0].modul",
        "payload.params.files[1]",
        "payload.params.files[2].list",
    }
    fields = "bucket, region, credentials, endpoint, provider, params"
    assert found["payload.altitude"] == f"is not a field here; the fields are {fields}"
    assert found["payload.params.files[1]"] == "must be an object, not a number"
    assert wrong({"x": 1}, device_pb2.ChargeOpen()) == {
        "payload.x": "is not a field here; the fields are none"
    }


def _unknown(number: int) -> bytes:
    """A field of that number with the varint 1, on the wire."""
    from google.protobuf.internal import encoder

    return encoder.TagBytes(number, 0) + b"\x01"


def test_unknown_fields_on_the_wire_are_found_at_every_depth() -> None:
    """A newer client's parameter must not be dropped on the way to an aircraft."""
    upload = file_pb2.FileuploadStart()
    upload.params.files.add().list.add().MergeFromString(_unknown(77))
    upload.credentials.MergeFromString(_unknown(9))
    request = pb.SubmitCommandRequest(dji=method_pb2.Method(fileupload_start=upload))
    request.MergeFromString(_unknown(99))
    request.dji.MergeFromString(_unknown(9999))
    assert sorted(one.field for one in dji_json.unknown_fields(request)) == [
        "#99",
        "dji.#9999",
        "dji.fileupload_start.credentials.#9",
        "dji.fileupload_start.params.files.list.#77",
    ]
    assert dji_json.unknown_numbers(request.dji) == [9999]


def test_numbers_that_json_cannot_write_are_found_at_every_depth() -> None:
    """GRPC can carry infinities, DJI's JSON cannot."""
    task = wayline_pb2.FlighttaskPrepare()
    task.break_point.latitude = math.nan
    task.simulate_mission.longitude = -math.inf
    task.break_point.height = 3.0
    assert [one.field for one in dji_json.non_finite_numbers(task, "dji.flighttask_prepare")] == [
        "dji.flighttask_prepare.break_point.latitude",
        "dji.flighttask_prepare.simulate_mission.longitude",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = sorted({field.name for m in catalogue.METHODS.values() for field in m.descriptor.fields})


@given(name=st.sampled_from(sorted(catalogue.METHODS)), data=st.data())
def test_reading_never_raises_and_what_is_read_is_sent(name: str, data: st.DataObject) -> None:
    """Whatever a caller writes, the answer is a list of what does not fit."""
    values = data.draw(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4))
    message = dji_json.new_message(catalogue.METHODS[name].descriptor)
    if not dji_json.from_dict(values, message):
        again = dji_json.new_message(message.DESCRIPTOR)
        assert dji_json.from_dict(dji_json.to_dict(message), again) == []
        assert dji_json.to_dict(again) == dji_json.to_dict(message)
