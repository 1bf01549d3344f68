"""Drones that are no longer where a command for them would go."""

import asyncio
from typing import Any

import pytest
from support.bridge import NOBODY
from support.clock import ManualClock
from support.records import CHARGE_OPEN, SETUP_ABORT
from support.rig import URGENT, Rig, Start

from dockgate_server.devices.log import WhereaboutsLog
from dockgate_server.model.command import Channel, EventKind, FailureCode, OfflinePolicy, Status
from dockgate_server.model.device import Device, Presence
from dockgate_server.model.transitions import Accepted
from dockgate_server.store.sqlite.writer import GROUP_LIMIT

DOCK = "dock-001"
TAKE_OFF = "takeoff_to_point"
STICK = {"command_type": "stick_control", "channel": Channel.DRC}
QUEUE = {"offline_policy": OfflinePolicy.QUEUE}
OFFLINE = (Status.FAILED, FailureCode.DEVICE_OFFLINE)


async def announce(rig: Rig, *drones: str, **kind: Any) -> None:
    """A dock tells which drones are connected to it."""
    say(rig, *drones, **kind)
    await rig.settle()


def say(rig: Rig, *drones: str, gateway: str = DOCK, model: tuple[int, int] = (0, 91)) -> None:
    """The same, and nobody has heard it yet."""
    kind = {"domain": model[0], "type": model[1], "sub_type": 0}
    data = {
        "domain": 3,
        "type": 2,
        "sub_type": 0,
        "sub_devices": [{"sn": one, **kind} for one in drones],
    }
    content = {"tid": "t", "bid": "b", "method": "update_topo", "timestamp": 1, "data": data}
    rig.receive("topology", f"sys/product/{gateway}/status", content)


async def take_off(rig: Rig, device_id: str = "DR1", **changed: Any) -> str:
    """A command for a drone that was in the dock."""
    return await rig.accept(**{"command_type": TAKE_OFF, "device_id": device_id, **changed})


async def goes_out(rig: Rig, device_id: str = "DR1", **changed: Any) -> bool:
    """Whether such a command is sent as soon as it is accepted."""
    before = rig.sent()
    command_id = await take_off(rig, device_id, **changed)
    return rig.sent() == [*before, command_id]


@pytest.fixture
async def swapped(rig: Rig) -> Rig:
    """The dock had DR1; now DR9 is in it."""
    await announce(rig, "DR1")
    await announce(rig, "DR9")
    return rig


async def test_a_command_for_a_drone_in_whose_place_another_one_is_is_not_sent(
    swapped: Rig,
) -> None:
    """The other one would take off. The reason names the dock and both."""
    command_id = await take_off(swapped)
    assert await swapped.ended(command_id) == OFFLINE
    command = await swapped.now(command_id)
    assert command.failure_reason == "gateway dock-001 has drone DR9 now, and not DR1"
    assert swapped.kinds(command_id) == [EventKind.ACCEPTED, EventKind.REFUSED]
    assert swapped.sent() == []


async def test_a_command_for_the_drone_that_is_there_is_sent(swapped: Rig) -> None:
    """Under its number or its name."""
    await swapped.registry.register(Device("default", "DR9", DOCK, alias="eagle"))
    assert await goes_out(swapped, "DR9")
    assert await goes_out(swapped, "eagle")


@pytest.mark.parametrize("model", [(1, 91), (2, 119)])
async def test_only_another_aircraft_takes_the_place_of_one(
    rig: Rig, model: tuple[int, int]
) -> None:
    """Not a payload, nor what else may be connected."""
    await announce(rig, "DR1")
    await announce(rig, "other", model=model)
    assert await goes_out(rig)


async def test_a_drone_that_sleeps_in_its_dock_is_woken(rig: Rig) -> None:
    """It is not named then; nor is any other."""
    await announce(rig, "DR1")
    await announce(rig)
    assert await goes_out(rig)


async def test_where_two_are_named_both_are_there(rig: Rig) -> None:
    """What is for either is sent."""
    await announce(rig, "DR1", "DR9")
    assert await goes_out(rig, "DR1")
    assert await goes_out(rig, "DR9")


async def test_of_a_dock_of_which_nothing_is_known_nothing_is_believed(swapped: Rig) -> None:
    """A topology may have been missed: unknown is not away."""
    swapped.presence.forget()
    assert await goes_out(swapped)


async def test_a_dock_is_not_believed_again_before_it_has_named_its_drone(swapped: Rig) -> None:
    """What else it says shows that it is there, but not which drone is."""
    waiting = await take_off(swapped, **QUEUE)
    swapped.presence.forget()
    swapped.registry.forget_aircraft()
    swapped.presence.heard(DOCK)
    await swapped.bridge.wait_published(1)
    emergency = await take_off(swapped, "DR1", command_type=URGENT)
    assert swapped.sent() == [waiting, emergency]


