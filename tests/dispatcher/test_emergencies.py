"""Methods that overtake: they wait neither for the backlog nor for the window."""

import asyncio

import pytest
from support.bridge import NOBODY, ScriptedBridge
from support.rig import URGENT, BreakingBridge, Rig, Start

from dockgate_server.dispatcher.window import WINDOW
from dockgate_server.model.command import Channel, EventKind, FailureCode, OfflinePolicy, Status
from dockgate_server.store.sqlite.writer import GROUP_LIMIT

FAIL_FAST = {"offline_policy": OfflinePolicy.FAIL_FAST}
STICK = {"command_type": "stick_control", "channel": Channel.DRC, "data": b"{}"}


async def test_an_emergency_does_not_wait_for_a_full_window(rig: Rig) -> None:
    """It leaves with its acceptance."""
    ids = [await rig.accept() for _ in range(WINDOW + 5)]
    urgent = await rig.accept(command_type=URGENT)
    assert rig.sent() == [*ids[:WINDOW], urgent]
    assert rig.dispatcher.backlog == 5


async def test_an_emergency_jumps_the_backlog_after_a_reconnect(rig: Rig) -> None:
    """First, and emergencies among themselves in the order accepted."""
    rig.connect(False)
    ids = [await rig.accept() for _ in range(3)]
    urgent = [await rig.accept(command_type=URGENT) for _ in range(3)]
    ids.append(await rig.accept())
    rig.connect()
    await rig.bridge.wait_published(7)
    assert rig.sent() == urgent + ids


async def test_an_emergency_of_the_backlog_does_not_wait_for_the_window(start: Start) -> None:
    """Also where it lost its place to a connection that broke."""
    async with start() as rig:
        ids = [await rig.accept() for _ in range(WINDOW)]
        rig.connect(False)
        late = [await rig.accept(command_type=URGENT) for _ in range(2)]
        rest = await rig.accept()
        rig.connect()
        await rig.bridge.wait_published(WINDOW + 2)
        await rig.settle()
        assert rig.sent() == [*ids, *late]
        for message in rig.bridge.published:
            message.acknowledge()
        await rig.bridge.wait_published(WINDOW + 3)
        assert rig.sent()[-1] == rest


async def test_emergencies_keep_their_order_when_the_connection_blinks(rig: Rig) -> None:
    """The second one has a place, the first one had none: it still does not go first."""
    rig.connect(False)
    first = rig.submit(command_type=URGENT)
    rig.bridge.connected = True
    second = rig.submit(command_type=URGENT)
    ids = [(await first).command.id, (await second).command.id]
    await rig.bridge.wait_published(2)
    assert rig.sent() == ids


async def test_other_commands_wait_while_an_emergency_does(rig: Rig) -> None:
    """Nothing leaves between an emergency's acceptance and its sending."""
    rig.connect(False)
    urgent = await rig.accept(command_type=URGENT)
    rig.bridge.connected = True
    other = rig.submit()
    rig.dispatcher.connection_changed()
    await other
    await rig.bridge.wait_published(2)
    assert rig.sent() == [urgent, (await other).command.id]


async def test_an_emergency_takes_the_places_that_the_broker_keeps_for_it(start: Start) -> None:
    """One more than the broker allows, and it would end the connection."""
    async with start(ScriptedBridge(receive_maximum=5)) as rig:
        ids = [await rig.accept() for _ in range(4)]
        urgent = [await rig.accept(command_type=URGENT) for _ in range(3)]
        await rig.settle()
        assert rig.sent() == [*ids[:3], *urgent[:2]]
        rig.message(ids[0]).acknowledge()
        await rig.bridge.wait_published(6)
        await rig.settle()
        assert rig.sent() == [*ids[:3], *urgent]
        for message in rig.bridge.published[1:]:
            message.acknowledge()
        await rig.bridge.wait_published(7)
        assert rig.sent()[-1] == ids[3]


async def test_emergencies_at_the_same_moment_keep_to_what_the_broker_allows(start: Start) -> None:
    """Those whose acceptance is under way count as well."""
    async with start(ScriptedBridge(receive_maximum=3)) as rig:
        asked = [rig.submit(command_type=URGENT) for _ in range(5)]
        ids = [(await one).command.id for one in asked]
        await rig.settle()
        assert rig.sent() == ids[:3]


async def test_emergencies_of_the_backlog_count_for_the_window(rig: Rig) -> None:
    """They go first, and others leave them the room."""
    rig.connect(False)
    ids = [await rig.accept() for _ in range(WINDOW)]
    urgent = [await rig.accept(command_type=URGENT) for _ in range(2)]
    rig.connect()
    await rig.bridge.wait_published(WINDOW)
    await rig.settle()
    assert rig.sent() == urgent + ids[: WINDOW - 2]


