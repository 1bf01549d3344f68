"""The command as a whole: help, version, start-up, signals, and printing itself."""

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli.scripted import LIFE, Run, Script

from dockgate_server import cli
from dockgate_server.cli import program

COMMANDS = (
    "serve",
    "dev",
    "simulate",
    "submit",
    "get",
    "watch",
    "list",
    "keys",
    "methods",
    "backup",
)


def test_help_names_every_command(run: Run) -> None:
    """In one screen."""
    called = run("--help")
    assert called.code == 0
    for name in COMMANDS:
        assert f"\n  {name}" in called.out


@pytest.mark.parametrize("group", [(), ("keys",), ("audit",), ("devices",), ("requests",)])
def test_what_a_command_does_fits_into_its_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, group: tuple[str, ...]
) -> None:
    """Where terminals are narrow it would be cut off in the middle of a sentence."""
    monkeypatch.setenv("COLUMNS", "80")
    called = run(*group, "--help")
    listed = called.out.partition("Commands:\n")[2].splitlines()
    assert listed
    assert [line for line in listed if line.endswith("...")] == []


GROUPS = ("keys", "devices", "requests", "audit")


def every_command() -> list[str]:
    """Also those below others."""
    groups = {name: importlib.import_module(f"dockgate_server.cli.{name}").app for name in GROUPS}
    below = [
        f"{name} {one.name or one.callback.__name__}"
        for name, app in groups.items()
        for one in app.registered_commands
    ]
    return [*(name for name in cli._COMMANDS if name not in GROUPS), *below]


@pytest.mark.parametrize("name", every_command())
def test_every_command_has_help_with_an_example_and_json(run: Run, name: str) -> None:
    """The example is the first thing that most people read."""
    called = run(*name.split(), "--help")
    assert called.code == 0
    assert f"\n    dockgate {name}" in called.out or f"dockgate {name} --" in called.out
    assert "--json" in called.out


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_a_group_that_is_called_alone_shows_its_help(run: Run, group: str) -> None:
    """Line by line, with examples; a script that has lost a word of its call notices."""
    alone, asked = run(*group.split()), run(*group.split(), "--help")
    assert (alone.code, alone.out) == (2, "")
    assert alone.err == asked.out
    assert "\n  Examples:\n    dockgate " in asked.out


def test_version(run: Run) -> None:
    """One word and a number."""
    assert run("--version").out.startswith("dockgate 0.")


def start(*arguments: str) -> "subprocess.Popen[str]":
    # Where the tests run in the background of a shell SIGINT is ignored, and so by children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "dockgate_server", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def endless() -> "object":
    yield LIFE[0]
    while True:
        yield LIFE[1]


def test_ctrl_c_is_quiet_and_exit_code_130(script: Script) -> None:
    """No traceback, no complaint."""
    script.answers["watch"] = [endless()]
    with start("watch", "c-1", "--server", script.address) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    # A signal that meets the interpreter on its way out ends it by the signal itself; a shell
    # shows 130 for both.
    assert process.returncode in (130, -signal.SIGINT)
    assert errors == ""


def test_a_ctrl_c_that_comes_twice_stops_the_server_politely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make and timeout deliver one Ctrl-C twice; the copy must not cut the stop short."""
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(tmp_path / "dockgate.db"))
    for listener in ("GRPC", "HTTP"):
        monkeypatch.setenv(f"DOCKGATE_{listener}__LISTEN", "127.0.0.1:0")
    with start("serve") as process:
        assert process.stdout is not None
        assert "is ready" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_reader_that_has_seen_enough_is_no_error(script: Script) -> None:
    """``dockgate watch … | head`` ends quietly."""
    script.answers["watch"] = [endless()]
    with start("watch", "c-1", "--server", script.address) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 1


def test_a_bar_is_shown_in_a_terminal_only(script: Script) -> None:
    """Below the lines, and gone at the end."""
    pty = pytest.importorskip("pty")
    script.answers["watch"] = [(*LIFE[:3], LIFE[3])]
    reader, writer = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"}
    with subprocess.Popen(
        [sys.executable, "-m", "dockgate_server", "watch", "c-1", "--server", script.address],
        stdout=writer,
        env=environment,
    ) as process:
        os.close(writer)
        shown = b""
        try:
            while chunk := os.read(reader, 65536):
                shown += chunk
        except OSError:  # Linux ends a pseudo-terminal's stream with EIO
            pass
        os.close(reader)
    assert process.returncode == 0
    text = shown.decode()
    assert "s left to answer" in text
    assert "answered 0" in text


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        ("{folder}/bin/dockgate", "bin/dockgate"),
        ("bin/dockgate", "bin/dockgate"),
        ("{folder}/dockgate_server/__main__.py", "{python} -m dockgate_server"),
        ("/nowhere/dockgate", "dockgate"),
    ],
)
def test_it_prints_itself_so_that_it_can_be_pasted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, called: str, expected: str
) -> None:
    """Also where it is not on the PATH of the other terminal."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dockgate").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [called.format(folder=tmp_path)])
    python = min(sys.executable, os.path.relpath(sys.executable), key=len)
    assert program.program() == expected.format(python=python)


