"""Events: stored once, answered when they are stored, acknowledged when they are answered."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from support import log as log_support
from support.bridge import ScriptedBridge
from support.clock import ManualClock
from support.log import Log
from support.records import CHARGE_OPEN, an_accept

from dockgate_server.bridge.interface import Inbound
from dockgate_server.codec import envelope
from dockgate_server.hub import Feed
from dockgate_server.inbound import events as inbound_events
from dockgate_server.inbound import room
from dockgate_server.inbound.events import ANSWER_HOLDS_SECONDS, Events
from dockgate_server.model.command import EventKind, JobState
from dockgate_server.model.event import DeviceEvent
from dockgate_server.model.transitions import RecordJob
from dockgate_server.store.sqlite import SqliteStore

DOCK = "dock-001"


def told(method: str = "hms", gateway: str = DOCK, **members: Any) -> Inbound:
    """An event as it comes; ``members`` replace those of the envelope."""
    content = {
        "tid": "T",
        "bid": "B",
        "timestamp": 1,
        "method": method,
        "need_reply": 1,
        "data": {"list": []},
        **members,
    }
    payload = orjson.dumps({name: value for name, value in content.items() if value is not ...})
    return Inbound(f"thing/product/{gateway}/events", payload, lambda: None)


class Desk:
    """Where events come in: a real store, a scripted bridge, a clock that stands still."""

    def __init__(self, store: SqliteStore, bridge: ScriptedBridge, clock: ManualClock) -> None:
        self.store = store
        self.bridge = bridge
        self.clock = clock
        self.feed: Feed[DeviceEvent] = Feed()
        self.events = Events(bridge, store.events, self.feed, clock, lambda _: None)
        self.acknowledged = 0

    def receive(self, message: Inbound, copies: int = 1, *, comes_again: bool = True) -> None:
        """A message comes, so many times."""
        gateway = message.topic.split("/")[2]
        for _ in range(copies):
            copy = Inbound(message.topic, message.payload, self._acknowledge, comes_again)
            self.events.handle(gateway, envelope.read(message.payload), copy)

    async def settle(self) -> None:
        """Let everything happen that has been asked of the store."""
        for _ in range(5):
            await self.store.forget_nonces(0)

    async def stored(self) -> list[tuple[str, Any]]:
        """Method and data of all events."""
        found = await self.store.events.behind(0, 10_000)
        return [(event.method, orjson.loads(event.data)) for event in found]

    @property
    def answered(self) -> list[str]:
        """The tids of the answers, in order."""
        return [orjson.loads(payload)["tid"] for _, payload in self.bridge.answers]

    def _acknowledge(self) -> None:
        self.acknowledged += 1


Open = Callable[..., AbstractAsyncContextManager[Desk]]


@asynccontextmanager
async def opening(
    database: Path, clock: ManualClock, bridge: ScriptedBridge | None = None
) -> AsyncIterator[Desk]:
    """A desk; a second one on the same database is a gateway started again."""
    async with SqliteStore(database) as store:
        yield Desk(store, bridge or ScriptedBridge(), clock)


@pytest.fixture
def open_desk(tmp_path: Path) -> Open:
    """Opens one on the test's database."""
    return partial(opening, tmp_path / "dockgate.db", ManualClock())


@pytest.fixture
async def desk(open_desk: Open) -> AsyncIterator[Desk]:
    """One that is open."""
    async with open_desk() as desk:
        yield desk


async def test_an_event_is_stored_then_answered_then_acknowledged(desk: Desk) -> None:
    """A crash in between brings it again."""
    order: list[str] = []
    desk.bridge.answer = lambda *_: order.append("answered")  # type: ignore[method-assign]
    message = told()
    copy = Inbound(message.topic, message.payload, lambda: order.append("acknowledged"))
    with desk.feed.watch_all() as watcher:
        desk.events.handle(DOCK, envelope.read(message.payload), copy)
        assert order == []
        await watcher.wait(5)
        assert await desk.stored() == [("hms", {"list": []})]
    assert order == ["answered", "acknowledged"]


