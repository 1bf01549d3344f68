"""The one writer of the database, which commits many changes in one transaction.

A durable commit costs the same for one change as for a hundred, and a hop to the database's
thread costs more than the change: so all changes that wait are made in one hop and one
transaction. Only this writer uses its connection and it is never cancelled in the middle, so no
transaction is ever left open for another coroutine's statement to slip into.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

import aiosqlite
import structlog

from dockgate_server import errors
from dockgate_server.clock import Clock, SystemClock
from dockgate_server.lines import MOST_FROM_DEVICES, Lines
from dockgate_server.model.command import CommandEvent
from dockgate_server.store.interface import OnCommit
from dockgate_server.store.sqlite.committing import (
    PerhapsMade,
    commit,
    roll_back,
    write_something,
)
from dockgate_server.store.sqlite.together import Change, Failed, make_all
from dockgate_server.store.sqlite.transaction import Known, Transaction
from dockgate_server.store.sqlite.trouble import Trouble, is_damage, is_of_database

T = TypeVar("T")

_log = structlog.get_logger(__name__)

GROUP_LIMIT = 256
"""Changes in one transaction at most: beyond this a group gains nothing and only waits longer."""

PATIENCE_SECONDS = 0.002
"""How long a change may wait for company that nobody is waiting for."""

QUIET = 2
"""When no more changes were made together the next one does not wait for company: in a burst the
first one would be made alone, and the rest wait for it."""

PROBE_SECONDS = 1.0
"""How often a database that takes no changes is tried, when nobody else does."""


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
        return await self.begin(function)

    def begin(self, function: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """The same, on its way already when this returns."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((done, partial(function, self._conn)))
        return done


_Begin = Callable[[sqlite3.Connection], Transaction]

_Asked = tuple[Change, asyncio.Future[Any]]
_Begun = tuple[list[_Asked], "asyncio.Future[_Made]"]
"""Changes, and what becomes of them."""


@dataclass(slots=True)
class _Made:
    """What became of a group."""

    done: list[Any]
    """The answer to each change, or that it failed."""
    events: list[CommandEvent]
    trouble: Exception | None = None
    """What is wrong with the database itself, so that it takes no other change either."""