def test_on_path_it_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The shortest form that works."""
    file = tmp_path / "dockgate"
    file.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(file)])
    assert program.program() == "dockgate"


def test_serve_reports_every_mistake_in_its_configuration(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line each, and nothing is started."""
    monkeypatch.setenv("DOCKGATE_GRPC__LISTEN", "everywhere")
    monkeypatch.setenv("DOCKGATE_MQTT__KEEPALIVE_SECONDS", "0")
    called = run("serve")
    assert called.code == 2
    lines = called.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)
    assert json.loads(run("serve", "--json").err)["code"] == "CONFIGURATION"


def test_serve_checks_a_good_configuration(run: Run, tmp_path: Path) -> None:
    """And says so."""
    file = tmp_path / "dockgate.toml"
    file.write_text('[grpc]\nlisten = "127.0.0.1:0"\n')
    assert run("serve", "--check", "--config", str(file)).out == "the configuration is valid\n"
    missing = run("serve", "--check", "--config", str(tmp_path / "no.toml"))
    assert missing.code == 2
    assert missing.err.startswith("error: there is no configuration file")


def test_serve_says_in_one_line_why_it_cannot_start(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Here the database would lie below a file."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("DOCKGATE_GRPC__LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("DOCKGATE_HTTP__LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(tmp_path / "file" / "dockgate.db"))
    called = run("serve")
    assert called.code == 1
    assert called.err.count("\n") == 1
    database = tmp_path / "file" / "dockgate.db"
    assert (
        called.err
        == f"error: cannot open the database {database}: {database.parent} is no folder\n"
    )


def test_keys_are_made_listed_and_disabled(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The secret is shown once, by create alone."""
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(tmp_path / "dockgate.db"))
    called = run("keys", "list")
    assert called.code == 1
    assert called.err.startswith("error: there is no database")
    made = json.loads(run("keys", "create", "--label", "portal", "--json").out)
    listed = run("keys", "list")
    assert made["api_id"] in listed.out
    assert "portal" in listed.out
    assert made["secret"] not in listed.out
    assert run("keys", "disable", made["api_id"]).code == 0
    [key] = map(json.loads, run("keys", "list", "--json").out.splitlines())
    assert key["api_id"] == made["api_id"]
    assert "disabled_at" in key
    assert "secret" not in key


def test_scopes_have_short_names(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each its own, and an unknown one is told which there are."""
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(tmp_path / "dockgate.db"))
    made = run("keys", "create", "--scope", "read", "--scope", "request-create", "--json")
    scopes = ["open:command:read", "open:device-request:create"]
    assert json.loads(made.out)["scopes"] == scopes
    assert "read, request-create" in run("keys", "list").out
    wrong = run("keys", "create", "--scope", "device")
    assert wrong.code == 2
    assert wrong.err == (
        "error: --scope: there is no 'device'; there are create, read, dangerous, raw, "
        "request-read, request-create\n"
    )
    unknown = run("keys", "disable", "dk_x")
    assert (unknown.code, unknown.err) == (1, "error: there is no API key 'dk_x'\n")


def test_main_ends_the_process_with_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The console script."""
    monkeypatch.setattr(sys, "argv", ["dockgate", "nope"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "a\udcffb"),
        ("keys", "disable", "a\udcffb", "--json"),
        ("list", "--\udcff", "--json"),
        ("submit", "camera_recording_start", "--device", "a", "--\udcff", "1"),
    ],
)
def test_bytes_that_are_no_text_are_one_line(run: Run, arguments: tuple[str, ...]) -> None:
    """Python hands them over as halves of characters, which nothing behind it takes."""
    called = run(*arguments)
    assert called.code == 2
    assert called.err.count("\n") == 1
    assert "the command line holds bytes that are not UTF-8 text" in called.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "list"),
        ("keys", "reseal", "--new-key-file", "new.key"),
        ("audit", "head"),
        ("backup",),
        ("serve", "--check", "--config", "any.toml"),
    ],
)
def test_a_folder_that_may_not_be_entered_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Not even whether there is a file can be asked then."""

    def forbidden(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", forbidden)
    called = run(*arguments)
    assert (called.code, called.err.count("\n")) == (1, 1)
    assert called.err.startswith("error: cannot use ")
    assert called.err.endswith(": Permission denied\n")


@pytest.mark.parametrize("more", [("@{}",), ("--file", "{}")])
def test_what_is_nested_too_deep_is_one_line(
    run: Run, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """In a file, or as the value of a field."""
    deep = "[" * 100_000
    file = tmp_path / "deep.json"
    file.write_text(deep)
    words = (one.format(file if one.startswith("@") else deep) for one in more)
    called = run("submit", "flighttask_prepare", "--device", "d", *words)
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert "nested too deep" in called.err


def test_a_closed_standard_input_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has none then."""
    monkeypatch.setattr(sys, "stdin", None)
    called = run("submit", "camera_recording_start", "--device", "d", "-")
    assert called.code == 2
    assert called.err == "error: cannot read the payload: standard input is closed\n"
