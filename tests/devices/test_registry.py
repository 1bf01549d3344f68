"""The registry: learnt from topologies, seeded by configuration, remembered by the store."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import ManualClock
from support.log import Log
from support.records import NOW

from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.devices.topology import read_topology
from dockgate_server.errors import DockgateError
from dockgate_server.model.device import Device, Topology
from dockgate_server.store.sqlite import SqliteStore

SEEDS = [Device("default", "drone-001", "dock-001")]
DRONE = (("drone-001", "0-67-0"),)


async def test_a_device_belongs_to_the_latest_topology(tmp_path: Path) -> None:
    """Over the seeds, over earlier docks, and over a restart; the drone stays when it is away."""
    database = tmp_path / "dockgate.db"
    async with SqliteStore(database) as store:
        registry = Registry(store.devices, PresenceBook(ManualClock()), SEEDS)
        await registry.load()
        assert registry.resolve("default", "drone-001").gateway_id == "dock-001"
        await registry.learn(Topology("dock-002", "3-2-0", DRONE, NOW))
        await registry.learn(Topology("dock-002", "3-2-0", (), NOW + 1))
        assert registry.resolve("default", "drone-001").gateway_id == "dock-002"
        assert registry.resolve("default", "dock-002").gateway_id == "dock-002"
    async with SqliteStore(database) as store:
        registry = Registry(store.devices, PresenceBook(ManualClock()), SEEDS)
        await registry.load()
        drone = registry.resolve("default", "drone-001")
        assert (drone.gateway_id, drone.model) == ("dock-002", "0-67-0")


async def test_a_dock_is_nobodys_sub_device(tmp_path: Path, log: Log) -> None:
    """Or whoever names it as one would be sent its commands; its drone may move."""
    database = tmp_path / "dockgate.db"
    claim = Topology("dock-002", "3-2-0", (("dock-001", "0-67-0"), *DRONE), NOW + 1)
    async with SqliteStore(database) as store:
        registry = Registry(store.devices, PresenceBook(ManualClock()))
        await registry.learn(Topology("dock-001", "3-3-0", DRONE, NOW))
        await registry.learn(claim)
    async with SqliteStore(database) as store:
        registry = Registry(store.devices, PresenceBook(ManualClock()))
        await registry.load()
        await registry.learn(claim)
        dock = registry.resolve("default", "dock-001")
        assert (dock.gateway_id, dock.model) == ("dock-001", "3-3-0")
        assert registry.resolve("default", "drone-001").gateway_id == "dock-002"
    assert [(one["gateway"], one["first"]) for one in log] == [("dock-002", "dock-001")] * 2


async def test_made_up_sub_devices_do_not_fill_the_memory(tmp_path: Path) -> None:
    """Neither in one announcement nor in many; what is known still comes and goes."""
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        registry = Registry(store.devices, PresenceBook(ManualClock()))
        for number in range(10):
            subs = [{"sn": f"made-up-{number}-{one}"} for one in range(1000)]
            topology = read_topology("dock-001", {"sub_devices": subs}, NOW)
            assert topology is not None
            await registry.learn(topology)
        assert len(await store.devices.list()) == len(registry.list("default")) <= 100
        await registry.learn(Topology("dock-001", "3-3-0", (("made-up-0-1", "0-67-0"),), NOW))
        assert registry.resolve("default", "made-up-0-1").listed


async def test_made_up_sub_devices_that_all_come_at_once_do_not_fill_it_either(
    tmp_path: Path,
) -> None:
    """Those of which none is saved yet count as well; what could not be saved does not."""
    topologies = [
        Topology("dock-001", "", tuple((f"d{n}-{m}", "") for m in range(32)), NOW)
        for n in range(20)
    ]
    async with SqliteStore(tmp_path / "d.db") as store:
        writing = store._writer._connection
        registry = Registry(store.devices, PresenceBook(ManualClock()))
        await writing.run(lambda db: db.execute("PRAGMA query_only = ON").fetchall())
        failing = [registry.learn(one) for one in topologies]
        failed = await asyncio.gather(*failing, return_exceptions=True)
        assert all(isinstance(one, DockgateError) for one in failed)
        await writing.run(lambda db: db.execute("PRAGMA query_only = OFF").fetchall())
        await asyncio.gather(*(registry.learn(one) for one in topologies for _ in range(2)))
        assert len(registry.list("default")) == 100
        assert registry.get("d2-3") is not None
        assert registry._being_saved == {}


async def test_a_topology_counts_when_it_is_stored(tmp_path: Path) -> None:
    """Or a command would go to a gateway that nobody remembers after a crash."""
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        registry = Registry(store.devices, PresenceBook(ManualClock()))
        learning = registry.learn(Topology("dock-001", "", DRONE, NOW))
        with pytest.raises(DockgateError):
            registry.resolve("default", "drone-001")
        await learning
        assert registry.resolve("default", "drone-001").gateway_id == "dock-001"


async def test_another_tenants_device_is_not_known(tmp_path: Path) -> None:
    """It looks like one that does not exist."""
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        registry = Registry(
            store.devices, PresenceBook(ManualClock()), [Device("other", "drone-001", "dock-001")]
        )
        with pytest.raises(DockgateError, match="no device 'drone-001' is known"):
            registry.resolve("default", "drone-001")
        assert registry.resolve("other", "drone-001").gateway_id == "dock-001"


def test_a_topology_is_read() -> None:
    """Domains as text or as numbers, members that are no devices passed over."""
    data = {
        "domain": 3,
        "type": 88100,
        "sub_type": 0,
        "sub_devices": [
            {"sn": "drone-001", "domain": "0", "type": 67, "sub_type": 0, "index": "A"},
            {"sn": "no-model"},
            {"sn": "a/b"},
            {"sn": 5},
            {},
            "x",
            None,
        ],
    }
    assert read_topology("dock-001", data, NOW) == Topology(
        "dock-001", "3-88100-0", (("drone-001", "0-67-0"), ("no-model", "")), NOW
    )


@pytest.mark.parametrize("data", [None, "", [], 0, True])
def test_what_is_no_topology_is_none(data: object) -> None:
    """The last-will form of a careless dock."""
    assert read_topology("dock-001", data, NOW) is None


@pytest.mark.parametrize("gateway_id", ["", "a b", "x" * 65, "a#"])
def test_a_gateway_whose_name_cannot_be_one_is_not_learnt(gateway_id: str) -> None:
    """Nothing could be sent to it."""
    assert read_topology(gateway_id, {}, NOW) is None


VALUES: Any = st.none() | st.integers() | st.floats() | st.text(max_size=4) | st.booleans()
MEMBERS = st.dictionaries(st.sampled_from(["sn", "domain", "type", "sub_type"]), VALUES)


@given(
    st.fixed_dictionaries({"domain": VALUES, "type": VALUES, "sub_type": VALUES})
    | st.dictionaries(st.just("sub_devices"), st.lists(MEMBERS | VALUES) | VALUES)
)
def test_reading_a_topology_never_raises(data: dict[str, object]) -> None:
    """Whatever a device says of itself."""
    topology = read_topology("dock-001", data, NOW)
    assert topology is not None
    assert all(0 < len(serial_number) <= 64 for serial_number, _ in topology.sub_devices)
