"""Submitting commands over HTTP."""

import re
import uuid
from typing import Any

import pytest
from support.open_api import OpenApiUnderTest, submission

from dockgate_server.commands import Permissions
from dockgate_server.model.caller import ORDINARY, Scope

# The bodies of the platform's curl examples, byte for byte, and the DJI data they stand for.
CAMERA_RECORDING_START = (
    b'{"vendor":"dji","device_id":"drone-001","command_type":"camera_recording_start","payload":{'
    b'"payload_index":"string"},"idempotency_key":"req-camera_recording_start-001",'
    b'"timeout_seconds":30}'
)
FILEUPLOAD_START = (
    b'{"vendor":"dji","device_id":"drone-001","command_type":"fileupload_start","payload":{'
    b'"bucket":"string","region":"string","credentials":{"access_key_id":"id-001",'
    b'"access_key_secret":"string","expire":0,"security_token":"string"},"endpoint":"string",'
    b'"provider":"string","params":{"files":[{"list":{},"module":"string",'
    b'"object_key":"string"}]}},"idempotency_key":"req-fileupload_start-001",'
    b'"timeout_seconds":30}'
)
FLIGHTTASK_PREPARE = (
    b'{"vendor":"dji","device_id":"drone-001","command_type":"flighttask_prepare","payload":{'
    b'"execute_time":0,"exit_wayline_when_rc_lost":0,"file":{"fingerprint":"string",'
    b'"url":"https://example.com/path"},"flight_id":"id-001","out_of_control_action":0,'
    b'"rth_altitude":0,"task_type":0,"rth_mode":0,"break_point":{"index":0,"state":0,'
    b'"progress":0.0,"wayline_id":0,"break_reason":0,"latitude":0.0,"longitude":0.0,'
    b'"height":0.0,"attitude_head":0.0},"executable_conditions":{"storage_capacity":0},'
    b'"ready_conditions":{"battery_capacity":0,"begin_time":0,"end_time":0},'
    b'"simulate_mission":{"is_enable":0,"latitude":0.0,"longitude":0.0}},'
    b'"idempotency_key":"req-flighttask_prepare-001","timeout_seconds":30}'
)
DATA = {
    CAMERA_RECORDING_START: {"payload_index": "string"},
    FILEUPLOAD_START: {
        "bucket": "string",
        "region": "string",
        "credentials": {
            "access_key_id": "id-001",
            "access_key_secret": "string",
            "expire": 0,
            "security_token": "string",
        },
        "endpoint": "string",
        "provider": "string",
        "params": {"files": [{"list": [], "module": "string", "object_key": "string"}]},
    },
    FLIGHTTASK_PREPARE: {
        "execute_time": 0,
        "exit_wayline_when_rc_lost": 0,
        "file": {"fingerprint": "string", "url": "https://example.com/path"},
        "flight_id": "id-001",
        "out_of_control_action": 0,
        "rth_altitude": 0,
        "task_type": 0,
        "rth_mode": 0,
        "break_point": {
            "index": 0,
            "state": 0,
            "progress": 0,
            "wayline_id": 0,
            "break_reason": 0,
            "latitude": 0,
            "longitude": 0,
            "height": 0,
            "attitude_head": 0,
        },
        "executable_conditions": {"storage_capacity": 0},
        "ready_conditions": {"battery_capacity": 0, "begin_time": 0, "end_time": 0},
        "simulate_mission": {"is_enable": 0, "latitude": 0, "longitude": 0},
    },
}


@pytest.mark.parametrize("body", list(DATA), ids=["camera", "fileupload", "flighttask"])
async def test_the_platforms_own_request_is_accepted_and_sent(
    api: OpenApiUnderTest, body: bytes
) -> None:
    """The documented request, byte for byte, becomes the DJI message that it describes."""
    answer = await api.post(body)
    assert answer.status == 202
    assert list(answer.body) == ["command_id", "status", "accepted_at", "request_id"]
    assert str(uuid.UUID(answer.body["command_id"])) == answer.body["command_id"]
    assert answer.body["status"] == "ACCEPTED"
    assert answer.body["accepted_at"] == "2026-04-22T12:00:00.000Z"
    [message] = await api.bridge.wait_published(1)
    assert message.topic == "thing/product/dock-001/services"
    assert message.content == {
        "bid": answer.body["command_id"],
        "tid": answer.body["command_id"],
        "timestamp": api.clock.now_ms(),
        "method": re.findall(rb'"command_type":"(\w+)"', body)[0].decode(),
        "data": DATA[body],
    }


