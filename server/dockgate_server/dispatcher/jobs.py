"""Jobs that commands have started: notices when a device falls silent about one.

Whatever it says of a job counts, also what only repeats the report before and is no event. A job
whose reports stay away is marked STALLED. It is not given up: what the device reports later still
counts, and a watcher goes on waiting.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dockgate_server.clock import Clock
from dockgate_server.codec import catalogue
from dockgate_server.dispatcher.agenda import Agenda
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.model.command import Command, CommandEvent, EventKind, JobState, Status
from dockgate_server.model.transitions import RecordJob, StallJob
from dockgate_server.store.interface import Store


@dataclass(slots=True)
class _Going:
    """A job that goes on."""

    command: Command
    """As it was when something was recorded of its job last."""
    until: float
    """So long it may be silent, on the monotonic clock."""


class Jobs:
    """Knows when each job that goes on was heard of.

    Args:
        recorder: Records that a job has stalled.
        clock: The time.
    """

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._going: dict[str, _Going] = {}  # by command
        self._by_key: dict[tuple[str, str], set[str]] = {}  # by what reports name
        self._agenda = Agenda(clock, self._due)
        self._in_agenda: set[str] = set()  # once each, however often they are heard of

    def __len__(self) -> int:
        return len(self._going)

    async def recover(self, store: Store) -> None:
        """Find the jobs of an earlier process again. What was said meanwhile may still come in."""
        async for commands in store.commands_with_open_jobs():
            for command in commands:
                self._note(command)

    def committed(self, events: Sequence[CommandEvent]) -> None:
        """Take note of a commit."""
        for event in events:
            if event.command.job_key is not None:
                self._note(event.command, is_report=event.kind is EventKind.JOB_PROGRESSED)

    def heard(self, report: RecordJob) -> None:
        """A device says something of a job, perhaps nothing new."""
        for command_id in self._by_key.get((report.gateway_id, report.job_key), ()):
            if self._going[command_id].command.command_type in report.methods:
                self._be_patient(self._going[command_id])

    def close(self) -> None:
        """Mark nothing any more."""
        self._agenda.close()

    def _note(self, command: Command, *, is_report: bool = False) -> None:
        if _allowed_silence(command) is None:
            self._over(command.id)
            return
        known = self._going.get(command.id)
        # A clock that was set back can give two reports the same time.
        if known is not None and known.command.job == command.job and not is_report:
            return  # something else happened to the command, a late reply perhaps
        going = self._going[command.id] = _Going(command, 0.0)
        self._by_key.setdefault(_key(command), set()).add(command.id)
        self._be_patient(going)

    def _be_patient(self, going: _Going) -> None:
        silence = _allowed_silence(going.command)
        assert silence is not None, "others are not kept"
        going.until = self._clock.monotonic() + silence
        self._look_at(going)

    def _look_at(self, going: _Going) -> None:
        if going.command.id not in self._in_agenda:
            self._in_agenda.add(going.command.id)
            self._agenda.add(going.until, going.command.id)

    def _over(self, command_id: str) -> None:
        if (going := self._going.pop(command_id, None)) is None:
            return
        of_key = self._by_key[_key(going.command)]
        of_key.discard(command_id)
        if not of_key:
            del self._by_key[_key(going.command)]

    def _due(self, command_ids: list[str]) -> None:
        now = self._clock.monotonic()
        for command_id in command_ids:
            self._in_agenda.discard(command_id)
            going = self._going.get(command_id)
            if going is not None and going.until > now:
                self._look_at(going)
            elif going is not None:
                self._over(command_id)
                heard = going.command.job
                self._recorder.record(StallJob(command_id, heard, self._clock.now_ms()))


def _key(command: Command) -> tuple[str, str]:
    assert command.job_key is not None, "it starts no job"
    return command.gateway_id, command.job_key


def _allowed_silence(command: Command) -> float | None:
    """Seconds for which the device may say nothing of the job; None when it may for ever."""
    method = catalogue.METHODS.get(command.command_type)
    if method is None or command.status is not Status.SUCCEEDED or command.job_key is None:
        return None
    if command.job is None or command.job.state is JobState.SENT:
        goes_on = method.always_reports_a_job
    else:
        # A job that is paused may be for as long as somebody wants.
        goes_on = command.job.state is JobState.IN_PROGRESS
    return method.job_silence_seconds if goes_on else None
