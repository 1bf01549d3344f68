"""Events of devices in the store: once each, whose they are, and for how long they are kept."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support import gateway
from support.clock import ManualClock
from support.records import NOW

from dockgate_server import errors
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.device import Topology
from dockgate_server.model.event import DeviceEvent, NewEvent, Repetition
from dockgate_server.retention import ROUND_SECONDS, Retention
from dockgate_server.store.interface import Swept
from dockgate_server.store.sqlite import SqliteStore, backup
from dockgate_server.store.sqlite import events as sqlite_events

HOUR = 3_600_000


def new(number: int, at: int = NOW, *, key: bool = True, gateway: str = "dock-001") -> NewEvent:
    """An event as it comes."""
    return NewEvent(
        gateway_id=gateway,
        method="hms",
        tid=f"T{number}",
        bid="B",
        need_reply=bool(number % 2),
        data=b'{"list":[%d]}' % number,
        received_at=at,
        repeat_key=b"%016d" % number if key else None,
    )


async def seqs(store: SqliteStore, after: int = 0) -> list[int]:
    """The numbers of the events that are there."""
    return [event.seq for event in await store.events.behind(after, 10_000)]


async def refusal(store: SqliteStore, after: int) -> Reason:
    """Why events behind a number cannot be read."""
    with pytest.raises(DockgateError) as refused:
        await store.events.behind(after, 10)
    return refused.value.reason


async def sweep(store: SqliteStore, cutoff: int, now: int = NOW + 10 * HOUR) -> int:
    """A whole round of removing; how many went."""
    removed, after = 0, 0
    while after is not None:
        swept = await store.events.remove_old(cutoff, now, after)
        removed += swept.removed
        after = swept.position
    return removed


async def test_an_event_is_read_as_it_was_recorded(store: SqliteStore) -> None:
    """In the order of recording, from any number on."""
    first, second = await store.events.record([new(1), new(2)])
    assert first == DeviceEvent(
        1, "default", "dock-001", "hms", "T1", "B", True, b'{"list":[1]}', NOW
    )
    assert list(await store.events.behind(0, 10)) == [first, second]
    assert list(await store.events.behind(1, 10)) == [second]
    assert list(await store.events.behind(0, 1)) == [first]
    assert await store.events.newest_seq() == 2


async def test_a_repetition_changes_nothing_and_says_whether_it_was_answered(
    store: SqliteStore,
) -> None:
    """Within a group and later; without a key nothing is one."""
    assert (await store.events.record([new(1), new(1)]))[1] == Repetition(1, None)
    await store.events.answered([1], NOW + 5)
    repeated, other = await store.events.record([new(1), new(2)])
    assert (repeated, other.seq) == (Repetition(1, NOW + 5), 2)
    await store.events.record([new(3, key=False), new(3, key=False)])
    assert await seqs(store) == [1, 2, 3, 4]


async def test_an_event_belongs_to_the_tenant_of_its_device(store: SqliteStore) -> None:
    """To the default one, where the device is not known."""
    await store.devices.save_topology("other", Topology("dock-002", "", (), NOW))
    mine, foreign = await store.events.record([new(1), new(2, gateway="dock-002")])
    assert [mine.tenant, foreign.tenant] == ["default", "other"]  # type: ignore[union-attr]


async def test_no_more_are_kept_than_are_wanted(database: Path) -> None:
    """A smaller limit is reached step by step, so that nobody waits for it."""
    async with SqliteStore(database) as store:
        await store.events.record([new(number) for number in range(10)])
    async with SqliteStore(database, keep_events=4) as store:
        kept = []
        with closing(sqlite3.connect(database)) as db:
            for number in range(10, 17):
                await store.events.record([new(number)])
                kept += db.execute("SELECT count(*) FROM device_event").fetchone()
        assert kept == [9, 8, 7, 6, 5, 4, 4]
        assert await seqs(store, after=13) == [14, 15, 16, 17]
        assert await refusal(store, 12) is Reason.CURSOR_EXPIRED


async def test_what_is_old_goes_and_who_has_not_seen_it_is_told(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In small steps; a number is not given again."""
    monkeypatch.setattr(sqlite_events, "REMOVED_AT_ONCE", 2)
    await store.events.record([new(number, NOW + number * HOUR) for number in range(5)])
    assert await sweep(store, NOW + 3 * HOUR) == 3
    assert await seqs(store, after=3) == [4, 5]
    assert await refusal(store, 2) is Reason.CURSOR_EXPIRED
    assert await sweep(store, NOW + 9 * HOUR) == 2
    assert await store.events.newest_seq() == 5
    (event,) = await store.events.record([new(9)])
    assert event.seq == 6


