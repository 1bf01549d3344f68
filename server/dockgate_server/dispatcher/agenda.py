"""Things whose time comes, on one timer."""

import heapq
from collections.abc import Callable

from dockgate_server.clock import Clock, Handle


class Agenda:
    """Tells of keys when their time has come, on the monotonic clock.

    Nothing is ever taken out: whoever is told knows whether it still matters. Removing entries
    from the middle of the heap would cost more than keeping them until then.

    Args:
        clock: The time.
        on_due: Is given the keys whose time has come, in that order.
    """

    def __init__(self, clock: Clock, on_due: Callable[[list[str]], None]) -> None:
        self._clock = clock
        self._on_due = on_due
        self._heap: list[tuple[float, str]] = []
        self._timer: Handle | None = None
        self._timer_at = 0.0

    def add(self, when: float, key: str) -> None:
        """Tell of the key at that time."""
        heapq.heappush(self._heap, (when, key))
        self._arm()

    def close(self) -> None:
        """Tell of nothing any more."""
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
            due.append(heapq.heappop(self._heap)[1])
        if due:
            self._on_due(due)
        self._arm()
