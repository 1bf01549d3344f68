"""Following one command: nothing missed, nothing twice, over at its end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.bridge import ScriptedBridge
from support.clock import ManualClock
from support.core import Core, running
from support.gateway import recording_start
from support.records import a_job, a_reply

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL, Caller
from dockgate_server.model.command import CommandEvent, EventKind, JobState, Status
from dockgate_server.model.transitions import Expire, RecordJob, RecordReply

CHARGE = pb.SubmitCommandRequest(device_id="dock-001", idempotency_key="charge")
CHARGE.dji.charge_open.SetInParent()


def watching(
    core: Core, command_id: str, after: int = 0, follow_job: bool = False
) -> AsyncIterator[CommandEvent | None]:
    """A watch."""
    request = pb.WatchCommandRequest(
        command_id=command_id, after_revision=after, follow_job=follow_job
    )
    return core.commands.watch(LOCAL, request)


async def revisions(watch: AsyncIterator[CommandEvent | None], count: int = 1000) -> list[int]:
    """The next so many events of a watch, or all until it ends; signs of life left out."""
    seen: list[int] = []
    async with asyncio.timeout(5):
        async for event in watch:
            if event is not None:
                seen.append(event.revision)
                if len(seen) == count:
                    break
    await watch.aclose()  # type: ignore[attr-defined]
    return seen


async def a_whole_life(core: Core) -> str:
    """A command from acceptance to its job's end, with a little more behind: 9 revisions."""
    command_id = (await core.commands.submit(LOCAL, CHARGE)).command.id
    core.bridge.published[0].acknowledge()
    await revisions(watching(core, command_id), 3)
    await core.reply(command_id, {"result": 0, "output": {"status": "sent"}})
    for percent in (10, 60):
        await report(core, command_id, JobState.IN_PROGRESS, percent)
    await core.reply(command_id, {"result": 0})
    await report(core, command_id, JobState.OK, 100)
    await core.reply(command_id, {"result": 0})
    return command_id


async def report(core: Core, command_id: str, state: JobState, percent: int) -> None:
    """The dock reports the job."""
    job = a_job(state, percent=percent)
    await core.store.apply(RecordJob("dock-001", ("charge_open",), command_id, job))


END, JOB_END, NEWEST = 4, 8, 9


async def test_a_watch_shows_the_whole_life_and_ends(core: Core) -> None:
    """Behind the end of the command, or of its job where that is followed."""
    command_id = await a_whole_life(core)
    assert await revisions(watching(core, command_id)) == list(range(1, END + 1))
    followed = watching(core, command_id, follow_job=True)
    assert await revisions(followed) == list(range(1, JOB_END + 1))


@pytest.mark.parametrize("cut", range(NEWEST + 1))
@pytest.mark.parametrize("follow_job", [False, True])
async def test_a_watch_cut_anywhere_and_resumed_yields_exactly_the_rest(
    core: Core, cut: int, follow_job: bool
) -> None:
    """Nothing at all behind the end, even if something was recorded there."""
    command_id = await a_whole_life(core)
    rest = await revisions(watching(core, command_id, cut, follow_job))
    last = JOB_END if follow_job else END
    assert rest == list(range(cut + 1, last + 1))


@pytest.mark.parametrize("cut", range(JOB_END + 1))
async def test_a_watch_resumed_while_events_are_committed_misses_none(core: Core, cut: int) -> None:
    """One that was there from the start, cut, and resumed, beside one that was not cut."""
    command_id = (await core.commands.submit(LOCAL, CHARGE)).command.id
    whole = asyncio.create_task(revisions(watching(core, command_id, follow_job=True)))

    async def cut_and_resumed() -> list[int]:
        seen = await revisions(watching(core, command_id, follow_job=True), cut) if cut else []
        return seen + await revisions(watching(core, command_id, cut, follow_job=True))

    other = asyncio.create_task(cut_and_resumed())
    core.bridge.published[0].acknowledge()
    await asyncio.sleep(0)
    core.store.apply(RecordReply(a_reply(command_id)))
    for percent in (10, 60, 90):
        await report(core, command_id, JobState.IN_PROGRESS, percent)
    await report(core, command_id, JobState.OK, 100)
    expected = list(range(1, JOB_END + 1))
    assert await whole == expected
    assert await other == expected


async def test_each_event_shows_the_command_as_it_was_then(core: Core) -> None:
    """Also when it is read long after."""
    command_id = await a_whole_life(core)
    events = [event async for event in watching(core, command_id) if event is not None]
    assert [event.command.status for event in events] == [
        *(Status.ACCEPTED, Status.ACCEPTED, Status.DELIVERED, Status.SUCCEEDED)
    ]
    assert events[0].command.sending_at is None
    assert events[2].command.vendor_response is None


async def test_a_watch_of_many_events_reads_them_page_by_page(core: Core) -> None:
    """None is missed where one page of the store ends."""
    command_id = (await core.commands.submit(LOCAL, CHARGE)).command.id
    for number in range(450):
        job = a_job(percent=number % 100)
        core.store.apply(RecordJob("dock-001", ("charge_open",), command_id, job))
    await core.reply(command_id, {"result": 0})
    watch = watching(core, command_id, follow_job=True)
    assert await revisions(watch, 453) == list(range(1, 454))


