"""Trouble with the disk: nothing is taken that is not durable, and its end is found by itself."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.log import Log, events
from support.records import a_reply, an_accept

from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.transitions import RecordReply
from dockgate_server.store.sqlite import SqliteStore, writer


class Told:
    """What the store has said about whether it takes changes."""

    def __init__(self) -> None:
        self.all: list[bool] = []
        self._news = asyncio.Event()

    def __call__(self, writable: bool) -> None:
        self.all.append(writable)
        self._news.set()

    async def until(self, *expected: bool) -> None:
        """Wait until just that has been said."""
        async with asyncio.timeout(5):
            while self.all != list(expected):
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def writable(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Takes down what the store says."""
    monkeypatch.setattr(writer, "PROBE_SECONDS", 0.02)
    return Told()


@pytest.fixture
async def store(database: Path, writable: Told) -> AsyncIterator[SqliteStore]:
    """A store that does not wait long for locks, nor before it tries again."""
    async with SqliteStore(database, on_writable=writable) as store:
        await pragma(store, "busy_timeout = 200")
        yield store


async def pragma(store: SqliteStore, setting: str) -> None:
    """Change what the writer's connection may do, or what it remembers."""
    await store._writer._connection.run(lambda db: db.execute(f"PRAGMA {setting}").fetchall())


async def refused(change: "asyncio.Future[Any]") -> BaseException | None:
    """The cause for which a change is refused."""
    with pytest.raises(DockgateError) as caught:
        await change
    assert caught.value.reason is Reason.UNAVAILABLE
    return caught.value.__cause__


async def test_its_begin_and_its_end_are_told_once_each(
    store: SqliteStore, writable: Told, log: Log
) -> None:
    """However often it is met in between."""
    await pragma(store, "query_only = ON")
    for _ in range(50):
        assert "readonly" in str(await refused(store.accept(an_accept())))
    assert writable.all == [False]
    assert events(log) == ["store_cannot_write"]

    await pragma(store, "query_only = OFF")
    await store.accept(an_accept())
    assert writable.all == [False, True]
    assert events(log) == ["store_cannot_write", "store_can_write_again"]


async def test_its_end_is_found_when_nobody_asks_for_anything(
    store: SqliteStore, writable: Told
) -> None:
    """A health check that waited for the next submission would keep it away."""
    await pragma(store, "query_only = ON")
    await refused(store.accept(an_accept()))
    await pragma(store, "query_only = OFF")
    await writable.until(False, True)


