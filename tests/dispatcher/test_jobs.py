"""Jobs about which the device falls silent: marked, not forgotten."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from support.clock import ManualClock
from support.records import CHARGE_OPEN, NOW, a_job, a_reply, an_accept

from dockgate_server.codec import catalogue
from dockgate_server.dispatcher.jobs import Jobs
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.model.command import Command, CommandEvent, EventKind, JobState, Status
from dockgate_server.model.transitions import RecordJob, RecordReply, StallJob
from dockgate_server.store.sqlite import SqliteStore

SILENCE = catalogue.DEFAULT_JOB_SILENCE_SECONDS
MAY_STAY_AWAY = "camera_photo_take"


class Parts:
    """A store and the jobs in it, on a clock that stands still."""

    def __init__(self, store: SqliteStore, clock: ManualClock, jobs: Jobs) -> None:
        self.store, self.clock, self.jobs = store, clock, jobs

    async def started(self, command_type: str = CHARGE_OPEN, result: int = 0) -> str:
        """A command that the device has answered."""
        new = an_accept(command_type=command_type, job_key="the job", sending=True)
        await self.store.accept(new)
        await self.store.apply(RecordReply(a_reply(new.id, {"result": result})))
        return new.id

    async def report(self, state: JobState = JobState.IN_PROGRESS) -> None:
        """The device reports the job."""
        job = a_job(state, updated_at=self.clock.now_ms(), percent=40)
        report = RecordJob("dock-001", (CHARGE_OPEN,), "the job", job)
        self.jobs.heard(report)
        await self.store.apply(report)

    async def after(self, seconds: float, command_id: str) -> Command:
        """The command as it is so many seconds later."""
        self.clock.advance(seconds)
        await self.store.forget_nonces(0)
        command = await self.store.get_command("default", command_id)
        assert command is not None
        return command


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    """A gateway's jobs."""
    clock = ManualClock(NOW)

    def committed(events: Sequence[CommandEvent]) -> None:
        jobs.committed(events)

    async with SqliteStore(tmp_path / "d.db", committed) as store:
        jobs = Jobs(Recorder(store, clock), clock)
        yield Parts(store, clock, jobs)
        jobs.close()


async def test_a_job_that_is_never_reported_is_marked(parts: Parts) -> None:
    """The dock said "started", and then nothing."""
    command_id = await parts.started()
    assert (await parts.after(SILENCE - 0.1, command_id)).job is None
    command = await parts.after(0.1, command_id)
    assert command.job is not None
    assert command.job.state is JobState.STALLED
    assert command.status is Status.SUCCEEDED
    events = await parts.store.events_of_command("default", command_id, 0, 10)
    assert events[-1].kind is EventKind.JOB_STALLED
    assert len(parts.jobs) == 0


async def test_a_report_counts_also_if_the_clock_was_set_back_to_the_time_of_the_one_before(
    parts: Parts,
) -> None:
    """Two reports then look alike."""
    command_id = await parts.started()
    await parts.report()
    await parts.after(SILENCE - 1, command_id)
    parts.clock.step_wall_clock(1 - SILENCE)
    await parts.report()
    command = await parts.after(SILENCE - 1, command_id)
    assert command.job is not None
    assert command.job.state is JobState.IN_PROGRESS


async def test_a_report_starts_the_patience_anew(parts: Parts) -> None:
    """Also one that says nothing new. And what was known stays when it ends after all."""
    command_id = await parts.started()
    await parts.report()
    reported_at = parts.clock.now_ms()
    for _ in range(3):
        command = await parts.after(SILENCE - 1, command_id)
        assert command.job is not None
        assert command.job.state is JobState.IN_PROGRESS
        await parts.report()
    revision = command.revision
    command = await parts.after(SILENCE, command_id)
    assert command.revision == revision + 1
    assert command.job == a_job(JobState.STALLED, updated_at=reported_at, percent=40)


async def test_however_often_a_job_is_reported_it_is_looked_at_once(parts: Parts) -> None:
    """A device may repeat itself a thousand times a second."""
    command_id = await parts.started()
    await parts.report()
    for _ in range(1000):
        await parts.report()
    assert len(parts.jobs._agenda._heap) == 1
    command = await parts.after(SILENCE, command_id)
    assert command.job is not None
    assert command.job.state is JobState.STALLED


