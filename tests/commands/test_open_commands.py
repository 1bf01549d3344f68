"""How many commands may be open: refused beyond it, and every way to an end makes room again."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.bridge import NOBODY, ScriptedBridge
from support.clock import ManualClock
from support.core import Core, running
from support.gateway import recording_start

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.config.limits import LimitsSection
from dockgate_server.errors import DockgateError, Reason, unavailable
from dockgate_server.limits import Limits
from dockgate_server.model.caller import LOCAL, Caller

ALICE = Caller("default", "dk_alice", LOCAL.scopes)
BOB = Caller("default", "dk_bob", LOCAL.scopes)
DEVICE, CREDENTIAL = "limits.open_commands_per_device", "limits.open_commands_per_credential"


@pytest.fixture
def limits(clock: ManualClock) -> Limits:
    """Two commands for a device, three for a credential."""
    return Limits(LimitsSection(open_commands_per_device=2, open_commands_per_credential=3), clock)


@pytest.fixture
async def core(tmp_path: Path, clock: ManualClock, limits: Limits) -> AsyncIterator[Core]:
    """With these limits."""
    database = tmp_path / "dockgate.db"
    async with running(database, ScriptedBridge(), clock, limits=limits) as core:
        yield core


async def submit(core: Core, key: str, caller: Caller = ALICE, device: str = "drone-001") -> str:
    """The id of a command that has been accepted."""
    return (await core.commands.submit(caller, recording_start(key, device))).command.id


async def refused_by(core: Core, key: str, caller: Caller = ALICE, **at: str) -> str:
    """The limit by which a submission is refused."""
    with pytest.raises(DockgateError) as caught:
        await submit(core, key, caller, **at)
    assert caught.value.reason is Reason.RATE_LIMITED
    assert caught.value.metadata["retry_after_seconds"] == "1"
    return caught.value.metadata["limit"]


def counted(limits: Limits) -> dict[str, int]:
    """What is counted for devices."""
    return dict(limits.open_commands._of_device)


async def test_a_full_device_takes_no_more_whoever_asks(core: Core) -> None:
    """The drone's commands are the dock's, and nothing of what is refused is stored."""
    await submit(core, "k1", ALICE, "drone-001")
    await submit(core, "k2", BOB, "dock-001")
    for caller in (ALICE, BOB, LOCAL):
        assert await refused_by(core, "k3", caller) == DEVICE
    assert await core.stored() == 2


async def test_a_repetition_is_never_refused(core: Core, limits: Limits) -> None:
    """It takes no place: whoever repeats gets the first answer, also when all are taken."""
    first = await submit(core, "k1")
    for _ in range(5):
        assert await submit(core, "k1") == first
    assert counted(limits) == {"dock-001": 1}
    await submit(core, "k2")
    for _ in range(5):
        assert await submit(core, "k1") == first
    assert counted(limits) == {"dock-001": 2}


def emergency(key: str, method: str = "return_home") -> pb.SubmitCommandRequest:
    """A submission of one."""
    request = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key=key)
    getattr(request.dji, method).SetInParent()
    return request


async def test_an_emergency_is_not_refused_for_other_commands(core: Core, limits: Limits) -> None:
    """But counted like any other."""
    for key in ("k1", "k2", "k3", "k4"):
        await core.commands.submit(ALICE, emergency(key))
    assert await refused_by(core, "k5") == DEVICE
    assert counted(limits) == {"dock-001": 4}


async def test_emergencies_are_counted_exactly_over_a_restart(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Those of one kind that are open; each end makes room, and a repetition takes none."""
    database, section = tmp_path / "dockgate.db", LimitsSection(open_emergencies=2)
    async with running(database, ScriptedBridge(), clock, limits=Limits(section, clock)) as core:
        first = (await core.commands.submit(ALICE, emergency("k1"))).command.id
        await core.commands.submit(ALICE, emergency("k2"))
        await submit(core, "k3")
    limits = Limits(section, clock)
    async with running(database, ScriptedBridge(), clock, limits=limits) as core:
        with pytest.raises(DockgateError) as caught:
            await core.commands.submit(ALICE, emergency("k4"))
        assert caught.value.metadata["limit"] == "limits.open_emergencies"
        assert "2 return_home of dk_alice to dock-001 are open" in caught.value.message
        assert (await core.commands.submit(ALICE, emergency("k1"))).replayed
        await core.commands.submit(ALICE, emergency("k5", "drone_emergency_stop"))
        await core.reply(first, {"result": 0})
        await core.commands.submit(ALICE, emergency("k4"))
        clock.advance(1000)
        async with asyncio.timeout(5):
            while limits.open_commands._emergencies:
                await core.store.forget_nonces(0)


