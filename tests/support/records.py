"""Commands, replies and what can happen to them, in one line each."""

import uuid
from typing import Any

import orjson

from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.command import Command, FailureCode, Job, JobState, Status, Vendor
from dockgate_server.model.reply import Reply
from dockgate_server.model.transitions import (
    Accept,
    BeginSending,
    ConfirmDelivery,
    Expire,
    RecordReply,
    Refuse,
    Unmatched,
)
from dockgate_server.store.sqlite import SqliteStore

NOW = 1_776_859_200_000
"""When commands are accepted here: the time at which a ManualClock begins."""

SETUP_ABORT = "flight_setup_abort"
"""A method that is not safe to repeat and starts no job."""

CHARGE_OPEN = "charge_open"
"""A method that is safe to repeat."""


def an_accept(key: str | None = None, **changed: Any) -> Accept:
    """A submission as the use cases hand it to the store."""
    command_id = str(uuid.uuid4())
    values: dict[str, Any] = {
        "id": command_id,
        "tenant": DEFAULT_TENANT,
        "principal": "tests",
        "idempotency_key": key or command_id,
        "content_hash": b"the content",
        "vendor": Vendor.DJI,
        "device_id": "drone-001",
        "gateway_id": "dock-001",
        "command_type": SETUP_ABORT,
        "data": b"null",
        "timeout_seconds": 30,
        "accepted_at": NOW,
        "deadline_at": NOW + 30_000,
        "job_key": None,
        "sending": False,
        **changed,
    }
    return Accept(**values)


def a_reply(command_id: str, data: object = None, **changed: Any) -> Reply:
    """The dock's answer; success unless told otherwise."""
    data = {"result": 0} if data is None else data
    reply = Reply("dock-001", command_id, None, data, orjson.dumps(data), NOW + 3_000)
    return reply._replace(**changed)


def a_job(state: JobState = JobState.IN_PROGRESS, **changed: Any) -> Job:
    """A report on a job."""
    return Job(**{"state": state, "updated_at": NOW + 4_000, **changed})


async def in_status(store: SqliteStore, status: Status, **changed: Any) -> Command:
    """A new command that has been brought into a status the ordinary way."""
    accepted = await store.accept(an_accept(sending=True, **changed))
    command_id = accepted.command.id
    from_dock = {"gateway_id": accepted.command.gateway_id}
    match status:
        case Status.DELIVERED:
            await store.apply(ConfirmDelivery(command_id, NOW + 1_000))
        case Status.SUCCEEDED:
            await store.apply(RecordReply(a_reply(command_id, **from_dock)))
        case Status.FAILED:
            await store.apply(Refuse(command_id, FailureCode.DEVICE_OFFLINE, "away", NOW + 1_000))
        case Status.TIMED_OUT:
            await store.apply(Expire((command_id,), NOW + 30_000))
        case Status.UNMATCHED_RESPONSE:
            await store.apply(RecordReply(a_reply(command_id, {"result": "odd"}, **from_dock)))
    command = await store.get_command(accepted.command.tenant, command_id)
    assert command is not None
    assert command.status is status
    return command


async def begin_sending(store: SqliteStore, *command_ids: str) -> None:
    """Commit the intent to send."""
    await store.apply(BeginSending(command_ids, NOW + 500))


async def ledger(store: SqliteStore, limit: int = 100) -> list[Unmatched]:
    """The replies that fitted no command, newest first."""
    page = await store.list_unmatched(DEFAULT_TENANT, "", None, limit)
    return list(page.replies)
