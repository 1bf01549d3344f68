"""What a dock says, without a broker."""

import json

import pytest

from dockgate_server.simulate import behaviour as b
from dockgate_server.simulate import jobs, replies


def command(method, data=None):
    return replies.Command("tid-1", "bid-1", method, data)


def answers(method, *behaviours):
    return replies.reply_payloads(
        command(method), b.conduct_of(behaviours), now_ms=1700000000123, stray_tid="stray"
    )


def test_a_reply_repeats_tid_bid_and_method_and_has_no_gateway():
    (payload,) = answers("camera_recording_start")
    assert json.loads(payload) == {
        "tid": "tid-1",
        "bid": "bid-1",
        "timestamp": 1700000000123,
        "method": "camera_recording_start",
        "data": {"result": 0},
    }


@pytest.mark.parametrize("method", ["charge_open", "cover_open", "device_reboot", "ota_create"])
def test_a_dock_job_is_answered_as_sent(method):
    (payload,) = answers(method)
    assert json.loads(payload)["data"] == {"result": 0, "output": {"status": "sent"}}


@pytest.mark.parametrize(
    "method", ["flighttask_prepare", "flighttask_execute", "fileupload_start", "return_home"]
)
def test_flights_and_uploads_are_answered_with_the_result_alone(method):
    (payload,) = answers(method)
    assert json.loads(payload)["data"] == {"result": 0}


def test_each_wrong_reply_is_wrong_in_one_way():
    right = json.loads(answers("camera_aim")[0])
    other = json.loads(answers("camera_aim", b.WrongMethod())[0])
    assert other == right | {"method": "gimbal_reset"}
    named = json.loads(answers("camera_aim", b.WrongMethod("camera_photo_take"))[0])
    assert named == right | {"method": "camera_photo_take"}
    assert json.loads(answers("gimbal_reset", b.WrongMethod())[0])["method"] != "gimbal_reset"
    assert json.loads(answers("camera_aim", b.WrongTid())[0]) == right | {"tid": "stray"}
    assert json.loads(answers("camera_aim", b.NoResult())[0]) == right | {"data": {}}
    no_result = json.loads(answers("charge_open", b.NoResult())[0])["data"]
    assert no_result == {"output": {"status": "sent"}}


def test_an_unreadable_reply_is_not_json():
    (payload,) = answers("camera_aim", b.Unreadable())
    with pytest.raises(json.JSONDecodeError):
        json.loads(payload)


def test_a_reply_sent_twice_is_the_same_reply():
    first, second = answers("camera_aim", b.Twice())
    assert first == second


@pytest.mark.parametrize("behaviour", [b.Silent(), b.Offline(1)])
def test_a_silent_or_absent_dock_says_nothing_and_starts_nothing(behaviour):
    assert answers("charge_open", behaviour) == ()
    assert not replies.is_accepted("charge_open", b.conduct_of([behaviour]))


@pytest.mark.parametrize("data", [{"result": 5001, "code": 5001}, [], "", None])
def test_a_fixed_reply_is_sent_as_it_is_and_a_refused_job_does_not_start(data):
    (payload,) = answers("charge_open", b.Reply(data))
    assert json.loads(payload)["data"] == data
    assert not replies.is_accepted("charge_open", b.conduct_of([b.Reply(data)]))


@pytest.mark.parametrize("data", [{"result": 0}, {"result": "0"}])
def test_a_fixed_reply_with_result_0_starts_the_job(data):
    assert replies.is_accepted("charge_open", b.conduct_of([b.Reply(data)]))


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"tid": "t", "bid": "b"},
        {"tid": 1, "bid": "b", "method": "m"},
        {"bid": "b", "method": "m"},
        {"tid": "t", "bid": "", "method": "m"},
    ],
)
def test_a_command_without_tid_bid_or_method_is_refused(message):
    with pytest.raises(ValueError, match=r"no (tid|bid|method)"):
        replies.read_command(message)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_message_must_be_a_json_object(payload):
    with pytest.raises(ValueError, match="not"):
        replies.read_message(payload)


def test_the_announcement_has_the_documented_types():
    data = replies.update_topo(drone="drone-9", tid="t", bid="b", now_ms=1)["data"]
    assert data["domain"] == "3"
    assert (type(data["type"]), type(data["sub_type"])) == (int, int)
    (drone,) = data["sub_devices"]
    assert (drone["sn"], drone["domain"], drone["index"]) == ("drone-9", "0", "A")
    assert (type(drone["type"]), type(drone["sub_type"])) == (int, int)
    assert data["thing_version"]


def test_the_last_will_is_an_announcement_without_ids_time_and_drone():
    will = replies.absence()
    said = replies.update_topo(drone="drone-9", tid="t", bid="b", now_ms=1)
    assert will == {"method": "update_topo", "data": {**said["data"], "sub_devices": []}}


