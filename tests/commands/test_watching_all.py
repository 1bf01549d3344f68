"""Following all commands of a tenant: in order, resumable by token."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.bridge import ScriptedBridge
from support.clock import ManualClock
from support.core import Core, running
from support.gateway import recording_start
from support.records import an_accept

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import hub
from dockgate_server.codec import cursor
from dockgate_server.commands import FleetUpdate
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL, Caller

Seen = list[tuple[str, int]]


def watching(core: Core, caller: Caller = LOCAL, **request: str) -> AsyncIterator[FleetUpdate]:
    """A watch of all."""
    return core.commands.watch_all(caller, pb.WatchCommandsRequest(**request))


async def take(watch: AsyncIterator[FleetUpdate], count: int) -> tuple[Seen, str]:
    """The next so many events, and the token behind them; signs of life are passed over."""
    seen: Seen = []
    token = ""
    async with asyncio.timeout(5):
        while len(seen) < count or not token:
            update = await anext(watch)
            token = update.resume_token
            if update.event is not None:
                seen.append((update.event.command.id, update.event.revision))
    return seen, token


async def lives(core: Core, count: int) -> Seen:
    """Some commands that succeed; all their events, in the order recorded."""
    told: Seen = []
    after = core.hub.newest_seq
    for _ in range(count):
        key = str(core.hub.newest_seq)
        command_id = (await core.commands.submit(LOCAL, recording_start(key))).command.id
        await core.reply(command_id, {"result": 0})
    for event in await core.store.events_of_all_commands(after, 1000):
        told.append((event.command.id, event.revision))
    return told


async def test_a_watch_begins_with_what_happens_from_now_on(core: Core) -> None:
    """Its first message is a sign of life, so that there is a token from the start."""
    await lives(core, 1)
    watch = watching(core)
    first = await anext(watch)
    assert first.event is None
    told = await lives(core, 2)
    seen, _ = await take(watch, 6)
    assert seen == told
    assert (await take(watching(core, resume_token=first.resume_token), 6))[0] == told


@pytest.mark.parametrize("cut", range(10))
@pytest.mark.parametrize("tail", [10_000, 4])
async def test_a_watch_cut_anywhere_and_resumed_yields_exactly_the_rest(
    core: Core, monkeypatch: pytest.MonkeyPatch, cut: int, tail: int
) -> None:
    """From the tail or from the store; going on while events are committed."""
    monkeypatch.setattr(hub, "TAIL_EVENTS", tail)
    watch = watching(core)
    await anext(watch)
    told = await lives(core, 3)
    seen, token = await take(watch, cut) if cut else ([], cursor.write(cursor.RESUME, 0))
    resumed = watching(core, resume_token=token)
    seen += (await take(resumed, 9 - cut))[0]
    assert seen == told
    more = asyncio.create_task(lives(core, 2))
    rest, _ = await take(resumed, 6)
    assert rest == await more


async def test_a_token_holds_over_a_restart(tmp_path: Path) -> None:
    """The position is the store's, not the process's."""
    database = tmp_path / "dockgate.db"
    async with running(database, ScriptedBridge()) as core:
        watch = watching(core)
        _, token = await take(watch, 0)
        told = await lives(core, 1)
        _, token_behind = await take(watch, 3)
    async with running(database, ScriptedBridge()) as core:
        assert (await take(watching(core, resume_token=token), 3))[0] == told
        new = await lives(core, 1)
        assert (await take(watching(core, resume_token=token_behind), 3))[0] == new


async def test_other_tenants_and_other_devices_are_left_out(core: Core) -> None:
    """Their events move the token on, and are not seen."""
    mine, by_device = watching(core), watching(core, device_id="dock-001")
    by_type = watching(core, command_type="charge_open")
    other = watching(core, Caller("other", "p"))
    for watch in (mine, by_device, by_type, other):
        await anext(watch)
    foreign = (await core.store.accept(an_accept(tenant="other"))).command.id
    drone = (await core.commands.submit(LOCAL, recording_start("1"))).command.id
    dock = recording_start("2", device_id="dock-001")
    at_dock = (await core.commands.submit(LOCAL, dock)).command.id
    charge = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key="3")
    charge.dji.charge_open.SetInParent()
    charging = (await core.commands.submit(LOCAL, charge)).command.id

    everything = [(one, n) for one in (drone, at_dock, charging) for n in (1, 2)]
    assert (await take(mine, 6))[0] == everything
    assert (await take(by_device, 2))[0] == [(at_dock, 1), (at_dock, 2)]
    assert (await take(by_type, 2))[0] == [(charging, 1), (charging, 2)]
    assert (await take(other, 1))[0] == [(foreign, 1)]


async def test_a_token_from_beyond_the_newest_event_is_refused(core: Core) -> None:
    """It is from another database; going on from it would skip in silence."""
    await lives(core, 1)
    token = cursor.write(cursor.RESUME, core.hub.newest_seq + 1)
    with pytest.raises(DockgateError) as refused:
        await anext(watching(core, resume_token=token))
    assert refused.value.reason is Reason.CURSOR_OUT_OF_RANGE
    newest = cursor.write(cursor.RESUME, core.hub.newest_seq)
    assert (await anext(watching(core, resume_token=newest))).resume_token == newest


async def test_a_token_that_ran_ahead_of_the_hub_is_taken(core: Core) -> None:
    """A watcher reads from the store what is committed a moment before the hub is told."""
    await lives(core, 1)
    token = cursor.write(cursor.RESUME, core.hub.newest_seq)
    core.hub._newest -= 2
    assert (await anext(watching(core, resume_token=token))).resume_token == token


@pytest.mark.parametrize("token", ["x", cursor.write(cursor.PAGE, 1)])
async def test_a_token_that_is_none_is_refused(core: Core, token: str) -> None:
    """Also one of a list's pages."""
    with pytest.raises(DockgateError) as refused:
        await anext(watching(core, resume_token=token))
    assert refused.value.reason is Reason.VALIDATION_FAILED
    assert [violation.field for violation in refused.value.violations] == ["resume_token"]


