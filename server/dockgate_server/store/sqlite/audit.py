"""The audit log in SQLite: entries are chained in the writer's transaction, in its order.

So an accepted command and its entry are one transaction, and never one without the other. Other
processes write to the chain as well (``dockgate keys``): where it goes on is read anew in each
transaction, which nobody else can be in meanwhile.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import TypeVar

from dockgate_server.model.audit import Entry
from dockgate_server.sealing import SealingKey, new_kept_key, open_kept_key
from dockgate_server.store.audit import LONGEST_TEXT, NO_MAC, Chain, Head, clean
from dockgate_server.store.interface import Swept
from dockgate_server.store.sqlite import guards
from dockgate_server.store.sqlite.database import Database
from dockgate_server.store.sqlite.queries import AUDIT
from dockgate_server.store.sqlite.transaction import Transaction

REMOVED_AT_ONCE = 500
"""Entries that one step of removing old ones removes."""

T = TypeVar("T")

PURPOSE = "audit key"
"""Under which the key of the chain is kept, sealed."""


class SqliteAudit:
    """See :class:`~dockgate_server.store.audit.AuditLog`.

    Records nothing until it is unlocked, in a database where it never was: for tests and tools.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._chain: Chain | None = None
        self.restored_from: int | None = None
        """When the backup was taken from which the database comes; None in any other."""

    async def unlock(self, sealing_key: SealingKey) -> None:
        """Open the key of the chain, or make it in a database that has none.

        Raises:
            SealingProblem: It was sealed with another sealing key.
            DockgateError: UNAVAILABLE.
        """
        self._chain = await self._db.submit(partial(_unlock, sealing_key=sealing_key))
        row = await self._db.one(AUDIT["anchor"], {})
        self.restored_from = row[3] if row else None

    def append(self, tx: Transaction, entry: Entry | None) -> None:
        """Append the entry of a change that is made in this transaction."""
        if entry is None:
            return
        if self._chain is None:
            if tx.db.execute(AUDIT["read_key"], {"purpose": PURPOSE}).fetchone() is not None:
                raise AssertionError("a change of an audited database without its audit key")
            return
        entry = clean(entry)
        seq, before = tx.audit_head or newest(tx.db)
        seq += 1
        mac = self._chain.mac(before, seq, entry)
        tx.append_entry((seq, *entry, mac))
        tx.audit_head = Head(seq, mac)

    def recorded(
        self, change: Callable[[Transaction], T], entry: Entry | None
    ) -> Callable[[Transaction], T]:
        """The change with its entry, in one transaction.

        Without it where it answers that it did nothing: False, None.
        """

        def both(tx: Transaction) -> T:
            result = change(tx)
            if result:
                self.append(tx, entry)
            return result

        return both

    def record(self, *entries: Entry) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.audit.AuditLog`."""

        def change(tx: Transaction) -> None:
            for entry in entries:
                self.append(tx, entry)

        return self._db.submit(change)

    async def guard(self, entry: Entry) -> Sequence[str]:
        """See :class:`~dockgate_server.store.audit.AuditLog`."""

        def change(tx: Transaction) -> Sequence[str]:
            # First of all: one that was added may make new entries vanish.
            if found := guards.put_back(tx.db):
                self.append(tx, entry._replace(target=", ".join(found)[:LONGEST_TEXT]))
            return found

        found: Sequence[str] = await self._db.submit(change)
        return found

    def restored(self, entry: Entry) -> asyncio.Future[None]:
        """Record that the database comes from a backup, once."""
        self.restored_from = None

        def change(tx: Transaction) -> None:
            tx.db.execute(AUDIT["forget_restoration"])
            self.append(tx, entry)

        return self._db.submit(change)

    async def head(self) -> Head:
        """See :class:`~dockgate_server.store.audit.AuditLog`."""
        (found,) = await self._db.read(lambda db: [newest(db)])
        return Head(*found)

    def remove_old(self, cutoff: int, now: int, after: int) -> asyncio.Future[Swept]:
        """See :class:`~dockgate_server.store.audit.AuditLog`.

        The walk ends at the first young entry: behind it the chain has to be whole. One from the
        future, by a clock that was wrong, goes with the first old one behind it.
        """
        step = partial(self._remove_old, cutoff=cutoff, now=now, after=after)
        return self._db.submit(step)

    def _remove_old(self, tx: Transaction, cutoff: int, now: int, after: int) -> Swept:
        if self._chain is None:
            return Swept(0, None)
        looked_at = {"cutoff": cutoff, "now": now, "after": after, "limit": REMOVED_AT_ONCE}
        found = tx.db.execute(AUDIT["next_in_order"], looked_at).fetchall()
        before_young = list(takewhile(lambda one: not one[2], found))
        ends = len(before_young) < REMOVED_AT_ONCE
        position = None if ends else found[-1][0]
        old = [seq for seq, is_old, _ in before_young if is_old]
        if not old:
            return Swept(0, position)
        up_to = {"up_to": old[-1], "limit": REMOVED_AT_ONCE}
        last = Head(*tx.db.execute(AUDIT["last_to_remove"], up_to).fetchone())
        set_anchor(tx.db, self._chain, last)
        removed = tx.db.execute(AUDIT["remove_up_to"], {"seq": last.seq}).rowcount
        # Many from the future may stand before the old one: they go in steps as well.
        return Swept(removed, position if last.seq == old[-1] else after)


def newest(db: sqlite3.Connection) -> Head:
    """Where the chain goes on."""
    row = db.execute(AUDIT["newest"]).fetchone()
    return Head(*(row or db.execute(AUDIT["anchor"]).fetchone()[:2]))


def open_chain(db: sqlite3.Connection, sealing_key: SealingKey) -> Chain | None:
    """The chain, by its key; None in a database that has none yet.

    The key is not derived from the sealing key, so that the chain goes on when that is replaced.

    Raises:
        SealingProblem: It was sealed with another sealing key, or was tampered with.
    """
    row = db.execute(AUDIT["read_key"], {"purpose": PURPOSE}).fetchone()
    return None if row is None else Chain(open_kept_key(sealing_key, PURPOSE, row[0]))


def set_anchor(db: sqlite3.Connection, chain: Chain, anchor: Head) -> None:
    """Let the chain begin behind an entry."""
    values = {"seq": anchor.seq, "mac": anchor.mac, "seal": chain.seal(anchor)}
    db.execute(AUDIT["set_anchor"], values)


def _unlock(tx: Transaction, sealing_key: SealingKey) -> Chain:
    chain = open_chain(tx.db, sealing_key)
    if chain is None:
        sealed = new_kept_key(sealing_key, PURPOSE)
        tx.db.execute(AUDIT["keep_key"], {"purpose": PURPOSE, "sealed": sealed})
        chain = Chain(open_kept_key(sealing_key, PURPOSE, sealed))
        set_anchor(tx.db, chain, Head(0, NO_MAC))
    return chain
