"""Messages as JSON and as text."""

import re
import sys

import pytest
from cli.scripted import command, event
from google.protobuf import json_format

from dockgate.downlink.v1 import command_pb2
from dockgate_server.cli import render, table, words


def test_json_has_plain_numbers_short_names_and_rfc3339_times() -> None:
    """What is not set is left out; integers of the device stay integers."""
    message = command("FAILED", 4, failure_code=1, response_code="5001")
    reply = {"result": 5001, "ratio": 0.5, "big": 1e300, "list": [1, None, "x", True]}
    json_format.ParseDict(reply, message.vendor_response)
    message.job.state = command_pb2.JOB_STATE_IN_PROGRESS
    message.job.percent = 0
    document = render.to_json(message)
    assert document == {
        "command_id": "c-1",
        "vendor": "dji",
        "device_id": "drone-001",
        "gateway_id": "dock-001",
        "command_type": "camera_recording_start",
        "status": "FAILED",
        "revision": 4,
        "timeout_seconds": 30,
        "response_code": "5001",
        "vendor_response": reply,
        "failure_code": "DEVICE_EXECUTION_FAILED",
        "accepted_at": "2023-11-14T22:13:20.123Z",
        "deadline_at": "2023-11-14T22:13:50.123Z",
        "job": {"state": "IN_PROGRESS", "percent": 0},
    }
    assert isinstance(document["vendor_response"]["result"], int)
    assert '"result":5001' in render.dumps(document)


def test_a_number_without_a_name_is_shown_as_the_number() -> None:
    """A newer server may know more states than this client."""
    assert render.to_json(command_pb2.Job(state=99)) == {"state": 99}


@pytest.mark.parametrize(
    ("happened", "text"),
    [
        (
            event("ACCEPTED", "ACCEPTED", 1),
            "camera_recording_start for drone-001 through dock-001, 30 s to answer",
        ),
        (event("DELIVERED", "DELIVERED", 3), "taken by the broker"),
        (event("REPLIED", "SUCCEEDED", 4, response_code="0"), "answered 0"),
        (
            event(
                *("REPLIED", "FAILED", 4),
                response_code="5001",
                response_message="camera busy",
                failure_code=1,
                failure_reason="camera busy",
            ),
            "answered 5001: camera busy (DEVICE_EXECUTION_FAILED: camera busy)",
        ),
        (
            event("EXPIRED", "TIMED_OUT", 4, failure_code=6, failure_reason="no answer"),
            "RESPONSE_TIMEOUT: no answer",
        ),
        (
            event(
                *("JOB_PROGRESSED", "SUCCEEDED", 5),
                job=command_pb2.Job(state=2, percent=40, step="check_cover"),
            ),
            "job IN_PROGRESS 40 % check_cover",
        ),
    ],
)
def test_an_event_is_told_in_one_line(happened: command_pb2.CommandEvent, text: str) -> None:
    """Each kind of event has its words."""
    assert words.event(happened) == text


def test_what_a_device_writes_cannot_move_the_cursor() -> None:
    """Escape sequences and line breaks in a device's words are taken out."""
    happened = event(
        *("REPLIED", "FAILED", 4), response_code="1", response_message="a\x1b[2Jb\nc\x9bd"
    )
    assert words.event(happened) == "answered 1: a [2Jb c d"


@pytest.mark.parametrize(
    ("status", "job", "with_job", "expected"),
    [
        ("SUCCEEDED", None, True, True),
        ("SUCCEEDED", command_pb2.JOB_STATE_OK, True, True),
        ("SUCCEEDED", command_pb2.JOB_STATE_FAILED, True, False),
        ("SUCCEEDED", command_pb2.JOB_STATE_FAILED, False, True),
        ("SUCCEEDED", command_pb2.JOB_STATE_PARTIALLY_DONE, True, False),
        ("FAILED", None, True, False),
        ("TIMED_OUT", None, False, False),
    ],
)
def test_success_includes_the_job_where_it_is_followed(
    status: str, job: int | None, with_job: bool, expected: bool
) -> None:
    """The exit code rests on this."""
    message = command(status)
    if job is not None:
        message.job.state = job  # type: ignore[assignment]
    assert words.succeeded(message, with_job=with_job) is expected


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_ids_stay_whole_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: str
) -> None:
    """They are there to be copied; all else is broken, and nothing is cut off."""
    ids = ("03fb4905-d3cf-68b0-36fc-36975d618724", "dk_0123456789abcdef")
    words_of_why = ["not", "sent", "because", "of", "a", "reason", "that", "takes", "many", "words"]
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    headers = ("ABOUT", "TIME", "WHY", "WHO")
    row = (ids[0], "2026-11-20 08:00:00", " ".join(words_of_why), (ids[1], "red"))
    table.show(headers, [row], ids=("ABOUT", "WHO"))
    shown = capsys.readouterr().out
    for whole in ids:
        assert whole in shown
    shown = "".join(shown.split())
    assert all(word[:8] in shown for word in words_of_why)


def test_a_table_is_no_wider_than_the_terminal_where_ids_leave_room(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines that are broken by the terminal itself are hard to read."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    table.show(("ID", "WHY", "MORE"), [("i" * 36, "why " * 40, "more " * 40)], ids=("ID",))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    assert "i" * 36 in lines[1]
