"""No entry of the audit log can be changed, taken out, put in or moved without being noticed."""

import asyncio
import hashlib
import hmac
import secrets
import sqlite3
from pathlib import Path

import pytest
from support.audit import SEALING_KEY, an_entry, broken, entries, recording, verified
from support.clock import ManualClock
from support.records import NOW

from dockgate_server.model.audit import Entry
from dockgate_server.sealing import Resealing, SealingKey, SealingProblem
from dockgate_server.store.audit import NO_MAC, Chain, Head
from dockgate_server.store.interface import Swept
from dockgate_server.store.sqlite import SqliteStore, audit, audit_file, backup
from dockgate_server.store.sqlite.audit_file import AuditProblem

DAY = 86_400_000
HALF_A_DAY = DAY // 2

Raw = sqlite3.Connection


def forged(seq: int) -> str:
    """Puts in an entry like the one before it."""
    columns = ", ".join((*Entry._fields, "mac"))
    return f"INSERT INTO audit SELECT {seq}, {columns} FROM audit WHERE seq = {seq - 1}"


async def ten(store: SqliteStore) -> None:
    """Ten entries, each its own."""
    for number in range(1, 11):
        await store.audit.record(an_entry(f"c{number}", at=NOW + number))


async def test_what_is_recorded_is_read_back_in_order(store: SqliteStore, database: Path) -> None:
    """Every field of it; two of the same millisecond are two."""
    full = an_entry(
        "c1",
        is_proven=False,
        request_id="r1",
        reason="FORBIDDEN",
        device_id="dröhne-1",
        method="takeoff_to_point",
        dangerous=True,
        digest=b"\x00\xff",
        calls=7,
        outcome="refused",
    )
    await store.audit.record(full, full)
    assert [(one.seq, one.entry) for one in entries(database)] == [(1, full), (2, full)]
    found = verified(database)
    assert (found.entries, found.found, found.head) == (2, None, await store.audit.head())


async def test_the_chain_is_what_the_documentation_says(store: SqliteStore, database: Path) -> None:
    """So that somebody else can verify it with other means."""
    await store.audit.record(an_entry("c1", digest=b"\x01", dangerous=True))
    key = secrets.token_bytes(32)
    line = f"7\n{NOW}\ncancel_command\ndone\ndefault\ndk_1\n1\ngrpc\n192.0.2.7:4711\n"
    line += "\n\nc1\n\n\n1\n01\n1"
    expected = hmac.digest(key, NO_MAC + line.encode(), hashlib.sha256)
    assert Chain(key).mac(NO_MAC, 7, entries(database)[0].entry) == expected


async def test_an_empty_log_is_intact(store: SqliteStore, database: Path) -> None:
    """Of a gateway that has just been installed."""
    assert verified(database).found is None
    assert verified(database).head == Head(0, NO_MAC)


