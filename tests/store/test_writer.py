"""The one writer: groups, order, cancelled askers, trouble with the disk, the end."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.records import NOW, a_reply, an_accept, in_status
from support.turns import TurnLoop

from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.command import CommandEvent, CommandFilter, EventKind, Status
from dockgate_server.model.transitions import BeginSending, ConfirmDelivery, Expire, RecordReply
from dockgate_server.store.sqlite import SqliteStore, writer
from dockgate_server.store.sqlite.transaction import Transaction
from dockgate_server.store.sqlite.writer import GROUP_LIMIT, GroupWriter


async def test_what_waits_is_committed_together(database: Path) -> None:
    """One commit, one call, for all that came while the last one was under way."""
    commits: list[int] = []
    async with SqliteStore(database, lambda events: commits.append(len(events))) as store:
        await asyncio.gather(*(store.accept(an_accept()) for _ in range(50)))
    assert sum(commits) == 50
    assert len(commits) <= 2


async def test_a_group_is_bounded(database: Path) -> None:
    """Beyond the limit a group gains nothing and only waits longer."""
    commits: list[int] = []
    async with SqliteStore(database, lambda events: commits.append(len(events))) as store:
        await asyncio.gather(*(store.accept(an_accept()) for _ in range(GROUP_LIMIT + 10)))
    assert max(commits) <= GROUP_LIMIT
    assert sum(commits) == GROUP_LIMIT + 10


async def test_futures_resolve_in_the_order_asked_and_behind_the_watchers(
    database: Path,
) -> None:
    """Who is told "accepted" finds the event in the hub."""
    log: list[str] = []

    def told(events: Sequence[CommandEvent]) -> None:
        log.extend(f"told {event.command.device_id}" for event in events)

    async with SqliteStore(database, told) as store:
        asked = [store.accept(an_accept(device_id=str(number))) for number in range(4)]
        for number, future in enumerate(asked):
            future.add_done_callback(lambda _, number=number: log.append(f"done {number}"))
        await asyncio.gather(*asked)
    assert [entry for entry in log if "done" in entry] == [f"done {n}" for n in range(4)]
    for number in range(4):
        assert log.index(f"told {number}") < log.index(f"done {number}")


async def test_a_change_that_fails_does_not_take_down_those_beside_it(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """The group is made again, one by one; only the bad one fails, and nothing is told twice."""
    first = an_accept()
    asked = [
        store.accept(first),
        store.accept(an_accept(id=first.id)),  # the id must be unique
        store.accept(an_accept(timeout_seconds=0)),  # a constraint
        store.apply(BeginSending((first.id,), NOW)),
        store.accept(an_accept()),
    ]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(result, sqlite3.IntegrityError) for result in results] == [
        *(False, True, True, False, False)
    ]
    page = await store.list_commands("default", CommandFilter(), None, 10)
    assert len(page.commands) == 2
    assert await store.events_of_all_commands(0, 10) == told
    assert len(told) == 3


async def test_a_change_whose_asker_went_away_is_still_made(store: SqliteStore) -> None:
    """Before its group begins, and while it is being committed."""
    early = an_accept("early")
    store.accept(early).cancel()
    late = an_accept("late")
    asked = store.accept(late)
    await asyncio.sleep(0)
    asked.cancel()
    after = await store.accept(an_accept("after"))
    for key, accept in (("early", early), ("late", late)):
        found = await store.find_accepted("default", key)
        assert found is not None
        assert found.command.id == accept.id
    assert not after.replayed


async def test_what_waits_is_made_before_closing(database: Path) -> None:
    """Also if nobody waits for it."""
    async with SqliteStore(database) as store:
        asked = [store.accept(an_accept(str(number))) for number in range(GROUP_LIMIT + 5)]
    assert all(future.done() for future in asked)
    async with SqliteStore(database) as store:
        page = await store.list_commands("default", CommandFilter(), None, 1000)
        assert len(page.commands) == GROUP_LIMIT + 5


async def test_a_closed_store_refuses(database: Path) -> None:
    """Nothing is accepted and forgotten."""
    async with SqliteStore(database) as store:
        pass
    with pytest.raises(DockgateError) as refused:
        await store.accept(an_accept())
    assert refused.value.reason is Reason.UNAVAILABLE
    assert store.writing.done()


async def _pragma(store: SqliteStore, pragma: str) -> None:
    """Change what the writer's connection may do."""
    await store._writer._connection.run(lambda db: db.execute(pragma).fetchall())


@pytest.mark.parametrize(
    ("trouble", "cure"),
    [
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"),
    ],
)
async def test_a_database_that_cannot_be_written_refuses_and_accepts_again_later(
    store: SqliteStore, told: list[CommandEvent], trouble: str, cure: str
) -> None:
    """A full disk or a read-only file: UNAVAILABLE, nothing stored, nothing told."""
    before = await in_status(store, Status.DELIVERED)
    known = len(told)
    await _pragma(store, trouble)
    # More than fits into the pages that there are.
    big = [store.accept(an_accept(data=b'"' + b"x" * 50_000 + b'"')) for _ in range(3)]
    for result in await asyncio.gather(*big, return_exceptions=True):
        assert isinstance(result, DockgateError)
        assert result.reason is Reason.UNAVAILABLE
        assert isinstance(result.__cause__, sqlite3.Error)
    assert len(told) == known
    assert len((await store.list_commands("default", CommandFilter(), None, 10)).commands) == 1

    await _pragma(store, cure)
    await store.accept(an_accept(data=b'"' + b"x" * 50_000 + b'"'))
    (event,) = await store.apply(RecordReply(a_reply(before.id)))
    assert event.revision == before.revision + 1