class GroupWriter:
    """Takes changes in order, commits them in groups, resolves their futures in that order.

    Those that overtake are taken before all others.

    While the database takes nothing, what comes is refused as soon as that is known again, and
    the writer finds out by itself when it takes something.

    Args:
        connection: The connection that only this writer uses.
        on_commit: Is given the events of every commit.
        on_writable: Is told False when the database takes no changes, and True when it does
            again.
        clock: The time, for keeping lines in the log few.
    """

    def __init__(
        self,
        connection: Connection,
        on_commit: OnCommit,
        on_writable: Callable[[bool], None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        # Kept, as to ask for the running loop costs a system call each time.
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._on_commit = on_commit
        self._on_writable = on_writable
        self._waiting: deque[_Asked] = deque()
        self._overtaking: deque[_Asked] = deque()  # made before those
        self._wake = asyncio.Event()
        self._closing = False
        self._known: Known = {}
        self._unmatched = Lines(MOST_FROM_DEVICES, clock or SystemClock())
        self._trouble = Trouble("write")
        self._damage: Exception | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._is_idle = self._is_quiet = False
        self._begun: _Begun | None = None

    def submit(
        self, change: Change, *, is_urgent: bool = True, overtakes: bool = False
    ) -> asyncio.Future[Any]:
        """Queue a change; its future resolves when it is durable, or has failed.

        One that is not urgent is made with the next one that is, or a little later. One that
        overtakes is in the next group, whatever waits.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._closing:
            future.set_exception(errors.unavailable("the store is closed"))
            return future
        (self._overtaking if overtakes else self._waiting).append((change, future))
        if is_urgent:
            if self._is_idle and self._is_quiet:
                # Not by way of the loop: whatever else waits there would come first.
                self._begun = self._begin()
            self._wake.set()
        elif self._patience is None:
            self._patience = self._loop.call_later(PATIENCE_SECONDS, self._out_of_patience)
        return future

    def _out_of_patience(self) -> None:
        self._patience = None
        self._wake.set()

    def close(self) -> None:
        """Take no more changes; :meth:`run` returns when those that wait are made."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Commit groups until closed."""
        while True:
            if self._begun is not None:
                begun, self._begun = self._begun, None
                await self._finish(*begun)
            elif self._waiting or self._overtaking:
                await self._finish(*self._begin())
            elif self._closing:
                return
            else:
                self._is_idle = True
                await self._idle()
                self._is_idle = False

    async def _idle(self) -> None:
        """Wait for a change; with a database that takes none, only until it is to be tried."""
        self._wake.clear()
        if not self._may_recover:
            await self._wake.wait()
            return
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            self._begun = self._begun or self._begin()

    @property
    def _may_recover(self) -> bool:
        return self._trouble.lasts and self._damage is None

    def _begin(self) -> _Begun:
        """Hand those that wait to the database's thread."""
        self._is_idle = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        first = min(len(self._overtaking), GROUP_LIMIT)
        group = [self._overtaking.popleft() for _ in range(first)]
        rest = min(len(self._waiting), GROUP_LIMIT - first)
        group += [self._waiting.popleft() for _ in range(rest)]
        self._is_quiet = len(group) <= QUIET
        changes = [change for change, _ in group]
        if self._damage is not None:
            # More writing could destroy more, and what is accepted now may be lost with the rest.
            refused: asyncio.Future[_Made] = self._loop.create_future()
            refused.set_result(_refused(changes, self._damage))
            return group, refused
        proving = self._trouble.lasts
        begin = partial(Transaction, known=self._known, unmatched=self._unmatched)
        make = partial(_make, changes=changes, begin=begin, proving=proving)
        return group, self._connection.begin(make)

    async def _finish(self, group: list[_Asked], making: "asyncio.Future[_Made]") -> None:
        """Tell everybody what became of a group."""
        made = await making
        if made.trouble is not None:
            # Those that wait would fail as well, and with a lock each group after as many seconds.
            for waiting in (self._overtaking, self._waiting):
                group += waiting
                made.done += _refused(waiting, made.trouble).done
                waiting.clear()
        self._note(made.trouble)
        for (_, future), outcome in zip(group, made.done, strict=True):
            if future.cancelled():
                continue
            if type(outcome) is Failed:
                future.set_exception(outcome.error)
            else:
                future.set_result(outcome)
        # Whoever waits for a future goes on in the loop's next turn, and finds the events there.
        if made.events:
            self._on_commit(made.events)

    def _note(self, trouble: Exception | None) -> None:
        lasted = self._trouble.lasts
        if trouble is None:
            self._trouble.over()
        else:
            self._trouble.met(trouble)
            if is_damage(trouble):
                self._damage = trouble
        if self._trouble.lasts != lasted:
            self._on_writable(not self._trouble.lasts)


def _make(db: sqlite3.Connection, changes: list[Change], begin: _Begin, *, proving: bool) -> _Made:
    """Make the changes in one transaction; if that fails, each in one of its own.

    So one change that cannot be made does not take those beside it down.
    """
    try:
        return _in_one_transaction(db, changes, begin, proving=proving)
    except PerhapsMade as error:
        return _Made([Failed(_not_known(error.trouble)) for _ in changes], [], error.trouble)
    except Exception as error:
        if is_of_database(error):
            return _refused(changes, error)
        if len(changes) == 1:
            return _Made([Failed(_translated(error))], [])
    made = _Made([], [])
    for number, change in enumerate(changes):
        one = _make(db, [change], begin, proving=proving)
        made.done += one.done
        made.events += one.events
        if one.trouble is not None:
            made.done += _refused(changes[number + 1 :], one.trouble).done
            made.trouble = one.trouble
            break
    return made


def _in_one_transaction(
    db: sqlite3.Connection, changes: list[Change], begin: _Begin, *, proving: bool
) -> _Made:
    transaction = begin(db)
    try:
        db.execute("BEGIN IMMEDIATE")
        if proving:
            write_something(db)
        done = make_all(transaction, changes)
        commit(db)
    except BaseException:
        transaction.forget()
        roll_back(db)
        raise
    return _Made(done, transaction.events)


def _refused(changes: Sized, trouble: Exception) -> _Made:
    """None of the changes is made."""
    return _Made([Failed(_unavailable(trouble)) for _ in range(len(changes))], [], trouble)


def _translated(error: Exception) -> Exception:
    if isinstance(error, sqlite3.IntegrityError):
        return error  # a bug of ours: a guard let something through that a constraint did not
    if isinstance(error, sqlite3.Error):
        _log.error("store_cannot_make_change", error=str(error))
        return _unavailable(error)
    return error


def _unavailable(
    cause: Exception, why: str = "the store cannot take the change; nothing was accepted"
) -> Exception:
    unavailable = errors.unavailable(why)
    unavailable.__cause__ = cause
    return unavailable


def _not_known(cause: Exception) -> Exception:
    return _unavailable(
        cause,
        "the disk failed while the change was being stored: it is not known whether it was "
        "accepted; submit it again with the same idempotency_key",
    )
