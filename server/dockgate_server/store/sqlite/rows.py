"""Between rows and the model: the columns of `command`, and the state kept with each event."""

import sqlite3
from typing import Any

import orjson

from dockgate_server.model.command import (
    Channel,
    Command,
    CommandEvent,
    CompletionBasis,
    EventKind,
    FailureCode,
    Job,
    JobState,
    OfflinePolicy,
    Status,
    Vendor,
)
from dockgate_server.model.device_request import DeviceRequest
from dockgate_server.store.interface import Credential

COMMAND_COLUMNS = (
    *("seq", "id", "tenant", "principal", "vendor", "device_id", "gateway_id", "channel"),
    *("command_type", "data", "timeout_seconds", "accepted_at", "deadline_at", "job_key"),
    *("status", "revision", "updated_at", "sending_at", "delivered_at", "completed_at"),
    *("completion_basis", "response_received_at", "response_code", "response_message"),
    *("vendor_response", "failure_code", "failure_reason", "job"),
    *("idempotency_key", "content_hash", "offline_policy", "sealed"),
)
"""The columns of ``SELECT * FROM command``; checked against the database when it is opened."""

EVENT_COLUMNS = (
    *("seq", "command_seq", "revision", "kind", "occurred_at", "state", "reply", "note"),
)

_FIXED = 14
"""How many of the columns, from the first on, never change; nor do the last ones, but `sealed`."""

_CONTENT_HASH, _OFFLINE_POLICY, _SEALED = -3, -2, -1

Row = tuple[Any, ...]


def command(row: Row) -> Command:
    """A row of `command`."""
    (
        *_,
        status,
        revision,
        updated_at,
        sending_at,
        delivered_at,
        completed_at,
        basis,
        response_received_at,
        response_code,
        response_message,
        vendor_response,
        failure_code,
        failure_reason,
        job,
        _key,
        _hash,
        _policy,
        _sealed,
    ) = row
    return Command(
        **_fixed(row),
        status=Status(status),
        revision=revision,
        updated_at=updated_at,
        sending_at=sending_at,
        delivered_at=delivered_at,
        completed_at=completed_at,
        completion_basis=CompletionBasis(basis) if basis else None,
        response_received_at=response_received_at,
        response_code=response_code,
        response_message=response_message,
        vendor_response=vendor_response,
        failure_code=FailureCode(failure_code) if failure_code else None,
        failure_reason=failure_reason,
        job=_job(orjson.loads(job)) if job else None,
    )


def command_at_acceptance(row: Row) -> Command:
    """The command of a row as it was at revision 1, whatever has become of it since."""
    fixed = _fixed(row)
    return Command(**fixed, status=Status.ACCEPTED, revision=1, updated_at=fixed["accepted_at"])


def content_hash(row: Row) -> bytes:
    """What the submission of a row of `command` said."""
    hashed: bytes = row[_CONTENT_HASH]
    return hashed


def event(row: Row) -> CommandEvent:
    """A row of `command_event` joined with its command."""
    seq, _, revision, kind, occurred_at, state, reply, note = row[: len(EVENT_COLUMNS)]
    fixed = _fixed(row[len(EVENT_COLUMNS) :])
    after = _command_from_state(fixed, revision, occurred_at, orjson.loads(state))
    return CommandEvent(seq, EventKind(kind), occurred_at, after, reply, note)


def state(command: Command) -> bytes:
    """What an event keeps of the command: its changing columns, without those that are empty."""
    response = command.vendor_response
    values = {
        "status": command.status,
        "sending_at": command.sending_at,
        "delivered_at": command.delivered_at,
        "completed_at": command.completed_at,
        "completion_basis": command.completion_basis,
        "response_received_at": command.response_received_at,
        "response_code": command.response_code,
        "response_message": command.response_message,
        "vendor_response": None if response is None else orjson.Fragment(response),
        "failure_code": command.failure_code,
        "failure_reason": command.failure_reason,
        "job": command.job,
    }
    return orjson.dumps({name: value for name, value in values.items() if value is not None})


def job_text(job: Job | None) -> str | None:
    """A job as the text of its column."""
    return None if job is None else orjson.dumps(job).decode()


def check_columns(db: sqlite3.Connection) -> None:
    """Make sure that the tables have the columns that the program reads.

    Raises:
        sqlite3.DatabaseError: They have not: an unreleased version of the program made them.
    """
    expected = {
        "command": COMMAND_COLUMNS,
        "command_event": EVENT_COLUMNS,
        "credential": tuple(Credential.__slots__),
        "device_request": (*DeviceRequest.__slots__, "outgoing"),
    }
    for table, columns in expected.items():
        if tuple(row[1] for row in db.execute(f"PRAGMA table_info({table})")) != columns:
            raise sqlite3.DatabaseError(f"its table {table} is not the one this program makes")


def _fixed(row: Row) -> dict[str, Any]:
    """What no event changes of a row of `command`."""
    fixed = dict(zip(COMMAND_COLUMNS[:_FIXED], row[:_FIXED], strict=True))
    fixed["vendor"] = Vendor(fixed["vendor"])
    fixed["channel"] = Channel(fixed["channel"])
    fixed["offline_policy"] = OfflinePolicy(row[_OFFLINE_POLICY])
    fixed["sealed"] = row[_SEALED]
    return fixed


def _command_from_state(
    fixed: dict[str, Any], revision: int, occurred_at: int, values: dict[str, Any]
) -> Command:
    response = values.get("vendor_response")
    basis, failure_code = values.get("completion_basis"), values.get("failure_code")
    job = values.get("job")
    return Command(
        **fixed,
        status=Status(values["status"]),
        revision=revision,
        updated_at=occurred_at,
        sending_at=values.get("sending_at"),
        delivered_at=values.get("delivered_at"),
        completed_at=values.get("completed_at"),
        completion_basis=CompletionBasis(basis) if basis else None,
        response_received_at=values.get("response_received_at"),
        response_code=values.get("response_code"),
        response_message=values.get("response_message"),
        vendor_response=None if response is None else orjson.dumps(response),
        failure_code=FailureCode(failure_code) if failure_code else None,
        failure_reason=values.get("failure_reason"),
        job=None if job is None else _job(job),
    )


def _job(values: dict[str, Any]) -> Job:
    return Job(
        state=JobState(values["state"]),
        updated_at=values["updated_at"],
        percent=values.get("percent"),
        step=values.get("step", ""),
        result=values.get("result"),
        break_reason=values.get("break_reason"),
    )
