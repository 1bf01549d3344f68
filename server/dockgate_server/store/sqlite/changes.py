"""The changes of ``model/transitions.py`` as SQL: a guarded update and its event, together.

Each function works inside the writer's transaction. What happens in every life is made for many
commands at once. What a reply does to a command is decided here and nowhere else.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import structlog

from dockgate_server.codec import channels, error_codes
from dockgate_server.codec.envelope import LONGEST_NAME
from dockgate_server.model import lifecycle, transitions
from dockgate_server.model import reply as replies
from dockgate_server.model.command import (
    Channel,
    Command,
    EventKind,
    FailureCode,
    Status,
)
from dockgate_server.model.job import read_job
from dockgate_server.store.sqlite import rows
from dockgate_server.store.sqlite.queries import COMMANDS, LEDGER, run_for_all
from dockgate_server.store.sqlite.together import Made, Together
from dockgate_server.store.sqlite.transaction import Fact, Transaction

_log = structlog.get_logger(__name__)

LEDGER_LIMIT = 10_000
"""How many replies that fit no command are kept."""

LEDGER_BYTES = 16_384
"""How much of each is kept: enough to see what it was."""

NOTED_REPLIES = 50
"""How many replies to one command are noted; further ones leave no trace on it."""

# Looked up once: Python does that by way of a function each time.
_SUCCEEDED, _FAILED = Status.SUCCEEDED.value, Status.FAILED.value
_EXECUTION_FAILED = FailureCode.DEVICE_EXECUTION_FAILED.value
_REPLIED, _DELIVERED, _SENDING = EventKind.REPLIED, EventKind.DELIVERED, EventKind.SENDING

_EXPIRY_REASONS = {code.lower(): text for code, text in lifecycle.EXPIRY_REASONS.items()}


def begin_sending(tx: Transaction, begun: Sequence[transitions.BeginSending]) -> list[Made]:
    """ACCEPTED stays ACCEPTED, but from here on the message may have left."""
    made = []
    for change in begun:
        facts = _advance(tx, "begin_sending", {"at": change.at}, change.ids, _SENDING)
        made.append(Made([*facts.values()]))
    return made


def confirm_delivery(
    tx: Transaction, confirmed: Sequence[transitions.ConfirmDelivery]
) -> list[Made]:
    """ACCEPTED → DELIVERED."""
    facts: dict[str, Fact] = {}
    for at, same in itertools.groupby(confirmed, lambda one: one.at):
        ids = [one.id for one in same]
        facts |= _advance(tx, "confirm_delivery", {"at": at}, ids, _DELIVERED)
    return [Made([facts[one.id]] if one.id in facts else ()) for one in confirmed]


def take_back(tx: Transaction, change: transitions.TakeBack) -> None:
    """ACCEPTED stays ACCEPTED, and has certainly reached nobody."""
    for command_id in change.ids:
        values = {"id": command_id, "at": change.at}
        _update(tx, "take_back", values, EventKind.NOT_SENT, change.at, change.reason)


def cancel(tx: Transaction, change: transitions.Cancel) -> None:
    """ACCEPTED → FAILED, as long as nothing was sent."""
    values = {"id": change.id, "reason": lifecycle.CANCELLED_REASON, "at": change.at}
    _update(tx, "cancel", values, EventKind.CANCELLED, change.at)


def complete_send(tx: Transaction, change: transitions.CompleteSend) -> None:
    """ACCEPTED → SUCCEEDED, on nothing but the sending."""
    values = {"id": change.id, "at": change.at}
    _update(tx, "complete_send", values, EventKind.SENT, change.at)


def refuse(tx: Transaction, change: transitions.Refuse) -> None:
    """ACCEPTED → FAILED."""
    values = {"id": change.id, "code": change.code, "reason": change.reason, "at": change.at}
    _update(tx, "refuse", values, EventKind.REFUSED, change.at)


def expire(tx: Transaction, change: transitions.Expire) -> None:
    """ACCEPTED, DELIVERED → TIMED_OUT; all at once, so in the order accepted."""
    values = {"at": change.at, **_EXPIRY_REASONS}
    facts = _advance(tx, "expire", values, change.ids, EventKind.EXPIRED)
    for fact in sorted(facts.values(), key=lambda one: one.command.seq):
        tx.record(fact)


def record_replies(tx: Transaction, recorded: Sequence[transitions.RecordReply]) -> list[Made]:
    """Let each reply end its command, be noted on it, or go to the ledger."""
    commands = tx.known([change.reply.tid for change in recorded])
    found = [(change.reply, commands.get(change.reply.tid)) for change in recorded]
    return [Made(() if fact is None else (fact,)) for fact in _take_replies(tx, found)]


def record_drc_reply(tx: Transaction, change: transitions.RecordReply) -> None:
    """The same, with the command that has the reply's number or must be meant."""
    (fact,) = _take_replies(tx, [(change.reply, _command_of(tx, change))])
    if fact is not None:
        tx.record(fact)


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
    values = {"id": change.id, "heard": rows.heard(change.heard), "at": change.at}
    _update(tx, "stall_job", values, EventKind.JOB_STALLED, change.at)


