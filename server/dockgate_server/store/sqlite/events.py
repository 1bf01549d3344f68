"""The events of devices on SQLite."""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.event import DeviceEvent, NewEvent, Repetition
from dockgate_server.store.events import Recorded
from dockgate_server.store.interface import Swept
from dockgate_server.store.sqlite import changes
from dockgate_server.store.sqlite.database import Database, page
from dockgate_server.store.sqlite.queries import EVENTS
from dockgate_server.store.sqlite.rows import Row
from dockgate_server.store.sqlite.transaction import Transaction

KEPT = 1_000_000
"""Events that are kept unless somebody says otherwise."""

REMOVED_AT_ONCE = 500
"""Events that one step of removing looks at."""

_LARGE = itemgetter(slice(7, 8))  # the data, in what is behind a cursor


class SqliteEvents:
    """See :class:`~dockgate_server.store.events.DeviceEvents`.

    Args:
        db: The database.
        keep: How many events are kept at most.
    """

    def __init__(self, db: Database, keep: int = KEPT) -> None:
        self._db = db
        self._keep = keep

    def record(self, told: Sequence[NewEvent]) -> asyncio.Future[Recorded]:
        """See :class:`~dockgate_server.store.events.DeviceEvents`."""
        return self._db.submit(partial(_record, told=told, keep=self._keep))

    def answered(self, seqs: Sequence[int], at: int) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.events.DeviceEvents`."""
        return self._db.execute(EVENTS["answered"], {"seqs": json.dumps(seqs), "at": at})

    async def behind(self, after: int, limit: int) -> Sequence[DeviceEvent]:
        """See :class:`~dockgate_server.store.events.DeviceEvents`."""
        found = await self._db.read(partial(_behind, after=after, limit=limit))
        return [_event(*row) for row in found]

    async def newest_seq(self) -> int:
        """See :class:`~dockgate_server.store.events.DeviceEvents`."""
        row = await self._db.one(EVENTS["newest_seq"], {})
        return int(row[0]) if row else 0

    def remove_old(self, cutoff: int, now: int, after: int) -> asyncio.Future[Swept]:
        """See :class:`~dockgate_server.store.events.DeviceEvents`."""
        return self._db.submit(partial(_remove_old, cutoff=cutoff, now=now, after=after))


def _event(
    seq: int, tenant: str, gateway_id: str, method: str, tid: str, bid: str, asks: int, *rest: Any
) -> DeviceEvent:
    return DeviceEvent(seq, tenant, gateway_id, method, tid, bid, bool(asks), *rest)


def _record(tx: Transaction, told: Sequence[NewEvent], keep: int) -> Recorded:
    recorded: list[DeviceEvent | Repetition] = []
    newest = 0
    for new in told:
        if new.repeat_key is not None:
            row = tx.db.execute(EVENTS["find_repeated"], (new.repeat_key,)).fetchone()
            if row is not None:
                recorded.append(Repetition(*row))
                continue
        about = (new.gateway_id, new.method, new.tid, new.bid)
        what = (new.need_reply, new.data, new.received_at)
        row = tx.db.execute(EVENTS["insert"], (*about, *what, new.repeat_key)).fetchone()
        newest, tenant = row
        recorded.append(DeviceEvent(newest, tenant, *about, *what))
        for job in new.jobs:
            changes.record_job(tx, job)
    if newest > keep:
        _remove_surplus(tx, newest - keep, 2 * len(told))
    return tuple(recorded)


def _remove_surplus(tx: Transaction, up_to: int, limit: int) -> None:
    """Remove the oldest, a few more than have come: so a smaller limit is reached step by step."""
    found = tx.db.execute(EVENTS["surplus"], {"up_to": up_to, "limit": limit}).fetchall()
    _remove(tx, [seq for (seq,) in found])


def _remove_old(tx: Transaction, cutoff: int, now: int, after: int) -> Swept:
    looked_at = {"cutoff": cutoff, "now": now, "after": after, "limit": REMOVED_AT_ONCE}
    found = tx.db.execute(EVENTS["next_in_order"], looked_at).fetchall()
    old = [seq for seq, is_old, _ in found if is_old]
    _remove(tx, old)
    ends = len(found) < REMOVED_AT_ONCE or any(is_young for *_, is_young in found)
    return Swept(len(old), None if ends else found[-1][0])


def _remove(tx: Transaction, seqs: Sequence[int]) -> None:
    """Remove events, and let a watch from before the newest of them know that it missed some."""
    if seqs:
        tx.db.execute(EVENTS["raise_horizon"], {"removed": seqs[-1]})
        tx.db.execute(EVENTS["remove"], {"seqs": json.dumps(seqs)})


def _behind(db: sqlite3.Connection, after: int, limit: int) -> list[Row]:
    found, _ = page(db, EVENTS["behind"], {"after": after}, limit, _LARGE)
    # Read behind the events: as it only rises, what is whole by it now was whole then.
    (removed,) = db.execute(EVENTS["horizon"]).fetchone()
    if after < removed:
        raise DockgateError(
            Reason.CURSOR_EXPIRED,
            "events behind the cursor are no longer kept, or the gateway has been restored from a "
            "backup since; watch from now on",
        )
    return found
