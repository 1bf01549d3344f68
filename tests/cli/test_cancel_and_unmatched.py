"""``dockgate cancel`` and ``dockgate unmatched``."""

import json

from cli.scripted import Run, Script, command, event

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.cli import words
from dockgate_server.errors import DockgateError, Reason


def test_a_cancelled_command_is_named(run: Run, script: Script) -> None:
    """With what will not happen."""
    answer = pb.CancelCommandResponse(command=command("FAILED", 2, failure_code=9))
    script.answers["cancel"] = [answer, answer]
    called = run("cancel", "c-1")
    assert (called.code, called.err) == (0, "")
    assert called.out == (
        "cancelled, and never sent: camera_recording_start for drone-001 through dock-001\n"
    )
    assert json.loads(run("cancel", "c-1", "--json").out)["failure_code"] == "CANCELLED"
    assert script.requests[0] == pb.CancelCommandRequest(command_id="c-1")


def test_a_refusal_says_what_would_undo_it(run: Run, script: Script) -> None:
    """One line for people; for programs the inverse method by itself."""
    refused = DockgateError(
        Reason.COMMAND_NOT_CANCELLABLE,
        "it was sent; camera_recording_stop is the method that undoes it",
        metadata={"inverse_method": "camera_recording_stop"},
    )
    script.answers["cancel"] = [refused, refused]
    called = run("cancel", "c-1")
    assert called.code == 1
    assert "camera_recording_stop is the method that undoes it" in called.err
    said = json.loads(run("cancel", "c-1", "--json").err)
    assert (said["code"], said["metadata"]["inverse_method"]) == (
        "COMMAND_NOT_CANCELLABLE",
        "camera_recording_stop",
    )


def _page() -> pb.ListUnmatchedResponsesResponse:
    page = pb.ListUnmatchedResponsesResponse(recorded_total=12)
    known = page.responses.add(gateway_id="dock-001", tid="t1", method="cover_open", reason="why")
    known.data.struct_value["result"] = 0
    known.received_at.FromMilliseconds(1_700_000_000_123)
    page.responses.add(gateway_id="dock-001", reason="not JSON\x1b[2J", raw=b"\xff\x00")
    return page


def test_replies_that_fit_nothing_are_a_table(run: Run, script: Script) -> None:
    """What a device wrote cannot move the cursor; how many there were goes to standard error."""
    script.answers["unmatched"] = [_page()]
    called = run("unmatched", "--gateway", "dock-001", "--limit", "5")
    head, first, second = called.out.splitlines()
    assert head.split() == ["RECEIVED", "GATEWAY", "METHOD", "TID", "WHY", "DATA"]
    assert first.split()[-4:] == ["cover_open", "t1", "why", '{"result":0}']
    assert "\x1b" not in second
    assert called.err == "12 recorded in all\n"
    assert script.requests[0] == pb.ListUnmatchedResponsesRequest(
        page_size=5, gateway_id="dock-001"
    )


def test_replies_are_documents_for_programs(run: Run, script: Script) -> None:
    """JSON as JSON; bytes as the JSON of protobuf writes them."""
    script.answers["unmatched"] = [_page()]
    first, second = map(json.loads, run("unmatched", "--json").out.splitlines())
    assert first["data"] == {"result": 0}
    assert second["raw"] == "/wA="


def test_no_replies_is_no_output(run: Run, script: Script) -> None:
    """A script that counts lines counts none."""
    script.answers["unmatched"] = [pb.ListUnmatchedResponsesResponse()]
    called = run("unmatched")
    assert (called.code, called.out, called.err) == (0, "", "no replies\n")


def test_the_policy_for_a_dock_that_is_away_is_an_option(run: Run, script: Script) -> None:
    """Absent where it is not said: then it is the method's."""
    script.answers["submit"] = [pb.SubmitCommandResponse(command=command())] * 2
    run("submit", "charge_open", "--device", "dock-001", "--offline", "queue")
    run("submit", "charge_open", "--device", "dock-001")
    policies = [request.offline_policy for request in script.requests]
    assert policies == [
        command_pb2.OFFLINE_POLICY_QUEUE,
        command_pb2.OFFLINE_POLICY_UNSPECIFIED,
    ]


def test_every_kind_of_event_has_words() -> None:
    """A number would help nobody."""
    for name, number in command_pb2.CommandEventKind.items():
        if number:
            kind = name.removeprefix("COMMAND_EVENT_KIND_")
            assert not words.event(event(kind, "ACCEPTED", 1)).startswith("event ")
