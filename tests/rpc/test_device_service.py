"""DeviceService over a real connection; the test plays the devices."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.clock import ManualClock

from dockgate.downlink.v1 import device_pb2
from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate.downlink.v1 import device_service_pb2_grpc as pb_grpc
from dockgate_server.config import Grpc
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.devices.state import StateBoard
from dockgate_server.events import EventWatching
from dockgate_server.fleet import Fleet
from dockgate_server.hub import Feed
from dockgate_server.model.caller import LOCAL
from dockgate_server.model.device import Topology
from dockgate_server.rpc.device_service import DeviceService
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer
from dockgate_server.store.sqlite import SqliteStore

NOW = 1_776_859_200_000
DOCK = Topology("SN-DOCK", "3-2-0", (("SN-DRONE", "0-91-1"),), NOW)


class Parts:
    """The inside of DeviceService, and a client of it."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.clock = ManualClock(NOW)
        self.presence = PresenceBook(self.clock)
        self.registry = Registry(store.devices, self.presence)
        self.states = StateBoard()
        self.fleet = Fleet(self.registry, self.states, heartbeat_seconds=0.05)
        self.stub: Any = None

    async def restarted(self) -> Registry:
        """The registry as another process finds it."""
        registry = Registry(self._store.devices, PresenceBook(self.clock))
        await registry.load()
        return registry

    async def ids(self, **request: Any) -> list[str]:
        """The devices that are listed."""
        answer = await self.stub.ListDevices(pb.ListDevicesRequest(**request))
        return [device.device_id for device in answer.devices]

    async def get(self, device_id: str) -> device_pb2.Device:
        """A device."""
        answer = await self.stub.GetDevice(pb.GetDeviceRequest(device_id=device_id))
        device: device_pb2.Device = answer.device
        return device


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    """A server that serves devices only."""
    async with SqliteStore(tmp_path / "d.db") as store:
        parts = Parts(store)
        await parts.registry.learn(DOCK)
        commands: Any = None  # not called here
        settings = Grpc(listen="127.0.0.1:0")
        events = EventWatching(store.events, Feed(), parts.registry)
        use_cases = {"fleet": parts.fleet, "events": events}
        async with (
            RpcServer(settings, commands, Health(), stop_seconds=5, **use_cases) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            parts.stub = pb_grpc.DeviceServiceStub(channel)
            yield parts
            parts.registry.feed.close()


async def refused(call: Any) -> grpc.StatusCode:
    """The code a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_a_device_is_given_with_what_it_is(parts: Parts) -> None:
    """Kind and model's name from the topology; presence and state as far as they are known."""
    dock = await parts.get("SN-DOCK")
    assert (dock.kind, dock.model, dock.model_name) == (
        device_pb2.DEVICE_KIND_DOCK,
        "3-2-0",
        "DJI Dock 2",
    )
    assert dock.presence == device_pb2.PRESENCE_UNKNOWN
    assert not dock.HasField("last_seen_at")
    assert not dock.HasField("state")
    drone = await parts.get("SN-DRONE")
    assert (drone.gateway_id, drone.kind) == ("SN-DOCK", device_pb2.DEVICE_KIND_AIRCRAFT)


async def test_the_latest_state_is_given_as_a_summary_and_whole(parts: Parts) -> None:
    """Messages have some of the members each; secrets are left out."""
    osd = {"mode_code": 0, "cover_state": 1, "drone_in_dock": 1, "latitude": 30.5, "nonce": "n"}
    parts.states.regular("SN-DOCK", osd, NOW)
    charge = {"drone_charge_state": {"capacity_percent": 94}, "cover_state": 0}
    parts.states.regular("SN-DOCK", charge, NOW + 1)
    parts.states.on_change("SN-DOCK", {"firmware_version": "1.2"}, NOW + 2)
    state = (await parts.get("SN-DOCK")).state
    assert (state.mode_code, state.cover_state, state.battery_percent) == (0, 0, 94)
    assert (state.drone_in_dock, state.latitude) == (True, 30.5)
    assert not state.HasField("longitude")
    assert state.updated_at.ToMilliseconds() == NOW + 2
    assert set(state.osd) == {*osd, "drone_charge_state"} - {"nonce"}
    assert state.reported["firmware_version"] == "1.2"


@pytest.mark.parametrize(
    "odd", [{"mode_code": "x"}, {"battery": 5}, {"latitude": None}, {"cover_state": [1]}]
)
async def test_a_state_that_is_odd_is_left_out_of_the_summary(
    parts: Parts, odd: dict[str, Any]
) -> None:
    """And still given as it was written."""
    parts.states.regular("SN-DOCK", odd, NOW)
    state = (await parts.get("SN-DOCK")).state
    assert set(state.osd) == set(odd)
    for name in ("mode_code", "battery_percent", "latitude", "cover_state"):
        assert not state.HasField(name)


async def test_presence_is_that_of_the_gateway_and_of_its_list(parts: Parts) -> None:
    """A drone that its dock no longer names is away, though the dock is there."""
    parts.presence.heard("SN-DOCK")
    for device_id in ("SN-DOCK", "SN-DRONE"):
        assert (await parts.get(device_id)).presence == device_pb2.PRESENCE_ONLINE
    assert (await parts.get("SN-DOCK")).last_seen_at.ToMilliseconds() == NOW
    await parts.registry.learn(Topology("SN-DOCK", "3-2-0", (), NOW))
    assert (await parts.get("SN-DRONE")).presence == device_pb2.PRESENCE_OFFLINE
    assert (await parts.get("SN-DOCK")).presence == device_pb2.PRESENCE_ONLINE
    parts.presence.left("SN-DOCK")
    assert (await parts.get("SN-DOCK")).presence == device_pb2.PRESENCE_OFFLINE


async def test_a_registered_name_stands_for_the_device(parts: Parts) -> None:
    """In every call, beside the serial number; the last registration of a name holds."""
    request = pb.RegisterDeviceRequest(device_id="roof", serial_number="SN-DOCK")
    answer = await parts.stub.RegisterDevice(request)
    assert (answer.device.device_id, answer.device.gateway_id) == ("roof", "SN-DOCK")
    assert (await parts.get("roof")).serial_number == "SN-DOCK"
    assert (await parts.get("SN-DOCK")).device_id == "roof"
    assert parts.registry.resolve("default", "roof").gateway_id == "SN-DOCK"

    other = pb.RegisterDeviceRequest(device_id="roof", serial_number="SN-2", gateway_id="SN-3")
    await parts.stub.RegisterDevice(other)
    assert (await parts.get("roof")).serial_number == "SN-2"
    assert (await parts.get("SN-DOCK")).device_id == "SN-DOCK"
    assert await parts.ids() == ["SN-3", "SN-DOCK", "SN-DRONE", "roof"]


async def test_a_serial_number_registered_as_itself_is_nobodys_name_any_more(parts: Parts) -> None:
    """The last registration holds for it too, also after a restart."""
    roof = pb.RegisterDeviceRequest(device_id="SN-2", serial_number="SN-DOCK")
    await parts.stub.RegisterDevice(roof)
    itself = pb.RegisterDeviceRequest(device_id="SN-2", serial_number="SN-2")
    await parts.stub.RegisterDevice(itself)
    for registry in (parts.registry, await parts.restarted()):
        assert registry.resolve("default", "SN-2").id == "SN-2"
        assert registry.resolve("default", "SN-DOCK").name == "SN-DOCK"


@pytest.mark.parametrize("field", ["device_id", "serial_number", "gateway_id"])
async def test_a_name_is_not_taken_for_a_serial_number(parts: Parts, field: str) -> None:
    """Or there would be two devices of one name, and commands would go to the other one."""
    roof = pb.RegisterDeviceRequest(device_id="roof", serial_number="SN-DOCK")
    await parts.stub.RegisterDevice(roof)
    call = parts.stub.RegisterDevice(
        pb.RegisterDeviceRequest(**{"device_id": "new", field: "roof"})
    )
    assert await refused(call) is grpc.StatusCode.INVALID_ARGUMENT
    assert await parts.ids() == ["SN-DRONE", "roof"]


async def test_a_device_whose_serial_number_is_a_name_does_not_get_its_commands(
    parts: Parts,
) -> None:
    """Anybody can call himself anything; and a list loses neither of the two."""
    roof = pb.RegisterDeviceRequest(device_id="roof", serial_number="SN-DOCK")
    await parts.stub.RegisterDevice(roof)
    await parts.registry.learn(Topology("roof", "3-2-0", (), NOW))
    assert parts.registry.resolve("default", "roof").id == "SN-DOCK"
    first = await parts.stub.ListDevices(pb.ListDevicesRequest(page_size=2))
    second = pb.ListDevicesRequest(page_size=2, page_token=first.next_page_token)
    both = [*first.devices, *(await parts.stub.ListDevices(second)).devices]
    assert [one.serial_number for one in both] == ["SN-DRONE", "SN-DOCK", "roof"]


async def test_the_longest_names_have_a_token(parts: Parts) -> None:
    """A page may end at any device."""
    for name in ("\u3042" * 64, "\u3043" * 64):
        await parts.registry.learn(Topology(name, "", (), NOW))
    first = await parts.stub.ListDevices(pb.ListDevicesRequest(page_size=3))
    assert len(await parts.ids(page_size=3, page_token=first.next_page_token)) == 1


async def test_a_name_survives_the_announcement_and_a_restart(parts: Parts) -> None:
    """A topology knows of no names."""
    request = pb.RegisterDeviceRequest(device_id="bird", serial_number="SN-DRONE")
    await parts.stub.RegisterDevice(request)
    await parts.registry.learn(DOCK)
    assert (await parts.get("bird")).serial_number == "SN-DRONE"
    assert (await parts.restarted()).resolve("default", "bird").id == "SN-DRONE"


async def test_a_device_that_is_removed_is_not_known_until_it_announces_itself(
    parts: Parts,
) -> None:
    """Its name goes with it."""
    await parts.stub.RegisterDevice(
        pb.RegisterDeviceRequest(device_id="bird", serial_number="SN-DRONE")
    )
    await parts.stub.RemoveDevice(pb.RemoveDeviceRequest(device_id="bird"))
    call = parts.stub.GetDevice(pb.GetDeviceRequest(device_id="bird"))
    assert await refused(call) is grpc.StatusCode.NOT_FOUND
    await parts.registry.learn(DOCK)
    assert await parts.ids() == ["SN-DOCK", "SN-DRONE"]


async def test_devices_are_listed_page_by_page(parts: Parts) -> None:
    """In the order of their names; or those of one gateway device."""
    for number in range(3):
        await parts.registry.learn(Topology(f"SN-{number}", "", (), NOW))
    first = await parts.stub.ListDevices(pb.ListDevicesRequest(page_size=3))
    assert [device.device_id for device in first.devices] == ["SN-0", "SN-1", "SN-2"]
    assert await parts.ids(page_size=3, page_token=first.next_page_token) == [
        "SN-DOCK",
        "SN-DRONE",
    ]
    assert await parts.ids(gateway_id="SN-DOCK") == ["SN-DOCK", "SN-DRONE"]
    call = parts.stub.ListDevices(pb.ListDevicesRequest(page_token="x"))
    assert await refused(call) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("reach", "limited"), [((), False), (("SN-DOCK",), True)])
