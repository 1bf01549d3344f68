"""The changes of ``model/transitions.py`` as SQL: a guarded update and its event, together.

Each function works inside the writer's transaction and answers with the events it caused. What
a reply does to a command is decided here and nowhere else.
"""

import json
from collections.abc import Callable
from typing import Any

import structlog

from dockgate_server.codec import channels, error_codes
from dockgate_server.model import lifecycle, transitions
from dockgate_server.model import reply as replies
from dockgate_server.model.command import (
    Channel,
    Command,
    CommandEvent,
    EventKind,
    FailureCode,
    Status,
)
from dockgate_server.model.job import read_job
from dockgate_server.store.sqlite import rows
from dockgate_server.store.sqlite.queries import COMMANDS, LEDGER
from dockgate_server.store.sqlite.writer import Transaction

_log = structlog.get_logger(__name__)

LEDGER_LIMIT = 10_000
"""How many replies that fit no command are kept."""

LEDGER_BYTES = 16_384
"""How much of each is kept: enough to see what it was."""

NOTED_REPLIES = 50
"""How many replies to one command are noted; further ones leave no trace on it."""


def accept(tx: Transaction, new: transitions.Accept) -> transitions.Accepted:
    """Insert the command, with the intent to send if it has a place in the publish window."""
    columns = {field: getattr(new, field) for field in new.__slots__ if field != "sending"}
    row = tx.db.execute(COMMANDS["insert_command"], columns).fetchone()
    if row is None:
        key = {"tenant": new.tenant, "idempotency_key": new.idempotency_key}
        return accepted(tx.db.execute(COMMANDS["get_command_by_key"], key).fetchone(), True)
    event = record(tx, row, EventKind.ACCEPTED, new.accepted_at)
    if new.sending:
        begin_sending(tx, transitions.BeginSending((new.id,), new.accepted_at))
    return transitions.Accepted(event.command, new.content_hash, replayed=False)


def accepted(row: rows.Row, replayed: bool) -> transitions.Accepted:
    """A stored command as the answer to a submission."""
    return transitions.Accepted(rows.command_at_acceptance(row), rows.content_hash(row), replayed)


def begin_sending(tx: Transaction, change: transitions.BeginSending) -> None:
    """ACCEPTED stays ACCEPTED, but from here on the message may have left."""
    for command_id in change.ids:
        values = {"id": command_id, "at": change.at}
        _update(tx, "begin_sending", values, EventKind.SENDING, change.at)


def take_back(tx: Transaction, change: transitions.TakeBack) -> None:
    """ACCEPTED stays ACCEPTED, and has certainly reached nobody."""
    for command_id in change.ids:
        values = {"id": command_id, "at": change.at}
        _update(tx, "take_back", values, EventKind.NOT_SENT, change.at, change.reason)


def cancel(tx: Transaction, change: transitions.Cancel) -> None:
    """ACCEPTED → FAILED, as long as nothing was sent."""
    values = {"id": change.id, "reason": lifecycle.CANCELLED_REASON, "at": change.at}
    _update(tx, "cancel", values, EventKind.CANCELLED, change.at)


def confirm_delivery(tx: Transaction, change: transitions.ConfirmDelivery) -> None:
    """ACCEPTED → DELIVERED."""
    values = {"id": change.id, "at": change.at}
    _update(tx, "confirm_delivery", values, EventKind.DELIVERED, change.at)


def complete_send(tx: Transaction, change: transitions.CompleteSend) -> None:
    """ACCEPTED → SUCCEEDED, on nothing but the sending."""
    values = {"id": change.id, "at": change.at}
    _update(tx, "complete_send", values, EventKind.SENT, change.at)


def refuse(tx: Transaction, change: transitions.Refuse) -> None:
    """ACCEPTED → FAILED."""
    values = {"id": change.id, "code": change.code, "reason": change.reason, "at": change.at}
    _update(tx, "refuse", values, EventKind.REFUSED, change.at)


