"""Direct control of the simulated dock: the answers as data, and over real brokers."""

import dataclasses
import json

import pytest

from dockgate_server import simulate
from dockgate_server.simulate import SimulatedDock, drc, pushes
from dockgate_server.simulate import behaviour as b

ON_A_BROKER = pytest.mark.broker
DEEP = json.loads("[" * 500 + "]" * 500)


def answers(method, *behaviours, seq=7, data=None):
    command = drc.DrcCommand(method, seq, data)
    return drc.reply_payloads(command, b.conduct_of(behaviours), now_ms=1700000000123)


def answer(method, *behaviours, **rest):
    (payload,) = answers(method, *behaviours, **rest)
    return json.loads(payload)


def test_an_answer_repeats_method_and_seq_and_has_neither_tid_nor_bid():
    assert answer("drc_gimbal_reset") == {
        "method": "drc_gimbal_reset",
        "seq": 7,
        "data": {"result": 0},
    }
    assert answer("drc_gimbal_reset", seq=0)["seq"] == 0


@pytest.mark.parametrize("method", ["drc_live_lens_change", "drone_emergency_stop"])
def test_without_seq_the_answer_has_a_timestamp_instead(method):
    assert answer(method, seq=None) == {
        "method": method,
        "timestamp": 1700000000123,
        "data": {"result": 0},
    }


def test_some_answers_say_more_than_a_result():
    assert answer("drc_camera_photo_take")["data"] == {"result": 0, "status": "in_progress"}
    split = {"payload_index": "81-0-0", "enable": True, "result": 5}
    assert answer("drc_camera_screen_split", data=split)["data"] == split | {"result": 0}
    assert answer("drc_camera_screen_split")["data"] == {"result": 0}


@pytest.mark.parametrize(
    ("seq", "data"),
    [(7, {"timestamp": 1700000000000}), (None, {"seq": 1, "timestamp": 1}), (7, {}), (7, None)],
)
def test_a_heart_beat_comes_back_as_it_was(seq, data):
    sent = {"method": "heart_beat", "data": data} | ({} if seq is None else {"seq": seq})
    assert answer("heart_beat", seq=seq, data=data) == sent


@pytest.mark.parametrize("method", ["heart_beat", "drc_camera_screen_split"])
def test_nothing_is_echoed_that_could_not_be_written(method):
    assert "deep" not in answer(method, data={"deep": DEEP, "timestamp": 1})["data"]
    assert "deep" not in json.dumps(answer(method, data=DEEP))


@pytest.mark.parametrize("behaviours", [(), (b.Twice(),), (b.Reply({"result": 1}),)])
def test_sticks_are_never_answered(behaviours):
    assert answers("stick_control", *behaviours) == ()


def test_drone_control_is_answered_only_where_it_fails():
    assert answers("drone_control", data={"seq": 3, "x": 1.0}) == ()
    assert answers("drone_control", b.Twice()) == ()
    error = {"result": 319033, "output": {"seq": 3}}
    assert answer("drone_control", b.Reply(error), seq=None)["data"] == error


def test_each_wrong_answer_is_wrong_in_one_way():
    right = answer("drc_camera_aim")
    assert answer("drc_camera_aim", b.WrongMethod()) == right | {"method": "drc_gimbal_reset"}
    assert answer("drc_camera_aim", b.WrongMethod("heart_beat"))["method"] == "heart_beat"
    assert answer("drc_gimbal_reset", b.WrongMethod())["method"] != "drc_gimbal_reset"
    assert answer("drc_camera_aim", b.NoResult()) == right | {"data": {}}
    assert answer("drc_camera_aim", b.Reply([1])) == right | {"data": [1]}
    stray = answer("drc_camera_aim", b.WrongTid())
    assert stray == right | {"seq": stray["seq"]}
    assert stray["seq"] != right["seq"]
    assert answer("drc_camera_aim", b.WrongTid(), seq=None)["seq"]
    for most in (2**64 - 1, -(2**63)):
        assert answer("drc_camera_aim", b.WrongTid(), seq=most)["seq"] != most
    with pytest.raises(json.JSONDecodeError):
        answer("drc_camera_aim", b.Unreadable())
    first, second = answers("drc_camera_aim", b.Twice())
    assert json.loads(first) == json.loads(second) == right
    assert answers("drc_camera_aim", b.Silent()) == ()


def test_only_an_integer_is_a_seq():
    assert drc.read_command({"method": "m", "seq": 0}) == drc.DrcCommand("m", 0, None)
    assert drc.read_command({"method": "m", "seq": None}).seq is None
    for seq in ("1", 1.0, True, [], {}):
        with pytest.raises(ValueError, match="not an integer"):
            drc.read_command({"method": "m", "seq": seq})


@pytest.mark.parametrize("message", [{}, {"method": ""}, {"method": 1}, {"seq": 1}])
def test_a_command_without_method_is_refused(message):
    with pytest.raises(ValueError, match="no method"):
        drc.read_command(message)


