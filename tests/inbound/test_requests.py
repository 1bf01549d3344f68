"""The requests of devices: recorded, routed, answered, repeated."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs
from support.bridge import NOBODY, ScriptedBridge
from support.desk import Desk, sitting
from support.log import Log, events

from dockgate_server.bridge.interface import Acknowledgement, Verdict
from dockgate_server.errors import unavailable
from dockgate_server.lines import MOST_FROM_DEVICES
from dockgate_server.model.device_request import Asked, ReplySource, RequestStatus, Routing
from dockgate_server.providers import Answer, accepted

NIL = "00000000-0000-0000-0000-000000000000"
REFUSED = Acknowledgement(Verdict.REFUSED, "Not authorized")


async def files(asked: Asked) -> Answer | None:
    """Answers, unless it is told that it cannot."""
    if asked.data == "unknown":
        return None
    return accepted("takeoff", {"files": [], "token": "hush"})


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with sitting(tmp_path / "dockgate.db", {"flight_areas_get": files}) as desk:
        yield desk


async def test_a_request_that_can_be_answered_is(desk: Desk) -> None:
    """On the topic of replies, with tid, bid and method of the request, and an expiry."""
    request = await desk.asked("flight_areas_get")
    message = desk.last()
    assert message.topic == "thing/product/dock-001/requests_reply"
    assert message.content == {
        "tid": "t1",
        "bid": "b1",
        "method": "flight_areas_get",
        "timestamp": desk.clock.now_ms(),
        "data": {"result": 0, "output": {"files": [], "token": "hush"}},
    }
    assert message.expiry_seconds == 40
    assert (request.status, request.routing) == (RequestStatus.REPLIED, Routing.AUTO)
    assert (request.reply_code, request.reply_source) == (0, ReplySource.AUTO)
    assert (request.replied_by, request.replied_at) == ("takeoff", desk.clock.now_ms())
    assert (request.gateway_id, request.request_type) == ("dock-001", "flight_areas_get")


async def test_it_is_acknowledged_when_its_answer_was_taken(desk: Desk) -> None:
    """A crash before that brings it again, so the answer itself need not be stored."""
    await desk.asked("flight_areas_get")
    assert desk.acknowledged == []
    desk.last().acknowledge()
    await desk.settle()
    assert desk.acknowledged == ["t1"]


async def test_a_request_that_nobody_can_answer_waits(desk: Desk) -> None:
    """It is acknowledged when it is recorded; whoever looks finds it."""
    request = await desk.asked("a_newer_request", {"what": [1, 2]})
    assert (request.status, request.routing) == (RequestStatus.PENDING, Routing.INBOX)
    assert request.payload == b'{"what":[1,2]}'
    assert request.expires_at == request.received_at + 40_000
    assert desk.acknowledged == ["t1"]
    assert desk.sent() == []


async def test_what_a_provider_does_not_know_waits_too(desk: Desk) -> None:
    """Not only what has no provider at all."""
    request = await desk.asked("flight_areas_get", "unknown")
    assert (request.status, request.routing) == (RequestStatus.PENDING, Routing.INBOX)


async def test_a_provider_that_fails_leaves_it_to_a_person(tmp_path: Path) -> None:
    """And the log says which."""

    async def broken(asked: Asked) -> Answer | None:
        raise ValueError("a bug")

    async with sitting(tmp_path / "d.db", {"config": broken}) as desk:
        with capture_logs() as logs:
            request = await desk.asked("config")
        assert request.routing is Routing.INBOX
        assert ("provider_failed", "config") in [(one["event"], one.get("method")) for one in logs]


async def test_a_store_that_cannot_delays_it(tmp_path: Path) -> None:
    """It is neither acknowledged nor answered before it is recorded."""
    failures = [unavailable("disk full"), unavailable("disk full")]
    tried = asyncio.Event()

    async def files_later(asked: Asked) -> Answer | None:
        tried.set()
        if failures:
            raise failures.pop()
        return accepted("takeoff", {})

    bridge = ScriptedBridge(acknowledge_at_once=True)
    async with sitting(tmp_path / "d.db", {"config": files_later}, bridge=bridge) as desk:
        desk.ask("config")
        for _ in range(2):
            await tried.wait()
            tried.clear()
            assert (desk.acknowledged, desk.sent()) == ([], [])
            desk.clock.advance(1)
        await desk.settle()
        assert desk.acknowledged == ["t1"]
        assert len(desk.sent()) == 1


async def test_a_repeated_request_is_answered_again(desk: Desk) -> None:
    """With what holds now; there is still one request."""
    desk.bridge.acknowledge_at_once = True
    first = await desk.asked("flight_areas_get")
    again = await desk.asked("flight_areas_get")
    assert (len(desk.sent()), len(await desk.recorded())) == (2, 1)
    assert first == again
    assert desk.acknowledged == ["t1", "t1"]


async def test_an_answer_that_is_repeated_later_has_its_own_time(desk: Desk) -> None:
    """If it cannot be sent, the request was answered all the same."""
    desk.bridge.acknowledge_at_once = True
    await desk.asked("flight_areas_get")
    desk.clock.advance(3600)
    desk.bridge.acknowledge_at_once = False
    await desk.asked("flight_areas_get")
    assert desk.last().expiry_seconds == 40
    desk.last().acknowledge(REFUSED)
    await desk.settle()
    assert (await desk.recorded())[0].status is RequestStatus.REPLIED
    assert desk.acknowledged == ["t1", "t1"]


async def test_a_repeated_request_that_waits_changes_nothing(desk: Desk) -> None:
    """It goes on waiting, and is no second one."""
    await desk.asked("a_newer_request")
    with capture_logs() as logs:
        await desk.asked("a_newer_request")
    assert logs == []
    assert len(await desk.recorded()) == 1
    assert desk.acknowledged == ["t1", "t1"]


async def test_a_request_that_is_repeated_at_once_is_one(desk: Desk) -> None:
    """Before the first is recorded, and while its answer is on its way."""
    with capture_logs() as logs:
        desk.ask("flight_areas_get")
        desk.ask("flight_areas_get")
        await desk.settle()
        desk.ask("flight_areas_get")
        await desk.settle()
    assert [one["event"] for one in logs] == ["request_answered"]
    assert (len(desk.sent()), len(await desk.recorded())) == (1, 1)
    assert desk.acknowledged == ["t1", "t1"]


@pytest.mark.parametrize(
    "changed",
    [
        {"tid": "t2"},
        {"gateway": "dock-002"},
        {"method": "a_request_of_its_own"},
        {"data": {"flight_id": "f-2"}},
    ],
)
async def test_another_tid_gateway_method_or_data_is_another_request(
    desk: Desk, changed: dict[str, Any]
) -> None:
    """Only all four together are a repetition. Whether the first one waits or is answered."""
    asked = {"method": "a_newer_request", "data": {"flight_id": "f-1"}, **changed}
    first = await desk.asked("a_newer_request", {"flight_id": "f-1"})
    await desk.asked(**asked)
    assert len(await desk.recorded()) == 2
    desk.bridge.acknowledge_at_once = True
    await desk.reply(first.id)
    asked["data"] = {"flight_id": "f-3"}
    await desk.asked(**asked)
    assert len(await desk.recorded()) == 3


@pytest.mark.parametrize("tid", [NIL, "t1"])
async def test_each_request_gets_its_own_answer_though_all_have_one_tid(
    tmp_path: Path, tid: str
) -> None:
    """Real devices send nil tids: what is asked for another flight is another request."""

    async def route(asked: Asked) -> Answer:
        return accepted("flights", dict(asked.data))  # type: ignore[call-overload]

    bridge = ScriptedBridge(acknowledge_at_once=True)
    providers = {"flighttask_resource_get": route}
    async with sitting(tmp_path / "d.db", providers, bridge=bridge) as desk:
        for flights in (("f-1", "f-2"), ("f-3",)):
            for flight in flights:  # the first two are being served at once
                desk.ask("flighttask_resource_get", {"flight_id": flight}, tid)
            await desk.settle()
        assert [one["data"]["output"]["flight_id"] for one in desk.sent()] == ["f-1", "f-2", "f-3"]
        assert len(await desk.recorded()) == 3
        assert desk.acknowledged == [tid] * 3


async def test_what_comes_without_a_usable_tid_is_never_a_repetition(desk: Desk) -> None:
    """Not even of the same words: nobody can tell."""
    desk.bridge.acknowledge_at_once = True
    for _ in range(2):
        desk.ask("flight_areas_get", tid=NIL)
        desk.ask("a_newer_request", tid=NIL)
    await desk.settle()
    assert len(await desk.recorded()) == 4
    assert len(desk.sent()) == 2
    await desk.asked("flight_areas_get", tid=NIL)
    assert len(await desk.recorded()) == 5
    assert desk.acknowledged == [NIL] * 5


async def test_huge_requests_of_one_tid_are_told_apart(desk: Desk) -> None:
    """Though nothing of what they say is kept."""
    for letter in ("x", "y", "x"):
        await desk.asked("a_newer_request", letter * 70_000)
    assert len(await desk.recorded()) == 2


async def test_a_persons_answer_is_repeated_as_it_was(desk: Desk) -> None:
    """The device may have missed it."""
    desk.bridge.acknowledge_at_once = True
    request = await desk.asked("a_newer_request")
    await desk.reply(request.id, 7, output={"a": 1})
    await desk.asked("a_newer_request")
    assert [one["data"] for one in desk.sent()] == [{"result": 7, "output": {"a": 1}}] * 2


async def test_a_persons_answer_with_secrets_cannot_be_repeated(desk: Desk) -> None:
    """They are not kept; the log says that the device got nothing."""
    desk.bridge.acknowledge_at_once = True
    request = await desk.asked("a_newer_request")
    await desk.reply(request.id, output={"security_token": "hush-hush", "bucket": "b"})
    await desk.settle()
    with capture_logs() as logs:
        await desk.asked("a_newer_request")
    assert len(desk.sent()) == 1
    assert "repeated_request_not_answered" in [one["event"] for one in logs]
    assert desk.acknowledged == ["t1", "t1"]


@pytest.mark.parametrize(
    "payload",
    [
        b"not JSON",
        b"[]",
        b'{"method":"config"}',
        b'{"tid":"t1"}',
        b'{"tid":null,"method":"config"}',
        orjson.dumps({"tid": "x" * 201, "method": "config"}),
        orjson.dumps({"tid": "t1", "method": "m" * 201}),
    ],
)
async def test_what_could_not_be_answered_is_logged_and_no_more(desk: Desk, payload: bytes) -> None:
    """An answer is told by tid and method; without them there can be none."""
    with capture_logs() as logs:
        desk.receive(payload, "it")
        await desk.settle()
    assert desk.acknowledged == ["it"]
    assert await desk.recorded() == ()
    assert [one["event"] for one in logs] == ["unanswerable_request"]


async def test_a_flood_of_what_could_not_be_answered_is_few_lines(desk: Desk, log: Log) -> None:
    """The log counts those that it leaves out."""
    for _ in range(MOST_FROM_DEVICES + 20):
        desk.receive(b"[]")
    desk.clock.advance(1)
    desk.receive(b"[]")
    assert events(log) == ["unanswerable_request"] * (MOST_FROM_DEVICES + 1)
    assert log[-1]["left_out"] == 20


async def test_secrets_of_requests_and_answers_are_not_kept(desk: Desk) -> None:
    """Neither in the record nor in the file; the rest is."""
    desk.bridge.acknowledge_at_once = True
    with capture_logs() as logs:
        request = await desk.asked(
            "flight_areas_get", {"device_binding_code": "sesame", "organization_id": "o-1"}
        )
    assert request.payload == b'{"organization_id":"o-1"}'
    assert request.reply == b'{"result":0,"output":{"files":[]}}'
    assert request.is_abridged
    assert desk.sent()[0]["data"]["output"]["token"] == "hush"
    assert b"sesame" not in desk.everything_stored()
    assert b"hush" not in desk.everything_stored()
    assert "hush" not in str(logs)
    assert "sesame" not in str(logs)


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ("x" * 70_000, None),
        (["x" * 70_000], None),
        (
            {"flight_id": "f-1", "files": ["x" * 70_000], "where": {"a": [1]}, "n": 0},
            {"flight_id": "f-1", "files": None, "where": {"a": [1]}, "n": 0},
        ),
        ({"x" * 70_000: 1, "n": 0}, {"n": 0}),
        ({f"n{number}": 0 for number in range(10_000)}, {f"n{number}": 0 for number in range(64)}),
    ],
    ids=["text", "list", "object", "long name", "many members"],
)
async def test_of_a_huge_request_what_is_small_is_kept(
    desk: Desk, log: Log, data: object, kept: object
) -> None:
    """A device must not fill the disk, but whoever answers is not to be blind. The log says it."""
    request = await desk.asked("a_newer_request", data)
    assert orjson.loads(request.payload) == kept
    line = log[0]
    assert (line["event"], line["log_level"]) == ("request_kept_in_part", "warning")
    assert (line["gateway"], line["method"], line["tid"]) == ("dock-001", "a_newer_request", "t1")
    assert line["bytes"] == len(orjson.dumps(data))


async def test_a_request_that_is_kept_in_part_is_bounded_all_the_same(desk: Desk) -> None:
    """However many members are small, and whatever JSON makes of their names."""
    data = {f"{number}{chr(1) * 150}": "x" * 70_000 for number in range(100)}
    request = await desk.asked("a_newer_request", data)
    assert 0 < len(request.payload) <= 65_536


async def test_a_provider_sees_the_whole_of_a_huge_request(tmp_path: Path) -> None:
    """What is kept of it is for people."""
    seen: list[object] = []

    async def reads(asked: Asked) -> Answer | None:
        seen.append(asked.data)
        return accepted("test", {})

    async with sitting(tmp_path / "d.db", {"config": reads}) as desk:
        await desk.asked("config", {"a": "x" * 70_000})
    assert seen == [{"a": "x" * 70_000}]


async def test_answers_go_one_after_the_other(desk: Desk) -> None:
    """The broker's patience with unacknowledged messages is needed for commands."""
    for tid in ("t1", "t2", "t3"):
        await desk.asked("flight_areas_get", tid=tid)
    assert [one["tid"] for one in desk.sent()] == ["t1"]
    desk.last().acknowledge()
    await desk.settle()
    assert [one["tid"] for one in desk.sent()] == ["t1", "t2"]


