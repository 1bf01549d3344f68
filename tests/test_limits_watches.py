"""Every kind of watch takes a place, and gives it back however it ends."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from support.bridge import ScriptedBridge
from support.clock import ManualClock
from support.core import running
from support.vault import VAULT

from dockgate.downlink.v1 import command_service_pb2, device_request_service_pb2, device_service_pb2
from dockgate_server.config.limits import LimitsSection
from dockgate_server.devices.state import StateBoard
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.events import EventWatching
from dockgate_server.fleet import Fleet
from dockgate_server.hub import Feed
from dockgate_server.inbound.request_replies import RequestReplies
from dockgate_server.inbox import Inbox
from dockgate_server.limits import Limits
from dockgate_server.model.caller import LOCAL, Caller
from dockgate_server.model.event import DeviceEvent

ALICE = Caller("default", "dk_alice", LOCAL.scopes)
BOB = Caller("default", "dk_bob", LOCAL.scopes)
Watch = AsyncGenerator[Any, None]
Kinds = dict[str, Callable[[Caller], Watch]]

KINDS = ("commands", "devices", "events", "requests")


@pytest.fixture
def limits() -> Limits:
    """One watch for each."""
    return Limits(LimitsSection(watches_per_credential=1), ManualClock())


@pytest.fixture
async def kinds(tmp_path: Path, limits: Limits) -> AsyncIterator[Kinds]:
    """How to open a watch of each kind."""
    clock, bridge, feed = ManualClock(), ScriptedBridge(), Feed[DeviceEvent]()
    async with running(
        tmp_path / "dockgate.db", bridge, heartbeat_seconds=0.01, limits=limits
    ) as core:
        store, quick = core.store, {"heartbeat_seconds": 0.01, "limits": limits}
        fleet = Fleet(core.registry, StateBoard(), **cast("Any", quick))
        events = EventWatching(store.events, feed, core.registry, **cast("Any", quick))
        replies = RequestReplies(bridge, store.requests, clock, VAULT, 40)
        inbox = Inbox(store.requests, replies, clock, core.registry, **cast("Any", quick))
        kinds: dict[str, Callable[[Caller], Any]] = {
            "commands": lambda who: core.commands.watch_all(
                who, command_service_pb2.WatchCommandsRequest()
            ),
            "devices": lambda who: fleet.watch(who, device_service_pb2.WatchDevicesRequest()),
            "events": lambda who: events.watch(who, device_service_pb2.WatchEventsRequest()),
            "requests": lambda who: inbox.watch(
                who, device_request_service_pb2.WatchDeviceRequestsRequest()
            ),
        }
        yield kinds


async def is_refused(watch: Watch) -> bool:
    """Whether its first step is."""
    try:
        await anext(watch)
    except DockgateError as error:
        limit = error.metadata.get("limit")
        return (error.reason, limit) == (Reason.RATE_LIMITED, "limits.watches_per_credential")
    return False


@pytest.mark.parametrize("kind", KINDS)
async def test_a_watch_too_many_is_refused_until_another_ends(kinds: Kinds, kind: str) -> None:
    """Of whatever kinds the two are; others may watch."""
    opened = kinds[kind](ALICE)
    await anext(opened)
    for other in KINDS:
        assert await is_refused(kinds[other](ALICE))
    assert not await is_refused(kinds[kind](BOB))
    await opened.aclose()
    assert not await is_refused(kinds[kind](ALICE))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_watch_that_nobody_has_looked_at_takes_no_place(
    kinds: Kinds, limits: Limits, kind: str
) -> None:
    """Its client has gone before the first message."""
    await kinds[kind](ALICE).aclose()
    assert limits.watches._of_credential == {}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_watch_that_is_cancelled_gives_its_place_back(
    kinds: Kinds, limits: Limits, kind: str
) -> None:
    """Wherever it is just waiting."""

    async def follow() -> None:
        async for _ in kinds[kind](ALICE):
            pass

    for turns in range(6):
        following = asyncio.ensure_future(follow())
        for _ in range(turns):
            await asyncio.sleep(0)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        for _ in range(3):
            await asyncio.sleep(0)
        assert limits.watches._of_credential == {}
