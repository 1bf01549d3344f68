"""Deadlines: by the monotonic clock, on one timer, each with a reason that is true."""

import pytest
from support.bridge import NOBODY, ScriptedBridge
from support.clock import ManualClock
from support.records import CHARGE_OPEN, NOW, a_reply
from support.rig import Rig, Start

from dockgate_server.dispatcher.absent import PROBE_SECONDS
from dockgate_server.dispatcher.window import WINDOW
from dockgate_server.errors import DockgateError
from dockgate_server.model.command import EventKind, FailureCode, OfflinePolicy, Status
from dockgate_server.model.transitions import RecordReply


async def test_a_command_that_waits_beyond_its_deadline_is_never_sent(rig: Rig) -> None:
    """DELIVERY_TIMEOUT: certainly not sent, and not sent later either."""
    rig.connect(False)
    command_id = await rig.accept()
    rig.clock.advance(29.999)
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.ACCEPTED
    rig.clock.advance(0.001)
    rig.connect()
    assert await rig.ended(command_id) == (Status.TIMED_OUT, FailureCode.DELIVERY_TIMEOUT)
    await rig.settle()
    assert rig.sent() == []
    assert rig.dispatcher.backlog == 0


async def test_a_command_behind_a_full_window_times_out_unsent(rig: Rig) -> None:
    """The broker has stopped to acknowledge."""
    for _ in range(WINDOW):
        await rig.accept(timeout_seconds=300)
    command_id = await rig.accept(timeout_seconds=5)
    rig.clock.advance(5)
    assert await rig.ended(command_id) == (Status.TIMED_OUT, FailureCode.DELIVERY_TIMEOUT)
    for message in rig.bridge.published:
        message.acknowledge()
    await rig.settle()
    assert len(rig.sent()) == WINDOW


async def test_a_device_that_does_not_answer_times_out(rig: Rig) -> None:
    """RESPONSE_TIMEOUT: the broker had taken the message."""
    command_id = await rig.accept()
    rig.message(command_id).acknowledge()
    await rig.settle()
    rig.clock.advance(30)
    assert await rig.ended(command_id) == (Status.TIMED_OUT, FailureCode.RESPONSE_TIMEOUT)
    assert (await rig.now(command_id)).completed_at == NOW + 30_000


async def test_a_broker_that_does_not_acknowledge_leaves_the_outcome_unknown(rig: Rig) -> None:
    """The dock may have carried it out."""
    command_id = await rig.accept()
    rig.clock.advance(30)
    assert await rig.ended(command_id) == (Status.TIMED_OUT, FailureCode.OUTCOME_UNKNOWN)


async def test_an_acknowledgement_after_the_deadline_changes_nothing(rig: Rig) -> None:
    """Ends are final; a late answer is recorded beside the end."""
    command_id = await rig.accept()
    rig.clock.advance(30)
    await rig.ended(command_id)
    rig.message(command_id).acknowledge()
    rig.reply(command_id)
    await rig.settle()
    command = await rig.now(command_id)
    assert (command.status, command.failure_code) == (
        Status.TIMED_OUT,
        FailureCode.OUTCOME_UNKNOWN,
    )
    assert (command.response_code, command.delivered_at) == ("0", None)


@pytest.mark.parametrize("step", [-86_400, 86_400])
async def test_a_step_of_the_wall_clock_neither_ends_nor_prolongs_a_command(
    rig: Rig, step: float
) -> None:
    """NTP, an operator, a virtual machine that was moved."""
    command_id = await rig.accept()
    rig.clock.step_wall_clock(step)
    other = await rig.accept()
    rig.clock.advance(29.9)
    await rig.settle()
    for one in (command_id, other):
        assert (await rig.now(one)).status is Status.ACCEPTED
    rig.clock.advance(0.1)
    for one in (command_id, other):
        assert (await rig.ended(one))[0] is Status.TIMED_OUT


