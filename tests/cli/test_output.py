"""Standard output that cannot take what is printed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.scripted import Script, command
from support import server_process

from dockgate.downlink.v1 import command_service_pb2 as pb

FULL = Path("/dev/full")
BUFFERINGS = ({}, {"PYTHONUNBUFFERED": "1"})
SAYS_FULL = "cannot write to standard output: No space left on device"
SAYS_CLOSED = "cannot write to standard output: it is closed"

needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")


def call(
    *arguments: str, closed: bool = False, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Call the command line with a standard output that is full, or closed.

    A shell closes it: in a fork of this process gRPC, of which it has threads, would meet it first.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = (sys.executable, "-m", "dockgate_server", *arguments)
    with FULL.open("w") as full:
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {">&-" * closed}', "sh", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=inherited | (environment or {}),
            check=False,
        )


@needs_full
@pytest.mark.parametrize("environment", BUFFERINGS)
@pytest.mark.parametrize("arguments", [("methods",), ("--help",), ("--version",)])
def test_a_full_disk_is_one_line(arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    """However Python buffers what is printed; it does not complain a second time at its end."""
    called = call(*arguments, environment=environment)
    assert (called.returncode, called.stderr) == (1, f"error: {SAYS_FULL}\n")


@needs_full
@pytest.mark.parametrize("arguments", [("methods",), ("--version",)])
def test_a_closed_output_is_one_line(arguments: tuple[str, ...]) -> None:
    """Nothing is taken for printed."""
    called = call(*arguments, closed=True)
    assert (called.returncode, called.stderr) == (1, f"error: {SAYS_CLOSED}\n")


@needs_full
def test_programs_are_told_of_a_full_disk_in_their_form() -> None:
    """As of every other problem."""
    called = call("methods", "--json")
    assert json.loads(called.stderr) == {"code": "CANNOT_PRINT", "message": SAYS_FULL}


@needs_full
def test_a_command_that_prints_from_its_tasks_is_no_exception() -> None:
    """The simulated dock prints what happens to it."""
    called = call("simulate", "--broker", "mqtt://127.0.0.1:1")
    assert (called.returncode, called.stderr) == (1, f"error: {SAYS_FULL}\n")


@needs_full
@pytest.mark.parametrize("closed", [True, False])
def test_a_secret_that_nobody_has_seen_is_named_with_its_remedy(
    tmp_path: Path, closed: bool
) -> None:
    """The key is good, and would stay so: made, or rotated."""
    environment = {"DOCKGATE_STORE__PATH": str(tmp_path / "dockgate.db")}
    said: list[dict[str, Any]] = []
    for arguments in (("create",), ("rotate",)):
        ids = [one["metadata"]["api_id"] for one in said]
        called = call("keys", *arguments, *ids, "--json", closed=closed, environment=environment)
        assert called.returncode == 1
        said.append(json.loads(called.stderr.splitlines()[-1]))
    api_id = said[0]["metadata"]["api_id"]
    why = SAYS_CLOSED if closed else SAYS_FULL
    for one, done, remedy in zip(
        said, ("made", "rotated"), (f"disable {api_id}", f"rotate {api_id} --undo"), strict=True
    ):
        assert one["message"] == (
            f"the API key {api_id} was {done}, but its secret could not be shown ({why}); "
            f"end it with: dockgate keys {remedy}"
        )
    assert {one["code"] for one in said} == {"SECRET_NOT_SHOWN"}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_help_is_shown_in_every_encoding(encoding: str) -> None:
    """What it has no character for is written in another way."""
    shown = subprocess.run(
        [sys.executable, "-m", "dockgate_server", "submit", "--help"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        check=True,
    ).stdout.decode(encoding)
    dots = "…" if encoding == "utf-8" else "\\u2026"
    assert f"--file.url https://{dots} " in shown


@needs_full
def test_a_command_that_was_accepted_and_not_shown_is_named(script: Script) -> None:
    """Without its key a second try would be a second command."""
    script.answers["submit"] = [pb.SubmitCommandResponse(command=command())]
    device = ("--device", "drone-001", "--payload-index", "39-0-7")
    called = call("submit", "camera_recording_start", *device, "--key", "k-1", "--json")
    said = json.loads(called.stderr)
    assert (called.returncode, said["code"]) == (1, "ANSWER_NOT_SHOWN")
    assert said["metadata"] == {"command_id": command().command_id, "idempotency_key": "k-1"}
    assert SAYS_FULL in said["message"]


@needs_full
def test_a_secret_is_shown_though_standard_error_is_full(tmp_path: Path) -> None:
    """What else there is to say comes behind it."""
    with FULL.open("w") as full:
        shown = subprocess.run(
            [sys.executable, "-m", "dockgate_server", "keys", "create", "--json"],
            stdout=subprocess.PIPE,
            stderr=full,
            env=os.environ | {"DOCKGATE_STORE__PATH": str(tmp_path / "dockgate.db")},
            check=False,
        )
    assert json.loads(shown.stdout)["secret"].startswith("dks_")


def test_a_closed_standard_error_changes_nothing(tmp_path: Path) -> None:
    """Python has none then; what is said is said to nobody."""
    environment = os.environ | {"DOCKGATE_STORE__PATH": str(tmp_path / "dockgate.db")}
    steps = [(("keys", "create"), 0), (("backup",), 0), (("methods", "nope", "--json"), 2)]
    for arguments, code in steps:
        command = (sys.executable, "-m", "dockgate_server", *arguments)
        closed = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
        called = subprocess.run(closed, env=environment, check=False)
        assert called.returncode == code


async def test_a_server_serves_though_nobody_reads_that_it_does(tmp_path: Path) -> None:
    """As in ``dockgate serve | true``."""
    code, events = await server_process.served_unread(tmp_path / "dockgate.db")
    assert (code, events[-1]) == (0, "stopped")