@pytest.mark.parametrize(
    ("statements", "kind", "seq"),
    [
        (("UPDATE audit SET principal = 'dk_2' WHERE seq = 4",), "changed", 4),
        (("UPDATE audit SET at = at + 1 WHERE seq = 1",), "changed", 1),
        (("UPDATE audit SET dangerous = 1 WHERE seq = 5",), "changed", 5),
        (("UPDATE audit SET calls = 2 WHERE seq = 5",), "changed", 5),
        (("UPDATE audit SET device_id = target, target = device_id WHERE seq = 5",), "changed", 5),
        (("UPDATE audit SET peer = peer || char(10) || request_id WHERE seq = 5",), "changed", 5),
        (("UPDATE audit SET mac = zeroblob(32) WHERE seq = 4",), "unproven", 4),
        (("UPDATE audit SET principal = 'dk_2' WHERE seq = 10",), "unproven", 10),
        (("DELETE FROM audit WHERE seq = 4",), "missing", 4),
        (("DELETE FROM audit WHERE seq = 1",), "missing", 1),
        (("DELETE FROM audit WHERE seq BETWEEN 3 AND 8",), "missing", 3),
        (
            ("DELETE FROM audit WHERE seq = 4", "UPDATE audit SET seq = seq - 1 WHERE seq > 4"),
            "missing",
            4,
        ),
        (
            (
                "DELETE FROM audit WHERE seq BETWEEN 4 AND 6",
                "UPDATE audit SET seq = seq - 3 WHERE seq > 6",
            ),
            "missing",
            4,
        ),
        (
            (
                "UPDATE audit SET seq = -seq WHERE seq >= 4",
                "UPDATE audit SET seq = 1 - seq WHERE seq < 0",
                forged(4),
            ),
            "inserted",
            4,
        ),
        (
            (forged(11),),
            "unproven",
            11,
        ),
        (
            (
                "UPDATE audit SET seq = 0 WHERE seq = 4",
                "UPDATE audit SET seq = 4 WHERE seq = 5",
                "UPDATE audit SET seq = 5 WHERE seq = 0",
            ),
            "reordered",
            4,
        ),
        (
            (
                "UPDATE audit SET seq = 0 WHERE seq = 4",
                "UPDATE audit SET seq = 4 WHERE seq = 8",
                "UPDATE audit SET seq = 8 WHERE seq = 0",
            ),
            "reordered",
            4,
        ),
        (
            (
                "UPDATE audit_anchor SET seq = 4, mac = (SELECT mac FROM audit WHERE seq = 4)",
                "DELETE FROM audit WHERE seq <= 4",
            ),
            "anchor",
            4,
        ),
    ],
)
async def test_tampering_is_found_where_it_was_done(
    store: SqliteStore,
    database: Path,
    tampering: Raw,
    statements: tuple[str, ...],
    kind: str,
    seq: int,
) -> None:
    """Also by somebody who can write to the database as they like, but has not the key."""
    await ten(store)
    assert verified(database).found is None
    for statement in statements:
        tampering.execute(statement)
    found = broken(database)
    assert (found.kind, found.seq) == (kind, seq)
    assert str(seq) in found.message or kind == "anchor"
    if kind != "anchor":
        assert verified(database).entries == seq - 1


