"""Setting properties of the simulated dock: the answers as data, and over real brokers."""

import json

import pytest

from dockgate_server import simulate
from dockgate_server.simulate import SimulatedDock, properties
from dockgate_server.simulate import behaviour as b

ON_A_BROKER = pytest.mark.broker


def setting(data):
    return properties.read_setting({"tid": "tid-1", "bid": "bid-1", "data": data})


def answers(data, *behaviours):
    return properties.reply_payloads(
        setting(data), b.conduct_of(behaviours), now_ms=1700000000123, stray_tid="stray"
    )


def results(data, *behaviours):
    (payload,) = answers(data, *behaviours)
    return json.loads(payload)["data"]


def test_an_answer_repeats_tid_and_bid_and_has_neither_method_nor_gateway():
    (payload,) = answers({"height_limit": 100})
    assert json.loads(payload) == {
        "tid": "tid-1",
        "bid": "bid-1",
        "timestamp": 1700000000123,
        "data": {"height_limit": {"result": 0}},
    }


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"silent_mode": 0}, {"silent_mode": {"result": 0}}),
        ({"silent_mode": None}, {"silent_mode": {"result": 0}}),
        (
            {"distance_limit_status": {"state": 1, "distance_limit": 15}},
            {"distance_limit_status": {"state": {"result": 0}, "distance_limit": {"result": 0}}},
        ),
        ({"obstacle_avoidance": {}}, {"obstacle_avoidance": {"result": 0}}),
        (
            {"53-0-0": {"thermal_gain_mode": 1}},
            {"53-0-0": {"thermal_gain_mode": {"result": 0}}},
        ),
        ({"53-0-0": 1}, {"53-0-0": {"result": 0}}),
        (
            {"height_limit": 100, "rth_altitude": 50},
            {"height_limit": {"result": 0}, "rth_altitude": {"result": 0}},
        ),
    ],
)
def test_a_result_stands_where_the_value_stood(data, expected):
    assert results(data) == expected


def test_a_property_of_a_camera_goes_by_its_own_name():
    assert setting({"53-0-0": {"thermal_gain_mode": 1}}).method == "thermal_gain_mode"
    assert setting({"53-0-0": {}, "height_limit": 1}).names == ("height_limit",)


def test_members_fail_one_by_one():
    data = {"distance_limit_status": {"state": 1, "distance_limit": 15}}
    assert results(data, b.MemberFails("distance_limit", 2))["distance_limit_status"] == {
        "state": {"result": 0},
        "distance_limit": {"result": 2},
    }
    both = (b.MemberFails("state", 1), b.MemberFails("distance_limit", 314001))
    assert results(data, *both)["distance_limit_status"] == {
        "state": {"result": 1},
        "distance_limit": {"result": 314001},
    }


def test_a_property_fails_as_a_whole():
    fails = b.MemberFails("distance_limit_status", 2)
    data = {"distance_limit_status": {"state": 1, "distance_limit": 15}}
    assert results(data, fails)["distance_limit_status"] == {
        "state": {"result": 2},
        "distance_limit": {"result": 2},
    }
    assert results({"height_limit": 1}, b.MemberFails("height_limit")) == {
        "height_limit": {"result": 1}
    }
    camera = {"53-0-0": {"thermal_gain_mode": 1}}
    assert results(camera, b.MemberFails("thermal_gain_mode", 5)) == {
        "53-0-0": {"thermal_gain_mode": {"result": 5}}
    }


