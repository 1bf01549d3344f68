"""Flights as a real Dock 3 reports them: on their way, stopped, and ended in each way."""

import asyncio
import dataclasses
import json

import pytest

from dockgate_server import simulate
from dockgate_server.simulate import SimulatedDock, flights, jobs, replies
from dockgate_server.simulate import behaviour as b
from dockgate_server.simulate.runs import Runs

# Seconds that no test waits for.
LONG = 60.0

# The members of `ext` in recorded reports of a Dock 3.
ON_GROUND = {
    "current_waypoint_index",
    "flight_id",
    "media_count",
    "track_id",
    "wayline_id",
    "wayline_mission_state",
}
IN_THE_AIR = ON_GROUND - {"media_count"}
BREAK_POINT = {
    "attitude_head",
    "break_reason",
    "height",
    "index",
    "latitude",
    "longitude",
    "progress",
    "state",
    "wayline_id",
}


def flight(*ending):
    command = replies.Command("t", "b", "flighttask_execute", {"flight_id": "flight-7"})
    return jobs.job_of(command, *ending)


def ext(report):
    return report.data["output"]["ext"]


def status(report):
    return report.data["output"]["status"]


def airborne():
    return next(one for one in flight().reports if ext(one)["wayline_mission_state"] == 6)


def test_a_flight_goes_from_sent_over_its_steps_to_ok():
    job = flight()
    assert job.flight_id == "flight-7"
    assert {report.bid for report in job.reports} == {"flight-7"}
    assert {report.event for report in job.reports} == {"flighttask_progress"}
    assert [status(report) for report in job.reports] == [
        "sent",
        *["in_progress"] * (len(job.reports) - 2),
        "ok",
    ]
    progress = [report.data["output"]["progress"] for report in job.reports]
    assert [one["percent"] for one in progress] == [one.percent for one in job.reports]
    assert [one["current_step"] for one in progress] == sorted(
        one["current_step"] for one in progress
    )
    assert progress[-1] == {"current_step": 36, "percent": 100}
    assert {report.data["result"] for report in job.reports} == {0}


def test_a_flight_asks_for_an_answer_only_at_its_end():
    assert [one.need_reply for one in flight().reports] == [0] * (len(flight().reports) - 1) + [1]


def test_the_reports_have_the_members_of_recorded_ones():
    grounded = [one for one in flight().reports if one.percent != 90]
    flying = [one for one in flight().reports if one.percent == 90]
    assert {frozenset(ext(one)) for one in grounded} == {frozenset(ON_GROUND)}
    assert ext(flying[0]).keys() == IN_THE_AIR | {"transition_wayline_info"}
    assert {frozenset(ext(one)) for one in flying[1:]} == {frozenset(IN_THE_AIR)}
    assert {ext(one)["wayline_id"] for one in grounded[:-2]} == {65535}
    assert {ext(one)["wayline_id"] for one in flying} == {0}
    assert [ext(one)["current_waypoint_index"] for one in flying] == [0, 1, 2, 3]
    (track,) = {ext(one)["track_id"] for one in flying}
    assert len(track) == 36


def test_a_flight_that_fails_on_the_ground_reports_like_a_recorded_one():
    last = flight(b.JobFails(314004, 15)).reports[-1]
    assert last.data == {
        "output": {
            "ext": {
                "current_waypoint_index": 0,
                "flight_id": "flight-7",
                "media_count": 0,
                "track_id": "",
                "wayline_id": 65535,
                "wayline_mission_state": 2,
            },
            "progress": {"current_step": 36, "percent": 15},
            "status": "failed",
        },
        "result": 314004,
    }
    assert last.need_reply == 1


@pytest.mark.parametrize(
    ("ending", "word", "result", "reason"),
    [
        (b.JobFails(321770, 92), "failed", 321770, 517),
        (b.JobEnds("partially_done", 95), "partially_done", 0, 773),
        (b.JobEnds("canceled", 92), "canceled", 0, 1281),
        (b.JobEnds("timeout", 92, 319016), "timeout", 319016, 65534),
    ],
)
def test_a_flight_that_ends_in_the_air_tells_its_break_point(ending, word, result, reason):
    last = flight(ending).reports[-1]
    assert (status(last), last.data["result"]) == (word, result)
    assert ext(last).keys() == ON_GROUND | {"break_point"}
    assert ext(last)["break_point"].keys() == BREAK_POINT
    assert ext(last)["break_point"]["break_reason"] == reason
    assert ext(last)["break_point"]["index"] == 2


