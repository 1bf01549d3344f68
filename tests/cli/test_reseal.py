"""``dockgate keys reseal``: another sealing key, or one line that says why not."""

import asyncio
import json
from pathlib import Path

import pytest
from cli.scripted import Run

from dockgate_server.access import unlocking
from dockgate_server.access.keys import Keys
from dockgate_server.clock import SystemClock
from dockgate_server.sealing import KeySource, SealingProblem
from dockgate_server.store.sqlite import SqliteStore


@pytest.fixture
def database(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database of the configuration, with an API key."""
    path = tmp_path / "dockgate.db"
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(path))
    assert run("keys", "create").code == 0
    return path


def opens(database: Path, key_file: Path) -> bool:
    """Whether the database can be worked on with that key."""

    async def check() -> None:
        async with SqliteStore(database) as store:
            source = KeySource(key_file)
            await unlocking.vault(store, source)
            await Keys(store, source, SystemClock()).check()

    try:
        asyncio.run(check())
    except SealingProblem:
        return False
    return True


def test_everything_is_sealed_with_the_new_key(run: Run, database: Path, tmp_path: Path) -> None:
    """Which is made; the old one opens nothing any more, and stays where it is."""
    old, new = Path(f"{database}.key"), tmp_path / "new.key"
    assert opens(database, old)
    called = run("keys", "reseal", "--new-key-file", str(new))
    assert called.code == 0
    assert f"sealed with {new} now" in called.out
    assert f"store.key_file = '{new}'" in called.err
    assert new.stat().st_mode & 0o777 == 0o600
    assert (opens(database, new), opens(database, old)) == (True, False)


def test_a_key_in_the_environment_is_replaced_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file would not be looked at while the variable is set; what is printed can be pasted."""
    database, new = tmp_path / "dockgate.db", tmp_path / "new one.key"
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(database))
    monkeypatch.setenv("DOCKGATE_STORE__KEY", "ab" * 32)
    assert run("keys", "create").code == 0
    called = run("keys", "reseal", "--new-key-file", str(new))
    assert called.code == 0
    assert called.err.splitlines() == [
        f"start the gateway with DOCKGATE_STORE__KEY=$(xxd -p -c 32 '{new}')",
        "backups from before still need the old key",
    ]
    assert opens(database, new)
    wrong = run("keys", "create")
    assert wrong.code == 1
    assert wrong.err.startswith(
        "error: the key in store.key (DOCKGATE_STORE__KEY) is the wrong sealing key: "
    )
    assert json.loads(run("keys", "create", "--json").err)["code"] == "WRONG_SEALING_KEY"


def test_for_programs_it_says_how_many(run: Run, database: Path, tmp_path: Path) -> None:
    """The keys that the database keeps, and the secret of the one API key."""
    called = run("keys", "reseal", "--new-key-file", str(tmp_path / "new.key"), "--json")
    printed = json.loads(called.out)
    assert printed.pop("resealed") >= 2
    assert printed == {"key_file": str(tmp_path / "new.key")}


def test_a_gateway_at_work_is_not_disturbed(run: Run, database: Path, tmp_path: Path) -> None:
    """It would go on with the old key; no new one is made."""

    async def call() -> int:
        async with SqliteStore(database):
            called = await asyncio.to_thread(
                run, "keys", "reseal", "--new-key-file", str(tmp_path / "new.key")
            )
        assert "another gateway" in called.err
        return called.code

    assert asyncio.run(call()) == 1
    assert not (tmp_path / "new.key").exists()
    assert opens(database, Path(f"{database}.key"))


def test_with_a_wrong_old_key_nothing_changes(run: Run, database: Path, tmp_path: Path) -> None:
    """One line says so."""
    key = Path(f"{database}.key")
    right = key.read_bytes()
    key.write_bytes(b"w" * 32)
    called = run("keys", "reseal", "--new-key-file", str(tmp_path / "new.key"))
    assert called.code == 1
    assert "wrong sealing key" in called.err
    assert not (tmp_path / "new.key").exists()
    key.write_bytes(right)
    assert opens(database, key)


def test_there_must_be_a_database(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is made where the configuration points to the wrong place."""
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(tmp_path / "none.db"))
    called = run("keys", "reseal", "--new-key-file", str(tmp_path / "new.key"))
    assert called.code == 1
    assert "there is no database" in called.err
    assert not list(tmp_path.iterdir())
