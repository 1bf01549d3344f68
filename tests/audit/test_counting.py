"""Refusals are all counted, in few entries, and nobody waits for them."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.audit import entries, verified
from support.clock import ManualClock

from dockgate_server.audit import Audit
from dockgate_server.audit.counting import BURST, ENTRIES_PER_SECOND, MOST_KINDS
from dockgate_server.errors import DockgateError, Reason, Subject
from dockgate_server.model.audit import Entry
from dockgate_server.model.caller import DEFAULT_TENANT, Caller, Origin
from dockgate_server.store.sqlite import SqliteStore

CALLER = Caller(DEFAULT_TENANT, "dk_1")
FORBIDDEN = DockgateError(Reason.FORBIDDEN, "no", metadata={"device_id": "drone-001"})
UNSIGNED = DockgateError(Reason.SIGNATURE_INVALID, "no")


@pytest.fixture
def clock() -> ManualClock:
    """The time."""
    return ManualClock()


@pytest.fixture
async def audit(store: SqliteStore, clock: ManualClock) -> AsyncIterator[Audit]:
    """What records, at work."""
    async with Audit(store.audit, clock) as audit:
        yield audit


def refuse(audit: Audit, **changed: Any) -> None:
    """Somebody who is not known is refused."""
    values: dict[str, Any] = {
        "caller": None,
        "claimed": "dk_2",
        "origin": Origin("http", "192.0.2.7:4711", "r1"),
        "action": "SubmitCommand",
        "error": UNSIGNED,
        **changed,
    }
    audit.refused(**values)


async def settle(store: SqliteStore) -> None:
    """Let everything be recorded that is on its way."""
    for _ in range(3):
        await store.forget_nonces(0)


def refusals(database: Path) -> list[Entry]:
    """What was recorded of refusals."""
    return [one.entry for one in entries(database, outcome="refused")]


async def pass_(store: SqliteStore, clock: ManualClock, seconds: int) -> None:
    """Let time pass, and everything be recorded in it."""
    for _ in range(seconds * 8):
        clock.advance(0.125)
        await settle(store)


async def test_the_first_of_a_kind_is_recorded_at_once(
    store: SqliteStore, audit: Audit, database: Path, clock: ManualClock
) -> None:
    """With who, from where, what and why; and that the name is only claimed."""
    refuse(audit)
    await settle(store)
    (one,) = refusals(database)
    assert one == Entry(
        clock.now_ms(),
        "submit_command",
        "refused",
        principal="dk_2",
        is_proven=False,
        transport="http",
        peer="192.0.2.7:4711",
        request_id="r1",
        reason="SIGNATURE_INVALID",
    )


async def test_what_a_caller_who_is_known_tried_is_in_it(
    store: SqliteStore, audit: Audit, database: Path
) -> None:
    """The device and the method, and whether that is dangerous."""
    error = DockgateError(Reason.FORBIDDEN, "no")
    error.subject = Subject("drone-001", "takeoff_to_point", is_dangerous=True)
    refuse(audit, caller=CALLER, error=error)
    refuse(audit, caller=CALLER, error=FORBIDDEN, action="GetDevice")
    await settle(store)
    first, second = refusals(database)
    assert (first.tenant, first.principal, first.is_proven) == ("default", "dk_1", True)
    assert (first.device_id, first.method, first.dangerous) == (
        "drone-001",
        "takeoff_to_point",
        True,
    )
    assert (second.action, second.device_id, second.dangerous) == ("get_device", "drone-001", False)


async def test_further_ones_within_a_second_are_one_entry(
    store: SqliteStore, audit: Audit, database: Path, clock: ManualClock
) -> None:
    """That says how many they were; then all begins anew."""
    for _ in range(5):
        refuse(audit)
    await pass_(store, clock, 1)
    assert [one.calls for one in refusals(database)] == [1, 4]
    await pass_(store, clock, 2)
    refuse(audit)
    await settle(store)
    assert [one.calls for one in refusals(database)] == [1, 4, 1]


async def test_a_flood_makes_few_entries_and_none_is_lost(
    store: SqliteStore, audit: Audit, database: Path, clock: ManualClock
) -> None:
    """Ten thousand in ten seconds, from a thousand ports."""
    for second in range(10):
        for number in range(1000):
            refuse(audit, origin=Origin("http", f"192.0.2.7:{number}", f"r{second}-{number}"))
        await pass_(store, clock, 1)
    await pass_(store, clock, 2)
    found = refusals(database)
    assert len(found) <= 12
    assert sum(one.calls for one in found) == 10_000
    assert verified(database).found is None


async def test_a_flood_of_names_makes_few_entries_too(
    store: SqliteStore, audit: Audit, database: Path, clock: ManualClock
) -> None:
    """Whoever makes up a name for each call, or has many addresses, is counted as well."""
    for second in range(10):
        for number in range(1000):
            where = Origin("http", f"192.0.{number % 250}.{second}:1", "")
            refuse(audit, claimed=f"dk_{second}_{number}", origin=where)
        await pass_(store, clock, 1)
    counting = audit._counting
    assert len(counting._kinds) <= MOST_KINDS + 1
    assert len(refusals(database)) <= BURST + 11 * ENTRIES_PER_SECOND
    await pass_(store, clock, 60)
    found = refusals(database)
    assert sum(one.calls for one in found) == 10_000
    assert Counter(one.action for one in found).keys() == {"submit_command", "other"}
    assert not counting._kinds
    assert not counting._of_host


async def test_one_host_cannot_hide_what_others_do(
    store: SqliteStore, audit: Audit, database: Path
) -> None:
    """It has only so much room."""
    for number in range(1000):
        refuse(audit, claimed=f"dk_{number}")
    refuse(audit, claimed="dk_x", origin=Origin("http", "198.51.100.1:1", "r2"))
    await settle(store)
    assert [one.calls for one in entries_of(database, "dk_x")] == [1]


def entries_of(database: Path, principal: str) -> list[Entry]:
    """What was recorded of one."""
    return [one.entry for one in entries(database, principal=principal)]


async def test_a_flood_that_does_not_end_delays_nobody(
    store: SqliteStore, audit: Audit, database: Path, clock: ManualClock
) -> None:
    """More kinds than there is room for, again and again: those who wait longest come first."""
    flood = [(f"made_up_{name}", f"192.0.2.{host}:1") for host in range(3) for name in range(60)]

    async def go_on(seconds: int) -> None:
        for _ in range(seconds * 4):
            for claimed, peer in flood:
                refuse(audit, claimed=claimed, origin=Origin("http", peer, ""))
            clock.advance(0.25)
            await settle(store)

    await go_on(60)
    refuse(audit, claimed="dk_x", origin=Origin("http", "198.51.100.1:1", "r2"))
    refuse(audit, caller=CALLER, error=FORBIDDEN)
    await go_on(30)
    for principal in (CALLER.principal, "dk_x"):
        assert [one.calls for one in entries_of(database, principal)] == [1]


async def test_nobody_unknown_can_hide_what_somebody_known_does(
    store: SqliteStore, audit: Audit, database: Path, clock: ManualClock
) -> None:
    """Not even from many hosts: there is room that is kept for callers who are proven."""
    for number in range(2 * MOST_KINDS):
        where = Origin("http", f"192.0.{number % 250}.{number // 250}:1", "")
        refuse(audit, claimed=f"made_up_{number}", origin=where)
    refuse(audit, caller=CALLER, error=FORBIDDEN)
    await pass_(store, clock, 15)
    [one] = entries_of(database, CALLER.principal)
    assert (one.device_id, one.is_proven) == ("drone-001", True)


async def test_while_the_store_takes_nothing_refusals_wait(
    store: SqliteStore, audit: Audit, database: Path, clock: ManualClock
) -> None:
    """And are all recorded when it does."""
    writing = store._writer._connection
    await writing.run(lambda db: db.execute("PRAGMA query_only = ON").fetchall())
    for _ in range(30):
        for _ in range(10):
            refuse(audit)
        clock.advance(0.1)
        await until_idle(audit)
    assert refusals(database) == []
    await writing.run(lambda db: db.execute("PRAGMA query_only = OFF").fetchall())
    await pass_(store, clock, 3)
    found = refusals(database)
    assert sum(one.calls for one in found) == 300
    assert len(found) <= 3
    assert found[0].request_id == "r1"


async def test_an_entry_is_about_the_first_of_those_it_counts(
    store: SqliteStore, audit: Audit, database: Path, clock: ManualClock
) -> None:
    """Also when that could not be recorded, and another one came while it was tried."""
    writing = store._writer._connection
    await writing.run(lambda db: db.execute("PRAGMA query_only = ON").fetchall())
    for number in range(2):
        refuse(audit, origin=Origin("http", "192.0.2.7:4711", f"r{number}"))
        clock.step_wall_clock(1)
    await until_idle(audit)
    await writing.run(lambda db: db.execute("PRAGMA query_only = OFF").fetchall())
    await pass_(store, clock, 2)
    (one,) = refusals(database)
    assert (one.request_id, one.calls) == ("r0", 2)


async def until_idle(audit: Audit) -> None:
    """Let it hear of what became of an entry."""
    while (recording := audit._counting._recording) is not None:
        await asyncio.wait((recording,))
        await asyncio.sleep(0)


async def test_nobody_waits_for_it(store: SqliteStore, audit: Audit, database: Path) -> None:
    """Refusing is not slower for being recorded, and a lock of somebody else's changes nothing."""
    with closing(sqlite3.connect(database)) as other, other:
        other.execute("BEGIN IMMEDIATE")
        refuse(audit)
        refuse(audit)
        other.execute("ROLLBACK")
    await settle(store)
    assert len(refusals(database)) == 1


async def test_a_stop_records_what_was_counted(
    store: SqliteStore, database: Path, clock: ManualClock
) -> None:
    """Then that the gateway stops, as the last entry."""
    async with Audit(store.audit, clock) as audit:
        for _ in range(7):
            refuse(audit)
    assert sum(one.calls for one in refusals(database)) == 7
    actions = [one.entry.action for one in entries(database)]
    assert (actions[0], actions[-1]) == ("started", "stopped")
    assert verified(database).found is None


async def test_the_gateway_logs_the_head(
    store: SqliteStore, database: Path, clock: ManualClock, log: list[dict[str, Any]]
) -> None:
    """At the start, once an hour, and at the stop: logs that go elsewhere are its witness."""
    async with Audit(store.audit, clock) as audit:
        running = asyncio.create_task(audit.run())
        await asyncio.sleep(0)
        refuse(audit)
        await settle(store)
        clock.advance(3600)
        await settle(store)
        running.cancel()
        await asyncio.wait((running,))
    heads = [line["head"] for line in log if line["event"] == "audit_head"]
    assert [head.partition(":")[0] for head in heads] == ["1", "2", "3"]
    assert heads[-1] == str(await store.audit.head())
