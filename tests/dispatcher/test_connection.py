"""Connections that are not there, break, or come back as another version: never sent twice."""

import asyncio

import pytest
from support.bridge import ScriptedBridge
from support.records import CHARGE_OPEN, NOW, SETUP_ABORT
from support.rig import BreakingBridge, Rig, Start

from dockgate_server.errors import unavailable
from dockgate_server.model.command import CommandEvent, EventKind, FailureCode, Status
from dockgate_server.model.transitions import TakeBack, Transition


async def test_what_is_accepted_without_a_connection_waits_and_goes_out_in_order(
    rig: Rig,
) -> None:
    """ACCEPTED without an intent: certainly not sent."""
    rig.connect(False)
    ids = [await rig.accept() for _ in range(5)]
    await rig.settle()
    assert rig.sent() == []
    assert rig.kinds(ids[0]) == [EventKind.ACCEPTED]
    assert (await rig.now(ids[0])).sending_at is None
    rig.connect()
    await rig.bridge.wait_published(5)
    await rig.settle()
    assert rig.sent() == ids
    assert rig.kinds(ids[0]) == [EventKind.ACCEPTED, EventKind.SENDING]


async def test_what_the_bridge_could_not_take_is_sent_later_once(start: Start) -> None:
    """NotConnected at publish: it has certainly not left, and the record says so."""
    bridge = BreakingBridge()
    async with start(bridge) as rig:
        bridge.broken = True
        ids = [await rig.accept() for _ in range(3)]
        await rig.settle()
        assert rig.sent() == []
        bridge.broken = False
        rig.connect()
        await bridge.wait_published(3)
        await rig.settle()
        assert rig.sent() == ids
        assert rig.kinds(ids[0]) == [
            *(EventKind.ACCEPTED, EventKind.SENDING, EventKind.NOT_SENT, EventKind.SENDING),
        ]


async def test_a_connection_that_breaks_in_the_middle_of_a_group_loses_nothing(
    start: Start,
) -> None:
    """The intent of the whole group is committed, of which nothing has left."""
    bridge = BreakingBridge(connected=False)
    async with start(bridge) as rig:
        ids = [await rig.accept() for _ in range(5)]
        bridge.broken = True
        rig.connect()
        await rig.until(lambda: len(rig.kinds(ids[4])) == 3)
        await rig.settle()
        assert rig.sent() == []
        bridge.broken = False
        rig.connect()
        await bridge.wait_published(5)
        await rig.settle()
        assert rig.sent() == ids


async def test_a_bridge_that_is_just_breaking_does_not_hold_the_gateway_up(
    start: Start,
) -> None:
    """It says no before it says that it is not connected: others must run for it to get there."""
    bridge = BreakingBridge()
    bridge.broken = True
    async with start(bridge) as rig:
        first = await rig.accept()
        second = await rig.accept()
        await rig.settle()
        rig.connect(False)
        bridge.broken = False
        rig.connect()
        await bridge.wait_published(2)
        assert rig.sent() == [first, second]


@pytest.mark.parametrize("command_type", [SETUP_ABORT, CHARGE_OPEN])
async def test_what_may_have_left_is_sent_again_only_if_that_is_safe(
    rig: Rig, command_type: str
) -> None:
    """The connection was lost before the acknowledgement: same tid, and only charge_open."""
    command_id = await rig.accept(command_type=command_type)
    rig.connect(False)
    rig.message(command_id).lose()
    await rig.settle()
    rig.connect()
    await rig.settle()
    again = [command_id] if command_type == CHARGE_OPEN else []
    assert rig.sent() == [command_id, *again]
    assert rig.kinds(command_id) == [EventKind.ACCEPTED, EventKind.SENDING]


async def test_what_may_have_left_ends_in_an_unknown_outcome(rig: Rig) -> None:
    """Unless the device answers after all."""
    silent = await rig.accept()
    answered = await rig.accept()
    rig.connect(False)
    for command_id in (silent, answered):
        rig.message(command_id).lose()
    await rig.settle()
    rig.connect()
    rig.reply(answered)
    assert await rig.ended(answered) == (Status.SUCCEEDED, None)
    rig.clock.advance(30)
    assert await rig.ended(silent) == (Status.TIMED_OUT, FailureCode.OUTCOME_UNKNOWN)
    assert rig.sent() == [silent, answered]


async def test_what_comes_back_goes_before_what_was_accepted_after_it(rig: Rig) -> None:
    """charge_open sent again behind a later command would undo it."""
    first = await rig.accept(command_type=CHARGE_OPEN)
    rig.connect(False)
    waiting = await rig.accept()
    rig.message(first).lose()
    await rig.settle()
    rig.connect()
    await rig.bridge.wait_published(3)
    assert rig.sent() == [first, first, waiting]


async def test_what_was_overtaken_is_not_sent_again(rig: Rig) -> None:
    """Safe to repeat or not: behind a charge_close, a second charge_open would undo it."""
    first = await rig.accept(command_type=CHARGE_OPEN)
    second = await rig.accept(command_type="charge_close")
    rig.connect(False)
    for command_id in (first, second):
        rig.message(command_id).lose()
    await rig.settle()
    rig.connect()
    await rig.settle()
    assert rig.sent() == [first, second]


