"""Reading and verifying the audit log in a database file: one that is in use, or a backup."""

import contextlib
import hmac
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dockgate_server.model.audit import Action, Entry
from dockgate_server.sealing import SealingKey
from dockgate_server.store.audit import NO_MAC, Chain, Head
from dockgate_server.store.sqlite import audit, guards, migrations
from dockgate_server.store.sqlite.queries import AUDIT

BATCH = 5000
"""Entries read at once: nobody's checkpoint waits for the whole of a long log."""

LOOKED_AROUND = 100
"""Entries behind a break that are looked at to say what has happened."""

OnProgress = Callable[[float], None]
"""Is told what share has been verified."""


class AuditProblem(Exception):
    """The audit log cannot be read; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """An entry and its place."""

    seq: int
    entry: Entry
    mac: bytes


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are listed; what is empty admits all."""

    principal: str = ""
    device_id: str = ""
    action: str = ""
    reason: str = ""
    outcome: str = ""
    dangerous: bool = False
    since: int = 0


@dataclass(frozen=True, slots=True)
class Break:
    """Where the chain is broken, and how."""

    seq: int
    kind: str
    """changed, missing, inserted, reordered, unproven, truncated, replaced or anchor."""
    message: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What verifying has found."""

    entries: int
    """How many were verified, up to the break if there is one."""
    head: Head
    first_at: int | None
    last_at: int | None
    removed_up_to: int
    """The last entry that was removed because it was old; 0 when none was."""
    head_was_checked: bool
    """Whether the head that was given is of an entry that is still kept."""
    found: Break | None
    unguarded: tuple[str, ...]
    """Why the database would let entries be changed: what is not as it was made."""
    guarded_anew: tuple[int, ...]
    """The entries which say that this was so when the gateway started."""


def listed(file: Path, which: Filter, limit: int) -> list[Numbered]:
    """Entries, newest first.

    Raises:
        AuditProblem: They cannot be read.
    """
    values = {name: getattr(which, name) for name in which.__slots__}
    with _opened(file) as db:
        return [_numbered(row) for row in db.execute(AUDIT["list"], values | {"limit": limit})]


def head(file: Path) -> Head:
    """The newest entry's number and MAC.

    Raises:
        AuditProblem: It cannot be read.
    """
    with _opened(file) as db:
        return audit.newest(db)


def verify(
    file: Path, sealing_key: SealingKey, known: Head | None, on_progress: OnProgress
) -> Verified:
    """Walk the chain to its end, or to where it is broken first.

    Args:
        file: The database.
        sealing_key: The key that keeps the key of the chain.
        known: A head that was noted down before.
        on_progress: Is told how far it is.

    Raises:
        AuditProblem: It cannot be read.
        SealingProblem: The sealing key is not the right one.
    """
    with _opened(file) as db:
        chain = audit.open_chain(db, sealing_key)
        if chain is None:
            return _never_used(db, known)
        return _Walk(db, chain, known, on_progress).whole()


class _Broken(Exception):
    def __init__(self, seq: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.what = Break(seq, kind, message)


class _Walk:
    """One walk along the chain."""

    def __init__(
        self, db: sqlite3.Connection, chain: Chain, known: Head | None, on_progress: OnProgress
    ) -> None:
        self._db = db
        self._chain = chain
        self._known = known
        self._known_was_met = False
        self._on_progress = on_progress
        self._entries = 0
        self._guarded_anew: list[int] = []
        self._times: list[int] = []  # of the first and the last entry
        self._at = Head(0, NO_MAC)

    def whole(self) -> Verified:
        """Walk."""
        found, removed = None, 0
        try:
            self._pass(self._anchor())
            removed = self._at.seq
            while rows := self._next():
                for place, row in enumerate(rows):
                    self._step(row, rows, place)
                self._on_progress(self._at.seq / self._newest)
            self._end()
        except _Broken as broken:
            found = broken.what
        first_at, last_at = (self._times[0], self._times[-1]) if self._times else (None, None)
        checked = self._known is None or self._known_was_met
        return Verified(
            self._entries,
            self._at,
            first_at,
            last_at,
            removed,
            checked,
            found,
            guards.differences(self._db),
            tuple(self._guarded_anew),
        )

    def _anchor(self) -> Head:
        """Behind which entry the log begins."""
        seq, anchor_mac, seal, _ = self._db.execute(AUDIT["anchor"]).fetchone()
        anchor = Head(seq, anchor_mac)
        if not hmac.compare_digest(seal, self._chain.seal(anchor)):
            raise _Broken(seq, "anchor", "where the log begins was not written by the gateway")
        (left,) = self._db.execute(AUDIT["before_anchor"]).fetchone()
        if left is not None:
            raise _Broken(left, "inserted", f"entry {left} stands before the log begins")
        return anchor

    def _next(self) -> list[Numbered]:
        """The next entries, behind what has been removed as old in the meantime."""
        self._db.execute("BEGIN")
        try:
            if (anchor := self._anchor()).seq > self._at.seq:
                self._pass(anchor)
            self._newest = audit.newest(self._db).seq
            values = {"after": self._at.seq, "limit": BATCH}
            return [_numbered(row) for row in self._db.execute(AUDIT["behind"], values)]
        finally:
            self._db.execute("COMMIT")

    def _step(self, row: Numbered, rows: Sequence[Numbered], place: int) -> None:
        seq = self._at.seq + 1
        if row.seq != seq:
            raise _Broken(seq, "missing", f"{_which(seq, row.seq - 1)} missing")
        if not self._fits(self._at.mac, seq, row):
            raise self._explained(self._behind(rows, place))
        self._pass(Head(seq, row.mac))
        self._entries += 1
        self._times[1:] = [row.entry.at]
        if row.entry.action == Action.GUARDS_RESTORED.value:
            self._guarded_anew.append(seq)

    def _pass(self, head: Head) -> None:
        self._at = head
        if self._known is not None and self._known.seq == head.seq:
            self._known_was_met = True
            if self._known.mac != head.mac:
                what = "is not the one that was there when the head was noted down"
                raise _Broken(head.seq, "replaced", f"entry {head.seq} {what}")

    def _end(self) -> None:
        if self._known is not None and self._known.seq > self._at.seq:
            first, last = self._at.seq + 1, self._known.seq
            raise _Broken(first, "truncated", f"{_which(first, last)} missing at the end")

    def _behind(self, rows: Sequence[Numbered], place: int) -> list[Numbered]:
        """The broken entry and those behind it."""
        around = list(rows[place : place + LOOKED_AROUND])
        values = {"after": around[-1].seq, "limit": LOOKED_AROUND - len(around)}
        return around + [_numbered(row) for row in self._db.execute(AUDIT["behind"], values)]

    def _explained(self, rows: Sequence[Numbered]) -> _Broken:
        """What has been done to the first of them, as far as the others show it.

        Each still has the MAC with which it was written, unless that was changed as well.
        """
        seq, first, others = rows[0].seq, rows[0], rows[1:]
        for distance, row in enumerate(others, start=1):
            if not self._fits(self._at.mac, seq, row):
                continue
            if self._fits(row.mac, seq + 1, first if distance == 1 else others[0]):
                return _Broken(seq, "reordered", f"entry {seq} stands at {row.seq}")
            many = "an entry was" if distance == 1 else f"{distance} entries were"
            return _Broken(seq, "inserted", f"{many} put in at {seq}")
        for missing in range(LOOKED_AROUND if others else 0):
            if not self._fits(first.mac, seq + 1 + missing, others[0]):
                continue
            if not missing:
                return _Broken(seq, "changed", f"entry {seq} was changed")
            many = "an entry was" if missing == 1 else f"{missing} entries were"
            what = f"{many} taken out at {seq}, and those behind renumbered"
            return _Broken(seq, "missing", what)
        what = f"entry {seq} was changed, or was not written by the gateway"
        return _Broken(seq, "unproven", what)

    def _fits(self, before: bytes, seq: int, row: Numbered) -> bool:
        return hmac.compare_digest(self._chain.mac(before, seq, row.entry), row.mac)


def _which(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"


def _never_used(db: sqlite3.Connection, known: Head | None) -> Verified:
    """A database that no gateway with an audit log has worked on."""
    at = audit.newest(db)
    found = None
    if at.seq:
        found = Break(1, "unproven", "there are entries, but the key of the log is gone")
    elif known is not None and known.seq:
        found = Break(1, "truncated", "the log is empty; the head knows of entries")
    unguarded = guards.differences(db)
    return Verified(0, at, None, None, 0, known is None, found, unguarded, ())


def _numbered(row: tuple[Any, ...]) -> Numbered:
    return Numbered(row[0], Entry(*row[1:-1]), row[-1])


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """The database, for reading only; nothing is made where there is none.

    Raises:
        AuditProblem: It cannot be read.
    """
    try:
        uri = f"{file.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            known = len(migrations.known())
            if version != known:
                raise AuditProblem(
                    f"{file}: its schema has version {version} and this program's has {known}; "
                    "use the program that works on it"
                )
            yield db
    except sqlite3.Error as error:
        raise AuditProblem(f"cannot read the audit log in {file}: {error}") from error
