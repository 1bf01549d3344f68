"""Raw methods: unchecked, but never a bug of ours."""

from pathlib import Path
from typing import Any

import pytest
from support import core
from support.bridge import ScriptedBridge

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.commands import Permissions
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.http import convert
from dockgate_server.model.caller import LOCAL


def raw(method: str = "brand_new", **data: Any) -> pb.SubmitCommandRequest:
    """A submission of a raw method."""
    request = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key="k")
    request.dji.raw_method.method = method
    request.dji.raw_method.channel = "services"
    request.dji.raw_method.data.update(data)
    return request


@pytest.fixture
async def permitting(tmp_path: Path) -> Any:
    """A gateway that takes raw methods."""
    async with core.running(tmp_path / "db", ScriptedBridge()) as running:
        running.commands._permissions = Permissions(raw_methods=True)
        yield running


async def test_whole_numbers_travel_without_a_point(permitting: core.Core) -> None:
    """A Struct knows only doubles; the device wants integers. Beyond 64 bits there are none."""
    await permitting.commands.submit(LOCAL, raw(n=7, x=0.5, large=1e20))
    (sent,) = await permitting.bridge.wait_published(1)
    # A Struct is a map, and a map has no order.
    assert {b'"n":7,', b'"n":7}'} & {sent.payload[at : at + 6] for at in range(len(sent.payload))}
    assert sent.content["data"] == {"n": 7, "x": 0.5, "large": 1e20}


async def test_data_is_as_deep_as_http_can_say_it(permitting: core.Core) -> None:
    """Eighteen levels, as there are two more around it."""
    fine: dict[str, Any] = {}
    for _ in range(16):
        fine = {"a": fine}
    with pytest.raises(DockgateError) as caught:
        await permitting.commands.submit(LOCAL, raw(a=[fine]))
    assert [one.field for one in caught.value.violations] == ["dji.raw_method.data"]
    assert "18 levels" in caught.value.message
    await permitting.commands.submit(LOCAL, raw(a=fine))


async def test_a_number_that_json_cannot_write_is_named(permitting: core.Core) -> None:
    """By the path under which the caller wrote it."""
    with pytest.raises(DockgateError) as caught:
        await permitting.commands.submit(LOCAL, raw(size=float("inf")))
    assert [one.field for one in caught.value.violations] == ["dji.raw_method.data"]


async def test_another_channel_is_another_content(permitting: core.Core) -> None:
    """The key was used for something else, although method and data are the same."""
    await permitting.commands.submit(LOCAL, raw(n=7))
    elsewhere = raw(n=7)
    elsewhere.dji.raw_method.channel = "drc"
    with pytest.raises(DockgateError) as caught:
        await permitting.commands.submit(LOCAL, elsewhere)
    assert caught.value.reason is Reason.IDEMPOTENCY_CONFLICT


async def test_a_method_of_the_schema_cannot_go_raw(permitting: core.Core) -> None:
    """It would get around its rules."""
    with pytest.raises(DockgateError) as caught:
        await permitting.commands.submit(LOCAL, raw("camera_recording_start"))
    assert caught.value.reason is Reason.UNSUPPORTED_COMMAND


def test_data_nested_too_deep_is_refused() -> None:
    """Protobuf reads 100 levels."""
    data: dict[str, Any] = {}
    for _ in range(120):
        data = {"a": data}
    payload = {"method": "brand_new", "channel": "services", "data": data}
    with pytest.raises(DockgateError) as caught:
        convert.submission(
            {
                "vendor": "dji",
                "device_id": "d",
                "command_type": "raw_method",
                "idempotency_key": "k",
                "payload": payload,
            }
        )
    assert caught.value.reason is Reason.VALIDATION_FAILED


async def test_a_property_of_the_schema_cannot_go_raw_under_another_name(
    permitting: core.Core,
) -> None:
    """On its channel the device goes by the members of the data, not by the method's name."""
    request = raw("brand_new", new_one=1, height_limit=1500)
    request.dji.raw_method.channel = "property_set"
    with pytest.raises(DockgateError) as caught:
        await permitting.commands.submit(LOCAL, request)
    assert caught.value.reason is Reason.UNSUPPORTED_COMMAND
    assert caught.value.metadata["command_type"] == "height_limit"
    assert not permitting.bridge.published