async def test_a_change_that_writes_nothing_does_not_prove_its_end(
    store: SqliteStore, writable: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk too a transaction commits that has nothing to write."""
    await pragma(store, "query_only = ON")
    await refused(store.accept(an_accept()))
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def cannot_write(_: object) -> None:
        raise full

    with monkeypatch.context() as while_full:
        while_full.setattr(writer, "write_something", cannot_write)
        await pragma(store, "query_only = OFF")
        await refused(store.forget_nonces(0))
        assert writable.all == [False]
    await writable.until(False, True)


async def test_a_lock_costs_one_wait_however_much_waits_for_it(
    store: SqliteStore, raw: sqlite3.Connection
) -> None:
    """Else each group behind it, and each change of a group, would wait as long again."""
    loop = asyncio.get_running_loop()
    await pragma(store, "busy_timeout = 500")
    raw.execute("BEGIN IMMEDIATE")
    began = loop.time()
    asked = [store.accept(an_accept()) for _ in range(3 * writer.GROUP_LIMIT)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert 0.5 <= loop.time() - began < 1
    assert all(isinstance(result, DockgateError) for result in results)
    raw.execute("ROLLBACK")
    await store.accept(an_accept())


async def test_trouble_that_comes_while_a_group_is_made_one_by_one_ends_that(
    store: SqliteStore, writable: Told
) -> None:
    """A lock costs one wait then, too; what is behind it is not tried."""
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    tried: list[str] = []

    def change(name: str, error: Exception) -> "asyncio.Future[Any]":
        def make(_: object) -> None:
            tried.append(name)
            raise error

        return store._writer.submit(make)

    bad = change("bad", ValueError("a bug"))
    locked, behind = change("locked", busy), change("behind", busy)
    with pytest.raises(ValueError, match="a bug"):
        await bad
    assert [await refused(one) for one in (locked, behind)] == [busy, busy]
    assert tried == ["bad", "bad", "locked"]
    await writable.until(False, True)


async def test_reading_goes_on_while_the_writer_waits_for_a_lock(
    store: SqliteStore, raw: sqlite3.Connection
) -> None:
    """On a connection of its own, as the writer's thread is all that waits."""
    known = (await store.accept(an_accept())).command
    await pragma(store, "busy_timeout = 5000")
    raw.execute("BEGIN IMMEDIATE")
    waiting = store.accept(an_accept())
    async with asyncio.timeout(2):
        for _ in range(20):
            assert await store.get_command("default", known.id) == known
    assert not waiting.done()
    raw.execute("ROLLBACK")
    await waiting


async def test_what_failed_has_not_happened_and_can_be_asked_again(
    store: SqliteStore, raw: sqlite3.Connection
) -> None:
    """Neither acknowledged and lost, nor refused and yet there."""
    command = (await store.accept(an_accept(sending=True))).command
    raw.execute("BEGIN IMMEDIATE")
    new, reply = an_accept("key"), RecordReply(a_reply(command.id))
    await refused(store.accept(new))
    await refused(store.apply(reply))
    raw.execute("ROLLBACK")
    assert await store.find_accepted("default", "key") is None
    assert not (await store.accept(new)).replayed
    assert len(await store.apply(reply)) == 1


class Unsynced:
    """The writer's database on a disk that fails: so many COMMITs are on it, or are not."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.failing = 0
        self.code = sqlite3.SQLITE_IOERR_FSYNC
        self.committed = 0
        """How many COMMITs have not failed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """See :meth:`sqlite3.Connection.execute`."""
        if sql == "COMMIT" and self.failing:
            self.failing -= 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self.code
            raise error
        self.committed += sql == "COMMIT"
        return self._db.execute(sql, *values)


@pytest.fixture
def disk(store: SqliteStore) -> Unsynced:
    """What the store writes to."""
    connection: Any = store._writer._connection
    connection._connection = Unsynced(connection._connection)
    disk: Unsynced = connection._connection
    return disk


async def test_what_the_next_transaction_has_overwritten_has_not_happened(
    store: SqliteStore, disk: Unsynced, writable: Told
) -> None:
    """A COMMIT that failed may be on the disk; that one overwrites it there."""
    disk.failing = 1
    with pytest.raises(DockgateError, match="nothing was accepted"):
        await store.accept(an_accept("key"))
    assert disk.committed == 1
    assert await store.find_accepted("default", "key") is None
    await writable.until(False, True)


async def test_what_a_failing_disk_may_hold_is_not_called_refused(
    store: SqliteStore, disk: Unsynced, writable: Told
) -> None:
    """After a restart it may be there; whoever asks again with the same key learns it."""
    disk.failing = 2
    accepting, asking = store.accept(an_accept("key")), store.forget_nonces(0)
    for asked in (accepting, asking):
        with pytest.raises(DockgateError, match=r"not known whether.*same idempotency_key") as told:
            await asked
        assert told.value.reason is Reason.UNAVAILABLE
    assert await store.find_accepted("default", "key") is None
    await writable.until(False, True)
    assert not (await store.accept(an_accept("key"))).replayed


async def test_what_could_not_be_written_has_not_happened(
    store: SqliteStore, disk: Unsynced
) -> None:
    """What makes it whole is written last."""
    disk.failing, disk.code = 2, sqlite3.SQLITE_IOERR_WRITE
    with pytest.raises(DockgateError, match="nothing was accepted"):
        await store.accept(an_accept())


async def test_only_what_was_to_be_committed_may_be_there(
    store: SqliteStore, disk: Unsynced
) -> None:
    """What waits behind it has not been tried."""

    def bug(_: object) -> None:
        raise ValueError("a bug")

    disk.failing = 2
    bad = store._writer.submit(bug)
    first, second = store.accept(an_accept()), store.accept(an_accept())
    with pytest.raises(ValueError, match="a bug"):
        await bad
    with pytest.raises(DockgateError, match="not known whether"):
        await first
    with pytest.raises(DockgateError, match="nothing was accepted"):
        await second


async def test_one_change_that_cannot_be_made_is_no_trouble_of_the_database(
    store: SqliteStore, writable: Told
) -> None:
    """The others are taken, so that nothing need be told."""
    first = an_accept()
    await store.accept(first)
    with pytest.raises(sqlite3.IntegrityError):
        await store.accept(an_accept(id=first.id))
    assert writable.all == []


@pytest.fixture
async def damaged(database: Path, writable: Told) -> AsyncIterator[SqliteStore]:
    """A store whose file has been overwritten behind its back, but for the first page."""
    async with SqliteStore(database, on_writable=writable) as store:
        await store.accept(an_accept("before"))
    async with SqliteStore(database, on_writable=writable) as store:
        with database.open("r+b") as file:
            size = file.seek(0, 2)
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
        for connection in (store._writer._connection, store._db._reading):
            await connection.run(lambda db: db.execute("PRAGMA shrink_memory"))
        yield store


def contents(database: Path) -> tuple[bytes, bytes]:
    """The database and what is to go into it."""
    return database.read_bytes(), Path(f"{database}-wal").read_bytes()


async def test_a_damaged_database_is_not_written_any_more(
    damaged: SqliteStore, database: Path, writable: Told, log: Log
) -> None:
    """What it took now might be gone with the rest; and a probe of one page proves nothing."""
    for _ in range(3):
        assert "malformed" in str(await refused(damaged.accept(an_accept())))
    assert writable.all == [False]
    before = contents(database)
    await refused(damaged.forget_nonces(0))
    await asyncio.sleep(5 * writer.PROBE_SECONDS)  # that nothing happens has no signal
    await refused(damaged.forget_nonces(0))
    assert contents(database) == before
    assert writable.all == [False]
    assert events(log) == ["store_cannot_write"]


async def test_a_damaged_database_is_read_as_far_as_that_is_possible(
    damaged: SqliteStore, log: Log
) -> None:
    """What cannot be read is refused as unavailable, and logged once."""
    for _ in range(3):
        with pytest.raises(DockgateError) as caught:
            await damaged.find_accepted("default", "before")
        assert caught.value.reason is Reason.UNAVAILABLE
    assert events(log) == ["store_cannot_read"]
    assert "malformed" in log[0]["error"]