async def test_a_locked_database_refuses_and_accepts_again_later(
    store: SqliteStore, raw: sqlite3.Connection
) -> None:
    """A tool that holds the write lock too long."""
    await _pragma(store, "PRAGMA busy_timeout = 1")
    raw.execute("BEGIN IMMEDIATE")
    with pytest.raises(DockgateError) as refused:
        await store.accept(an_accept())
    assert refused.value.reason is Reason.UNAVAILABLE
    raw.execute("ROLLBACK")
    await store.accept(an_accept())


async def test_a_watcher_that_fails_ends_the_writer_where_it_is_seen(database: Path) -> None:
    """The supervisor watches this task; a writer that died in silence would accept for ever."""

    def fails(events: object) -> None:
        raise RuntimeError("a bug in the hub")

    async def commits() -> None:
        async with SqliteStore(database, fails) as store:
            store.accept(an_accept())
            await asyncio.wait((store.writing,), timeout=5)
            assert store.writing.done()

    with pytest.raises(RuntimeError, match="a bug in the hub"):
        await commits()


async def test_one_commit_may_hold_a_whole_life(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """Changes of one command in one group see one another."""
    new = an_accept(sending=True)
    store.accept(new)
    store.apply(ConfirmDelivery(new.id, NOW + 1))
    store.apply(RecordReply(a_reply(new.id)))
    assert await store.apply(Expire((new.id,), NOW + 2)) == ()
    assert [event.command.status for event in told] == [
        *(Status.ACCEPTED, Status.ACCEPTED, Status.DELIVERED, Status.SUCCEEDED)
    ]
    assert [event.revision for event in told] == [1, 2, 3, 4]


async def test_what_is_not_urgent_is_made_with_what_comes_next(database: Path) -> None:
    """That the broker has a message and what the dock answers to it: one commit."""
    commits: list[list[Status]] = []

    def told(events: Sequence[CommandEvent]) -> None:
        commits.append([event.command.status for event in events])

    async with SqliteStore(database, told) as store:
        accepted = await store.accept(an_accept(sending=True))
        delivered = store.apply(ConfirmDelivery(accepted.command.id, NOW + 100))
        await asyncio.sleep(0)
        reply = a_reply(accepted.command.id)
        await asyncio.gather(delivered, store.apply(RecordReply(reply)))
    assert commits[1:] == [[Status.DELIVERED, Status.SUCCEEDED]]


async def test_what_is_not_urgent_is_made_soon_though_nothing_else_comes(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """Watchers see a delivered command whose dock is in no hurry to answer."""
    for number in range(3):
        accepted = await store.accept(an_accept(sending=True))
        await store.apply(ConfirmDelivery(accepted.command.id, NOW + 100))
        assert told[-1].command.status is Status.DELIVERED, number


async def test_what_is_not_urgent_is_made_before_closing(database: Path) -> None:
    """However soon that is."""
    async with SqliteStore(database, lambda _: None) as store:
        accepted = await store.accept(an_accept(sending=True))
        delivered = store.apply(ConfirmDelivery(accepted.command.id, NOW + 100))
    assert len(await delivered) == 1


async def test_after_a_quiet_time_a_change_is_on_its_way_at_once(database: Path) -> None:
    """Not only when whatever else waits in the loop has had its turn."""
    async with SqliteStore(database) as store:
        await store.accept(an_accept())
        await asyncio.sleep(0)  # the writer finds that nothing waits
        begun = _begun(store)
        accepted = store.accept(an_accept())
        assert begun == [1]
        await accepted


async def test_in_a_burst_the_first_change_waits_for_those_of_the_same_turn(
    database: Path,
) -> None:
    """Else it would be made alone, and all the others wait for it."""
    async with SqliteStore(database) as store:
        await asyncio.gather(*(store.accept(an_accept()) for _ in range(10)))
        await asyncio.sleep(0)
        begun = _begun(store)
        await asyncio.gather(*(store.accept(an_accept()) for _ in range(10)))
        assert begun == [10]


def _begun(store: SqliteStore) -> list[int]:
    """Of how many changes each group is that is begun from now on."""
    begun: list[int] = []
    connection = store._writer._connection
    begin = connection.begin

    def noted(function: Any) -> "asyncio.Future[Any]":
        begun.append(len(function.keywords["changes"]))
        return begin(function)

    connection.begin = noted  # type: ignore[method-assign]
    return begun


class Refusing:
    """A connection on which the first change fails; ``meanwhile`` comes while it does."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile: Callable[[], object] | None = meanwhile

    def begin(self, function: Callable[[sqlite3.Connection], Any]) -> "asyncio.Future[Any]":
        """Fail once, then do it."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._meanwhile is not None:
            self._meanwhile()
            self._meanwhile = None
            done.set_result(writer._refused([None], sqlite3.OperationalError("database is locked")))
        else:
            with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
                done.set_result(function(db))
        return done


async def test_what_is_not_urgent_is_still_made_soon_after_a_commit_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It came while that one was under way, and was refused with it."""
    monkeypatch.setattr(writer, "PROBE_SECONDS", 0.01)
    late: list[asyncio.Future[None]] = []
    writable = asyncio.Event()

    def nothing(_: Transaction) -> None:
        """Change nothing."""

    connection: Any = Refusing(lambda: late.append(made.submit(nothing, is_urgent=False)))
    made = GroupWriter(connection, lambda _: None, lambda can: writable.set() if can else None)
    running = asyncio.create_task(made.run())
    with pytest.raises(DockgateError):
        await made.submit(nothing)
    with pytest.raises(DockgateError):
        await late[0]
    async with asyncio.timeout(5):
        await writable.wait()
        await made.submit(nothing, is_urgent=False)
    made.close()
    await running


def test_what_comes_just_when_a_database_in_trouble_is_to_be_tried_is_not_lost() -> None:
    """In the turn of the loop in which the wait for it has run out and the writer not yet gone on.

    It is made at once, as nothing else waits: the writer must finish that, and not begin anew.
    """
    made: list[str] = []
    loop = TurnLoop()
    with closing(loop):

        async def begun() -> tuple[GroupWriter, asyncio.Task[None]]:
            connection: Any = Refusing(lambda: None)
            group_writer = GroupWriter(connection, lambda _: None)
            return group_writer, asyncio.create_task(group_writer.run())

        group_writer, running = loop.run(begun())
        refused = group_writer.submit(lambda _: made.append("first"))
        loop.settle()
        assert isinstance(refused.exception(), DockgateError)
        asked: list[asyncio.Future[Any]] = []

        def meanwhile() -> None:
            asked.append(group_writer.submit(lambda _: made.append("second")))

        loop.call_at(loop.now + writer.PROBE_SECONDS, meanwhile)
        loop.now += 2 * writer.PROBE_SECONDS
        loop.settle()
        assert made == ["second"]
        assert asked[0].done()
        group_writer.close()
        loop.settle()
        assert running.done()


async def test_what_overtakes_is_made_before_all_that_waits(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """Those that overtake keep their order among themselves."""
    await _busy(store)
    asked = [store.accept(an_accept()) for _ in range(3 * GROUP_LIMIT)]
    urgent = [an_accept(overtakes=True) for _ in range(3)]
    await asyncio.gather(*map(store.accept, urgent))
    await store.apply(BeginSending((urgent[0].id,), NOW, overtakes=True))
    assert not asked[-1].done()
    await asyncio.gather(*asked)
    accepted = [event.command.id for event in told if event.kind is EventKind.ACCEPTED]
    assert accepted[1:4] == [new.id for new in urgent]


async def test_what_overtakes_is_known_by_its_key_to_its_repetition(store: SqliteStore) -> None:
    """Both are in one group, or the second one in the next."""
    await _busy(store)
    first, again, other = (an_accept("k", overtakes=overtakes) for overtakes in (True, True, False))
    late = store.accept(other)
    asked = [store.accept(first), store.accept(again)]
    answers = [*await asyncio.gather(*asked), await late]
    assert [one.command.id for one in answers] == [first.id] * 3
    assert [one.replayed for one in answers] == [False, True, True]


async def test_a_change_that_is_asked_for_behind_one_that_overtakes_is_made_behind_it(
    store: SqliteStore,
) -> None:
    """Whoever waits for it knows what has become of the other one."""
    await _busy(store)
    urgent = [store.accept(an_accept(overtakes=True)) for _ in range(GROUP_LIMIT + 10)]
    await store.apply(BeginSending((), NOW))
    assert all(one.done() for one in urgent)


async def test_what_overtakes_is_refused_with_the_rest_while_the_disk_is_full(
    store: SqliteStore,
) -> None:
    """Nothing is left over that would be made later, after it was refused."""
    await _pragma(store, "PRAGMA query_only = ON")
    await asyncio.sleep(0)
    asked = [store.accept(an_accept(overtakes=number % 2 == 0)) for number in range(6)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, DockgateError) for one in answers)
    await _pragma(store, "PRAGMA query_only = OFF")
    await store.accept(an_accept())
    assert len((await store.list_commands("default", CommandFilter(), None, 10)).commands) == 1


async def test_what_overtakes_is_made_before_closing(database: Path) -> None:
    """Also if nobody waits for it."""
    async with SqliteStore(database) as store:
        asked = store.accept(an_accept(overtakes=True))
    assert asked.done()
    assert not (await asked).replayed


async def _busy(store: SqliteStore) -> None:
    """Let a change be under way, so that what is asked for now waits behind it."""
    _ = store.accept(an_accept())
    await asyncio.sleep(0)
