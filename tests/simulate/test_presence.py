"""Coming online by the whole registration, and leaving with a last will."""

import asyncio
import dataclasses
import re
import signal
import sys
from pathlib import Path

import pytest

from dockgate_server import simulate
from dockgate_server.simulate import SimulatedDock, registration

ON_A_BROKER = pytest.mark.broker

CONFIG = {
    "app_id": "123456",
    "app_key": "key-of-the-app",
    "app_license": "licence-of-the-app",
    "ntp_server_host": "ntp.example",
    "ntp_server_port": 123,
}
REGISTRATION = [
    "config",
    "airport_bind_status",
    "airport_organization_get",
    "airport_organization_bind",
]


def status_of(bound, *serial_numbers):
    devices = [
        {
            "sn": one,
            "is_device_bind_organization": bound,
            "organization_id": "o",
            "organization_name": "n",
            "device_callsign": one,
        }
        for one in serial_numbers
    ]
    return {"result": 0, "output": {"bind_status": devices}}


def welcoming(config):
    """What a cloud answers that knows the organisation and the code, and the devices not yet."""
    return {
        "config": CONFIG,
        "airport_bind_status": status_of(False, config.gateway, config.drone),
        "airport_organization_get": {
            "result": 0,
            "output": {"organization_name": "Mountain Rescue"},
        },
        "airport_organization_bind": {"result": 0, "output": {"err_infos": []}},
    }


@pytest.fixture
def strict(config):
    return dataclasses.replace(
        config, register=True, organization="org-7", binding_code="code-7", ask_every=10.0
    )


async def asked(cloud, count):
    return [await cloud.said("requests") for _ in range(count)]


@ON_A_BROKER
async def test_a_dock_registers_step_by_step_and_only_then_announces_itself(cloud, strict):
    cloud.answers = welcoming(strict)
    happenings = []
    async with SimulatedDock(strict, on_happening=happenings.append) as dock:
        await dock.wait_ready()
        requests = await asked(cloud, 4)
        (online,) = [one for one in happenings if one.kind == "online"]
    kinds = [one.kind for one in happenings]
    assert kinds == [
        "connected",
        *["asked", "told"] * 4,
        "announced",
        "accepted",
        "online",
    ]
    assert [request["method"] for request in requests] == REGISTRATION
    assert {request["gateway"] for request in requests} == {strict.gateway}
    assert len({request["tid"] for request in requests}) == 4
    whose = {"device_binding_code": "code-7", "organization_id": "org-7"}
    assert [request["data"] for request in requests] == [
        {"config_type": "json", "config_scope": "product"},
        {"devices": [{"sn": strict.gateway}, {"sn": strict.drone}]},
        whose,
        {
            "bind_devices": [
                {**whose, "sn": sn, "device_callsign": sn, "device_model_key": model}
                for sn, model in ((strict.gateway, "3-3-0"), (strict.drone, "0-100-1"))
            ]
        },
    ]
    assert re.fullmatch(r"after \d+\.\d\d s", online.text)
    assert float(online.text.split()[1]) == pytest.approx(online.details["seconds"], abs=0.006)
    assert 0 < online.details["seconds"] < 10


@ON_A_BROKER
async def test_a_bound_dock_does_not_ask_to_be_bound_again(cloud, strict):
    bound = status_of(True, strict.gateway, strict.drone)
    cloud.answers = {"config": CONFIG, "airport_bind_status": bound}
    async with SimulatedDock(strict) as dock:
        await dock.wait_ready()
        assert [one["method"] for one in await asked(cloud, 2)] == REGISTRATION[:2]
        assert not cloud.has_more("requests")


@ON_A_BROKER
async def test_a_dock_registers_anew_in_each_connection(cloud, strict):
    cloud.answers = {
        "config": CONFIG,
        "airport_bind_status": status_of(True, strict.gateway, strict.drone),
    }
    async with SimulatedDock(strict) as dock:
        await dock.wait_ready()
        await dock.go_offline()
        await dock.go_online()
        await dock.wait_ready()
        assert [one["method"] for one in await asked(cloud, 4)] == REGISTRATION[:2] * 2


@ON_A_BROKER
async def test_a_dock_is_not_there_before_the_cloud_has_answered_everything(cloud, strict):
    cloud.answers = {**welcoming(strict)}
    bind = cloud.answers.pop("airport_organization_bind")
    async with SimulatedDock(strict) as dock:
        *_, last = await asked(cloud, 4)
        with pytest.raises(TimeoutError, match="no cloud has answered airport_organization_bind"):
            await dock.wait_ready(within=0.0)
        assert not cloud.has_more("status")
        await cloud.answer(last, bind)
        await dock.wait_ready()


@ON_A_BROKER
async def test_a_refused_dock_says_why_and_tries_again(cloud, strict):
    """An operator may set the cloud right."""
    cloud.answers = welcoming(strict) | {"airport_organization_get": {"result": 210230}}
    config = dataclasses.replace(strict, register_again=0.01)
    happenings = []
    async with SimulatedDock(config, on_happening=happenings.append) as dock:
        why = await dock.wait_refused()
        assert why == "airport_organization_get: the answer is result 210230"
        assert not dock.ready
        with pytest.raises(TimeoutError, match=r"refused the registration.*result 210230"):
            await dock.wait_ready(within=0.0)
        cloud.answers = welcoming(strict)
        await dock.wait_ready(within=5.0)
        assert dock.refusal is None
    refused = next(one for one in happenings if one.kind == "refused")
    assert refused.text == f"{why}, tried again in 0.01 s"
    assert refused.details == {"reason": why, "method": "airport_organization_get"}