def test_a_paused_flight_reports_like_a_recorded_one():
    stopped, paused = flights.paused(airborne())
    assert (status(stopped), ext(stopped)["wayline_mission_state"]) == ("in_progress", 9)
    assert (status(paused), ext(paused)["wayline_mission_state"]) == ("paused", 2)
    assert ext(paused).keys() == IN_THE_AIR | {"break_point"}
    assert ext(paused)["break_point"]["break_reason"] == 1281
    assert (stopped.need_reply, paused.need_reply) == (0, 1)
    assert paused.data["output"]["progress"] == {"current_step": 27, "percent": 90}


def test_a_flight_that_goes_on_heads_for_its_wayline_again():
    (resumed,) = flights.resumed(flights.paused(airborne())[-1])
    assert (status(resumed), ext(resumed)["wayline_mission_state"]) == ("in_progress", 5)
    assert ext(resumed).keys() == IN_THE_AIR | {"transition_wayline_info"}


def test_a_flight_that_is_stopped_on_the_ground_has_no_break_point():
    (paused,) = flights.paused(flight().reports[1])
    assert status(paused) == "paused"
    (resumed,) = flights.resumed(paused)
    assert status(resumed) == "in_progress"
    for report in (paused, resumed, flights.canceled(paused)):
        assert ext(report).keys() == ON_GROUND
    assert flights.canceled(paused).percent == paused.percent


def test_a_prepared_flight_says_that_it_is_ready_and_does_not_fly():
    command = replies.Command("t", "b", "flighttask_prepare", {"flight_id": "flight-7"})
    job = jobs.job_of(command)
    (ready,) = job.reports
    assert (ready.event, ready.bid) == ("flighttask_ready", "flight-7")
    assert ready.data == {"flight_ids": ["flight-7"]}
    assert job.flight_id is None


def test_data_is_json_that_could_be_sent():
    for report in flight().reports:
        json.dumps(report.data, allow_nan=False)


def command(method, data=None):
    return replies.Command("t", "b", method, data)


@pytest.fixture
def fly(in_no_time):
    """Runs flight-1, a report a second, with orders at their second; gives each report's time.

    Each report takes some seconds to leave, as it would without a connection.
    """

    def run(*orders, ending=None, takes=0.0):
        told = []

        async def report(one):
            told.append((asyncio.get_running_loop().time(), one))
            await asyncio.sleep(takes)

        async def before_takeoff(flight_id):
            assert flight_id == "flight-1"

        async def follow():
            async with asyncio.TaskGroup() as tasks:
                runs = Runs(
                    simulate.DockConfig(step_every=1.0),
                    report=report,
                    before_takeoff=before_takeoff,
                    tasks=tasks,
                )
                execute = command("flighttask_execute", {"flight_id": "flight-1"})
                runs.start(jobs.job_of(execute, ending))
                for second, method, data in orders:
                    await asyncio.sleep(second - asyncio.get_running_loop().time())
                    runs.control(command(method, data))

        in_no_time(follow())
        return told

    return run


# One report a second from the first second on: heading for the wayline at 8, on it from 9 to 11.
ON_ITS_WAY = 9.5


def test_a_flight_reports_at_its_pace(fly):
    told = fly()
    assert [at for at, _ in told] == [float(second) for second in range(1, 14)]
    assert [status(one) for _, one in told][-2:] == ["in_progress", "ok"]


@pytest.mark.parametrize(
    "data",
    [None, {}, "", {"flight_ids": [""]}, {"flight_ids": ["flight-1"]}, {"flight_ids": [{}, 1]}],
)
def test_a_flight_is_paused_at_once_and_goes_on_when_it_is_told_to(fly, data):
    told = fly((ON_ITS_WAY, "flighttask_pause", data), (100.0, "flighttask_recovery", data))
    after = [(at, status(one), ext(one)["wayline_mission_state"]) for at, one in told[9:]]
    assert after == [
        (ON_ITS_WAY, "in_progress", 9),
        (ON_ITS_WAY, "paused", 2),
        (100.0, "in_progress", 5),
        (101.0, "in_progress", 6),
        (102.0, "in_progress", 6),
        (103.0, "in_progress", 2),
        (104.0, "ok", 2),
    ]