@pytest.mark.parametrize("end", ["reply", "refusal", "odd reply", "deadline", "cancel", "nobody"])
async def test_every_end_makes_room(
    core: Core, limits: Limits, clock: ManualClock, end: str
) -> None:
    """Exactly once: what is recorded behind the end frees nothing more."""
    if end == "cancel":
        core.bridge.connected = False
        core.dispatcher.connection_changed()
    ending, other = await submit(core, "k1"), await submit(core, "k2", BOB)
    assert await refused_by(core, "k3") == DEVICE
    match end:
        case "reply":
            await core.reply(ending, {"result": 0})
            await core.reply(ending, {"result": 0})
        case "refusal":
            await core.reply(ending, {"result": 314000})
        case "odd reply":
            await core.reply(ending, {"no": "result"})
            await core.reply(ending, {"result": 0})
        case "deadline":
            await core.reply(other, {"result": 0})
            await submit(core, "k4", BOB)
            clock.advance(1000)
        case "cancel":
            await core.commands.cancel(ALICE, pb.CancelCommandRequest(command_id=ending))
        case "nobody":
            [message, _] = await core.bridge.wait_published(2)
            message.acknowledge(NOBODY)
    async with asyncio.timeout(5):
        while counted(limits).get("dock-001") == 2:
            await core.store.forget_nonces(0)
    left = {} if end == "deadline" else {"dock-001": 1}
    async with asyncio.timeout(5):
        while counted(limits) != left:
            await core.store.forget_nonces(0)
    await submit(core, "k5")


async def test_two_at_once_cannot_both_have_the_last_place(core: Core, limits: Limits) -> None:
    """A place is taken before the commit, not with it."""
    await submit(core, "k0")
    asked = [submit(core, f"k{number}") for number in range(1, 20)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, str) for one in answers) == 1
    assert counted(limits) == {"dock-001": 2}
    assert await core.stored() == 2


async def test_a_commit_that_fails_gives_the_place_back(
    core: Core, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was accepted, so nothing is counted."""
    with monkeypatch.context() as patched:

        def full(*_: object) -> Any:
            failed = asyncio.get_running_loop().create_future()
            failed.set_exception(unavailable("the disk is full"))
            return failed

        patched.setattr(core.store, "accept", full)
        for _ in range(5):
            with pytest.raises(DockgateError, match="disk is full"):
                await submit(core, "k1")
    assert counted(limits) == {}
    await submit(core, "k1")


@pytest.mark.parametrize("known", [False, True])
async def test_a_caller_who_goes_away_leaves_no_place_behind(
    core: Core, limits: Limits, known: bool
) -> None:
    """Its command is accepted all the same and counted, or was a repetition and is not."""
    if known:
        await submit(core, "k1")
    leaving = asyncio.ensure_future(submit(core, "k1"))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await core.store.forget_nonces(0)
    await asyncio.sleep(0)
    assert counted(limits) == {"dock-001": 1}
    assert not limits.open_commands._reserved


async def test_a_caller_who_goes_away_while_the_store_fails_leaves_no_place(
    core: Core, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever becomes of the acceptance, the place is settled when that is known."""
    accepting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    settling: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(core.store, "accept", lambda _: accepting)
    monkeypatch.setattr(core.store, "apply", lambda _: settling)
    leaving = asyncio.ensure_future(submit(core, "k1"))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert counted(limits) == {"dock-001": 1}
    for one in (accepting, settling):
        one.set_exception(unavailable("the disk is full"))
    await asyncio.sleep(0)
    assert counted(limits) == {}


async def test_a_credential_is_counted_over_its_devices(core: Core, tmp_path: Path) -> None:
    """Another credential goes on, and so does who is local."""
    await core.registry.register(
        replace(core.registry.resolve("default", "dock-001"), id="dock-002", gateway_id="dock-002")
    )
    for key, device in (("k1", "dock-001"), ("k2", "dock-001"), ("k3", "dock-002")):
        await submit(core, key, device=device)
    assert await refused_by(core, "k4", device="dock-002") == CREDENTIAL
    await submit(core, "k4", BOB, "dock-002")


async def test_the_count_is_exact_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    """From the database, before anything is taken up."""
    database = tmp_path / "dockgate.db"
    section = LimitsSection(open_commands_per_device=2)
    async with running(database, ScriptedBridge(), clock, limits=Limits(section, clock)) as core:
        first = await submit(core, "k1")
        await submit(core, "k2")
    again = Limits(section, clock)
    async with running(database, ScriptedBridge(), clock, limits=again) as core:
        assert counted(again) == {"dock-001": 2}
        assert await refused_by(core, "k3") == DEVICE
        await core.reply(first, {"result": 0})
        await submit(core, "k3")