async def test_an_idle_watch_gives_signs_of_life_with_a_token(tmp_path: Path) -> None:
    """Events of others move it on meanwhile."""
    database = tmp_path / "dockgate.db"
    async with running(database, ScriptedBridge(), ManualClock(), 0.001) as core:
        watch = watching(core)
        first = await anext(watch)
        assert (await anext(watch)) == first
        await core.store.accept(an_accept(tenant="other"))
        async with asyncio.timeout(5):
            while (update := await anext(watch)).resume_token == first.resume_token:
                pass
        assert update.event is None
        await watch.aclose()  # type: ignore[attr-defined]


async def test_a_watch_to_which_others_events_mean_nothing_still_gives_signs_of_life(
    tmp_path: Path,
) -> None:
    """A busy gateway, a quiet device: woken all the time, it must not be silent."""
    database = tmp_path / "dockgate.db"
    async with running(database, ScriptedBridge(), ManualClock(), 0.03) as core:
        watch = watching(core, device_id="quiet")
        first = await anext(watch)

        async def others() -> None:
            while True:
                await core.store.accept(an_accept())

        busy = asyncio.create_task(others())
        update = await asyncio.wait_for(anext(watch), 5)
        assert not busy.done()
        busy.cancel()
        await asyncio.wait((busy,), timeout=5)
        assert update.event is None
        assert update.resume_token != first.resume_token
        await watch.aclose()  # type: ignore[attr-defined]


async def test_closing_the_hub_ends_a_watch_that_is_to_be_resumed(core: Core) -> None:
    """UNAVAILABLE, behind everything there was."""
    watch = watching(core)
    await anext(watch)
    told = await lives(core, 1)
    core.hub.close()
    assert (await take(watch, 3))[0] == told
    with pytest.raises(DockgateError) as ended:
        await anext(watch)
    assert ended.value.reason is Reason.UNAVAILABLE
