"""The one writer of the database, which commits many changes in one transaction.

A durable commit costs the same for one change as for a hundred, and a hop to the database's
thread costs more than the change: so all changes that wait are made in one hop and one
transaction. Only this writer uses its connection and it is never cancelled in the middle, so no
transaction is ever left open for another coroutine's statement to slip into.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar, cast

import aiosqlite
import structlog

from dockgate_server import errors
from dockgate_server.model.command import CommandEvent
from dockgate_server.store.interface import OnCommit

T = TypeVar("T")

_log = structlog.get_logger(__name__)

GROUP_LIMIT = 256
"""Changes in one transaction at most: beyond this a group gains nothing and only waits longer."""


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that can run a whole function on its thread, in one hop."""

    async def __aenter__(self) -> Self:
        """Open the database."""
        try:
            _ = await super().__aenter__()
        except BaseException:
            # aiosqlite asks its thread to stop but does not wait, and it would outlive the loop.
            await asyncio.to_thread(self._thread.join)
            raise
        return self

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call ``function`` with the database on the connection's thread."""
        run = cast("Callable[..., Awaitable[T]]", self._execute)
        return await run(function, self._conn)


@dataclass(slots=True)
class Transaction:
    """What a change works on: the database, and the events it causes."""

    db: sqlite3.Connection
    events: list[CommandEvent] = field(default_factory=list)


Change = Callable[[Transaction], Any]


@dataclass(slots=True)
class _Done:
    """What became of one change."""

    result: Any = None
    error: Exception | None = None


class GroupWriter:
    """Takes changes in order, commits them in groups, resolves their futures in order."""

    def __init__(self, connection: Connection, on_commit: OnCommit) -> None:
        self._connection = connection
        self._on_commit = on_commit
        self._waiting: deque[tuple[Change, asyncio.Future[Any]]] = deque()
        self._wake = asyncio.Event()
        self._closing = False

    def submit(self, change: Change) -> asyncio.Future[Any]:
        """Queue a change; its future resolves when it is durable, or has failed."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._closing:
            future.set_exception(errors.unavailable("the store is closed"))
            return future
        self._waiting.append((change, future))
        self._wake.set()
        return future

    def close(self) -> None:
        """Take no more changes; :meth:`run` returns when those that wait are made."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Commit groups until closed."""
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_LIMIT))]
            await self._commit(group)

    async def _commit(self, group: list[tuple[Change, asyncio.Future[Any]]]) -> None:
        changes = [change for change, _ in group]
        done, events = await self._connection.run(lambda db: _make(db, changes))
        # Watchers first, askers second: who is told "accepted" finds the event in the tail.
        if events:
            self._on_commit(events)
        for (_, future), outcome in zip(group, done, strict=True):
            if future.cancelled():
                continue
            if outcome.error is None:
                future.set_result(outcome.result)
            else:
                future.set_exception(outcome.error)


def _make(db: sqlite3.Connection, changes: list[Change]) -> tuple[list[_Done], list[CommandEvent]]:
    """Make the changes in one transaction; if that fails, each in one of its own.

    So one change that cannot be made does not take those beside it down.
    """
    try:
        return _in_one_transaction(db, changes)
    except Exception as error:
        if len(changes) == 1:
            return [_Done(error=_translated(error))], []
    done: list[_Done] = []
    events: list[CommandEvent] = []
    for change in changes:
        one_done, one_events = _make(db, [change])
        done += one_done
        events += one_events
    return done, events


def _in_one_transaction(
    db: sqlite3.Connection, changes: list[Change]
) -> tuple[list[_Done], list[CommandEvent]]:
    transaction = Transaction(db)
    try:
        db.execute("BEGIN IMMEDIATE")
        done = [_Done(result=change(transaction)) for change in changes]
        db.execute("COMMIT")
    except BaseException:
        # A failed COMMIT (disk full) may have rolled back by itself.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return done, transaction.events


def _translated(error: Exception) -> Exception:
    if isinstance(error, sqlite3.IntegrityError):
        return error  # a bug of ours: a guard let something through that a constraint did not
    if isinstance(error, sqlite3.Error):
        _log.error("store_cannot_write", error=str(error))
        unavailable = errors.unavailable("the store cannot take the change; nothing was accepted")
        unavailable.__cause__ = error
        return unavailable
    return error
