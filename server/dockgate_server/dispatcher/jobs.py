"""Jobs that commands have started: notices when a device falls silent about one.

A job whose reports stay away is marked STALLED. It is not given up: what the device reports later
still counts, and a watcher goes on waiting.
"""

import math
from collections.abc import Sequence

from dockgate_server.clock import Clock
from dockgate_server.codec import catalogue
from dockgate_server.dispatcher.agenda import Agenda
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.model.command import Command, CommandEvent, EventKind, Job, JobState, Status
from dockgate_server.model.transitions import StallJob
from dockgate_server.store.interface import Store


class Jobs:
    """Knows when each job that goes on was heard of.

    Args:
        recorder: Records that a job has stalled.
        clock: The time.
    """

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        # By command: until when its job may be silent, and its last report, if there was one.
        self._patience: dict[str, tuple[float, Job | None]] = {}
        self._agenda = Agenda(clock, self._due)

    def __len__(self) -> int:
        return len(self._patience)

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

    def close(self) -> None:
        """Mark nothing any more."""
        self._agenda.close()

    def _note(self, command: Command, *, is_report: bool = False) -> None:
        silence = _allowed_silence(command)
        if silence is None:
            self._patience.pop(command.id, None)
            return
        known = self._patience.get(command.id)
        # A clock that was set back can give two reports the same time.
        if known is not None and known[1] == command.job and not is_report:
            return  # something else happened to the command, a late reply perhaps
        until = self._clock.monotonic() + silence
        self._patience[command.id] = (until, command.job)
        self._agenda.add(until, command.id)

    def _due(self, command_ids: list[str]) -> None:
        now = self._clock.monotonic()
        for command_id in command_ids:
            until, heard = self._patience.get(command_id, (math.inf, None))
            if until <= now:
                del self._patience[command_id]
                self._recorder.record(StallJob(command_id, heard, self._clock.now_ms()))


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
