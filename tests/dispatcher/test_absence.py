"""Gateway devices that are away: who fails, who waits, and who is sent when one is back."""

import pytest
from support.bridge import NOBODY, TAKEN
from support.records import CHARGE_OPEN, SETUP_ABORT
from support.rig import URGENT, BreakingBridge, Rig, Start

from dockgate_server.bridge.interface import Acknowledgement, Verdict
from dockgate_server.dispatcher.absent import PROBE_SECONDS
from dockgate_server.model.command import Channel, EventKind, FailureCode, OfflinePolicy, Status
from dockgate_server.model.device import Presence

QUEUE = {"offline_policy": OfflinePolicy.QUEUE}
FAIL_FAST = {"offline_policy": OfflinePolicy.FAIL_FAST}
STATUS_TOPIC = "sys/product/dock-001/status"
LAST_WILL = {"method": "update_topo", "data": {"sub_devices": []}}
HELLO = {"tid": "t", "bid": "b", "method": "update_topo", "timestamp": 1, "data": {}}
REFUSED = Acknowledgement(Verdict.REFUSED, "Not authorized")


async def wait_away(rig: Rig, count: int = 1) -> list[str]:
    """Commands that wait, as nobody listened for them."""
    ids = [await rig.accept(**QUEUE) for _ in range(count)]
    for message in rig.bridge.published[-count:]:
        message.acknowledge(NOBODY)
    await rig.settle()
    return ids


async def test_a_command_that_fails_fast_ends_when_nobody_listens(rig: Rig) -> None:
    """As the broker says so, and has thrown the message away."""
    command_id = await rig.accept(**FAIL_FAST)
    rig.message(command_id).acknowledge(NOBODY)
    assert await rig.ended(command_id) == (Status.FAILED, FailureCode.DEVICE_OFFLINE)


async def test_a_command_that_queues_goes_back_to_accepted_when_nobody_listens(rig: Rig) -> None:
    """The intent is taken back: it has certainly reached nobody."""
    (command_id,) = await wait_away(rig)
    command = await rig.now(command_id)
    assert (command.status, command.sending_at) == (Status.ACCEPTED, None)
    assert rig.kinds(command_id)[-1] is EventKind.NOT_SENT
    assert "nobody at the broker listens for gateway dock-001" in rig.told[-1].note
    assert rig.dispatcher.backlog == 1


async def test_those_that_wait_go_out_in_order_when_the_device_is_heard_of(rig: Rig) -> None:
    """One to find out, the others when the broker has taken that one."""
    ids = await wait_away(rig, 3)
    rig.receive("hello", STATUS_TOPIC, HELLO)
    await rig.bridge.wait_published(4)
    await rig.settle()
    assert rig.sent()[3:] == ids[:1]
    rig.bridge.published[3].acknowledge(TAKEN)
    await rig.bridge.wait_published(6)
    await rig.settle()
    assert rig.sent()[3:] == ids
    assert rig.dispatcher.backlog == 0


async def test_one_is_sent_now_and_then_to_find_out(rig: Rig) -> None:
    """A device may come back and say nothing; the others are not published again and again."""
    ids = await wait_away(rig, 3)
    for rounds in (1, 2):
        rig.clock.advance(PROBE_SECONDS)
        await rig.bridge.wait_published(3 + rounds)
        await rig.settle()
        assert rig.sent()[3:] == ids[:1] * rounds
        rig.bridge.published[-1].acknowledge(NOBODY)
        await rig.settle()


async def test_a_newcomer_waits_behind_those_that_wait_and_asks_anew(rig: Rig) -> None:
    """It must not overtake them, and should not wait for the next round either."""
    ids = await wait_away(rig, 2)
    new = await rig.accept(**QUEUE)
    await rig.bridge.wait_published(3)
    await rig.settle()
    assert rig.sent()[2:] == ids[:1]
    rig.bridge.published[-1].acknowledge(TAKEN)
    await rig.bridge.wait_published(5)
    assert rig.sent()[2:] == [*ids, new]


async def test_a_newcomer_that_fails_fast_waits_only_to_find_out(rig: Rig) -> None:
    """Its verdict is that of the one sent to find out."""
    (waiting,) = await wait_away(rig)
    hurried = await rig.accept(**FAIL_FAST)
    await rig.bridge.wait_published(2)
    assert rig.sent() == [waiting, waiting]
    rig.bridge.published[-1].acknowledge(NOBODY)
    assert await rig.ended(hurried) == (Status.FAILED, FailureCode.DEVICE_OFFLINE)
    assert (await rig.now(waiting)).status is Status.ACCEPTED
    assert hurried not in rig.sent()


