"""Inserting commands, and finding those that were inserted before."""

from collections.abc import Sequence
from itertools import compress

from dockgate_server import errors
from dockgate_server.model import transitions
from dockgate_server.model.command import Command, EventKind, Status
from dockgate_server.store.sqlite import rows
from dockgate_server.store.sqlite.queries import ACCESS, COMMANDS, run_for_all
from dockgate_server.store.sqlite.together import Failed, Made
from dockgate_server.store.sqlite.transaction import Fact, Transaction

_ACCEPTED, _NEW, _SENDING = Status.ACCEPTED, EventKind.ACCEPTED, EventKind.SENDING


def accept(tx: Transaction, submissions: Sequence[transitions.Accept]) -> list[Made]:
    """Insert commands, with the intent to send if they have a place in the publish window.

    Of those with a nonce that was used before nothing is inserted.
    """
    nonces = [new.nonce for new in submissions if new.nonce is not None]
    if not nonces:
        return _insert(tx, submissions)
    fresh = iter(use_up(tx, nonces))
    may_be_made = [new.nonce is None or next(fresh) for new in submissions]
    made = iter(_insert(tx, list(compress(submissions, may_be_made))))
    return [next(made) if may else Made((), Failed(errors.nonce_replayed())) for may in may_be_made]


def use_up(tx: Transaction, nonces: Sequence[transitions.Nonce]) -> list[bool]:
    """Use nonces up; of each, whether it was not used before."""
    used = [(one.api_id, one.text, one.expires_at) for one in nonces]
    returned, _ = run_for_all(tx.db, ACCESS["use_nonce"], used)
    fresh = set(returned)
    answers = []
    for api_id, text, _ in used:
        # Of two uses at once the first one counts.
        answers.append((api_id, text) in fresh)
        fresh.discard((api_id, text))
    return answers


def _insert(tx: Transaction, submissions: Sequence[transitions.Accept]) -> list[Made]:
    commands = [_command(tx, new) for new in submissions]
    values = [_columns(*both) for both in zip(commands, submissions, strict=True)]
    _, inserted = run_for_all(tx.db, COMMANDS["insert_command"], values)
    made = []
    for command, new in zip(commands, submissions, strict=True):
        if inserted < len(commands):
            key = {"tenant": new.tenant, "idempotency_key": new.idempotency_key}
            row = tx.db.execute(COMMANDS["get_command_by_key"], key).fetchone()
            if row[0] != command.seq:
                made.append(Made((), accepted(row, replayed=True)))
                continue
        tx.remember(command)
        facts = [Fact(command, _NEW, new.accepted_at)]
        if new.sending:
            facts.append(Fact(_being_sent(command), _SENDING, new.accepted_at))
        made.append(Made(facts, transitions.Accepted(command, new.content_hash, replayed=False)))
    return made


def accepted(row: rows.Row, replayed: bool) -> transitions.Accepted:
    """A stored command as the answer to a submission."""
    return transitions.Accepted(rows.command_at_acceptance(row), rows.content_hash(row), replayed)


def _command(tx: Transaction, new: transitions.Accept) -> Command:
    """The command as it is at acceptance."""
    return Command(
        tx.next_number("command"),
        new.id,
        new.tenant,
        new.principal,
        new.vendor,
        new.device_id,
        new.gateway_id,
        new.channel,
        new.command_type,
        new.data,
        new.timeout_seconds,
        new.accepted_at,
        new.deadline_at,
        new.job_key,
        _ACCEPTED,
        1,
        new.accepted_at,
        sealed=new.sealed,
        offline_policy=new.offline_policy,
    )


def _being_sent(command: Command) -> Command:
    """What the intent to send makes of it, when it comes with the acceptance."""
    return command._replace(revision=2, sending_at=command.accepted_at)


def _columns(command: Command, new: transitions.Accept) -> rows.Row:
    """What is inserted, in the order of the query."""
    stored = _being_sent(command) if new.sending else command
    fixed = rows.fixed_columns(stored)
    state = (stored.revision, stored.updated_at, stored.sending_at)
    return (
        *fixed,
        *state,
        *(new.idempotency_key, new.content_hash, new.offline_policy, new.sealed),
    )
