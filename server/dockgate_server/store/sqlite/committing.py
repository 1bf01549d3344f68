"""The end of a transaction, and what is certain of it when the disk fails."""

import sqlite3

from dockgate_server.store.sqlite.trouble import leaves_open_what_is_written


class PerhapsMade(Exception):
    """What a transaction wrote may be on the disk, though its COMMIT has failed."""

    def __init__(self, trouble: Exception) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


def commit(db: sqlite3.Connection) -> None:
    """Commit a transaction.

    When only the wait for the disk fails, the transaction stands whole in the write-ahead log.
    For this process it is rolled back, but who opens the database next would take it for committed.
    The next transaction overwrites it there: so one that changes nothing is made at once.

    Raises:
        PerhapsMade: That fails as well, so the transaction may still be there after a restart.
    """
    try:
        db.execute("COMMIT")
    except sqlite3.Error as error:
        if not leaves_open_what_is_written(error):
            raise
        try:
            roll_back(db)
            db.execute("BEGIN IMMEDIATE")
            write_something(db)
            db.execute("COMMIT")
        except sqlite3.Error:
            raise PerhapsMade(error) from error
        raise


def roll_back(db: sqlite3.Connection) -> None:
    """Leave no transaction open; a failed COMMIT (disk full) may have rolled back by itself."""
    if db.in_transaction:
        db.execute("ROLLBACK")


def write_something(db: sqlite3.Connection) -> None:
    """Make the transaction reach the disk: one that changes nothing succeeds on a full one too."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    db.execute(f"PRAGMA user_version = {version}")