@ON_A_BROKER
async def test_keys_and_licences_stay_out_of_the_log(cloud, strict):
    cloud.answers = welcoming(strict)
    happenings = []
    async with SimulatedDock(strict, on_happening=happenings.append) as dock:
        await dock.wait_ready()
    assert not [one for one in happenings if "of-the-app" in repr(one)]
    assert "code-7" not in repr(happenings)


@ON_A_BROKER
async def test_only_the_right_answer_to_a_request_counts(cloud, strict):
    async with SimulatedDock(strict) as dock:
        (request,) = await asked(cloud, 1)
        await cloud.answer(request | {"tid": "other"}, CONFIG)
        await cloud.answer(request | {"method": "airport_bind_status"}, CONFIG)
        await dock.wait_received(2, on="requests_reply")
        assert not cloud.has_more("requests")
        await cloud.answer(request, CONFIG)
        assert [one["method"] for one in await asked(cloud, 1)] == ["airport_bind_status"]


DOCKS = simulate.DockConfig(gateway="dock-1", drone="drone-1")


def registered(in_no_time, **answers):
    """Register with a cloud that answers so; return the methods that were asked."""
    asked = []

    async def ask(method, data):
        asked.append(method)
        return {**welcoming(DOCKS), **answers}[method]

    in_no_time(registration.register(ask, DOCKS))
    return asked


def test_a_drone_that_is_not_bound_is_reason_enough_to_ask(in_no_time):
    half = status_of(True, "dock-1")
    half["output"]["bind_status"] += status_of(False, "drone-1")["output"]["bind_status"]
    assert registered(in_no_time, airport_bind_status=half) == REGISTRATION
    missing = status_of(True, "dock-1")
    assert registered(in_no_time, airport_bind_status=missing) == REGISTRATION


def test_an_error_code_of_0_is_no_refusal(in_no_time):
    errors = [{"sn": "dock-1", "err_code": 0}, {"sn": "drone-1", "err_code": 0}]
    answer = {"result": 0, "output": {"err_infos": errors}}
    assert registered(in_no_time, airport_organization_bind=answer) == REGISTRATION


def test_an_app_id_may_be_a_number(in_no_time):
    assert registered(in_no_time, config=CONFIG | {"app_id": 123456}) == REGISTRATION


@pytest.mark.parametrize(
    ("method", "answer", "complaint"),
    [
        ("config", None, "config: the answer is no object"),
        ("config", {"result": 1}, "config: the answer is result 1"),
        ("config", CONFIG | {"app_id": ""}, "config: the answer has no app_id"),
        ("config", CONFIG | {"app_key": None}, "has no app_key"),
        ("config", CONFIG | {"app_license": ""}, "has no app_license"),
        ("config", {"result": 0, "output": CONFIG}, "has no app_id"),
        ("airport_bind_status", {}, "airport_bind_status: the answer is without a result"),
        ("airport_bind_status", {"result": 0}, "the answer has no output"),
        ("airport_bind_status", {"result": 5, "message": "busy"}, "is result 5, busy"),
        ("airport_organization_get", {"result": 0, "output": {}}, "names no organization"),
        ("airport_organization_get", {"result": 210230}, "airport_organization_get: the answer is"),
        (
            "airport_organization_bind",
            {"result": 0, "output": {"err_infos": [{"sn": "dock-1", "err_code": 210231}]}},
            "airport_organization_bind: dock-1 is refused with 210231",
        ),
        ("airport_organization_bind", {"result": 210231}, "the answer is result 210231"),
    ],
)
def test_a_dock_says_what_is_wrong_with_an_answer(in_no_time, method, answer, complaint):
    with pytest.raises(registration.Refused, match=complaint) as caught:
        registered(in_no_time, **{method: answer})
    assert caught.value.method == method


@ON_A_BROKER
async def test_a_dock_that_leaves_tells_the_cloud_in_the_form_of_its_will(cloud, config):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        await dock.go_offline()
        will = await cloud.said("will")
        await dock.go_online()
        await dock.wait_ready()
    assert await cloud.said("will") == will  # and once more, when it is stopped
    assert will.keys() == {"method", "data"}
    assert will["method"] == "update_topo"
    assert will["data"]["sub_devices"] == []
    assert not cloud.has_more("will")


@ON_A_BROKER
async def test_the_broker_tells_the_cloud_of_a_dock_that_was_killed(cloud, config):
    program = (
        "import typer; from dockgate_server.simulate.command import simulate; typer.run(simulate)"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program, "--json"),
        *("--broker", f"mqtt://127.0.0.1:{config.broker.port}"),
        *("--dock", config.gateway, "--drone", config.drone),
        stdout=asyncio.subprocess.DEVNULL,
        env={"PYTHONPATH": str(Path(simulate.__file__).parents[2])},
    )
    try:
        await cloud.raw("status")
        assert not cloud.has_more("will")
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    will = await cloud.said("will")
    assert will.keys() == {"method", "data"}
    assert will["data"]["sub_devices"] == []


@ON_A_BROKER
async def test_a_will_is_not_kept_for_those_who_come_later(
    cloud, config, sim_broker, connect_cloud
):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
    await cloud.said("will")
    async with connect_cloud(sim_broker, config.gateway) as later:
        async with SimulatedDock(config) as dock:
            await dock.wait_ready()
        await later.raw("status")
        await later.said("will")
        assert not later.has_more("will")