def test_what_is_said_twice_to_a_flight_is_done_once(fly):
    once = fly((ON_ITS_WAY, "flighttask_pause", None), (100.0, "flighttask_recovery", None))
    twice = fly(
        (ON_ITS_WAY, "flighttask_pause", None),
        (50.0, "flighttask_pause", None),
        (100.0, "flighttask_recovery", None),
        (100.5, "flighttask_recovery", None),
    )
    assert twice == once


def test_a_drone_that_is_called_home_cancels_its_flight_and_keeps_the_break_point(fly):
    told = fly((ON_ITS_WAY, "return_home", ""))[9:]
    assert [at for at, _ in told] == [ON_ITS_WAY, ON_ITS_WAY, ON_ITS_WAY + 1]
    reports = [one for _, one in told]
    assert [status(one) for one in reports] == ["in_progress", "paused", "canceled"]
    assert [ext(one)["wayline_mission_state"] for one in reports] == [9, 2, 2]
    assert {ext(one)["break_point"]["break_reason"] for one in reports[1:]} == {1283}
    assert [one.need_reply for one in reports] == [0, 1, 1]
    assert reports[-1].data["result"] == 322283
    assert reports[-1].data["output"]["progress"] == {"current_step": 36, "percent": 95}


def test_a_paused_drone_can_be_called_home(fly):
    told = fly((ON_ITS_WAY, "flighttask_pause", None), (50.0, "return_home", None))
    assert [(at, status(one)) for at, one in told[-2:]] == [(50.0, "paused"), (51.0, "canceled")]
    assert ext(told[-1][1])["break_point"]["break_reason"] == 1283


def test_a_drone_on_its_way_home_is_not_stopped_any_more(fly):
    told = fly(
        (ON_ITS_WAY, "return_home", None),
        (ON_ITS_WAY + 0.5, "flighttask_pause", None),
        (ON_ITS_WAY + 0.5, "return_home", None),
    )
    assert told == fly((ON_ITS_WAY, "return_home", None))


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("flighttask_undo", {"flight_ids": ["flight-1"]}),
        ("flighttask_stop", {"flight_id": "flight-1", "reason": 0}),
        ("return_home", None),
        ("flight_setup_abort", None),
    ],
)
def test_a_flight_can_be_given_up_before_it_takes_off(fly, method, data):
    at, last = fly((2.5, method, data))[-1]
    assert (at, status(last), last.data["result"]) == (3.5, "canceled", 0)
    assert "break_point" not in ext(last)
    assert last.percent == 5


def test_a_flight_that_is_given_up_in_the_air_tells_its_break_point(fly):
    _, last = fly((ON_ITS_WAY, "flighttask_undo", {"flight_ids": ["flight-1"]}))[-1]
    assert status(last) == "canceled"
    assert ext(last)["break_point"]["break_reason"] == 1281


def test_only_the_flight_that_is_named_is_stopped(fly):
    others = {"flight_ids": ["flight-2"]}
    assert fly((2.5, "flighttask_undo", others), (3.5, "flighttask_pause", others)) == fly()


def test_a_flight_that_has_ended_is_not_stopped_any_more(fly):
    orders = [(20.0, method, None) for method in ("flighttask_pause", "return_home")]
    assert fly(*orders) == fly()


def test_a_flight_whose_last_report_has_not_left_yet_is_not_stopped_any_more(fly):
    told = fly(takes=3.0)
    at, last = told[-1]
    assert status(last) == "ok"
    assert fly((at + 1.0, "flighttask_pause", None), takes=3.0) == told
    assert not flights.is_airborne(flight(b.JobFails(314004, 90)).reports[-1])


def test_a_flight_that_fell_silent_says_nothing_any_more(fly):
    silent = fly((20.0, "flighttask_undo", None), ending=b.JobSilent(15))
    assert [one.percent for _, one in silent] == [0, 5, 10]


@pytest.mark.broker
async def test_a_flight_on_a_broker_obeys_what_the_dock_has_accepted(cloud, config):
    async with SimulatedDock(dataclasses.replace(config, step_every=LONG)) as dock:
        dock.behave("return_home", simulate.Reply({"result": 316026}))
        await dock.wait_ready()
        await cloud.send("flighttask_execute", {"flight_id": "flight-1"})
        await cloud.reply()
        await cloud.send("return_home")
        assert (await cloud.reply())["data"]["result"] == 316026
        await cloud.send("flighttask_pause")
        event = await cloud.event()
    assert (event["method"], event["bid"]) == ("flighttask_progress", "flight-1")
    assert event["data"]["output"]["status"] == "paused"
    assert event["need_reply"] == 1
