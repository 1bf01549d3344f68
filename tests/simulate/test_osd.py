"""What a dock and its drone tell of themselves."""

import asyncio
import contextlib
import dataclasses
import json

import pytest

from dockgate_server.simulate import DockConfig, SimulatedDock, jobs, osd, replies
from dockgate_server.simulate.pushing import Pusher
from dockgate_server.simulate.runs import Runs

NAMES = {"dock": "dock-1", "drone": "drone-1"}


def row(count, *, airborne=False):
    return [osd.osd(number, airborne=airborne, **NAMES) for number in range(count)]


def test_dock_and_drone_take_turns_and_the_dock_tells_its_osd_in_two_parts():
    messages = row(8)
    assert [one.sn for one in messages] == ["dock-1", "drone-1"] * 4
    assert messages[:4] == messages[4:]
    assert messages[0].data.keys().isdisjoint(messages[2].data)
    assert messages[1].data == messages[3].data
    assert {one.need_reply for one in messages} == {None}


def test_a_dock_tells_that_its_drone_is_away():
    (inside, standing), (outside, flying) = row(2), row(2, airborne=True)
    assert (inside.data["mode_code"], inside.data["drone_in_dock"]) == (0, 1)
    assert (outside.data["mode_code"], outside.data["drone_in_dock"]) == (4, 0)
    assert (standing.data["mode_code"], flying.data["mode_code"]) == (0, 5)
    assert flying.data["height"] > standing.data["height"]


def test_a_flying_drone_moves_and_uses_its_battery():
    first, last = (osd.osd(number, airborne=True, **NAMES).data for number in (1, 401))
    assert first["latitude"] != last["latitude"]
    assert first["battery"]["capacity_percent"] > last["battery"]["capacity_percent"]
    assert json.loads(json.dumps(last, allow_nan=False)) == last


def pushing(in_no_time, link, seconds, **config):
    """Push for a time; return at which seconds something was pushed on osd."""

    async def follow():
        async with asyncio.TaskGroup() as tasks:
            pusher = Pusher(
                DockConfig(**config),
                link=link,
                events=None,
                is_airborne=bool,
                now_ms=lambda: 1,
                tasks=tasks,
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await pusher.push()

    in_no_time(follow())
    return [round(at, 3) for at, on, _ in link.said if on == "osd"]


def test_osd_comes_at_the_rate_that_is_asked_for(in_no_time, link):
    times = pushing(in_no_time, link, 10.1, osd=2.0)
    assert times == [number / 2 for number in range(21)]


def test_a_dock_that_is_told_to_push_nothing_is_quiet(in_no_time, link):
    assert pushing(in_no_time, link, 10.0) == []
    assert link.said == []


def test_what_a_held_up_dock_makes_up_for_is_bounded(in_no_time, link):
    plain = link.say
    held_up = iter([60.0])

    async def say(topic, payload):
        await plain(topic, payload)
        await asyncio.sleep(next(held_up, 0.0))

    link.say = say
    times = pushing(in_no_time, link, 60.05, osd=10.0)
    assert times == [0.0] + [60.0] * 11


@pytest.mark.broker
async def test_osd_and_state_are_pushed_from_when_the_cloud_knows_the_dock(cloud, config):
    for sn in (config.gateway, config.drone):
        await cloud.client.subscribe([(f"thing/product/{sn}/{end}", 1) for end in ("osd", "state")])
    async with SimulatedDock(dataclasses.replace(config, osd=200.0)) as dock:
        await dock.wait_ready()
        states = [await cloud.said("state") for _ in osd.states(**NAMES)]
        first, second = await cloud.said("osd"), await cloud.said("osd")
    for message in (*states, first, second):
        assert message.keys() - {"need_reply"} == {"tid", "bid", "timestamp", "data", "gateway"}
        assert message["gateway"] == config.gateway
    assert "need_reply" not in first
    assert "drone_in_dock" in first["data"]
    assert "battery" in second["data"]
    assert {state.get("need_reply") for state in states} == {None, 1}
    assert {"live_capacity"} in [state["data"].keys() for state in states]


def test_a_drone_is_away_from_its_take_off_to_its_landing(in_no_time):
    seen = []

    async def ignore(_):
        pass

    async def follow():
        async with asyncio.TaskGroup() as tasks:
            runs = Runs(
                DockConfig(step_every=1.0), report=ignore, before_takeoff=ignore, tasks=tasks
            )
            command = replies.Command("t", "b", "flighttask_execute", {"flight_id": "flight-1"})
            runs.start(jobs.job_of(command))
            for _ in range(14):
                await asyncio.sleep(1.001)
                seen.append(runs.is_airborne)

    in_no_time(follow())
    assert seen == [False] * 7 + [True] * 4 + [False] * 3
