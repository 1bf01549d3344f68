"""What a change works on: the database, and what it leaves there beside the change itself."""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from dockgate_server.clock import SystemClock
from dockgate_server.lines import MOST_FROM_DEVICES, Lines
from dockgate_server.model.command import Command, CommandEvent, EventKind
from dockgate_server.store.audit import Head
from dockgate_server.store.sqlite import rows
from dockgate_server.store.sqlite.queries import AUDIT, COMMANDS, run_for_all

KNOWN_LIMIT = 10_000
"""Open commands that the writer has at hand at most; beyond that all are read again."""

Known = dict[str, Command]
"""Open commands by id, as they were once: what never changes of them needs no reading."""


class Fact(NamedTuple):
    """What has been done to a command, for its event."""

    command: Command
    """As it is now."""
    kind: EventKind
    at: int
    note: str = ""
    reply: bytes | None = None


class Transaction:
    """A transaction of the writer.

    Events and audit entries are numbered at once and written together: a statement for each would
    cost more than they do. :meth:`write_down` is to be called before they are read, and at the end.

    Args:
        db: The database, in a transaction.
        known: What is kept from one transaction to the next; see :meth:`forget`.
        unmatched: How many lines the log has of replies that fit no command.
    """

    def __init__(
        self, db: sqlite3.Connection, known: Known | None = None, unmatched: Lines | None = None
    ) -> None:
        self.db = db
        self.unmatched = unmatched or Lines(MOST_FROM_DEVICES, SystemClock())
        self.events: list[CommandEvent] = []
        self.audit_head: Head | None = None
        """The newest entry of the audit log, once one has been appended."""
        self._known: Known = {} if known is None else known
        self._newest: dict[str, int] = {}
        self._events: list[tuple[Any, ...]] = []
        self._entries: list[tuple[Any, ...]] = []

    def next_number(self, table: str) -> int:
        """The number of a row that is going to be inserted; none is given twice.

        Nobody else writes before the transaction ends. SQLite takes note of the highest by itself.
        """
        newest = self._newest.get(table)
        if newest is None:
            row = self.db.execute(COMMANDS["newest_number"], (table,)).fetchone()
            newest = int(row[0]) if row else 0
        self._newest[table] = newest + 1
        return newest + 1

    def record(self, fact: Fact) -> CommandEvent:
        """Append the event of a change that has been made to a command."""
        command, kind, at, note, reply = fact
        seq = self.next_number("command_event")
        about = (seq, command.seq, command.revision, kind._value_, at)
        self._events.append((*about, rows.state(command), reply, note))
        event = CommandEvent(seq, kind, at, command, reply, note)
        self.events.append(event)
        return event

    def append_entry(self, entry: tuple[Any, ...]) -> None:
        """Append a row to the audit log."""
        self._entries.append(entry)

    def write_down(self) -> None:
        """Write the events and the audit entries."""
        if self._events:
            run_for_all(self.db, COMMANDS["insert_event"], self._events)
            self._events.clear()
        if self._entries:
            run_for_all(self.db, AUDIT["append"], self._entries)
            self._entries.clear()

    def forget(self) -> None:
        """The transaction has failed, and what it knows of commands may not be so."""
        self._known.clear()

    def remember(self, command: Command) -> None:
        """Have a command at hand for as long as it is open."""
        if command.status.is_end:
            self._known.pop(command.id, None)
            return
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        self._known[command.id] = command

    def known(self, ids: Sequence[str]) -> Known:
        """The commands of these ids, as they were once; those that there are."""
        found = {one: self._known[one] for one in ids if one in self._known}
        missing = [one for one in ids if one not in found]
        if missing:
            query = COMMANDS["get_commands_of_any_tenant"]
            for row in self.db.execute(query, (orjson.dumps(missing).decode(),)).fetchall():
                command = found[row[1]] = rows.command(row)
                self.remember(command)
        return found
