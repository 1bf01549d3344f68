"""Whatever happens to a command, in whatever order: the record stays whole."""

import uuid
from pathlib import Path

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.records import NOW, a_job, a_reply, an_accept

from dockgate_server.model.command import FailureCode, JobState, Status
from dockgate_server.model.lifecycle import is_legal
from dockgate_server.model.transitions import (
    BeginSending,
    ConfirmDelivery,
    Expire,
    RecordJob,
    RecordReply,
    Refuse,
    Transition,
)
from dockgate_server.store.sqlite import SqliteStore

STEPS = st.sampled_from(
    [
        *("begin", "confirm", "refuse", "expire", "succeed", "fail", "odd", "other gateway"),
        *("job", "last job", "reply with job"),
    ]
)


def _transition(step: str, command_id: str, at: int) -> Transition:
    def reply(data: object, **changed: str) -> RecordReply:
        raw = orjson.dumps(data)
        return RecordReply(a_reply(command_id, data, raw_data=raw, received_at=at, **changed))

    def job(state: JobState) -> RecordJob:
        return RecordJob("dock-001", ("charge_open",), command_id, a_job(state, updated_at=at))

    match step:
        case "begin":
            return BeginSending((command_id,), at)
        case "confirm":
            return ConfirmDelivery(command_id, at)
        case "refuse":
            return Refuse(command_id, FailureCode.DEVICE_OFFLINE, "away", at)
        case "expire":
            return Expire((command_id,), at)
        case "succeed":
            return reply({"result": 0, "at": at})
        case "fail":
            return reply({"result": 5, "msg": "no", "at": at})
        case "odd":
            return reply({"at": at}, method="other")
        case "other gateway":
            return reply({"result": 0}, gateway_id="dock-002")
        case "reply with job":
            return reply({"result": 0, "output": {"status": "sent"}, "at": at})
        case "last job":
            return job(JobState.OK)
        case _:
            return job(JobState.IN_PROGRESS)


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEPS, max_size=12), sending=st.booleans())
async def test_any_sequence_of_transitions_leaves_a_whole_record(
    store: SqliteStore, steps: list[str], sending: bool
) -> None:
    """Row and last event agree, revisions have no gap, what is known is never taken back."""
    command_id = str(uuid.uuid4())
    accepted = await store.accept(
        an_accept(id=command_id, command_type="charge_open", job_key=command_id, sending=sending)
    )
    pending = [
        store.apply(_transition(step, command_id, NOW + 1 + number))
        for number, step in enumerate(steps)
        # A delivery without an intent is a bug of the dispatcher, and refused as one.
        if step != "confirm" or sending or "begin" in steps[:number] or "succeed" in steps[:number]
    ]
    for future in pending:
        await future

    events = await store.events_of_command("default", command_id, 0, 1000)
    assert [event.revision for event in events] == list(range(1, len(events) + 1))
    assert events[-1].command == await store.get_command("default", command_id)
    assert events[0].command == accepted.command
    before = None
    for event in events:
        after = event.command
        assert is_legal(event.kind, before and before.status, after.status) or (
            event.kind.name == "SENDING" and after.status is Status.ACCEPTED
        )
        assert event.occurred_at == after.updated_at
        if before is not None:
            assert before.revision + 1 == after.revision
            if before.status.is_end:
                assert (after.status, after.completed_at) == (before.status, before.completed_at)
                assert after.failure_code == before.failure_code
                assert after.completion_basis == before.completion_basis
            if before.vendor_response is not None:
                assert after.vendor_response == before.vendor_response
                assert after.response_received_at == before.response_received_at
            if before.job is not None and before.job.state.is_end:
                assert after.job == before.job
            for once in ("sending_at", "delivered_at"):
                assert getattr(before, once) in (None, getattr(after, once))
        before = after


async def test_numbers_of_commits_have_no_gap_either(tmp_path: Path) -> None:
    """The tail of the hub is whole only if the seqs of events are."""
    told: list[int] = []
    async with SqliteStore(
        tmp_path / "d.db", lambda events: told.extend(event.seq for event in events)
    ) as store:
        for number in range(5):
            accepted = await store.accept(an_accept(str(number), sending=True))
            await store.apply(RecordReply(a_reply(accepted.command.id)))
    assert told == list(range(1, len(told) + 1))
