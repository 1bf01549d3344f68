"""A backup is whole, taken while the gateway works; a gateway started on it sends nothing again."""

import asyncio
import contextlib
import errno
import shutil
import sqlite3
import stat
import time
from pathlib import Path

import pytest
from support.clock import ManualClock
from support.records import (
    CHARGE_OPEN,
    NOW,
    a_reply,
    an_accept,
    begin_sending,
    in_status,
    ledger,
)
from support.rig import starting

from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.command import (
    CommandEvent,
    EventKind,
    FailureCode,
    OfflinePolicy,
    Status,
)
from dockgate_server.model.device import Presence, Topology, Whereabouts
from dockgate_server.model.transitions import RecordReply, TakeBack
from dockgate_server.store.sqlite import SqliteStore, backup, migrations, rows
from dockgate_server.store.sqlite.backup import Backup, BackupProblem, take

TAKEN = NOW + 10_000


def nothing(doing: str, share: float | None) -> None:
    """Nobody looks at how far it is."""


def taken(source: Path, target: Path, on_progress: backup.OnProgress = nothing) -> Backup:
    """A backup, ten seconds after the commands were accepted."""
    return take(source, target, ManualClock(TAKEN), on_progress)


def why_not(source: Path, target: Path) -> str:
    """Why there is no backup; nor is there a trace of it."""
    before = set(target.parent.iterdir()) if target.parent.is_dir() else set()
    with pytest.raises(BackupProblem) as refused:
        taken(source, target)
    assert not target.parent.is_dir() or set(target.parent.iterdir()) - before <= companions(source)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(f"cannot back up {source} to {target}: ")
    return message.removeprefix(f"cannot back up {source} to {target}: ")


def companions(database: Path) -> set[Path]:
    """The files that SQLite keeps beside a database that is open."""
    return {Path(f"{database}{suffix}") for suffix in ("-wal", "-shm")}


def size_and_mode(file: Path) -> tuple[int, int]:
    """Of a file."""
    return file.stat().st_size, stat.S_IMODE(file.stat().st_mode)