def test_each_wrong_answer_is_wrong_in_one_way():
    (payload,) = answers({"height_limit": 100})
    right = json.loads(payload)

    def wrong(behaviour):
        return json.loads(answers({"height_limit": 100}, behaviour)[0])

    assert wrong(b.WrongTid()) == right | {"tid": "stray"}
    assert wrong(b.NoResult()) == right | {"data": {"height_limit": {}}}
    other = {"night_lights_state": {"result": 0}}
    assert wrong(b.WrongMethod()) == right | {"data": other}
    assert wrong(b.WrongMethod("silent_mode")) == right | {"data": {"silent_mode": {"result": 0}}}
    assert wrong(b.Reply({"height_limit": 7})) == right | {"data": {"height_limit": 7}}
    (cut,) = answers({"height_limit": 100}, b.Unreadable())
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut)
    assert answers({"height_limit": 100}, b.Twice()) == (payload, payload)
    assert answers({"height_limit": 100}, b.Silent()) == ()
    assert "height_limit" in results({"night_lights_state": 1}, b.WrongMethod())


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"bid": "b", "data": {"height_limit": 1}}, "no tid"),
        ({"tid": "t", "bid": 1, "data": {"height_limit": 1}}, "no bid"),
        ({"tid": "t", "bid": "b"}, "no property"),
        ({"tid": "t", "bid": "b", "data": None}, "no property"),
        ({"tid": "t", "bid": "b", "data": [1]}, "no property"),
        ({"tid": "t", "bid": "b", "data": {}}, "no property"),
        ({"tid": "t", "bid": "b", "data": {"53-0-0": {}}}, "no property"),
    ],
)
def test_a_message_that_sets_nothing_is_refused(message, complaint):
    with pytest.raises(ValueError, match=complaint):
        properties.read_setting(message)


@ON_A_BROKER
async def test_a_property_is_set_answered_and_recorded(cloud, config):
    happenings = []
    async with SimulatedDock(config, on_happening=happenings.append) as dock:
        await dock.wait_ready()
        sent = await cloud.set({"distance_limit_status": {"state": 1}})
        reply = await cloud.said("set_reply")
        (received,) = await dock.wait_received(1, on="set")
        assert dock.executions == {sent["tid"]: 1}
    assert reply.keys() == {"tid", "bid", "timestamp", "data"}
    assert (reply["tid"], reply["bid"]) == (sent["tid"], sent["bid"])
    assert reply["data"] == {"distance_limit_status": {"state": {"result": 0}}}
    assert (received.on, received.tid, received.method, received.seq) == (
        "set",
        sent["tid"],
        None,
        None,
    )
    assert received.topic == f"thing/product/{config.gateway}/property/set"
    assert received.data == sent["data"]
    (noted,) = [one for one in happenings if one.kind == "received"]
    assert noted.text == f"distance_limit_status tid {sent['tid']}"
    assert noted.details["method"] == "distance_limit_status"


@ON_A_BROKER
async def test_a_property_is_answered_as_told_for_its_name(cloud, config):
    async with SimulatedDock(config) as dock:
        dock.behave("height_limit", simulate.MemberFails("height_limit", 2), simulate.Twice())
        dock.behave("rth_altitude", simulate.Slow(60))
        dock.behave("silent_mode", simulate.Silent())
        await dock.wait_ready()
        for name in ("rth_altitude", "silent_mode", "height_limit"):
            await cloud.set({name: 1})
        first, second = await cloud.said("set_reply"), await cloud.said("set_reply")
    assert first == second
    assert first["data"] == {"height_limit": {"result": 2}}


@ON_A_BROKER
async def test_a_property_set_again_with_its_tid_is_counted_and_answered_again(cloud, config):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        for _ in range(2):
            await cloud.set({"height_limit": 100}, tid="tid-1")
            assert (await cloud.said("set_reply"))["tid"] == "tid-1"
        assert dock.executions == {"tid-1": 2}


@ON_A_BROKER
async def test_a_property_can_take_the_dock_off_the_broker(cloud, config):
    async with SimulatedDock(config) as dock:
        dock.behave("height_limit", simulate.Offline(0.0))
        await dock.wait_ready()
        await cloud.raw("status")
        await cloud.set({"height_limit": 100})
        await cloud.raw("status")  # it announces itself again
        await dock.wait_ready()
        await cloud.set({"silent_mode": 1})
        assert (await cloud.said("set_reply"))["data"] == {"silent_mode": {"result": 0}}
