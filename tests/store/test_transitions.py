"""Each transition's guard, in each status, against the real database."""

import itertools
import sqlite3
from collections.abc import Callable
from typing import get_args

import pytest
from support.records import NOW, a_job, a_reply, an_accept, begin_sending, in_status

from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.command import (
    Command,
    CommandEvent,
    CompletionBasis,
    EventKind,
    FailureCode,
    Status,
)
from dockgate_server.model.lifecycle import EXPIRY_REASONS, RECORDED_WITHOUT_CHANGE, is_legal
from dockgate_server.model.transitions import (
    BeginSending,
    Cancel,
    CompleteSend,
    ConfirmDelivery,
    Expire,
    RecordJob,
    RecordReply,
    Refuse,
    StallJob,
    TakeBack,
    Transition,
)
from dockgate_server.store.sqlite import SqliteStore
from dockgate_server.store.sqlite.changes import CHANGES

AT = NOW + 60_000

CAUSES: dict[EventKind, list[Callable[[Command], Transition]]] = {
    EventKind.SENDING: [lambda c: BeginSending((c.id,), AT)],
    EventKind.NOT_SENT: [lambda c: TakeBack((c.id,), "nobody listened", AT)],
    EventKind.CANCELLED: [lambda c: Cancel(c.id, AT)],
    EventKind.DELIVERED: [lambda c: ConfirmDelivery(c.id, AT)],
    EventKind.REPLIED: [
        lambda c: RecordReply(a_reply(c.id)),
        lambda c: RecordReply(a_reply(c.id, {"result": 5001, "message": "camera busy"})),
    ],
    EventKind.UNMATCHED_REPLY: [lambda c: RecordReply(a_reply(c.id, method="charge_close"))],
    EventKind.EXPIRED: [lambda c: Expire((c.id,), AT)],
    EventKind.REFUSED: [lambda c: Refuse(c.id, FailureCode.DEVICE_OFFLINE, "away", AT)],
    EventKind.SENT: [lambda c: CompleteSend(c.id, AT)],
    EventKind.JOB_STALLED: [lambda c: StallJob(c.id, None, AT)],
    EventKind.JOB_PROGRESSED: [
        lambda c: RecordJob(c.gateway_id, (c.command_type,), c.job_key or "", a_job())
    ],
}
"""What brings each kind of event about. ACCEPTED, the first, cannot happen to a command."""


async def now(store: SqliteStore, command: Command) -> Command:
    """The command as it is now."""
    found = await store.get_command(command.tenant, command.id)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", CAUSES)
async def test_the_database_agrees_with_the_table_of_the_lifecycle(
    store: SqliteStore, kind: EventKind
) -> None:
    """Every kind of event on every status: the table, the guards and the constraints are one."""
    for status, cause in itertools.product(Status, CAUSES[kind]):
        before = await in_status(store, status, job_key=f"the job of {status}")
        if kind in (EventKind.SENDING, EventKind.CANCELLED) and status is Status.ACCEPTED:
            before = (await store.accept(an_accept(job_key="another job"))).command
        events = await store.apply(cause(before))
        after = await now(store, before)
        ways = [one for one in Status if is_legal(kind, status, one)]
        if events:
            (event,) = events
            assert event.kind is kind
            assert event.command == after
            assert after.status in ways
            assert after.revision == before.revision + 1
        else:
            assert after == before
            assert kind not in RECORDED_WITHOUT_CHANGE
            assert ways == []


def test_every_transition_is_driven_here() -> None:
    """A new one must join the table above."""
    sample = Command(**dict.fromkeys(Command._fields))  # type: ignore[arg-type]
    causes = {type(c(sample)) for cs in CAUSES.values() for c in cs}
    assert causes == set(get_args(Transition))
    assert set(CHANGES) <= causes