async def test_deadlines_pass_in_any_order_of_acceptance(rig: Rig) -> None:
    """An earlier one arms the timer anew; those that have ended are skipped."""
    seconds = [50, 10, 30, 10, 300, 1]
    ids = [await rig.accept(timeout_seconds=number) for number in seconds]
    rig.reply(ids[2])
    await rig.ended(ids[2])
    assert len(rig.deadlines) == 5
    for moment, due in ((1, [5]), (10, [1, 3]), (30, []), (50, [0]), (300, [4])):
        rig.clock.advance(moment - rig.clock.monotonic())
        for number in due:
            assert (await rig.ended(ids[number]))[0] is Status.TIMED_OUT
            assert (await rig.now(ids[number])).completed_at == NOW + moment * 1000
        await rig.settle()
    assert len(rig.deadlines) == 0
    ended = [event.command.id for event in rig.told if event.command.status.is_end]
    assert len(ended) == len(ids)


async def test_an_answer_that_was_recorded_first_wins_over_the_deadline(rig: Rig) -> None:
    """Both at the same moment: the first end wins, the other is none."""
    command_id = await rig.accept()
    rig.reply(command_id)
    rig.clock.advance(30)
    assert await rig.ended(command_id) == (Status.SUCCEEDED, None)
    other = await rig.accept()
    rig.clock.advance(30)
    rig.reply(other)
    assert await rig.ended(other) == (Status.TIMED_OUT, FailureCode.OUTCOME_UNKNOWN)


async def test_a_command_that_ends_while_it_waits_is_not_sent(rig: Rig) -> None:
    """Somebody answered with its tid: nothing is to be sent any more."""
    rig.connect(False)
    command_id = await rig.accept(command_type=CHARGE_OPEN)
    await rig.store.apply(RecordReply(a_reply(command_id)))
    rig.connect()
    await rig.settle()
    assert rig.sent() == []


async def test_closing_lets_no_more_deadlines_pass(rig: Rig) -> None:
    """At a stop the open commands stay open, for the next start."""
    command_id = await rig.accept()
    rig.deadlines.close()
    rig.clock.advance(60)
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.ACCEPTED
    await rig.accept()
    rig.clock.advance(60)
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.ACCEPTED


async def test_an_answer_that_came_in_time_counts_though_the_store_could_not_write_then(
    rig: Rig,
) -> None:
    """The deadline passed while the disk was full: what happened is recorded in its order."""
    command_id = await rig.accept()
    rig.message(command_id).acknowledge()
    await rig.settle()
    await rig.cannot_write()
    rig.reply(command_id)
    await rig.store_failed()
    rig.clock.advance(30)
    await rig.store_failed()
    await rig.cannot_write(False)
    for _ in range(3):
        rig.clock.advance(1)
        await rig.settle()
    assert await rig.ended(command_id) == (Status.SUCCEEDED, None)
    assert rig.acknowledged == [command_id]


async def test_thousands_that_end_together_do_so_in_groups(rig: Rig) -> None:
    """A submission gets its turn between them instead of waiting for all."""
    rig.connect(False)
    asked = [rig.submit() for _ in range(4_000)]
    ids = {(await one).command.id for one in asked}
    rig.clock.advance(30)
    new = await rig.accept()
    ended = {event.command.id for event in rig.told if event.kind is EventKind.EXPIRED}
    assert len(ended) < 2_000
    await rig.until(lambda: {e.command.id for e in rig.told if e.kind is EventKind.EXPIRED} == ids)
    assert (await rig.now(new)).status is Status.ACCEPTED


@pytest.mark.parametrize("step", [-3_600, 3_600])
async def test_a_step_of_the_wall_clock_while_a_command_is_accepted_does_not_move_its_end(
    rig: Rig, step: float
) -> None:
    """Its time runs from its submission, by the clock that does not step."""
    asked = rig.submit(timeout_seconds=30)
    rig.clock.step_wall_clock(step)
    command_id = (await asked).command.id
    assert rig.deadlines.seconds_left(command_id) == 30
    rig.clock.advance(29.9)
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.ACCEPTED
    rig.clock.advance(0.1)
    assert (await rig.ended(command_id))[0] is Status.TIMED_OUT