async def test_an_answer_waits_for_the_connection(desk: Desk) -> None:
    """And then has what is left of its time."""
    desk.bridge.connected = False
    await desk.asked("flight_areas_get")
    assert desk.sent() == []
    desk.clock.advance(10)
    desk.bridge.connected = True
    desk.replies.connection_changed()
    assert desk.last().expiry_seconds == 30


async def test_an_answer_that_was_lost_on_its_way_is_sent_again(desk: Desk) -> None:
    """With the same tid, by which a device knows it that has it already."""
    await desk.asked("flight_areas_get")
    desk.bridge.connected = False
    desk.last().lose()
    await desk.settle()
    desk.bridge.connected = True
    desk.replies.connection_changed()
    assert [one["tid"] for one in desk.sent()] == ["t1", "t1"]
    desk.last().acknowledge()
    await desk.settle()
    assert desk.acknowledged == ["t1"]


async def test_an_answer_for_which_nobody_listens_is_tried_again(desk: Desk) -> None:
    """A dock may ask a moment before it subscribes. It holds up nobody."""
    await desk.asked("flight_areas_get")
    await desk.asked("flight_areas_get", tid="t2", gateway="dock-002")
    desk.last().acknowledge(NOBODY)
    await desk.settle()
    assert [one["tid"] for one in desk.sent()] == ["t1", "t2"]
    desk.last().acknowledge()
    await desk.settle()
    desk.clock.advance(1)
    assert [one["tid"] for one in desk.sent()] == ["t1", "t2", "t1"]


