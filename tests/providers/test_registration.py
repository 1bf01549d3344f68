"""What a dock asks before it announces itself."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.clock import ManualClock

from dockgate_server.config.providers import Registration as Settings
from dockgate_server.model.device import Topology
from dockgate_server.model.device_request import Asked
from dockgate_server.providers import Providers
from dockgate_server.providers.registration import Registration
from dockgate_server.store.sources import Binding
from dockgate_server.store.sqlite import SqliteStore

RIGHT = {"organization_id": "o-1", "device_binding_code": "sesame"}
WRONG = (
    {**RIGHT, "device_binding_code": "other"},
    {**RIGHT, "device_binding_code": ""},
    {**RIGHT, "device_binding_code": "münchen"},
    {**RIGHT, "organization_id": "o-2"},
    {**RIGHT, "organization_id": ["o-1"]},
    {"organization_id": "o-1"},
    {},
)
SETTINGS = {
    "app_id": "1",
    "app_key": "key",
    "app_license": "licence",
    "organizations": [{"id": "o-1", "name": "One", "binding_code": "sesame"}],
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        yield store


def _nobody(gateway_id: str, callsigns: Mapping[str, str]) -> None:
    """Is not interested in what was bound."""


async def _ask(store: SqliteStore, method: str, data: Any, **settings: Any) -> dict[str, Any]:
    """The data that a dock is answered."""
    registration = Registration(
        Settings(**(SETTINGS | settings)), store.sources, ManualClock(), _nobody
    )
    asked = Asked("dock-001", method, "t1", "b1", data)
    answer = await Providers(registration.by_method()).answer(asked)
    assert answer is not None
    assert answer.by == "registration"
    return dict(answer.data)


def _binding(sn: str, **members: Any) -> dict[str, Any]:
    return {
        "sn": sn,
        "device_callsign": f"the {sn}",
        "device_model_key": "3-3-0",
        **RIGHT,
        **members,
    }


async def _statuses(store: SqliteStore, *devices: str, **settings: Any) -> list[dict[str, Any]]:
    data = {"devices": [{"sn": one} for one in devices]}
    answer = await _ask(store, "airport_bind_status", data, **settings)
    assert answer["result"] == 0
    found: list[dict[str, Any]] = answer["output"]["bind_status"]
    return found


async def test_config_has_neither_result_nor_output(store: SqliteStore) -> None:
    """Unlike every other answer."""
    settings = {"ntp_server_host": "ntp.example", "ntp_server_port": 1123}
    assert await _ask(store, "config", {"config_type": "json"}, **settings) == {
        "app_id": "1",
        "app_key": "key",
        "app_license": "licence",
        "ntp_server_host": "ntp.example",
        "ntp_server_port": 1123,
    }


async def test_what_is_not_configured_is_not_answered(store: SqliteStore) -> None:
    """It goes to the inbox."""
    nothing = Registration(Settings(), store.sources, ManualClock(), _nobody)
    assert nothing.by_method() == {}
    app_alone = Registration(
        Settings(**(SETTINGS | {"organizations": []})), store.sources, ManualClock(), _nobody
    )
    assert set(app_alone.by_method()) == {"config"}


async def test_a_new_device_is_not_bound(store: SqliteStore) -> None:
    """Which it is told with every member there."""
    assert await _statuses(store, "dock-001") == [
        {
            "sn": "dock-001",
            "is_device_bind_organization": False,
            "organization_id": "",
            "organization_name": "",
            "device_callsign": "",
        }
    ]


async def test_a_device_that_was_bound_stays_bound(store: SqliteStore) -> None:
    """With its callsign; the devices of the answer are those of the question, in order."""
    devices = [_binding("dock-001"), _binding("drone-001")]
    answer = await _ask(store, "airport_organization_bind", {"bind_devices": devices})
    infos = [{"sn": "dock-001", "err_code": 0}, {"sn": "drone-001", "err_code": 0}]
    assert answer == {"result": 0, "output": {"err_infos": infos}}
    dock, other, drone = await _statuses(store, "dock-001", "dock-002", "drone-001")
    assert dock == {
        "sn": "dock-001",
        "is_device_bind_organization": True,
        "organization_id": "o-1",
        "organization_name": "One",
        "device_callsign": "the dock-001",
    }
    assert (other["sn"], other["is_device_bind_organization"]) == ("dock-002", False)
    assert (drone["sn"], drone["is_device_bind_organization"]) == ("drone-001", True)


async def test_only_what_was_bound_is_told(store: SqliteStore) -> None:
    """With its callsign, to whoever keeps the devices at hand."""
    told: list[tuple[str, Mapping[str, str]]] = []
    settings = Settings(**SETTINGS)  # type: ignore[arg-type]
    registration = Registration(
        settings, store.sources, ManualClock(), lambda *bound: told.append(bound)
    )
    devices = [_binding("dock-001"), _binding("drone-001", device_binding_code="other")]
    data = {"bind_devices": devices}
    await registration.organization_bind(Asked("dock-001", "", "", "", data))
    assert told == [("dock-001", {"dock-001": "the dock-001"})]
    data = {"bind_devices": devices[1:]}
    await registration.organization_bind(Asked("dock-001", "", "", "", data))
    assert len(told) == 1


async def test_a_binding_survives_what_the_dock_announces(store: SqliteStore) -> None:
    """The topology says where a device is, not to whom it belongs."""
    await _ask(store, "airport_organization_bind", {"bind_devices": [_binding("drone-001")]})
    topology = Topology("dock-001", "3-2-0", (("drone-001", "0-91-1"),), 1)
    await store.devices.save_topology("default", topology)
    (drone,) = await _statuses(store, "drone-001")
    assert drone["is_device_bind_organization"]


async def test_a_binding_to_an_organisation_that_is_gone_is_none(store: SqliteStore) -> None:
    """The dock then asks to be bound anew."""
    await _ask(store, "airport_organization_bind", {"bind_devices": [_binding("dock-001")]})
    others = [{"id": "o-9", "name": "Nine", "binding_code": "x"}]
    (dock,) = await _statuses(store, "dock-001", organizations=others)
    assert not dock["is_device_bind_organization"]
    assert (dock["organization_id"], dock["device_callsign"]) == ("", "")


async def test_the_organisation_is_named_to_who_knows_its_code(store: SqliteStore) -> None:
    """For people at the dock to see where it will belong."""
    answer = await _ask(store, "airport_organization_get", RIGHT)
    assert answer == {"result": 0, "output": {"organization_name": "One"}}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_organisation_or_code_is_refused(
    store: SqliteStore, wrong: dict[str, Any]
) -> None:
    """With DJI's code; which of the two was wrong is not said."""
    answer = await _ask(store, "airport_organization_get", wrong)
    assert answer == {
        "result": 210231,
        "message": "there is no such organisation, or its binding code is another",
    }
    devices = [{"sn": "dock-001", **wrong}, _binding("drone-001")]
    answer = await _ask(store, "airport_organization_bind", {"bind_devices": devices})
    infos = [{"sn": "dock-001", "err_code": 210231}, {"sn": "drone-001", "err_code": 0}]
    assert answer["output"]["err_infos"] == infos
    dock, drone = await _statuses(store, "dock-001", "drone-001")
    assert not dock["is_device_bind_organization"]
    assert drone["is_device_bind_organization"]


