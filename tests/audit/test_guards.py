"""What keeps the database's log append-only is seen to at each start, and by verifying."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support import gateway
from support.audit import entries

from dockgate_server import sealing
from dockgate_server.store.sqlite import SqliteStore, audit_file, guards
from dockgate_server.store.sqlite.audit_file import Verified

NO_BROKER = "mqtt://127.0.0.1:1"
ALL = ("audit_anchor_only_rises", "audit_anchor_stays", "audit_is_not_changed")
LOSING = "CREATE TRIGGER {} BEFORE INSERT ON audit BEGIN SELECT RAISE(IGNORE); END"


def tampered(database: Path, *statements: str) -> None:
    """Somebody works on the database."""
    with closing(sqlite3.connect(database)) as db, db:
        for statement in statements:
            db.execute(statement)


def verified(database: Path) -> Verified:
    """What verifying finds."""
    key = sealing.read_key(Path(f"{database}.key"))
    assert key is not None
    return audit_file.verify(database, key, None, lambda _: None)


def recorded(database: Path) -> list[tuple[str, str]]:
    """What is recorded: action and target."""
    return [(one.entry.action, one.entry.target) for one in entries(database)]


async def started(folder: Path) -> list[Any]:
    """The gateway starts and stops; what it logs as errors."""
    with capture_logs() as lines:
        async with gateway.running(NO_BROKER, folder):
            pass
    return [line for line in lines if line["log_level"] == "error"]


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """A gateway has run on it."""
    assert await started(tmp_path) == []
    return tmp_path / "dockgate.db"


async def test_an_untouched_database_starts_without_a_word(database: Path) -> None:
    """As often as one likes."""
    assert await started(database.parent) == []
    assert recorded(database) == [("started", ""), ("stopped", "")] * 2
    found = verified(database)
    assert (found.unguarded, found.guarded_anew) == ((), ())


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["DROP TRIGGER audit_is_not_removed"], ["audit_is_not_removed is missing"]),
        (
            [f"DROP TRIGGER {name}" for name in (*ALL, "audit_is_not_removed")],
            [f"{name} is missing" for name in (*ALL, "audit_is_not_removed")],
        ),
        (
            [
                "DROP TRIGGER audit_is_not_changed",
                "CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT 1; END",
            ],
            ["audit_is_not_changed is changed"],
        ),
        ([LOSING.format('"a ""quiet"" one"')], ['a "quiet" one is added']),
        ([LOSING.format("loud").replace("ON audit", "ON AUDIT")], ["loud is added"]),
    ],
    ids=["dropped", "all dropped", "emptied", "added", "added in capitals"],
)
async def test_a_start_says_what_was_done_records_it_and_undoes_it(
    database: Path, statements: list[str], found: list[str]
) -> None:
    """The log, the audit log, and verifying, before the start and ever after."""
    tampered(database, *statements)
    assert verified(database).unguarded == tuple(found)

    (line,) = await started(database.parent)
    assert (line["event"], line["found"]) == ("audit_log_was_unguarded", ", ".join(found))
    assert recorded(database)[2:] == [
        ("guards_restored", ", ".join(found)),
        ("started", ""),
        ("stopped", ""),
    ]
    after = verified(database)
    assert (after.found, after.unguarded, after.guarded_anew) == (None, (), (3,))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        tampered(database, "DELETE FROM audit")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        tampered(database, "UPDATE audit SET principal = 'nobody'")

    assert await started(database.parent) == []


async def test_it_is_said_once_and_nowhere_else_mended(database: Path) -> None:
    """Whoever opens the store for something else leaves it to the gateway to tell."""
    tampered(database, "DROP TRIGGER audit_anchor_stays")
    async with SqliteStore(database) as store:
        key = sealing.read_key(Path(f"{database}.key"))
        assert key is not None
        await store.audit.unlock(key)
    assert verified(database).unguarded == ("audit_anchor_stays is missing",)
    with closing(sqlite3.connect(database)) as db:
        assert guards.put_back(db) == ("audit_anchor_stays is missing",)
        assert guards.put_back(db) == ()
