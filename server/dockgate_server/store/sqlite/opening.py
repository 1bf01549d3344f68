"""Opening the database: whose it is, that nobody else is at work on it, its schema, its pragmas."""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from dockgate_server.store.sqlite import migrations, rows, trouble
from dockgate_server.store.sqlite.writer import Connection

_PRAGMAS = (
    # `dockgate keys` writes to the same file while the server runs.
    "PRAGMA busy_timeout = 5000",
    # A commit is on the disk when it returns; NORMAL would lose accepted commands on power loss.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # What is removed is overwritten, not only unlinked: sealed secrets are gone for good with it.
    "PRAGMA secure_delete = ON",
)
_PATIENCE_SECONDS = 5.0

# Python looks for a way to store a value that is not a plain number or text, in vain for these, and
# that took longer than to store it. So they are told to be what they are.
_nothing: dict[None, None] = {}
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(bool, int)
sqlite3.register_adapter(type(None), _nothing.get)


class StoreProblem(Exception):
    """The database cannot be opened; the message says which one and why."""


@asynccontextmanager
async def opened(path: Path, *, exclusive: bool) -> AsyncIterator[tuple[Connection, Connection]]:
    """The connections for writing and for reading, to a database of the current schema.

    Raises:
        StoreProblem: It cannot be opened, written or understood, or is in use.
    """
    async with AsyncExitStack() as stack:
        try:
            pair = await _open(path, stack, exclusive=exclusive)
        except (sqlite3.Error, migrations.SchemaTooNew, OSError) as error:
            raise StoreProblem(f"cannot open the database {path}: {trouble.why(error)}") from error
        yield pair


async def _open(
    path: Path, stack: AsyncExitStack, *, exclusive: bool
) -> tuple[Connection, Connection]:
    _make_file(path)
    async with connect(path) as looking:
        # First of all, so that what is not ours is left as it was, without a lock beside it.
        await looking.run(migrations.check)
    if exclusive:
        stack.enter_context(_locked(path))
    writing = await stack.enter_async_context(connect(path))
    await writing.run(_prepare)
    reading = await stack.enter_async_context(connect(path))
    await reading.run(lambda db: db.execute("PRAGMA query_only = ON"))
    return writing, reading


def _make_file(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError("it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f"{path.parent} is no folder") from None
    _must_be_writable(path.parent)
    # What devices and callers say is nobody else's business: the file is for us alone, and SQLite
    # makes its companions with the same rights.
    path.touch(mode=0o600, exist_ok=True)
    _must_be_writable(path)


def _must_be_writable(path: Path) -> None:
    """Asked before SQLite is: it opens what it can only read, and leaves read-only companions."""
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(f"this user may not write to {path}")


def connect(path: Path) -> Connection:
    """A connection; autocommit, as the writer begins and ends its transactions itself."""
    return Connection(lambda: sqlite3.connect(path, isolation_level=None), iter_chunk_size=64)


def _prepare(db: sqlite3.Connection) -> None:
    if sqlite3.sqlite_version_info < (3, 37):
        raise sqlite3.NotSupportedError(
            f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or newer is needed"
        )
    for pragma in _PRAGMAS:
        db.execute(pragma)
    _use_write_ahead_log(db)
    # Written once more: a file that cannot be written would open, and refuse every command later.
    db.execute(f"PRAGMA user_version = {migrations.migrate(db)}")
    rows.check_columns(db)
    # Last, as a migration may sort a whole table. What a statement of many rows needs to take
    # itself back goes to a temporary file otherwise, which costs as much as the rows.
    db.execute("PRAGMA temp_store = MEMORY")


def _use_write_ahead_log(db: sqlite3.Connection) -> None:
    """Readers then do not wait for the writer, nor it for them; the file remembers it.

    SQLite does not wait for another process that makes the same change at the same moment, as
    `dockgate serve` and `dockgate keys` may do when both are started for the first time.
    """
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)  # another program: there is no signal to wait for


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside the database; the system frees it even when the process is killed."""
    with Path(f"{path}.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise OSError(f"another gateway (pid {owner}) is at work on it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
