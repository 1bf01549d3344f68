"""``dockgate list``, ``dockgate get`` and ``dockgate methods``."""

import json

import pytest
from cli.scripted import Run, Script, command

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import catalogue


def test_a_list_is_a_table_that_is_complete_where_nobody_looks(run: Run, script: Script) -> None:
    """No terminal, no cutting: every column can be taken apart at two spaces."""
    done = command("FAILED", 4, failure_code=1, failure_reason="a" * 200)
    script.answers["list"] = [pb.ListCommandsResponse(commands=[done, command()])]
    called = run("list", "--device", "d", "--status", "failed", "--status", "timed-out")
    assert called.code == 0
    lines = called.out.splitlines()
    assert lines[0].split() == ["COMMAND", "ACCEPTED", "DEVICE", "METHOD", "STATUS", "OUTCOME"]
    assert lines[1].endswith(f"FAILED    DEVICE_EXECUTION_FAILED: {'a' * 200}")
    assert len(lines) == 3
    assert script.requests[0] == pb.ListCommandsRequest(
        page_size=20,
        device_id="d",
        statuses=[command_pb2.COMMAND_STATUS_FAILED, command_pb2.COMMAND_STATUS_TIMED_OUT],
    )


def test_all_pages_are_fetched(run: Run, script: Script) -> None:
    """--all goes on until there is no next page."""
    script.answers["list"] = [
        pb.ListCommandsResponse(commands=[command()], next_page_token="p2"),
        pb.ListCommandsResponse(commands=[command()]),
    ]
    called = run("list", "--all", "--json")
    assert [json.loads(line)["command_id"] for line in called.out.splitlines()] == ["c-1"] * 2
    assert [(one.page_size, one.page_token) for one in script.requests] == [(500, ""), (500, "p2")]


def test_a_limit_ends_the_list_also_when_there_is_more(run: Run, script: Script) -> None:
    """The server is not asked for what is not shown."""
    page = pb.ListCommandsResponse(commands=[command()] * 500, next_page_token="p2")
    script.answers["list"] = [page, pb.ListCommandsResponse(commands=[command()])]
    assert run("list", "--limit", "501", "--json").out.count("\n") == 501
    assert [request.page_size for request in script.requests] == [500, 1]


def test_pages_that_are_not_full_do_not_end_the_list(run: Run, script: Script) -> None:
    """A server gives fewer commands than it was asked for where they are large."""
    script.answers["list"] = [
        pb.ListCommandsResponse(commands=[command()] * 2, next_page_token="p2"),
        pb.ListCommandsResponse(commands=[command()], next_page_token="p3"),
        pb.ListCommandsResponse(commands=[command()] * 2, next_page_token="p4"),
    ]
    assert run("list", "--limit", "5", "--json").out.count("\n") == 5
    assert [request.page_size for request in script.requests] == [5, 3, 2]


def test_no_commands_is_no_output(run: Run, script: Script) -> None:
    """A script that counts lines counts none."""
    script.answers["list"] = [pb.ListCommandsResponse()]
    called = run("list")
    assert (called.code, called.out, called.err) == (0, "", "no commands\n")


def test_a_status_that_does_not_exist_is_named_with_those_that_do(run: Run) -> None:
    """Before anything is sent."""
    called = run("list", "--status", "succeded")
    assert called.code == 2
    assert "there are accepted, delivered, succeeded," in called.err


def test_get_shows_what_is_known(run: Run, script: Script) -> None:
    """Nothing is shown for what is not set."""
    answer = pb.GetCommandResponse(command=command("SUCCEEDED", 4, response_code="0"))
    answer.command.vendor_response["result"] = 0
    script.answers["get"] = [answer, answer]
    called = run("get", "c-1")
    assert called.code == 0
    assert "status      SUCCEEDED\n" in called.out
    assert 'reply       {"result":0}\n' in called.out
    assert "why" not in called.out
    assert json.loads(run("get", "c-1", "--json").out)["vendor_response"] == {"result": 0}
    assert script.requests[0].command_id == "c-1"


def test_methods_are_listed_from_the_catalogue(run: Run) -> None:
    """With what they need."""
    called = run("methods", "--json")
    methods = {one["method"]: one for one in map(json.loads, called.out.splitlines())}
    assert methods["camera_recording_start"]["required"] == ["payload_index"]
    assert methods["charge_open"]["starts_job"] is True
    assert "dock2" in methods["charge_open"]["devices"]
    assert methods["height_limit"]["channel"] == "property_set"
    assert methods["height_limit"]["undone_by"] is None
    assert methods["cover_open"]["undone_by"] == "cover_close"
    assert methods["device_reboot"]["dangerous"]
    assert not methods["cover_open"]["dangerous"]
    assert run("methods").out.startswith("METHOD ")