async def test_what_waits_for_a_device_ends_at_its_deadline_as_never_sent(rig: Rig) -> None:
    """Even though it was handed to the broker once: nobody got it."""
    (command_id,) = await wait_away(rig)
    rig.clock.advance(30)
    assert await rig.ended(command_id) == (Status.TIMED_OUT, FailureCode.DELIVERY_TIMEOUT)
    rig.receive("hello", STATUS_TOPIC, HELLO)
    await rig.settle()
    assert rig.sent().count(command_id) == 1
    assert rig.dispatcher.backlog == 0


async def test_other_gateways_do_not_wait(rig: Rig) -> None:
    """One dock that is away holds up nobody else."""
    await wait_away(rig, 2)
    other = await rig.accept(gateway_id="dock-002", **QUEUE)
    await rig.bridge.wait_published(3)
    assert rig.sent()[-1] == other


async def test_after_a_last_will_commands_that_fail_fast_are_not_even_sent(rig: Rig) -> None:
    """The device itself has arranged that we are told."""
    rig.receive("will", STATUS_TOPIC, LAST_WILL)
    assert rig.acknowledged == ["will"]
    assert rig.presence.of("dock-001") is Presence.OFFLINE
    command_id = await rig.accept(**FAIL_FAST)
    assert await rig.ended(command_id) == (Status.FAILED, FailureCode.DEVICE_OFFLINE)
    assert (await rig.now(command_id)).failure_reason == "gateway dock-001 has left the broker"
    assert rig.sent() == []


async def test_an_odd_status_without_ids_is_a_sign_of_life_and_no_last_will(rig: Rig) -> None:
    """Who says anything at all is there."""
    rig.receive("odd", STATUS_TOPIC, {"x": 1})
    assert rig.acknowledged == ["odd"]
    assert rig.presence.of("dock-001") is Presence.ONLINE


async def test_after_a_last_will_others_wait_for_a_sign_of_life(rig: Rig) -> None:
    """Nothing is sent to find out; a persistent session of the device would take it."""
    rig.receive("will", STATUS_TOPIC, LAST_WILL)
    ids = [await rig.accept(**QUEUE) for _ in range(2)]
    rig.clock.advance(PROBE_SECONDS * 3)
    await rig.settle()
    assert rig.sent() == []
    rig.reply("of something else")
    await rig.bridge.wait_published(1)
    rig.bridge.published[0].acknowledge()
    await rig.bridge.wait_published(2)
    assert rig.sent() == ids


async def test_a_last_will_ends_those_that_wait_only_to_find_out(rig: Rig) -> None:
    """Also when the one that was sent to find out is lost with the connection."""
    (waiting,) = await wait_away(rig)
    hurried = await rig.accept(**FAIL_FAST)
    await rig.bridge.wait_published(2)
    rig.bridge.published[-1].lose()
    rig.receive("will", STATUS_TOPIC, LAST_WILL)
    assert await rig.ended(hurried) == (Status.FAILED, FailureCode.DEVICE_OFFLINE)
    assert (await rig.now(waiting)).sending_at is not None


async def test_an_emergency_goes_out_whatever_is_believed(rig: Rig) -> None:
    """The belief may be wrong; the broker's answer tells."""
    rig.receive("will", STATUS_TOPIC, LAST_WILL)
    command_id = await rig.accept(command_type=URGENT, **FAIL_FAST)
    await rig.bridge.wait_published(1)
    assert rig.sent() == [command_id]


async def test_an_emergency_for_which_nobody_listens_does_not_change_who_finds_out(
    rig: Rig,
) -> None:
    """That one may still wait for its turn: another one would overtake it, or none would go."""
    rig.bridge.receive_maximum = 3  # one place beside those that are kept for emergencies
    emergency = await rig.accept(command_type=URGENT, **QUEUE)
    rig.bridge.published[-1].acknowledge(NOBODY)
    await rig.settle()
    waiting = [await rig.accept(**QUEUE) for _ in range(2)]
    answered = 1
    while answered < len(rig.bridge.published) < 10:
        rig.bridge.published[answered].acknowledge(NOBODY)
        answered += 1
        await rig.settle()
    # Each newcomer lets the first one ask anew, the emergency with it; then there is silence.
    assert rig.sent()[:3] == [emergency, emergency, waiting[0]]
    assert len(rig.sent()) <= 5
    assert waiting[1] not in rig.sent()