def put_unmatched(tx: Transaction, unmatched: transitions.Unmatched) -> None:
    """Write a reply into the ledger and drop the oldest beyond its limit."""
    tid, method = unmatched.tid[:LONGEST_NAME], unmatched.method[:LONGEST_NAME]
    about = {"gateway": unmatched.gateway_id, "tid": tid, "method": method}
    tx.unmatched.write(_log.warning, "reply_unmatched", **about, reason=unmatched.reason)
    kept = {"tid": tid, "method": method, "data": unmatched.data[:LEDGER_BYTES]}
    values = unmatched._asdict() | kept
    (seq,) = tx.db.execute(LEDGER["insert_unmatched"], values).fetchone()
    tx.db.execute(LEDGER["trim_unmatched"], {"up_to": seq - LEDGER_LIMIT})


CHANGES: dict[type, Callable[[Transaction, Any], None]] = {
    transitions.TakeBack: take_back,
    transitions.Cancel: cancel,
    transitions.CompleteSend: complete_send,
    transitions.Refuse: refuse,
    transitions.Expire: expire,
    transitions.RecordReply: record_drc_reply,
    transitions.RecordJob: record_job,
    transitions.StallJob: stall_job,
}
"""What makes each change that is made alone."""


def together(change: transitions.Transition) -> Together | None:
    """The change as one of many that are made at once, if it is of such a kind."""
    match change:
        case transitions.BeginSending(ids, _):
            return Together(1, begin_sending, ids, change)
        case transitions.ConfirmDelivery(command_id, _):
            return Together(2, confirm_delivery, (command_id,), change)
        case transitions.RecordReply(reply, _) if reply.channel is not Channel.DRC:
            return Together(3, record_replies, (reply.tid,), change)
    return None


def _take_replies(
    tx: Transaction, found: Sequence[tuple[replies.Reply, Command | None]]
) -> list[Fact | None]:
    """What replies do to what may be their commands, each of which is there once."""
    facts: list[Fact | None] = [None] * len(found)
    answers: dict[int, tuple[Command, rows.Row]] = {}
    for number, (reply, command) in enumerate(found):
        if command is None:
            _to_ledger(tx, reply, "no command has this tid, or this method and sequence number")
        elif command.gateway_id != reply.gateway_id:
            _to_ledger(tx, reply, f"the command went to gateway {command.gateway_id!r}")
        elif isinstance(outcome := replies.outcome_for(command, reply), str):
            _to_ledger(tx, reply, outcome)
            facts[number] = _odd_reply(tx, command, reply, outcome)
        else:
            answers[number] = command, _answer_columns(command, reply, outcome)
    query = COMMANDS["end_by_reply"]
    returned, _ = run_for_all(tx.db, query, [columns for _, columns in answers.values()])
    ended = {row[0]: row[1:] for row in returned}
    for number, (command, columns) in answers.items():
        reply = found[number][0]
        if (state := ended.get(command.seq)) is None:
            facts[number] = _further_reply(tx, reply, columns)
        else:
            after = rows.changed(command, state)
            tx.remember(after)
            facts[number] = Fact(after, _REPLIED, reply.received_at, reply.note)
    return facts