def expire(tx: Transaction, change: transitions.Expire) -> None:
    """ACCEPTED, DELIVERED → TIMED_OUT."""
    reasons = {code.lower(): text for code, text in lifecycle.EXPIRY_REASONS.items()}
    values = {"ids": json.dumps(change.ids), "at": change.at, **reasons}
    rows_ended = tx.db.execute(COMMANDS["expire"], values).fetchall()
    record_all(tx, rows_ended, EventKind.EXPIRED, change.at)


def record_reply(tx: Transaction, change: transitions.RecordReply) -> None:
    """Find the reply's command and let the reply end it, be noted on it, or go to the ledger."""
    reply = change.reply
    row = _command_of(tx, change)
    if row is None:
        _to_ledger(tx, reply, "no command has this tid, or this method and sequence number")
        return
    command = rows.command(row)
    if command.gateway_id != reply.gateway_id:
        _to_ledger(tx, reply, f"the command went to gateway {command.gateway_id!r}")
        return
    why = replies.mismatch(command, reply)
    if why is not None:
        _to_ledger(tx, reply, why)
        _record_odd_reply(tx, command, reply, why)
    else:
        _record_answer(tx, command, reply)


def record_job(tx: Transaction, change: transitions.RecordJob) -> None:
    """The newest command that started this job takes the report."""
    key = {"gateway_id": change.gateway_id, "job_key": change.job_key}
    for seq, command_type in tx.db.execute(COMMANDS["find_job"], key):
        if command_type in change.methods:
            values = {"seq": seq, "job": rows.job_text(change.job), "at": change.job.updated_at}
            kind = EventKind.JOB_PROGRESSED
            _update(tx, "record_job", values, kind, change.job.updated_at)
            return


def stall_job(tx: Transaction, change: transitions.StallJob) -> None:
    """The job's state becomes STALLED; what was known of it stays."""
    values = {"id": change.id, "heard_at": change.heard_at, "at": change.at}
    _update(tx, "stall_job", values, EventKind.JOB_STALLED, change.at)


def put_unmatched(tx: Transaction, unmatched: transitions.Unmatched) -> None:
    """Write a reply into the ledger and drop the oldest beyond its limit."""
    about = {"gateway": unmatched.gateway_id, "tid": unmatched.tid, "method": unmatched.method}
    _log.warning("reply_unmatched", **about, reason=unmatched.reason)
    values = {name: getattr(unmatched, name) for name in unmatched.__slots__}
    values["data"] = unmatched.data[:LEDGER_BYTES]
    (seq,) = tx.db.execute(LEDGER["insert_unmatched"], values).fetchone()
    tx.db.execute(LEDGER["trim_unmatched"], {"up_to": seq - LEDGER_LIMIT})


CHANGES: dict[type, Callable[[Transaction, Any], None]] = {
    transitions.BeginSending: begin_sending,
    transitions.TakeBack: take_back,
    transitions.Cancel: cancel,
    transitions.ConfirmDelivery: confirm_delivery,
    transitions.CompleteSend: complete_send,
    transitions.Refuse: refuse,
    transitions.Expire: expire,
    transitions.RecordReply: record_reply,
    transitions.RecordJob: record_job,
    transitions.StallJob: stall_job,
}
"""What makes each change."""


