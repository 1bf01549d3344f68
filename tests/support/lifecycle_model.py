"""The life of commands as the schema and the documents tell it, in plain Python.

No database, no transactions, no guards in SQL: a second opinion on what the store should say. What
a device's words mean is not read here either; whoever makes them up says it with them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from dockgate_server.model.command import (
    Channel,
    Command,
    CommandEvent,
    CompletionBasis,
    EventKind,
    FailureCode,
    Job,
    JobState,
    Status,
)
from dockgate_server.model.reply import Reply
from dockgate_server.model.transitions import (
    Accept,
    Accepted,
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
    Unmatched,
)

WITHOUT_NUMBER = "drc_live_lens_change"
"""The DRC method that carries no sequence number; others do."""

_JOB_ENDS = (
    *(JobState.OK, JobState.FAILED, JobState.CANCELED, JobState.REJECTED, JobState.TIMEOUT),
    JobState.PARTIALLY_DONE,
)


class Impossible(Exception):
    """A change that nobody may ask for; the store refuses it as a bug."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a readable reply says."""

    code: str
    message: str | None = None
    failure: str | None = None
    """Why the command failed; None when it succeeded."""
    job: JobState | None = None
    percent: int | None = None
    result: int = 0


class Lives:
    """Every command, event and reply that there should be.

    Commands have the number 0 here: which number each has got is the store's to say.

    Args:
        noted: How many replies are noted on a command.
    """

    def __init__(self, noted: int) -> None:
        self._noted = noted
        self.commands: dict[str, Command] = {}
        """In the order accepted."""
        self.numbers: dict[str, int] = {}
        self.first: dict[tuple[str, str], Accepted] = {}
        """By tenant and idempotency key, the answer to the first submission."""
        self.events: list[CommandEvent] = []
        self.removed_up_to = 0
        """The newest event that has been removed."""
        self.ledger: list[Unmatched] = []

    def open(self) -> list[str]:
        """The commands that have not ended."""
        return [one.id for one in self.commands.values() if not one.status.is_end]

    def open_jobs(self) -> list[str]:
        """The commands whose job goes on, or should, for all that is known."""
        goes_on = (None, JobState.SENT, JobState.IN_PROGRESS)
        return [
            one.id
            for one in self.commands.values()
            if one.status is Status.SUCCEEDED
            and one.job_key is not None
            and (one.job and one.job.state) in goes_on
        ]

    def accept(self, new: Accept) -> Accepted:
        """A submission; a known key gives the first answer again."""
        key = (new.tenant, new.idempotency_key)
        if key in self.first:
            return self.first[key]._replace(replayed=True)
        shared = {name for name in Command._fields if name in Accept._fields}
        command = Command(
            **{name: getattr(new, name) for name in shared},
            seq=0,
            status=Status.ACCEPTED,
            revision=1,
            updated_at=new.accepted_at,
        )
        self._record(command, EventKind.ACCEPTED)
        self.first[key] = Accepted(command, new.content_hash, replayed=False)
        if new.sending:
            self.apply(BeginSending((new.id,), new.accepted_at))
        return self.first[key]

    def apply(self, change: Transition, answer: Answer | None = None) -> list[CommandEvent]:
        """A change; gives the events that it causes.

        Args:
            change: What happens.
            answer: What a reply says; None when it is none that can be read.

        Raises:
            Impossible: It must not happen at all.
        """
        before = len(self.events)
        match change:
            case RecordReply(reply, _):
                self._reply(reply, answer)
            case RecordJob():
                self._job(change)
            case StallJob(command_id, heard, at):
                for command in self._known((command_id,)):
                    self._stall(command, heard, at)
            case BeginSending(ids, at) | TakeBack(ids, _, at):
                for command in self._known(ids):
                    self._by_gateway(command, change, at)
            case Expire(ids, at):  # all at once, so in the order accepted
                for command in self._known(one for one in self.commands if one in ids):
                    self._by_gateway(command, change, at)
            case _:
                for command in self._known((change.id,)):
                    self._by_gateway(command, change, change.at)
        return self.events[before:]

    def remove_old(self, cutoff: int) -> None:
        """What has ended and was last touched before the cutoff goes, as if it had never been."""
        old = {
            one.id
            for one in self.commands.values()
            if one.status.is_end and max(one.accepted_at, one.updated_at) < cutoff
        }
        gone = [event.seq for event in self.events if event.command.id in old]
        self.removed_up_to = max([self.removed_up_to, *gone])
        self.commands = {key: one for key, one in self.commands.items() if key not in old}
        self.first = {key: one for key, one in self.first.items() if one.command.id not in old}

    def events_of(self, command_id: str) -> list[CommandEvent]:
        """The life of one command."""
        return [event for event in self.events if event.command.id == command_id]

    def _known(self, ids: Iterable[str]) -> Iterator[Command]:
        # Looked up one by one: the same id may stand there twice.
        return (self.commands[one] for one in ids if one in self.commands)

    def _by_gateway(self, command: Command, change: Transition, at: int) -> None:
        """What the gateway decides or hears from the broker."""
        if command.status.is_end:
            return
        accepted = command.status is Status.ACCEPTED
        announced = command.sending_at is not None
        ended = {"status": Status.FAILED, "completed_at": at}
        match change:
            case BeginSending() if accepted and not announced:
                self._change(command, EventKind.SENDING, at, sending_at=at)
            case TakeBack() if accepted and announced:
                self._change(command, EventKind.NOT_SENT, at, note=change.reason, sending_at=None)
            case Cancel() if accepted and not announced:
                reason = "the caller withdrew the command before it was sent"
                why = {"failure_code": FailureCode.CANCELLED, "failure_reason": reason}
                self._change(command, EventKind.CANCELLED, at, **ended, **why)
            case ConfirmDelivery() if accepted and not announced:
                raise Impossible("the broker has taken what was never meant to leave")
            case ConfirmDelivery() if accepted:
                delivered = {"status": Status.DELIVERED, "delivered_at": at}
                self._change(command, EventKind.DELIVERED, at, **delivered)
            case CompleteSend() if accepted:
                basis = {"status": Status.SUCCEEDED, "completion_basis": CompletionBasis.LOCAL_SEND}
                self._change(command, EventKind.SENT, at, **{**ended, **basis})
            case Refuse() if accepted:
                why = {"failure_code": change.code, "failure_reason": change.reason}
                self._change(command, EventKind.REFUSED, at, **ended, **why)
            case Expire():
                code, reason = _how_far(command)
                why = {"failure_code": code, "failure_reason": reason}
                late = {"status": Status.TIMED_OUT, "completed_at": at}
                self._change(command, EventKind.EXPIRED, at, **late, **why)

    def _reply(self, reply: Reply, answer: Answer | None) -> None:
        command = self._command_of(reply)
        if command is None or command.gateway_id != reply.gateway_id:
            self._to_ledger(reply)
        elif (
            answer is None
            or reply.channel is not command.channel
            or (
                reply.method not in (None, command.command_type)
                and command.channel is not Channel.PROPERTY_SET
            )
        ):
            self._to_ledger(reply)
            self._odd(command, reply)
        else:
            self._answer(command, reply, answer)

    def _command_of(self, reply: Reply) -> Command | None:
        if reply.channel is not Channel.DRC:
            return self.commands.get(reply.tid)
        mine = [
            one
            for one in self.commands.values()
            if (one.channel, one.gateway_id) == (Channel.DRC, reply.gateway_id)
            and one.command_type == reply.method
        ]
        if reply.seq is not None and reply.method != WITHOUT_NUMBER:
            mine = [one for one in mine if self.numbers[one.id] == reply.seq]
        else:  # only if it is clear whose: one that was sent and waits
            mine = [one for one in mine if not one.status.is_end and one.sending_at is not None]
        return mine[0] if len(mine) == 1 else None

    def _odd(self, command: Command, reply: Reply) -> None:
        at, kind = reply.received_at, EventKind.UNMATCHED_REPLY
        if not command.status.is_end:
            ended = {"status": Status.UNMATCHED_RESPONSE, "completed_at": at}
            self._change(command, kind, at, reply=reply.raw_data, **ended)
        else:
            self._note(command, kind, reply)

    def _answer(self, command: Command, reply: Reply, answer: Answer) -> None:
        at, kind = reply.received_at, EventKind.REPLIED
        job = command.job
        if job is None and answer.job is not None and command.job_key is not None:
            job = Job(answer.job, at, answer.percent, result=answer.result)
        said = {
            "response_received_at": at,
            "response_code": answer.code,
            "response_message": answer.message,
            "vendor_response": reply.raw_data,
            "job": job,
        }
        if not command.status.is_end:
            failed = answer.failure is not None
            code = FailureCode.DEVICE_EXECUTION_FAILED if failed else None
            self._change(
                command,
                kind,
                at,
                **said,
                status=Status.FAILED if failed else Status.SUCCEEDED,
                completion_basis=CompletionBasis.DEVICE_REPLY,
                completed_at=at,
                failure_code=code,
                failure_reason=answer.failure,
                # The first sign of it may be the answer.
                sending_at=at if command.sending_at is None else command.sending_at,
                delivered_at=at if command.delivered_at is None else command.delivered_at,
            )
        elif command.response_received_at is None:
            self._change(command, kind, at, **said)
        else:
            self._note(command, kind, reply)

    def _note(self, command: Command, kind: EventKind, reply: Reply) -> None:
        replies = (EventKind.REPLIED, EventKind.UNMATCHED_REPLY)
        if sum(event.kind in replies for event in self.events_of(command.id)) < self._noted:
            self._change(command, kind, reply.received_at, reply=reply.raw_data)

    def _job(self, change: RecordJob) -> None:
        fitting = [
            one
            for one in self.commands.values()
            if (one.gateway_id, one.job_key) == (change.gateway_id, change.job_key)
            and one.command_type in change.methods
            and one.sending_at is not None
        ]
        # A command that failed should have started nothing.
        likely = [one for one in fitting if one.status is not Status.FAILED] or fitting
        if not likely:
            return
        job = likely[-1].job
        is_over = job is not None and job.state in _JOB_ENDS
        if not is_over and (
            job is None or replace(job, updated_at=change.job.updated_at) != change.job
        ):
            at = change.job.updated_at
            self._change(likely[-1], EventKind.JOB_PROGRESSED, at, job=change.job)

    def _stall(self, command: Command, heard: Job | None, at: int) -> None:
        job = command.job
        if command.status is not Status.SUCCEEDED or _report(heard) != _report(job):
            return
        if job is None or job.state in (JobState.SENT, JobState.IN_PROGRESS):
            stalled = replace(job or Job(JobState.STALLED, at), state=JobState.STALLED)
            self._change(command, EventKind.JOB_STALLED, at, job=stalled)

    def _to_ledger(self, reply: Reply) -> None:
        said = (reply.tid, reply.method or "", "", reply.raw_data, reply.received_at)
        self.ledger.append(Unmatched(reply.gateway_id, *said))

    def _change(
        self,
        command: Command,
        kind: EventKind,
        at: int,
        note: str = "",
        reply: bytes | None = None,
        **changes: object,
    ) -> None:
        revision = {"revision": command.revision + 1, "updated_at": at}
        self._record(command._replace(**revision, **changes), kind, note, reply)  # type: ignore[arg-type]

    def _record(
        self, after: Command, kind: EventKind, note: str = "", reply: bytes | None = None
    ) -> None:
        self.commands[after.id] = after
        seq = len(self.events) + 1
        self.events.append(CommandEvent(seq, kind, after.updated_at, after, reply, note))


def _how_far(command: Command) -> tuple[FailureCode, str]:
    """What a timeout says of a command."""
    if command.delivered_at is not None:
        why = "the broker took the message; no answer reached the gateway before the deadline"
        return FailureCode.RESPONSE_TIMEOUT, why
    if command.sending_at is not None:
        why = "the message may have left, but neither the broker nor the device was heard of it; "
        return FailureCode.OUTCOME_UNKNOWN, f"{why}the device may have carried it out"
    return FailureCode.DELIVERY_TIMEOUT, "the command was not sent before its deadline"


def _report(job: Job | None) -> tuple[int, int | None, str] | None:
    """What tells one report of a job from another."""
    return None if job is None else (job.updated_at, job.percent, job.step)