def contents(folder: Path) -> dict[str, bytes]:
    """What is in a folder's files, by their names."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


@pytest.fixture
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a small database take many looks."""
    monkeypatch.setattr(backup, "TICK", 50)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Where the backup goes: a folder in which there is nothing else."""
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "monday.db"


async def test_a_backup_holds_what_there_was(
    store: SqliteStore, database: Path, copy: Path
) -> None:
    """Taken while the store is open; only we can read it, and there is nothing beside it."""
    command = await in_status(store, Status.SUCCEEDED)
    events = await store.events_of_command("default", command.id, 0, 10)
    await store.apply(RecordReply(a_reply("nobody")))
    made = taken(database, copy)
    size, mode = size_and_mode(copy)
    assert made == Backup(copy, size, TAKEN, commands=1, open_commands=0)
    assert mode == 0o600
    assert contents(copy.parent).keys() == {copy.name}
    async with SqliteStore(copy) as restored:
        assert await restored.get_command("default", command.id) == command
        assert await restored.events_of_command("default", command.id, 0, 10) == events
        assert len(await ledger(restored)) == 1


async def test_a_backup_taken_under_load_is_whole(
    store: SqliteStore, database: Path, copy: Path
) -> None:
    """Everything from before it began is there, and each life without a gap."""
    before = [store.accept(an_accept(sending=number % 2 == 0)) for number in range(2000)]
    known = {(await accepted).command.id for accepted in before}

    async def load() -> None:
        while True:
            new = an_accept(sending=True)
            store.accept(new)
            await store.apply(RecordReply(a_reply(new.id)))

    loads = [asyncio.create_task(load()) for _ in range(8)]
    made = await asyncio.to_thread(taken, database, copy)
    for one in loads:
        one.cancel()
    await asyncio.wait(loads)
    assert made.open_commands >= len(known)

    with contextlib.closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        there = {row[0] for row in db.execute("SELECT id FROM command")}
        gaps = db.execute(
            "SELECT count(*) FROM command AS c WHERE c.revision <>"
            " (SELECT count(*) FROM command_event AS e WHERE e.command_seq = c.seq)"
        ).fetchone()
    assert known <= there
    assert made.commands == len(there)
    assert gaps == (0,)


async def big_ones(store: SqliteStore) -> None:
    """So many that the copy grows while it is made."""
    for _ in range(300):
        accepting = store.accept(an_accept(data=b'"' + b"x" * 10_000 + b'"'))
    await accepting


async def test_writing_goes_on_while_a_backup_is_taken(
    store: SqliteStore, database: Path, copy: Path, look_often: None
) -> None:
    """What comes after it began is not in it."""
    await big_ones(store)
    loop = asyncio.get_running_loop()
    late: list[str] = []

    async def accept() -> str:
        return (await store.accept(an_accept())).command.id

    def in_the_middle(doing: str, share: float | None) -> None:
        if not late:
            late.append(asyncio.run_coroutine_threadsafe(accept(), loop).result(10))

    made = await asyncio.to_thread(taken, database, copy, in_the_middle)
    assert made.commands == 300
    assert await store.get_command("default", late[0]) is not None


async def left_open(store: SqliteStore) -> dict[str, str]:
    """Open commands in every state of knowledge."""
    repeatable = {"command_type": CHARGE_OPEN}
    taken_back = (await store.accept(an_accept(sending=True))).command.id
    await store.apply(TakeBack((taken_back,), "nobody listens", NOW + 1))
    begun = (await store.accept(an_accept())).command.id
    await begin_sending(store, begun)
    accepts = {
        "unsent": an_accept(),
        "unsent, waits for its dock": an_accept(offline_policy=OfflinePolicy.QUEUE),
        "unsent, safe": an_accept(**repeatable),
        "perhaps sent": an_accept(sending=True),
        "perhaps sent, safe, the last one": an_accept(sending=True, **repeatable),
    }
    delivered = (await in_status(store, Status.DELIVERED)).id
    ids = {what: (await store.accept(new)).command.id for what, new in accepts.items()}
    return ids | {"begun": begun, "taken back": taken_back, "delivered": delivered}


async def test_a_gateway_on_a_backup_sends_nothing_of_what_was_open(
    store: SqliteStore, database: Path, copy: Path
) -> None:
    """Not even what is safe to repeat: it does not know what was sent behind it."""
    ids = await left_open(store)
    made = taken(database, copy)
    assert made.open_commands == len(ids)
    async with starting(copy, clock=ManualClock(TAKEN)) as rig:
        await rig.settle()
        assert rig.sent() == []
        new = await rig.accept()
        await rig.bridge.wait_published(1)
        for what, command_id in ids.items():
            command = await rig.now(command_id)
            assert command.status is Status.TIMED_OUT, what
            assert command.failure_code is FailureCode.OUTCOME_UNKNOWN, what
            assert "backup" in (command.failure_reason or "")
            assert command.completed_at == TAKEN
            (event,) = await rig.store.events_of_command(
                "default", command_id, command.revision - 1, 10
            )
            assert (event.kind, event.command) == (EventKind.EXPIRED, command)
            assert "backup" in event.note
        rig.clock.advance(3600)
        await rig.settle()
        assert rig.sent() == [new]


async def test_the_original_is_left_as_it_is(
    store: SqliteStore, database: Path, copy: Path, told: list[CommandEvent]
) -> None:
    """Its open commands go on."""
    ids = await left_open(store)
    events = list(told)
    taken(database, copy)
    assert await store.events_of_all_commands(0, 1000) == events
    for command_id in ids.values():
        command = await store.get_command("default", command_id)
        assert command is not None
        assert not command.status.is_end


async def test_an_answer_that_comes_after_the_restoration_is_recorded(
    store: SqliteStore, database: Path, copy: Path
) -> None:
    """On the command, whose end it does not change."""
    command = await in_status(store, Status.DELIVERED)
    taken(database, copy)
    async with SqliteStore(copy) as restored:
        await restored.apply(RecordReply(a_reply(command.id)))
        now = await restored.get_command("default", command.id)
        assert now is not None
        assert (now.status, now.response_code) == (Status.TIMED_OUT, "0")


async def test_the_key_of_an_open_command_still_holds(
    store: SqliteStore, database: Path, copy: Path
) -> None:
    """Repeating the submission does not send it either."""
    accepted = await store.accept(an_accept("k"))
    taken(database, copy)
    async with SqliteStore(copy) as restored:
        again = await restored.accept(an_accept("k"))
        assert again.replayed
        assert again.command.id == accepted.command.id


@pytest.mark.parametrize("commands", [0, 3])
async def test_numbers_and_cursors_of_before_do_not_fit_the_copy(
    store: SqliteStore, database: Path, copy: Path, commands: int
) -> None:
    """Those that the original gives out after the backup name nothing else in the copy."""
    for _ in range(commands):
        await in_status(store, Status.SUCCEEDED)
    taken(database, copy)
    told: list[CommandEvent] = []
    async with SqliteStore(copy, told.extend) as restored:
        start = await restored.newest_event_seq()
        assert start >= backup.SKIPPED_NUMBERS["command_event"]
        for cursor in (0, await store.newest_event_seq(), start - 1):
            with pytest.raises(DockgateError) as refused:
                await restored.events_of_all_commands(cursor, 10)
            assert refused.value.reason is Reason.CURSOR_EXPIRED
        new = await restored.accept(an_accept())
        assert await restored.events_of_all_commands(start, 10) == told
        assert told[0].seq == start + 1
        assert new.command.seq == backup.SKIPPED_NUMBERS["command"] + commands + 1


async def test_the_ledger_goes_on_where_it_was(
    store: SqliteStore, database: Path, copy: Path
) -> None:
    """Its numbers are its count, and say what is old in it."""
    await store.apply(RecordReply(a_reply("nobody")))
    taken(database, copy)
    async with SqliteStore(copy) as restored:
        await restored.apply(RecordReply(a_reply("nobody")))
        page = await restored.list_unmatched("default", "", None, 10)
        assert (len(page.replies), page.recorded) == (2, 2)


async def test_who_was_away_is_not_known_to_be_away_in_the_copy(
    store: SqliteStore, database: Path, copy: Path
) -> None:
    """Else a command would fail for a dock that has come back since."""
    await store.devices.save_topology("default", Topology("dock-001", "3-2-0", (), NOW))
    await store.devices.note_whereabouts([Whereabouts("dock-001", Presence.OFFLINE, NOW)])
    taken(database, copy)
    async with SqliteStore(copy) as restored:
        assert list(await restored.devices.whereabouts()) == [
            Whereabouts("dock-001", Presence.UNKNOWN, NOW)
        ]


def test_it_is_decided_for_every_table_whether_numbers_are_left_out(tmp_path: Path) -> None:
    """Numbers by which watches go on must be; add a new table to SKIPPED_NUMBERS, or here."""
    with contextlib.closing(sqlite3.connect(tmp_path / "d.db", isolation_level=None)) as db:
        migrations.migrate(db)
        numbered = db.execute("SELECT name FROM sqlite_schema WHERE sql LIKE '%AUTOINCREMENT%'")
        others = {"unmatched_response", "device_request"}
        assert {name for (name,) in numbered} == {*backup.SKIPPED_NUMBERS, *others}


async def test_a_backup_of_a_backup_can_be_restored(
    store: SqliteStore, database: Path, copy: Path
) -> None:
    """Numbers are left out again."""
    await in_status(store, Status.DELIVERED)
    taken(database, copy)
    second = copy.with_name("tuesday.db")
    assert taken(copy, second).open_commands == 0
    async with SqliteStore(copy) as first, SqliteStore(second) as restored:
        assert await restored.newest_event_seq() > await first.newest_event_seq()


async def test_a_backup_without_a_gateway(database: Path, copy: Path) -> None:
    """Stopped, or killed, so that the newest commands are only in the log beside the database."""
    killed = database.with_name("killed.db")
    async with SqliteStore(database) as store:
        await in_status(store, Status.SUCCEEDED)
        for suffix in ("", "-wal"):
            shutil.copy(f"{database}{suffix}", f"{killed}{suffix}")
    assert taken(database, copy).commands == 1
    assert taken(killed, copy.with_name("killed.db")).commands == 1


def test_an_existing_file_is_never_overwritten(database: Path, copy: Path) -> None:
    """Not even the database itself, or a link that leads nowhere."""
    for file in (copy, database):
        file.write_bytes(b"last year's")
    (copy.parent / "link").symlink_to("nowhere")
    for existing in (copy, database, copy.parent / "link"):
        assert why_not(database, existing) == "there is such a file, which is left as it is"
    assert why_not(database, copy.parent) == "it is a folder; name a file in it"
    assert copy.read_bytes() == database.read_bytes() == b"last year's"


@pytest.mark.parametrize("has_hard_links", [True, False])
async def test_a_file_that_appears_meanwhile_is_not_overwritten(
    store: SqliteStore,
    database: Path,
    copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_hard_links: bool,
) -> None:
    """Two backups to the same file, started by the same clock."""
    if not has_hard_links:
        without_hard_links(monkeypatch)
    finish = backup._finish

    def finish_second(*arguments: object) -> Backup:
        made = finish(*arguments)  # type: ignore[arg-type]
        copy.write_bytes(b"the first one's")
        return made

    monkeypatch.setattr(backup, "_finish", finish_second)
    with pytest.raises(BackupProblem, match=r"there is such a file|File exists"):
        taken(database, copy)
    assert contents(copy.parent) == {copy.name: b"the first one's"}


def without_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk such as those that are carried about."""

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)