@pytest.mark.parametrize(
    "changed",
    [{"device_id": DOCK}, {"command_type": CHARGE_OPEN}, {"command_type": "fileupload_list"}],
)
async def test_what_is_for_the_dock_is_sent_whatever_is_in_it(
    swapped: Rig, changed: dict[str, str]
) -> None:
    """By whom it names, or by what it is about."""
    assert await goes_out(swapped, **changed)


async def test_an_emergency_does_not_stop_the_wrong_aircraft(swapped: Rig) -> None:
    """It does not wait either: who asks for it has to know at once."""
    command_id = await take_off(swapped, command_type=URGENT, **QUEUE)
    assert await swapped.ended(command_id) == OFFLINE
    assert swapped.sent() == []


async def test_the_sticks_do_not_steer_the_wrong_aircraft(swapped: Rig) -> None:
    """They are checked where they are sent, past all queues."""
    command_id = await take_off(swapped, **STICK)
    assert await swapped.ended(command_id) == OFFLINE
    assert swapped.bridge.streamed == []
    await take_off(swapped, "DR9", **STICK)
    await swapped.settle()
    assert len(swapped.bridge.streamed) == 1


async def test_a_command_that_queues_waits_for_its_drone(swapped: Rig) -> None:
    """In the order accepted; nobody else waits for it."""
    ids = [await take_off(swapped, **QUEUE) for _ in range(2)]
    other = await take_off(swapped, "DR9", **QUEUE)
    assert (swapped.sent(), swapped.dispatcher.backlog) == ([other], 2)
    await announce(swapped, "DR1")
    await swapped.bridge.wait_published(3)
    assert swapped.sent() == [other, *ids]
    assert swapped.dispatcher.backlog == 0


async def test_a_command_that_waits_for_its_drone_ends_at_its_deadline(swapped: Rig) -> None:
    """As never sent, and is forgotten then."""
    command_id = await take_off(swapped, **QUEUE)
    await swapped.settle()
    swapped.clock.advance(30)
    assert await swapped.ended(command_id) == (Status.TIMED_OUT, FailureCode.DELIVERY_TIMEOUT)
    assert swapped.dispatcher.backlog == 0
    await announce(swapped, "DR1")
    assert swapped.sent() == []


async def test_a_queue_of_an_earlier_process_waits_for_its_drone(start: Start) -> None:
    """What docks have named is known after a restart."""
    clock = ManualClock()
    async with start(clock=clock) as rig:
        await announce(rig, "DR1")
        await announce(rig, "DR9")
        WhereaboutsLog(rig.store.devices, rig.presence, rig.registry).write()
        command_id = await take_off(rig, **QUEUE)
        await rig.settle()
    async with start(clock=clock) as rig:
        await rig.settle()
        assert (rig.sent(), rig.dispatcher.backlog) == ([], 1)
        await announce(rig, "DR1")
        await rig.bridge.wait_published(1)
        assert rig.sent() == [command_id]


async def test_a_dock_that_comes_back_with_another_drone_does_not_fly_it(rig: Rig) -> None:
    """What waited for the dock now waits for the drone, and finds out nothing for others."""
    await announce(rig, "DR1")
    waiting = await take_off(rig, **QUEUE)
    rig.bridge.published[-1].acknowledge(NOBODY)
    await rig.settle()
    say(rig, "DR9")
    behind = await take_off(rig, "DR9", **QUEUE)
    await rig.bridge.wait_published(2)
    await rig.settle()
    assert rig.sent() == [waiting, behind]
    await announce(rig, "DR1")
    rig.bridge.published[-1].acknowledge()
    await rig.bridge.wait_published(3)
    assert rig.sent() == [waiting, behind, waiting]


async def test_after_a_last_will_the_first_word_of_the_dock_counts(rig: Rig) -> None:
    """It shows that the dock is there and who is in it at once: the second must not be late."""
    await announce(rig, "DR1")
    rig.presence.left(DOCK)
    ids = [await take_off(rig, **QUEUE) for _ in range(2)]
    await rig.settle()
    await announce(rig, "DR9")
    await rig.settle()
    assert rig.presence.of(DOCK) is Presence.ONLINE
    assert rig.sent() == []
    await announce(rig, "DR1")
    await rig.bridge.wait_published(2)
    assert rig.sent() == ids


async def test_a_drone_that_goes_while_a_command_for_it_is_accepted_does_not_get_it(
    rig: Rig,
) -> None:
    """The intent was committed with the acceptance, and is taken back."""
    await announce(rig, "DR1")
    say(rig, "DR9")
    hurried = rig.submit(command_type=TAKE_OFF, device_id="DR1")
    patient = rig.submit(command_type=TAKE_OFF, device_id="DR1", **QUEUE)
    ids = [(await one).command.id for one in (hurried, patient)]
    assert await rig.ended(ids[0]) == OFFLINE
    await rig.settle()
    assert rig.kinds(ids[1]) == [EventKind.ACCEPTED, EventKind.SENDING, EventKind.NOT_SENT]
    assert rig.sent() == []
    await announce(rig, "DR1")
    await rig.bridge.wait_published(1)
    assert rig.sent() == ids[1:]