async def test_what_was_answered_is_not_sent_again(rig: Rig) -> None:
    """Not even where that would be safe."""
    command_id = await rig.accept(command_type=CHARGE_OPEN)
    rig.reply(command_id)
    await rig.ended(command_id)
    rig.connect(False)
    rig.message(command_id).lose()
    await rig.settle()
    rig.connect()
    await rig.settle()
    assert rig.sent() == [command_id]


async def test_what_is_overdue_is_not_sent_again(rig: Rig) -> None:
    """The loss is noticed after the deadline."""
    command_id = await rig.accept(command_type=CHARGE_OPEN)
    rig.clock.advance(30)
    rig.message(command_id).lose()
    assert await rig.ended(command_id) == (Status.TIMED_OUT, FailureCode.OUTCOME_UNKNOWN)
    await rig.settle()
    assert rig.sent() == [command_id]
    assert rig.dispatcher.backlog == 0


@pytest.mark.parametrize("connected", [True, False])
async def test_without_expiry_what_is_not_safe_to_carry_out_late_is_refused(
    start: Start, connected: bool
) -> None:
    """MQTT 3.1.1: the message would wait for a dock for ever."""
    async with start(ScriptedBridge(connected, expires_messages=False)) as rig:
        refused = await rig.accept()
        safe = await rig.accept(command_type=CHARGE_OPEN)
        rig.connect()
        assert await rig.ended(refused) == (Status.FAILED, FailureCode.EXPIRY_UNSUPPORTED)
        await rig.bridge.wait_published(1)
        assert rig.sent() == [safe]
        command = await rig.now(refused)
        assert command.sending_at is None
        assert "3.1.1" in (command.failure_reason or "")


async def test_without_expiry_everything_is_sent_where_that_is_allowed(start: Start) -> None:
    """`dockgate dev` on a broker that pip installs."""
    bridge = ScriptedBridge(expires_messages=False)
    async with start(bridge, send_without_expiry=True) as rig:
        command_id = await rig.accept()
        assert rig.sent() == [command_id]


async def test_a_broker_that_comes_back_older_refuses_what_waits(rig: Rig) -> None:
    """What had a place already has lost it."""
    rig.bridge.connected = True
    asked = rig.submit()
    rig.bridge.connected = False
    command_id = (await asked).command.id
    rig.bridge.expires_messages = False
    rig.connect()
    assert await rig.ended(command_id) == (Status.FAILED, FailureCode.EXPIRY_UNSUPPORTED)
    assert rig.sent() == []


async def test_a_connection_lost_between_place_and_commit_keeps_the_order(rig: Rig) -> None:
    """The first had a place and lost it, the second never had one."""
    first = rig.submit()
    rig.bridge.connected = False
    second = rig.submit()
    ids = [(await first).command.id, (await second).command.id]
    rig.connect()
    await rig.bridge.wait_published(2)
    assert rig.sent() == ids
    assert (await rig.now(ids[0])).sending_at == NOW


@pytest.mark.parametrize("placed", [True, False])
async def test_what_certainly_did_not_leave_is_never_said_to_have_perhaps(
    start: Start, placed: bool
) -> None:
    """The intent was committed, then the connection broke: DELIVERY_TIMEOUT."""
    bridge = BreakingBridge(connected=placed)
    bridge.broken = True
    async with start(bridge) as rig:
        ids = [await rig.accept() for _ in range(2)]
        rig.connect()
        await rig.settle()
        assert rig.kinds(ids[0])[-1] is EventKind.NOT_SENT
        rig.clock.advance(30)
        for command_id in ids:
            expected = (Status.TIMED_OUT, FailureCode.DELIVERY_TIMEOUT)
            assert await rig.ended(command_id) == expected


@pytest.mark.parametrize("placed", [True, False])
async def test_a_deadline_that_passes_while_the_intent_is_committed_says_never_sent(
    rig: Rig, placed: bool
) -> None:
    """A slow disk: by then it is too late to send, and the record knows that nothing was."""
    rig.connect(placed)
    asked = rig.submit()
    if not placed:
        await asked
        rig.connect()
        await asyncio.sleep(0)  # the dispatcher has taken it and asked the store
    rig.clock.advance(30)
    command_id = (await asked).command.id
    rig.clock.advance(0)
    assert await rig.ended(command_id) == (Status.TIMED_OUT, FailureCode.DELIVERY_TIMEOUT)
    assert rig.sent() == []


async def test_nobody_overtakes_what_is_still_being_taken_back(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full just then: until it is on record that it has not left, all wait for it."""
    bridge = BreakingBridge()
    async with start(bridge) as rig:
        refused: list[Transition] = []
        apply = rig.store.apply

        def failing_once(transition: Transition) -> asyncio.Future[tuple[CommandEvent, ...]]:
            if refused or not isinstance(transition, TakeBack):
                return apply(transition)
            refused.append(transition)
            future: asyncio.Future[tuple[CommandEvent, ...]]
            future = asyncio.get_running_loop().create_future()
            future.set_exception(unavailable("the disk is full"))
            return future

        monkeypatch.setattr(rig.store, "apply", failing_once)
        bridge.broken = True
        first = await rig.accept()
        await rig.settle()
        bridge.broken = False
        rig.connect()
        second = await rig.accept()
        await rig.settle()
        assert rig.sent() == []
        rig.clock.advance(1)
        await bridge.wait_published(2)
        assert rig.sent() == [first, second]
        assert rig.kinds(first)[2:] == [EventKind.NOT_SENT, EventKind.SENDING]