async def test_the_answer_has_the_events_tid_bid_and_method(desk: Desk) -> None:
    """By these the device knows it."""
    desk.receive(told("airsense_warning", data=[1]))
    await desk.settle()
    ((topic, payload),) = desk.bridge.answers
    assert topic == "thing/product/dock-001/events_reply"
    assert orjson.loads(payload) == {
        "tid": "T",
        "bid": "B",
        "method": "airsense_warning",
        "timestamp": desk.clock.now_ms(),
        "data": {"result": 0},
    }


@pytest.mark.parametrize(
    ("need_reply", "answers"), [(1, 1), ("1", 1), (0, 0), (..., 0), (None, 0), ("yes", 0)]
)
async def test_only_what_asks_for_an_answer_gets_one(
    desk: Desk, need_reply: object, answers: int
) -> None:
    """It is stored and acknowledged all the same."""
    desk.receive(told(need_reply=need_reply))
    await desk.settle()
    assert (len(desk.answered), desk.acknowledged, len(await desk.stored())) == (answers, 1, 1)


async def test_one_copy_that_asks_is_enough(desk: Desk) -> None:
    """Whether it comes before the first is stored, or after."""
    desk.receive(told(need_reply=0))
    desk.receive(told())
    desk.receive(told(tid="U", need_reply=0))
    await desk.settle()
    assert desk.answered == ["T"]
    desk.receive(told(tid="U"))
    assert desk.answered == ["T", "U"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_ten_copies_are_one_event_with_one_answer(desk: Desk, at_once: bool) -> None:
    """Whether they come before the first is stored or after it was answered."""
    desk.receive(told(), copies=10 if at_once else 1)
    await desk.settle()
    if not at_once:
        desk.receive(told(), copies=9)
    await desk.settle()
    assert (desk.answered, desk.acknowledged, len(await desk.stored())) == (["T"], 10, 1)


async def test_a_device_that_still_repeats_after_our_answer_has_not_got_it(desk: Desk) -> None:
    """It is answered again; what comes just behind our answer was under way already."""
    desk.receive(told())
    await desk.settle()
    for seconds, answers in ((ANSWER_HOLDS_SECONDS - 0.1, 1), (0.1, 2), (0.0, 2), (8.0, 3)):
        desk.clock.advance(seconds)
        desk.receive(told())
        await desk.settle()
        assert len(desk.answered) == answers
    assert len(await desk.stored()) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"gateway": "dock-002"},
        {"tid": "U"},
        {"method": "device_exit_homing_notify"},
        {"data": {"list": [1]}},
        {"data": None},
        {"bid": "C"},
    ],
)
async def test_what_differs_is_another_event(desk: Desk, other: dict[str, Any]) -> None:
    """In gateway, tid, bid, method or data; the rest of the envelope says nothing."""
    desk.receive(told())
    desk.receive(told(**other))
    desk.receive(told(timestamp=2))
    await desk.settle()
    assert (len(await desk.stored()), len(desk.answered), desk.acknowledged) == (2, 2, 3)


async def test_reports_of_two_jobs_under_one_tid_are_answered_each_with_its_own_bid(
    desk: Desk,
) -> None:
    """Some devices use one tid for everything; the job's end must not pass for a repetition."""
    bids = ["B", "C"]
    job = {"command_type": CHARGE_OPEN, "sending": True}
    jobs = [an_accept(job_key=bid, **job) for bid in bids]
    for bid, job in zip(bids, jobs, strict=True):
        await desk.store.accept(job)
        desk.receive(told(CHARGE_OPEN, bid=bid, data={"output": {"status": "ok"}}))
        await desk.settle()
    assert [orjson.loads(payload)["bid"] for _, payload in desk.bridge.answers] == bids
    for one in jobs:
        command = await desk.store.get_command(one.tenant, one.id)
        assert command is not None
        assert command.job is not None
        assert command.job.state is JobState.OK


