"""An audit log that records, and what it has recorded."""

import secrets
from pathlib import Path
from typing import Any

from dockgate_server.model.audit import Entry, Outcome
from dockgate_server.sealing import SealingKey
from dockgate_server.store.audit import Head
from dockgate_server.store.sqlite import SqliteStore, audit_file
from dockgate_server.store.sqlite.audit_file import Break, Filter, Numbered, Verified
from support.records import NOW

SEALING_KEY = SealingKey(secrets.token_bytes(32))


def an_entry(target: str = "", **changed: Any) -> Entry:
    """What a caller asked for."""
    values = {
        "at": NOW,
        "action": "cancel_command",
        "outcome": Outcome.DONE.value,
        "tenant": "default",
        "principal": "dk_1",
        "transport": "grpc",
        "peer": "192.0.2.7:4711",
        "target": target,
        **changed,
    }
    return Entry(**values)


async def recording(store: SqliteStore) -> SqliteStore:
    """The store, with its audit log unlocked."""
    await store.audit.unlock(SEALING_KEY)
    return store


def entries(database: Path, **which: Any) -> list[Numbered]:
    """What is recorded, oldest first."""
    return audit_file.listed(database, Filter(**which), 1_000_000)[::-1]


def verified(database: Path, known: Head | None = None) -> Verified:
    """What verifying finds."""
    return audit_file.verify(database, SEALING_KEY, known, lambda _: None)


def broken(database: Path, known: Head | None = None) -> Break:
    """Where the log is broken."""
    found = verified(database, known).found
    assert found is not None, "it is intact"
    return found
