"""Events that are repeated until they are answered, and those that no command has caused."""

import asyncio
import dataclasses
from collections import Counter

import pytest

from dockgate_server import simulate
from dockgate_server.simulate import SimulatedDock, notices
from dockgate_server.simulate.events import Events


def saying(in_no_time, link, *answers, **config):
    """Say an event that asks for an answer, which comes at these seconds; return what happened."""
    happened = []

    async def follow():
        async with asyncio.TaskGroup() as tasks:
            events = Events(
                simulate.DockConfig(**config),
                link=link,
                happened=lambda kind, text, **details: happened.append(kind),
                now_ms=lambda: 1,
                tasks=tasks,
            )
            tid = await events.say("flighttask_ready", {"flight_ids": []}, need_reply=1)
            assert events.unanswered == {tid}
            for second in answers:
                await asyncio.sleep(second - asyncio.get_running_loop().time())
                events.hear(tid)
        assert not events.unanswered

    in_no_time(follow())
    return happened


def test_an_unanswered_event_comes_again_after_4_and_8_seconds_and_is_then_given_up(
    in_no_time, link
):
    happened = saying(in_no_time, link)
    assert link.times("flighttask_ready") == [0.0, 4.0, 12.0]
    assert len({said["tid"] for _, _, said in link.said}) == 1
    assert happened == ["reported", "unanswered", "unanswered", "given-up"]


@pytest.mark.parametrize(
    ("answered", "said"), [(0.0, [0.0]), (3.9, [0.0]), (5.0, [0.0, 4.0]), (12.5, [0.0, 4.0, 12.0])]
)
def test_an_event_is_not_said_again_once_it_is_answered(in_no_time, link, answered, said):
    happened = saying(in_no_time, link, answered)
    assert link.times("flighttask_ready") == said
    assert "given-up" not in happened


def test_an_event_is_repeated_as_often_as_the_dock_is_told_to(in_no_time, link):
    saying(in_no_time, link, event_repeats=(1.0,) * 9)
    assert link.times("flighttask_ready") == [float(second) for second in range(10)]


def test_nobody_can_answer_an_event_that_was_not_said(in_no_time, link):
    async def follow():
        async with asyncio.TaskGroup() as tasks:
            events = Events(
                simulate.DockConfig(),
                link=link,
                happened=lambda kind, text, **details: None,
                now_ms=lambda: 1,
                tasks=tasks,
            )
            assert not events.hear("tid-1")
            assert not events.hear(None)

    in_no_time(follow())


def test_an_event_goes_out_and_is_repeated_though_its_job_is_stopped(in_no_time, link):
    """A flight that is stopped just then must not lose what it was about to report."""
    plain = link.publish

    async def slowly(topic, payload):
        await asyncio.sleep(0.5)
        await plain(topic, payload)

    link.publish = slowly

    async def follow():
        async with asyncio.TaskGroup() as tasks:
            events = Events(
                simulate.DockConfig(event_repeats=(4.0,)),
                link=link,
                happened=lambda kind, text, **details: None,
                now_ms=lambda: 1,
                tasks=tasks,
            )
            job = tasks.create_task(events.say("flighttask_progress", {}, need_reply=1))
            await asyncio.sleep(0.1)
            job.cancel()

    in_no_time(follow())
    assert link.times("flighttask_progress") == [0.5, 5.0]


@pytest.mark.broker
async def test_any_event_can_be_sent(cloud, config):
    cloud.answers_events = True
    data = {"sn": config.drone, "action": 1, "reason": "0"}
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        tid = await dock.send_event("device_exit_homing_notify", data, need_reply=1, bid="bid-1")
        said = await cloud.event()
        (answer,) = await dock.wait_received(1, on="events_reply")
        assert not dock.unanswered_events
        await dock.send_event("hms", {"list": []})
        quiet = await cloud.event()
    assert said["timestamp"]
    assert {**said, "timestamp": 0} == {
        "tid": tid,
        "bid": "bid-1",
        "timestamp": 0,
        "gateway": config.gateway,
        "method": "device_exit_homing_notify",
        "need_reply": 1,
        "data": data,
    }
    assert (answer.tid, answer.bid) == (tid, "bid-1")
    assert "need_reply" not in quiet
    with pytest.raises(RuntimeError, match="not running"):
        await dock.send_event("hms", {"list": []})


@pytest.mark.broker
async def test_an_event_can_be_sent_ten_times_whatever_the_cloud_answers(cloud, config):
    cloud.answers_events = True
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        tid = await dock.send_event("flighttask_ready", {}, need_reply=1, copies=10)
        assert {(await cloud.event())["tid"] for _ in range(10)} == {tid}
        assert len(await dock.wait_received(10, on="events_reply")) == 10
        assert not cloud.has_more("events")


@pytest.mark.broker
async def test_events_come_at_the_rate_that_is_asked_for_and_half_want_an_answer(cloud, config):
    cloud.answers_events = True
    async with SimulatedDock(dataclasses.replace(config, events=1000.0)) as dock:
        await dock.wait_ready()
        events = [await cloud.event() for _ in range(40)]
        await dock.wait_received(20, on="events_reply")
    assert Counter(event.get("need_reply") for event in events) == {1: 20, 0: 10, None: 10}
    assert len({event["tid"] for event in events}) == 40


@pytest.mark.broker
async def test_no_event_comes_before_the_cloud_knows_the_dock(cloud, config):
    cloud.answers_topology = False
    async with SimulatedDock(dataclasses.replace(config, events=1000.0)) as dock:
        said = await cloud.said("status")
        await cloud.send("camera_aim")
        await cloud.reply()
        assert not cloud.has_more("events")
        await cloud.acknowledge(said, "sys", "status_reply")
        await cloud.event()
        assert dock.ready


@pytest.mark.broker
async def test_a_dock_can_be_stopped_in_the_middle_of_its_events(cloud, config):
    """Some tasks run once more while others have ended already."""
    for _ in range(10):
        async with SimulatedDock(dataclasses.replace(config, events=1000.0)) as dock:
            await dock.wait_ready()
            await cloud.event()


def test_the_events_for_load_take_turns():
    row = [notices.notice(number, drone="drone-9") for number in range(8)]
    names = ["hms", "device_exit_homing_notify", "airsense_warning", "file_upload_callback"]
    assert [one.method for one in row] == names * 2
    assert [one.need_reply for one in row[:4]] == [None, 1, 0, 1]
    assert row[1].data["sn"] == "drone-9"
    assert isinstance(row[2].data, list)
    assert row[3].data != row[7].data
