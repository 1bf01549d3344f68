"""The deadlines of all open commands, on one timer.

Deadlines are stored as UTC and run on the monotonic clock, so a step of the wall clock keeps no
command alive, and ends none early that has been sent. Only sending asks both: the monotonic clock
stands still while a machine is suspended, and what is late by either must not reach a device.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from dockgate_server.clock import Clock
from dockgate_server.dispatcher.agenda import Agenda
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.model.command import Command
from dockgate_server.model.transitions import Expire

_MOST_AT_ONCE = 500
"""Commands that one fact ends."""

_MOST_UNRECORDED = 2
"""Facts that wait for the store. When thousands of commands end together, submissions get their
turn in between, and the time of each end is near the one at which it is recorded."""


class Deadlines:
    """Knows which commands are open, and ends those whose deadline passes."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._open: dict[str, float] = {}
        self._agenda = Agenda(clock, self._due)
        self._held: set[str] = set()
        self._overdue: set[str] = set()  # of those held: their time has come
        self._ending: deque[str] = deque()
        self._unrecorded = 0

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, command_id: str, seconds: float) -> None:
        """A command is submitted: its time runs from now on, and not from its commit."""
        self._open[command_id] = self._clock.monotonic() + seconds

    def add(self, command: Command) -> None:
        """Begin to watch an open command's deadline."""
        when = self._open.get(command.id)
        if when is None:
            # Of an earlier process; the wall clock may have been set back since.
            left = min(self._left_by_utc(command), command.timeout_seconds)
            when = self._open[command.id] = self._clock.monotonic() + left
        self._agenda.add(when, command.id)

    def discard(self, command_id: str) -> None:
        """The command has ended, or has not been accepted."""
        self._open.pop(command_id, None)

    def seconds_left(self, command_id: str) -> float:
        """Until the command's deadline; 0 or less when it has passed or the command has ended."""
        when = self._open.get(command_id)
        return 0.0 if when is None else when - self._clock.monotonic()

    def seconds_to_send(self, command: Command) -> float:
        """For how long the command may still reach its device; 0 or less when it must not."""
        return min(self.seconds_left(command.id), self._left_by_utc(command))

    def ends_late(self, command: Command) -> bool:
        """End a command that is to be sent, and is late by the wall clock alone.

        It could only wait for its end. After a restart the wall clock alone would count, which may
        have been set back by then, and it would be sent behind those that have passed it meanwhile.
        """
        if self._left_by_utc(command) > 0 or self.seconds_left(command.id) <= 0:
            return False
        self._expire((command.id,))
        return True

    @contextmanager
    def held(self, command_ids: Iterable[str]) -> Iterator[None]:
        """End none of these before the block is left.

        While the intent to send is being committed, nobody can say yet whether the message leaves:
        an end that is decided just then would say "may have left" of one that never did.
        """
        held = set(command_ids)
        self._held |= held
        try:
            yield
        finally:
            self._held -= held
            self._expire(sorted(held & self._overdue))
            self._overdue -= held

    def close(self) -> None:
        """Let no more deadlines pass."""
        self._agenda.close()

    def _left_by_utc(self, command: Command) -> float:
        return (command.deadline_at - self._clock.now_ms()) / 1000

    def _due(self, command_ids: list[str]) -> None:
        self._overdue |= self._held.intersection(command_ids)
        self._expire(one for one in command_ids if one not in self._held)

    def _expire(self, due: Iterable[str]) -> None:
        self._ending.extend(one for one in due if self._open.pop(one, None) is not None)
        while self._ending and self._unrecorded < _MOST_UNRECORDED:
            self._end_next()

    def _end_next(self) -> None:
        ending = min(len(self._ending), _MOST_AT_ONCE)
        group = tuple(self._ending.popleft() for _ in range(ending))
        self._unrecorded += 1
        self._recorder.record(Expire(group, self._clock.now_ms()), self._recorded)

    def _recorded(self) -> None:
        self._unrecorded -= 1
        if self._ending:
            self._end_next()
