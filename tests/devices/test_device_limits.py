"""A credential that is limited to some devices: what it may see and do of devices and events."""

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from support.clock import ManualClock
from support.records import NOW

from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate_server.codec import cursor
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.devices.state import StateBoard
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.events import EventWatching
from dockgate_server.fleet import Complete, Fleet, Removed, Seen
from dockgate_server.hub import Feed
from dockgate_server.model.caller import LOCAL, Caller, Scope
from dockgate_server.model.device import Device, Topology
from dockgate_server.model.event import DeviceEvent, NewEvent
from dockgate_server.store.sqlite import SqliteStore


def limited(*devices: str) -> Caller:
    return Caller("default", "limited", frozenset(Scope), devices)


ONE, DRONE_ONE = limited("dock-1"), limited("drone-1")


class Parts:
    """dock-1 with drone-1, and dock-2 with drone-2, which is called eagle."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.registry = Registry(store.devices, PresenceBook(ManualClock()))
        self.fleet = Fleet(self.registry, StateBoard(), heartbeat_seconds=5)
        self.feed: Feed[DeviceEvent] = Feed()
        self.events = EventWatching(store.events, self.feed, self.registry)

    async def announce(self, gateway_id: str, *drones: str) -> None:
        members = tuple((one, "0-91-1") for one in drones)
        await self.registry.learn(Topology(gateway_id, "3-2-0", members, NOW))

    async def register(self, caller: Caller, device_id: str, **fields: str) -> Seen:
        request = pb.RegisterDeviceRequest(device_id=device_id, **fields)
        return await self.fleet.register(caller, request)

    def names(self, caller: Caller, **fields: Any) -> tuple[list[str], str]:
        page, token = self.fleet.list(caller, pb.ListDevicesRequest(**fields))
        return [seen.device.name for seen in page], token


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        parts = Parts(store)
        for number in ("1", "2"):
            await parts.announce(f"dock-{number}", f"drone-{number}")
        await parts.register(LOCAL, "eagle", serial_number="drone-2")
        yield parts


async def forbidden(call: Awaitable[Any]) -> str:
    """The device for which a call is refused."""
    with pytest.raises(DockgateError) as refused:
        await call
    assert refused.value.reason is Reason.FORBIDDEN
    return refused.value.metadata["device_id"]


def test_a_list_has_what_is_in_reach(parts: Parts) -> None:
    """In full pages."""
    for caller, names in {
        ONE: ["dock-1", "drone-1"],
        DRONE_ONE: ["drone-1"],
        limited("eagle"): ["eagle"],
        limited("drone-2", "dock-1"): ["dock-1", "drone-1", "eagle"],
        limited("d*"): ["dock-1", "dock-2", "drone-1", "eagle"],
        limited("dock"): [],
    }.items():
        assert parts.names(caller) == (names, "")
    names, token = parts.names(limited("drone-1", "drone-2"), page_size=1)
    assert names == ["drone-1"]
    assert parts.names(limited("drone-1", "drone-2"), page_size=1, page_token=token) == (
        ["eagle"],
        "",
    )
    assert parts.names(ONE, gateway_id="dock-2") == ([], "")


async def test_a_device_out_of_reach_is_refused_by_every_call(parts: Parts) -> None:
    """And nothing is changed."""
    fleet, before = parts.fleet, parts.names(LOCAL)
    for name in ("dock-2", "drone-2", "eagle"):
        with pytest.raises(DockgateError) as refused:
            fleet.get(ONE, pb.GetDeviceRequest(device_id=name))
        assert refused.value.metadata == {"device_id": name}
        assert await forbidden(fleet.remove(ONE, pb.RemoveDeviceRequest(device_id=name))) == name
        watch = fleet.watch(ONE, pb.WatchDevicesRequest(device_id=name))
        assert await forbidden(anext(watch)) == name
        watch_events = parts.events.watch(ONE, pb.WatchEventsRequest(device_id=name))
        assert await forbidden(anext(watch_events)) == name
    assert parts.names(LOCAL) == before


@pytest.mark.parametrize(
    ("caller", "fields", "device_id"),
    [
        # What it may not reach, or would move to where it may not.
        (ONE, {"device_id": "dock-2"}, "dock-2"),
        (ONE, {"device_id": "drone-2", "gateway_id": "dock-1"}, "drone-2"),
        (ONE, {"device_id": "drone-1", "gateway_id": "dock-2"}, "dock-2"),
        (ONE, {"device_id": "drone-1", "gateway_id": "dock-9"}, "dock-9"),
        (DRONE_ONE, {"device_id": "drone-1", "gateway_id": "dock-2"}, "dock-2"),
        (ONE, {"device_id": "dock-9"}, "dock-9"),
        (ONE, {"device_id": "drone-9", "gateway_id": "dock-2"}, "drone-9"),
        # Names, by which limits go.
        (ONE, {"device_id": "mine", "serial_number": "dock-1"}, "mine"),
        (ONE, {"device_id": "eagle", "serial_number": "drone-1"}, "eagle"),
        (ONE, {"device_id": "dock-2", "serial_number": "drone-1"}, "dock-2"),
        (ONE, {"device_id": "dock-1", "serial_number": "drone-9"}, "drone-9"),
        (limited("x-*"), {"device_id": "x-1", "serial_number": "drone-2"}, "drone-2"),
        (limited("x-*"), {"device_id": "x-1", "serial_number": "drone-9"}, "drone-9"),
        (limited("eagle"), {"device_id": "drone-2"}, "drone-2"),
    ],
)
async def test_registering_does_not_widen_a_limit(
    parts: Parts, caller: Caller, fields: dict[str, str], device_id: str
) -> None:
    """Nor does it take a name from a device that is out of reach."""
    before = parts.names(LOCAL)
    assert await forbidden(parts.register(caller, **fields)) == device_id
    assert parts.names(LOCAL) == before


async def test_what_is_in_reach_can_be_registered(parts: Parts) -> None:
    """By its number: before it announces itself, or once more."""
    await parts.register(ONE, "drone-1")
    await parts.register(limited("eagle"), "eagle", serial_number="drone-2")
    await parts.register(ONE, "drone-9", gateway_id="dock-1")
    await parts.register(limited("dock-*"), "dock-7")
    await parts.register(limited("dock-*"), "drone-9", gateway_id="dock-7")
    names, _ = parts.names(LOCAL)
    assert names == ["dock-1", "dock-2", "dock-7", "drone-1", "drone-9", "eagle"]
    assert parts.registry.resolve("default", "drone-9").gateway_id == "dock-7"


async def test_a_watch_tells_what_comes_into_reach_and_leaves_it(parts: Parts) -> None:
    """A drone that moves between docks; nothing of all others."""
    watch = parts.fleet.watch(ONE, pb.WatchDevicesRequest())

    async def told() -> str:
        update = await anext(watch)
        match update:
            case Seen():
                return f"+{update.device.name}"
            case Removed():
                return f"-{update.device_id}"
            case Complete():
                return "complete"
        return "alive"

    assert {await told(), await told()} == {"+dock-1", "+drone-1"}
    assert await told() == "complete"
    await parts.announce("dock-2", "drone-2", "drone-1")
    assert await told() == "-drone-1"
    await parts.announce("dock-1", "drone-2")
    # The eagle comes twice: it had already moved when the watch looked at the change before.
    assert {await told(), await told(), await told()} == {"+dock-1", "+eagle"}
    await parts.registry.register(Device("default", "dock-3", "dock-3"))
    parts.registry.feed.close()
    with pytest.raises(DockgateError):
        await told()


async def test_events_are_those_of_gateways_in_reach(parts: Parts) -> None:
    """From the tail and from the store. What a drone's key cannot see is refused, not silent."""
    for number in ("2", "1", "2", "1"):
        event = NewEvent(f"dock-{number}", "hms", "", "", False, b"null", NOW)
        recorded = await parts.store.events.record([event])
        parts.feed.publish([one for one in recorded if isinstance(one, DeviceEvent)])
    parts.feed.close()
    for device_id in ("", "dock-1", "drone-1"):
        request = pb.WatchEventsRequest(device_id=device_id, after=cursor.write(cursor.EVENTS, 0))
        seen: list[int] = []
        with pytest.raises(DockgateError):
            await _follow(parts.events.watch(ONE, request), seen)
        assert seen == [2, 4]
    request = pb.WatchEventsRequest(device_id="drone-1")
    assert await forbidden(anext(parts.events.watch(DRONE_ONE, request))) == "dock-1"


async def _follow(watch: AsyncIterator[Any], seen: list[int]) -> None:
    async for update in watch:
        seen += [] if update.event is None else [update.event.seq]