async def test_only_a_report_of_the_job_itself_starts_its_patience_anew(parts: Parts) -> None:
    """Not one of another dock, job or method."""
    command_id = await parts.started()
    await parts.report()
    await parts.after(SILENCE - 1, command_id)
    for about in (
        ("dock-002", (CHARGE_OPEN,), "the job"),
        ("dock-001", ("charge_close",), "the job"),
        ("dock-001", (CHARGE_OPEN,), "another"),
    ):
        parts.jobs.heard(RecordJob(*about, a_job()))
    command = await parts.after(1, command_id)
    assert command.job is not None
    assert command.job.state is JobState.STALLED
    parts.jobs.heard(RecordJob("dock-001", (CHARGE_OPEN,), "the job", a_job()))
    assert len(parts.jobs) == 0


async def test_a_stalled_job_that_is_reported_again_goes_on(parts: Parts) -> None:
    """To its real end."""
    command_id = await parts.started()
    await parts.after(SILENCE, command_id)
    await parts.report()
    command = await parts.after(0, command_id)
    assert command.job is not None
    assert command.job.state is JobState.IN_PROGRESS
    await parts.report(JobState.OK)
    command = await parts.after(SILENCE * 2, command_id)
    assert command.job is not None
    assert command.job.state is JobState.OK


@pytest.mark.parametrize("state", [JobState.PAUSED, JobState.OK, JobState.FAILED])
async def test_a_job_that_rests_or_has_ended_may_be_silent(parts: Parts, state: JobState) -> None:
    """Paused for as long as somebody wants."""
    command_id = await parts.started()
    await parts.report(state)
    command = await parts.after(SILENCE * 10, command_id)
    assert command.job is not None
    assert command.job.state is state


async def test_a_method_that_need_not_report_a_job_is_not_marked(parts: Parts) -> None:
    """A single photo has no progress."""
    command_id = await parts.started(MAY_STAY_AWAY)
    assert (await parts.after(SILENCE * 10, command_id)).job is None


async def test_a_command_that_failed_has_started_no_job(parts: Parts) -> None:
    """There is nothing to be silent about."""
    command_id = await parts.started(result=5)
    assert (await parts.after(SILENCE * 10, command_id)).job is None


async def test_a_late_reply_does_not_prolong_the_patience(parts: Parts) -> None:
    """It says nothing of the job."""
    command_id = await parts.started()
    await parts.after(SILENCE - 1, command_id)
    await parts.store.apply(RecordReply(a_reply(command_id)))
    command = await parts.after(1, command_id)
    assert command.job is not None
    assert command.job.state is JobState.STALLED


async def test_jobs_are_found_again_after_a_restart(parts: Parts) -> None:
    """Those that go on, those never reported; not those that have ended or are marked."""
    never = await parts.started()
    fresh = Jobs(Recorder(parts.store, parts.clock), parts.clock)
    await fresh.recover(parts.store)
    assert len(fresh) == 1
    await parts.report(JobState.OK)
    again = Jobs(Recorder(parts.store, parts.clock), parts.clock)
    await again.recover(parts.store)
    assert len(again) == 0
    fresh.close()
    command = await parts.after(SILENCE, never)
    assert command.job is not None
    assert command.job.state is JobState.OK


async def test_recovery_reads_an_index_and_not_every_command(parts: Parts) -> None:
    """There may be millions of commands whose jobs have ended."""
    from dockgate_server.store.sqlite.queries import COMMANDS

    plan = await parts.store._db.all(
        "EXPLAIN QUERY PLAN " + COMMANDS["commands_with_open_jobs"], {"after": 0, "limit": 10}
    )
    assert any("command_job_open" in str(row) for row in plan)


async def test_a_report_that_came_just_before_the_mark_is_not_overruled_by_it(
    parts: Parts,
) -> None:
    """Though a clock that was set back has given it the time of the one before."""
    command_id = await parts.started()
    await parts.report()
    before = a_job(JobState.IN_PROGRESS, updated_at=parts.clock.now_ms(), percent=39)
    await parts.store.apply(StallJob(command_id, before, parts.clock.now_ms()))
    command = await parts.after(0, command_id)
    assert command.job is not None
    assert command.job.state is JobState.IN_PROGRESS
