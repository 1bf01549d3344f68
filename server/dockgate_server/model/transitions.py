"""Every change that can be made to the record of a command, as data.

Tuples, as several are made for each command: a frozen dataclass takes many times as long.

The store carries each one out as a guarded update together with its event, in one transaction.
The guard is written here in words and in the store in SQL; a change whose guard does not hold
changes nothing, and that is an answer, not an error.
"""

from dataclasses import dataclass
from typing import NamedTuple

from dockgate_server.model.audit import Entry
from dockgate_server.model.command import (
    Channel,
    Command,
    FailureCode,
    Job,
    OfflinePolicy,
    Vendor,
)
from dockgate_server.model.reply import Reply


@dataclass(slots=True)
class Nonce:
    """What a signed request may be made with once."""

    api_id: str
    """Whose request it is."""
    text: str
    expires_at: int
    """UTC milliseconds since 1970; from then on the request is refused for its age."""
    is_used_up: bool = False
    """It has been used up, and that is recorded."""


class Accept(NamedTuple):
    """Insert a command. Guards: its nonce was not used before; its tenant has not used the key."""

    id: str
    tenant: str
    principal: str
    idempotency_key: str
    content_hash: bytes
    """What the submission said, for telling a repetition from a conflict."""
    vendor: Vendor
    device_id: str
    gateway_id: str
    command_type: str
    data: bytes
    """Without its secrets where there are any."""
    timeout_seconds: int
    accepted_at: int
    deadline_at: int
    job_key: str | None
    sending: bool
    """Commit the intent to send at once: the command has its place in the publish window."""
    channel: Channel = Channel.SERVICES
    sealed: bytes | None = None
    """The whole of its data, sealed, where it has secrets."""
    offline_policy: OfflinePolicy = OfflinePolicy.FAIL_FAST
    audit: Entry | None = None
    """What the audit log says of it, in the same transaction."""
    nonce: Nonce | None = None
    """Is used up in the same transaction, also where the key was used before."""
    overtakes: bool = False
    """An emergency: the store makes it before all that waits."""


class Accepted(NamedTuple):
    """The answer to :class:`Accept`: the command that holds the key, new or from before."""

    command: Command
    """As it was at acceptance."""
    content_hash: bytes
    replayed: bool


class BeginSending(NamedTuple):
    """Commit the intent to send. Guard, each: ACCEPTED, no intent yet.

    Only the commands for which the guard held may be sent.
    """

    ids: tuple[str, ...]
    at: int
    overtakes: bool = False
    """The store makes it before all that waits, as that of :class:`Accept`."""


class TakeBack(NamedTuple):
    """Take the intent to send back. Guard, each: ACCEPTED, with an intent.

    Only for messages that certainly reached nobody: they have not left the process, or the
    broker said that nobody listened and has thrown them away.
    """

    ids: tuple[str, ...]
    reason: str
    at: int


class Cancel(NamedTuple):
    """The caller withdraws the command. Guard: ACCEPTED, no intent to send."""

    id: str
    at: int
    audit: Entry | None = None
    """As that of :class:`Accept`."""


class ConfirmDelivery(NamedTuple):
    """The broker took the message. Guard: ACCEPTED."""

    id: str
    at: int


class CompleteSend(NamedTuple):
    """A message of a method that has no answer was handed to the network. Guard: ACCEPTED."""

    id: str
    at: int


class Refuse(NamedTuple):
    """The gateway ends the command. Guard: ACCEPTED."""

    id: str
    code: FailureCode
    reason: str
    at: int


class Expire(NamedTuple):
    """The deadline passed, by the monotonic clock. Guard, each: open."""

    ids: tuple[str, ...]
    at: int


class RecordReply(NamedTuple):
    """A reply came on a command's own reply topic.

    No command of that tid, or one that went to another gateway: the reply goes to the ledger
    and touches no command. Otherwise it ends an open command (SUCCEEDED, FAILED or
    UNMATCHED_RESPONSE), and is recorded on an ended one without changing its status.
    """

    reply: Reply
    among: tuple[str, ...] = ()
    """For a DRC answer without a number: the ids of the commands that had left when it came."""


class RecordJob(NamedTuple):
    """A progress event came for a job.

    Guard: a command with this key went to this gateway, with one of these methods, the last word on
    its job has not been said, and this says something new. The newest such command takes it.
    """

    gateway_id: str
    methods: tuple[str, ...]
    job_key: str
    job: Job


class StallJob(NamedTuple):
    """The device has not reported the job for longer than its method allows.

    Guard: SUCCEEDED, and nothing was heard of the job since ``heard``: it was never reported where
    that is None, else that is its last report, and says that the job goes on.
    """

    id: str
    heard: Job | None
    at: int


class Unmatched(NamedTuple):
    """A reply that fits no command, for the ledger."""

    gateway_id: str
    tid: str
    method: str
    reason: str
    data: bytes
    """What came: the reply's `data` as JSON, or the whole payload where that was not readable."""
    received_at: int


Transition = (
    BeginSending
    | TakeBack
    | Cancel
    | ConfirmDelivery
    | CompleteSend
    | Refuse
    | Expire
    | RecordReply
    | RecordJob
    | StallJob
)
"""What :meth:`Store.apply` takes; :class:`Accept` has a method of its own, for its answer."""