async def test_an_acceptance_is_the_first_revision(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """Without the intent to send unless it was asked for."""
    accepted = await store.accept(an_accept("k"))
    assert not accepted.replayed
    assert [(event.kind, event.revision) for event in told] == [(EventKind.ACCEPTED, 1)]
    command = await now(store, accepted.command)
    assert command == accepted.command == told[0].command
    assert (command.status, command.revision, command.sending_at) == (Status.ACCEPTED, 1, None)


async def test_an_acceptance_with_a_place_commits_the_intent_with_it(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """Two events, one commit; the answer is the command as it was at acceptance."""
    accepted = await store.accept(an_accept("k", sending=True))
    assert [event.kind for event in told] == [EventKind.ACCEPTED, EventKind.SENDING]
    assert (accepted.command.revision, accepted.command.sending_at) == (1, None)
    assert (await now(store, accepted.command)).sending_at == NOW


async def test_the_intent_is_committed_once(store: SqliteStore) -> None:
    """Whoever gets no event back must not send."""
    one = (await store.accept(an_accept())).command
    two = (await store.accept(an_accept(sending=True))).command
    gone = await in_status(store, Status.TIMED_OUT)
    events = await store.apply(BeginSending((one.id, two.id, gone.id, "no such"), NOW + 9))
    assert [event.command.id for event in events] == [one.id]
    assert await store.apply(BeginSending((one.id,), NOW + 10)) == ()
    assert (await now(store, one)).sending_at == NOW + 9


async def test_a_delivery_has_its_time(store: SqliteStore) -> None:
    """The broker's word ends nothing."""
    command = await in_status(store, Status.DELIVERED)
    assert (command.delivered_at, command.updated_at) == (NOW + 1_000, NOW + 1_000)
    assert (command.completed_at, command.completion_basis) == (None, None)


async def test_a_delivery_of_what_was_never_meant_to_leave_cannot_be_recorded(
    store: SqliteStore, raw: sqlite3.Connection
) -> None:
    """Intent before publish: the constraint makes the other order impossible."""
    command = (await store.accept(an_accept())).command
    with pytest.raises(sqlite3.IntegrityError, match="delivered_has_a_time"):
        await store.apply(ConfirmDelivery(command.id, AT))
    assert (await now(store, command)).status is Status.ACCEPTED


@pytest.mark.parametrize("before", [Status.ACCEPTED, Status.DELIVERED])
async def test_an_answer_ends_a_command(store: SqliteStore, before: Status) -> None:
    """It may overtake the acknowledgement, which is then known to have come with it."""
    command = await in_status(store, before)
    await store.apply(RecordReply(a_reply(command.id, {"result": 0, "output": {"a": [1, 2.0]}})))
    after = await now(store, command)
    assert after.status is Status.SUCCEEDED
    assert after.completion_basis is CompletionBasis.DEVICE_REPLY
    assert (after.response_code, after.response_message) == ("0", None)
    assert after.vendor_response == b'{"result":0,"output":{"a":[1,2.0]}}'
    assert after.response_received_at == after.completed_at == after.updated_at == NOW + 3_000
    assert after.delivered_at == (command.delivered_at or NOW + 3_000)
    assert (after.failure_code, after.failure_reason) == (None, None)


async def test_a_device_that_refuses_fails_the_command_in_its_own_words(
    store: SqliteStore,
) -> None:
    """The whole reply is kept beside them."""
    command = await in_status(store, Status.DELIVERED)
    data = {"result": 5001, "code": 5001, "message": "camera busy", "detail": "busy"}
    await store.apply(RecordReply(a_reply(command.id, data)))
    after = await now(store, command)
    assert (after.status, after.failure_code) == (
        Status.FAILED,
        FailureCode.DEVICE_EXECUTION_FAILED,
    )
    assert (after.response_code, after.response_message) == ("5001", "camera busy")
    assert after.failure_reason == "camera busy"
    assert after.vendor_response == (
        b'{"result":5001,"code":5001,"message":"camera busy","detail":"busy"}'
    )


async def test_a_device_without_words_fails_the_command_by_its_number(store: SqliteStore) -> None:
    """There is always a reason, also for numbers that no document lists."""
    command = await in_status(store, Status.DELIVERED)
    await store.apply(RecordReply(a_reply(command.id, {"result": 987_654_321})))
    after = await now(store, command)
    assert after.failure_reason == "the device answered with result 987654321"


async def test_a_refusal_has_code_and_reason(store: SqliteStore) -> None:
    """It rests on nothing that a device said."""
    command = (await store.accept(an_accept())).command
    await store.apply(Refuse(command.id, FailureCode.EXPIRY_UNSUPPORTED, "why", AT))
    after = await now(store, command)
    assert (after.status, after.failure_code, after.failure_reason, after.completed_at) == (
        Status.FAILED,
        FailureCode.EXPIRY_UNSUPPORTED,
        "why",
        AT,
    )
    assert (after.completion_basis, after.response_received_at) == (None, None)


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        (0, FailureCode.DELIVERY_TIMEOUT),
        (1, FailureCode.OUTCOME_UNKNOWN),
        (2, FailureCode.RESPONSE_TIMEOUT),
    ],
)
async def test_a_timeout_says_how_far_the_command_had_come(
    store: SqliteStore, steps: int, code: FailureCode
) -> None:
    """Never sent, perhaps sent, taken by the broker."""
    command = (await store.accept(an_accept())).command
    if steps > 0:
        await begin_sending(store, command.id)
    if steps > 1:
        await store.apply(ConfirmDelivery(command.id, NOW + 900))
    await store.apply(Expire((command.id,), AT))
    after = await now(store, command)
    assert (after.status, after.failure_code) == (Status.TIMED_OUT, code)
    assert after.failure_reason == EXPIRY_REASONS[code]
    assert (after.completed_at, after.completion_basis) == (AT, None)


