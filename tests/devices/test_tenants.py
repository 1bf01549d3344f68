"""Whose a device is, and that nobody comes by another tenant's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.clock import ManualClock
from support.records import NOW

from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.devices.state import StateBoard
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.fleet import Fleet
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.model.device import Device, Topology
from dockgate_server.model.device_request import NewRequest, RequestFilter, Routing
from dockgate_server.model.event import DeviceEvent, NewEvent
from dockgate_server.model.transitions import Unmatched
from dockgate_server.store.sqlite import SqliteStore

NORTH, SOUTH = (Caller(name, name, frozenset(Scope)) for name in ("north", "south"))
DRONE = (("drone-1", "0-91-1"),)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "dockgate.db") as opened:
        yield opened


class Parts:
    """A registry on a store, and the use case that registers."""

    def __init__(self, store: SqliteStore, *assigned: Device) -> None:
        self.registry = Registry(store.devices, PresenceBook(ManualClock()), assigned, assigned)
        self.fleet = Fleet(self.registry, StateBoard())

    async def register(self, caller: Caller, device_id: str, **fields: str) -> None:
        """A caller registers a device."""
        request = pb.RegisterDeviceRequest(device_id=device_id, **fields)
        await self.fleet.register(caller, request)

    async def announce(self, gateway_id: str, *drones: str) -> None:
        """A dock announces itself and its drones."""
        members = tuple((one, "0-91-1") for one in drones)
        await self.registry.learn(Topology(gateway_id, "3-2-0", members, NOW))

    def of(self, caller: Caller) -> dict[str, str]:
        """The gateway of each device of a tenant."""
        found = self.registry.list(caller.tenant)
        assert [self.registry.resolve(caller.tenant, one.id) for one in found] == found
        return {one.id: one.gateway_id for one in found}


async def reloaded(store: SqliteStore, *assigned: Device) -> Parts:
    """The gateway, started again."""
    parts = Parts(store, *assigned)
    await parts.registry.load()
    return parts


async def same_after_restart(store: SqliteStore, parts: Parts, caller: Caller) -> dict[str, str]:
    """What a tenant has: memory and store must agree."""
    now = parts.of(caller)
    assert (await reloaded(store)).of(caller) == now
    return now


async def refusal(call: Any) -> DockgateError:
    with pytest.raises(DockgateError) as refused:
        await call
    return refused.value


async def test_who_registers_an_unknown_device_has_it(store: SqliteStore) -> None:
    """Also when it announces itself, and with it what it brings along."""
    parts = Parts(store)
    await parts.register(NORTH, "dock-1")
    await parts.announce("dock-1", "drone-1")
    await parts.announce("dock-2", "drone-2")
    assert await same_after_restart(store, parts, NORTH) == {
        "dock-1": "dock-1",
        "drone-1": "dock-1",
    }
    assert await same_after_restart(store, parts, Caller("default", "p")) == {
        "dock-2": "dock-2",
        "drone-2": "dock-2",
    }


async def test_a_gateway_that_a_device_is_registered_under_is_the_tenants_too(
    store: SqliteStore,
) -> None:
    """Or it would come to somebody else later, who would then be sent its commands."""
    parts = Parts(store)
    await parts.register(NORTH, "drone-1", gateway_id="dock-1")
    assert (await refusal(parts.register(SOUTH, "dock-1"))).reason is Reason.DEVICE_NOT_FOUND
    await parts.announce("dock-1", "drone-1")
    assert await same_after_restart(store, parts, NORTH) == {
        "dock-1": "dock-1",
        "drone-1": "dock-1",
    }
    assert await same_after_restart(store, parts, SOUTH) == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"device_id": "dock-1"},
        {"device_id": "drone-1"},
        {"device_id": "mine", "serial_number": "dock-1"},
        {"device_id": "drone-1", "gateway_id": "dock-9"},
        {"device_id": "drone-9", "gateway_id": "dock-1"},
        {"device_id": "mine", "serial_number": "drone-9", "gateway_id": "drone-1"},
    ],
)
async def test_another_tenants_device_cannot_be_registered_nor_used_as_gateway(
    store: SqliteStore, fields: dict[str, str]
) -> None:
    """It looks like one that does not exist, and nothing is changed."""
    parts = Parts(store)
    await parts.register(NORTH, "dock-1")
    await parts.announce("dock-1", "drone-1")
    refused = await refusal(parts.register(SOUTH, **fields))
    assert refused.reason is Reason.DEVICE_NOT_FOUND
    assert refused.metadata["device_id"] in ("dock-1", "drone-1")
    assert await same_after_restart(store, parts, SOUTH) == {}
    assert set(await same_after_restart(store, parts, NORTH)) == {"dock-1", "drone-1"}


@pytest.mark.parametrize("gateway_id", ["", "dock-1"])
async def test_of_two_tenants_that_register_at_once_one_has_it(
    store: SqliteStore, gateway_id: str
) -> None:
    """Both have seen that it is unknown; the first one's change holds."""
    parts = Parts(store)
    calls = [
        parts.register(NORTH, "drone-1", gateway_id=gateway_id),
        parts.register(SOUTH, "drone-1", gateway_id=gateway_id),
    ]
    first, second = await asyncio.gather(*calls, return_exceptions=True)
    assert first is None
    assert isinstance(second, DockgateError)
    assert second.reason is Reason.DEVICE_NOT_FOUND
    assert "drone-1" in await same_after_restart(store, parts, NORTH)
    assert await same_after_restart(store, parts, SOUTH) == {}


