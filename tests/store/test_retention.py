"""What is old is removed, in small steps, and nobody who reads is left with a silent gap."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from support.bridge import ScriptedBridge
from support.clock import ManualClock
from support.core import Core, running
from support.gateway import running as gateway_running
from support.records import NOW, a_job, a_reply, an_accept, in_status

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.clock import SystemClock
from dockgate_server.codec import cursor
from dockgate_server.commands import FleetUpdate
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL
from dockgate_server.model.command import Command, CommandEvent, CommandFilter, Status
from dockgate_server.model.transitions import RecordJob, RecordReply
from dockgate_server.retention import PAUSE_SECONDS, ROUND_SECONDS, Retention
from dockgate_server.store.interface import Swept
from dockgate_server.store.sqlite import SqliteStore, retention

HOUR = 3_600_000
ENDS = (Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.UNMATCHED_RESPONSE)


async def sweep(store: SqliteStore, cutoff: int = NOW + HOUR, now: int = NOW + 2 * HOUR) -> int:
    """Remove everything that is old; how many commands that were."""
    removed, after = 0, 0
    while (swept := await store.remove_old(cutoff, now, after)).position is not None:
        removed, after = removed + swept.removed, swept.position
    return removed + swept.removed


async def kept(store: SqliteStore) -> set[str]:
    """The commands that there still are."""
    page = await store.list_commands("default", CommandFilter(), None, 10_000)
    return {command.id for command in page.commands}


async def several(store: SqliteStore, count: int, at: int = NOW) -> list[str]:
    """Commands that succeeded at some time, three events each."""
    ids = []
    for _ in range(count):
        new = an_accept(sending=True, accepted_at=at, deadline_at=at + 30_000)
        store.accept(new)
        done = store.apply(RecordReply(a_reply(new.id, received_at=at)))
        ids.append(new.id)
    await done
    return ids


@pytest.mark.parametrize("status", ENDS)
async def test_an_old_command_goes_with_its_events_and_its_key(
    store: SqliteStore, raw: sqlite3.Connection, status: Status
) -> None:
    """In whichever way it has ended."""
    command = await in_status(store, status, idempotency_key="k")
    assert await sweep(store) == 1
    assert await store.get_command("default", command.id) is None
    assert raw.execute("SELECT count(*) FROM command_event").fetchone() == (0,)
    assert not (await store.accept(an_accept("k"))).replayed


async def test_what_is_young_or_open_stays(store: SqliteStore) -> None:
    """However old an open command is, and to the millisecond."""
    cutoff = NOW + HOUR
    open_ones = [await in_status(store, one) for one in (Status.ACCEPTED, Status.DELIVERED)]
    (at_cutoff,) = await several(store, 1, cutoff)
    await several(store, 1, cutoff - 1)
    assert await sweep(store, cutoff) == 1
    assert await kept(store) == {at_cutoff, *(one.id for one in open_ones)}


async def reported(store: SqliteStore, command: Command) -> None:
    """The dock reports on the command's job much later."""
    job = a_job(updated_at=NOW + 2 * HOUR)
    await store.apply(RecordJob("dock-001", (command.command_type,), "job", job))


async def answered(store: SqliteStore, command: Command) -> None:
    """The dock answers much later."""
    await store.apply(RecordReply(a_reply(command.id, received_at=NOW + 2 * HOUR)))


@pytest.mark.parametrize("change", [reported, answered])
async def test_the_age_counts_from_the_last_change(
    store: SqliteStore, change: Callable[[SqliteStore, Command], Awaitable[None]]
) -> None:
    """A report of a job that goes on, or an answer after the end."""
    command = await in_status(store, Status.SUCCEEDED, job_key="job")
    await change(store, command)
    assert await sweep(store, NOW + HOUR, NOW + 3 * HOUR) == 0
    assert await sweep(store, NOW + 2 * HOUR + 1, NOW + 3 * HOUR) == 1


