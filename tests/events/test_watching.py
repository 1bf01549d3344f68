"""Following what devices tell: in order, resumable by cursor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from support.clock import ManualClock
from support.records import NOW

from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate_server import events as watching
from dockgate_server import hub
from dockgate_server.codec import cursor
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.events import EventUpdate, EventWatching
from dockgate_server.hub import Feed
from dockgate_server.model.caller import LOCAL, Caller
from dockgate_server.model.device import Topology
from dockgate_server.model.event import DeviceEvent, NewEvent
from dockgate_server.store.sqlite import SqliteStore

DOCK = Topology("dock-001", "3-2-0", (("drone-001", "0-91-1"),), NOW)
OTHER = Topology("dock-002", "3-2-0", (), NOW)


class Parts:
    """A store, a feed, and the use case."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.feed: Feed[DeviceEvent] = Feed()
        self.registry = Registry(store.devices, PresenceBook(ManualClock()))
        self.watching = EventWatching(
            store.events, self.feed, self.registry, heartbeat_seconds=0.02
        )

    async def tell(self, method: str = "hms", gateway: str = "dock-001") -> int:
        """A device tells something; the number of the event."""
        event = NewEvent(gateway, method, "", "", False, b"null", NOW)
        recorded = await self.store.events.record([event])
        self.feed.publish([one for one in recorded if isinstance(one, DeviceEvent)])
        return recorded[0].seq

    def watch(self, caller: Caller = LOCAL, **request: object) -> AsyncIterator[EventUpdate]:
        """A watch."""
        return self.watching.watch(caller, pb.WatchEventsRequest(**request))  # type: ignore[arg-type]


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    """With two docks that are known, one of them with a drone."""
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        parts = Parts(store)
        for topology in (DOCK, OTHER):
            await parts.registry.learn(topology)
        yield parts


async def take(watch: AsyncIterator[EventUpdate], count: int) -> list[int]:
    """The numbers of the next so many events; signs of life are passed over."""
    seen: list[int] = []
    async with asyncio.timeout(5):
        while len(seen) < count:
            update = await anext(watch)
            if update.event is not None:
                seen.append(update.event.seq)
    return seen


async def refusal(watch: AsyncIterator[EventUpdate]) -> Reason:
    """Why a watch is refused."""
    with pytest.raises(DockgateError) as refused:
        await take(watch, 1000)
    return refused.value.reason


async def test_a_watch_begins_with_a_cursor_and_then_has_what_comes(parts: Parts) -> None:
    """What was told before is not shown, unless somebody asks for it."""
    await parts.tell()
    watch = parts.watch()
    first = await anext(watch)
    assert first.event is None
    told = [await parts.tell() for _ in range(3)]
    assert await take(watch, 3) == told
    assert await take(parts.watch(after=first.cursor), 3) == told
    assert await take(parts.watch(after=cursor.write(cursor.EVENTS, 0)), 4) == [1, *told]


@pytest.mark.parametrize("tail", [10_000, 3])
@pytest.mark.parametrize("cut", range(1, 7))
async def test_a_watch_cut_anywhere_goes_on_without_a_gap(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, cut: int, tail: int
) -> None:
    """From memory or from the store, which is read in pages."""
    monkeypatch.setattr(hub, "TAIL_EVENTS", tail)
    monkeypatch.setattr(watching, "_EVENTS_PER_READ", 2)
    parts = Parts(parts.store)
    told = [await parts.tell() for _ in range(6)]
    watch = parts.watch(after=cursor.write(cursor.EVENTS, 0))
    seen: list[int] = []
    async for update in watch:
        if update.event is not None:
            seen.append(update.event.seq)
        if len(seen) == cut:
            break
    resumed = parts.watch(after=update.cursor)
    seen += await take(resumed, 6 - cut)
    assert seen == told
    told.append(await parts.tell())
    assert await take(resumed, 1) == told[-1:]


async def test_only_what_is_asked_for_is_given(parts: Parts) -> None:
    """By the gateway device of a device, by method, and never another tenant's."""
    await parts.store.devices.save_topology("other", Topology("dock-003", "", (), NOW))
    start = {"after": cursor.write(cursor.EVENTS, 0)}
    for gateway in ("dock-001", "dock-002", "dock-003"):
        for method in ("hms", "ota_progress"):
            await parts.tell(method, gateway)
    assert await take(parts.watch(**start), 4) == [1, 2, 3, 4]
    assert await take(parts.watch(device_id="drone-001", **start), 2) == [1, 2]
    assert await take(parts.watch(methods=["hms", "x"], **start), 2) == [1, 3]
    watch = parts.watch(device_id="dock-002", methods=["ota_progress"], **start)
    assert await take(watch, 1) == [4]
    assert await take(parts.watch(Caller("other", "p"), **start), 2) == [5, 6]


async def test_a_silent_watch_gives_signs_of_life_that_move_on(parts: Parts) -> None:
    """Over what it does not show: so a cursor does not expire because nothing fits."""
    watch = parts.watch(methods=["none"])
    first = await anext(watch)
    newest = await parts.tell()
    async with asyncio.timeout(5):
        update = await anext(watch)
    assert update.event is None
    assert update.cursor != first.cursor
    assert update.cursor == cursor.write(cursor.EVENTS, newest)


async def test_cursors_that_cannot_be_gone_on_from_are_refused(parts: Parts) -> None:
    """Each for its own reason."""
    for number in range(3):
        await parts.tell(f"m{number}")
    await parts.store.events.remove_old(NOW + 1, NOW + 1, 0)
    parts = Parts(parts.store)
    parts.feed.start_from(3)
    write = cursor.write
    for after, reason in {
        write(cursor.EVENTS, 2): Reason.CURSOR_EXPIRED,
        write(cursor.EVENTS, 4): Reason.CURSOR_OUT_OF_RANGE,
        write(cursor.RESUME, 3): Reason.VALIDATION_FAILED,
        "nonsense": Reason.VALIDATION_FAILED,
    }.items():
        assert await refusal(parts.watch(after=after)) is reason
    assert (await anext(parts.watch(after=write(cursor.EVENTS, 3)))).event is None


async def test_a_device_that_is_not_known_is_refused(parts: Parts) -> None:
    """It would be silent for ever; so is another tenant's, and a caller without the scope."""
    assert await refusal(parts.watch(device_id="dock-009")) is Reason.DEVICE_NOT_FOUND
    other = Caller("other", "p")
    assert await refusal(parts.watch(other, device_id="dock-001")) is Reason.DEVICE_NOT_FOUND
    nobody = Caller("default", "p", frozenset())
    assert await refusal(parts.watch(nobody)) is Reason.FORBIDDEN


async def test_a_stop_ends_a_watch_with_everything_seen(parts: Parts) -> None:
    """UNAVAILABLE: watch again."""
    watch = parts.watch()
    await anext(watch)
    told = await parts.tell()
    parts.feed.close()
    assert await take(watch, 1) == [told]
    assert await refusal(watch) is Reason.UNAVAILABLE
    assert await refusal(parts.watch()) is Reason.UNAVAILABLE


async def test_a_watch_that_is_left_is_forgotten(parts: Parts) -> None:
    """Nobody is woken for it any more."""
    async with aclosing(parts.watch()) as watch:  # type: ignore[type-var]
        await anext(watch)
        assert len(parts.feed._fleet) == 1
    assert len(parts.feed._fleet) == 0
