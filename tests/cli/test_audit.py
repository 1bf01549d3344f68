"""``dockgate audit``: what there is, and one line where something is wrong with it."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli.scripted import Run
from support.audit import an_entry
from support.clock import ManualClock

from dockgate_server import sealing
from dockgate_server.clock import SystemClock
from dockgate_server.store.sqlite import SqliteStore, backup

NOW = 1_776_859_200_000


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database of the configuration, with four entries."""
    path = tmp_path / "gateway" / "dockgate.db"
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(path))
    monkeypatch.setenv("TZ", "UTC")
    refused = {"outcome": "refused", "reason": "FORBIDDEN", "action": "submit_command"}

    async def fill() -> None:
        async with SqliteStore(path) as store:
            await store.audit.unlock(sealing.make_key(Path(f"{path}.key")))
            await store.audit.record(
                an_entry("c1", action="submit_command", outcome="accepted", digest=b"\x01"),
                an_entry("c1", device_id="drone-001", principal="dk_2"),
                an_entry(**refused, method="takeoff_to_point", dangerous=True, calls=12),
                an_entry(
                    **(refused | {"reason": "UNAUTHORIZED"}),
                    at=SystemClock().now_ms(),
                    is_proven=False,
                ),
            )

    asyncio.run(fill())
    return path


def tamper(path: Path, statement: str) -> None:
    """Change the log behind the gateway's back, and leave no other trace."""
    with closing(sqlite3.connect(path)) as db, db:
        triggers = db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit'"
        ).fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        db.execute(statement)
        for _, sql in triggers:
            db.execute(sql)


def listed(run: Run, *options: str) -> list[int]:
    """The numbers of the entries that are listed."""
    called = run("audit", "list", "--json", *options)
    assert called.code == 0, called.err
    return [json.loads(line)["seq"] for line in called.out.splitlines()]


def test_entries_are_listed_newest_first(run: Run, database: Path) -> None:
    """One a line, complete where a program or a file reads them."""
    called = run("audit", "list")
    assert called.code == 0
    head, *lines = called.out.splitlines()
    assert head.split() == [
        "SEQ",
        "TIME",
        "WHO",
        "FROM",
        "ACTION",
        "OUTCOME",
        "METHOD",
        "DEVICE",
        "ABOUT",
    ]
    assert [line.split()[0] for line in lines] == ["4", "3", "2", "1"]
    assert "dk_1 (unproven)" in lines[0]
    assert "FORBIDDEN ×12" in lines[1]
    assert "takeoff_to_point !" in lines[1]
    assert "grpc 192.0.2.7:4711" in lines[2]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [4, 3, 2, 1]),
        (("--limit", "2"), [4, 3]),
        (("--principal", "dk_2"), [2]),
        (("--device", "drone-001"), [2]),
        (("--action", "submit_command"), [4, 3, 1]),
        (("--reason", "forbidden"), [3]),
        (("--refused",), [4, 3]),
        (("--dangerous",), [3]),
        (("--since", "5m"), [4]),
        (("--since", "2026-04-22T11:59:59+00:00"), [4, 3, 2, 1]),
        (("--since", "2026-04-22T12:00:01+00:00"), [4]),
        (("--principal", "nobody"), []),
    ],
)
def test_entries_can_be_looked_for(
    run: Run, database: Path, options: tuple[str, ...], expected: list[int]
) -> None:
    """By who, which device, what, why and when; together they all must fit."""
    assert listed(run, *options) == expected


def test_a_document_has_what_is_set(run: Run, database: Path) -> None:
    """The digest and the MAC in hex."""
    document = json.loads(run("audit", "list", "--json").out.splitlines()[-1])
    assert len(document.pop("mac")) == 64
    assert document == {
        "seq": 1,
        "at": "2026-04-22T12:00:00.000Z",
        "action": "submit_command",
        "outcome": "accepted",
        "tenant": "default",
        "principal": "dk_1",
        "is_proven": True,
        "transport": "grpc",
        "peer": "192.0.2.7:4711",
        "target": "c1",
        "dangerous": False,
        "digest": "01",
        "calls": 1,
    }


def test_an_intact_log_is_said_to_be_so(run: Run, database: Path) -> None:
    """How many entries, from when to when, and the head."""
    called = run("audit", "verify")
    assert called.code == 0
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    words = rf"4 entries are intact, from {when} to {when}; head 4:[0-9a-f]{{64}}\n"
    assert re.fullmatch(words, called.out)
    document = json.loads(run("audit", "verify", "--json").out)
    assert document["intact"]
    assert document["entries"] == 4
    assert document["first_at"] == "2026-04-22T12:00:00.000Z"


def test_a_broken_log_is_a_failure_that_names_the_place(run: Run, database: Path) -> None:
    """For people and for programs."""
    tamper(database, "UPDATE audit SET principal = 'dk_3' WHERE seq = 2")
    called = run("audit", "verify")
    assert called.code == 1
    assert called.out.startswith("1 entries before the break are intact")
    assert called.err == "error: the audit log is broken: entry 2 was changed\n"
    called = run("audit", "verify", "--json")
    assert called.code == 1
    document = json.loads(called.out)
    assert (document["intact"], document["broken_at"], document["kind"]) == (False, 2, "changed")
    assert json.loads(called.err)["code"] == "AUDIT_BROKEN"


