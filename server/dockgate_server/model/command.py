"""A command, its events and its job, as the inside of the gateway sees them.

The words are those of ``proto/dockgate/downlink/v1/command.proto``, which says what each means.
Times are UTC milliseconds since 1970; JSON is kept as the bytes it is stored and sent as.
"""

import enum
from dataclasses import dataclass
from typing import NamedTuple


class Vendor(enum.StrEnum):
    """Whose devices a command is for."""

    DJI = "dji"


class Channel(enum.StrEnum):
    """The pair of MQTT topics that carries a command and its answer."""

    SERVICES = "services"
    PROPERTY_SET = "property_set"
    DRC = "drc"


class Status(enum.StrEnum):
    """What is known of a command."""

    ACCEPTED = "ACCEPTED"
    DELIVERED = "DELIVERED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    UNMATCHED_RESPONSE = "UNMATCHED_RESPONSE"

    @property
    def is_end(self) -> bool:
        """Whether the status can never change again."""
        return self not in OPEN_STATUSES


OPEN_STATUSES = frozenset({Status.ACCEPTED, Status.DELIVERED})


class OfflinePolicy(enum.StrEnum):
    """What becomes of a command while its gateway device is away."""

    FAIL_FAST = "FAIL_FAST"
    QUEUE = "QUEUE"


class CompletionBasis(enum.StrEnum):
    """What the end of a command rests on."""

    DEVICE_REPLY = "DEVICE_REPLY"
    BROKER_ACK = "BROKER_ACK"
    LOCAL_SEND = "LOCAL_SEND"


class FailureCode(enum.StrEnum):
    """Why a command ended as FAILED or TIMED_OUT."""

    DEVICE_EXECUTION_FAILED = "DEVICE_EXECUTION_FAILED"
    DEVICE_OFFLINE = "DEVICE_OFFLINE"
    DELIVERY_REFUSED = "DELIVERY_REFUSED"
    EXPIRY_UNSUPPORTED = "EXPIRY_UNSUPPORTED"
    DELIVERY_TIMEOUT = "DELIVERY_TIMEOUT"
    RESPONSE_TIMEOUT = "RESPONSE_TIMEOUT"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    NOT_CONNECTED = "NOT_CONNECTED"
    CANCELLED = "CANCELLED"


class EventKind(enum.StrEnum):
    """What happened to a command."""

    ACCEPTED = "ACCEPTED"
    SENDING = "SENDING"
    DELIVERED = "DELIVERED"
    REPLIED = "REPLIED"
    UNMATCHED_REPLY = "UNMATCHED_REPLY"
    EXPIRED = "EXPIRED"
    REFUSED = "REFUSED"
    JOB_PROGRESSED = "JOB_PROGRESSED"
    SENT = "SENT"
    NOT_SENT = "NOT_SENT"
    CANCELLED = "CANCELLED"
    JOB_STALLED = "JOB_STALLED"


class JobState(enum.StrEnum):
    """The state of a job, in DJI's words but upper case."""

    SENT = "SENT"
    IN_PROGRESS = "IN_PROGRESS"
    PAUSED = "PAUSED"
    OK = "OK"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    TIMEOUT = "TIMEOUT"
    PARTIALLY_DONE = "PARTIALLY_DONE"
    STALLED = "STALLED"

    @property
    def is_end(self) -> bool:
        """Whether the device has said its last word on the job."""
        return self not in _OPEN_JOB_STATES


_OPEN_JOB_STATES = frozenset(
    {JobState.SENT, JobState.IN_PROGRESS, JobState.PAUSED, JobState.STALLED}
)


@dataclass(frozen=True, slots=True)
class Job:
    """The job that a command started, as the device last reported it."""

    state: JobState
    updated_at: int
    percent: int | None = None
    step: str = ""
    result: int | None = None
    break_reason: int | None = None
    """Why a flight was broken off, as DJI numbers it."""


class Command(NamedTuple):
    """A command and all that is known of it.

    A tuple, as several are made for each command: a dataclass takes ten times as long. Its fields
    stand as the columns of the store do: first what is fixed at acceptance, then what changes.
    """

    seq: int
    """The order of acceptance within the store, and the sequence number of a DRC message: it is
    durable, rises, and never starts again."""
    id: str
    """A UUID; also the tid and bid of the MQTT message, so that one id finds everything."""
    tenant: str
    principal: str
    vendor: Vendor
    device_id: str
    gateway_id: str
    channel: Channel
    command_type: str
    data: bytes
    """The DJI `data` to send, as JSON; with null for each secret where :attr:`sealed` has the
    whole."""
    timeout_seconds: int
    accepted_at: int
    deadline_at: int
    job_key: str | None
    """The key its progress events carry; None for methods that start no job."""

    # What became of it.
    status: Status
    revision: int
    updated_at: int
    sending_at: int | None = None
    """When the intent to send was committed: from then on the message may have left."""
    delivered_at: int | None = None
    completed_at: int | None = None
    completion_basis: CompletionBasis | None = None
    response_received_at: int | None = None
    response_code: str | None = None
    response_message: str | None = None
    vendor_response: bytes | None = None
    """The `data` of the reply as JSON; of one that is too large, what it says of the outcome."""
    failure_code: FailureCode | None = None
    failure_reason: str | None = None
    job: Job | None = None
    sealed: bytes | None = None
    """The whole `data`, sealed, until the command has ended; None where nothing in it is secret."""

    # Fixed as well, but younger than the others.
    offline_policy: OfflinePolicy = OfflinePolicy.FAIL_FAST

    def __repr__(self) -> str:
        """Without what is sealed."""
        shown = zip(self._fields, self, strict=True)
        return f"Command({', '.join(f'{n}={v!r}' for n, v in shown if n != 'sealed')})"

    def is_over_with_job(self, job_expected: bool) -> bool:
        """Whether a watcher who follows the job as well has nothing more to wait for.

        Args:
            job_expected: Whether a success of the command's method always starts a job.
        """
        if self.status is not Status.SUCCEEDED or self.job_key is None:
            return self.status.is_end
        return not job_expected if self.job is None else self.job.state.is_end


class CommandEvent(NamedTuple):
    """One event in the life of a command, with the command as it was right after it."""

    seq: int
    """The order of recording within the store: the cursor of a fleet watch."""
    kind: EventKind
    occurred_at: int
    command: Command
    reply: bytes | None = None
    """The `data` of a reply that is not the command's `vendor_response`, as JSON."""
    note: str = ""

    @property
    def revision(self) -> int:
        """The event's number within the command."""
        return self.command.revision

    @property
    def size(self) -> int:
        """How many bytes are in what may be long of it."""
        command, reply = self.command, self.reply
        return len(command.data) + len(command.vendor_response or b"") + len(reply or b"")


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """Which commands a list or a fleet watch is about; an empty filter lets all pass."""

    device_id: str = ""
    command_type: str = ""
    statuses: tuple[Status, ...] = ()

    def matches(self, command: Command) -> bool:
        """Whether the command is one of those asked for."""
        return (
            (not self.device_id or command.device_id == self.device_id)
            and (not self.command_type or command.command_type == self.command_type)
            and (not self.statuses or command.status in self.statuses)
        )
