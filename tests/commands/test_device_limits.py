"""A credential that is limited to some devices: what it may do with commands."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from support.core import Core
from support.gateway import recording_start
from support.records import NOW, an_accept

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.commands import FleetUpdate
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL, Caller, Scope
from dockgate_server.model.command import Command
from dockgate_server.model.device import Device, Topology
from dockgate_server.model.transitions import Unmatched

NO_ID = "00000000-0000-0000-0000-000000000000"

Call = Callable[[Core, Caller, str], Awaitable[Any]]


def limited(*devices: str) -> Caller:
    return Caller("default", "limited", frozenset(Scope), devices)


ONE = limited("dock-001")


@pytest.fixture(autouse=True)
async def _second_dock(core: Core) -> None:
    """Beside dock-001 with drone-001: dock-002 with drone-002, which is called eagle."""
    await core.registry.learn(Topology("dock-002", "3-2-0", (("drone-002", "0-91-1"),), NOW))
    await core.registry.register(Device("default", "drone-002", "dock-002", alias="eagle"))


async def submitted(core: Core, device_id: str, caller: Caller = LOCAL) -> Command:
    """A command that is open."""
    key = str(await core.stored())
    return (await core.commands.submit(caller, recording_start(key, device_id))).command


async def refusal(call: Awaitable[Any]) -> DockgateError:
    with pytest.raises(DockgateError) as refused:
        await call
    return refused.value


async def get(core: Core, caller: Caller, command_id: str) -> Any:
    return await core.commands.get(caller, pb.GetCommandRequest(command_id=command_id))


async def cancel(core: Core, caller: Caller, command_id: str) -> Any:
    return await core.commands.cancel(caller, pb.CancelCommandRequest(command_id=command_id))


async def watch(core: Core, caller: Caller, command_id: str) -> Any:
    request = pb.WatchCommandRequest(command_id=command_id)
    return await anext(core.commands.watch(caller, request))


ON_ONE: list[Call] = [get, cancel, watch]


@pytest.mark.parametrize(
    ("limit", "reached"),
    [
        ("dock-001", {"dock-001", "drone-001"}),
        ("dock-00*", {"dock-001", "drone-001", "dock-002", "drone-002", "eagle"}),
        ("drone-001", {"drone-001"}),
        ("drone-002", {"drone-002", "eagle"}),
        ("eagle", {"drone-002", "eagle"}),
        ("ea*", {"drone-002", "eagle"}),
        ("dock", set()),
        ("DOCK-001", set()),
    ],
)
async def test_a_limit_names_devices_by_number_alias_or_gateway(
    core: Core, limit: str, reached: set[str]
) -> None:
    """Whatever the command calls the device, and whoever has submitted it."""
    names = ["dock-001", "drone-001", "dock-002", "drone-002", "eagle"]
    ours = {name: (await submitted(core, name)).id for name in names}
    caller = limited(limit)
    for name, command_id in ours.items():
        if name in reached:
            assert (await submitted(core, name, caller)).device_id == name
            assert (await get(core, caller, command_id)).id == command_id
        else:
            for call in (submitted(core, name, caller), get(core, caller, command_id)):
                refused = await refusal(call)
                assert refused.reason is Reason.FORBIDDEN
                assert refused.metadata == {"device_id": name}
    page, _ = await core.commands.list(caller, pb.ListCommandsRequest(page_size=500))
    assert {command.device_id for command in page.commands} == reached


@pytest.mark.parametrize("call", ON_ONE)
async def test_a_command_out_of_reach_is_refused_and_left_alone(core: Core, call: Call) -> None:
    """Within its tenant a caller is told so; another tenant's does not exist, in the same words."""
    command = await submitted(core, "eagle")
    refused = await refusal(call(core, ONE, command.id))
    assert refused.reason is Reason.FORBIDDEN
    assert refused.metadata == {"device_id": "eagle"}
    assert not (await get(core, LOCAL, command.id)).status.is_end
    other = Caller("other", "p", frozenset(Scope), ("dock-*", "eagle"))
    unknown = await refusal(call(core, other, NO_ID))
    theirs = await refusal(call(core, other, command.id))
    assert unknown.reason is theirs.reason is Reason.COMMAND_NOT_FOUND
    assert theirs.message == unknown.message.replace(NO_ID, command.id)


async def test_a_repetition_does_not_show_what_is_out_of_reach(core: Core) -> None:
    """Somebody else's key tells nothing, with the same content or another."""
    request = recording_start("k", "eagle")
    command = (await core.commands.submit(LOCAL, request)).command
    refused = await refusal(core.commands.submit(ONE, request))
    assert refused.reason is Reason.FORBIDDEN
    request.timeout_seconds = 9
    refused = await refusal(core.commands.submit(ONE, request))
    assert refused.reason is Reason.FORBIDDEN
    assert command.id not in f"{refused.message}{refused.metadata}"
    assert await core.stored() == 1


async def test_pages_are_full_although_most_is_out_of_reach(core: Core) -> None:
    """And lead from one to the next, with filters; the newest first over all its devices."""
    order = ["drone-001", "eagle", "eagle", "dock-001", "eagle", "dock-001", "drone-001", "eagle"]
    ids = [(await submitted(core, name)).id for name in order]
    ours = [one for one, name in zip(ids, order, strict=True) if name != "eagle"][::-1]
    seen, token, pages = [], "", 0
    while token or not pages:
        request = pb.ListCommandsRequest(page_size=3, page_token=token)
        page, token = await core.commands.list(ONE, request)
        assert page.commands
        seen += [command.id for command in page.commands]
        pages += 1
    assert (seen, pages) == (ours, 2)
    request = pb.ListCommandsRequest(device_id="dock-001")
    page, _ = await core.commands.list(ONE, request)
    assert [command.id for command in page.commands] == [ids[5], ids[3]]
    await core.reply(ids[3], {"result": 1})
    page, _ = await core.commands.list(ONE, pb.ListCommandsRequest(statuses=[4]))
    assert [command.id for command in page.commands] == [ids[3]]
    page, _ = await core.commands.list(ONE, pb.ListCommandsRequest(command_type="charge_open"))
    assert page.commands == ()