@pytest.mark.parametrize(
    "tid", [..., None, "", "nil", "0", 0, {}, "00000000-0000-0000-0000-000000000000"]
)
async def test_events_without_a_tid_are_never_repetitions(desk: Desk, tid: object) -> None:
    """Some devices send a constant that means none."""
    desk.receive(told(tid=tid), copies=3)
    await desk.settle()
    assert (len(await desk.stored()), len(desk.answered), desk.acknowledged) == (3, 3, 3)


async def test_what_is_no_message_is_acknowledged_and_not_stored(desk: Desk) -> None:
    """Nor is what no watcher could be given; neither must come again for ever."""
    topic = told().topic
    desk.receive(Inbound(topic, b"[", lambda: None))
    desk.receive(told(data="x" * inbound_events.LARGEST_BYTES))
    desk.receive(told(data="x" * (inbound_events.LARGEST_BYTES - 200)))
    await desk.settle()
    assert (len(await desk.stored()), len(desk.answered), desk.acknowledged) == (1, 1, 3)


async def test_an_event_without_method_is_stored_as_well(desk: Desk) -> None:
    """Devices are careless; a watcher may know what it means."""
    desk.receive(told(method=..., data="odd"))  # type: ignore[arg-type]
    await desk.settle()
    assert (await desk.stored(), desk.answered) == ([("", "odd")], ["T"])


# Stores and connections that fail.


async def test_without_a_connection_nothing_counts_as_answered(desk: Desk) -> None:
    """The broker brings it again on the next connection, at once: then it is answered."""
    desk.bridge.connected = False
    desk.receive(told())
    await desk.settle()
    assert (desk.answered, desk.acknowledged) == ([], 0)
    desk.bridge.connected = True
    desk.receive(told())
    assert (desk.answered, desk.acknowledged, len(await desk.stored())) == (["T"], 2, 1)


async def test_what_comes_at_the_very_beginning_of_a_connection_is_answered_then(
    desk: Desk,
) -> None:
    """The broker brings again what was not acknowledged before anything can be sent to it."""
    desk.bridge.connected = False
    desk.receive(told(), copies=2)
    desk.receive(told(tid="U", need_reply=0))
    await desk.settle()
    assert (desk.answered, desk.acknowledged) == ([], 1)
    desk.events.connection_changed()
    assert (desk.answered, desk.acknowledged) == ([], 1)
    desk.bridge.connected = True
    desk.events.connection_changed()
    desk.events.connection_changed()
    assert (desk.answered, desk.acknowledged) == (["T"], 3)


async def test_nothing_is_answered_before_a_store_that_fails_has_recovered(desk: Desk) -> None:
    """Tried again once a second; what comes meanwhile waits behind it, in order."""
    writing = desk.store._writer._connection
    await writing.run(lambda db: db.execute("PRAGMA query_only = ON").fetchall())
    desk.receive(told(tid="1"))
    await _let_the_store_fail(desk)
    desk.receive(told(tid="2"))
    desk.clock.advance(1)
    await _let_the_store_fail(desk)
    assert (desk.answered, desk.acknowledged) == ([], 0)
    await writing.run(lambda db: db.execute("PRAGMA query_only = OFF").fetchall())
    desk.clock.advance(1)
    await desk.settle()
    assert (desk.answered, desk.acknowledged) == (["1", "2"], 2)
    assert len(await desk.stored()) == 2


@pytest.mark.parametrize(
    "limit", [{"MOST_WAITING": 3}, {"MOST_WAITING_BYTES": 3 * len(told(tid="1").payload)}]
)
async def test_what_the_broker_does_not_keep_waits_only_up_to_a_bound(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, log: Log, limit: dict[str, int]
) -> None:
    """While the store is down: the newest are lost, which is said once and then with the number.

    What the broker keeps is taken all the same, and what is told again when there is room.
    """
    for name, value in limit.items():
        monkeypatch.setattr(room, name, value)
    writing = desk.store._writer._connection
    await writing.run(lambda db: db.execute("PRAGMA query_only = ON").fetchall())
    for tid in "12345":
        desk.receive(told(tid=tid), comes_again=False)
        desk.receive(told(tid=tid), comes_again=False)
    desk.receive(told(tid="kept"))
    await _let_the_store_fail(desk)
    assert log_support.events(log).count("messages_are_being_lost") == 1
    await writing.run(lambda db: db.execute("PRAGMA query_only = OFF").fetchall())
    desk.clock.advance(1)
    await desk.settle()
    assert desk.answered == ["1", "2", "3", "kept"]
    assert [entry["lost"] for entry in log if entry["event"] == "messages_were_lost"] == [4]
    desk.receive(told(tid="4"), comes_again=False)
    await desk.settle()
    assert desk.answered[4:] == ["4"]
    assert len(await desk.stored()) == 5