async def test_a_clock_that_was_set_back_before_a_restart_does_not_prolong_a_command(
    start: Start,
) -> None:
    """A machine whose clock has lost its battery comes back a day behind."""
    async with start(ScriptedBridge(connected=False)) as rig:
        command_id = await rig.accept(timeout_seconds=30)
    clock = ManualClock(NOW - 86_400_000)
    async with start(ScriptedBridge(connected=False), clock) as rig:
        assert rig.deadlines.seconds_left(command_id) == 30
        clock.advance(30)
        rig.connect()
        assert await rig.ended(command_id) == (Status.TIMED_OUT, FailureCode.DELIVERY_TIMEOUT)
        assert rig.sent() == []


async def test_what_is_outdated_by_the_wall_clock_is_not_sent(rig: Rig) -> None:
    """The machine was suspended, and the clock that does not step stood still."""
    rig.connect(False)
    late = await rig.accept(timeout_seconds=60)
    good = await rig.accept(timeout_seconds=300)
    rig.clock.step_wall_clock(100)
    rig.connect()
    await rig.bridge.wait_published(1)
    await rig.settle()
    assert [(one.tid, one.expiry_seconds) for one in rig.bridge.published] == [(good, 200)]
    assert await rig.ended(late) == (Status.TIMED_OUT, FailureCode.DELIVERY_TIMEOUT)


async def test_what_the_wall_clock_let_others_pass_is_not_sent_after_a_restart(
    start: Start,
) -> None:
    """The clock may be right again by then, and they would be undone."""
    async with start(ScriptedBridge(connected=False)) as rig:
        await rig.accept(timeout_seconds=30)
        rig.clock.step_wall_clock(100)
        rig.connect()
        behind = await rig.accept(timeout_seconds=30)
        await rig.bridge.wait_published(1)
        assert rig.sent() == [behind]
    async with start(clock=ManualClock(NOW)) as rig:
        await rig.settle()
        assert rig.sent() == []


async def test_what_is_outdated_by_the_wall_clock_holds_up_nobody(rig: Rig) -> None:
    """It was to find out whether the device is back: the next one does."""
    policy = {"offline_policy": OfflinePolicy.QUEUE}
    ids = [await rig.accept(timeout_seconds=seconds, **policy) for seconds in (60, 300)]
    for message in rig.bridge.published:
        message.acknowledge(NOBODY)
    await rig.settle()
    rig.clock.step_wall_clock(100)
    rig.clock.advance(PROBE_SECONDS)
    await rig.bridge.wait_published(3)
    assert rig.sent() == [*ids, ids[1]]


async def test_a_wall_clock_that_was_set_back_prolongs_nothing(rig: Rig) -> None:
    """The clock that does not step has the say."""
    rig.connect(False)
    await rig.accept(timeout_seconds=30)
    rig.clock.advance(10)
    rig.clock.step_wall_clock(-3_600)
    rig.connect()
    await rig.bridge.wait_published(1)
    assert [one.expiry_seconds for one in rig.bridge.published] == [20]


async def test_a_submission_that_makes_no_command_leaves_no_deadline(rig: Rig) -> None:
    """A repetition, and one that the store could not take."""
    await rig.accept("k")
    await rig.accept("k")
    await rig.settle()
    assert len(rig.deadlines) == 1
    await rig.cannot_write()
    with pytest.raises(DockgateError):
        await rig.accept()
    assert len(rig.deadlines) == 1


async def test_nothing_is_remembered_of_what_was_due_while_its_intent_was_committed(
    rig: Rig,
) -> None:
    """A gateway runs for months."""
    command_id = await rig.accept()
    with rig.deadlines.held([command_id]):
        rig.clock.advance(30)
        assert rig.deadlines._overdue == {command_id}
    assert rig.deadlines._overdue == set()
