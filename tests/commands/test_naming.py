"""Fields of a method that name another device: only such as the caller may reach."""

import json
import re
from typing import Any

import pytest
from docs.fields import FIELDS
from support.core import Core
from support.records import NOW

from dockgate.dji.v1 import options_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import dji_json
from dockgate_server.commands import naming
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL, Caller, Scope
from dockgate_server.model.device import Device, Topology

ONE = Caller("default", "limited", frozenset(Scope), ("dock-001",))
DRONE = Caller("default", "limited", frozenset(Scope), ("drone-001",))
NORTH = Caller("north", "north", frozenset(Scope))
LOOKS_LIKE_ONE = re.compile(r"(^|_)sn$|serial|^video_id$|device_id|gateway|airport")
OF_NO_DEVICE = {"drone_sn_enable"}


@pytest.fixture(autouse=True)
async def _docks(core: Core) -> None:
    """Beside dock-001 with drone-001: dock-002, called roof, and dock-009 of another tenant."""
    await core.registry.learn(Topology("dock-002", "3-2-0", (("drone-002", "0-91-1"),), NOW))
    await core.registry.register(Device("default", "dock-002", "dock-002", alias="roof"))
    await core.registry.register(Device("north", "dock-009", "dock-009"))
    await core.registry.register(Device("default", "drone-001", "dock-001", alias="dock-009"))


def submission(method: str, payload: dict[str, Any], device_id: str) -> pb.SubmitCommandRequest:
    """A submission with these fields."""
    request = pb.SubmitCommandRequest(device_id=device_id, idempotency_key="k1")
    assert dji_json.from_dict(payload, getattr(request.dji, method)) == []
    return request


def landing(serial_number: str, device_id: str = "dock-001") -> pb.SubmitCommandRequest:
    """The drone is to land in that dock."""
    return submission("return_specific_home", {"home_dock_sn": serial_number}, device_id)


async def refusal(
    core: Core, caller: Caller, request: pb.SubmitCommandRequest
) -> tuple[DockgateError, str]:
    """The refusal and the field that it names; nothing was stored."""
    with pytest.raises(DockgateError) as caught:
        await core.commands.submit(caller, request)
    assert await core.stored() == 0
    (violation,) = caught.value.violations
    return caught.value, violation.field


@pytest.mark.parametrize("serial_number", ["dock-001", "dock-002"])
async def test_a_drone_may_land_in_a_dock_that_is_in_reach(core: Core, serial_number: str) -> None:
    """The one it is in, or another one of the tenant."""
    await core.commands.submit(LOCAL, landing(serial_number))
    (message,) = await core.bridge.wait_published(1)
    assert message.content["data"] == {"home_dock_sn": serial_number}


async def test_another_tenants_dock_is_like_an_unknown_one(core: Core) -> None:
    """Word for word, but for the name. An alias that is the same counts for nothing."""
    told = []
    for serial_number in ("dock-009", "dock-777"):
        refused, field = await refusal(core, LOCAL, landing(serial_number))
        assert (refused.reason, field) == (
            Reason.DEVICE_NOT_FOUND,
            "dji.return_specific_home.home_dock_sn",
        )
        assert refused.metadata == {"device_id": serial_number}
        told.append(refused.message.replace(serial_number, "…"))
    with pytest.raises(DockgateError) as unknown:
        core.registry.resolve("default", "dock-777")
    assert {*told, unknown.value.message.replace("dock-777", "…")} == {told[0]}


async def test_an_alias_is_no_serial_number(core: Core) -> None:
    """The device that reads the field knows none."""
    refused, _ = await refusal(core, LOCAL, landing("roof"))
    assert refused.reason is Reason.DEVICE_NOT_FOUND


async def test_a_limited_key_names_only_what_it_reaches(core: Core) -> None:
    """Its own dock, and not one of the same tenant beside it."""
    refused, field = await refusal(core, ONE, landing("dock-002"))
    assert refused.reason is Reason.FORBIDDEN
    assert refused.metadata == {"device_id": "dock-002"}
    assert field == "dji.return_specific_home.home_dock_sn"
    await core.commands.submit(ONE, landing("dock-001", "drone-001"))


