"""What becomes of replies that are late, double or odd, and of reports on jobs."""

import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.clock import ManualClock
from support.log import Log, events
from support.records import NOW, a_job, a_reply, an_accept, begin_sending, in_status, ledger

from dockgate_server.lines import MOST_FROM_DEVICES
from dockgate_server.model.command import Command, CommandEvent, EventKind, JobState, Status
from dockgate_server.model.transitions import (
    ConfirmDelivery,
    Expire,
    RecordJob,
    RecordReply,
    StallJob,
    Unmatched,
)
from dockgate_server.store.sqlite import SqliteStore, changes


async def now(store: SqliteStore, command: Command) -> Command:
    """The command as it is now."""
    found = await store.get_command(command.tenant, command.id)
    assert found is not None
    return found


@pytest.mark.parametrize("end", [Status.TIMED_OUT, Status.FAILED, Status.UNMATCHED_RESPONSE])
async def test_a_late_answer_is_recorded_but_changes_no_status(
    store: SqliteStore, end: Status
) -> None:
    """The true answer fills what is still empty; the first end stays."""
    before = await in_status(store, end)
    (event,) = await store.apply(RecordReply(a_reply(before.id, {"result": 7, "msg": "late"})))
    after = await now(store, before)
    assert (event.kind, event.note, event.reply) == (EventKind.REPLIED, "after the end", None)
    assert (after.status, after.completed_at) == (end, before.completed_at)
    assert (after.failure_code, after.failure_reason) == (
        before.failure_code,
        before.failure_reason,
    )
    assert after.completion_basis == before.completion_basis
    assert (after.response_code, after.response_message) == ("7", "late")
    assert after.response_received_at == NOW + 3_000
    assert after.vendor_response == b'{"result":7,"msg":"late"}'


@pytest.mark.parametrize("end", [Status.SUCCEEDED, Status.TIMED_OUT])
async def test_only_the_first_answer_is_kept(store: SqliteStore, end: Status) -> None:
    """A further one is noted with what it said."""
    command = await in_status(store, end)
    if end is Status.TIMED_OUT:
        await store.apply(RecordReply(a_reply(command.id)))
    before = await now(store, command)
    (event,) = await store.apply(
        RecordReply(a_reply(command.id, {"result": 9}, received_at=NOW + 9_000))
    )
    after = await now(store, command)
    assert (event.kind, event.reply) == (EventKind.REPLIED, b'{"result":9}')
    assert event.note == "a further reply; it changes nothing"
    assert (after.revision, after.updated_at) == (before.revision + 1, NOW + 9_000)
    assert (after.status, after.response_code) == (before.status, before.response_code)
    assert (after.vendor_response, after.response_received_at) == (
        before.vendor_response,
        before.response_received_at,
    )


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
async def test_a_device_that_repeats_itself_for_ever_does_not_fill_the_disk(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, odd: bool, at_once: bool
) -> None:
    """Beyond a limit, repetitions are no longer noted; nor in one transaction."""
    monkeypatch.setattr(changes, "NOTED_REPLIES", 6)
    command = await in_status(store, Status.SUCCEEDED)
    data = {"result": "odd"} if odd else {"result": 0}
    for _ in range(8):
        recorded = store.apply(RecordReply(a_reply(command.id, data)))
        if not at_once:
            await recorded
    await recorded
    events = await store.events_of_command(command.tenant, command.id, 0, 100)
    replies = (EventKind.REPLIED, EventKind.UNMATCHED_REPLY)
    assert len([event for event in events if event.kind in replies]) == 6
    assert (await now(store, command)).revision == len(events)


