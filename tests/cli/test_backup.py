"""``dockgate backup``: a file that can be started from, or one line that says why there is none."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli.scripted import Run
from support.records import an_accept, in_status

from dockgate_server.model.command import Status
from dockgate_server.store.sqlite import SqliteStore, backup


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database of the configuration, with an ended command and an open one."""
    path = tmp_path / "gateway" / "dockgate.db"
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(path))

    async def fill() -> None:
        async with SqliteStore(path) as store:
            await in_status(store, Status.SUCCEEDED)
            await store.accept(an_accept())

    asyncio.run(fill())
    return path


def opened(path: Path) -> int:
    """How many events a database that the store opens has seen."""

    async def newest() -> int:
        async with SqliteStore(path) as store:
            return await store.newest_event_seq()

    return asyncio.run(newest())


def test_it_says_what_it_has_made(run: Run, database: Path, tmp_path: Path) -> None:
    """The file, and what has become of open commands in it."""
    target = tmp_path / "monday.db"
    called = run("backup", str(target))
    assert called.code == 0
    assert re.fullmatch(rf"{target}: 2 commands, 0\.\d MB, checked\n", called.out)
    assert called.err == "1 of them was open and has ended in it as OUTCOME_UNKNOWN\n"
    assert opened(target) > backup.SKIPPED_NUMBERS["command_event"]


def test_its_place_is_beside_the_database_by_default(run: Run, database: Path) -> None:
    """Named after it and the time."""
    printed = json.loads(run("backup", "--json").out)
    file = Path(printed.pop("file"))
    assert file.parent == database.parent
    assert re.fullmatch(r"dockgate-\d{8}T\d{6}Z\.db", file.name)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", printed.pop("taken_at"))
    assert printed == {"bytes": file.stat().st_size, "commands": 2, "open_commands": 1}


def test_it_reminds_of_the_sealing_key(run: Run, database: Path, tmp_path: Path) -> None:
    """Where there is one: the copy does not hold it."""
    run("keys", "create")
    called = run("backup", str(tmp_path / "monday.db"))
    assert f"keep {database}.key as well" in called.err


def test_a_backup_of_a_gateway_that_is_at_work(run: Run, database: Path, tmp_path: Path) -> None:
    """It holds the database for itself; a backup does not mind."""

    async def back_up() -> int:
        async with SqliteStore(database) as store:
            await store.accept(an_accept())
            called = await asyncio.to_thread(run, "backup", str(tmp_path / "m.db"), "--json")
            return int(json.loads(called.out)["commands"])

    assert asyncio.run(back_up()) == 3


def test_without_a_database_there_is_no_backup(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nor is one made where the configuration points to the wrong place."""
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(tmp_path / "no.db"))
    called = run("backup", str(tmp_path / "copy.db"))
    assert called.code == 1
    assert called.err.startswith(f"error: there is no database {tmp_path / 'no.db'}; ")
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_is_one_line(run: Run, database: Path, tmp_path: Path) -> None:
    """For programs a document."""
    called = run("backup", str(database))
    assert called.code == 1
    assert called.err == (
        f"error: cannot back up {database} to {database}: "
        "there is such a file, which is left as it is\n"
    )
    refused = json.loads(run("backup", str(tmp_path / "no" / "copy.db"), "--json").err)
    assert refused["code"] == "CANNOT_BACK_UP"
    assert refused["message"].endswith("there is no such folder")


def test_a_bar_is_shown_in_a_terminal(database: Path, tmp_path: Path) -> None:
    """While it copies; the result stays."""
    pty = pytest.importorskip("pty")
    reader, writer = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "dockgate_server", "backup", str(tmp_path / "monday.db")],
        stdout=subprocess.PIPE,
        stderr=writer,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"},
    ) as process:
        os.close(writer)
        shown = b""
        try:
            while chunk := os.read(reader, 65536):
                shown += chunk
        except OSError:  # Linux ends a pseudo-terminal's stream with EIO
            pass
        os.close(reader)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"copying" in shown
    assert b"2 commands" in out