async def test_presence_is_doubted_when_the_broker_has_forgotten_our_session(rig: Rig) -> None:
    """Signs of life may have been missed: those that wait find out."""
    rig.receive("will", STATUS_TOPIC, LAST_WILL)
    command_id = await rig.accept(**QUEUE)
    await rig.settle()
    rig.presence.forget()
    rig.connect()
    await rig.bridge.wait_published(1)
    assert rig.sent() == [command_id]


async def test_if_the_one_that_finds_out_is_lost_the_next_one_does(rig: Rig) -> None:
    """It may have left, so it is not sent again; the others still wait."""
    first, second = await wait_away(rig, 2)
    rig.clock.advance(PROBE_SECONDS)
    await rig.bridge.wait_published(3)
    rig.bridge.published[-1].lose()
    rig.connect(False)
    rig.connect()
    await rig.bridge.wait_published(4)
    assert rig.sent()[2:] == [first, second]


async def test_if_the_one_that_finds_out_is_answered_first_the_next_one_goes(rig: Rig) -> None:
    """The answer overtook the acknowledgement: somebody is there."""
    first, second, third = await wait_away(rig, 3)
    rig.clock.advance(PROBE_SECONDS)
    await rig.bridge.wait_published(4)
    rig.reply(first)
    await rig.bridge.wait_published(5)
    rig.bridge.published[3].acknowledge()
    await rig.bridge.wait_published(6)
    assert rig.sent()[3:] == [first, second, third]


async def test_a_refusal_of_the_broker_lets_the_others_find_out_theirs(rig: Rig) -> None:
    """Somebody may listen, but we may not speak."""
    first, second = await wait_away(rig, 2)
    rig.clock.advance(PROBE_SECONDS)
    await rig.bridge.wait_published(3)
    rig.bridge.published[-1].acknowledge(REFUSED)
    assert await rig.ended(first) == (Status.FAILED, FailureCode.DELIVERY_REFUSED)
    await rig.bridge.wait_published(4)
    assert rig.sent()[-1] == second


async def test_a_copy_that_may_have_left_waits_but_never_fails_as_offline(rig: Rig) -> None:
    """The earlier one may have arrived: only the answer or the deadline can tell."""
    command_id = await rig.accept(command_type=CHARGE_OPEN, **FAIL_FAST)
    rig.message(command_id).lose()
    rig.receive("will", STATUS_TOPIC, LAST_WILL)
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.ACCEPTED
    rig.clock.advance(30)
    assert await rig.ended(command_id) == (Status.TIMED_OUT, FailureCode.OUTCOME_UNKNOWN)


async def test_a_command_that_was_being_accepted_does_not_overtake_those_that_wait(
    rig: Rig,
) -> None:
    """It had its place before nobody listened."""
    first = await rig.accept(**QUEUE)
    coming = rig.submit(**QUEUE)
    rig.message(first).acknowledge(NOBODY)
    second = (await coming).command.id
    await rig.settle()
    rig.receive("hello", STATUS_TOPIC, HELLO)
    await rig.bridge.wait_published(2)
    rig.bridge.published[-1].acknowledge()
    await rig.bridge.wait_published(3)
    assert rig.sent() == [first, first, second]
    assert rig.kinds(second).count(EventKind.NOT_SENT) == 1


@pytest.mark.parametrize("command_type", [SETUP_ABORT, CHARGE_OPEN])
async def test_a_restart_finds_those_that_wait_and_sends_them(rig: Rig, command_type: str) -> None:
    """They have no intent, whatever was tried before."""
    command_id = await rig.accept(command_type=command_type, **QUEUE)
    rig.message(command_id).acknowledge(NOBODY)
    await rig.settle()
    (commands,) = [found async for found in rig.store.open_commands()]
    assert [(one.id, one.sending_at) for one in commands] == [(command_id, None)]
    assert commands[0].offline_policy is OfflinePolicy.QUEUE