@pytest.mark.parametrize(
    ("data", "method", "why"),
    [
        ({"result": 0}, "charge_close", "the reply is to 'charge_close'"),
        ({"result": "?"}, None, "the reply has no readable result"),
        ([], "flight_setup_abort", "the reply has no readable result"),
    ],
)
@pytest.mark.parametrize("before", [Status.ACCEPTED, Status.DELIVERED])
async def test_an_odd_reply_ends_an_open_command_as_unmatched(
    store: SqliteStore, before: Status, data: object, method: str | None, why: str
) -> None:
    """It stands in the events and in the ledger, and leaves room for the true answer."""
    command = await in_status(store, before)
    reply = a_reply(command.id, method=method, data=data, raw_data=orjson.dumps(data))
    (event,) = await store.apply(RecordReply(reply))
    after = await now(store, command)
    assert event.kind is EventKind.UNMATCHED_REPLY
    assert event.note.startswith(why)
    assert event.reply == orjson.dumps(data)
    assert (after.status, after.completed_at) == (Status.UNMATCHED_RESPONSE, NOW + 3_000)
    assert (after.response_code, after.vendor_response) == (None, None)
    assert (after.response_received_at, after.failure_code) == (None, None)
    (entry,) = await ledger(store)
    assert (entry.gateway_id, entry.tid, entry.method) == ("dock-001", command.id, method or "")
    assert entry.reason.startswith(why)
    assert entry.data == orjson.dumps(data)


async def test_a_reply_of_another_gateway_never_touches_the_command(store: SqliteStore) -> None:
    """Also not when it is odd, or the command has ended."""
    for status in (Status.ACCEPTED, Status.DELIVERED, Status.TIMED_OUT):
        command = await in_status(store, status)
        for data in ({"result": 0}, {"result": "?"}):
            raw = orjson.dumps(data)
            reply = a_reply(command.id, data, raw_data=raw, gateway_id="dock-002")
            assert await store.apply(RecordReply(reply)) == ()
        assert await now(store, command) == command
    entries = await ledger(store)
    assert {entry.reason for entry in entries[:6]} == {"the command went to gateway 'dock-001'"}
    assert {entry.gateway_id for entry in entries[:6]} == {"dock-002"}


async def test_a_reply_to_nothing_goes_to_the_ledger(store: SqliteStore) -> None:
    """From a gateway of before, or to somebody else's command."""
    assert await store.apply(RecordReply(a_reply("who?", method="m"))) == ()
    (entry,) = await ledger(store)
    assert entry == Unmatched(
        gateway_id="dock-001",
        tid="who?",
        method="m",
        reason="no command has this tid, or this method and sequence number",
        data=b'{"result":0}',
        received_at=NOW + 3_000,
    )