async def test_copies_that_the_broker_does_not_keep_leave_nothing_behind(desk: Desk) -> None:
    """A device may repeat one event for as long as the store is down."""
    desk.receive(told(), copies=1000, comes_again=False)
    (waiting,) = desk.events._known.values()
    assert waiting.unacknowledged == []
    await desk.settle()
    assert (desk.answered, len(await desk.stored())) == (["T"], 1)


async def _let_the_store_fail(desk: Desk) -> None:
    for _ in range(5):
        with pytest.raises(Exception, match="cannot take"):
            await desk.store.forget_nonces(0)


async def test_one_event_that_cannot_be_stored_does_not_take_others_with_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be a bug: it is logged, acknowledged, and not answered."""
    record = desk.store.events.record

    def recording(group: Any) -> Any:
        if any(new.method == "bug" for new in group):
            future = asyncio.get_running_loop().create_future()
            future.set_exception(RuntimeError("a bug"))
            return future
        return record(group)

    monkeypatch.setattr(desk.store.events, "record", recording)
    for tid, method in (("1", "hms"), ("2", "hms"), ("3", "bug"), ("4", "hms")):
        desk.receive(told(method, tid=tid))
    await desk.settle()
    assert (desk.answered, desk.acknowledged, len(await desk.stored())) == (["1", "2", "4"], 4, 3)


async def test_a_repetition_of_one_that_could_not_be_stored_is_tried_anew(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one may fare better; it is not held for ever."""
    failed = asyncio.get_running_loop().create_future()
    failed.set_exception(RuntimeError("a bug"))
    with monkeypatch.context() as broken:
        broken.setattr(desk.store.events, "record", lambda _: failed)
        desk.receive(told())
        await desk.settle()
    desk.receive(told())
    await desk.settle()
    assert (desk.answered, desk.acknowledged, len(await desk.stored())) == (["T"], 2, 1)


# Groups.


async def test_what_comes_during_a_commit_shares_the_next_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order in which it came, and no more at once than others can wait for."""
    monkeypatch.setattr(inbound_events, "GROUP_LIMIT", 4)
    groups: list[int] = []
    record = desk.store.events.record
    monkeypatch.setattr(
        desk.store.events, "record", lambda group: (groups.append(len(group)), record(group))[1]
    )
    tids = [str(number) for number in range(1, 8)]
    for tid in tids:
        desk.receive(told(tid=tid))
    await desk.settle()
    assert groups == [1, 4, 2]
    assert desk.answered == tids


async def test_answers_are_written_down_together_and_not_one_by_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the next process, which must not answer again what has just been answered."""
    noted: list[list[int]] = []
    answered = desk.store.events.answered
    monkeypatch.setattr(
        desk.store.events,
        "answered",
        lambda seqs, at: (noted.append(list(seqs)), answered(seqs, at))[1],
    )
    for number in range(1, 8):
        desk.receive(told(tid=str(number), need_reply=number % 2))
    await desk.settle()
    assert noted == [[1], [3, 5, 7]]


# Another process.


async def test_a_death_between_storing_and_answering_delays_the_answer_and_no_more(
    open_desk: Open,
) -> None:
    """The broker brings the event again to the next process, or the device repeats it."""
    async with open_desk(ScriptedBridge(connected=False)) as desk:
        desk.receive(told())
        await desk.settle()
        assert desk.answered == []
    async with open_desk() as desk:
        desk.receive(told(), copies=2)
        await desk.settle()
        assert (desk.answered, desk.acknowledged, len(await desk.stored())) == (["T"], 2, 1)