async def test_a_command_behind_many_that_wait_looks_at_few_of_them(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as it is accepted, nor as the one that finds out has found nobody."""
    await wait_away(rig, 50)
    await rig.accept(**QUEUE)
    await rig.bridge.wait_published(51)
    looked_at = []
    seconds_left = rig.deadlines.seconds_left

    def noted(command_id: str) -> float:
        looked_at.append(command_id)
        return seconds_left(command_id)

    monkeypatch.setattr(rig.deadlines, "seconds_left", noted)
    await rig.accept(**QUEUE)
    await rig.accept(**FAIL_FAST)
    rig.bridge.published[-1].acknowledge(NOBODY)
    await rig.settle()
    assert len(looked_at) < 20


async def test_what_has_ended_among_many_that_wait_is_forgotten(rig: Rig) -> None:
    """Also in their middle, behind one that waits for longer."""
    (first,) = await wait_away(rig)
    asked = [rig.submit(timeout_seconds=3, **QUEUE) for _ in range(3)]
    for one in asked:
        await one
    last = await rig.accept(timeout_seconds=300, **QUEUE)
    await rig.bridge.wait_published(2)
    assert rig.dispatcher.backlog == 4
    rig.clock.advance(3)
    await rig.settle()
    rig.clock.advance(PROBE_SECONDS)
    assert rig.dispatcher.backlog == 1
    rig.bridge.published[-1].acknowledge(TAKEN)
    await rig.bridge.wait_published(3)
    assert rig.sent() == [first, first, last]


async def test_those_that_end_and_those_that_wait_go_out_in_one_order(rig: Rig) -> None:
    """Whatever each would have done, had nobody been there."""
    await wait_away(rig)
    ids = [await rig.accept(**policy) for policy in (FAIL_FAST, QUEUE, FAIL_FAST, QUEUE)]
    await rig.bridge.wait_published(2)
    rig.bridge.published[-1].acknowledge(TAKEN)
    await rig.bridge.wait_published(6)
    assert rig.sent()[2:] == ids


async def test_when_all_that_waited_have_ended_the_next_ones_go_out_together(start: Start) -> None:
    """Nobody knows any more that nobody listens: the first one is not sent alone."""
    bridge = BreakingBridge()
    async with start(bridge) as rig:
        await wait_away(rig)
        rig.clock.advance(30)
        await rig.settle()
        rig.clock.advance(PROBE_SECONDS)
        bridge.broken = True
        ids = [await rig.accept(**QUEUE) for _ in range(3)]
        await rig.settle()
        bridge.broken = False
        rig.connect()
        await bridge.wait_published(4)
        assert rig.sent()[1:] == ids


async def test_one_that_may_have_left_still_keeps_its_like_waiting_when_the_device_is_away(
    rig: Rig,
) -> None:
    """It may be answered yet, and its answer would be taken for that of the next one."""
    lens = {"command_type": "drc_live_lens_change", "channel": Channel.DRC, "data": b"{}"}
    await rig.accept(**lens, **QUEUE)
    await rig.accept(**lens, **QUEUE)
    await rig.bridge.wait_published(1)
    rig.bridge.published[0].lose()
    rig.receive("will", STATUS_TOPIC, LAST_WILL)
    await rig.settle()
    assert rig.dispatcher.backlog == 2
    assert len(rig.dispatcher._backlog) == 1  # behind the one that is out
    assert not rig.dispatcher._backlog.is_waiting


async def test_a_copy_that_finds_out_and_reaches_nobody_lets_the_next_one_find_out(
    rig: Rig,
) -> None:
    """What the broker says of the copy ends nothing, and it does not block its dock either."""
    gone = await rig.accept(timeout_seconds=300, **FAIL_FAST)
    copied = await rig.accept(command_type=CHARGE_OPEN, timeout_seconds=300, **QUEUE)
    rig.message(gone).acknowledge(NOBODY)
    await rig.settle()
    rig.connect(False)
    rig.message(copied).lose()
    waiting = await rig.accept(timeout_seconds=300, **QUEUE)
    rig.presence.left("dock-001")
    rig.connect()
    await rig.settle()
    rig.presence.heard("dock-001")
    await rig.bridge.wait_published(3)
    await rig.settle()
    assert rig.sent()[2:] == [copied]
    rig.bridge.published[-1].acknowledge(NOBODY)
    await rig.bridge.wait_published(4)
    assert rig.sent()[3:] == [waiting]


async def test_what_reached_nobody_is_not_sent_behind_a_later_one_that_was_taken(rig: Rig) -> None:
    """The dock has carried out the charge_close; a charge_open behind it would undo it."""
    first = await rig.accept(command_type=CHARGE_OPEN, **QUEUE)
    second = await rig.accept(command_type="charge_close", **QUEUE)
    third = await rig.accept(**QUEUE)
    for command_id, answer in ((first, NOBODY), (second, TAKEN), (third, NOBODY)):
        rig.message(command_id).acknowledge(answer)
    await rig.bridge.wait_published(4)
    await rig.settle()
    assert rig.sent() == [first, second, third, third]
    assert rig.dispatcher.backlog == 0
    rig.clock.advance(30)
    assert await rig.ended(first) == (Status.TIMED_OUT, FailureCode.DELIVERY_TIMEOUT)


async def test_what_reached_nobody_is_sent_behind_what_it_does_not_undo(rig: Rig) -> None:
    """It is to be sent when the dock is back, and that one has to do with something else."""
    first = await rig.accept(command_type=CHARGE_OPEN, **QUEUE)
    second = await rig.accept(**QUEUE)
    rig.message(first).acknowledge(NOBODY)
    rig.message(second).acknowledge(TAKEN)
    await rig.bridge.wait_published(3)
    assert rig.sent() == [first, second, first]


@pytest.mark.parametrize("command_type", ["height_limit", "takeoff_to_point"])
async def test_what_is_set_again_or_is_dangerous_is_not_sent_behind_a_later_one(
    rig: Rig, command_type: str
) -> None:
    """The newer value holds; and nobody knows what a flight would be sent into."""
    later = {"command_type": "height_limit"} if command_type == "height_limit" else {}
    first = await rig.accept(command_type=command_type, **QUEUE)
    second = await rig.accept(**later, **QUEUE)
    rig.message(first).acknowledge(NOBODY)
    rig.message(second).acknowledge(TAKEN)
    await rig.settle()
    assert rig.sent() == [first, second]


async def test_what_reached_nobody_is_sent_behind_an_emergency(rig: Rig) -> None:
    """That one overtakes all that waits."""
    (waiting,) = await wait_away(rig)
    emergency = await rig.accept(command_type=URGENT)
    rig.message(emergency).acknowledge(TAKEN)
    await rig.bridge.wait_published(3)
    assert rig.sent() == [waiting, emergency, waiting]


async def test_an_emergency_that_reached_nobody_is_sent_behind_later_ones(rig: Rig) -> None:
    """A stop is a stop, whatever was sent meanwhile."""
    emergency = await rig.accept(command_type=URGENT, **QUEUE)
    later = await rig.accept()
    rig.message(emergency).acknowledge(NOBODY)
    rig.message(later).acknowledge(TAKEN)
    await rig.bridge.wait_published(3)
    assert rig.sent() == [emergency, later, emergency]


async def test_what_reached_nobody_is_not_sent_behind_later_ones_after_a_restart_either(
    start: Start,
) -> None:
    """The record tells: its intent was taken back, and a later one was sent."""
    async with start() as before:
        first = await before.accept(command_type=CHARGE_OPEN, **QUEUE)
        second = await before.accept(command_type="charge_close", **QUEUE)
        before.message(first).acknowledge(NOBODY)
        await before.settle()
        # Taken, but the gateway ends before it can send the first one again.
        before.message(second).acknowledge(TAKEN)
    async with start() as after:
        await after.settle()
        assert first not in after.sent()


@pytest.mark.parametrize("answer", [NOBODY, TAKEN])
async def test_what_reached_nobody_is_sent_behind_an_emergency_after_a_restart_too(
    start: Start, answer: Acknowledgement
) -> None:
    """Whether that one was taken, or has reached nobody either."""
    async with start() as before:
        (waiting,) = await wait_away(before)
        # Taken or not, the gateway ends before it can send the first one again.
        before.message(await before.accept(command_type=URGENT)).acknowledge(answer)
    async with start() as after:
        await after.bridge.wait_published(1)
        assert after.sent() == [waiting]


async def test_what_reached_nobody_is_sent_behind_a_control_stream_after_a_restart_too(
    start: Start,
) -> None:
    """Nobody knows whether that has arrived, and it undoes nothing."""
    async with start() as before:
        (waiting,) = await wait_away(before)
        stick = await before.accept(command_type="stick_control", channel=Channel.DRC, data=b"{}")
        assert await before.ended(stick) == (Status.SUCCEEDED, None)
    async with start() as after:
        await after.bridge.wait_published(1)
        assert after.sent() == [waiting]


async def test_what_reached_nobody_is_not_sent_behind_a_later_one_that_may_have_arrived(
    rig: Rig,
) -> None:
    """The connection was lost before the broker could say."""
    first = await rig.accept(command_type=CHARGE_OPEN, **QUEUE)
    second = await rig.accept(command_type="charge_close", **QUEUE)
    rig.message(first).acknowledge(NOBODY)
    rig.message(second).lose()
    rig.connect(False)
    await rig.settle()
    rig.connect()
    await rig.settle()
    assert rig.sent() == [first, second]
    assert rig.dispatcher.backlog == 0
