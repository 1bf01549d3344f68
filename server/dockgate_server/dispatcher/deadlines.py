"""The deadlines of all open commands, on one timer.

Deadlines are stored as UTC and run on the monotonic clock, so a step of the wall clock neither
ends a command early nor keeps it alive.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

from dockgate_server.clock import Clock
from dockgate_server.dispatcher.agenda import Agenda
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.model.command import Command
from dockgate_server.model.transitions import Expire

_MOST_AT_ONCE = 100
"""Commands that one fact ends. When thousands end together, submissions get their turn between."""


class Deadlines:
    """Knows which commands are open, and ends those whose deadline passes."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._open: dict[str, float] = {}
        self._agenda = Agenda(clock, self._due)
        self._held: set[str] = set()
        self._overdue: set[str] = set()  # of those held: their time has come

    def __len__(self) -> int:
        return len(self._open)

    def add(self, command: Command) -> None:
        """Begin to watch an open command's deadline."""
        left = (command.deadline_at - self._clock.now_ms()) / 1000
        when = self._clock.monotonic() + left
        self._open[command.id] = when
        self._agenda.add(when, command.id)

    def discard(self, command_id: str) -> None:
        """The command has ended."""
        self._open.pop(command_id, None)

    def seconds_left(self, command_id: str) -> float:
        """Until the command's deadline; 0 or less when it has passed or the command has ended."""
        when = self._open.get(command_id)
        return 0.0 if when is None else when - self._clock.monotonic()

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

    def _due(self, command_ids: list[str]) -> None:
        self._overdue |= self._held.intersection(command_ids)
        self._expire(one for one in command_ids if one not in self._held)

    def _expire(self, due: Iterable[str]) -> None:
        still_open = iter([one for one in due if self._open.pop(one, None) is not None])
        while group := tuple(islice(still_open, _MOST_AT_ONCE)):
            self._recorder.record(Expire(group, self._clock.now_ms()))
