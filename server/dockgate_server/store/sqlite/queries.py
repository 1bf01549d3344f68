"""The SQL of the .sql files, by name."""

import functools
import re
import sqlite3
from collections.abc import Sequence
from importlib import resources
from itertools import chain
from typing import Any

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_VALUES = re.compile(r"VALUES (\([^)]*\))")
_PARAMETER = re.compile(r":\w+")

AT_ONCE = (16, 4, 1)
"""How many rows a statement takes; few sizes, as SQLite keeps each statement prepared."""


def load(file: str) -> dict[str, str]:
    """The queries of one file under ``sql/``: everything behind a ``-- name:`` line."""
    text = resources.files(__package__).joinpath("sql", file).read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def run_for_all(
    db: sqlite3.Connection, query: str, rows: Sequence[tuple[Any, ...]]
) -> tuple[list[tuple[Any, ...]], int]:
    """Run a query with one row of VALUES for many: what it returns, and how many it changed.

    Each statement gives the interpreter to the event loop and has to get it back: that costs more
    than the statement, so there are to be few.

    Args:
        db: The database.
        query: Its VALUES name no parameter twice; there are no others in it.
        rows: The parameters in the order in which they stand there.
    """
    returned: list[tuple[Any, ...]] = []
    changed = done = 0
    for size in AT_ONCE:
        while len(rows) - done >= size:
            values = tuple(chain.from_iterable(rows[done : done + size]))
            cursor = db.execute(_for_rows(query, size), values)
            returned += cursor.fetchall()
            changed += cursor.rowcount
            done += size
    return returned, changed


@functools.lru_cache
def _for_rows(query: str, count: int) -> str:
    found = _VALUES.search(query)
    assert found is not None, f"no VALUES in {query}"
    row = _PARAMETER.sub("?", found[1])
    return query.replace(found[0], f"VALUES {', '.join([row] * count)}")


COMMANDS = load("commands.sql")
DEVICES = load("devices.sql")
ACCESS = load("access.sql")
LEDGER = load("ledger.sql")
RETENTION = load("retention.sql")
BACKUP = load("backup.sql")
EVENTS = load("events.sql")
REQUESTS = load("requests.sql")
SOURCES = load("sources.sql")
SECRETS = load("secrets.sql")
AUDIT = load("audit.sql")