async def test_an_answer_for_which_nobody_listens_is_not_tried_for_ever(desk: Desk) -> None:
    """Also when its time ran out while it was on its way."""
    request = await desk.asked("a_newer_request")
    desk.clock.advance(39)
    await desk.reply(request.id)
    desk.clock.advance(2)
    desk.last().acknowledge(NOBODY)
    await desk.settle()
    desk.clock.advance(10)
    assert len(desk.sent()) == 1
    assert (await desk.recorded())[0].status is RequestStatus.EXPIRED


async def test_an_answer_that_could_not_be_sent_in_time_shows_it(desk: Desk) -> None:
    """The request is not called answered. If the device still asks, that is a new one."""
    desk.bridge.connected = False
    first = await desk.asked("flight_areas_get")
    with capture_logs() as logs:
        desk.clock.advance(40)
        await desk.settle()
    assert "request_reply_not_sent" in [one["event"] for one in logs]
    assert (await desk.recorded())[0].status is RequestStatus.EXPIRED
    assert desk.acknowledged == ["t1"]
    second = await desk.asked("flight_areas_get")
    assert second.id != first.id


async def test_an_answer_that_the_broker_refuses_shows_it(desk: Desk) -> None:
    """Trying again would not help."""
    await desk.asked("flight_areas_get")
    desk.last().acknowledge(REFUSED)
    await desk.settle()
    assert (await desk.recorded())[0].status is RequestStatus.EXPIRED
    assert len(desk.sent()) == 1


