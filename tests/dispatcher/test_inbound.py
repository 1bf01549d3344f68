"""What devices say, and a store that cannot always write it down: no word is lost."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.bridge import ScriptedBridge
from support.log import Log, events
from support.records import CHARGE_OPEN, NOW, ledger
from support.rig import Rig, Start

from dockgate_server.lines import MOST_FROM_DEVICES
from dockgate_server.model.command import EventKind, FailureCode, JobState, Status

ODD = orjson.loads((Path(__file__).parents[1] / "codec" / "odd_messages.json").read_bytes())
EVENTS = "thing/product/dock-001/events"
REPLIES = "thing/product/dock-001/services_reply"
TOPOLOGIES = "sys/product/dock-001/status"


async def test_a_reply_is_acknowledged_when_it_is_committed(rig: Rig) -> None:
    """A crash before that brings it again."""
    command_id = await rig.accept()
    rig.reply(command_id)
    assert rig.acknowledged == []
    await rig.ended(command_id)
    await rig.settle()
    assert rig.acknowledged == [command_id]


async def test_a_store_that_fails_and_recovers_loses_no_reply(rig: Rig) -> None:
    """Neither a reply nor an acknowledgement nor a deadline can be refused: it has happened."""
    answered, delivered, overdue = [
        await rig.accept(timeout_seconds=seconds) for seconds in (30, 30, 1)
    ]
    await rig.cannot_write()
    rig.reply(answered)
    rig.message(delivered).acknowledge()
    rig.receive("odd", REPLIES, b"[]")
    rig.clock.advance(1)
    await rig.store_failed()
    assert rig.acknowledged == []

    for _ in range(3):
        rig.clock.advance(1)
        await rig.store_failed()
    assert rig.acknowledged == []
    assert (await rig.now(answered)).status is Status.ACCEPTED

    await rig.cannot_write(False)
    rig.clock.advance(1)
    assert await rig.ended(answered) == (Status.SUCCEEDED, None)
    assert await rig.ended(overdue) == (Status.TIMED_OUT, FailureCode.OUTCOME_UNKNOWN)
    await rig.settle()
    assert (await rig.now(delivered)).status is Status.DELIVERED
    assert sorted(rig.acknowledged) == sorted([answered, "odd"])
    assert len(await ledger(rig.store)) == 1


async def test_a_backlog_waits_for_a_store_that_cannot_write(start: Start) -> None:
    """Without the intent nothing leaves; it is tried again once a second, not at once."""
    async with start(ScriptedBridge(connected=False)) as rig:
        ids = [await rig.accept() for _ in range(3)]
        await rig.cannot_write()
        tried: list[Any] = []
        apply = rig.store.apply
        rig.store.apply = lambda change: (tried.append(change), apply(change))[1]  # type: ignore[method-assign]
        rig.connect()
        await rig.store_failed()
        assert len(tried) == 1
        for attempt in (2, 3, 4):
            rig.clock.advance(1)
            await rig.store_failed()
            assert len(tried) == attempt
        assert rig.sent() == []

        await rig.cannot_write(False)
        rig.clock.advance(1)
        await rig.bridge.wait_published(3)
        await rig.settle()
        assert rig.sent() == ids


async def test_a_submission_that_the_store_cannot_take_is_refused_and_its_place_given_back(
    rig: Rig,
) -> None:
    """UNAVAILABLE, nothing sent; the same key works later."""
    await rig.cannot_write()
    with pytest.raises(Exception, match="nothing was accepted"):
        await rig.accept("k")
    rig.bridge.connected = False
    with pytest.raises(Exception, match="nothing was accepted"):
        await rig.accept("k")
    assert rig.dispatcher._window.reserved == rig.dispatcher._window.unplaced == 0
    rig.bridge.connected = True
    await rig.cannot_write(False)
    assert rig.sent() == []
    command_id = await rig.accept("k")
    assert rig.sent() == [command_id]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ",".join(odd["odd"])[:60])
async def test_an_odd_message_of_a_real_device_is_taken(rig: Rig, odd: dict[str, Any]) -> None:
    """On its topic, and as if it were a reply, an event, a topology: acknowledged, no exception."""
    topics = [odd["topic"], REPLIES, EVENTS, TOPOLOGIES]
    for topic in topics:
        rig.receive(topic, topic, odd["payload"])
    await rig.settle()
    assert sorted(rig.acknowledged) == sorted(topics)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    payload=st.binary(max_size=50)
    | st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    ["tid", "bid", "method", "data", "result", "output", "status", "sn"]
                ),
                inner | st.sampled_from(["charge_open", "update_topo", "ok"]),
                max_size=4,
            )
        ),
        max_leaves=10,
    ).map(orjson.dumps)
)
async def test_nothing_that_a_device_sends_raises(rig: Rig, payload: bytes) -> None:
    """And everything is acknowledged in the end, or it would come again for ever."""
    known = len(rig.acknowledged)
    for topic in (REPLIES, EVENTS, TOPOLOGIES, "thing/product/dock-001/osd", "x"):
        rig.receive(topic, topic, payload)
    await rig.settle()
    assert len(rig.acknowledged) == known + 5


async def test_a_message_that_nobody_can_read_is_kept_as_it_came(rig: Rig) -> None:
    """In the ledger, cut to a length that is bounded; the command is not touched."""
    command_id = await rig.accept()
    deep = b'{"tid":"%s","data":{"result":0,"x":' % command_id.encode()
    rig.receive("deep", REPLIES, deep + b"[" * 20_000 + b"]" * 20_000 + b"}}")
    await rig.settle()
    assert rig.acknowledged == ["deep"]
    (deepest,) = await ledger(rig.store)
    assert deepest.reason == "the message is not a JSON object, or is nested too deep"
    assert len(deepest.data) == 16_384
    assert (await rig.now(command_id)).status is Status.ACCEPTED


async def test_a_reply_without_tid_goes_to_the_ledger(rig: Rig) -> None:
    """With what came."""
    rig.receive("a", REPLIES, {"method": "charge_open", "data": {"result": 0}})
    rig.receive("b", REPLIES, b"\xff")
    await rig.settle()
    odd, without = await ledger(rig.store)
    assert (without.reason, without.method) == ("the reply has no tid", "charge_open")
    assert (odd.data, odd.gateway_id, odd.received_at) == (b"\xff", "dock-001", NOW)


async def test_a_reply_of_another_gateway_is_not_the_answer(rig: Rig) -> None:
    """The gateway is taken from the topic, the only place where it stands."""
    command_id = await rig.accept()
    rig.reply(command_id, gateway="dock-002")
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.ACCEPTED
    assert len(await ledger(rig.store)) == 1


def _event(method: str, **members: Any) -> dict[str, Any]:
    data = {"result": 0, "output": {"status": "in_progress", "progress": {"percent": 40}}}
    return {"tid": "T", "bid": "B", "timestamp": 1, "method": method, "data": data, **members}


async def test_progress_belongs_to_the_command_whose_bid_it_carries(rig: Rig) -> None:
    """Answered when it is recorded, if the device wants an answer."""
    command_id = await rig.accept(command_type=CHARGE_OPEN, job_key="B")
    rig.receive("asks", EVENTS, _event("charge_open", need_reply=1))
    assert rig.bridge.answers == []
    await rig.until(lambda: EventKind.JOB_PROGRESSED in rig.kinds(command_id))
    await rig.settle()
    job = (await rig.now(command_id)).job
    assert job is not None
    assert (job.state, job.percent, job.updated_at) == (JobState.IN_PROGRESS, 40, NOW)
    assert rig.acknowledged == ["asks"]
    ((topic, payload),) = rig.bridge.answers
    assert topic == "thing/product/dock-001/events_reply"
    assert orjson.loads(payload) == {
        "tid": "T",
        "bid": "B",
        "method": "charge_open",
        "timestamp": NOW,
        "data": {"result": 0},
    }
    rig.receive("does not ask", EVENTS, _event("charge_open"))
    await rig.settle()
    assert len(rig.bridge.answers) == 1


async def test_progress_may_be_tied_by_the_flight_that_the_caller_named(rig: Rig) -> None:
    """flighttask_progress.bid is the flight_id."""
    command_id = await rig.accept(command_type="flighttask_prepare", job_key="F1")
    rig.receive("p", EVENTS, _event("flighttask_progress", bid="F1"))
    rig.receive("other", EVENTS, _event("flighttask_progress", bid=command_id))
    rig.receive("ready", EVENTS, {"method": "flighttask_ready", "data": {"flight_ids": ["F1"]}})
    await rig.settle()
    assert rig.kinds(command_id).count(EventKind.JOB_PROGRESSED) == 1
    assert sorted(rig.acknowledged) == ["other", "p", "ready"]


async def test_a_topology_makes_devices_known_and_is_answered(rig: Rig) -> None:
    """When it is stored."""
    data = {
        "domain": "3",
        "type": 2,
        "sub_type": 0,
        "sub_devices": [{"sn": "drone-009", "domain": "0", "type": 91, "sub_type": 0}],
    }
    rig.receive("topo", TOPOLOGIES, {"tid": "T", "bid": "B", "method": "update_topo", "data": data})
    assert rig.acknowledged == []
    await rig.settle()
    assert rig.acknowledged == ["topo"]
    assert rig.registry.resolve("default", "drone-009").gateway_id == "dock-001"
    assert rig.registry.resolve("default", "dock-001").model == "3-2-0"
    ((topic, payload),) = rig.bridge.answers
    assert topic == "sys/product/dock-001/status_reply"
    assert orjson.loads(payload)["data"] == {"result": 0}


async def test_a_topology_that_cannot_be_stored_is_not_answered(rig: Rig) -> None:
    """The dock says it again; kept back at the broker, it would take a place for ever."""
    await rig.cannot_write()
    content = {"tid": "T", "method": "update_topo", "data": {"sub_devices": []}}
    rig.receive("topo", TOPOLOGIES, content)
    await rig.store_failed()
    assert (rig.acknowledged, rig.bridge.answers) == (["topo"], [])
    with pytest.raises(Exception, match="no device 'dock-001' is known"):
        rig.registry.resolve("default", "dock-001")


@pytest.mark.parametrize(
    "content",
    [
        {"tid": "T", "method": "other", "data": {"sub_devices": []}},
        {"tid": "T", "data": {"sub_devices": []}},
        {"tid": "T", "method": "update_topo", "data": None},
    ],
)
async def test_what_is_no_topology_teaches_nothing(rig: Rig, content: dict[str, Any]) -> None:
    """It is acknowledged, so that it does not come again, and not answered."""
    rig.receive("odd", TOPOLOGIES, content)
    await rig.settle()
    assert (rig.acknowledged, rig.bridge.answers) == (["odd"], [])
    assert await rig.store.devices.list() == []


@pytest.mark.parametrize(
    ("topic", "content", "line"),
    [
        (EVENTS, b"{", "unreadable_message"),
        (TOPOLOGIES, b"{", "unreadable_message"),
        (TOPOLOGIES, {"method": "m" * 1_000_000, "tid": "t"}, "unknown_status_method"),
        (TOPOLOGIES, {"method": "update_topo", "tid": "t"}, "unreadable_topology"),
        ("thing/product/dock-001/other", {}, "unexpected_topic"),
    ],
)
async def test_a_flood_of_what_is_of_no_use_is_few_lines(
    rig: Rig, log: Log, topic: str, content: object, line: str
) -> None:
    """The log counts those that it leaves out; each is acknowledged."""
    for number in range(MOST_FROM_DEVICES + 20):
        rig.receive(str(number), topic, content)
    rig.clock.advance(1)
    rig.receive("the last", topic, content)
    assert events(log) == [line] * (MOST_FROM_DEVICES + 1)
    assert log[-1]["left_out"] == 20
    assert len(str(log)) < 10_000
    assert rig.acknowledged[-1] == "the last"
