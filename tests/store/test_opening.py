"""Opening a database: made, brought up to date, or refused in one line that says why."""

import asyncio
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.records import an_accept

from dockgate_server.errors import DockgateError
from dockgate_server.store.sqlite import SqliteStore, StoreProblem, migrations, opening, rows


async def refused(path: Path) -> str:
    """Why the store will not open."""
    with pytest.raises(StoreProblem) as caught:
        async with SqliteStore(path):
            pass
    message = str(caught.value)
    assert message.startswith(f"cannot open the database {path}: ")
    assert "\n" not in message
    return message.removeprefix(f"cannot open the database {path}: ")


def sql(path: Path, statement: str) -> None:
    """Change the file behind the store's back."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


async def test_a_missing_database_is_made_with_its_folder(tmp_path: Path) -> None:
    """Nobody has to prepare anything."""
    path = tmp_path / "a" / "b" / "dockgate.db"
    async with SqliteStore(path) as store:
        await store.accept(an_accept())
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations.known()),)
    assert connection.execute("PRAGMA application_id").fetchone() == (migrations.APPLICATION_ID,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


async def test_what_is_in_the_way_is_said_without_the_number_of_an_error(tmp_path: Path) -> None:
    """Here a file in place of a folder."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a.db", tmp_path / "file" / "b" / "a.db"):
        assert await refused(path) == f"{path.parent} is no folder"


async def test_a_commit_is_on_the_disk_when_it_returns(store: SqliteStore) -> None:
    """Synchronous = FULL, or power loss would take accepted commands away."""
    writing = store._writer._connection
    assert await writing.run(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)
    assert await writing.run(lambda db: db.execute("PRAGMA foreign_keys").fetchone()) == (1,)


async def test_what_takes_a_statement_back_is_kept_in_memory(store: SqliteStore) -> None:
    """A temporary file for each statement of many rows would cost as much as the rows."""
    writing = store._writer._connection
    assert await writing.run(lambda db: db.execute("PRAGMA temp_store").fetchone()) == (2,)


async def test_reading_cannot_write(store: SqliteStore) -> None:
    """Only the writer changes anything."""
    with pytest.raises(DockgateError) as refused:
        await store._db.all("DELETE FROM command", {})
    assert "readonly" in str(refused.value.__cause__)


async def test_a_newer_schema_is_refused(database: Path) -> None:
    """An older program must not touch what it does not understand."""
    async with SqliteStore(database):
        pass
    sql(database, "PRAGMA user_version = 99")
    why = await refused(database)
    assert "version 99" in why
    assert "use the newer program that wrote it" in why


async def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """By tables, by version, or by its mark; it is left as it was."""
    for number, statement in enumerate(
        ("CREATE TABLE t (a)", "PRAGMA user_version = 1", "PRAGMA application_id = 7; ")
    ):
        path = tmp_path / f"{number}.db"
        sql(path, statement)
        if number == 2:
            sql(path, "CREATE TABLE t (a)")
        before = path.read_bytes()
        assert await refused(path) == "it is the database of another program"
        assert path.read_bytes() == before
        assert beside(path) == []


def beside(path: Path) -> list[Path]:
    """The files that belong to a database."""
    return [
        file for file in path.parent.iterdir() if file.name.startswith(path.name) and file != path
    ]


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """And left as it is, without a lock beside it."""
    path = tmp_path / "notes.txt"
    path.write_text("Remember the milk. " * 500, encoding="utf-8")
    assert await refused(path) == "file is not a database"
    assert path.read_text(encoding="utf-8").startswith("Remember")
    assert beside(path) == []


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    """Where a file should be."""
    assert await refused(tmp_path) == "it is a folder"
    assert beside(tmp_path) == []
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    assert await refused(in_the_way / "dockgate.db")