async def test_every_device_of_a_flight_between_docks_is_looked_at(core: Core) -> None:
    """However deep it stands, and each of a list."""
    dock = {
        "heading": 1,
        "home_position_is_valid": 1,
        "rtcm_info": {
            "mount_point": "",
            "port": "",
            "host": "",
            "rtcm_device_type": 1,
            "source_type": 1,
        },
        "alternate_land_point": {"longitude": 1, "latitude": 1},
    }
    ends = [{"sdr_id": 1, "control_source_index": 1 + n, "sn": f"dock-00{1 + n}"} for n in (0, 1)]
    task: dict[str, Any] = {
        "wireless_link_topo": {"center_node": {"sdr_id": 1, "sn": "drone-001"}, "leaf_nodes": ends},
        "dock_infos": [{**dock, "sn": "dock-001"}, {**dock, "sn": "dock-002"}],
    }
    whole = {"flight_id": "f-1", "multi_dock_task": task}
    places = (
        (task["wireless_link_topo"]["center_node"], "wireless_link_topo.center_node.sn"),
        (ends[1], "wireless_link_topo.leaf_nodes[1].sn"),
        (task["dock_infos"][1], "dock_infos[1].sn"),
    )
    for place, path in places:
        before, place["sn"] = place["sn"], "dock-009"
        refused, field = await refusal(
            core, LOCAL, submission("flighttask_execute", whole, "drone-001")
        )
        assert refused.reason is Reason.DEVICE_NOT_FOUND
        assert field == f"dji.flighttask_execute.multi_dock_task.{path}"
        place["sn"] = before
    await core.commands.submit(LOCAL, submission("flighttask_execute", whole, "drone-001"))


OTA = {"product_version": "1", "firmware_upgrade_type": 3}


@pytest.mark.parametrize(
    ("method", "payload", "path"),
    [
        ("ota_create", {"devices": [OTA | {"sn": "dock-001"}, OTA | {"sn": "…"}]}, "devices[1].sn"),
        ("rtk_calibration", {"devices": [{"sn": "…"}]}, "devices[0].sn"),
        ("live_start_push", {"url_type": 1, "url": "u", "video_id": "…/39-0-7/normal-0"}, ""),
        ("live_stop_push", {"video_id": "…/39-0-7/normal-0"}, ""),
        ("live_set_quality", {"video_id": "…/39-0-7/normal-0", "video_quality": 1}, ""),
        ("live_lens_change", {"video_id": "…/39-0-7/normal-0", "video_type": "ir"}, ""),
        ("live_camera_change", {"video_id": "…/165-0-7/normal-0", "camera_position": 1}, ""),
    ],
)
async def test_parts_of_a_device_need_not_be_known(
    core: Core, method: str, payload: dict[str, Any], path: str
) -> None:
    """A payload or a relay is never announced; but a device that is known must be in reach."""

    def named(serial_number: str) -> pb.SubmitCommandRequest:
        text = json.dumps(payload, ensure_ascii=False).replace("…", serial_number)
        return submission(method, json.loads(text), "dock-001")

    for caller, serial_number, reason in (
        (LOCAL, "dock-009", Reason.DEVICE_NOT_FOUND),
        (ONE, "dock-002", Reason.FORBIDDEN),
    ):
        refused, field = await refusal(core, caller, named(serial_number))
        assert refused.reason is reason
        assert refused.metadata["device_id"] == serial_number
        assert field == f"dji.{method}.{path or 'video_id'}"
    for serial_number in ("relay-77", "drone-001"):
        request = named(serial_number)
        request.idempotency_key = serial_number
        await core.commands.submit(ONE, request)


async def test_a_key_for_a_drone_sees_not_through_its_docks_camera(core: Core) -> None:
    """The dock carries the command; its own pictures are another device's."""
    video = {"url_type": 1, "url": "u", "video_id": "dock-001/165-0-7/normal-0"}
    request = submission("live_start_push", video, "drone-001")
    refused, _ = await refusal(core, DRONE, request)
    assert refused.reason is Reason.FORBIDDEN


async def test_a_repetition_gets_the_first_answer_whatever_has_become_of_the_dock(
    core: Core,
) -> None:
    """As for every other reason to refuse."""
    first = await core.commands.submit(LOCAL, landing("dock-002"))
    await core.registry.remove(core.registry.resolve("default", "dock-002"))
    again = await core.commands.submit(LOCAL, landing("dock-002"))
    assert (again.replayed, again.command.id) == (True, first.command.id)


def test_no_field_that_looks_like_a_device_is_left_out() -> None:
    """A new method must mark its own."""
    unmarked = {
        f"{method}: {path}"
        for method, path, field in FIELDS
        if LOOKS_LIKE_ONE.search(field.name)
        and field.name not in OF_NO_DEVICE
        and not field.GetOptions().Extensions[options_pb2.field_spec].device_naming
    }
    assert unmarked == set()
    marked = {(name, one.steps[-1].name) for name, of in naming.METHODS.items() for one in of}
    assert ("return_specific_home", "home_dock_sn") in marked
    assert len(naming.METHODS) == 9