async def test_registered_while_it_announces_itself_it_is_of_one_tenant(store: SqliteStore) -> None:
    """Memory and store come to the same end, whichever came first."""
    parts = Parts(store)
    await asyncio.gather(parts.register(NORTH, "dock-1"), parts.announce("dock-1", "drone-1"))
    assert set(await same_after_restart(store, parts, NORTH)) == {"dock-1", "drone-1"}
    learning = parts.announce("dock-2", "drone-2")
    late = asyncio.gather(learning, parts.register(NORTH, "dock-2"), return_exceptions=True)
    assert isinstance((await late)[1], DockgateError)
    assert set(await same_after_restart(store, parts, Caller("default", "p"))) == {
        "dock-2",
        "drone-2",
    }


async def test_a_dock_cannot_take_another_tenants_devices_by_announcing_them(
    store: SqliteStore,
) -> None:
    """Commands to them would go to it. Within a tenant a drone does move."""
    parts = Parts(store)
    await parts.register(NORTH, "dock-1")
    await parts.register(SOUTH, "dock-9")
    await parts.announce("dock-1", "drone-1")
    await parts.announce("dock-9", "drone-1", "dock-1")
    assert await same_after_restart(store, parts, NORTH) == {
        "dock-1": "dock-1",
        "drone-1": "dock-1",
    }
    assert await same_after_restart(store, parts, SOUTH) == {"dock-9": "dock-9"}
    await parts.register(NORTH, "dock-2")
    await parts.announce("dock-2", "drone-1")
    assert (await same_after_restart(store, parts, NORTH))["drone-1"] == "dock-2"


async def test_a_dock_that_has_changed_hands_takes_its_drone_along(store: SqliteStore) -> None:
    """Until it says so nobody reaches the drone: its commands would go to the new owner's dock."""
    parts = Parts(store)
    await parts.register(NORTH, "dock-1")
    await parts.announce("dock-1", "drone-1")
    await parts.register(NORTH, "eagle", serial_number="drone-1")
    await parts.fleet.remove(NORTH, pb.RemoveDeviceRequest(device_id="dock-1"))
    await parts.register(SOUTH, "dock-1")
    for name in ("drone-1", "eagle"):
        with pytest.raises(DockgateError):
            parts.registry.resolve("north", name)
    assert await same_after_restart(store, parts, NORTH) == {}
    await parts.announce("dock-1", "drone-1")
    assert await same_after_restart(store, parts, NORTH) == {}
    assert await same_after_restart(store, parts, SOUTH) == {
        "dock-1": "dock-1",
        "drone-1": "dock-1",
    }
    assert parts.registry.find("south", "eagle") is None


async def test_a_device_of_the_configuration_is_whose_it_says(store: SqliteStore) -> None:
    """Also one that announced itself before, with what is connected to it; its gateway as well."""
    parts = Parts(store)
    await parts.announce("dock-1", "drone-1")
    await parts.announce("dock-2", "drone-2")
    await parts.register(Caller("default", "p", frozenset(Scope)), "roof", serial_number="dock-1")
    assigned = (Device("north", "dock-1", "dock-1"), Device("south", "drone-3", "dock-3"))
    parts = await reloaded(store, *assigned)
    await parts.announce("dock-3", "drone-3", "drone-4")
    north = {"dock-1": "dock-1", "drone-1": "dock-1"}
    south = {"dock-3": "dock-3", "drone-3": "dock-3", "drone-4": "dock-3"}
    assert await same_after_restart(store, parts, NORTH) == north
    assert await same_after_restart(store, parts, SOUTH) == south
    assert parts.registry.find("north", "roof") is None
    # It holds when it is no longer in the configuration, and until that says something else.
    back = await reloaded(store, Device("default", "dock-1", "dock-1"))
    assert set(back.of(Caller("default", "p"))) == {"dock-1", "dock-2", "drone-1", "drone-2"}


async def test_a_gateway_in_the_configuration_can_be_put_right(store: SqliteStore) -> None:
    """As long as the device has not announced itself: that is what it really is under."""
    await reloaded(store, Device("north", "drone-1", "dcok-1"))
    parts = await reloaded(store, Device("north", "drone-1", "dock-1"))
    assert parts.of(NORTH)["drone-1"] == "dock-1"
    await parts.announce("dock-1")
    await parts.register(NORTH, "dock-2")
    await parts.announce("dock-2", "drone-1")
    parts = await reloaded(store, Device("north", "drone-1", "dock-1"))
    assert parts.of(NORTH)["drone-1"] == "dock-2"


