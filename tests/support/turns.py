"""An event loop that turns when it is told to, and a database that answers on it.

No thread and no clock: which of two things comes first is the test's to say, and who says the same
again gets the same again.
"""

import asyncio
import itertools
import math
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_MOST_TURNS = 100_000

SOON_SECONDS = 0.01
"""Whoever waits for no longer than that is not made to wait."""


class TurnLoop(asyncio.SelectorEventLoop):
    """Goes on turn by turn; its time stands still until :attr:`now` is set.

    Where nothing else happens, what comes soon comes at once.
    """

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__()

    def time(self) -> float:
        """What timers go by."""
        return self.now

    def turn(self) -> None:
        """Make the calls that are due; those that they cause come with the next turn."""
        self.stop()
        self.run_forever()

    def settle(self) -> None:
        """Let everything happen that can happen without somebody doing something."""
        self.turn()  # timers that have come due are not ready before
        for _ in range(_MOST_TURNS):
            if not self._has_more():
                return
            self.turn()
        raise AssertionError("it goes on for ever")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let a coroutine come to its end, and nothing more than that."""
        task = self.create_task(coroutine)
        for _ in range(_MOST_TURNS):
            if task.done():
                return task.result()
            self.turn()
            if not task.done() and not self._has_more():
                task.cancel()
                self.turn()
                raise AssertionError(f"it waits for what never comes: {task}")
        raise AssertionError("it goes on for ever")

    def _has_more(self) -> bool:
        if self._ready:  # type: ignore[attr-defined]
            return True
        timers = [one for one in self._scheduled if not one.cancelled()]  # type: ignore[attr-defined]
        first = min((one.when() for one in timers), default=math.inf)
        if first > self.now + SOON_SECONDS:
            return False
        self.now = max(self.now, first)
        return True


class Disk:
    """Where connections to a database lead, in place of ``opening.connect``.

    Args:
        changed: Is given the database whenever it has changed, at that moment.
    """

    def __init__(self, changed: Callable[[sqlite3.Connection], None] = lambda _: None) -> None:
        self.changed = changed
        self._pauses: Iterator[int] = itertools.repeat(0)
        self.dead = False
        """Whoever asks now, or waits, hears that it cannot be done any more."""

    def pause(self, *turns: int) -> None:
        """Take so many turns, one after the other and over again, wherever there is a pause.

        There is one before each thing is done and one until whoever asked hears of it.
        """
        self._pauses = itertools.cycle(turns)

    async def rest(self) -> None:
        """Make the next pause.

        Raises:
            sqlite3.OperationalError: It is dead by now.
        """
        for _ in range(next(self._pauses)):
            await asyncio.sleep(0)
        if self.dead:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error

    def connect(self, path: Path) -> "DiskConnection":
        """A connection that is made without a thread."""
        return DiskConnection(self, path)


class _Unsynchronised(sqlite3.Connection):
    """Does not wait for the platter: the machine that runs the tests stays up."""

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        """See :meth:`sqlite3.Connection.execute`."""
        if sql == "PRAGMA synchronous = FULL":
            sql = "PRAGMA synchronous = OFF"
        return super().execute(sql, values)


class DiskConnection:
    """Does what a connection of the store does, on the loop itself."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._path = path
        self._total_changes = 0

    async def __aenter__(self) -> "DiskConnection":
        """Open the database."""
        self._db = sqlite3.connect(self._path, isolation_level=None, factory=_Unsynchronised)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        self._db.close()

    def begin(self, function: Callable[[sqlite3.Connection], T]) -> "asyncio.Task[T]":
        """The same as :meth:`run`, on its way already."""
        return asyncio.ensure_future(self.run(function))

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call ``function`` with the database, after a pause and before another one."""
        await self._disk.rest()
        result = function(self._db)
        if self._db.total_changes != self._total_changes:
            self._total_changes = self._db.total_changes
            self._disk.changed(self._db)
        await self._disk.rest()
        return result