async def test_the_ledger_keeps_the_newest_only(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded, newest first."""
    monkeypatch.setattr(changes, "LEDGER_LIMIT", 3)
    for number in range(7):
        await store.apply(RecordReply(a_reply(f"t{number}")))
    assert [entry.tid for entry in await ledger(store)] == ["t6", "t5", "t4"]
    assert [entry.tid for entry in await ledger(store, 2)] == ["t6", "t5"]


async def test_the_same_reply_again_after_a_crash_changes_nothing(
    database: Path, tmp_path: Path
) -> None:
    """Replies are acknowledged after the commit, so a crash in between brings them again."""
    async with SqliteStore(database) as store:
        command = await in_status(store, Status.SUCCEEDED)
    async with SqliteStore(database) as store:
        await store.apply(RecordReply(a_reply(command.id)))
        after = await now(store, command)
    assert (after.status, after.revision) == (Status.SUCCEEDED, command.revision + 1)
    assert after.vendor_response == command.vendor_response


CHARGE = {"command_type": "charge_open"}
STARTED = {"result": 0, "output": {"status": "sent"}}


async def test_an_answer_may_report_the_job_that_it_started(store: SqliteStore) -> None:
    """SUCCEEDED, with the job as the device said; nothing for methods without a job."""
    command = await in_status(store, Status.DELIVERED, job_key="J", **CHARGE)
    await store.apply(RecordReply(a_reply(command.id, STARTED)))
    assert (await now(store, command)).job == a_job(JobState.SENT, updated_at=NOW + 3_000, result=0)
    without = await in_status(store, Status.DELIVERED)
    await store.apply(RecordReply(a_reply(without.id, STARTED)))
    assert (await now(store, without)).job is None


@pytest.mark.parametrize("state", [JobState.IN_PROGRESS, JobState.OK, JobState.FAILED])
@pytest.mark.parametrize("before", [Status.DELIVERED, Status.TIMED_OUT])
async def test_an_answer_that_comes_behind_the_jobs_events_does_not_take_them_back(
    store: SqliteStore, before: Status, state: JobState
) -> None:
    """The word "sent" is older news than any event; the last word on a job is final."""
    command = await in_status(store, before, job_key="J", **CHARGE)
    await store.apply(RecordJob("dock-001", ("charge_open",), "J", a_job(state, percent=50)))
    await store.apply(RecordReply(a_reply(command.id, STARTED)))
    after = await now(store, command)
    assert after.job == a_job(state, percent=50)
    assert after.response_code == "0"


async def test_a_job_goes_on_behind_the_end_of_its_command(store: SqliteStore) -> None:
    """Result 0 is SUCCEEDED; the job is a second thing on the same command."""
    command = await in_status(store, Status.SUCCEEDED, job_key="J", **CHARGE)
    for percent in (10, 60):
        job = a_job(percent=percent, step="check_cover", updated_at=NOW + percent)
        (event,) = await store.apply(RecordJob("dock-001", ("charge_open",), "J", job))
        assert (event.kind, event.occurred_at) == (EventKind.JOB_PROGRESSED, NOW + percent)
        after = await now(store, command)
        assert (after.status, after.job, after.updated_at) == (
            Status.SUCCEEDED,
            job,
            NOW + percent,
        )


async def test_a_report_that_only_repeats_the_one_before_is_no_event(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """A device may say the same for hours."""
    await in_status(store, Status.SUCCEEDED, job_key="J", **CHARGE)
    told.clear()
    changes_of_it: list[dict[str, Any]] = [
        {"percent": 40, "step": "a/é"},
        {"percent": 41, "step": "a/é"},
        {"percent": 41},
        {"percent": 41, "result": 3},
        {"percent": 41, "result": 3, "break_reason": 5},
        {"percent": None, "result": 3},
    ]
    for at, said in enumerate(changes_of_it):
        for again in range(3):
            job = a_job(**said, updated_at=NOW + 10 * at + again)
            await store.apply(RecordJob("dock-001", ("charge_open",), "J", job))
    assert [event.occurred_at - NOW for event in told] == [0, 10, 20, 30, 40, 50]


async def test_a_report_that_ends_the_silence_about_a_job_counts_at_once(
    store: SqliteStore,
) -> None:
    """Though it repeats what was said before that."""
    command = await in_status(store, Status.SUCCEEDED, job_key="J", **CHARGE)
    report = RecordJob("dock-001", ("charge_open",), "J", a_job(percent=40))
    await store.apply(report)
    await store.apply(StallJob(command.id, report.job, NOW + 5_000))
    (event,) = await store.apply(report)
    assert event.command.job == report.job


@pytest.mark.parametrize("state", JobState)
async def test_the_last_word_on_a_job_is_final(store: SqliteStore, state: JobState) -> None:
    """An event that was under way, or comes again, changes nothing then."""
    command = await in_status(store, Status.SUCCEEDED, job_key="J", **CHARGE)
    await store.apply(RecordJob("dock-001", ("charge_open",), "J", a_job(state)))
    again = await store.apply(
        RecordJob("dock-001", ("charge_open",), "J", a_job(JobState.PAUSED, percent=1))
    )
    assert (again == ()) is state.is_end
    job = (await now(store, command)).job
    assert job is not None
    assert job.state is (state if state.is_end else JobState.PAUSED)


@pytest.mark.parametrize(
    ("gateway", "methods", "key"),
    [
        ("dock-002", ("charge_open",), "J"),
        ("dock-001", ("charge_close",), "J"),
        ("dock-001", (), "J"),
        ("dock-001", ("charge_open",), "K"),
    ],
)
async def test_a_report_that_fits_no_command_is_none(
    store: SqliteStore, gateway: str, methods: tuple[str, ...], key: str
) -> None:
    """Key, gateway and method must all fit."""
    command = await in_status(store, Status.SUCCEEDED, job_key="J", **CHARGE)
    assert await store.apply(RecordJob(gateway, methods, key, a_job())) == ()
    assert (await now(store, command)).job is None


async def test_the_newest_command_with_the_key_takes_the_report(store: SqliteStore) -> None:
    """A flight that is prepared again has the same flight_id; other methods are passed over."""
    older = await in_status(store, Status.SUCCEEDED, job_key="J", **CHARGE)
    newer = await in_status(store, Status.SUCCEEDED, job_key="J", **CHARGE)
    await store.accept(an_accept(job_key="J", command_type="drone_open"))
    report = RecordJob("dock-001", ("charge_open",), "J", a_job())
    assert [event.command.id for event in await store.apply(report)] == [newer.id]
    assert (await now(store, older)).job is None


async def test_a_report_is_not_about_a_command_that_was_not_sent(store: SqliteStore) -> None:
    """It waits, or has waited in vain: the report is about the one before it."""
    flying = await in_status(store, Status.SUCCEEDED, job_key="J", **CHARGE)
    expired = await store.accept(an_accept(job_key="J", **CHARGE))
    await store.apply(Expire((expired.command.id,), NOW + 30_000))
    await store.accept(an_accept(job_key="J", **CHARGE))
    report = RecordJob("dock-001", ("charge_open",), "J", a_job())
    assert [event.command.id for event in await store.apply(report)] == [flying.id]


async def test_an_acknowledgement_behind_the_answer_changes_nothing(store: SqliteStore) -> None:
    """Reply before PUBACK: SUCCEEDED stays, with the time that the reply gave."""
    command = (await store.accept(an_accept())).command
    await begin_sending(store, command.id)
    await store.apply(RecordReply(a_reply(command.id)))
    before = await now(store, command)
    assert await store.apply(ConfirmDelivery(command.id, NOW + 4_000)) == ()
    assert await now(store, command) == before


async def test_a_flood_of_replies_that_fit_nothing_is_few_lines(database: Path, log: Log) -> None:
    """All of them are in the ledger; the log counts those that it leaves out."""
    clock = ManualClock()
    async with SqliteStore(database, clock=clock) as store:
        for _ in range(MOST_FROM_DEVICES + 20):
            await store.apply(RecordReply(a_reply("nobody")))
        assert events(log) == ["reply_unmatched"] * MOST_FROM_DEVICES
        clock.advance(1)
        await store.record_unmatched(Unmatched("dock-001", "", "", "why", b"", NOW))
        assert log[-1]["left_out"] == 20
        assert len(await ledger(store)) == MOST_FROM_DEVICES + 21


async def test_the_names_in_the_ledger_are_bounded(store: SqliteStore, log: Log) -> None:
    """A device may put anything into them; there is enough of each to see what it was."""
    await store.apply(RecordReply(a_reply("t" * 1_000_000, method="m" * 1_000_000)))
    (entry,) = await ledger(store)
    assert (entry.tid, entry.method) == ("t" * 200, "m" * 200)
    assert (log[0]["tid"], log[0]["method"]) == (entry.tid, entry.method)


async def test_an_answer_stands_once_however_much_happens_behind_it(
    store: SqliteStore, raw: sqlite3.Connection, told: list[CommandEvent]
) -> None:
    """Each event shows the command with the answer that it had by then, all the same."""
    command = await in_status(store, Status.DELIVERED, job_key="J", **CHARGE)
    early = RecordJob("dock-001", ("charge_open",), "J", a_job(percent=0))
    await store.apply(early)
    await store.apply(RecordReply(a_reply(command.id, {"result": 0, "log": "x" * 10_000})))
    for percent in range(1, 20):
        job = a_job(percent=percent, updated_at=NOW + percent)
        await store.apply(RecordJob("dock-001", ("charge_open",), "J", job))
    (size,) = raw.execute("SELECT sum(length(state)) FROM command_event").fetchone()
    assert size < 10_000
    events = await store.events_of_command("default", command.id, 0, 100)
    assert events == told
    assert [event.command.vendor_response is None for event in events] == [True] * 4 + [False] * 20
