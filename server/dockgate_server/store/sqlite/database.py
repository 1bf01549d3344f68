"""The two ways to the database: a connection for reading, and the one writer."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

from dockgate_server import errors
from dockgate_server.store.sqlite.rows import Row
from dockgate_server.store.sqlite.together import Change
from dockgate_server.store.sqlite.transaction import Transaction
from dockgate_server.store.sqlite.trouble import Trouble
from dockgate_server.store.sqlite.writer import Connection, GroupWriter

T = TypeVar("T")

LARGEST_PAGE = 393_216
"""Bytes of JSON in the rows that are read at once. As a message these are up to seven times as
much, and clients take 4 MiB."""

Large = Callable[[Row], Iterable[bytes | None]]
"""Gives what may be large in a row."""


class Database:
    """What every part of the store works on.

    Args:
        reading: A connection that cannot write.
        writer: Makes all changes.
    """

    def __init__(self, reading: Connection, writer: GroupWriter) -> None:
        self._reading = reading
        self._writer = writer
        self._cannot_read = Trouble("read")

    def submit(
        self, change: Change, *, is_urgent: bool = True, overtakes: bool = False
    ) -> asyncio.Future[Any]:
        """Queue a change; see :class:`~dockgate_server.store.sqlite.writer.GroupWriter`."""
        return self._writer.submit(change, is_urgent=is_urgent, overtakes=overtakes)

    def execute(self, query: str, *values: dict[str, Any]) -> asyncio.Future[None]:
        """Queue a statement for each of the values, in one transaction."""

        def change(tx: Transaction) -> None:
            tx.db.executemany(query, values)

        return self._writer.submit(change)

    async def read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Read with a function of one's own.

        Raises:
            DockgateError: UNAVAILABLE, and what the function raises.
        """
        try:
            found = await self._reading.run(read)
        except sqlite3.Error as error:
            self._cannot_read.met(error)
            raise errors.unavailable("the store cannot be read") from error
        self._cannot_read.over()
        return found

    async def all(self, query: str, values: dict[str, Any]) -> list[Row]:
        """Every row of a query.

        Raises:
            DockgateError: UNAVAILABLE.
        """
        return await self.read(lambda db: db.execute(query, values).fetchall())

    async def page(
        self, query: str, values: dict[str, Any], limit: int, large: Large
    ) -> tuple[list[Row], bool]:
        """See :func:`page`.

        Raises:
            DockgateError: UNAVAILABLE.
        """
        read = partial(page, query=query, values=values, limit=limit, large=large)
        return await self.read(read)

    async def one(self, query: str, values: dict[str, Any]) -> Row | None:
        """The first row of a query, if there is one.

        Raises:
            DockgateError: UNAVAILABLE.
        """
        found = await self.all(query, values)
        return found[0] if found else None


def page(
    db: sqlite3.Connection, query: str, values: dict[str, Any], limit: int, large: Large
) -> tuple[list[Row], bool]:
    """The first rows of a query, and whether there are more.

    No more than the limit, and fewer where they are large; at least one where there is one.

    Args:
        db: The database.
        query: Has a parameter ``limit``.
        values: Its other parameters.
        limit: How many are wanted.
        large: What may be large in a row.
    """
    found: list[Row] = []
    size = 0
    with closing(db.execute(query, {**values, "limit": limit + 1})) as rows:
        for row in rows:
            size += sum(map(len, filter(None, large(row))))
            if found and (len(found) >= limit or size > LARGEST_PAGE):
                return found, True
            found.append(row)
    return found, False