async def test_an_alias_is_a_name_within_its_tenant(store: SqliteStore) -> None:
    """Two tenants may use the same one, and a serial number of the other as well."""
    parts = Parts(store)
    for caller, number in ((NORTH, "1"), (SOUTH, "2")):
        await parts.register(caller, "roof", serial_number=f"dock-{number}")
    await parts.register(SOUTH, "dock-1", serial_number="dock-3")
    assert parts.registry.resolve("north", "roof").id == "dock-1"
    assert parts.registry.resolve("south", "roof").id == "dock-2"
    assert parts.registry.resolve("north", "dock-1").id == "dock-1"
    assert parts.registry.resolve("south", "dock-1").id == "dock-3"


async def test_what_a_device_says_belongs_to_its_tenant(store: SqliteStore) -> None:
    """Events, requests and odd replies; from the moment that the configuration names it."""
    await reloaded(store, Device("north", "drone-1", "dock-1"))
    event = NewEvent("dock-1", "hms", "", "", False, b"null", NOW)
    (told,) = await store.events.record([event])
    assert isinstance(told, DeviceEvent)
    assert told.tenant == "north"
    asked = NewRequest("r-1", "dock-1", "config", "t", "b", b"null", Routing.INBOX, NOW, NOW + 1)
    assert (await store.requests.record(asked, None)).tenant == "north"
    await store.record_unmatched(Unmatched("dock-1", "t", "m", "why", b"null", NOW))
    for tenant, count in (("north", 1), ("default", 0)):
        assert len((await store.list_unmatched(tenant, "", None, 10)).replies) == count
        assert len((await store.requests.list(tenant, RequestFilter(), None, 9)).requests) == count


async def test_an_alias_cannot_be_the_serial_number_of_another_device(store: SqliteStore) -> None:
    """Commands for that one would go to this one, and limits to that one would reach this one."""
    parts = await reloaded(store)
    await parts.register(NORTH, "drone-1", gateway_id="dock-1")
    await parts.register(NORTH, "drone-2", gateway_id="dock-2")
    with pytest.raises(DockgateError) as caught:
        await parts.register(NORTH, "drone-2", serial_number="drone-1")
    assert caught.value.reason is Reason.VALIDATION_FAILED
    assert [one.field for one in caught.value.violations] == ["device_id"]
    assert parts.registry.resolve("north", "drone-2").gateway_id == "dock-2"


async def test_an_alias_may_be_what_another_tenant_calls_a_device(store: SqliteStore) -> None:
    """To refuse it would tell that there is such a device; it stands for nothing of theirs."""
    parts = await reloaded(store)
    await parts.register(SOUTH, "drone-2", gateway_id="dock-2")
    await parts.register(NORTH, "drone-2", serial_number="drone-1", gateway_id="dock-1")
    assert parts.registry.resolve("north", "drone-2").id == "drone-1"
    assert parts.registry.resolve("south", "drone-2").id == "drone-2"


async def test_a_device_that_was_removed_stays_its_tenants_by_the_configuration(
    store: SqliteStore,
) -> None:
    """Until the next start nobody else comes by it: not who registers it, not who is asked next."""
    parts = await reloaded(store, Device("north", "drone-1", "dock-1"))
    for device_id in ("drone-1", "dock-1"):
        await parts.fleet.remove(NORTH, pb.RemoveDeviceRequest(device_id=device_id))
    for fields in ({"device_id": "dock-1"}, {"device_id": "x", "gateway_id": "dock-1"}):
        with pytest.raises(DockgateError) as caught:
            await parts.register(SOUTH, **fields)
        assert caught.value.reason is Reason.DEVICE_NOT_FOUND
    await parts.announce("dock-1", "drone-1")
    assert parts.of(NORTH) == {"dock-1": "dock-1", "drone-1": "dock-1"}
    assert (await reloaded(store)).of(NORTH) == {"dock-1": "dock-1", "drone-1": "dock-1"}


async def test_who_may_not_do_what_is_dangerous_neither_names_nor_removes_devices(
    store: SqliteStore,
) -> None:
    """A wrong name sends commands to the wrong aircraft."""
    parts = Parts(store)
    await parts.announce("dock-1", "drone-1")
    ordinary = Caller("default", "p")
    for attempt in (
        parts.register(ordinary, "roof", serial_number="dock-1"),
        parts.fleet.remove(ordinary, pb.RemoveDeviceRequest(device_id="dock-1")),
    ):
        with pytest.raises(DockgateError) as refused:
            await attempt
        assert refused.value.metadata == {"scope": "open:command:dangerous"}