def _answer_columns(command: Command, reply: replies.Reply, outcome: replies.Outcome) -> rows.Row:
    """What an answer changes, in the order of the query."""
    job = None if command.job_key is None else read_job(reply.data, reply.received_at)
    said = (outcome.code, outcome.message, reply.raw_data)
    end: rows.Row = (_SUCCEEDED, *said, None, None)
    if not outcome.succeeded:
        words = outcome.message or error_codes.sentence(outcome.result)
        end = (_FAILED, *said, _EXECUTION_FAILED, words)
    return (command.id, reply.received_at, *end, rows.job_text(job))


def _further_reply(tx: Transaction, reply: replies.Reply, columns: rows.Row) -> Fact | None:
    command_id, at, _, code, message, data, *_, job = columns
    said = {"code": code, "message": message, "data": data, "job": job}
    values = {"id": command_id, "at": at, "limit": NOTED_REPLIES, **said}
    if (command := _changed(tx, "record_late_reply", values)) is not None:
        return Fact(command, EventKind.REPLIED, at, reply.explained("after the end"))
    # It counts the events that there are.
    tx.write_down()
    if (command := _changed(tx, "note_reply", values)) is not None:
        note = reply.explained("a further reply; it changes nothing")
        return Fact(command, EventKind.REPLIED, at, note, reply.raw_data)
    return None


def _odd_reply(tx: Transaction, command: Command, reply: replies.Reply, why: str) -> Fact | None:
    at = reply.received_at
    values = {"id": command.id, "at": at, "limit": NOTED_REPLIES}
    tx.write_down()
    for query in ("end_unmatched", "note_reply"):
        if (after := _changed(tx, query, values)) is not None:
            note = reply.explained(why)
            return Fact(after, EventKind.UNMATCHED_REPLY, at, note, reply.raw_data)
    return None


def _command_of(tx: Transaction, change: transitions.RecordReply) -> Command | None:
    """The command that a DRC reply is about."""
    reply = change.reply
    if reply.seq is not None and channels.has_sequence_number(reply.method or ""):
        query = "get_command_by_drc_seq"
    else:
        # A method without a number, or an answer that left it out: only if it is clear whose.
        query = "get_outstanding_drc_commands"
    values = {
        "seq": reply.seq,
        "gateway_id": reply.gateway_id,
        "command_type": reply.method,
        "among": orjson.dumps(change.among).decode(),
    }
    found: list[rows.Row] = tx.db.execute(COMMANDS[query], values).fetchall()
    return rows.command(found[0]) if len(found) == 1 else None


def _to_ledger(tx: Transaction, reply: replies.Reply, reason: str) -> None:
    unmatched = transitions.Unmatched(
        gateway_id=reply.gateway_id,
        tid=reply.tid,
        method=reply.method or "",
        reason=reply.explained(reason),
        data=reply.raw_data,
        received_at=reply.received_at,
    )
    put_unmatched(tx, unmatched)


def _advance(
    tx: Transaction, query: str, values: dict[str, Any], ids: Sequence[str], kind: EventKind
) -> dict[str, Fact]:
    """Run a guarded update of many commands; by id, what it did where the guard held."""
    if not ids:
        return {}
    returned = tx.db.execute(
        COMMANDS[query], {**values, "ids": orjson.dumps(ids).decode()}
    ).fetchall()
    changed = {row[0]: row[1:] for row in returned}
    commands = tx.known(ids) if changed else {}
    facts = {}
    for command_id in ids:
        before = commands.get(command_id)
        if before is None or (state := changed.pop(before.seq, None)) is None:
            continue
        after = rows.changed(before, state)
        tx.remember(after)
        facts[command_id] = Fact(after, kind, values["at"])
    return facts


def _update(
    tx: Transaction,
    query: str,
    values: dict[str, Any],
    kind: EventKind,
    at: int,
    note: str = "",
) -> None:
    """Run a guarded update of one command, and record its event where the guard held."""
    command = _changed(tx, query, values)
    if command is not None:
        tx.record(Fact(command, kind, at, note))


def _changed(tx: Transaction, query: str, values: dict[str, Any]) -> Command | None:
    """Run a guarded update; the command as it is then, or None where the guard did not hold."""
    row = tx.db.execute(COMMANDS[query], values).fetchone()
    if row is None:
        return None
    command = rows.command(row)
    tx.remember(command)
    return command
