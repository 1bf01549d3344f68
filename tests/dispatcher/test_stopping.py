"""A stop in the middle of work: nothing is lost, nothing is left uncertain."""

import asyncio

from support.bridge import NOBODY, ScriptedBridge
from support.clock import ManualClock
from support.records import CHARGE_OPEN
from support.rig import Rig, Start

from dockgate_server.dispatcher.window import WINDOW
from dockgate_server.model.command import Channel, EventKind, Status


async def test_a_stop_with_a_backlog_loses_nothing(start: Start) -> None:
    """What waits has no intent to send, and goes out after the restart."""
    clock = ManualClock()
    async with start(clock=clock) as rig:
        ids = [await rig.accept(timeout_seconds=300) for _ in range(WINDOW + 20)]
        draining = asyncio.ensure_future(rig.dispatcher.drain(5))
        await asyncio.sleep(0)
        for message in list(rig.bridge.published):
            message.acknowledge()
        await draining
        sent = set(rig.sent())
    async with start(ScriptedBridge(), clock) as again:
        await again.settle()
        assert set(again.sent()) == set(ids) - sent


async def test_a_stop_waits_for_the_group_that_is_being_sent(start: Start) -> None:
    """Cancelled while its intent is being committed, it would look as if it might have left."""
    clock = ManualClock()
    async with start(clock=clock) as rig:
        ids = [await rig.accept(timeout_seconds=300) for _ in range(WINDOW + 20)]
        for message in list(rig.bridge.published):
            message.acknowledge()
        async with asyncio.timeout(5):
            while not rig.dispatcher._sending_group:  # noqa: ASYNC110 - inside the dispatcher
                await asyncio.sleep(0)
        draining = asyncio.ensure_future(rig.dispatcher.drain(5))
        await rig.bridge.wait_published(len(ids))
        for message in rig.bridge.published[WINDOW:]:
            message.acknowledge()
        await draining
        assert rig.sent() == ids


async def test_nobody_listens_to_the_second_copy_says_nothing_of_the_first(rig: Rig) -> None:
    """The dock may have carried out the first; its answer or the deadline decides."""
    command_id = await rig.accept(command_type=CHARGE_OPEN)
    rig.connect(False)
    rig.bridge.published[0].lose()
    await rig.settle()
    rig.connect()
    await rig.bridge.wait_published(2)
    rig.bridge.published[1].acknowledge(NOBODY)
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.ACCEPTED


async def test_a_stop_waits_for_a_control_stream_that_is_being_accepted(rig: Rig) -> None:
    """Else it would be recorded as meant to leave, and nobody could say whether it has."""
    stick = rig.submit(command_type="stick_control", channel=Channel.DRC, data=b"{}")
    await rig.dispatcher.drain(5)
    assert len(rig.bridge.streamed) == 1
    await stick


async def test_what_is_accepted_after_a_stop_has_begun_is_not_meant_to_leave(rig: Rig) -> None:
    """It goes out after the restart."""
    await rig.dispatcher.drain(5)
    command_id = await rig.accept()
    await rig.settle()
    assert rig.kinds(command_id) == [EventKind.ACCEPTED]
    assert rig.sent() == []
