"""Sending what has been accepted: intent first, in order, once, within the window."""

import asyncio
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.bridge import ScriptedBridge
from support.records import CHARGE_OPEN, NOW, a_reply
from support.rig import Rig, Start

from dockgate_server.bridge.interface import Acknowledgement, Verdict
from dockgate_server.dispatcher.window import WINDOW
from dockgate_server.model.command import EventKind, FailureCode, Status
from dockgate_server.model.transitions import RecordReply


async def test_a_command_travels_as_djis_message(rig: Rig) -> None:
    """Topic of its gateway, tid and bid its id, data as stored."""
    command_id = await rig.accept(
        command_type="camera_recording_start", data=b'{"payload_index":"39-0-7"}'
    )
    (message,) = rig.bridge.published
    assert message.topic == "thing/product/dock-001/services"
    assert message.content == {
        "tid": command_id,
        "bid": command_id,
        "timestamp": NOW,
        "method": "camera_recording_start",
        "data": {"payload_index": "39-0-7"},
    }


async def test_a_command_is_sent_before_its_submitter_is_answered(rig: Rig) -> None:
    """With a place in the window the common case needs one commit and no other task."""
    command_id = await rig.accept()
    assert rig.sent() == [command_id]
    assert rig.kinds(command_id) == [EventKind.ACCEPTED, EventKind.SENDING]