# DJI's services methods whose progress is reported by events.
PROGRESS_TABLE = (
    "camera_photo_take",
    "charge_close",
    "charge_open",
    "cloud_control_auth_request",
    "cover_close",
    "cover_force_close",
    "cover_open",
    "device_format",
    "device_reboot",
    "drc_mode_enter",
    "drone_close",
    "drone_format",
    "drone_open",
    "esim_activate",
    "esim_operator_switch",
    "fileupload_start",
    "flight_areas_update",
    "flighttask_create",
    "flighttask_execute",
    "flighttask_prepare",
    "fly_to_point",
    "fly_to_point_update",
    "in_flight_wayline_deliver",
    "ota_create",
    "poi_mode_enter",
    "putter_close",
    "putter_open",
    "return_home",
    "rtk_calibration",
    "speaker_audio_play_start",
    "speaker_tts_play_start",
    "takeoff_to_point",
    "upload_flighttask_media_prioritize",
)


@pytest.mark.parametrize("method", PROGRESS_TABLE)
@pytest.mark.parametrize("data", [None, {}, [], "", {"params": {"files": {}}, "devices": 3}])
def test_every_job_runs_to_its_end_whatever_the_parameters(method, data):
    job = jobs.job_of(command(method, data))
    assert job is not None
    percents = [report.percent for report in job.reports]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert [report.state for report in job.reports][-1] == "done"
    assert {report.state for report in job.reports[:-1]} <= {"sent", "running"}


def test_other_methods_have_no_job():
    assert jobs.job_of(command("camera_recording_start")) is None


def test_a_dock_job_reports_steps_with_the_bid_of_its_command():
    job = jobs.job_of(command("charge_open"))
    assert {report.bid for report in job.reports} == {"bid-1"}
    assert [report.data["output"]["progress"]["step_key"] for report in job.reports] == [
        "get_bid",
        "check_work_mode",
        "check_task_state",
        "check_scram_state",
        "check_cover",
        "start_charge",
        "start_charge",
    ]
    assert job.reports[-1].data == {
        "result": 0,
        "output": {"status": "ok", "progress": {"percent": 100, "step_key": "start_charge"}},
    }
    assert {report.need_reply for report in job.reports} == {None}


def test_fly_to_point_can_only_be_tied_by_its_id():
    job = jobs.job_of(command("fly_to_point", {"fly_to_id": "to-1"}))
    assert {report.bid for report in job.reports} == {None}
    assert {report.data["fly_to_id"] for report in job.reports} == {"to-1"}
    assert job.reports[-1].data["status"] == "wayline_ok"


def test_an_upload_reports_each_file():
    files = [{"module": "0", "object_key": "a"}, {"module": "3", "object_key": "b"}]
    job = jobs.job_of(command("fileupload_start", {"params": {"files": files}}))
    last = job.reports[-1].data
    assert "result" not in last
    assert [file["key"] for file in last["output"]["ext"]["files"]] == ["a", "b"]
    assert last["output"]["status"] == "ok"


@pytest.mark.parametrize("method", PROGRESS_TABLE)
def test_a_job_fails_where_it_is_told_to_if_its_event_can_say_so(method):
    with_a_file = {"params": {"files": [{"module": "0"}]}}
    failing = jobs.job_of(command(method, with_a_file), b.JobFails(321004, 40))
    can = jobs.can_end(method, "failed")
    assert failing.reports[-1].state == ("failed" if can else "done")
    if can:
        assert failing.reports[-1].percent == 40
        assert all(report.percent < 40 for report in failing.reports[:-1])
        assert "321004" in json.dumps(failing.reports[-1].data)


@pytest.mark.parametrize("method", PROGRESS_TABLE)
@pytest.mark.parametrize("status", ["canceled", "partially_done", "rejected", "timeout"])
def test_a_job_ends_as_it_is_told_to_if_its_event_has_a_word_for_it(method, status):
    job = jobs.job_of(command(method), b.JobEnds(status, 40))
    last = job.reports[-1]
    assert last.state == (status if jobs.can_end(method, status) else "done")
    assert all(report.state in ("sent", "running") for report in job.reports[:-1])
    if last.state == status and "output" in last.data:
        assert last.data["output"]["status"] == status


@pytest.mark.parametrize("method", PROGRESS_TABLE)
def test_a_job_that_falls_silent_never_tells_its_end(method):
    whole = jobs.job_of(command(method)).reports
    silent = jobs.job_of(command(method), b.JobSilent(40)).reports
    assert silent == tuple(one for one in whole[:-1] if one.percent <= 40)


@pytest.mark.parametrize(
    ("method", "word"),
    [
        ("charge_open", "failed"),
        ("camera_photo_take", "fail"),
        ("fly_to_point", "wayline_failed"),
        ("flight_areas_update", "fail"),
        ("in_flight_wayline_deliver", 7),
    ],
)
def test_each_event_has_its_own_word_for_failure(method, word):
    data = jobs.job_of(command(method), b.JobFails()).reports[-1].data
    assert data.get("output", data)["status"] == word


@pytest.mark.parametrize(
    ("method", "word"), [("fly_to_point", "wayline_cancel"), ("in_flight_wayline_deliver", 5)]
)
def test_some_events_have_their_own_word_for_a_job_that_is_given_up(method, word):
    assert jobs.job_of(command(method), b.JobEnds("canceled")).reports[-1].data["status"] == word