async def test_a_drone_that_goes_while_the_intent_is_committed_does_not_get_the_command(
    rig: Rig,
) -> None:
    """Looked at once more at the very moment of sending."""
    await announce(rig, "DR1")
    rig.connect(False)
    ids = [await take_off(rig), await take_off(rig, command_type=SETUP_ABORT, **QUEUE)]
    say(rig, "DR9")
    rig.connect()  # the loop begins before the topology is stored
    assert await rig.ended(ids[0]) == OFFLINE
    await rig.settle()
    assert rig.sent() == []


async def test_a_copy_that_may_have_left_never_fails_as_not_there(rig: Rig) -> None:
    """The first one may have reached the drone: only its answer or the deadline can tell."""
    await announce(rig, "DR1")
    command_id = await take_off(rig, command_type="camera_mode_switch")  # safe to repeat
    rig.connect(False)
    rig.message(command_id).lose()
    await announce(rig, "DR9")
    rig.connect()
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.ACCEPTED
    assert rig.sent() == [command_id]
    rig.clock.advance(30)
    assert await rig.ended(command_id) == (Status.TIMED_OUT, FailureCode.OUTCOME_UNKNOWN)


async def test_a_name_stands_for_the_drone_that_has_it_now(swapped: Rig) -> None:
    """Who gives the name to the drone in the dock means that one."""
    await swapped.registry.register(Device("default", "DR1", DOCK, alias="eagle"))
    command_id = await take_off(swapped, "eagle", **QUEUE)
    await swapped.settle()
    assert swapped.sent() == []
    await swapped.registry.register(Device("default", "DR9", DOCK, alias="eagle"))
    await swapped.bridge.wait_published(1)
    assert swapped.sent() == [command_id]


async def test_a_name_that_now_is_that_of_a_drone_elsewhere_reaches_nobody(swapped: Rig) -> None:
    """Nor does one that stands for nothing any more: nobody can say whose it was."""
    await announce(swapped, "DR5", gateway="dock-005")
    await swapped.registry.register(Device("default", "DR5", "dock-005", alias="eagle"))
    command_id = await take_off(swapped, "eagle")
    assert await swapped.ended(command_id) == OFFLINE
    reason = (await swapped.now(command_id)).failure_reason
    assert reason == "gateway dock-001 has drone DR9 now, and not DR5"
    assert await swapped.ended(await take_off(swapped, "falcon")) == OFFLINE


async def test_the_number_of_another_tenants_drone_is_not_told(swapped: Rig) -> None:
    """But that there is one is."""
    await take_off(swapped, tenant="north")
    await swapped.settle()
    (event,) = [one for one in swapped.told if one.kind is EventKind.REFUSED]
    assert event.command.failure_reason == "gateway dock-001 has another drone now, and not DR1"


async def test_a_drone_that_is_registered_elsewhere_is_not_there_before_it_is_named(
    start: Start,
) -> None:
    """Also after a restart: a dock's word about its drone says more than a caller's."""
    async with start() as rig:
        await announce(rig, "DR1")
        await announce(rig, "DR9", gateway="dock-002")
        await rig.registry.register(Device("default", "DR1", "dock-002"))
        there = {"gateway_id": "dock-002"}
        assert await rig.ended(await take_off(rig, **there)) == OFFLINE
        WhereaboutsLog(rig.store.devices, rig.presence, rig.registry).write()
        await rig.settle()
    async with start() as rig:
        assert await rig.ended(await take_off(rig, **there)) == OFFLINE


async def test_an_emergency_for_a_drone_that_is_gone_does_not_hold_up_another(rig: Rig) -> None:
    """That one loses its place to it, and its intent is taken back and begun anew."""
    for drone, gateway in (("DR1", DOCK), ("DR9", DOCK), ("DR5", "dock-002")):
        await announce(rig, drone, gateway=gateway)

    def others(groups: int) -> "list[asyncio.Future[Accepted]]":
        return [rig.submit(gateway_id="dock-003") for _ in range(groups * GROUP_LIMIT)]

    asked = others(1)
    gone = rig.submit(command_type=URGENT, device_id="DR1")
    asked += others(1)
    emergency = rig.submit(command_type=URGENT, device_id="DR5", gateway_id="dock-002")
    asked += others(12)
    command_id = (await emergency).command.id
    await rig.until(lambda: command_id in rig.sent())
    accepted = sum(event.kind is EventKind.ACCEPTED for event in rig.told)
    assert accepted <= 8 * GROUP_LIMIT
    assert await rig.ended((await gone).command.id) == OFFLINE
    await asyncio.gather(*asked)
