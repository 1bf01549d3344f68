"""``dockgate submit``."""

import json
import re
import uuid

import pytest
from cli.scripted import LIFE, Run, Script, command

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import errors
from dockgate_server.errors import DockgateError, FieldViolation, Reason

SUBMIT = ("submit", "camera_recording_start", "--device", "drone-001", "--payload_index", "39-0-7")
ACCEPTED = pb.SubmitCommandResponse(command=command())


def test_a_command_is_submitted_with_a_key_of_its_own(run: Run, script: Script) -> None:
    """The key is a new UUID and is shown, as is what to type to follow the command."""
    script.answers["submit"] = [ACCEPTED]
    called = run(*SUBMIT, "--timeout", "5")
    assert (called.code, called.err) == (0, "")
    [request] = script.requests
    key = request.idempotency_key
    assert str(uuid.UUID(key)) == key
    expected = pb.SubmitCommandRequest(
        device_id="drone-001", idempotency_key=key, timeout_seconds=5
    )
    expected.dji.camera_recording_start.payload_index = "39-0-7"
    assert request == expected
    assert "camera_recording_start for drone-001 through dock-001" in called.out
    assert f"key      {key}" in called.out
    assert re.search(r"^follow   .*watch c-1$", called.out, re.MULTILINE)


def test_another_server_is_named_in_the_command_to_paste(run: Run, script: Script) -> None:
    """Pasted elsewhere, the command must reach the same server."""
    script.answers["submit"] = [ACCEPTED]
    address = script.address.replace("127.0.0.1", "localhost")
    called = run(*SUBMIT, "--server", address)
    assert f"watch c-1 --server {address}" in called.out


def test_json_is_the_command_with_the_key(run: Run, script: Script) -> None:
    """One document on one line."""
    script.answers["submit"] = [pb.SubmitCommandResponse(command=command(), replayed=True)]
    called = run(*SUBMIT, "--key", "k-1", "--json")
    assert called.out.count("\n") == 1
    document = json.loads(called.out)
    assert document["command_id"] == "c-1"
    assert document["status"] == "ACCEPTED"
    assert document["idempotency_key"] == "k-1"
    assert document["replayed"] is True


def test_a_method_without_fields_is_set(run: Run, script: Script) -> None:
    """An empty message is not an absent one."""
    script.answers["submit"] = [ACCEPTED]
    assert run("submit", "charge_open", "--device", "dock-001").code == 0
    assert script.requests[0].dji.WhichOneof("method") == "charge_open"


def test_watch_follows_to_the_end_and_its_exit_code_says_how_it_ended(
    run: Run, script: Script
) -> None:
    """The submission first, then a line for each event."""
    script.answers |= {"submit": [ACCEPTED], "watch": [LIFE]}
    called = run(*SUBMIT, "--watch")
    assert called.code == 0
    lines = called.out.splitlines()
    assert [line.split()[1] for line in lines[-4:]] == [
        *("ACCEPTED", "ACCEPTED", "DELIVERED", "SUCCEEDED"),
    ]
    assert script.requests[1] == pb.WatchCommandRequest(command_id="c-1", follow_job=True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["submit"], "missing argument 'METHOD' (see: dockgate submit --help)"),
        (["submit", "charge_open"], "missing option '--device'"),
        (["submit", "--device", "d", "--payload_index", "1"], "the method comes first"),
        (["submit", "charge_opn", "--device", "d"], "did you mean 'charge_open'?"),
        ([*SUBMIT, "--timeout", "301"], "'--timeout': must be less than or equal to 300"),
        ([*SUBMIT, "--timeout", "-1"], "'--timeout': must be greater than or equal to 0"),
        ([*SUBMIT, "--server", "nowhere"], "write HOST:PORT"),
        ([*SUBMIT[:4], "@/nowhere.json"], "cannot read the payload from /nowhere.json"),
        ([*SUBMIT[:4], '{"payload_index": 39}'], "payload_index: must be text, not a number"),
        ([*SUBMIT[:4], '{"index": 39}'], "index: is not a field here"),
        (["submti"], "did you mean 'submit'"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2_and_sends_nothing(
    run: Run, script: Script, arguments: list[str], complaint: str
) -> None:
    """What is wrong, with which field, and what would be right."""
    called = run(*arguments)
    assert called.code == 2
    assert called.out == ""
    assert called.err.startswith("error: ")
    assert complaint.lower() in called.err.lower()
    assert called.err.count("\n") == 1
    assert script.requests == []


def test_fields_that_the_server_refuses_go_by_their_short_names(run: Run, script: Script) -> None:
    """The path within the request is of no use to somebody who wrote --payload_index."""
    refused = errors.validation_failed(
        [
            FieldViolation("dji.camera_recording_start.payload_index", "value is required"),
            FieldViolation("device_id", "must not contain '/'"),
        ]
    )
    script.answers["submit"] = [refused, refused]
    called = run(*SUBMIT)
    assert called.code == 2
    assert called.err == (
        "error: payload_index: value is required; --device: must not contain '/'\n"
    )
    document = json.loads(run(*SUBMIT, "--json").err)
    assert document["code"] == "VALIDATION_FAILED"
    assert document["details"] == [
        {"field": "payload_index", "description": "value is required"},
        {"field": "device_id", "description": "must not contain '/'"},
    ]


def test_a_refusal_by_the_state_of_things_is_exit_code_1(run: Run, script: Script) -> None:
    """The call was right; it may be right again later."""
    unknown = DockgateError(
        Reason.DEVICE_NOT_FOUND, "no device 'd' is known", metadata={"device_id": "d"}
    )
    script.answers["submit"] = [unknown, unknown]
    called = run(*SUBMIT)
    assert (called.code, called.err) == (1, "error: no device 'd' is known\n")
    document = json.loads(run(*SUBMIT, "--json").err)
    assert document == {
        "code": "DEVICE_NOT_FOUND",
        "message": "no device 'd' is known",
        "metadata": {"device_id": "d"},
    }


def test_an_answer_that_got_lost_tells_how_to_be_sure(run: Run, script: Script) -> None:
    """Submitting again with the same key never sends the command twice."""
    script.answers["submit"] = [ConnectionError()]
    called = run(*SUBMIT, "--key", "k-1")
    assert called.code == 1
    assert "submit again with --key k-1" in called.err


def test_no_server_is_one_line(run: Run) -> None:
    """Port 1 is where nobody listens."""
    called = run(*SUBMIT, "--server", "127.0.0.1:1")
    assert called.code == 1
    assert called.err == (
        "error: no dockgate server at 127.0.0.1:1 (start one with: dockgate serve)\n"
    )