async def test_a_clock_that_was_behind_at_the_end_makes_nothing_old(store: SqliteStore) -> None:
    """It had been right when the command was accepted."""
    new = an_accept(sending=True, accepted_at=NOW + 2 * HOUR, deadline_at=NOW + 3 * HOUR)
    await store.accept(new)
    await store.apply(RecordReply(a_reply(new.id, received_at=1)))
    assert await sweep(store, NOW + HOUR, NOW + 3 * HOUR) == 0


async def test_a_step_is_small(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in commands and events together, so that those who submit hardly wait."""
    monkeypatch.setattr(retention, "ROWS_REMOVED", 9)
    await several(store, 5)  # four rows each
    first = await store.remove_old(NOW + HOUR, NOW + HOUR, 0)
    second = await store.remove_old(NOW + HOUR, NOW + HOUR, first.position or 0)
    assert (first, second) == (Swept(2, 2), Swept(2, 4))
    assert await sweep(store) == 1


async def chatty(store: SqliteStore, reports: int) -> Command:
    """A command that succeeded, and whose job was reported so many times."""
    command = await in_status(store, Status.SUCCEEDED, job_key="job")
    for percent in range(reports):
        job = a_job(percent=percent)
        await store.apply(RecordJob("dock-001", (command.command_type,), "job", job))
    return command


@pytest.mark.parametrize("reports", [6, 15, 16, 24, 50])
async def test_a_command_with_more_events_than_a_step_goes_in_parts(
    store: SqliteStore, raw: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, reports: int
) -> None:
    """The oldest events first; the commands beside it wait for the next step."""
    monkeypatch.setattr(retention, "ROWS_REMOVED", 9)
    await several(store, 1)
    await chatty(store, reports)
    await several(store, 1)
    removed, after = 0, 0
    count = "SELECT (SELECT count(*) FROM command_event) + (SELECT count(*) FROM command)"
    left = list(raw.execute(count).fetchone())
    while (swept := await store.remove_old(NOW + HOUR, NOW + HOUR, after)).position is not None:
        removed, after = removed + swept.removed, swept.position
        left += raw.execute(count).fetchone()
    assert removed + swept.removed == 3
    assert left[-1] == 0
    assert max(before - behind for before, behind in pairwise(left)) <= 10


async def test_who_watches_a_command_that_goes_in_parts_is_told_of_the_gap(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the device has said something new by then, and the rest stays."""
    monkeypatch.setattr(retention, "ROWS_REMOVED", 9)
    command = await chatty(store, 20)
    assert await store.remove_old(NOW + HOUR, NOW + HOUR, 0) == Swept(0, command.seq - 1)
    report = RecordJob("dock-001", (command.command_type,), "job", a_job(updated_at=NOW + 2 * HOUR))
    await store.apply(report)
    assert await sweep(store) == 0
    for after in (0, 8):
        with pytest.raises(DockgateError) as refused:
            await store.events_of_command("default", command.id, after, 1)
        assert refused.value.reason is Reason.CURSOR_EXPIRED
    events = await store.events_of_command("default", command.id, 9, 100)
    assert [event.revision for event in events] == [*range(10, 25)]
    assert await expired(store, 8)
    assert not await expired(store, 9)


async def test_what_cannot_go_does_not_hold_up_what_can(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands from a clock that was years ahead, and open ones, more than a step looks at."""
    monkeypatch.setattr(retention, "COMMANDS_LOOKED_AT", 3)
    future = await several(store, 7, NOW + 100_000 * HOUR)
    waiting = [(await in_status(store, Status.ACCEPTED)).id for _ in range(4)]
    await several(store, 2)
    young = await several(store, 4, NOW + HOUR)
    assert await sweep(store) == 2
    assert await kept(store) == {*future, *waiting, *young}


async def test_the_walk_ends_where_commands_are_young(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not look at all there are, each time."""
    monkeypatch.setattr(retention, "COMMANDS_LOOKED_AT", 3)
    await several(store, 2)
    await several(store, 30, NOW + HOUR)
    first = await store.remove_old(NOW + HOUR, NOW + 2 * HOUR, 0)
    assert first == Swept(2, 3)
    assert await store.remove_old(NOW + HOUR, NOW + 2 * HOUR, 3) == Swept(0, None)


async def test_pages_go_on_over_what_has_been_removed(store: SqliteStore) -> None:
    """A list that was begun before ends as one that was begun after it."""
    old = await several(store, 2)
    young = await several(store, 2, NOW + HOUR)
    page = await store.list_commands("default", CommandFilter(), None, 1)
    assert page.next_before is not None
    await sweep(store)
    rest = await store.list_commands("default", CommandFilter(), page.next_before, 10)
    assert [command.id for command in rest.commands] == [young[0]]
    assert await kept(store) == {*young}
    assert not {*old} & {*young}


async def expired(store: SqliteStore, after: int) -> bool:
    """Whether the events behind a cursor are no longer whole."""
    try:
        await store.events_of_all_commands(after, 10)
    except DockgateError as refused:
        if refused.reason is not Reason.CURSOR_EXPIRED:
            raise
        return True
    return False


async def test_a_cursor_has_expired_when_an_event_behind_it_was_removed(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """At the newest removed one it is still whole, although older events are still there."""
    new = an_accept(sending=True)
    await store.accept(new)
    (young,) = await several(store, 1, NOW + HOUR)
    await store.apply(RecordReply(a_reply(new.id, received_at=NOW)))
    newest = told[-1].seq
    await several(store, 1, NOW + HOUR)
    assert not await expired(store, 0)
    await sweep(store)
    assert young in await kept(store)
    assert await expired(store, 0)
    assert await expired(store, newest - 1)
    assert not await expired(store, newest)


async def test_the_horizon_never_goes_back(store: SqliteStore) -> None:
    """Later steps may remove older events."""
    await several(store, 1, NOW + HOUR)
    await several(store, 1)
    for cutoff in (NOW + HOUR, NOW + 2 * HOUR):
        assert await sweep(store, cutoff) == 1
        assert await expired(store, 5)
        assert not await expired(store, 6)


async def test_nothing_removed_between_the_two_reads_of_a_watch_goes_unnoticed(
    store: SqliteStore, database: Path
) -> None:
    """The events are read first; what goes after that has been read."""
    await several(store, 1)
    reads: list[str] = []

    def before_each_read(statement: str) -> None:
        reads.append(statement)
        if len(reads) == 2:
            with contextlib.closing(sqlite3.connect(database)) as other, other:
                other.execute("UPDATE event_horizon SET removed_seq = 3")
                other.execute("DELETE FROM command_event")

    await store._db._reading.run(lambda db: db.set_trace_callback(before_each_read))
    assert await expired(store, 0)
    assert len(reads) == 2


async def test_a_step_that_fails_changes_nothing(
    store: SqliteStore, raw: sqlite3.Connection
) -> None:
    """The horizon, the events and the commands change together."""
    (old,) = await several(store, 1)
    raw.execute(
        "CREATE TRIGGER no BEFORE DELETE ON command BEGIN SELECT RAISE(ABORT, 'not now'); END"
    )
    with pytest.raises(sqlite3.IntegrityError):
        await sweep(store)
    assert not await expired(store, 0)
    assert len(await store.events_of_command("default", old, 0, 10)) == 3


async def test_numbers_are_not_used_again_when_all_is_gone(database: Path) -> None:
    """Cursors and pages of before would name what comes new."""
    async with SqliteStore(database) as store:
        await several(store, 2)
        newest = await store.newest_event_seq()
        await sweep(store)
        assert await store.newest_event_seq() == newest
    told: list[CommandEvent] = []
    async with SqliteStore(database, told.extend) as store:
        assert await store.newest_event_seq() == newest
        assert not await expired(store, newest)
        await store.accept(an_accept())
    assert (told[0].seq, told[0].command.seq) == (newest + 1, 3)


# Watches.


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """The use cases on a store; signs of life come at once."""
    async with running(tmp_path / "core.db", ScriptedBridge(), ManualClock(), 0.001) as core:
        yield core


def watching(core: Core, after: int | None = None) -> AsyncIterator[FleetUpdate]:
    """A watch of all, from an event on or from now."""
    token = "" if after is None else cursor.write(cursor.RESUME, after)
    return core.commands.watch_all(LOCAL, pb.WatchCommandsRequest(resume_token=token))


async def next_event(watch: AsyncIterator[FleetUpdate]) -> int:
    """The seq of the next event of a watch."""
    async with asyncio.timeout(5):
        while (update := await anext(watch)).event is None:
            pass
    return update.event.seq


async def refusal(watch: AsyncIterator[FleetUpdate | CommandEvent | None]) -> Reason:
    """Why a watch ends without a further event; signs of life are passed over."""
    try:
        async with asyncio.timeout(5):
            async for update in watch:
                assert update is None or (isinstance(update, FleetUpdate) and not update.event)
    except DockgateError as refused:
        return refused.reason
    pytest.fail("the watch was not refused")


def keep_in_memory(core: Core, events: int) -> None:
    """Let the hub keep fewer events."""
    core.hub._tail = core.hub._tail[-events:] if events else []


async def test_a_watch_from_before_what_was_removed_is_refused(core: Core) -> None:
    """It is told so, rather than going on behind a gap."""
    await several(core.store, 2)
    keep_in_memory(core, 2)
    await sweep(core.store)
    assert await refusal(watching(core, 3)) is Reason.CURSOR_EXPIRED


async def test_a_watch_that_has_missed_nothing_goes_on(core: Core) -> None:
    """What has been removed meanwhile is still in memory, whole."""
    await several(core.store, 2)
    await sweep(core.store)
    watch = watching(core, 3)
    assert [await next_event(watch) for _ in range(3)] == [4, 5, 6]


async def test_a_slow_watch_that_is_overtaken_by_removing_is_told(core: Core) -> None:
    """It has read everything up to where it is, and goes no further."""
    watch = watching(core)
    await anext(watch)
    await several(core.store, 2)
    assert [await next_event(watch) for _ in range(2)] == [1, 2]
    await several(core.store, 100)
    keep_in_memory(core, 10)
    await sweep(core.store)
    # What it had read in one go is still its own.
    seen = [await next_event(watch) for _ in range(4)]
    assert seen == [3, 4, 5, 6]
    assert await refusal(watch) is Reason.CURSOR_EXPIRED


async def test_watches_go_on_over_a_restart_when_all_is_gone(tmp_path: Path) -> None:
    """From the newest event there was, or from now; not from before, nor from beyond."""
    database = tmp_path / "dockgate.db"
    async with running(database, ScriptedBridge()) as core:
        await several(core.store, 2)
        await sweep(core.store)
    async with running(database, ScriptedBridge()) as core:
        assert await refusal(watching(core, 5)) is Reason.CURSOR_EXPIRED
        assert await refusal(watching(core, 7)) is Reason.CURSOR_OUT_OF_RANGE
        watches = [watching(core, 6), watching(core)]
        for watch in watches:
            await anext(watch)
        await several(core.store, 1)
        for watch in watches:
            assert [await next_event(watch) for _ in range(3)] == [7, 8, 9]


def watching_one(core: Core, command_id: str) -> AsyncIterator[CommandEvent | None]:
    """A watch of one command and its job."""
    return core.commands.watch(LOCAL, pb.WatchCommandRequest(command_id=command_id))


async def test_a_removed_command_cannot_be_watched(core: Core) -> None:
    """There is no such command any more."""
    (command_id,) = await several(core.store, 1)
    await sweep(core.store)
    assert await refusal(watching_one(core, command_id)) is Reason.COMMAND_NOT_FOUND


async def test_a_watch_of_a_command_that_is_removed_ends(core: Core) -> None:
    """It would give signs of life for ever."""
    accepted = await core.store.accept(an_accept())
    watch = watching_one(core, accepted.command.id)
    event = await anext(watch)
    assert event is not None
    assert await anext(watch) is None
    await core.reply(accepted.command.id, {"result": 0}, received_at=NOW)
    keep_in_memory(core, 0)
    core.hub._topics[accepted.command.id].events.clear()
    await sweep(core.store)
    assert await refusal(watch) is Reason.COMMAND_NOT_FOUND


# The rounds.


@contextlib.asynccontextmanager
async def keeping(store: SqliteStore, clock: ManualClock, hours: int) -> AsyncIterator[None]:
    """The loop, running."""
    loop = asyncio.create_task(Retention({"commands": store.remove_old}, clock, hours).run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        assert not loop.done()
        loop.cancel()
        await asyncio.wait((loop,))


async def settle(store: SqliteStore) -> None:
    """Let everything happen that the loop has asked for."""
    for _ in range(3):
        await store.forget_nonces(0)


async def an_hour(store: SqliteStore, clock: ManualClock) -> None:
    """Let a round begin, and its steps happen."""
    clock.advance(ROUND_SECONDS)
    for _ in range(5):
        await settle(store)
        clock.advance(PAUSE_SECONDS)


async def test_a_command_is_removed_when_it_has_been_kept_long_enough(store: SqliteStore) -> None:
    """Not before; the rounds are an hour apart."""
    clock = ManualClock(NOW)
    (command,) = await several(store, 1, NOW + HOUR // 2)
    async with keeping(store, clock, 2):
        for _ in range(2):
            await an_hour(store, clock)
        assert await kept(store) == {command}
        await an_hour(store, clock)
        assert await kept(store) == set()


async def test_others_have_their_turn_between_two_steps(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long backlog of old commands must not take the store for itself."""
    monkeypatch.setattr(retention, "ROWS_REMOVED", 4)
    await several(store, 3)
    clock = ManualClock(NOW + 2 * HOUR)
    async with keeping(store, clock, 1):
        clock.advance(ROUND_SECONDS)
        for left in (2, 1, 0):
            await settle(store)
            assert len(await kept(store)) == left
            clock.advance(PAUSE_SECONDS / 2)
            await settle(store)
            assert len(await kept(store)) == left
            clock.advance(PAUSE_SECONDS / 2)


async def test_a_clock_that_jumps_ahead_and_back_removes_nothing(store: SqliteStore) -> None:
    """Wherever the jump falls between two rounds, or on one."""
    clock = ManualClock(NOW)
    (command,) = await several(store, 1)
    async with keeping(store, clock, 24):
        for _ in range(2):
            clock.step_wall_clock(100 * 3600)
            await an_hour(store, clock)
            clock.step_wall_clock(-100 * 3600)
            await an_hour(store, clock)
        assert await kept(store) == {command}


async def test_a_clock_that_stays_ahead_is_believed_in_the_end(store: SqliteStore) -> None:
    """A machine that slept, or whose clock had been wrong until then."""
    clock = ManualClock(NOW)
    (command,) = await several(store, 1)
    async with keeping(store, clock, 24):
        clock.step_wall_clock(100 * 3600)
        await an_hour(store, clock)
        assert await kept(store) == {command}
        await an_hour(store, clock)
        assert await kept(store) == set()


async def test_a_round_that_fails_is_made_up_for_by_the_next(store: SqliteStore) -> None:
    """A disk that was full for a while does not end the gateway."""
    clock = ManualClock(NOW + 2 * HOUR)
    (command,) = await several(store, 1)
    writing = store._writer._connection
    async with keeping(store, clock, 1):
        await writing.run(lambda db: db.execute("PRAGMA query_only = ON").fetchall())
        clock.advance(ROUND_SECONDS)
        for _ in range(3):
            with pytest.raises(DockgateError):
                await store.forget_nonces(0)
        await writing.run(lambda db: db.execute("PRAGMA query_only = OFF").fetchall())
        assert await kept(store) == {command}
        await an_hour(store, clock)
        assert await kept(store) == set()


async def test_the_gateway_keeps_commands_for_as_long_as_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting reaches the loop, and the loop is running."""
    monkeypatch.setattr("dockgate_server.retention.ROUND_SECONDS", 0.001)
    database = tmp_path / "dockgate.db"
    now = SystemClock().now_ms()
    async with SqliteStore(database) as store:
        (old,) = await several(store, 1, now - 3 * HOUR)
        (young,) = await several(store, 1, now - HOUR)
    section = {"path": database, "keep_hours": 2}
    async with gateway_running("mqtt://127.0.0.1:1", tmp_path, store=section) as gateway:
        async with asyncio.timeout(10):
            while old in (left := await kept(gateway.app.store)):
                pass
        assert left == {young}