async def test_a_file_system_without_hard_links_will_do(
    store: SqliteStore, database: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file gets its name in another way."""
    without_hard_links(monkeypatch)
    taken(database, copy)
    assert contents(copy.parent).keys() == {copy.name}


def sql(path: Path, *statements: str) -> None:
    """Change a file behind the store's back."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


async def test_what_is_no_database_of_this_program_is_refused(
    tmp_path: Path, database: Path, copy: Path
) -> None:
    """Nothing is made of it."""
    notes = tmp_path / "notes.txt"
    notes.write_text("Remember the milk. " * 500, encoding="utf-8")
    assert why_not(notes, copy) == "file is not a database"
    other = tmp_path / "other.db"
    sql(other, "CREATE TABLE t (a)")
    assert why_not(other, copy) == "it is not a database of dockgate"
    missing = tmp_path / "missing.db"
    assert why_not(missing, copy) == "unable to open database file"
    assert not missing.exists()
    async with SqliteStore(database):
        pass
    for version in (len(migrations.known()) + 1, 1):
        sql(database, f"PRAGMA user_version = {version}")
        assert f"its schema has version {version} and" in why_not(database, copy)


async def test_a_folder_that_is_missing_is_named_as_that(
    store: SqliteStore, database: Path, tmp_path: Path
) -> None:
    """It is more often a typing error than to be made."""
    assert why_not(database, tmp_path / "no" / "copy.db") == "there is no such folder"


async def test_a_full_disk_leaves_nothing(
    store: SqliteStore, database: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy comes to nothing in the middle."""
    await in_status(store, Status.SUCCEEDED)
    copying = backup._copy

    def until_it_is_full(source: Path, draft: Path, on_progress: backup.OnProgress) -> None:
        copying(source, draft, on_progress)
        Path(f"{draft}-journal").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backup, "_copy", until_it_is_full)
    assert why_not(database, copy) == "No space left on device"


async def test_a_damaged_copy_is_no_backup(store: SqliteStore, database: Path, copy: Path) -> None:
    """It is checked before it gets its name."""
    await in_status(store, Status.SUCCEEDED)
    sql(
        database,
        "PRAGMA ignore_check_constraints = ON",
        "UPDATE command SET completion_basis = NULL, revision = revision + 1",
    )
    assert "the copy is damaged" in why_not(database, copy)


@pytest.mark.parametrize("when", ["copying", "checking"])
async def test_ctrl_c_leaves_nothing(
    store: SqliteStore, database: Path, copy: Path, look_often: None, when: str
) -> None:
    """However far it is."""
    await big_ones(store)

    def interrupt(doing: str, share: float | None) -> None:
        if doing == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taken(database, copy, interrupt)
    assert contents(copy.parent) == {}


async def test_it_says_how_far_it_is(
    store: SqliteStore, database: Path, copy: Path, look_often: None
) -> None:
    """By size while it copies; then it checks."""
    await big_ones(store)
    seen: list[tuple[str, float | None]] = []
    taken(database, copy, lambda doing, share: seen.append((doing, share)))
    shares = [share for doing, share in seen if doing == "copying"]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] <= 1
    assert seen[-1] == ("checking", None)


async def multiplied(store: SqliteStore, database: Path, count: int) -> None:
    """One command with its events, as often as that."""
    await in_status(store, Status.SUCCEEDED)
    fixed = ", ".join({*rows.COMMAND_COLUMNS} - {"seq", "id", "idempotency_key"})
    event = ", ".join({*rows.EVENT_COLUMNS} - {"seq", "command_seq"})
    sql(
        database,
        f"WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        f" INSERT INTO command (id, idempotency_key, {fixed})"
        f" SELECT hex(randomblob(16)), hex(randomblob(16)), {fixed} FROM command, n",
        f"INSERT INTO command_event (command_seq, {event})"
        f" SELECT c.seq, {', '.join(f'e.{name}' for name in event.split(', '))}"
        " FROM command AS c JOIN command_event AS e ON e.command_seq = 1 WHERE c.seq > 1",
    )


async def test_a_backup_of_a_hundred_thousand_commands_is_quick(
    store: SqliteStore, database: Path, copy: Path
) -> None:
    """About a second; the limit leaves room for a machine that has other things to do."""
    await multiplied(store, database, 100_000)
    begun = time.perf_counter()
    made = taken(database, copy)
    seconds = time.perf_counter() - begun
    print(f"100,000 commands, {made.size / 1e6:.0f} MB: {seconds:.2f} s")  # noqa: T201
    assert made.commands == 100_000
    assert seconds < 20