async def test_deadlines_pass_together_each_by_its_own_guard(store: SqliteStore) -> None:
    """One that has ended meanwhile is left alone."""
    open_one = await in_status(store, Status.ACCEPTED)
    done = await in_status(store, Status.SUCCEEDED)
    other = await in_status(store, Status.DELIVERED)
    events = await store.apply(Expire((open_one.id, done.id, other.id), AT))
    assert [event.command.id for event in events] == [open_one.id, other.id]
    assert await now(store, done) == done


@pytest.mark.parametrize("end", [status for status in Status if status.is_end])
async def test_an_end_is_final_also_against_sql(
    store: SqliteStore, raw: sqlite3.Connection, end: Status
) -> None:
    """The trigger stands behind every guard that somebody may forget."""
    command = await in_status(store, end)
    change = "UPDATE command SET status = ?, revision = revision + 1 WHERE id = ?"
    for other in set(Status) - {end}:
        with pytest.raises(sqlite3.IntegrityError, match="the end of a command is final"):
            raw.execute(change, (other, command.id))
    raw.execute(change, (end, command.id))


@pytest.mark.parametrize("step", [0, 2, -1])
async def test_a_change_without_the_next_revision_is_impossible(
    store: SqliteStore, raw: sqlite3.Connection, step: int
) -> None:
    """A watcher's cursor rests on revisions without gaps."""
    command = await in_status(store, Status.ACCEPTED)
    with pytest.raises(sqlite3.IntegrityError, match="takes the next revision"):
        raw.execute(
            "UPDATE command SET updated_at = 1, revision = revision + ? WHERE id = ?",
            (step, command.id),
        )


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("status = 'LOST'", "status_is_known"),
        ("status = 'UNMATCHED_RESPONSE'", "ends_have_a_time"),
        ("completed_at = 1", "ends_have_a_time"),
        ("status = 'FAILED', completed_at = 1", "failures_have_a_code"),
        ("failure_code = 'DEVICE_OFFLINE'", "failures_have_a_code"),
        ("status = 'DELIVERED'", "delivered_has_a_time"),
        ("status = 'SUCCEEDED', completed_at = 1", "success_rests_on_something"),
    ],
)
async def test_a_record_that_contradicts_itself_is_impossible(
    store: SqliteStore, raw: sqlite3.Connection, change: str, constraint: str
) -> None:
    """Each named constraint, one at a time."""
    command = await in_status(store, Status.ACCEPTED)
    with pytest.raises(sqlite3.IntegrityError, match=constraint):
        raw.execute(
            f"UPDATE command SET {change}, revision = revision + 1 WHERE id = ?", (command.id,)
        )


async def test_a_change_to_no_command_is_no_change(store: SqliteStore) -> None:
    """An answer, not an error."""
    nothing: list[Transition] = [
        BeginSending((), AT),
        ConfirmDelivery("none", AT),
        Refuse("none", FailureCode.DEVICE_OFFLINE, "", AT),
        Expire(("none",), AT),
        RecordJob("dock-001", ("charge_open",), "none", a_job()),
    ]
    for transition in nothing:
        assert await store.apply(transition) == ()
    assert await store.get_command(DEFAULT_TENANT, "none") is None
