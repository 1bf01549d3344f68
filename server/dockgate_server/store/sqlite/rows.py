"""Between rows and the model: the columns of `command`, and the state kept with each event."""

import sqlite3
from itertools import compress, repeat
from operator import attrgetter, is_not, itemgetter
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

_LARGE = [COMMAND_COLUMNS.index(name) for name in ("data", "vendor_response", "sealed")]
_REPLY = EVENT_COLUMNS.index("reply")

large_of_command = itemgetter(*_LARGE)
"""What may be large in a row of `command`: bytes, or None."""

large_of_event = itemgetter(_REPLY, *(len(EVENT_COLUMNS) + one for one in _LARGE))
"""The same in a row of `command_event` and its `command`."""

_FIXED = 14
"""How many of the columns, from the first on, never change; nor do the last ones, but `sealed`."""

_STATE = slice(_FIXED, 28)
"""Where those stand that events change, in a row and in a Command alike."""

_CONTENT_HASH, _OFFLINE_POLICY, _SEALED = -3, -2, -1

_RESPONSE = COMMAND_COLUMNS.index("vendor_response")

_ELSEWHERE = ("revision", "updated_at", "vendor_response")
_KEPT = [name for name in COMMAND_COLUMNS[_STATE] if name not in _ELSEWHERE]
"""Which of these an event keeps in its state: it has columns of its own for the others, and the
device's answer, which may be long, is set once and stands with the command."""

_kept = attrgetter(*_KEPT)

# Asking an Enum for a value costs as much as the rest of a column.
_VENDORS = {one.value: one for one in Vendor}
_CHANNELS = {one.value: one for one in Channel}
_STATUSES = {one.value: one for one in Status}
_BASES: dict[str | None, CompletionBasis | None] = {None: None}
_BASES |= {one.value: one for one in CompletionBasis}
_FAILURES: dict[str | None, FailureCode | None] = {None: None}
_FAILURES |= {one.value: one for one in FailureCode}
_POLICIES = {one.value: one for one in OfflinePolicy}

Row = tuple[Any, ...]


def command(row: Row) -> Command:
    """A row of `command`."""
    return changed(command_at_acceptance(row), (*row[_STATE], row[_SEALED]))


def fixed_columns(command: Command) -> Row:
    """The columns of a command that never change, as SQLite takes them without asking further."""
    *first, vendor, device_id, gateway_id, channel = command[:8]
    # Not `value`, which Python looks up by way of a function.
    return (*first, vendor._value_, device_id, gateway_id, channel._value_, *command[8:_FIXED])


def changed(before: Command, state: Row) -> Command:
    """The command with what a change of it returned: the columns that may change, in order."""
    (status, *times, basis, at, code, message, response, failure, reason, job, sealed) = state
    return Command._make(
        (
            *before[:_FIXED],
            _STATUSES[status],
            *times,
            _BASES[basis],
            at,
            code,
            message,
            response,
            _FAILURES[failure],
            reason,
            None if job is None else _job(orjson.loads(job)),
            sealed,
            before.offline_policy,
        )
    )


def command_at_acceptance(row: Row) -> Command:
    """The command of a row as it was at revision 1, whatever has become of it since."""
    seq, command_id, tenant, principal, vendor, device_id, gateway_id, channel, *rest = row[:_FIXED]
    command_type, data, timeout_seconds, accepted_at, deadline_at, job_key = rest
    return Command(
        seq,
        command_id,
        tenant,
        principal,
        _VENDORS[vendor],
        device_id,
        gateway_id,
        _CHANNELS[channel],
        command_type,
        data,
        timeout_seconds,
        accepted_at,
        deadline_at,
        job_key,
        Status.ACCEPTED,
        1,
        accepted_at,
        sealed=row[_SEALED],
        offline_policy=_POLICIES[row[_OFFLINE_POLICY]],
    )


def content_hash(row: Row) -> bytes:
    """What the submission of a row of `command` said."""
    hashed: bytes = row[_CONTENT_HASH]
    return hashed


def revision(row: Row) -> int:
    """Which revision a row of `command_event` is about."""
    number: int = row[2]
    return number


def event(row: Row) -> CommandEvent:
    """A row of `command_event` joined with its command."""
    seq, _, revision, kind, occurred_at, state, reply, note = row[: len(EVENT_COLUMNS)]
    of_command = row[len(EVENT_COLUMNS) :]
    accepted = command_at_acceptance(of_command)
    values = orjson.loads(state)
    response = None if values.get("response_received_at") is None else of_command[_RESPONSE]
    after = _command_from_state(accepted, revision, occurred_at, values, response)
    return CommandEvent(seq, EventKind(kind), occurred_at, after, reply, note)


def state(command: Command) -> bytes:
    """What an event keeps of the command: its changing columns, without those that are empty."""
    values: Row = _kept(command)
    # Without a loop of ours, as every event comes here.
    filled = map(is_not, values, repeat(None))
    return orjson.dumps(dict(compress(zip(_KEPT, values, strict=True), filled)))


def heard(job: Job | None) -> str | None:
    """What tells one report of a job from another, as SQLite extracts it from the column."""
    if job is None:
        return None
    return orjson.dumps([job.updated_at, job.percent, job.step]).decode()


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
        "device_request": (*DeviceRequest.__slots__, "outgoing", "repeat_key"),
    }
    for table, columns in expected.items():
        if tuple(row[1] for row in db.execute(f"PRAGMA table_info({table})")) != columns:
            raise sqlite3.DatabaseError(f"its table {table} is not the one this program makes")


def _command_from_state(
    accepted: Command,
    revision: int,
    occurred_at: int,
    values: dict[str, Any],
    response: bytes | None,
) -> Command:
    job = values.get("job")
    return accepted._replace(
        status=_STATUSES[values["status"]],
        revision=revision,
        updated_at=occurred_at,
        sending_at=values.get("sending_at"),
        delivered_at=values.get("delivered_at"),
        completed_at=values.get("completed_at"),
        completion_basis=_BASES[values.get("completion_basis")],
        response_received_at=values.get("response_received_at"),
        response_code=values.get("response_code"),
        response_message=values.get("response_message"),
        vendor_response=response,
        failure_code=_FAILURES[values.get("failure_code")],
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