@pytest.mark.parametrize("name", ["eagle", "drone-002", "dock-002"])
async def test_who_names_a_device_out_of_reach_is_refused(core: Core, name: str) -> None:
    """In a list and in a fleet watch: an empty answer would look like nothing has happened."""
    listing = core.commands.list(ONE, pb.ListCommandsRequest(device_id=name))
    watching = core.commands.watch_all(ONE, pb.WatchCommandsRequest(device_id=name))
    for call in (listing, anext(watching)):
        refused = await refusal(call)
        assert (refused.reason, refused.metadata) == (Reason.FORBIDDEN, {"device_id": name})


async def test_a_fleet_watch_leaves_out_what_is_out_of_reach(core: Core) -> None:
    """From the tail and, with its token, from the store."""
    watching = core.commands.watch_all(ONE, pb.WatchCommandsRequest())
    first = await anext(watching)
    ours = []
    for name in ("eagle", "drone-001", "dock-002", "dock-001"):
        command = await submitted(core, name)
        if name.endswith("001"):
            ours.append(command.id)
    core.hub.close()
    resumed = core.commands.watch_all(ONE, pb.WatchCommandsRequest(resume_token=first.resume_token))
    for updates in (watching, resumed):
        seen: list[str] = []
        assert (await refusal(_follow(updates, seen))).reason is Reason.UNAVAILABLE
        assert list(dict.fromkeys(seen)) == ours


async def _follow(updates: AsyncIterator[FleetUpdate], seen: list[str]) -> None:
    async for update in updates:
        seen += [] if update.event is None else [update.event.command.id]


async def test_a_command_is_where_it_went_when_its_drone_has_moved(core: Core) -> None:
    """Who has only the new dock does not see what the old one was sent, nor the other way."""
    before = await submitted(core, "eagle")
    drone = (("drone-002", "0-91-1"),)
    await core.registry.learn(Topology("dock-001", "3-2-0", drone, NOW + 1))
    after = await submitted(core, "eagle")
    for caller, ours, theirs in (
        (ONE, after, before),
        (limited("dock-002"), before, after),
    ):
        assert (await get(core, caller, ours.id)).id == ours.id
        assert (await refusal(get(core, caller, theirs.id))).reason is Reason.FORBIDDEN
        page, _ = await core.commands.list(caller, pb.ListCommandsRequest())
        assert [one.id for one in page.commands] == [ours.id]


async def test_a_command_stays_in_reach_when_its_device_is_forgotten(core: Core) -> None:
    """By the names that it was sent by."""
    command = await submitted(core, "drone-001")
    await core.registry.remove(core.registry.resolve("default", "drone-001"))
    assert (await get(core, ONE, command.id)).id == command.id
    refused = await refusal(get(core, limited("dock-002"), command.id))
    assert refused.reason is Reason.FORBIDDEN


async def test_the_ledger_leaves_out_other_docks(core: Core) -> None:
    """With paging; naming one of them is refused."""
    for number in range(6):
        gateway = f"dock-00{number % 2 + 1}"
        await core.store.record_unmatched(Unmatched(gateway, str(number), "m", "", b"1", NOW))
    seen, token = [], ""
    for _ in range(2):
        request = pb.ListUnmatchedResponsesRequest(page_size=2, page_token=token)
        page, token = await core.commands.list_unmatched(ONE, request)
        seen += [reply.tid for reply in page.replies]
    assert (seen, token) == (["4", "2", "0"], "")
    request = pb.ListUnmatchedResponsesRequest(gateway_id="dock-002")
    refused = await refusal(core.commands.list_unmatched(ONE, request))
    assert refused.metadata == {"device_id": "dock-002"}


async def test_finding_a_few_commands_looks_at_few(core: Core) -> None:
    """A key for one dock among many: what others were sent costs nothing, however much it is."""
    steps = [0]

    def step() -> None:
        steps[-1] += 1

    async def look() -> None:
        page, _ = await core.commands.list(limited("lonely"), pb.ListCommandsRequest())
        assert len(page.commands) == 1
        steps.append(0)

    await core.store.accept(an_accept(gateway_id="lonely", device_id="lonely"))
    reading = core.store._db._reading
    await reading.run(lambda db: [db.set_progress_handler(step, 10)])
    for count in (30, 1500):
        names = (f"dock-{number % 10}" for number in range(count))
        new = [an_accept(gateway_id=name, device_id=name) for name in names]
        await asyncio.gather(*map(core.store.accept, new))
        await look()
    await reading.run(lambda db: [db.set_progress_handler(None, 0)])
    first, second, _ = steps
    assert second < first * 1.1


@pytest.mark.parametrize("limit", ["drone-002", "eagle", "drone-*"])
async def test_a_limit_to_a_drone_does_not_reach_what_acts_on_its_dock(
    core: Core, limit: str
) -> None:
    """Whoever may film with the drone may not open the cover over it."""
    request = pb.SubmitCommandRequest(device_id="drone-002", idempotency_key="cover")
    request.dji.cover_open.SetInParent()
    refused = await refusal(core.commands.submit(limited(limit), request))
    assert refused.reason is Reason.FORBIDDEN
    assert refused.metadata == {"device_id": "dock-002"}
    assert await core.stored() == 0
    await submitted(core, "drone-002", limited(limit))
    await core.commands.submit(limited("dock-002"), request)