def test_pushes_take_turns_and_have_the_documented_members():
    said = [pushes.push(number, now_ms=1) for number in range(8)]
    assert [message.get("method") for message in said] == [
        "osd_info_push",
        "hsi_info_push",
        "delay_info_push",
        "drc_drone_state_push",
        None,
        "hsi_info_push",
        "delay_info_push",
        "drc_drone_state_push",
    ]
    assert [message.get("seq") for message in said] == [None, None, None, 0, None, None, None, 1]
    assert [message.get("timestamp") for message in said[:4]] == [1, 1, 1, None]
    assert said[0]["data"].keys() == said[4]["data"].keys()
    json.dumps(said)


@ON_A_BROKER
@pytest.mark.parametrize("qos", [0, 1])
async def test_a_command_is_answered_by_its_seq_and_recorded(cloud, config, qos):
    happenings = []
    async with SimulatedDock(config, on_happening=happenings.append) as dock:
        await dock.wait_ready()
        await cloud.steer("drc_gimbal_reset", 41, {"reset_mode": 0}, qos=qos)
        reply = await cloud.said("up")
        (received,) = await dock.wait_received(1, on="down")
        assert dock.executions == {("drc_gimbal_reset", 41): 1}
    assert reply == {"method": "drc_gimbal_reset", "seq": 41, "data": {"result": 0}}
    assert (received.on, received.method, received.seq, received.tid, received.qos) == (
        "down",
        "drc_gimbal_reset",
        41,
        None,
        qos,
    )
    assert received.topic == f"thing/product/{config.gateway}/drc/down"
    assert received.data == {"reset_mode": 0}
    (noted,) = [one for one in happenings if one.kind == "received"]
    assert noted.text == "drc_gimbal_reset seq 41"
    assert noted.details["seq"] == 41
    assert "tid" not in noted.details


@ON_A_BROKER
async def test_commands_are_counted_by_method_and_seq(cloud, config):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        sent = [("drc_gimbal_reset", 1), ("drc_gimbal_reset", 1), ("drc_camera_aim", 1)]
        for method, seq in [*sent, ("drc_live_lens_change", None)]:
            await cloud.steer(method, seq)
            assert (await cloud.said("up"))["method"] == method
        assert dock.executions == {
            ("drc_gimbal_reset", 1): 2,
            ("drc_camera_aim", 1): 1,
            ("drc_live_lens_change", None): 1,
        }


@ON_A_BROKER
async def test_sticks_arrive_and_stay_unanswered(cloud, config):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        await cloud.steer("stick_control", 1, {"roll": 1024}, qos=0)
        await cloud.steer("drone_control", None, {"seq": 1, "x": 0})
        await dock.wait_received(2, on="down")
        await cloud.steer("heart_beat", 2, {"timestamp": 5})
        assert await cloud.said("up") == {
            "method": "heart_beat",
            "seq": 2,
            "data": {"timestamp": 5},
        }
        assert [one.method for one in await dock.wait_received(3, on="down")] == [
            "stick_control",
            "drone_control",
            "heart_beat",
        ]


@ON_A_BROKER
async def test_a_command_is_answered_as_told(cloud, config):
    async with SimulatedDock(config) as dock:
        dock.behave("drc_force_landing", simulate.Reply({"result": 319033}))
        dock.behave("drc_camera_aim", simulate.Slow(60))
        dock.behave("drc_gimbal_reset", simulate.Silent())
        await dock.wait_ready()
        for seq, method in enumerate(("drc_camera_aim", "drc_gimbal_reset", "drc_force_landing")):
            await cloud.steer(method, seq)
        assert await cloud.said("up") == {
            "method": "drc_force_landing",
            "seq": 2,
            "data": {"result": 319033},
        }


@ON_A_BROKER
async def test_it_pushes_if_it_is_to_and_answers_in_between(cloud, config):
    async with SimulatedDock(dataclasses.replace(config, drc_push=1000.0)) as dock:
        await dock.wait_ready()
        said = [await cloud.said("up") for _ in range(4)]
        assert {message.get("method") for message in said} == {
            "osd_info_push",
            "hsi_info_push",
            "delay_info_push",
            "drc_drone_state_push",
        }
        await cloud.steer("drc_gimbal_reset", 1)
        while (await cloud.said("up")).get("method") != "drc_gimbal_reset":
            pass
        # In the next connection it begins anew.
        await dock.go_offline()
        await dock.go_online()
        await dock.wait_ready()
        while (await cloud.said("up")).get("seq") != 0:
            pass


@ON_A_BROKER
@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"seq": 1}', b'{"method": 1}'])
@pytest.mark.parametrize("end", ["drc/down", "property/set"])
async def test_nonsense_is_recorded_and_harms_nothing(cloud, config, payload, end):
    happenings = []
    async with SimulatedDock(config, on_happening=happenings.append) as dock:
        await dock.wait_ready()
        await cloud.publish(f"thing/product/{config.gateway}/{end}", payload)
        (received,) = await dock.wait_received(1, on=end.rpartition("/")[2])
        assert received.payload == payload
        await cloud.steer("drc_gimbal_reset", 1)
        await cloud.said("up")
    assert "ignored" in {happening.kind for happening in happenings}
