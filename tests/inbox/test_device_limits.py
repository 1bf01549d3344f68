"""A credential that is limited to some devices: which requests of devices it sees and answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from support.desk import Desk, sitting

from dockgate.downlink.v1 import device_request_service_pb2 as pb
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.model.device import Device, Topology
from dockgate_server.model.device_request import DeviceRequest, RequestFilter

NORTH = Caller("north", "north", frozenset(Scope))


def limited(*devices: str) -> Caller:
    return Caller("default", "limited", frozenset(Scope), devices)


ONE = limited("dock-001")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Two docks of the default tenant, the second called roof, and dock-009 of another one."""
    async with sitting(tmp_path / "dockgate.db") as desk:
        registry = desk.inbox._registry
        await registry.learn(Topology("dock-002", "3-2-0", (("drone-002", ""),), 1))
        await registry.register(Device("default", "dock-002", "dock-002", alias="roof"))
        await registry.register(Device("north", "dock-009", "dock-009"))
        yield desk


async def forbidden(call: Awaitable[Any]) -> str:
    with pytest.raises(DockgateError) as refused:
        await call
    assert refused.value.reason is Reason.FORBIDDEN
    return refused.value.metadata["device_id"]


async def listed(desk: Desk, caller: Caller, **fields: Any) -> list[str]:
    """The tids of all pages."""
    tids, token = [], ""
    while True:
        request = pb.ListDeviceRequestsRequest(page_token=token, **fields)
        page, token = await desk.inbox.list(caller, request)
        assert page.requests or not token
        tids += [one.tid for one in page.requests]
        if not token:
            return tids


async def test_a_list_leaves_out_other_docks(desk: Desk) -> None:
    """In full pages; naming one of them is refused."""
    for number in range(6):
        await desk.asked("a_request", tid=f"{number}", gateway=f"dock-00{number % 2 + 1}")
    await desk.asked("a_request", tid="9", gateway="dock-009")
    assert await listed(desk, ONE, page_size=2) == ["4", "2", "0"]
    assert await listed(desk, limited("roof")) == ["5", "3", "1"]
    assert await listed(desk, limited("drone-002")) == []
    assert await listed(desk, ONE, device_id="dock-001") == ["4", "2", "0"]
    assert await listed(desk, NORTH) == ["9"]
    for name in ("dock-002", "roof", "drone-002"):
        assert await forbidden(listed(desk, ONE, device_id=name)) == name


async def test_a_request_out_of_reach_is_neither_shown_nor_answered(desk: Desk) -> None:
    """Another tenant's does not exist."""
    theirs = await desk.asked("a_request", tid="2", gateway="dock-002")
    await desk.asked("a_request", tid="9", gateway="dock-009")
    (norths,) = (await desk.store.requests.list("north", RequestFilter(), None, 10)).requests
    get = pb.GetDeviceRequestRequest(request_id=theirs.id)
    assert await forbidden(desk.inbox.get(ONE, get)) == "dock-002"
    assert await forbidden(desk.reply(theirs.id, caller=ONE)) == "dock-002"
    assert desk.sent() == []
    with pytest.raises(DockgateError) as refused:
        await desk.reply(norths.id, caller=ONE)
    assert refused.value.reason is Reason.DEVICE_REQUEST_NOT_FOUND
    assert (await desk.inbox.get(limited("roof"), get)).id == theirs.id
    await desk.reply(theirs.id, caller=limited("roof"))
    await desk.reply(norths.id, caller=NORTH)


async def test_a_watch_leaves_out_other_docks(desk: Desk) -> None:
    """What waits, and what comes."""
    await desk.asked("a_request", tid="2", gateway="dock-002")
    await desk.asked("a_request", tid="1")
    watch = desk.inbox.watch(ONE, pb.WatchDeviceRequestsRequest())
    seen = [await anext(watch)]
    await desk.asked("a_request", tid="4", gateway="dock-002")
    await desk.asked("a_request", tid="3")
    async with asyncio.timeout(5):
        while len(seen) < 2:
            update = await anext(watch)
            seen += [update] if isinstance(update, DeviceRequest) else []
    assert [one.tid for one in seen if isinstance(one, DeviceRequest)] == ["1", "3"]
    request = pb.WatchDeviceRequestsRequest(device_id="roof")
    assert await forbidden(anext(desk.inbox.watch(ONE, request))) == "roof"


async def test_who_may_not_answer_what_flies_is_told_which_scope(desk: Desk) -> None:
    """And the audit log what it was about."""
    request = await desk.asked("flighttask_resource_get", {"flight_id": "f-1"})
    scopes = frozenset(Scope) - {Scope.DANGEROUS}
    with pytest.raises(DockgateError) as refused:
        await desk.reply(request.id, caller=Caller("default", "clerk", scopes))
    assert refused.value.metadata == {"scope": "open:command:dangerous"}
    about = refused.value.subject
    assert (about.device_id, about.method, about.is_dangerous) == (
        "dock-001",
        "flighttask_resource_get",
        True,
    )
    assert desk.sent() == []