async def test_a_break_is_explained_by_what_stands_behind_it_in_the_next_batch(
    store: SqliteStore, database: Path, tampering: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read at once ends somewhere."""
    monkeypatch.setattr(audit_file, "BATCH", 4)
    await ten(store)
    tampering.execute("UPDATE audit SET principal = 'dk_2' WHERE seq = 4")
    assert broken(database).kind == "changed"
    assert verified(database).entries == 3


async def test_a_cut_off_end_shows_against_a_head_from_before(
    store: SqliteStore, database: Path, tampering: Raw
) -> None:
    """By itself the rest is whole."""
    await ten(store)
    head = await store.audit.head()
    tampering.execute("DELETE FROM audit WHERE seq > 7")
    assert verified(database).found is None
    found = broken(database, head)
    assert (found.kind, found.seq) == ("truncated", 8)
    assert found.message == "entries 8 to 10 are missing at the end"


async def test_an_end_that_was_cut_off_and_grew_again_is_another_one(
    store: SqliteStore, database: Path, tampering: Raw
) -> None:
    """The gateway itself goes on behind the cut."""
    await ten(store)
    head = await store.audit.head()
    tampering.execute("DELETE FROM audit WHERE seq > 7")
    await ten(store)
    found = broken(database, head)
    assert (found.kind, found.seq) == ("replaced", 10)


async def test_a_head_from_before_is_found_again(store: SqliteStore, database: Path) -> None:
    """Written down as it is printed."""
    await ten(store)
    head = Head.read(str(await store.audit.head()))
    await ten(store)
    found = verified(database, head)
    assert (found.found, found.head_was_checked, found.entries) == (None, True, 20)


async def test_the_log_cannot_be_changed_by_mistake(store: SqliteStore, raw: Raw) -> None:
    """The database itself says no."""
    await ten(store)
    for statement in (
        "UPDATE audit SET principal = 'dk_2'",
        "DELETE FROM audit WHERE seq = 10",
        "DELETE FROM audit",
        "DELETE FROM audit_anchor",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(statement)


async def test_another_sealing_key_is_told_apart_from_tampering(
    store: SqliteStore, database: Path
) -> None:
    """Nothing is wrong with the log then."""
    await ten(store)
    other = SealingKey(secrets.token_bytes(32))
    with pytest.raises(SealingProblem, match="not sealed with this sealing key"):
        audit_file.verify(database, other, None, lambda _: None)
    async with SqliteStore(database, exclusive=False) as again:
        with pytest.raises(SealingProblem):
            await again.audit.unlock(other)


async def test_the_chain_goes_on_under_a_new_sealing_key(
    store: SqliteStore, database: Path
) -> None:
    """Its own key stays, and is only sealed anew; the log says so."""
    await ten(store)
    new = SealingKey(secrets.token_bytes(32))
    await store.secrets.reseal(Resealing(SEALING_KEY, new), an_entry(action="resealed"))
    await ten(store)
    found = audit_file.verify(database, new, None, lambda _: None)
    assert (found.entries, found.found) == (21, None)
    assert entries(database)[10].entry.action == "resealed"


async def test_two_processes_write_one_chain(store: SqliteStore, database: Path) -> None:
    """`dockgate keys` beside a gateway at work: each goes on where the other was."""
    async with SqliteStore(database, exclusive=False) as other:
        await recording(other)
        for round_ in range(20):
            await asyncio.gather(
                *(one.audit.record(an_entry(f"{round_}")) for one in (store, other) * 3)
            )
    found = verified(database)
    assert (found.entries, found.found) == (120, None)


async def test_a_log_that_was_never_opened_records_nothing(tmp_path: Path) -> None:
    """A test, or a tool; but nothing goes unrecorded where there is a log."""
    database = tmp_path / "other.db"
    async with SqliteStore(database) as store:
        await store.audit.record(an_entry())
        assert entries(database) == []
        await recording(store)
        await store.audit.record(an_entry())
    async with SqliteStore(database) as store:
        with pytest.raises(AssertionError, match="without its audit key"):
            await store.audit.record(an_entry())
    assert len(entries(database)) == 1


async def test_odd_characters_come_in_harmless(store: SqliteStore, database: Path) -> None:
    """They could confuse a terminal, and which field ends where."""
    await store.audit.record(an_entry("a\nb\x1b[31m\ud800", principal="Jürgen"))
    assert entries(database)[0].entry.target == "a?b?[31m?"
    assert entries(database)[0].entry.principal == "Jürgen"
    assert verified(database).found is None


def test_what_is_no_audit_log_is_said_in_one_line(tmp_path: Path) -> None:
    """A file of something else, or of another version."""
    file = tmp_path / "x.db"
    file.write_bytes(b"x" * 5000)
    with pytest.raises(AuditProblem, match="cannot read the audit log"):
        audit_file.head(file)


# Retention.


async def swept(store: SqliteStore, cutoff: int) -> Swept:
    """A step of removing."""
    return await store.audit.remove_old(cutoff, NOW + DAY, 0)


async def test_old_entries_go_and_the_rest_is_still_whole(
    store: SqliteStore, database: Path
) -> None:
    """From the old end on; the chain begins where it was cut."""
    await ten(store)
    assert await swept(store, NOW + 5) == Swept(4, None)
    found = verified(database)
    assert (found.entries, found.found, found.removed_up_to) == (6, None, 4)
    assert [one.seq for one in entries(database)] == [5, 6, 7, 8, 9, 10]


async def test_a_log_of_which_all_is_gone_goes_on(store: SqliteStore, database: Path) -> None:
    """Numbers are not used again, and the next entry is chained to the last that was."""
    await ten(store)
    head = await store.audit.head()
    assert await swept(store, NOW + DAY) == Swept(10, None)
    assert await store.audit.head() == head
    assert verified(database, head).head_was_checked
    await ten(store)
    assert [one.seq for one in entries(database)] == [*range(11, 21)]
    assert verified(database).found is None


async def test_a_head_that_was_removed_proves_nothing(store: SqliteStore, database: Path) -> None:
    """And is not taken for a break."""
    await store.audit.record(an_entry())
    head = await store.audit.head()
    await ten(store)
    await swept(store, NOW + 5)
    found = verified(database, head)
    assert (found.found, found.head_was_checked) == (None, False)


async def test_many_go_in_steps(
    store: SqliteStore, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever submits has their turn between them."""
    monkeypatch.setattr(audit, "REMOVED_AT_ONCE", 4)
    await ten(store)
    steps = [await swept(store, NOW + DAY) for _ in range(3)]
    assert steps == [Swept(4, 4), Swept(4, 8), Swept(2, None)]
    assert verified(database).found is None


@pytest.mark.parametrize("ahead", [1, 3, 4, 9])
async def test_entries_from_the_future_hold_nothing_up(
    store: SqliteStore, database: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """A clock that was wrong for a while: they go with the old ones behind them, in steps."""
    monkeypatch.setattr(audit, "REMOVED_AT_ONCE", 4)
    future = [an_entry(at=NOW + 9 * DAY) for _ in range(ahead)]
    old = [an_entry(at=NOW + number) for number in range(5)]
    young = [an_entry(at=NOW + DAY)]
    for entry in (*future, *old, *young, *future):
        await store.audit.record(entry)
    removed, after = 0, 0
    while after is not None:
        step = await store.audit.remove_old(NOW + HALF_A_DAY, NOW + DAY, after)
        assert step.removed <= 4
        removed, after = removed + step.removed, step.position
    assert removed == ahead + 5
    assert len(entries(database)) == 1 + ahead
    assert verified(database).found is None


async def test_entries_from_the_future_stay_as_long_as_nothing_old_is_behind_them(
    store: SqliteStore, database: Path
) -> None:
    """They are perhaps quite new."""
    for at in (NOW, NOW + 9 * DAY, NOW + DAY, NOW):
        await store.audit.record(an_entry(at=at))
    swept = await store.audit.remove_old(NOW + HALF_A_DAY, NOW + DAY, 0)
    assert (swept, len(entries(database))) == (Swept(1, None), 3)


async def test_entries_that_are_removed_while_they_are_verified_are_not_missed(
    store: SqliteStore, database: Path, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway goes on while somebody verifies."""
    monkeypatch.setattr(audit_file, "BATCH", 2)
    await ten(store)
    chain = store.audit._chain
    assert chain is not None

    def meanwhile(share: float) -> None:
        if share < 0.5:
            audit.set_anchor(raw, chain, Head(7, entries(database)[6].mac))
            raw.execute("DELETE FROM audit WHERE seq <= 7")

    found = audit_file.verify(database, SEALING_KEY, None, meanwhile)
    assert (found.entries, found.found) == (2 + 3, None)


async def test_entries_from_before_the_log_begins_are_foreign(
    store: SqliteStore, database: Path, tampering: Raw
) -> None:
    """Nothing can have been left there."""
    await ten(store)
    (row,) = tampering.execute("SELECT * FROM audit WHERE seq = 2").fetchall()
    await swept(store, NOW + 5)
    tampering.execute(f"INSERT INTO audit VALUES ({', '.join('?' * len(row))})", row)
    assert (broken(database).kind, broken(database).seq) == ("inserted", 2)


# Backups.


async def test_a_backup_is_verified_as_the_database_is(
    store: SqliteStore, database: Path, tmp_path: Path
) -> None:
    """With the same sealing key; what came after it does not count there."""
    await ten(store)
    head = await store.audit.head()
    copy = tmp_path / "copy.db"
    backup.take(database, copy, ManualClock(NOW + DAY), lambda *_: None)
    await ten(store)
    found = verified(copy, head)
    assert (found.entries, found.found, found.head_was_checked) == (10, None, True)
    assert broken(copy, await store.audit.head()).kind == "truncated"


async def test_a_backup_knows_that_it_is_one_until_that_is_recorded(
    store: SqliteStore, database: Path, tmp_path: Path
) -> None:
    """Once."""
    copy = tmp_path / "copy.db"
    backup.take(database, copy, ManualClock(NOW + DAY), lambda *_: None)
    assert store.audit.restored_from is None
    async with SqliteStore(copy) as restored:
        await recording(restored)
        assert restored.audit.restored_from == NOW + DAY
        await restored.audit.restored(an_entry(action="restored"))
    async with SqliteStore(copy) as again:
        await recording(again)
        assert again.audit.restored_from is None
    assert [one.entry.action for one in entries(copy)] == ["restored"]
