"""The deadlines of all open commands, on one timer.

Deadlines are stored as UTC and run on the monotonic clock, so a step of the wall clock neither
ends a command early nor keeps it alive.
"""

import heapq

from dockgate_server.clock import Clock, Handle
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.model.command import Command
from dockgate_server.model.transitions import Expire


class Deadlines:
    """Knows which commands are open, and ends those whose deadline passes."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._open: dict[str, float] = {}
        # Entries of commands that have ended stay until their time comes: removing them from
        # the middle of the heap would cost more than keeping them for 300 s at most.
        self._heap: list[tuple[float, str]] = []
        self._timer: Handle | None = None
        self._timer_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def add(self, command: Command) -> None:
        """Begin to watch an open command's deadline."""
        left = (command.deadline_at - self._clock.now_ms()) / 1000
        when = self._clock.monotonic() + left
        self._open[command.id] = when
        heapq.heappush(self._heap, (when, command.id))
        self._arm()

    def discard(self, command_id: str) -> None:
        """The command has ended."""
        self._open.pop(command_id, None)

    def seconds_left(self, command_id: str) -> float:
        """Until the command's deadline; 0 or less when it has passed or the command has ended."""
        when = self._open.get(command_id)
        return 0.0 if when is None else when - self._clock.monotonic()

    def close(self) -> None:
        """Let no more deadlines pass."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if not self._heap:
            return
        first = self._heap[0][0]
        if self._timer is not None:
            if self._timer_at <= first:
                return
            self._timer.cancel()
        self._timer_at = first
        self._timer = self._clock.call_at(first, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        due: list[str] = []
        while self._heap and self._heap[0][0] <= now:
            _, command_id = heapq.heappop(self._heap)
            if self._open.pop(command_id, None) is not None:
                due.append(command_id)
        if due:
            self._recorder.record(Expire(tuple(due), self._clock.now_ms()))
        self._arm()