async def test_a_list_says_whether_there_may_be_others(
    parts: Parts, reach: tuple[str, ...], limited: bool
) -> None:
    """So that nobody takes a part for the whole."""
    events: Any = None  # not asked here
    caller = LOCAL._replace(devices=reach)
    answer = await DeviceService(parts.fleet, events).ListDevices(caller, pb.ListDevicesRequest())
    assert answer.limited is limited


@pytest.mark.parametrize(
    "device_id",
    ["", "a/b", "a b", "x" * 65, "a\x85b", "a\u2028b", "a\u200eb", "a\ufffeb", "a\U0001f681b"],
)
async def test_a_name_that_is_none_is_refused(parts: Parts, device_id: str) -> None:
    """It becomes part of a topic where it is the serial number."""
    call = parts.stub.RegisterDevice(pb.RegisterDeviceRequest(device_id=device_id))
    assert await refused(call) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_watch_begins_with_what_there_is_and_goes_on_with_what_changes(
    parts: Parts,
) -> None:
    """Comings, goings, names, removals; nothing that was not asked for."""
    watch = parts.stub.WatchDevices(pb.WatchDevicesRequest())
    updates = aiter(watch)

    async def following() -> pb.WatchDevicesResponse:
        async with asyncio.timeout(5):
            while True:
                update: pb.WatchDevicesResponse = await anext(updates)
                if not update.HasField("heartbeat"):
                    return update

    begin = [await following() for _ in range(3)]
    assert [update.device.device_id for update in begin[:2]] == ["SN-DOCK", "SN-DRONE"]
    assert begin[2].HasField("complete")
    parts.presence.heard("SN-DOCK")
    changed = {(await following()).device.device_id for _ in range(2)}
    assert changed == {"SN-DOCK", "SN-DRONE"}
    await parts.registry.remove(parts.registry.resolve("default", "SN-DRONE"))
    assert (await following()).removed_device_id == "SN-DRONE"

    async def named(serial_number: str) -> list[str]:
        request = pb.RegisterDeviceRequest(device_id="roof", serial_number=serial_number)
        await parts.stub.RegisterDevice(request)
        told = [await following() for _ in range(2)]
        return [one.removed_device_id or one.device.serial_number for one in told]

    assert await named("SN-DOCK") == ["SN-DOCK", "SN-DOCK"]  # gone as a name, there as a device
    await parts.registry.learn(Topology("SN-A", "", (), NOW))
    assert (await following()).device.device_id == "SN-A"
    # The name that SN-DOCK had is SN-A's by now: the watcher is not told that it is gone.
    assert await named("SN-A") == ["SN-A", "SN-A"]
    assert (await following()).device.device_id == "SN-DOCK"
    watch.cancel()


async def test_a_watch_of_one_device_with_its_state_is_quiet_about_others(parts: Parts) -> None:
    """State comes when there is news of it, at most once a second."""
    request = pb.WatchDevicesRequest(device_id="SN-DRONE", with_state=True)
    fleet = Fleet(parts.registry, parts.states, heartbeat_seconds=30)
    from dockgate_server.model.caller import LOCAL

    updates = fleet.watch(LOCAL, request)
    first, _complete = await anext(updates), await anext(updates)
    assert first is not None
    parts.states.regular("SN-DRONE", {"mode_code": 14}, NOW)
    parts.registry.feed.state_changed("SN-DRONE")
    async with asyncio.timeout(5):
        second = await anext(updates)
    assert second is not None
    assert second.state.osd == {"mode_code": 14}  # type: ignore[union-attr]
    await updates.aclose()  # type: ignore[attr-defined]


async def test_a_watch_ends_when_the_gateway_stops(parts: Parts) -> None:
    """UNAVAILABLE: watch again."""
    watch = parts.stub.WatchDevices(pb.WatchDevicesRequest())

    async def until_complete_and_on() -> None:
        async for update in watch:
            if update.HasField("complete"):
                parts.registry.feed.close()

    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await until_complete_and_on()
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