async def test_an_answer_in_flight_at_the_deadline_counts_when_it_was_taken(desk: Desk) -> None:
    """The broker has the word: it may have arrived."""
    await desk.asked("flight_areas_get")
    desk.clock.advance(41)
    await desk.settle()
    assert (await desk.recorded())[0].status is RequestStatus.REPLIED
    desk.last().acknowledge()
    await desk.settle()
    assert (await desk.recorded())[0].status is RequestStatus.REPLIED


async def test_an_answer_in_flight_at_the_deadline_that_is_lost_does_not_count(desk: Desk) -> None:
    """It is too late to send it again."""
    await desk.asked("flight_areas_get")
    desk.clock.advance(41)
    desk.last().lose()
    await desk.settle()
    assert (await desk.recorded())[0].status is RequestStatus.EXPIRED
    assert len(desk.sent()) == 1


async def test_a_request_expires_visibly(desk: Desk) -> None:
    """Not before its time; the log says so too."""
    await desk.asked("a_newer_request")
    desk.clock.advance(39.9)
    await desk.settle()
    assert (await desk.recorded())[0].status is RequestStatus.PENDING
    with capture_logs() as logs:
        desk.clock.advance(0.2)
        await desk.settle()
    assert (await desk.recorded())[0].status is RequestStatus.EXPIRED
    assert "request_expired" in [one["event"] for one in logs]