class LookingBridge(ScriptedBridge):
    """Looks into the database from inside publish."""

    database: Path
    seen: list[Any]

    def publish(self, topic: str, payload: bytes, expiry_seconds: int) -> Any:
        """Note what is committed at this moment."""
        connection = sqlite3.connect(self.database)
        (sending_at,) = connection.execute(
            "SELECT sending_at FROM command ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        connection.close()
        self.seen.append(sending_at)
        return super().publish(topic, payload, expiry_seconds)


@pytest.mark.parametrize("with_place", [True, False])
async def test_the_intent_is_committed_before_the_message_leaves(
    start: Start, tmp_path: Path, with_place: bool
) -> None:
    """Whoever looks into the database after a crash knows what may have left."""
    bridge = LookingBridge(connected=with_place)
    bridge.database, bridge.seen = tmp_path / "dockgate.db", []
    async with start(bridge) as rig:
        await rig.accept()
        rig.clock.advance(1)
        rig.connect()
        await bridge.wait_published(1)
        await rig.settle()
    assert bridge.seen == [NOW if with_place else NOW + 1000]


async def test_the_broker_expires_a_message_with_its_deadline(rig: Rig) -> None:
    """A dock that comes back must not take off from an old message; what waited has less left."""
    await rig.accept(timeout_seconds=30)
    rig.connect(False)
    await rig.accept(timeout_seconds=30)
    await rig.accept(timeout_seconds=11)
    rig.clock.advance(10.4)
    rig.connect()
    await rig.bridge.wait_published(3)
    # 0 would mean "at once"; 0.6 s become 1.
    assert [message.expiry_seconds for message in rig.bridge.published] == [30, 19, 1]


async def test_the_broker_taking_a_message_delivers_the_command(rig: Rig) -> None:
    """At the time of the acknowledgement."""
    command_id = await rig.accept()
    rig.clock.advance(0.25)
    rig.message(command_id).acknowledge()
    await rig.settle()
    command = await rig.now(command_id)
    assert (command.status, command.delivered_at) == (Status.DELIVERED, NOW + 250)


@pytest.mark.parametrize(
    ("verdict", "code", "words"),
    [
        (
            Verdict.NOBODY_LISTENS,
            FailureCode.DEVICE_OFFLINE,
            "nobody at the broker listens for gateway dock-001",
        ),
        (
            Verdict.REFUSED,
            FailureCode.DELIVERY_REFUSED,
            "the broker refused the message: Not authorized",
        ),
    ],
)
async def test_a_message_that_the_broker_does_not_take_fails_the_command(
    rig: Rig, verdict: Verdict, code: FailureCode, words: str
) -> None:
    """In the broker's words."""
    command_id = await rig.accept()
    rig.message(command_id).acknowledge(Acknowledgement(verdict, "Not authorized"))
    assert await rig.ended(command_id) == (Status.FAILED, code)
    assert (await rig.now(command_id)).failure_reason == words
    assert rig.sent() == [command_id]


async def test_an_answer_may_overtake_the_acknowledgement(rig: Rig) -> None:
    """SUCCEEDED, and the acknowledgement changes nothing any more, whatever it says."""
    for verdict in Verdict:
        command_id = await rig.accept()
        rig.reply(command_id)
        assert await rig.ended(command_id) == (Status.SUCCEEDED, None)
        before = await rig.now(command_id)
        rig.message(command_id).acknowledge(Acknowledgement(verdict, ""))
        await rig.settle()
        assert await rig.now(command_id) == before


async def test_a_submitter_that_goes_away_does_not_take_the_command_with_it(rig: Rig) -> None:
    """Before the commit or behind it: sent once."""
    asked = rig.submit("k1")
    asked.cancel()

    async def submit() -> None:
        await rig.submit("k2")

    task = asyncio.create_task(submit())
    await asyncio.sleep(0)
    task.cancel()
    messages = await rig.bridge.wait_published(2)
    await rig.settle()
    assert len(messages) == 2
    for key in ("k1", "k2"):
        found = await rig.store.find_accepted("default", key)
        assert found is not None
        assert rig.sent().count(found.command.id) == 1


async def test_a_repetition_publishes_nothing(rig: Rig) -> None:
    """Connected, not connected, and again."""
    first = await rig.accept("k")
    assert await rig.accept("k") == first
    rig.connect(False)
    assert await rig.accept("k") == first
    rig.connect()
    await rig.settle()
    assert rig.sent() == [first]
    assert rig.dispatcher.backlog == 0


async def test_repetitions_give_their_place_back(rig: Rig) -> None:
    """Places of commands that turn out to be known are not lost."""
    first = await rig.accept("k")
    await asyncio.gather(*(rig.submit("k") for _ in range(WINDOW * 2)))
    assert rig.dispatcher._window.reserved == rig.dispatcher._window.unplaced == 0
    rest = [await rig.accept() for _ in range(WINDOW - 1)]
    assert rig.sent() == [first, *rest]


async def test_the_window_is_kept_and_moves_on_with_each_acknowledgement(rig: Rig) -> None:
    """No more than so many wait for the broker; the rest follows in the order accepted."""
    ids = await asyncio.gather(*(rig.accept(str(number)) for number in range(WINDOW + 30)))
    accepted = sorted(ids, key=lambda one: next(e.seq for e in rig.told if e.command.id == one))
    await rig.settle()
    assert rig.sent() == accepted[:WINDOW]
    assert rig.dispatcher.backlog == 30
    assert rig.kinds(accepted[-1]) == [EventKind.ACCEPTED]

    for message in rig.bridge.published[:10]:
        message.acknowledge()
    await rig.bridge.wait_published(WINDOW + 10)
    await rig.settle()
    assert rig.sent() == accepted[: WINDOW + 10]
    for message in rig.bridge.published[10:]:
        message.acknowledge()
    await rig.bridge.wait_published(WINDOW + 30)
    await rig.settle()
    assert rig.sent() == accepted
    assert rig.dispatcher.backlog == 0


async def test_a_newcomer_does_not_overtake_the_backlog(rig: Rig) -> None:
    """Not even in the moment in which a place becomes free."""
    ids = [await rig.accept() for _ in range(WINDOW + 2)]
    rig.bridge.published[0].acknowledge()
    late = rig.submit()
    ids.append((await late).command.id)
    for message in rig.bridge.published[1:5]:
        message.acknowledge()
    await rig.bridge.wait_published(WINDOW + 3)
    assert rig.sent() == ids


def _acknowledge_all(rig: Rig) -> None:
    for message in rig.bridge.published:
        if not message.acknowledgement.done():
            message.acknowledge()


def _connection_blinks(rig: Rig) -> None:
    rig.connect(False)
    rig.connect(True)


def _disconnect(rig: Rig) -> None:
    rig.connect(False)


def _connect(rig: Rig) -> None:
    rig.connect(True)


@pytest.mark.parametrize("seed", range(6))
async def test_order_is_kept_whatever_happens_in_between(rig: Rig, seed: int) -> None:
    """Connections that blink, acknowledgements, newcomers: each sent once, in order."""
    happenings: list[Callable[[Rig], None]] = [
        *(_acknowledge_all, _connection_blinks, _disconnect, _connect),
    ]
    asked = []
    for step in range(150):
        asked.append(rig.submit(command_type=CHARGE_OPEN if step % 3 else "flight_setup_abort"))
        if (step * 7 + seed * 13) % 5 == 0:
            happenings[(step * 3 + seed) % len(happenings)](rig)
        if (step + seed) % 4 == 0:
            await asyncio.sleep(0)
        if (step + seed) % 9 == 0:
            await asked[-1]
    ids = [accepted.command.id for accepted in await asyncio.gather(*asked)]
    rig.connect()
    for _ in range(10):
        _acknowledge_all(rig)
        await rig.settle()
    assert rig.sent() == ids
    assert rig.dispatcher.backlog == 0
    meant = [event.command.id for event in rig.told if event.kind is EventKind.SENDING]
    # What could not leave after all has its intent taken back and committed anew.
    assert list(dict.fromkeys(reversed(meant)))[::-1] == ids


async def test_a_newcomer_leaves_room_for_a_group_that_is_about_to_be_sent(rig: Rig) -> None:
    """Its members are no longer in the backlog and not yet in flight."""
    rig.connect(False)
    ids = [await rig.accept() for _ in range(WINDOW)]
    rig.connect()
    for _ in range(3):
        await asyncio.sleep(0)
    late = rig.submit()
    await rig.bridge.wait_published(WINDOW)
    await late
    await rig.settle()
    assert rig.sent() == ids


async def test_intents_are_committed_in_the_order_accepted(rig: Rig) -> None:
    """Who waits behind another has none, whatever the connection does meanwhile."""
    rig.bridge.connected = False
    first = rig.submit()
    rig.bridge.connected = True
    second = rig.submit()
    await first
    third = rig.submit()
    ids = [(await one).command.id for one in (first, second, third)]
    await rig.bridge.wait_published(3)
    assert rig.sent() == ids
    assert [event.command.id for event in rig.told if event.kind is EventKind.SENDING] == ids


async def test_a_newcomer_with_a_place_waits_behind_what_comes_back(rig: Rig) -> None:
    """It was accepted later, so it does not leave first."""
    first = await rig.accept(command_type=CHARGE_OPEN)
    asked = rig.submit()
    rig.bridge.connected = False
    rig.message(first).lose()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rig.bridge.connected = True
    second = (await asked).command.id
    await rig.bridge.wait_published(3)
    assert rig.sent() == [first, first, second]


async def test_a_broker_that_allows_less_is_kept_to(start: Start) -> None:
    """Two places of what it allows are left to emergencies."""
    async with start(ScriptedBridge(receive_maximum=5)) as rig:
        ids = [await rig.accept() for _ in range(6)]
        await rig.settle()
        assert rig.sent() == ids[:3]
        rig.message(ids[1]).acknowledge()
        await rig.bridge.wait_published(4)
        await rig.settle()
        assert rig.sent() == ids[:4]


async def test_a_broker_that_allows_one_at_a_time_still_gets_everything(start: Start) -> None:
    """One after the other."""
    async with start(ScriptedBridge(receive_maximum=1)) as rig:
        ids = [await rig.accept() for _ in range(3)]
        for number in range(3):
            await rig.bridge.wait_published(number + 1)
            await rig.settle()
            assert rig.sent() == ids[: number + 1]
            rig.message(ids[number]).acknowledge()


async def test_draining_waits_for_acknowledgements_but_not_for_ever(rig: Rig) -> None:
    """What has been sent is recorded before the end, if the broker says it in time."""
    command_id = await rig.accept()
    await rig.dispatcher.drain(0.001)
    draining = asyncio.create_task(rig.dispatcher.drain(60))
    await asyncio.sleep(0)
    assert not draining.done()
    rig.message(command_id).acknowledge()
    await asyncio.wait_for(draining, 5)
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.DELIVERED


async def test_gateways_take_turns(rig: Rig) -> None:
    """A dock with many commands that wait holds up no other; its own order holds."""
    rig.connect(False)
    many = [await rig.accept() for _ in range(WINDOW * 2)]
    other = [await rig.accept(gateway_id="dock-002") for _ in range(3)]
    rig.connect()
    await rig.bridge.wait_published(WINDOW)
    await rig.settle()
    sent = rig.sent()
    assert [one for one in sent if one in many] == many[: WINDOW - 3]
    assert [one for one in sent if one in other] == other
    assert set(sent[:6]) == {*many[:3], *other}


async def test_a_command_that_was_ended_by_the_commit_of_its_acceptance_is_not_sent(
    rig: Rig,
) -> None:
    """Whoever knows its id already: a forged answer, perhaps."""
    command_id = str(uuid.uuid4())
    accepting = rig.submit(id=command_id)
    rig.store.apply(RecordReply(a_reply(command_id)))
    await accepting
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.SUCCEEDED
    assert rig.sent() == []