def _record_answer(tx: Transaction, command: Command, reply: replies.Reply) -> None:
    outcome = replies.read_outcome(reply.data, reply.channel)
    assert outcome is not None, "mismatch() has made sure of it"
    failed = not outcome.succeeded
    words = outcome.message or error_codes.sentence(outcome.result)
    job = None if command.job_key is None else read_job(reply.data, reply.received_at)
    values = {
        "id": command.id,
        "at": reply.received_at,
        "code": outcome.code,
        "message": outcome.message,
        "data": reply.raw_data,
        "job": rows.job_text(job),
        "status": Status.FAILED if failed else Status.SUCCEEDED,
        "failure_code": FailureCode.DEVICE_EXECUTION_FAILED if failed else None,
        "failure_reason": words if failed else None,
        "limit": NOTED_REPLIES,
    }
    at = reply.received_at
    if _update(tx, "end_by_reply", values, EventKind.REPLIED, at):
        return
    if _update(tx, "record_late_reply", values, EventKind.REPLIED, at, "after the end"):
        return
    note = "a further reply; it changes nothing"
    _update(tx, "note_reply", values, EventKind.REPLIED, at, note, reply.raw_data)


def _record_odd_reply(tx: Transaction, command: Command, reply: replies.Reply, why: str) -> None:
    at = reply.received_at
    values = {"id": command.id, "at": at, "limit": NOTED_REPLIES}
    for query in ("end_unmatched", "note_reply"):
        if _update(tx, query, values, EventKind.UNMATCHED_REPLY, at, why, reply.raw_data):
            return


def _command_of(tx: Transaction, change: transitions.RecordReply) -> rows.Row | None:
    """The row of the command that the reply names."""
    reply = change.reply
    if reply.channel is not Channel.DRC:
        query = "get_command_of_any_tenant"
    elif reply.seq is not None and channels.has_sequence_number(reply.method or ""):
        query = "get_command_by_drc_seq"
    else:
        # A method without a number, or an answer that left it out: only if it is clear whose.
        query = "get_outstanding_drc_commands"
    values = {
        "id": reply.tid,
        "seq": reply.seq,
        "gateway_id": reply.gateway_id,
        "command_type": reply.method,
        "among": json.dumps(change.among),
    }
    found: list[rows.Row] = tx.db.execute(COMMANDS[query], values).fetchall()
    return found[0] if len(found) == 1 else None


def _to_ledger(tx: Transaction, reply: replies.Reply, reason: str) -> None:
    unmatched = transitions.Unmatched(
        gateway_id=reply.gateway_id,
        tid=reply.tid,
        method=reply.method or "",
        reason=reason,
        data=reply.raw_data,
        received_at=reply.received_at,
    )
    put_unmatched(tx, unmatched)


def record_all(tx: Transaction, changed: list[rows.Row], kind: EventKind, at: int) -> None:
    """The same event for many commands, in one statement."""
    if not changed:
        return
    commands = [rows.command(row) for row in changed]
    values = [(one.seq, one.revision, kind, at, rows.state(one), None, "") for one in commands]
    tx.db.executemany(COMMANDS["insert_event"], values)
    (last,) = tx.db.execute(COMMANDS["newest_event_seq"]).fetchone()
    # Nobody else writes, so their numbers follow each other.
    first = last - len(commands) + 1
    tx.events += [CommandEvent(first + n, kind, at, one) for n, one in enumerate(commands)]


def _update(
    tx: Transaction,
    query: str,
    values: dict[str, Any],
    kind: EventKind,
    at: int,
    note: str = "",
    reply: bytes | None = None,
) -> CommandEvent | None:
    """Run a guarded update; record its event, or answer None where the guard did not hold."""
    row = tx.db.execute(COMMANDS[query], values).fetchone()
    return None if row is None else record(tx, row, kind, at, note, reply)


def record(
    tx: Transaction,
    row: rows.Row,
    kind: EventKind,
    at: int,
    note: str = "",
    reply: bytes | None = None,
) -> CommandEvent:
    """Append the event of a change that has been made to the row of a command."""
    command = rows.command(row)
    values = (command.seq, command.revision, kind, at, rows.state(command), reply, note)
    seq = tx.db.execute(COMMANDS["insert_event"], values).lastrowid
    assert seq is not None, "SQLite numbers every row it inserts"
    event = CommandEvent(seq, kind, at, command, reply, note)
    tx.events.append(event)
    return event
