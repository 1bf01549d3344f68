"""What answers to devices are made from, on SQLite."""

import asyncio
import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence

from dockgate_server.model.command import Command
from dockgate_server.store.sources import Binding
from dockgate_server.store.sqlite import rows
from dockgate_server.store.sqlite.database import Database
from dockgate_server.store.sqlite.queries import SOURCES
from dockgate_server.store.sqlite.transaction import Transaction


class SqliteSources:
    """See :class:`~dockgate_server.store.sources.AnswerSources`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def bindings(self, device_ids: Collection[str]) -> Mapping[str, Binding]:
        """See :class:`~dockgate_server.store.sources.AnswerSources`."""
        found = await self._db.all(SOURCES["bindings"], {"ids": json.dumps([*device_ids])})
        return {row[0]: Binding(*row) for row in found}

    def bind(
        self, gateway_id: str, bindings: Sequence[Binding], at: int
    ) -> asyncio.Future[frozenset[str]]:
        """See :class:`~dockgate_server.store.sources.AnswerSources`."""

        def change(tx: Transaction) -> frozenset[str]:
            about = {"gateway_id": gateway_id, "at": at}
            values = [{**about, **dataclasses.asdict(one)} for one in bindings]
            found = (tx.db.execute(SOURCES["bind"], one).fetchone() for one in values)
            return frozenset(row[0] for row in found if row is not None)

        return self._db.submit(change)

    async def newest_command(
        self, asking_id: str, gateway_id: str, command_type: str, flight_id: str
    ) -> Command | None:
        """See :class:`~dockgate_server.store.sources.AnswerSources`."""
        query = SOURCES["newest_of_flight" if flight_id else "newest_of_gateway"]
        values = {
            "asking_id": asking_id,
            "gateway_id": gateway_id,
            "command_type": command_type,
            "flight_id": flight_id,
        }
        row = await self._db.one(query, values)
        return None if row is None else rows.command(row)