@pytest.mark.parametrize(("seconds", "answers"), [(2.9, 0), (3.1, 1), (-60, 0)])
async def test_an_answer_of_an_earlier_process_holds_as_long_as_ones_own(
    open_desk: Open, seconds: float, answers: int
) -> None:
    """By the wall clock, which may have been set back meanwhile."""
    async with open_desk() as desk:
        desk.receive(told())
        await desk.settle()
    async with open_desk() as desk:
        desk.clock.step_wall_clock(seconds)
        desk.receive(told())
        await desk.settle()
        assert (len(desk.answered), len(await desk.stored())) == (answers, 1)
        desk.clock.advance(ANSWER_HOLDS_SECONDS)
        desk.receive(told())
        assert len(desk.answered) == answers + 1


async def test_an_event_that_is_no_longer_remembered_is_known_to_the_store(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered here is bounded."""
    monkeypatch.setattr(inbound_events, "REMEMBERED", 2)
    for tid in ("1", "2", "3", "1"):
        desk.receive(told(tid=tid))
        await desk.settle()
    assert len(desk.events._known) == 2
    assert (desk.answered, len(await desk.stored())) == (["1", "2", "3"], 3)


# Jobs.


@pytest.mark.parametrize("odd", [b"NaN", b"1e400", b"9" * 400, b"[" * 40 + b"]" * 40])
async def test_an_event_of_which_not_all_can_be_kept_is_answered_and_ends_its_job(
    desk: Desk, odd: bytes
) -> None:
    """Or the device would tell it for ever, and the job would never end."""
    new = an_accept(command_type=CHARGE_OPEN, job_key="B", sending=True)
    accepted = await desk.store.accept(new)
    payload = told(CHARGE_OPEN, data={"output": {"status": "ok"}, "x": "ODD"}).payload
    message = Inbound(told().topic, payload.replace(b'"ODD"', odd), lambda: None)
    desk.receive(message, copies=3)
    await desk.settle()
    assert (desk.answered, desk.acknowledged) == (["T"], 3)
    command = await desk.store.get_command("default", accepted.command.id)
    assert command is not None
    assert command.job is not None
    assert command.job.state is JobState.OK
    ((_, data),) = await desk.stored()
    assert data["output"] == {"status": "ok"}


async def test_progress_is_recorded_with_its_event_and_once(desk: Desk) -> None:
    """A repetition changes nothing, neither the event nor the job."""
    new = an_accept(command_type=CHARGE_OPEN, job_key="B", sending=True)
    command_id = (await desk.store.accept(new)).command.id
    data = {"result": 0, "output": {"status": "in_progress", "progress": {"percent": 40}}}
    desk.receive(told(CHARGE_OPEN, data=data), copies=3)
    await desk.settle()
    desk.receive(told(CHARGE_OPEN, data=data))
    await desk.settle()
    events = await desk.store.events_of_command("default", command_id, 0, 10)
    kinds = [event.kind for event in events]
    assert kinds == [EventKind.ACCEPTED, EventKind.SENDING, EventKind.JOB_PROGRESSED]
    assert events[-1].command.job is not None
    assert events[-1].command.job.percent == 40
    assert await desk.stored() == [(CHARGE_OPEN, data)]


async def test_whatever_is_said_of_a_job_is_a_sign_of_life(desk: Desk) -> None:
    """At once, whatever the store makes of it; also what is said again."""
    heard: list[RecordJob] = []
    events = Events(desk.bridge, desk.store.events, desk.feed, desk.clock, heard.append)
    data = {"result": 0, "output": {"status": "in_progress", "progress": {"percent": 40}}}
    for message in (told(CHARGE_OPEN, data=data), told(CHARGE_OPEN, data=data), told("hms")):
        events.handle(DOCK, envelope.read(message.payload), message)
    assert [(one.gateway_id, one.job_key, one.job.percent) for one in heard] == [
        (DOCK, "B", 40)
    ] * 2
    await desk.settle()