async def test_an_emergency_behind_another_that_waits_is_not_yet_meant_to_leave(
    start: Start,
) -> None:
    """After a crash it is known that it has not."""
    bridge = BreakingBridge()
    bridge.broken = True
    async with start(bridge) as rig:
        first = await rig.accept(command_type=URGENT)
        asked = rig.submit(command_type=URGENT)
        rig.bridge.connected = False
        second = (await asked).command.id
        await asyncio.sleep(0)
        await rig.settle()
        assert rig.kinds(first)[-1] is EventKind.NOT_SENT
        assert rig.kinds(second) == [EventKind.ACCEPTED]
        bridge.broken = False
        rig.connect()
        await bridge.wait_published(2)
        assert rig.sent() == [first, second]


async def test_an_emergency_that_is_being_taken_back_outlives_a_last_will(start: Start) -> None:
    """It was never published: what is believed of the device does not end it."""
    bridge = BreakingBridge()
    async with start(bridge) as rig:
        bridge.broken = True
        emergency = await rig.accept(command_type=URGENT, **FAIL_FAST)
        rig.presence.left("dock-001")
        bridge.broken = False
        rig.connect()
        await bridge.wait_published(1)
        assert rig.sent() == [emergency]


async def test_an_emergency_that_found_no_room_outlives_that_nobody_listened_to_another(
    start: Start,
) -> None:
    """The broker has said nothing of it yet."""
    bridge = ScriptedBridge(receive_maximum=2)
    async with start(bridge) as rig:
        other = await rig.accept(**FAIL_FAST)
        asked = rig.submit(command_type=URGENT, **FAIL_FAST)
        bridge.receive_maximum = 1
        emergency = (await asked).command.id
        rig.message(other).acknowledge(NOBODY)
        await bridge.wait_published(2)
        assert rig.sent() == [other, emergency]
        assert await rig.ended(other) == (Status.FAILED, FailureCode.DEVICE_OFFLINE)
        rig.message(emergency).acknowledge(NOBODY)
        assert await rig.ended(emergency) == (Status.FAILED, FailureCode.DEVICE_OFFLINE)


async def test_control_streams_take_no_place_of_an_emergency(start: Start) -> None:
    """Whoever steers when a stop becomes necessary must not be in its way."""
    bridge = ScriptedBridge(receive_maximum=4)
    async with start(bridge) as rig:
        stop = rig.submit(command_type=URGENT)
        sticks = [rig.submit(**STICK) for _ in range(20)]
        emergency = (await stop).command.id
        assert rig.sent() == [emergency]
        assert rig.kinds(emergency) == [EventKind.ACCEPTED, EventKind.SENDING]
        await asyncio.gather(*sticks)
        await rig.settle()
        assert len(bridge.streamed) == 20


@pytest.mark.parametrize("connected", [True, False])
async def test_an_emergency_does_not_wait_behind_what_is_being_accepted(
    rig: Rig, connected: bool
) -> None:
    """Neither its acceptance nor the intent to send it."""
    rig.connect(connected)
    asked = [rig.submit() for _ in range(4 * GROUP_LIMIT)]
    emergency = (await rig.submit(command_type=URGENT)).command.id
    rig.connect()
    asked += [rig.submit() for _ in range(4 * GROUP_LIMIT)]
    await rig.until(lambda: emergency in rig.sent())
    accepted = sum(event.kind is EventKind.ACCEPTED for event in rig.told)
    assert accepted <= 4 * GROUP_LIMIT
    await asyncio.gather(*asked)


async def test_an_emergency_without_a_place_does_not_wait_for_others_to_be_accepted(
    start: Start,
) -> None:
    """Nor does the group that is ahead of it."""
    async with start(ScriptedBridge(receive_maximum=4, acknowledge_at_once=True)) as rig:
        rig.connect(False)
        asked = [rig.submit() for _ in range(8)]
        await asyncio.gather(*asked)
        rig.connect()
        asked = [rig.submit() for _ in range(12 * GROUP_LIMIT)]
        emergencies = [rig.submit(command_type=URGENT) for _ in range(5)]
        last = (await emergencies[-1]).command.id
        await rig.until(lambda: last in rig.sent())
        accepted = sum(event.kind is EventKind.ACCEPTED for event in rig.told)
        assert accepted <= 8 * GROUP_LIMIT
        await asyncio.gather(*asked, *emergencies)
