"""The backlog enters the window in groups: what may happen while their intent is committed."""

import asyncio
from typing import Any

import pytest
from support.bridge import NOBODY, TAKEN, ScriptedBridge
from support.records import CHARGE_OPEN, a_reply
from support.rig import Rig, Start

from dockgate_server.model.command import EventKind, FailureCode, OfflinePolicy, Status
from dockgate_server.model.transitions import BeginSending, RecordReply


@pytest.fixture
async def waiting(rig: Rig) -> str:
    """A command that waits for a connection."""
    rig.connect(False)
    return await rig.accept(command_type=CHARGE_OPEN)


async def _taken_up(rig: Rig) -> None:
    """Connect; the dispatcher has asked for the intent, the store has not begun with it."""
    _ = rig.store.apply(BeginSending((), 0))  # an idle store would begin at once
    rig.connect()
    await asyncio.sleep(0)
    assert rig.dispatcher.backlog == 0


async def test_a_command_that_ends_while_its_intent_is_committed_is_not_sent(
    rig: Rig, waiting: str
) -> None:
    """Intent and end in one commit."""
    await _taken_up(rig)
    await rig.store.apply(RecordReply(a_reply(waiting)))
    await rig.settle()
    assert rig.kinds(waiting) == [EventKind.ACCEPTED, EventKind.SENDING, EventKind.REPLIED]
    assert rig.sent() == []


async def test_a_deadline_that_passes_while_the_intent_is_committed_is_kept(
    rig: Rig, waiting: str
) -> None:
    """Nothing leaves behind it."""
    await _taken_up(rig)
    rig.clock.advance(30)
    assert (await rig.ended(waiting))[0] is Status.TIMED_OUT
    await rig.settle()
    assert rig.sent() == []


async def test_an_overdue_command_gets_no_intent_any_more(rig: Rig, waiting: str) -> None:
    """The store could not record its end in time; that it was never sent stays true."""
    await rig.cannot_write()
    rig.clock.advance(30)
    await rig.store_failed()
    await rig.cannot_write(False)
    rig.connect()
    await rig.settle()
    assert rig.kinds(waiting) == [EventKind.ACCEPTED]
    rig.clock.advance(1)
    assert await rig.ended(waiting) == (Status.TIMED_OUT, FailureCode.DELIVERY_TIMEOUT)
    assert rig.sent() == []


async def test_only_a_command_whose_guard_held_is_sent(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else had decided: another instance, on the database that is to come."""
    async with start(ScriptedBridge(connected=False)) as rig:
        taken = await rig.accept()
        ours = await rig.accept()
        apply = rig.store.apply

        def others_are_quicker(change: Any) -> Any:
            if isinstance(change, BeginSending):
                change = BeginSending(tuple(set(change.ids) - {taken}), change.at)
            return apply(change)

        monkeypatch.setattr(rig.store, "apply", others_are_quicker)
        rig.connect()
        await rig.bridge.wait_published(1)
        await rig.settle()
        assert rig.sent() == [ours]
        assert rig.dispatcher.backlog == 0


async def test_what_has_its_intent_needs_no_store_to_be_sent_again(rig: Rig) -> None:
    """The intent of before holds."""
    command_id = await rig.accept(command_type=CHARGE_OPEN)
    await rig.cannot_write()
    rig.message(command_id).lose()
    await rig.bridge.wait_published(2)
    assert rig.sent() == [command_id, command_id]


async def test_behind_a_group_newcomers_are_sent_at_once_again(rig: Rig, waiting: str) -> None:
    """With one commit, as before the trouble."""
    rig.connect()
    await rig.bridge.wait_published(1)
    newcomer = await rig.accept()
    assert rig.sent() == [waiting, newcomer]
    assert rig.kinds(newcomer) == [EventKind.ACCEPTED, EventKind.SENDING]


async def test_a_group_that_the_store_cannot_take_keeps_its_place(rig: Rig, waiting: str) -> None:
    """Before those that were accepted after it."""
    await rig.cannot_write()
    rig.connect()
    await rig.store_failed()
    await rig.cannot_write(False)
    later = [await rig.accept() for _ in range(2)]
    rig.clock.advance(1)
    await rig.bridge.wait_published(3)
    assert rig.sent() == [waiting, *later]


async def test_a_newcomer_behind_a_backlog_has_no_intent_yet(rig: Rig, waiting: str) -> None:
    """The connection is back, and the dispatcher has not been told yet."""
    rig.bridge.connected = True
    newcomer = await rig.accept()
    await rig.bridge.wait_published(2)
    assert rig.sent() == [waiting, newcomer]
    meant = [event.command.id for event in rig.told if event.kind is EventKind.SENDING]
    assert meant == [waiting, newcomer]


async def test_nobody_of_a_group_overtakes_one_that_reached_nobody_meanwhile(rig: Rig) -> None:
    """The broker said so while the intent of the group was being committed."""
    policy = {"offline_policy": OfflinePolicy.QUEUE, "timeout_seconds": 300}
    first = await rig.accept(command_type=CHARGE_OPEN, **policy)
    rig.dispatcher._window.unplaced += 1  # another one is being accepted: the next one has no place
    asked = rig.submit(command_type="charge_close", **policy)
    rig.dispatcher._window.unplaced -= 1
    second = (await asked).command.id
    async with asyncio.timeout(5):
        while not rig.dispatcher._sending_group:  # noqa: ASYNC110 - inside the dispatcher
            await asyncio.sleep(0)
    rig.message(first).acknowledge(NOBODY)
    await rig.bridge.wait_published(2)
    await rig.settle()
    assert rig.sent() == [first, first]
    assert rig.kinds(second)[1:] == [EventKind.SENDING, EventKind.NOT_SENT]
    rig.bridge.published[-1].acknowledge(TAKEN)
    await rig.bridge.wait_published(3)
    assert rig.sent() == [first, first, second]
