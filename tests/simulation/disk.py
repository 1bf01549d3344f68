"""The database, which outlives the processes that open it, and everything that fails in it.

SQLite itself is real, in memory; what a store asks of it is done inline at a moment of virtual
time, so nothing of the writer's grouping or of the SQL is replaced.
"""

import re
import sqlite3
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from dockgate_server.store.sqlite.queries import DEVICES
from dockgate_server.store.sqlite.writer import Connection
from simulation.loop import VirtualLoop
from simulation.world import World

T = TypeVar("T")

_TROUBLES = (
    ("BEGIN", sqlite3.SQLITE_BUSY, "database is locked"),
    ("INSERT", sqlite3.SQLITE_FULL, "database or disk is full"),
    ("UPDATE", sqlite3.SQLITE_IOERR, "disk I/O error"),
    ("COMMIT", sqlite3.SQLITE_FULL, "database or disk is full"),
)
"""Which statement fails, and with which of SQLite's errors."""


_ANSWER_SECONDS = 0.001


class Disk:
    """One database for a whole history.

    Args:
        world: Time and chance.
        changed: Is called after everything that changed the database, at the moment it did.
    """

    def __init__(self, world: World, changed: Callable[[], None]) -> None:
        self.world = world
        self.db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
        self.commits = 0
        self.excuses: list[tuple[float, float]] = []
        """When the store was slow or could not write: what happens then may happen late."""
        self.saved_models: set[tuple[str, str]] = set()
        """Id and model of each device that has ever been saved."""
        self._written_models: list[tuple[str, str]] = []
        self._changed = changed
        self._changes = 0
        self._failing: str | None = None
        self._reading_fails = False

    def close(self) -> None:
        """The end of the history."""
        self.db.close()

    def fail(self, seconds: float, *, reading: bool) -> None:
        """Let statements fail for a while; 0 for the next transaction only."""
        self._failing, self._code, self._words = self.world.rng.choice(_TROUBLES)
        self._reading_fails = reading
        self._only_once = seconds == 0
        self.world.after(seconds or 0.5, self.heal)
        # What failed is tried again a second later.
        self.excuses.append((self.world.now, self.world.now + (seconds or 0.5) + 1.3))

    def heal(self) -> None:
        """Let everything work again."""
        self._failing = None
        self._reading_fails = False

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        """What the store's functions call, as they would call it on SQLite's own connection."""
        if sql.startswith("PRAGMA query_only"):
            sql = "SELECT 1"  # reader and writer share the one connection to the memory
        if self._failing is not None and _verb(sql) == self._failing:
            if self._only_once:
                self._failing = None
            raise _error(self._code, self._words)
        if self._reading_fails and _verb(sql) == "SELECT":
            raise _error(sqlite3.SQLITE_IOERR, "disk I/O error")
        done = self.db.execute(sql, values)
        if sql == DEVICES["put_device"]:
            self._written_models.append((values["id"], values["model"]))
        if sql == "COMMIT":
            self.commits += 1
            self.saved_models.update(self._written_models)
        if sql in ("COMMIT", "ROLLBACK"):
            self._written_models.clear()
        return done

    def executemany(self, sql: str, values: Any) -> sqlite3.Cursor:
        """See :meth:`execute`."""
        return self.db.executemany(sql, values)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self.db.in_transaction

    def has_failed_since(self, moment: float) -> bool:
        """Whether it was slow or failed after a moment."""
        return any(end > moment for _, end in self.excuses)

    def look(self) -> None:
        """Tell whoever follows the database, if it has changed."""
        if self.db.total_changes != self._changes:
            self._changes = self.db.total_changes
            self._changed()


@lru_cache
def _verb(sql: str) -> str:
    """SELECT, UPDATE, …: the first word behind the comments."""
    return re.sub(r"--.*\n", "", sql).split(maxsplit=1)[0]


def _error(code: int, words: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode = code
    return error


class InlineConnection(Connection):
    """Stands in for a connection with a thread: the same order, at moments of virtual time."""

    def __init__(self, disk: Disk, loop: VirtualLoop) -> None:
        self._connection = None  # what aiosqlite looks at when it is dropped
        self._disk = disk
        self._loop = loop
        self._free_at = 0.0
        self._answered_at = 0.0

    async def __aenter__(self) -> "InlineConnection":
        """Nothing to open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    def begin(self, function: Callable[[Any], T]) -> Any:
        """Call ``function`` when the disk gets to it; the answer takes its time as well."""
        world = self._disk.world
        done: Any = self._loop.create_future()
        duration = 0.0002 + 0.003 * world.random() ** 4
        if world.strikes("slow disk", 0.002):
            duration = world.between(0.05, 1.5)
        self._free_at = max(world.now, self._free_at) + duration
        if duration > 0.05:
            self._disk.excuses.append((world.now, self._free_at + 0.1))
        world.at(self._free_at, self._execute, function, done)
        return done

    def _execute(self, function: Callable[[Any], Any], done: Any) -> None:
        world = self._disk.world
        if self._loop.alive and world.strikes("killed before a commit", 0.0003):
            self._loop.on_kill()
        if not self._loop.alive:
            return
        try:
            result = function(self._disk)
        except Exception as error:
            settle: Callable[..., None] = done.set_exception
            result = error
        else:
            settle = done.set_result
        self._disk.look()
        if world.strikes("killed after a commit", 0.0003):
            self._loop.on_kill()
        # The thread's answer reaches the loop a moment after the fact: a crash may come first.
        self._answered_at = max(self._answered_at, world.now + _ANSWER_SECONDS * world.random())
        world.at(self._answered_at, self._answer, done, settle, result)

    def _answer(self, done: Any, settle: Callable[..., None], result: Any) -> None:
        if self._loop.alive:
            self._loop.call_soon(self._settle, done, settle, result)

    @staticmethod
    def _settle(done: Any, settle: Callable[..., None], result: Any) -> None:
        if not done.done():
            settle(result)