async def test_a_device_of_another_tenant_is_not_taken_over(store: SqliteStore) -> None:
    """Whoever knows a serial number must not get the device by it."""
    await store.devices.save_topology("another", Topology("dock-009", "", (), 1))
    devices = [_binding("dock-009"), _binding("dock-001")]
    answer = await _ask(store, "airport_organization_bind", {"bind_devices": devices})
    infos = [{"sn": "dock-009", "err_code": 210231}, {"sn": "dock-001", "err_code": 0}]
    assert answer["output"]["err_infos"] == infos
    bound = await store.sources.bindings(["dock-009", "dock-001"])
    assert bound == {"dock-001": Binding("dock-001", "o-1", "the dock-001", "3-3-0")}


@pytest.mark.parametrize(
    "data", [None, "text", [], {}, {"bind_devices": "x"}, {"devices": [1, {}]}]
)
async def test_a_careless_question_gets_a_clear_answer(store: SqliteStore, data: Any) -> None:
    """Whatever stands in it."""
    status = await _ask(store, "airport_bind_status", data)
    assert status == {"result": 0, "output": {"bind_status": []}}
    bound = await _ask(store, "airport_organization_bind", data)
    assert (bound["result"], bound["output"]) == (210231, {"err_infos": []})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"app_id": "1"}, "app_id, app_key and app_license"),
        ({"organizations": [SETTINGS["organizations"][0]] * 2}, "same id"),  # type: ignore[index]
        ({"organizations": [{"id": "o", "name": "n", "binding_code": ""}]}, "binding_code"),
    ],
)
def test_settings_that_are_not_whole_are_refused(settings: dict[str, Any], named: str) -> None:
    """At start, not at the first dock."""
    with pytest.raises(ValueError, match=named):
        Settings(**settings)