async def test_a_database_that_cannot_be_written_is_refused_at_once(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better than one that accepts nothing later."""
    async with SqliteStore(database):
        pass
    pragmas = ("PRAGMA query_only = ON",)
    monkeypatch.setattr("dockgate_server.store.sqlite.opening._PRAGMAS", pragmas)
    assert "readonly" in await refused(database)


async def test_a_database_that_another_program_has_locked_is_refused(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, in which it may be over."""
    async with SqliteStore(database):
        pass
    monkeypatch.setattr(opening, "_PRAGMAS", ("PRAGMA busy_timeout = 50",))
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await refused(database) == "database is locked"
    async with SqliteStore(database):
        pass


async def test_a_damaged_database_is_refused(database: Path) -> None:
    """As far as it shows at once: here, in the table of tables."""
    async with SqliteStore(database) as store:
        await store.accept(an_accept())
    with database.open("r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * 3996)
    assert await refused(database) == "database disk image is malformed"


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that is ours, without the rights of root, whom no permission holds back."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() != 0:
            yield folder
            return
        os.chown(folder, 65_534, -1)
        os.seteuid(65_534)
        try:
            yield folder
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("what", ["file", "folder", "new file"])
async def test_what_must_not_be_written_is_refused(unprivileged: Path, what: str) -> None:
    """And taken when that has changed: nothing is left behind that is in the way then."""
    path = unprivileged / "folder" / "dockgate.db"
    path.parent.mkdir()
    if what != "new file":
        async with SqliteStore(path):
            pass
    read_only = path if what == "file" else path.parent
    read_only.chmod(0o400 if what == "file" else 0o500)
    assert await refused(path) == f"this user may not write to {read_only}"
    read_only.chmod(0o700)
    async with SqliteStore(path):
        pass


async def test_a_second_gateway_on_the_same_file_is_refused(database: Path) -> None:
    """Two would each send the commands that wait."""
    async with SqliteStore(database) as store:
        assert await refused(database) == f"another gateway (pid {os.getpid()}) is at work on it"
        await store.accept(an_accept())
    async with SqliteStore(database):
        pass


async def test_a_tool_may_open_the_file_beside_the_gateway(database: Path) -> None:
    """`dockgate keys` writes while the server runs."""
    async with SqliteStore(database) as store, SqliteStore(database, exclusive=False) as tool:
        accepted = await store.accept(an_accept())
        assert await tool.get_command("default", accepted.command.id) is not None
        await tool.forget_nonces(0)
        await store.accept(an_accept())


async def test_opening_again_and_again_changes_nothing(database: Path) -> None:
    """Migrations are applied once."""
    for _ in range(3):
        async with SqliteStore(database):
            pass


async def test_two_that_open_a_new_database_at_once_do_not_disturb_each_other(
    tmp_path: Path,
) -> None:
    """`dockgate serve` and `dockgate keys`, both started for the first time."""

    async def open_it(path: Path, exclusive: bool) -> None:
        async with SqliteStore(path, exclusive=exclusive) as store:
            await store.devices.list()

    for number in range(10):
        path = tmp_path / f"{number}.db"
        await asyncio.gather(*(open_it(path, exclusive=not other) for other in range(4)))


def test_a_migration_that_another_process_makes_meanwhile_is_not_made_again(
    database: Path,
) -> None:
    """What is missing is read behind the lock."""
    waits = threading.Event()
    reached: list[int] = []

    def migrate() -> None:
        with closing(sqlite3.connect(database, isolation_level=None)) as late:
            late.set_trace_callback(lambda sql: waits.set() if "IMMEDIATE" in sql else None)
            reached.append(migrations.migrate(late))

    with closing(sqlite3.connect(database, isolation_level=None)) as early:
        early.execute("PRAGMA journal_mode = WAL")
        early.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=migrate)
        thread.start()
        assert waits.wait(10)
        early.execute("CREATE TABLE command (a)")
        early.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")
        early.execute(f"PRAGMA user_version = {len(migrations.known())}")
        early.execute("COMMIT")
        thread.join()
    assert reached == [len(migrations.known())]


def test_a_database_whose_journal_another_process_is_changing_is_waited_for(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself does not always do that."""
    with (
        closing(sqlite3.connect(database, isolation_level=None)) as early,
        closing(sqlite3.connect(database, isolation_level=None, timeout=0)) as late,
    ):
        early.execute("BEGIN EXCLUSIVE")
        time_passes = SimpleNamespace(
            monotonic=lambda: 0.0, sleep=lambda _: early.execute("COMMIT")
        )
        monkeypatch.setattr(opening, "time", time_passes)
        opening._use_write_ahead_log(late)
        assert late.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_credentials_from_before_rotation_go_on_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One secret, of the day on which the key was made; every device; no certificate."""
    connection = sqlite3.connect(tmp_path / "dockgate.db", isolation_level=None)
    files = migrations.known()
    monkeypatch.setattr(migrations, "known", lambda: files[:6])
    migrations.migrate(connection)
    connection.execute(
        "INSERT INTO credential (api_id, tenant, label, scopes, sealed_secret, created_at) "
        "VALUES ('dk_1', 'default', '', '', x'00', 5)"
    )
    monkeypatch.setattr(migrations, "known", lambda: files)
    migrations.migrate(connection)
    row = connection.execute(
        "SELECT secret_at, older_secret, older_secret_at, devices, client_certificate "
        "FROM credential"
    ).fetchone()
    connection.close()
    assert row == (5, None, None, "", None)


def test_a_migration_that_breaks_in_the_middle_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done again as a whole."""
    good = migrations.known()
    broken = "CREATE TABLE half (a);\nCREATE TABLE half (a);\n"
    monkeypatch.setattr(migrations, "known", lambda: [*good, broken])
    connection = sqlite3.connect(tmp_path / "d.db", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrations.migrate(connection)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(good),)
    assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'half'").fetchone()
    monkeypatch.setattr(migrations, "known", lambda: [*good, "CREATE TABLE half (a);\n"])
    assert migrations.migrate(connection) == len(good) + 1
    connection.close()


def test_columns_that_do_not_fit_the_program_are_noticed(tmp_path: Path) -> None:
    """A migration that forgets rows.py fails at the first start, not at the first reply."""
    connection = sqlite3.connect(tmp_path / "d.db", isolation_level=None)
    migrations.migrate(connection)
    rows.check_columns(connection)
    connection.execute("ALTER TABLE command ADD COLUMN extra TEXT")
    with pytest.raises(sqlite3.DatabaseError, match="table command"):
        rows.check_columns(connection)
    connection.close()