async def test_a_device_that_still_asks_gets_a_new_request(desk: Desk) -> None:
    """Somebody may be there by now who answers."""
    await desk.asked("a_newer_request")
    desk.clock.advance(41)
    await desk.settle()
    await desk.asked("a_newer_request")
    assert [one.status for one in await desk.recorded()] == [
        RequestStatus.PENDING,
        RequestStatus.EXPIRED,
    ]


async def test_a_step_of_the_wall_clock_ends_nothing(desk: Desk) -> None:
    """Requests wait by the clock that never steps."""
    request = await desk.asked("a_newer_request")
    desk.clock.step_wall_clock(3600)
    desk.clock.advance(1)
    await desk.settle()
    assert (await desk.reply(request.id)).status is RequestStatus.REPLIED


async def test_requests_of_an_earlier_process_go_on_waiting(tmp_path: Path) -> None:
    """And expire in their time."""
    database = tmp_path / "dockgate.db"
    async with sitting(database) as desk:
        await desk.asked("a_newer_request")
        clock = desk.clock
    clock.advance(20)
    async with sitting(database, clock=clock) as desk:
        clock.advance(19)
        await desk.settle()
        assert (await desk.recorded())[0].status is RequestStatus.PENDING
        clock.advance(2)
        await desk.settle()
        assert (await desk.recorded())[0].status is RequestStatus.EXPIRED


async def test_a_request_whose_answer_a_crash_kept_back_is_answered(tmp_path: Path) -> None:
    """It was not acknowledged, so the broker brings it again; there is still one request."""
    database, answers = tmp_path / "dockgate.db", {"flight_areas_get": files}
    async with sitting(database, answers) as desk:
        desk.bridge.connected = False
        await desk.asked("flight_areas_get")
        assert desk.acknowledged == []
    async with sitting(database, answers) as desk:
        await desk.asked("flight_areas_get")
        assert [one["data"]["result"] for one in desk.sent()] == [0]
        desk.last().acknowledge()
        await desk.settle()
        assert desk.acknowledged == ["t1"]
        assert len(await desk.recorded()) == 1


async def test_a_persons_answer_is_sent_after_a_restart(tmp_path: Path) -> None:
    """Once, with its secrets, which are forgotten then."""
    database = tmp_path / "dockgate.db"
    async with sitting(database) as desk:
        desk.bridge.connected = False
        request = await desk.asked("a_newer_request")
        await desk.reply(request.id, token="hush-hush")
        clock = desk.clock
    clock.advance(5)
    async with sitting(database, clock=clock) as desk:
        assert desk.sent()[0]["data"] == {"result": 0, "token": "hush-hush"}
        assert desk.last().expiry_seconds == 35
        desk.last().acknowledge()
        await desk.settle()
        assert await desk.store.requests.unsent() == []
    async with sitting(database, clock=clock) as desk:
        assert desk.sent() == []


async def test_a_persons_answer_from_long_ago_is_not_sent(tmp_path: Path) -> None:
    """The device has given up; the request shows that the answer did not reach it."""
    database = tmp_path / "dockgate.db"
    async with sitting(database) as desk:
        desk.bridge.connected = False
        request = await desk.asked("a_newer_request")
        await desk.reply(request.id, token="hush-hush")
        clock = desk.clock
    clock.advance(60)
    bridge = ScriptedBridge(connected=False)
    async with sitting(database, clock=clock, bridge=bridge) as desk:
        clock.advance(0)
        await desk.settle()
        found = (await desk.recorded())[0]
        assert (found.status, found.replied_by) == (RequestStatus.EXPIRED, "local")
        assert await desk.store.requests.unsent() == []
