"""Topologies that gateway devices announce: learnt, acknowledged, and answered."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.bridge import ScriptedBridge
from support.clock import ManualClock

from dockgate_server.bridge.interface import Inbound
from dockgate_server.codec import envelope
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.dispatcher.outstanding import Outstanding
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.hub import Feed
from dockgate_server.inbound import wiring
from dockgate_server.inbound.events import Events
from dockgate_server.inbound.status import Status
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.store.sqlite import SqliteStore

TOPOLOGY = {"domain": "3", "type": 1, "sub_type": 0, "sub_devices": []}


class Desk:
    """Where topologies come in: a real store, a scripted bridge, a clock that stands still."""

    def __init__(self, store: SqliteStore) -> None:
        self.clock = ManualClock()
        self.store = store
        self.bridge = ScriptedBridge()
        self.presence = PresenceBook(self.clock)
        self.registry = Registry(store.devices, self.presence)
        self.status = Status(self.bridge, self.registry, self.clock)
        self.acknowledged = 0

    async def announce(self, gateway: str = "dock-001", **members: Any) -> None:
        """A gateway device announces itself, and the store has time to take it."""
        content = {"tid": "T", "bid": "B", "method": "update_topo", "data": TOPOLOGY, **members}
        payload = orjson.dumps(content)
        topic = f"sys/product/{gateway}/status"
        message = Inbound(topic, payload, self._acknowledge)
        self.status.handle(gateway, envelope.read(payload), message)
        await self.settle()

    async def settle(self) -> None:
        """Let everything happen that has been asked of the store."""
        for _ in range(3):
            await self.store.forget_nonces(0)

    @property
    def answered(self) -> list[tuple[str, str]]:
        """Topic and tid of the answers, in order."""
        return [(topic, orjson.loads(payload)["tid"]) for topic, payload in self.bridge.answers]

    def _acknowledge(self) -> None:
        self.acknowledged += 1


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """One that is open."""
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        yield Desk(store)


def reply(gateway: str, tid: str) -> tuple[str, str]:
    """An answer."""
    return f"sys/product/{gateway}/status_reply", tid


async def test_a_topology_is_learnt_acknowledged_and_answered(desk: Desk) -> None:
    """Only then does a dock count itself as online."""
    await desk.announce()
    assert desk.registry.resolve(DEFAULT_TENANT, "dock-001").gateway_id == "dock-001"
    assert (desk.answered, desk.acknowledged) == ([reply("dock-001", "T")], 1)


async def test_what_comes_before_anything_can_be_sent_is_answered_as_soon_as_it_can(
    desk: Desk,
) -> None:
    """The broker brings what waited for us between its CONNACK and its SUBACK."""
    desk.bridge.connected = False
    await desk.announce()
    await desk.announce("dock-002", tid="U")
    desk.status.connection_changed()
    assert (desk.answered, desk.acknowledged) == ([], 2)
    desk.bridge.connected = True
    desk.status.connection_changed()
    desk.status.connection_changed()
    assert desk.answered == [reply("dock-001", "T"), reply("dock-002", "U")]


async def test_a_new_connection_reaches_all_who_wait_for_one(desk: Desk) -> None:
    """Through the router: topologies and events alike."""
    clock = desk.clock
    bridge = desk.bridge
    events = Events(bridge, desk.store.events, Feed(), clock, lambda _: None)
    recorder = Recorder(desk.store, clock)
    router = wiring.router(
        bridge, desk.registry, desk.presence, recorder, clock, events, Outstanding()
    )
    bridge.connected = False
    for topic, method in (
        ("sys/product/d/status", "update_topo"),
        ("thing/product/d/events", "hms"),
    ):
        members = {"tid": method, "bid": "B", "method": method, "need_reply": 1, "data": TOPOLOGY}
        router.receive(Inbound(topic, orjson.dumps(members), lambda: None))
    await desk.settle()
    router.connection_changed()
    assert desk.answered == []
    bridge.connected = True
    router.connection_changed()
    assert {tid for _, tid in desk.answered} == {"update_topo", "hms"}


async def test_only_the_latest_of_a_dock_is_still_to_be_answered(desk: Desk) -> None:
    """It repeats itself while we are away; one answer is what it waits for."""
    desk.bridge.connected = False
    for tid in ("1", "2", "3"):
        await desk.announce(tid=tid)
    desk.bridge.connected = True
    desk.status.connection_changed()
    assert desk.answered == [reply("dock-001", "3")]
    await desk.announce(tid="4")
    assert desk.answered[1:] == [reply("dock-001", "4")]


async def test_one_that_is_answered_on_a_new_connection_makes_up_for_those_before(
    desk: Desk,
) -> None:
    """It came before the connection was announced to us; the older one gets no answer behind it."""
    desk.bridge.connected = False
    await desk.announce(tid="1")
    desk.bridge.connected = True
    await desk.announce(tid="2")
    desk.status.connection_changed()
    assert desk.answered == [reply("dock-001", "2")]


@pytest.mark.parametrize(
    "members", [{"method": "other"}, {"data": "odd"}, {"tid": ""}], ids=lambda one: next(iter(one))
)
async def test_what_cannot_be_answered_is_acknowledged(desk: Desk, members: dict[str, Any]) -> None:
    """Or it would come again for ever."""
    await desk.announce(**members)
    assert (desk.answered, desk.acknowledged) == ([], 1)
