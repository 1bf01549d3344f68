"""Opening a database: made, brought up to date, or refused in one line that says why."""

import os
import sqlite3
from pathlib import Path

import pytest
from support.records import an_accept

from dockgate_server.errors import DockgateError
from dockgate_server.store.sqlite import SqliteStore, StoreProblem, migrations, rows


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


async def test_a_commit_is_on_the_disk_when_it_returns(store: SqliteStore) -> None:
    """Synchronous = FULL, or power loss would take accepted commands away."""
    writing = store._writer._connection
    assert await writing.run(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)
    assert await writing.run(lambda db: db.execute("PRAGMA foreign_keys").fetchone()) == (1,)


async def test_reading_cannot_write(store: SqliteStore) -> None:
    """Only the writer changes anything."""
    with pytest.raises(DockgateError) as refused:
        await store._all("DELETE FROM command", {})
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
        assert await refused(path) == "it is the database of another program"
        connection = sqlite3.connect(path)
        assert not connection.execute(
            "SELECT 1 FROM sqlite_schema WHERE name = 'command'"
        ).fetchone()
        connection.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """And left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("Remember the milk. " * 500, encoding="utf-8")
    assert await refused(path) == "file is not a database"
    assert path.read_text(encoding="utf-8").startswith("Remember")


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    """Where a file should be."""
    assert "unable to open" in await refused(tmp_path)
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
    monkeypatch.setattr("dockgate_server.store.sqlite.store._PRAGMAS", pragmas)
    assert "readonly" in await refused(database)


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