def test_a_method_is_shown_with_its_fields(run: Run) -> None:
    """As options, ready to be used."""
    called = run("methods", "live_start_push")
    assert "--url_type" in called.out
    assert "1 RTMP" in called.out
    assert "undo     by live_stop_push\n" in called.out
    assert "undo " not in run("methods", "ota_create").out
    assert "danger " not in called.out
    assert "danger   it moves or destroys something" in run("methods", "device_reboot").out
    called = run("methods", "live_start")
    assert called.code == 2
    assert "did you mean 'live_start_push'?" in called.err


def test_a_field_is_shown_with_its_range_and_its_meaning(run: Run) -> None:
    """All that is needed to fill it in, its values too; for programs as well."""
    shown = run("methods", "flighttask_prepare").out
    assert (
        "\n--ready_conditions.battery_capacity  integer, 0 to 100\n    The drone's battery" in shown
    )
    assert "\n--file.url  text, required, at least 1 character\n    Where the dock fetches" in shown
    assert "\n    1 TIMED: At execute_time.\n" in shown
    described = json.loads(run("methods", "flighttask_prepare", "--json").out)
    fields = {one["field"]: one for one in described["fields"]}
    assert fields["rth_altitude"]["rules"] == ["must be 0, or 20 to 1500 (metres)"]
    assert fields["file.url"]["description"] == "Where the dock fetches the file (KMZ)."
    assert fields["task_type"]["meanings"]["TIMED"] == "At execute_time."
    assert described["description"].startswith("The dock takes a flight task")


def test_what_is_shown_of_a_method_fits_the_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but what cannot be broken: addresses."""
    monkeypatch.setenv("COLUMNS", "60")
    lines = run("methods", "flighttask_prepare").out.splitlines()
    assert [line for line in lines if len(line) > 60] == [lines[4]]
    assert lines[4].startswith("page     https://")


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("stick_control", "none; the command ends when it has been sent"),
        ("heart_beat", "none; the command ends when it has been sent"),
        ("camera_recording_start", "within 30 s"),
        ("charge_open", "within 30 s; it means started, a job follows"),
        ("flighttask_prepare", "within 30 s; it means started, a job may follow"),
    ],
)
def test_it_is_said_what_a_method_is_answered(run: Run, method: str, answer: str) -> None:
    """Some never are; an immediate flight begins a job only when it is executed."""
    assert f"\nanswer   {answer}\n" in run("methods", method).out
    described = json.loads(run("methods", method, "--json").out)
    assert described["answers"] is (not answer.startswith("none"))
    assert described["starts_job"] is ("started" in answer)
    assert described["always_starts_job"] is ("follows" in answer)


def test_every_method_and_field_is_shown_with_its_comment(run: Run) -> None:
    """The document that has them is of the same schema."""
    for one in map(json.loads, run("methods", "--json").out.splitlines()):
        assert one["description"], one["method"]
        without = [field["field"] for field in one["fields"] if "description" not in field]
        assert without == [], one["method"]


def test_events_are_listed_and_shown_as_methods_are(run: Run) -> None:
    """With the methods whose jobs they report; by the option alone, as many share their names."""
    assert run("methods", "--events").out.startswith("EVENT ")
    listed = [json.loads(line) for line in run("methods", "--events", "--json").out.splitlines()]
    assert {one["event"] for one in listed} == set(catalogue.EVENTS)
    called = run("methods", "--events", "fly_to_point_progress")
    assert "reports  the job of fly_to_point\n" in called.out
    assert "page" not in run("methods", "--events", "offline_map_sync_progress").out
    (shown,) = [one for one in listed if one["event"] == "hms"]
    assert {"field": "list.0.code", "type": "text"} in shown["fields"]


def test_an_event_that_is_asked_for_as_a_method_is_pointed_at(run: Run) -> None:
    """And a slip is told what was perhaps meant."""
    called = run("methods", "flighttask_progress")
    assert (called.code, called.out) == (2, "")
    assert called.err == (
        "error: flighttask_progress is an event: dockgate methods --events flighttask_progress\n"
    )
    slip = run("methods", "--events", "flighttask_progres")
    assert (slip.code, slip.out) == (2, "")
    assert "did you mean flighttask_progress?" in slip.err
    assert run("methods", "cover_open").code == 0
