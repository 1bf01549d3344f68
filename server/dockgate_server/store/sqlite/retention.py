"""Removing old commands with their events, and telling a watch that it comes too late for them.

Commands and the horizon of the events change in one transaction, so that a watch either reads
every event behind its cursor or is told that it cannot. A command with very many events loses the
oldest of them first, in steps; who watches it is told the same then.
"""

import json
import sqlite3
from typing import Any

from dockgate_server.errors import DockgateError, Reason
from dockgate_server.store.interface import Swept
from dockgate_server.store.sqlite import rows
from dockgate_server.store.sqlite.database import page
from dockgate_server.store.sqlite.queries import COMMANDS, RETENTION
from dockgate_server.store.sqlite.transaction import Transaction

COMMANDS_LOOKED_AT = 250
"""Commands that one step looks at."""

ROWS_REMOVED = 500
"""Commands and events that one step removes, or one more. Whoever submits meanwhile waits for the
step: measured, 4 ms on a disk that is not slow."""


def remove_old(tx: Transaction, cutoff: int, now: int, after: int) -> Swept:
    """One step of :meth:`~dockgate_server.store.interface.Store.remove_old`."""
    looked_at = {"cutoff": cutoff, "now": now, "after": after, "limit": COMMANDS_LOOKED_AT}
    old: list[int] = []
    room, position, young = ROWS_REMOVED, after, False
    found = tx.db.execute(RETENTION["next_in_order"], looked_at).fetchall()
    for seq, events, is_old, is_young in found:
        if is_old:
            if not old and events >= ROWS_REMOVED and _shorten(tx, seq):
                return Swept(0, seq - 1)  # it goes with one of the next steps
            room -= 1 + events
            if room < 0 and old:
                break  # the next step takes it
            old.append(seq)
        position = seq
        young = young or bool(is_young)
    if old:
        removed = {"commands": json.dumps(old)}
        (newest,) = tx.db.execute(RETENTION["newest_event_of"], removed).fetchone()
        tx.db.execute(RETENTION["raise_horizon"], {"removed": newest})
        for query in ("remove_events", "remove_commands"):
            tx.db.execute(RETENTION[query], removed)
    more = position > after and (bool(old) or not young)
    return Swept(len(old), position if more else None)


def _shorten(tx: Transaction, command: int) -> bool:
    """Remove the oldest events of a command that has more than a step removes; whether it had."""
    asked = {"command": command, "limit": ROWS_REMOVED + 1}
    events = [seq for (seq,) in tx.db.execute(RETENTION["events_of"], asked)]
    if len(events) <= ROWS_REMOVED:
        return False
    events.pop()
    tx.db.execute(RETENTION["raise_horizon"], {"removed": events[-1]})
    tx.db.execute(RETENTION["remove_some_events"], {"events": json.dumps(events)})
    return True


def events_of_command(db: sqlite3.Connection, values: dict[str, Any], limit: int) -> list[rows.Row]:
    """Rows of events of a command behind a revision.

    Raises:
        DockgateError: CURSOR_EXPIRED, when some of them have been removed.
    """
    found, _ = page(db, COMMANDS["events_of_command"], values, limit, rows.large_of_event)
    if found and rows.revision(found[0]) != values["after"] + 1:
        raise DockgateError(
            Reason.CURSOR_EXPIRED,
            "events behind the revision are no longer kept, as the command is being removed as "
            "old; ask for the command",
        )
    return found


def events_behind(db: sqlite3.Connection, after: int, limit: int) -> list[rows.Row]:
    """Rows of events of all commands behind a cursor.

    Raises:
        DockgateError: CURSOR_EXPIRED, when some of them have been removed.
    """
    found, _ = page(
        db, COMMANDS["events_of_all_commands"], {"after": after}, limit, rows.large_of_event
    )
    # Read behind the events: as it only rises, what is whole by it now was whole then.
    (removed,) = db.execute(RETENTION["horizon"]).fetchone()
    if after < removed:
        raise DockgateError(
            Reason.CURSOR_EXPIRED,
            "events behind the resume_token are no longer kept, or the gateway has been restored "
            "from a backup since; list the commands and watch from now on",
        )
    return found