async def test_a_failed_command_has_no_job_to_wait_for(core: Core) -> None:
    """Nor has one that timed out, or a method that starts none."""
    failed = (await core.commands.submit(LOCAL, CHARGE)).command.id
    await core.reply(failed, {"result": 1})
    assert await revisions(watching(core, failed, follow_job=True)) == [1, 2, 3]
    without = (await core.commands.submit(LOCAL, recording_start("k"))).command.id
    await core.reply(without, {"result": 0})
    assert await revisions(watching(core, without, follow_job=True)) == [1, 2, 3]
    late = (await core.commands.submit(LOCAL, recording_start("l"))).command.id
    await core.store.apply(Expire((late,), 1))
    await core.reply(late, {"result": 0})
    assert await revisions(watching(core, late)) == [1, 2, 3]


async def test_a_revision_beyond_the_newest_is_refused(core: Core) -> None:
    """With the newest there is."""
    command_id = await a_whole_life(core)
    with pytest.raises(DockgateError) as refused:
        await revisions(watching(core, command_id, NEWEST + 1))
    assert refused.value.reason is Reason.CURSOR_OUT_OF_RANGE
    assert refused.value.metadata == {"newest": str(NEWEST)}


async def test_another_tenants_command_cannot_be_watched(core: Core) -> None:
    """It does not exist."""
    command_id = await a_whole_life(core)
    request = pb.WatchCommandRequest(command_id=command_id)
    with pytest.raises(DockgateError) as refused:
        await revisions(core.commands.watch(Caller("other", "p"), request))
    assert refused.value.reason is Reason.COMMAND_NOT_FOUND


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.WatchCommandRequest(), "command_id"),
        (pb.WatchCommandRequest(command_id="x", after_revision=-1), "after_revision"),
    ],
)
async def test_a_watch_that_makes_no_sense_is_refused(
    core: Core, request_: pb.WatchCommandRequest, field: str
) -> None:
    """With the field at fault."""
    with pytest.raises(DockgateError) as refused:
        await revisions(core.commands.watch(LOCAL, request_))
    assert refused.value.reason is Reason.VALIDATION_FAILED
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_an_idle_watch_gives_signs_of_life(tmp_path: Path) -> None:
    """Without a revision, between the events."""
    database = tmp_path / "dockgate.db"
    async with running(database, ScriptedBridge(), ManualClock(), 0.001) as core:
        command_id = (await core.commands.submit(LOCAL, recording_start("k"))).command.id
        seen: list[EventKind | None] = []
        async with asyncio.timeout(5):
            async for event in watching(core, command_id):
                seen.append(None if event is None else event.kind)
                if seen.count(None) == 3 and event is None:
                    core.store.apply(RecordReply(a_reply(command_id)))
    assert [kind for kind in seen if kind is not None] == [
        *(EventKind.ACCEPTED, EventKind.SENDING, EventKind.REPLIED)
    ]
    assert seen[2:5] == [None, None, None]


async def test_closing_the_hub_ends_a_watch_that_is_to_be_resumed(core: Core) -> None:
    """UNAVAILABLE, behind everything there was; a watch that has ended is left alone."""
    command_id = (await core.commands.submit(LOCAL, recording_start("k"))).command.id
    watch = watching(core, command_id)
    seen: list[int] = []

    async def follow() -> None:
        async for event in watch:
            assert event is not None
            seen.append(event.revision)

    task = asyncio.create_task(follow())
    await revisions(watching(core, command_id), 2)
    core.hub.close()
    with pytest.raises(DockgateError, match="watch again behind revision 2") as ended:
        await asyncio.wait_for(task, 5)
    assert ended.value.reason is Reason.UNAVAILABLE
    assert seen == [1, 2]
    await core.reply(command_id, {"result": 0})
    assert await revisions(watching(core, command_id)) == [1, 2, 3]


async def test_a_watch_that_is_given_up_leaves_nothing_behind(core: Core) -> None:
    """Ten thousand clients come and go."""
    command_id = (await core.commands.submit(LOCAL, recording_start("k"))).command.id
    for _ in range(3):
        await revisions(watching(core, command_id), 1)
    task = asyncio.create_task(revisions(watching(core, command_id)))
    await revisions(watching(core, command_id), 2)
    task.cancel()
    await asyncio.wait((task,), timeout=5)
    assert core.hub._topics == {}


async def test_a_job_that_shows_up_behind_the_end_does_not_begin_a_new_watch(core: Core) -> None:
    """A single photo need not report one; whoever was told that it was over is not told more."""
    request = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key="k")
    request.dji.camera_photo_take.payload_index = "39-0-7"
    command_id = (await core.commands.submit(LOCAL, request)).command.id
    await core.reply(command_id, {"result": 0})
    job = a_job(JobState.IN_PROGRESS)
    events = [
        event
        async for event in core.commands.watch(
            LOCAL, pb.WatchCommandRequest(command_id=command_id, follow_job=True)
        )
    ]
    last = events[-1]
    assert last is not None
    await core.store.apply(RecordJob("dock-001", ("camera_photo_take",), command_id, job))
    resumed = pb.WatchCommandRequest(
        command_id=command_id, follow_job=True, after_revision=last.revision
    )
    assert [event async for event in core.commands.watch(LOCAL, resumed)] == []
