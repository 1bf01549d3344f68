"""``dockgate watch``: lines, exit codes, and going on after a lost connection."""

import json
from typing import Any

import pytest
from cli.scripted import LIFE, Run, Script, command, event

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import errors
from dockgate_server.cli import following
from dockgate_server.errors import DockgateError, FieldViolation, Reason, validation_failed

JOB = command_pb2.Job(state=command_pb2.JOB_STATE_FAILED, percent=40, step="drone")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait before a lost connection is taken up again."""
    monkeypatch.setattr(following, "_FIRST_DELAY", 0.0)


def test_each_event_is_a_line_with_time_status_and_words(run: Run, script: Script) -> None:
    """Heartbeats show nothing."""
    script.answers["watch"] = [(LIFE[0], None, *LIFE[1:], None)]
    called = run("watch", "c-1")
    assert (called.code, called.err) == (0, "")
    lines = called.out.splitlines()
    assert len(lines) == 4
    assert lines[3].split(maxsplit=2)[1:] == ["SUCCEEDED", "answered 0"]


@pytest.mark.parametrize("cut", [ConnectionError(), errors.unavailable("the gateway is stopping")])
@pytest.mark.parametrize("after", range(4))
def test_a_lost_connection_is_taken_up_behind_the_last_event(
    run: Run, script: Script, cut: Exception, after: int
) -> None:
    """Cut anywhere, whoever cut it: nothing is missing and nothing comes twice."""
    script.answers["watch"] = [(*LIFE[:after], cut), (cut,), LIFE[after:]]
    called = run("watch", "c-1", "--json")
    assert called.code == 0
    assert [json.loads(line)["revision"] for line in called.out.splitlines()] == [1, 2, 3, 4]
    assert [request.after_revision for request in script.requests] == [0, after, after]
    notices = [json.loads(line) for line in called.err.splitlines()]
    assert [notice["code"] for notice in notices] == ["RECONNECTING"] * 2
    assert f"behind revision {after}" in notices[0]["message"]


def test_a_server_that_was_never_there_is_not_waited_for(run: Run) -> None:
    """A wrong address must not look like a short interruption."""
    called = run("watch", "c-1", "--server", "127.0.0.1:1")
    assert called.code == 1
    assert called.err.startswith("error: no dockgate server at 127.0.0.1:1")


def test_an_id_that_is_wrong_is_called_so(run: Run, script: Script) -> None:
    """Not command_id, which stands nowhere on the command line."""
    script.answers["watch"] = [validation_failed([FieldViolation("command_id", "is wrong")])]
    called = run("watch", "")
    assert (called.code, called.err) == (2, "error: ID: is wrong\n")


def test_a_refused_watch_is_not_tried_again(run: Run, script: Script) -> None:
    """An unknown command stays unknown."""
    script.answers["watch"] = [DockgateError(Reason.COMMAND_NOT_FOUND, "no command 'c-1'")]
    called = run("watch", "c-1")
    assert (called.code, called.err) == (1, "error: no command 'c-1'\n")


@pytest.mark.parametrize(
    ("options", "code"), [((), 1), (("--no-follow-job",), 0)], ids=["with job", "without"]
)
def test_the_exit_code_counts_the_job_only_where_it_is_followed(
    run: Run, script: Script, options: tuple[str, ...], code: int
) -> None:
    """SUCCEEDED with a failed job is a failure to somebody who follows the job."""
    script.answers["watch"] = [(event("JOB_PROGRESSED", "SUCCEEDED", 5, job=JOB),)]
    called = run("watch", "c-1", *options)
    assert called.code == code
    assert "job FAILED 40 % drone" in called.out
    assert script.requests[0].follow_job is not bool(options)


@pytest.mark.parametrize(
    ("job", "line"),
    [
        (
            {
                "percent": 15,
                "step": "35",
                "step_message": "Notifying task result",
                "result": 314004,
                "result_message": "the device answered with result 314004",
            },
            "job FAILED 15 % step 35: Notifying task result; result 314004: not in DJI's list",
        ),
        (
            {
                "step": "close_cover",
                "result": 314008,
                "result_message": "the device answered with result 314008: timed\nout",
                "break_reason": 1281,
                "break_reason_message": "User exit",
            },
            "job FAILED close_cover; result 314008: timed out; broken off, 1281: User exit",
        ),
        ({"break_reason": 9}, "job FAILED; broken off, 9: not in DJI's list"),
    ],
)
def test_a_failed_job_says_all_that_is_known_of_why(
    run: Run, script: Script, job: dict[str, Any], line: str
) -> None:
    """Where, with which code, and what DJI says of these, if anything."""
    failed = command_pb2.Job(state=command_pb2.JOB_STATE_FAILED, **job)
    script.answers["watch"] = [(event("JOB_PROGRESSED", "SUCCEEDED", 5, job=failed),)]
    assert run("watch", "c-1").out.rstrip("\n").endswith(line)


def test_a_watch_behind_the_end_still_gives_the_exit_code(run: Run, script: Script) -> None:
    """Nothing is streamed, so the command is asked for."""
    script.answers |= {
        "watch": [()],
        "get": [pb.GetCommandResponse(command=command("TIMED_OUT", 4))],
    }
    called = run("watch", "c-1", "--after", "4")
    assert (called.code, called.out) == (1, "")
    assert script.requests[0].after_revision == 4


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["c-1", "--after", "x"], "--after: must be a revision"),
        (["c-1", "--after", "-1"], "--after: must be a revision"),
        (["c-1", "--device", "d"], "leave them out with an ID"),
    ],
)
def test_a_wrong_call_is_exit_code_2(run: Run, arguments: list[str], complaint: str) -> None:
    """Said before anything is sent."""
    called = run("watch", *arguments)
    assert called.code == 2
    assert complaint in called.err


def test_all_commands_are_watched_and_resumed_by_token(run: Run, script: Script) -> None:
    """The token of the last message, a heartbeat's too, opens the stream again."""
    script.answers["watch_all"] = [
        (
            pb.WatchCommandsResponse(heartbeat=pb.Heartbeat(), resume_token="t0"),
            pb.WatchCommandsResponse(event=LIFE[0], resume_token="t1"),
            pb.WatchCommandsResponse(heartbeat=pb.Heartbeat(), resume_token="t2"),
            ConnectionError(),
        ),
        (pb.WatchCommandsResponse(event=LIFE[3], resume_token="t3"),),
    ]
    called = run("watch", "--device", "drone-001", "--type", "x", "--after", "t", "--json")
    assert called.code == 0
    documents = [json.loads(line) for line in called.out.splitlines()]
    assert [(one["revision"], one["resume_token"]) for one in documents] == [(1, "t1"), (4, "t3")]
    assert [request.resume_token for request in script.requests] == ["t", "t2"]
    assert script.requests[1].device_id == "drone-001"
    assert script.requests[1].command_type == "x"


def test_all_commands_as_lines_say_which_command(run: Run, script: Script) -> None:
    """Events of many commands mix."""
    script.answers["watch_all"] = [
        (pb.WatchCommandsResponse(event=LIFE[2], resume_token="t1"),),
    ]
    called = run("watch")
    assert called.out.split(maxsplit=1)[1] == (
        "c-1  DELIVERED   camera_recording_start drone-001: taken by the broker\n"
    )
