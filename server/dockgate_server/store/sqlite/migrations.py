"""Bringing a database to the schema that the program knows.

The schema is the sum of the files under ``migrations/``, applied in order of their number, each
in a transaction together with the new ``user_version``: a crash in between repeats the file.
"""

import sqlite3
from importlib import resources

APPLICATION_ID = 0x444B4754
"""Marks a database as dockgate's, so that no other one is ever migrated by mistake."""


class SchemaTooNew(Exception):
    """The database was written by a newer program; this one must not touch it."""


def known() -> list[str]:
    """The migrations, each as SQL text; the first leads to version 1."""
    folder = resources.files(__package__).joinpath("migrations")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    for number, file in enumerate(files, start=1):
        if not file.name.startswith(f"{number:04}_"):
            raise AssertionError(f"{file.name}: migration numbers have no gaps")
    return [file.read_text(encoding="utf-8") for file in files]


def check(connection: sqlite3.Connection) -> None:
    """See that a database is ours, or still empty, and not newer than the program.

    Raises:
        SchemaTooNew: The database has a version that this program does not know.
        sqlite3.DatabaseError: The file is no database, or not dockgate's.
    """
    connection.execute("BEGIN")
    try:
        _version(connection, len(known()))
    finally:
        # A full disk may have rolled it back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def migrate(connection: sqlite3.Connection) -> int:
    """Apply what is missing and return the version reached.

    Raises:
        SchemaTooNew: The database has a version that this program does not know.
        sqlite3.DatabaseError: The file is no database, or not dockgate's.
    """
    files = known()
    while _apply_next(connection, files):
        pass
    return len(files)


def _apply_next(connection: sqlite3.Connection, files: list[str]) -> bool:
    # The version is read behind the lock: another process may be starting, too.
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, len(files))
        if version == len(files):
            connection.execute("ROLLBACK")
            return False
        for statement in _statements(files[version]):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return True


def _version(connection: sqlite3.Connection, newest: int) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if owner != APPLICATION_ID and (version or tables):
        raise sqlite3.DatabaseError("it is the database of another program")
    if version > newest:
        raise SchemaTooNew(
            f"its schema has version {version}, but this program knows only {newest}; "
            "use the newer program that wrote it"
        )
    return int(version)


def _statements(sql: str) -> list[str]:
    """Split a file into statements; ``executescript`` would commit behind our back."""
    statements, current = [], ""
    for line in sql.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    if current.strip():
        raise AssertionError("a migration ends in the middle of a statement")
    return statements
