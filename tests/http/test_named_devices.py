"""A field that names a device out of reach, over HTTP: the field is named as the body names it."""

import pytest
from support.open_api import OpenApiUnderTest, submission

from dockgate_server.model.caller import ORDINARY
from dockgate_server.model.device import Device


@pytest.mark.parametrize(
    ("named", "devices", "status", "code"),
    [
        ("dock-001", ["dock-001"], 202, None),
        ("dock-002", [], 202, None),
        ("dock-002", ["dock-001"], 403, "FORBIDDEN"),
        ("dock-009", [], 404, "DEVICE_NOT_FOUND"),
        ("dock-777", [], 404, "DEVICE_NOT_FOUND"),
    ],
)
async def test_a_dock_to_land_in_must_be_in_reach(
    api: OpenApiUnderTest, named: str, devices: list[str], status: int, code: str | None
) -> None:
    """Another tenant's is like an unknown one."""
    registry = api.commands._registry
    await registry.register(Device("default", "dock-002", "dock-002"))
    await registry.register(Device("north", "dock-009", "dock-009"))
    key = await api.keys.create("test", scopes=ORDINARY, devices=devices)
    payload = {"home_dock_sn": named}
    body = submission(command_type="return_specific_home", payload=payload)
    answer = await api.post(body, key=key)
    assert answer.status == status
    if code is None:
        return
    assert answer.code == code
    assert answer.fields == ["payload.home_dock_sn"]
    assert answer.body["metadata"] == {"device_id": named}
    assert named in answer.body["message"]
    assert await api.nothing_was_stored()
