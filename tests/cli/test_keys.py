"""``dockgate keys``: credentials made, shown, rotated and disabled."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli.scripted import Run

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the keys are to be."""
    path = tmp_path / "keys" / "dockgate.db"
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(path))
    return path


def made(run: Run, *options: str) -> dict[str, Any]:
    called = run("keys", "create", *options, "--json")
    assert called.code == 0, called.err
    return dict(json.loads(called.out))


def listed(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("keys", "list", "--json").out.splitlines()]


def sealed_secrets(database: Path) -> tuple[bytes, bytes | None]:
    """Those of the only key, the newer one first."""
    with closing(sqlite3.connect(database)) as db:
        newer, older = db.execute("SELECT sealed_secret, older_secret FROM credential").fetchone()
    return newer, older


def test_a_key_has_tenant_devices_and_certificate(run: Run) -> None:
    """As a table and as JSON; the secret is in neither."""
    options = ["--tenant", "north", "--device", "7CTDLCE00A0001", "--device", "dock-*"]
    options += ["--client-certificate", "planner.example.com", "--scope", "read"]
    key = made(run, *options)
    secret = key.pop("secret")
    assert listed(run) == [key]
    assert key["tenant"] == "north"
    assert key["devices"] == ["7CTDLCE00A0001", "dock-*"]
    assert key["client_certificate"] == "planner.example.com"
    assert key["secret_at"] == key["created_at"]
    header, row = run("keys", "list").out.splitlines()
    assert header.split("  ")[0] == "API ID"
    for shown in ("north", "7CTDLCE00A0001, dock-*", "planner.example.com", "read", "in use"):
        assert shown in row
    assert secret not in row