async def test_an_event_from_the_future_holds_nothing_up(store: SqliteStore) -> None:
    """A clock that was wrong for a moment; the event itself stays until it is old."""
    await store.events.record([new(1, NOW + 1000 * HOUR), new(2)])
    assert await sweep(store, NOW + HOUR) == 1
    assert await refusal(store, 1) is Reason.CURSOR_EXPIRED


async def test_a_cursor_that_has_expired_stays_so_when_an_older_event_goes(
    store: SqliteStore,
) -> None:
    """One from the future goes later than those behind it, which are missing all the same."""
    await store.events.record([new(1, NOW + 5 * HOUR), new(2), new(3, NOW + 9 * HOUR)])
    for cutoff in (NOW + HOUR, NOW + 6 * HOUR):
        assert await sweep(store, cutoff, cutoff) == 1
        assert await refusal(store, 1) is Reason.CURSOR_EXPIRED
    assert await seqs(store, after=2) == [3]


async def test_a_restored_copy_has_other_numbers_and_expired_cursors(tmp_path: Path) -> None:
    """What the gateway stored behind the backup has numbers that the copy must not give again."""
    database, copy = tmp_path / "dockgate.db", tmp_path / "copy.db"
    async with SqliteStore(database) as store:
        await store.events.record([new(1), new(2)])
    backup.take(database, copy, ManualClock(NOW), lambda *_: None)
    async with SqliteStore(copy) as restored:
        assert await refusal(restored, 2) is Reason.CURSOR_EXPIRED
        newest = await restored.events.newest_seq()
        assert newest >= backup.SKIPPED_NUMBERS["device_event"]
        repeated, other = await restored.events.record([new(1), new(3)])
        assert (repeated, other.seq) == (Repetition(1, None), newest + 1)
        assert await seqs(restored, after=newest) == [newest + 1]


async def test_the_hourly_round_takes_events_as_well(store: SqliteStore) -> None:
    """Also when what comes before them cannot be removed just now."""

    def fails(cutoff: int, now: int, after: int) -> asyncio.Future[Swept]:
        raise errors.unavailable("not now")

    clock = ManualClock(NOW + HOUR)
    await store.events.record([new(1), new(2, NOW + HOUR)])
    removing = {"commands": fails, "events": store.events.remove_old}
    loop = asyncio.create_task(Retention(removing, clock, 1).run())
    await asyncio.sleep(0)
    clock.advance(ROUND_SECONDS)
    for _ in range(3):
        await store.forget_nonces(0)
    assert await seqs(store, after=1) == [2]
    assert await refusal(store, 0) is Reason.CURSOR_EXPIRED
    loop.cancel()
    await asyncio.wait((loop,))


async def test_the_gateway_keeps_as_many_events_as_it_is_told(tmp_path: Path) -> None:
    """The setting reaches the store."""
    section = {"path": tmp_path / "dockgate.db", "keep_events": 1000}
    async with gateway.running("mqtt://127.0.0.1:1", tmp_path, store=section) as running:
        store = running.app.store
        await store.events.record([new(number) for number in range(1003)])
        assert len(await seqs(store, after=3)) == 1000
        assert await refusal(store, 2) is Reason.CURSOR_EXPIRED
