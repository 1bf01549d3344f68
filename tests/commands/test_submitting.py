"""Submitting: what is stored, what is refused, what a repetition gets."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.internal import encoder
from support.bridge import ScriptedBridge
from support.core import Core, running
from support.gateway import recording_start
from support.records import NOW

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL, Caller
from dockgate_server.model.command import Status, Vendor

Request = pb.SubmitCommandRequest


async def refusal(core: Core, request: Request, caller: Caller = LOCAL) -> DockgateError:
    """What a submission is refused with."""
    with pytest.raises(DockgateError) as refused:
        await core.commands.submit(caller, request)
    return refused.value


async def test_a_submission_is_stored_with_all_that_it_said(core: Core) -> None:
    """Durable, with the gateway to which it goes, before it is answered."""
    accepted = await core.commands.submit(LOCAL, recording_start("k1", timeout_seconds=12))
    command = await core.store.get_command("default", accepted.command.id)
    assert command is not None
    assert (command.tenant, command.principal) == ("default", "local")
    assert (command.vendor, command.command_type) == (Vendor.DJI, "camera_recording_start")
    assert (command.device_id, command.gateway_id) == ("drone-001", "dock-001")
    assert command.data == b'{"payload_index":"39-0-7"}'
    assert (command.timeout_seconds, command.accepted_at) == (12, NOW)
    assert command.deadline_at == NOW + 12_000
    assert (accepted.command.status, accepted.replayed) == (Status.ACCEPTED, False)
    assert core.bridge.published[0].tid == command.id


@pytest.mark.parametrize(("said", "seconds"), [(None, 30), (0, 30), (1, 1), (300, 300)])
async def test_a_timeout_that_is_not_said_is_the_methods(
    core: Core, said: int | None, seconds: int
) -> None:
    """0 is "not said"; the ends of the range are in it."""
    accepted = await core.commands.submit(LOCAL, recording_start("k", timeout_seconds=said))
    assert accepted.command.timeout_seconds == seconds


async def test_a_method_without_fields_is_sent_as_null(core: Core) -> None:
    """The arm alone is enough."""
    request = Request(device_id="dock-001", idempotency_key="k")
    request.dji.charge_open.SetInParent()
    accepted = await core.commands.submit(LOCAL, request)
    assert accepted.command.data == b"null"
    assert accepted.command.job_key == accepted.command.id


async def test_a_flights_job_is_known_by_the_callers_flight_id(core: Core) -> None:
    """Not by our bid."""
    request = flight()
    accepted = await core.commands.submit(LOCAL, request)
    assert accepted.command.job_key == "F1"


def flight() -> Request:
    """A valid flighttask_prepare."""
    request = Request(device_id="dock-001", idempotency_key="k")
    task = request.dji.flighttask_prepare
    task.flight_id = "F1"
    task.execute_time = 0
    task.task_type = 0
    task.file.url, task.file.fingerprint = "https://example.com/f", "abc"
    task.rth_altitude = task.rth_mode = task.out_of_control_action = 0
    task.exit_wayline_when_rc_lost = 0
    return request


def _with(**fields: object) -> Request:
    """A valid submission with these fields changed."""
    values = {"key": "k", "device_id": "drone-001", **fields}
    return recording_start(**values)  # type: ignore[no-any-return]


def _without_payload_index() -> Request:
    request = _with()
    request.dji.camera_recording_start.ClearField("payload_index")
    return request


def _empty_payload_index() -> Request:
    request = _with()
    request.dji.camera_recording_start.payload_index = ""
    return request


def _flight(change: Callable[[Request], None]) -> Request:
    request = flight()
    change(request)
    return request


def _nothing_in_the_file(request: Request) -> None:
    request.dji.flighttask_prepare.file.Clear()


def _rth_altitude(request: Request) -> None:
    request.dji.flighttask_prepare.rth_altitude = 19


def _not_a_number(request: Request) -> None:
    request.dji.flighttask_prepare.break_point.height = math.nan
    request.dji.flighttask_prepare.break_point.index = 0
    request.dji.flighttask_prepare.break_point.state = 0
    request.dji.flighttask_prepare.break_point.progress = 0
    request.dji.flighttask_prepare.break_point.wayline_id = 0


def _unknown_field(request: Request) -> None:
    unknown = encoder.TagBytes(77, 0) + b"\x01"
    request.dji.flighttask_prepare.file.MergeFromString(unknown)


def _unknown_beside_the_method() -> Request:
    request = _with()
    request.dji.MergeFromString(encoder.TagBytes(77, 0) + b"\x01")
    return request


def _unknown_beside_the_device() -> Request:
    request = _with()
    request.MergeFromString(encoder.TagBytes(77, 0) + b"\x01")
    return request


def _no_vendor() -> Request:
    return Request(device_id="drone-001", idempotency_key="k")


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (_with(device_id=""), ["device_id"]),
        (_with(key=""), ["idempotency_key"]),
        (_with(key="x" * 256), ["idempotency_key"]),
        (_with(timeout_seconds=-1), ["timeout_seconds"]),
        (_with(timeout_seconds=301), ["timeout_seconds"]),
        *((_with(device_id=sn), ["device_id"]) for sn in ("a/b", "a+b", "a#b", "a b", "a\n", "\0")),
        (_with(device_id="x" * 65), ["device_id"]),
        (_without_payload_index(), ["dji.camera_recording_start.payload_index"]),
        (_empty_payload_index(), ["dji.camera_recording_start.payload_index"]),
        (_no_vendor(), ["vendor_method"]),
        (Request(), ["device_id", "idempotency_key", "vendor_method"]),
        (
            _flight(_nothing_in_the_file),
            [f"dji.flighttask_prepare.file.{name}" for name in ("fingerprint", "url")],
        ),
        (_flight(_rth_altitude), ["dji.flighttask_prepare.rth_altitude"]),
        (_flight(_not_a_number), ["dji.flighttask_prepare.break_point.height"]),
        (_flight(_unknown_field), ["dji.flighttask_prepare.file.#77"]),
        (_unknown_beside_the_method(), ["dji.#77"]),
        (_unknown_beside_the_device(), ["#77"]),
        (_with(device_id="/", key="", timeout_seconds=999), [
            "device_id", "idempotency_key", "timeout_seconds",
        ]),
    ],
)  # fmt: skip
async def test_bad_input_is_refused_with_every_offending_field(
    core: Core, request_: Request, fields: list[str]
) -> None:
    """All of them in one answer, nothing stored, nothing sent, the key still free."""
    error = await refusal(core, request_)
    assert error.reason is Reason.VALIDATION_FAILED
    assert sorted(violation.field for violation in error.violations) == fields
    assert all(field in error.message for field in fields)
    assert await core.stored() == 0
    assert core.bridge.published == []
    assert await core.store.find_accepted("default", "k") is None


async def test_an_unknown_method_is_refused(core: Core) -> None:
    """By number, as a newer client sends it; an arm without a method too."""
    request = Request(device_id="drone-001", idempotency_key="k")
    request.dji.MergeFromString(encoder.TagBytes(4711, 2) + b"\x00")
    error = await refusal(core, request)
    assert (error.reason, error.metadata) == (
        Reason.UNSUPPORTED_COMMAND,
        {"command_type": "4711"},
    )
    empty = Request(device_id="drone-001", idempotency_key="k")
    empty.dji.SetInParent()
    assert (await refusal(core, empty)).reason is Reason.UNSUPPORTED_COMMAND
    assert await core.stored() == 0


async def test_an_unknown_device_is_refused(core: Core) -> None:
    """Also one that another tenant knows."""
    error = await refusal(core, recording_start("k", device_id="drone-404"))
    assert (error.reason, error.metadata) == (
        Reason.DEVICE_NOT_FOUND,
        {"device_id": "drone-404"},
    )
    assert "drone-404" in error.message
    other = await refusal(core, recording_start("k"), Caller("other", "p"))
    assert other.reason is Reason.DEVICE_NOT_FOUND
    assert await core.stored() == 0


async def test_a_repetition_gets_the_first_answer(core: Core) -> None:
    """The command as it was accepted, whatever has become of it; published once."""
    first = await core.commands.submit(LOCAL, recording_start("k"))
    await core.reply(first.command.id, {"result": 0})
    again = await core.commands.submit(LOCAL, recording_start("k"))
    assert again.replayed
    assert again.command == first.command
    assert len(core.bridge.published) == 1


async def test_not_said_and_zero_seconds_are_the_same_content(core: Core) -> None:
    """The timeout counts as sent; absent is 0."""
    first = await core.commands.submit(LOCAL, recording_start("k", timeout_seconds=0))
    again = await core.commands.submit(LOCAL, recording_start("k"))
    assert again.command == first.command


def _other_payload() -> Request:
    request: Request = recording_start("k")
    request.dji.camera_recording_start.payload_index = "39-0-8"
    return request


def _other_method() -> Request:
    request = Request(device_id="drone-001", idempotency_key="k")
    request.dji.charge_open.SetInParent()
    return request


@pytest.mark.parametrize(
    "other",
    [
        recording_start("k", timeout_seconds=30),
        recording_start("k", device_id="dock-001"),
        recording_start("k", device_id="drone-404"),
        _other_payload(),
        _other_method(),
        recording_start("k", timeout_seconds=999),
        _without_payload_index(),
    ],
    ids=lambda request: str(request).replace("\n", " ")[:60],
)
async def test_a_key_with_other_content_is_a_conflict(core: Core, other: Request) -> None:
    """Also where the other content would be refused for itself; the error names the holder."""
    first = await core.commands.submit(LOCAL, recording_start("k"))
    error = await refusal(core, other)
    assert error.reason is Reason.IDEMPOTENCY_CONFLICT
    assert error.metadata == {"idempotency_key": "k", "command_id": first.command.id}
    assert await core.stored() == 1
    assert len(core.bridge.published) == 1


async def test_of_many_at_once_one_is_new(core: Core) -> None:
    """A client that repeats before the answer came."""
    answers = await asyncio.gather(
        *(core.commands.submit(LOCAL, recording_start("k")) for _ in range(10))
    )
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 9
    assert len({answer.command.id for answer in answers}) == 1
    assert len(core.bridge.published) == 1


async def test_a_repetition_counts_after_the_device_was_forgotten(tmp_path: Path) -> None:
    """And after a restart: looked up before rules, devices and the state of the gateway."""
    database = tmp_path / "dockgate.db"
    async with running(database, ScriptedBridge()) as core:
        first = await core.commands.submit(LOCAL, recording_start("k"))
    bridge = ScriptedBridge()
    async with running(database, bridge) as core:
        core.commands._registry._devices.clear()
        core.commands.stop_accepting()
        again = await core.commands.submit(LOCAL, recording_start("k"))
        assert again.replayed
        assert again.command == first.command
        assert (await refusal(core, _other_payload())).reason is Reason.IDEMPOTENCY_CONFLICT
        assert bridge.published == []


async def test_a_gateway_that_stops_refuses_new_commands(core: Core) -> None:
    """UNAVAILABLE: try again, elsewhere or later, with the same key."""
    core.commands.stop_accepting()
    assert (await refusal(core, recording_start("k"))).reason is Reason.UNAVAILABLE
    assert await core.stored() == 0


async def test_a_key_belongs_to_its_tenant(core: Core) -> None:
    """Another tenant neither gets the command nor learns that there is one."""
    await core.commands.submit(LOCAL, recording_start("k"))
    error = await refusal(core, recording_start("k"), Caller("other", "p"))
    assert error.reason is Reason.DEVICE_NOT_FOUND