def test_an_empty_log_has_been_emptied(run: Run, database: Path) -> None:
    """Every start of the gateway writes an entry."""
    tamper(database, "DELETE FROM audit")
    called = run("audit", "verify")
    assert called.code == 1
    assert "it has no entries, though every start of the gateway writes one" in called.err
    assert json.loads(run("audit", "verify", "--json").out)["intact"] is False


def test_a_head_from_before_shows_what_was_cut_off(run: Run, database: Path) -> None:
    """It is printed to be kept elsewhere."""
    head = run("audit", "head").out.strip()
    assert json.loads(run("audit", "head", "--json").out)["head"] == head
    assert run("audit", "verify", "--head", head).code == 0
    tamper(database, "DELETE FROM audit WHERE seq = 4")
    assert run("audit", "verify").code == 0
    called = run("audit", "verify", "--head", head)
    assert called.code == 1
    assert "entry 4 is missing at the end" in called.err


def test_a_backup_can_be_read(run: Run, database: Path, tmp_path: Path) -> None:
    """Instead of the configured database, with its sealing key."""
    copy = tmp_path / "copy.db"
    backup.take(database, copy, ManualClock(NOW), lambda *_: None)
    tamper(database, "DELETE FROM audit WHERE seq = 2")
    assert run("audit", "verify").code == 1
    assert run("audit", "verify", "--database", str(copy)).code == 0
    assert listed(run, "--database", str(copy)) == [4, 3, 2, 1]


def test_a_wrong_or_missing_sealing_key_is_said_to_be_that(run: Run, database: Path) -> None:
    """Nothing is said about the log then."""
    key = Path(f"{database}.key")
    key.unlink()
    called = run("audit", "verify")
    assert (called.code, called.out) == (1, "")
    assert called.err.startswith(f"error: the sealing key {key} is missing; nothing can be")
    assert not key.exists()
    sealing.make_key(key)
    called = run("audit", "verify", "--json")
    assert (called.code, called.out) == (1, "")
    assert json.loads(called.err)["code"] == "WRONG_SEALING_KEY"


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "--head", "4"),
        ("verify", "--head", "4:zz"),
        ("verify", "--head", "-1:" + 64 * "0"),
        ("list", "--since", "yesterday"),
        ("list", "--since", "99999999999d"),
        ("list", "--limit", "0"),
    ],
)
def test_a_wrong_call_is_told_apart(run: Run, database: Path, arguments: tuple[str, ...]) -> None:
    """In one line."""
    called = run("audit", *arguments)
    assert (called.code, called.out) == (2, "")
    assert called.err.count("\n") == 1


@pytest.mark.parametrize("command", ["list", "verify", "head"])
def test_looking_makes_no_database(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Where the configuration points to the wrong place."""
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(tmp_path / "nowhere.db"))
    called = run("audit", command)
    assert called.code == 1
    assert "there is no" in called.err
    assert not any(tmp_path.iterdir())


def test_a_log_that_could_be_changed_is_said_to_be_that(run: Run, database: Path) -> None:
    """Although nothing in it was."""
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("DROP TRIGGER audit_is_not_changed")
    called = run("audit", "verify")
    assert called.code == 1
    assert called.out.startswith("4 entries are intact")
    assert called.err == (
        "error: the database would let entries be changed: audit_is_not_changed is missing; the "
        "gateway undoes that when it starts\n"
    )
    called = run("audit", "verify", "--json")
    document = json.loads(called.out)
    assert (document["intact"], document["unguarded"]) == (
        False,
        ["audit_is_not_changed is missing"],
    )
    assert json.loads(called.err)["code"] == "AUDIT_UNGUARDED"


def test_it_is_told_also_when_the_gateway_has_undone_it(run: Run, database: Path) -> None:
    """Its service may have been started again before anybody looked."""

    async def record() -> None:
        async with SqliteStore(database) as store:
            key = sealing.read_key(Path(f"{database}.key"))
            assert key is not None
            await store.audit.unlock(key)
            with closing(sqlite3.connect(database)) as db, db:
                db.execute("DROP TRIGGER audit_is_not_changed")
            await store.audit.guard(an_entry(action="guards_restored"))

    asyncio.run(record())
    called = run("audit", "verify")
    assert called.code == 0
    assert called.err == (
        "entry 5: somebody had made the database ready for changes of the log; the gateway undid "
        "that\n"
    )
    document = json.loads(run("audit", "verify", "--json").out)
    assert (document["intact"], document["guarded_anew_at"]) == (True, [5])


def test_any_number_of_entries_can_be_asked_for(run: Run, database: Path) -> None:
    """SQLite counts no further than 2^63."""
    called = run("audit", "list", "--limit", "9" * 20, "--json")
    assert (called.code, len(called.out.splitlines())) == (0, 4)
