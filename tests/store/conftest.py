"""A real store in a file of its own, and what its commits told."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dockgate_server.model.command import CommandEvent
from dockgate_server.store.sqlite import SqliteStore


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "dockgate.db"


@pytest.fixture
def told() -> list[CommandEvent]:
    """The events that the store's commits have told so far."""
    return []


@pytest.fixture
async def store(database: Path, told: list[CommandEvent]) -> AsyncIterator[SqliteStore]:
    """An open store."""
    async with SqliteStore(database, told.extend) as store:
        yield store


@pytest.fixture
def raw(store: SqliteStore, database: Path) -> Iterator[sqlite3.Connection]:
    """The database behind the store's back."""
    connection = sqlite3.connect(database, isolation_level=None)
    yield connection
    connection.close()
