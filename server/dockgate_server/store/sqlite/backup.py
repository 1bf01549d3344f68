"""A copy of the database that can be restored, taken while the gateway may be at work on it.

A restored copy must neither lie nor send anything twice, and whoever restores it may start a
gateway on it a second later or a year later. So all that this needs is done to the copy itself,
before it gets its name:

* What was open has ended there, as OUTCOME_UNKNOWN. The gateway goes on behind the backup: it may
  have sent the command, and others behind it that undo it, and the answer may have come. So
  nothing of it may be sent, not even what is safe to repeat.
* Requests of devices that waited have expired, and answers to them that were to be sent are gone.
* The numbers that the gateway goes on to give out are left out, and the cursors of its watches
  have expired: they would name other events of the copy.
"""

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dockgate_server.clock import Clock
from dockgate_server.model.command import EventKind
from dockgate_server.store.sqlite import migrations, rows, trouble
from dockgate_server.store.sqlite.queries import BACKUP
from dockgate_server.store.sqlite.transaction import Fact, Transaction

SKIPPED_NUMBERS = {
    "command": 100_000_000,
    "command_event": 10_000_000_000,
    "device_event": 10_000_000_000,
}
"""How many numbers are left out: more than are given out between a backup and its restoration.
A command's number goes to docks as the sequence number of DRC messages, which may have 32 bits; of
the ledger's numbers nothing depends on their being used once, but its count of replies does on
their having no gap."""

_REASON = (
    "the gateway was restored from a backup in which the command was still open; the device may "
    "have carried it out"
)
_NOTE = "a backup was taken here; it does not know what became of the command"

TICK = 10_000
"""Instructions of SQLite's machine between two looks at how far it has come: some milliseconds."""

OnProgress = Callable[[str, float | None], None]
"""Is told what is being done, and what share of it is done where that is known."""


class BackupProblem(Exception):
    """There is no backup; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that has been made and checked."""

    file: Path
    size: int
    taken_at: int
    commands: int
    open_commands: int
    """How many were open and have ended in the copy."""


def take(source: Path, target: Path, clock: Clock, on_progress: OnProgress) -> Backup:
    """Copy a database, which may be in use, to a file that does not exist yet.

    Raises:
        BackupProblem: It cannot be read, is not ours, or the copy cannot be written or is damaged;
            there is no trace of it then.
        KeyboardInterrupt: Ctrl-C; there is no trace of it either.
    """
    try:
        _must_be_free(target)
        with _draft(target.absolute().parent) as draft:
            _copy(source, draft, on_progress)
            made = _finish(draft, target, clock.now_ms(), on_progress)
            _name(draft, target)
    except (sqlite3.Error, OSError, migrations.SchemaTooNew) as error:
        raise BackupProblem(f"cannot back up {source} to {target}: {trouble.why(error)}") from error
    return made


def _must_be_free(target: Path) -> None:
    if target.is_dir():
        raise IsADirectoryError("it is a folder; name a file in it")
    if target.exists() or target.is_symlink():
        raise FileExistsError("there is such a file, which is left as it is")
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError("there is no such folder")


@contextlib.contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """An empty file that only we can read, gone at the end unless it has got its name.

    In a folder of its own: SQLite leaves a journal beside it when the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix=".dockgate-backup-", dir=folder) as own:
        draft = Path(own, "draft.db")
        draft.touch(mode=0o600)
        yield draft


def _copy(source: Path, draft: Path, on_progress: OnProgress) -> None:
    # Reading takes no lock that a writer waits for, and must not make a database.
    with _opened(f"{source.absolute().as_uri()}?mode=ro") as db:
        _check_ours(db)
        pages = _pragma(db, "page_count") - _pragma(db, "freelist_count")
        expected = max(1, pages * _pragma(db, "page_size"))

        def copying() -> None:
            on_progress("copying", min(1.0, draft.stat().st_size / expected))

        with _telling(db, copying):
            db.execute("VACUUM INTO ?", (str(draft),))


def _finish(draft: Path, target: Path, now: int, on_progress: OnProgress) -> Backup:
    """Make the copy safe to go on from, check it, and see that it is on the disk."""
    with _opened(draft.as_uri()) as db:
        # It is thrown away when anything fails, and is synchronised as a whole below.
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        # What is taken out of it is overwritten, not only unlinked.
        db.execute("PRAGMA secure_delete = ON")
        ended = _make_safe(db, now)
        with _telling(db, lambda: on_progress("checking", None)):
            _check(db)
        (commands,) = db.execute(BACKUP["count_commands"]).fetchone()
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    return Backup(target, draft.stat().st_size, now, commands, ended)


def _make_safe(db: sqlite3.Connection, now: int) -> int:
    tx = Transaction(db)
    db.execute("BEGIN")
    ended = db.execute(BACKUP["end_open"], {"reason": _REASON, "at": now}).fetchall()
    for row in sorted(ended):
        tx.record(Fact(rows.command(row), EventKind.EXPIRED, now, _NOTE))
    tx.write_down()
    for table, skipped in SKIPPED_NUMBERS.items():
        db.execute(BACKUP["number_from_the_start"], {"name": table})
        db.execute(BACKUP["skip_numbers"], {"name": table, "skipped": skipped})
    db.execute(BACKUP["expire_cursors"])
    db.execute(BACKUP["expire_event_cursors"])
    db.execute(BACKUP["close_requests"])
    db.execute(BACKUP["forget_presence"])
    db.execute(BACKUP["mark_as_backup"], {"at": now})
    db.execute("COMMIT")
    return len(ended)


def _check(db: sqlite3.Connection) -> None:
    _check_ours(db)
    rows.check_columns(db)
    (damage,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if damage != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged: {damage}")


def _check_ours(db: sqlite3.Connection) -> None:
    if _pragma(db, "application_id") != migrations.APPLICATION_ID:
        raise sqlite3.DatabaseError("it is not a database of dockgate")
    version, known = _pragma(db, "user_version"), len(migrations.known())
    if version != known:
        raise migrations.SchemaTooNew(
            f"its schema has version {version} and this program's has {known}; "
            "use the program that works on it"
        )


def _name(draft: Path, target: Path) -> None:
    """Give the copy its name, unless somebody else has taken it meanwhile."""
    try:
        # Unlike a rename, this never replaces a file.
        target.hardlink_to(draft)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        _must_be_free(target)
        draft.rename(target)
    folder = os.open(target.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _opened(uri: str) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
        yield db


@contextlib.contextmanager
def _telling(db: sqlite3.Connection, tell: Callable[[], None]) -> Iterator[None]:
    """Call ``tell`` again and again while SQLite works on one long statement."""
    db.set_progress_handler(tell, TICK)
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            # Ctrl-C was noticed in ``tell``, and SQLite swallows what is raised there.
            raise KeyboardInterrupt from None
        raise
    finally:
        db.set_progress_handler(None, 0)


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)
