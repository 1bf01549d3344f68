"""A store whose audit log records."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.audit import recording

from dockgate_server.store.sqlite import SqliteStore


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "dockgate.db"


@pytest.fixture
async def store(database: Path) -> AsyncIterator[SqliteStore]:
    """An open store."""
    async with SqliteStore(database) as store:
        yield await recording(store)


@pytest.fixture
def raw(store: SqliteStore, database: Path) -> Iterator[sqlite3.Connection]:
    """The database behind the store's back."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        yield connection


@pytest.fixture
def tampering(raw: sqlite3.Connection) -> sqlite3.Connection:
    """The same, for somebody who knows what to take out of the way."""
    for (name,) in raw.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'audit%'"
    ).fetchall():
        raw.execute(f"DROP TRIGGER {name}")
    return raw
