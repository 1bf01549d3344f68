"""The open API under attack."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.open_api import OpenApiUnderTest, serving


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OpenApiUnderTest]:
    async with serving(tmp_path, body_seconds=0.3) as started:
        yield started


def stored(api: OpenApiUnderTest) -> dict[str, list[Any]]:
    """Everything that is in the store, by table, but for the audit log of refusals."""
    with closing(sqlite3.connect(api.store._path)) as database:
        tables = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            if not name.startswith(("sqlite_", "audit"))
        ]
        return {name: list(database.execute(f"SELECT * FROM {name}")) for name in tables}