def test_without_options_a_key_is_for_all_devices_of_the_default_tenant(run: Run) -> None:
    """And says so."""
    key = made(run)
    assert (key["tenant"], key["devices"]) == ("default", [])
    assert "client_certificate" not in key
    _, row = run("keys", "list").out.splitlines()
    assert "all" in row
    assert "default" in row


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--tenant", "a b"], "--tenant: must be 1 to 64 letters"),
        (["--device", "*"], "--device: '*' is every device"),
        (["--device", "do*ck"], "--device: 'do*ck' has a '*' elsewhere"),
        (["--device", "a/b"], "--device: 'a/b' is no serial number"),
        (["--client-certificate", ""], "--client-certificate: must be 1 to 255"),
        (["--label", "x" * 101], "--label: must be up to 100"),
        (["--scope", "fly"], "--scope: there is no 'fly'"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_made(
    run: Run, database: Path, options: list[str], problem: str
) -> None:
    """Not even the database."""
    called = run("keys", "create", *options)
    assert (called.code, called.out) == (2, "")
    assert called.err.startswith(f"error: {problem}")
    assert called.err.count("\n") == 1
    assert not database.parent.exists()


def test_a_certificate_of_another_key_is_refused(run: Run) -> None:
    """One line, and no key."""
    first = made(run, "--client-certificate", "planner")
    called = run("keys", "create", "--client-certificate", "planner")
    assert called.code == 2
    assert called.err == (
        "error: --client-certificate: 'planner' stands for another API key that is in use\n"
    )
    assert [key["api_id"] for key in listed(run)] == [first["api_id"]]


def test_a_key_is_rotated_in_two_steps(run: Run) -> None:
    """The new secret is shown once, with what is to be done then."""
    key = made(run)
    api_id = key["api_id"]
    rotated = run("keys", "rotate", api_id)
    assert rotated.code == 0
    assert rotated.out.splitlines()[0] == f"API ID  {api_id}"
    secret = rotated.out.splitlines()[1].removeprefix("secret  ")
    assert secret.startswith("dks_")
    assert secret != key["secret"]
    assert f"dockgate keys rotate {api_id} --finish" in rotated.err
    (shown,) = listed(run)
    assert shown["older_secret_at"] == key["secret_at"] <= shown["secret_at"]
    _, row = run("keys", "list").out.splitlines()
    assert row.count(shown["created_at"][:10]) == 3  # made, the older secret, the newer one

    again = run("keys", "rotate", api_id)
    assert again.code == 1
    assert again.err.startswith(f"error: the API key {api_id} has two secrets that are good")
    assert "--finish" in again.err
    assert "--undo" in again.err

    finished = run("keys", "rotate", api_id, "--finish")
    assert finished.code == 0
    assert finished.out.startswith(f"{api_id} has one secret, of ")
    (shown,) = listed(run)
    assert "older_secret_at" not in shown


def test_the_newer_secret_can_be_ended_instead(run: Run, database: Path) -> None:
    """Where it was lost on the way."""
    key = made(run)
    (before, _) = sealed_secrets(database)
    rotated = run("keys", "rotate", key["api_id"], "--json")
    assert json.loads(rotated.out)["secret"] != key["secret"]
    undone = json.loads(run("keys", "rotate", key["api_id"], "--undo", "--json").out)
    assert undone["secret_at"] == key["secret_at"]
    assert "secret" not in undone
    assert sealed_secrets(database) == (before, None)


def test_what_cannot_be_rotated_is_one_line(run: Run) -> None:
    """Unknown, disabled, with nothing to end, or asked for two things at once."""
    api_id = made(run)["api_id"]
    both = run("keys", "rotate", api_id, "--finish", "--undo")
    assert (both.code, both.err) == (2, "error: --finish and --undo: one of them, or neither\n")
    for option in ("--finish", "--undo"):
        nothing = run("keys", "rotate", api_id, option)
        assert nothing.code == 1
        assert "one secret only" in nothing.err
    assert run("keys", "rotate", "dk_x").err == "error: there is no API key 'dk_x'\n"
    run("keys", "disable", api_id)
    assert "is disabled; make a new one" in run("keys", "rotate", api_id).err
    _, row = run("keys", "list").out.splitlines()
    assert "off " in row


def test_every_command_works_by_a_configuration_file(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the gateway itself is started with one."""
    monkeypatch.delenv("DOCKGATE_STORE__PATH")
    file = tmp_path / "dockgate.toml"
    file.write_text(f'[store]\npath = "{tmp_path / "other.db"}"\n', encoding="utf-8")
    config = ("--config", str(file))
    api_id = made(run, *config)["api_id"]
    for command in (("rotate", api_id), ("rotate", api_id, "--finish"), ("disable", api_id)):
        assert run("keys", *command, *config).code == 0
    assert json.loads(run("keys", "list", "--json", *config).out)["api_id"] == api_id


def test_rotate_has_help_with_examples(run: Run) -> None:
    """Both steps."""
    called = run("keys", "rotate", "--help")
    assert "dockgate keys rotate dk_0123456789abcdef --finish" in called.out
    assert "--json" in called.out


def test_a_scope_that_replaces_the_usual_ones_is_noted(run: Run) -> None:
    """Whoever asks for the dangerous ones alone may submit nothing at all."""
    assert "without --scope create" in run("keys", "create", "--scope", "dangerous").err
    all_three = ("--scope", "create", "--scope", "read", "--scope", "dangerous")
    assert "note: " not in run("keys", "create", *all_three).err


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_key_says_in_which_database_it_is(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """By its whole path: by default it is wherever somebody happens to be."""
    monkeypatch.delenv("DOCKGATE_STORE__PATH")
    monkeypatch.chdir(tmp_path)
    made, found = (run("keys", "create", *options) for _ in range(2))
    path = tmp_path / "dockgate.db"
    assert made.err.splitlines()[-1] == f"database  {path} (new: no gateway has used it yet)"
    assert found.err.splitlines()[-1] == f"database  {path}"
    assert str(path) not in made.out + found.out


@pytest.mark.parametrize("command", [("keys", "list"), ("audit", "list")])
def test_keys_do_not_need_the_secrets_of_the_gateway(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, str]
) -> None:
    """These are in the environment of the gateway alone."""
    monkeypatch.delenv("DOCKGATE_STORE__PATH")
    file = tmp_path / "dockgate.toml"
    path = tmp_path / "here.db"
    file.write_text(f'store.path = "{path}"\nregistration.app_id = "123456"\n')
    assert run("keys", "create", "--config", str(file)).code == 0
    assert run(*command, "--config", str(file)).code == 0
    assert "app_key" in run("serve", "--check", "--config", str(file)).err