async def test_the_same_submission_again_gives_the_same_command_with_200(
    api: OpenApiUnderTest,
) -> None:
    """A repetition creates nothing and is answered as the first was, later too."""
    first = await api.post(submission())
    api.clock.advance(3)
    again = await api.post(submission())
    assert (first.status, again.status) == (202, 200)
    same = ("command_id", "status", "accepted_at")
    assert [again.body[name] for name in same] == [first.body[name] for name in same]
    assert len(api.bridge.published) == 1


async def test_key_with_other_content_is_a_conflict_that_names_the_command(
    api: OpenApiUnderTest,
) -> None:
    """A key stands for one content, and the first command stays as it was."""
    first = await api.post(submission())
    other = await api.post(submission(payload={"payload_index": "53-0-0"}))
    assert (other.status, other.code) == (409, "IDEMPOTENCY_CONFLICT")
    assert other.body["metadata"] == {
        "idempotency_key": "key-1",
        "command_id": first.body["command_id"],
    }
    assert len(api.bridge.published) == 1


@pytest.mark.parametrize("payload", [..., None, {}], ids=["absent", "null", "empty"])
async def test_method_without_fields_needs_no_payload(
    api: OpenApiUnderTest, payload: object
) -> None:
    """There is nothing to say, and each way of saying it is right."""
    answer = await api.post(submission(command_type="charge_open", payload=payload))
    assert answer.status == 202
    [message] = await api.bridge.wait_published(1)
    assert message.content["data"] is None


@pytest.mark.parametrize("seconds", [..., None, 0, 30.0, 300])
async def test_timeout_may_be_absent_null_or_up_to_300(
    api: OpenApiUnderTest, seconds: object
) -> None:
    """Absent, null and 0 all mean the default of 30 s; JSON does not tell 30.0 from 30."""
    answer = await api.post(submission(timeout_seconds=seconds))
    assert answer.status == 202
    [message] = await api.bridge.wait_published(1)
    assert message.expiry_seconds == (300 if seconds == 300 else 30)


async def test_every_missing_and_unknown_member_is_named_at_once(api: OpenApiUnderTest) -> None:
    """Who starts with an empty body learns in one go what belongs into it."""
    answer = await api.post({"devise_id": "drone-001"})
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert answer.fields == [
        "vendor",
        "device_id",
        "command_type",
        "payload",
        "idempotency_key",
        "devise_id",
    ]
    assert all(name in answer.body["message"] for name in answer.fields)
    assert await api.nothing_was_stored()


WRONG_MEMBERS: list[tuple[dict[str, Any], str]] = [
    ({name: value}, name)
    for name in ("vendor", "device_id", "command_type", "idempotency_key")
    for value in (..., None, "", 5, ["x"])
] + [
    ({"payload": ...}, "payload"),
    ({"payload": None}, "payload"),
    ({"payload": "text"}, "payload"),
    ({"payload": [1]}, "payload"),
    ({"payload": False}, "payload"),
    ({"payload": {}}, "payload.payload_index"),
    ({"payload": {"payload_index": ""}}, "payload.payload_index"),
    ({"payload": {"payload_index": 7}}, "payload.payload_index"),
    ({"payload": {"payload_index": "39-0-7", "extra": 1}}, "payload.extra"),
    ({"timeout_seconds": -1}, "timeout_seconds"),
    ({"timeout_seconds": 301}, "timeout_seconds"),
    ({"timeout_seconds": 2**31}, "timeout_seconds"),
    ({"timeout_seconds": -(2**31) - 1}, "timeout_seconds"),
    ({"timeout_seconds": 1e300}, "timeout_seconds"),
    ({"timeout_seconds": 1.5}, "timeout_seconds"),
    ({"timeout_seconds": True}, "timeout_seconds"),
    ({"timeout_seconds": "30"}, "timeout_seconds"),
    ({"device_id": "drone/001"}, "device_id"),
    ({"device_id": "drone+001"}, "device_id"),
    ({"device_id": "drone#001"}, "device_id"),
    ({"device_id": "d" * 65}, "device_id"),
    ({"idempotency_key": "k" * 256}, "idempotency_key"),
    ({"dry_run": True}, "dry_run"),
]


