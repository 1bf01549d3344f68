"""What a dock asks: anything a test wants, and what it needs before a drone takes off."""

import asyncio
import dataclasses

import pytest

from dockgate_server import simulate
from dockgate_server.simulate import SimulatedDock, takeoff
from dockgate_server.simulate.asking import Requests
from dockgate_server.simulate.records import Received

BEFORE_TAKEOFF = [
    "flight_areas_get",
    "flighttask_resource_get",
    "offline_map_get",
    "storage_config_get",
]


def answer(message, **changes):
    """An answer as it reaches the dock."""
    read = {"tid": message["tid"], "bid": "b", "method": message["method"], "data": {"result": 0}}
    read |= changes
    return Received(
        topic="thing/product/dock-001/requests_reply",
        on="requests_reply",
        payload=b"",
        message=read,
        tid=read["tid"],
        bid="b",
        method=read["method"],
        seq=None,
        data=read["data"],
        expiry_seconds=None,
        qos=1,
        retained=False,
    )


def requests_on(link, happened=None, **config):
    return Requests(
        simulate.DockConfig(**config),
        link=link,
        happened=happened or (lambda kind, text, **details: None),
        now_ms=lambda: 1,
    )


def test_an_unanswered_request_is_repeated_with_its_tid_until_it_is_answered(in_no_time, link):
    async def follow():
        requests = requests_on(link, ask_every=5.0)
        asking = asyncio.create_task(requests.ask("config", {"config_type": "json"}))
        await asyncio.sleep(12.0)
        assert requests.unanswered == ("config",)
        requests.hear(answer(link.said[0][2], data={"app_id": "1"}))
        assert await asking == {"app_id": "1"}
        assert requests.unanswered == ()
        await asyncio.sleep(60.0)

    in_no_time(follow())
    assert link.times("config") == [0.0, 5.0, 10.0]
    assert len({(on, said["tid"]) for _, on, said in link.said}) == 1
    assert link.said[0][1:] == (
        "requests",
        {
            "tid": link.said[0][2]["tid"],
            "bid": link.said[0][2]["bid"],
            "timestamp": 1,
            "gateway": "dock-001",
            "method": "config",
            "data": {"config_type": "json"},
        },
    )


def test_a_second_answer_to_a_request_answers_nothing(in_no_time, link):
    async def follow():
        requests = requests_on(link)
        asking = asyncio.create_task(requests.ask("config", None))
        await asyncio.sleep(0)
        first = answer(link.said[0][2])
        requests.hear(first)
        with pytest.raises(ValueError, match="no request with tid"):
            requests.hear(first)
        await asking
        with pytest.raises(ValueError, match="no request with tid"):
            requests.hear(first)

    in_no_time(follow())


def test_an_answer_to_another_method_answers_nothing(in_no_time, link):
    async def follow():
        requests = requests_on(link)
        asking = asyncio.create_task(requests.ask("config", None))
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="was config"):
            requests.hear(answer(link.said[0][2], method="airport_bind_status"))
        assert requests.unanswered == ("config",)
        requests.hear(answer(link.said[0][2]))
        await asking

    in_no_time(follow())


def clearing(in_no_time, link, *answered, **config):
    """Ask before take-off, of a cloud that answers these at once; return what happened last."""
    happened = []

    async def follow():
        def note(kind, text, **details):
            happened.append((kind, details))

        requests = requests_on(link, note, **config)
        asking = asyncio.create_task(
            takeoff.ask_before(
                "flight-7", requests=requests, config=simulate.DockConfig(**config), happened=note
            )
        )
        await asyncio.sleep(0.01)
        for _, _, said in tuple(link.said):
            if said["method"] in answered:
                requests.hear(answer(said, data={"result": 314010}))
        await asking
        assert requests.unanswered == ()

    in_no_time(follow())
    return happened[-1]


def test_a_flight_takes_off_as_soon_as_everything_is_answered(in_no_time, link):
    kind, details = clearing(in_no_time, link, *BEFORE_TAKEOFF)
    assert (kind, details["missing"]) == ("cleared", [])
    assert details["seconds"] < 0.1
    asked = {said["method"]: said["data"] for _, _, said in link.said}
    assert asked == {
        "flight_areas_get": None,
        "offline_map_get": None,
        "flighttask_resource_get": {"flight_id": "flight-7"},
        "storage_config_get": {"module": 0},
    }


def test_a_flight_waits_40_seconds_for_an_answer_that_does_not_come(in_no_time, link):
    others = [method for method in BEFORE_TAKEOFF if method != "offline_map_get"]
    kind, details = clearing(in_no_time, link, *others)
    assert (kind, details["missing"], details["seconds"]) == ("cleared", ["offline_map_get"], 40.0)


def test_the_wait_before_take_off_can_be_shortened(in_no_time, link):
    _, details = clearing(in_no_time, link, takeoff_wait=0.5)
    assert (details["missing"], details["seconds"]) == (BEFORE_TAKEOFF, 0.5)


@pytest.mark.broker
async def test_a_registered_dock_asks_before_a_flight_and_flies_when_it_is_answered(cloud, config):
    bound = [
        {"sn": sn, "is_device_bind_organization": True} for sn in (config.gateway, config.drone)
    ]
    licence = dict.fromkeys(("app_id", "app_key", "app_license", "ntp_server_host"), "1")
    cloud.answers = {
        "config": licence,
        "airport_bind_status": {"result": 0, "output": {"bind_status": bound}},
    }
    async with SimulatedDock(dataclasses.replace(config, register=True)) as dock:
        await dock.wait_ready()
        for _ in range(2):
            await cloud.raw("requests")
        await cloud.send("flighttask_execute", {"flight_id": "flight-1"})
        requests = [await cloud.said("requests") for _ in range(4)]
        assert sorted(request["method"] for request in requests) == BEFORE_TAKEOFF
        for request in requests[:-1]:
            await cloud.answer(request, {"result": 0, "output": {}})
        await dock.wait_received(5, on="requests_reply")
        before = [await cloud.event() for _ in range(3)]
        assert [event["data"]["output"]["progress"]["percent"] for event in before] == [0, 5, 10]
        assert not cloud.has_more("events")
        await cloud.answer(requests[-1], {"result": 0, "output": {}})
        await cloud.job({"ok"})


@pytest.mark.broker
async def test_a_dock_that_does_not_register_asks_for_nothing(cloud, config):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        await cloud.send("flighttask_execute", {"flight_id": "flight-1"})
        await cloud.job({"ok"})
        assert not cloud.has_more("requests")


@pytest.mark.broker
async def test_any_request_can_be_asked(cloud, config):
    cloud.answers["flighttask_progress_get"] = {"result": 0, "output": {"status": "ok"}}
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        data = {"target_sn": "dock-9", "flight_id": "flight-1"}
        told = await dock.ask("flighttask_progress_get", data)
        assert (await cloud.said("requests"))["data"] == data
        with pytest.raises(TimeoutError, match="no cloud has answered offline_map_get"):
            await dock.ask("offline_map_get", None, within=0.0)
    assert told == {"result": 0, "output": {"status": "ok"}}
    with pytest.raises(RuntimeError, match="not running"):
        await dock.ask("offline_map_get", None)