@pytest.mark.parametrize(("members", "named"), WRONG_MEMBERS)
async def test_wrong_member_is_named_as_the_body_names_it(
    api: OpenApiUnderTest, members: dict[str, Any], named: str
) -> None:
    """A field that is missing, of the wrong type or out of range is refused by its own name."""
    answer = await api.post(submission(**members))
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert answer.fields == [named]
    assert answer.body["details"][0]["description"]
    assert named in answer.body["message"]
    assert await api.nothing_was_stored()


async def test_unknown_device_is_not_found(api: OpenApiUnderTest) -> None:
    """A device that no dock has announced has no gateway to go by."""
    answer = await api.post(submission(device_id="drone-999"))
    assert (answer.status, answer.code) == (404, "DEVICE_NOT_FOUND")
    assert answer.body["metadata"] == {"device_id": "drone-999"}
    assert await api.nothing_was_stored()


async def test_unknown_vendor_is_told_which_there_are(api: OpenApiUnderTest) -> None:
    """The answer names the vendor that would be right."""
    answer = await api.post(submission(vendor="px4"))
    assert (answer.status, answer.code) == (400, "UNSUPPORTED_VENDOR")
    assert answer.body["message"] == "there is no vendor 'px4'; the vendor must be 'dji'"
    assert answer.body["metadata"] == {"vendor": "px4", "supported": "dji"}
    assert await api.nothing_was_stored()


@pytest.mark.parametrize("payload", [..., {"payload_index": "39-0-7"}])
async def test_misspelt_command_is_told_the_right_name(
    api: OpenApiUnderTest, payload: object
) -> None:
    """An unknown method is called that, whether or not a payload came with it."""
    answer = await api.post(submission(command_type="camera_recording_strt", payload=payload))
    assert (answer.status, answer.code) == (400, "UNSUPPORTED_COMMAND")
    assert answer.body["metadata"]["did_you_mean"] == "camera_recording_start"
    assert await api.nothing_was_stored()


async def test_what_the_caller_sent_comes_back_only_in_part(api: OpenApiUnderTest) -> None:
    """An error stays small however large the request was."""
    answer = await api.post(submission(command_type="x" * 100_000))
    assert answer.code == "UNSUPPORTED_COMMAND"
    assert len(answer.body["message"]) <= 1000
    assert len(answer.body["metadata"]["command_type"]) <= 256
    many = await api.post(submission(**{f"member_{index}": 1 for index in range(5000)}))
    assert len(many.fields) == 20


DANGEROUS = {
    "command_type": "drone_emergency_stop",
    "payload": {},
}
RAW = {
    "command_type": "raw_method",
    "payload": {"method": "newest_thing", "channel": "services", "data": {"n": 7}},
}


@pytest.mark.parametrize(("members", "scope"), [(DANGEROUS, Scope.DANGEROUS), (RAW, Scope.RAW)])
async def test_what_is_dangerous_or_unchecked_needs_a_scope(
    api: OpenApiUnderTest, members: dict[str, Any], scope: Scope
) -> None:
    """An ordinary key does not move an aircraft; one that was made for it does."""
    api.commands._permissions = Permissions(raw_methods=True)
    refused = await api.post(submission(**members))
    assert (refused.status, refused.code) == (403, "FORBIDDEN")
    assert refused.body["metadata"]["scope"] == scope
    assert await api.nothing_was_stored()

    allowed = await api.keys.create("more", scopes={*ORDINARY, scope})
    answer = await api.post(submission(**members), key=allowed)
    assert answer.status == 202


async def test_a_key_may_be_for_reading_only(api: OpenApiUnderTest) -> None:
    """A dashboard needs no more."""
    reader = await api.keys.create("dashboard", scopes={Scope.READ})
    assert (await api.post(submission(), key=reader)).code == "FORBIDDEN"
