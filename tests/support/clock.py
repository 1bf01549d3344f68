"""A clock that a test moves."""

import heapq
import itertools
from collections.abc import Callable

from dockgate_server.clock import Handle


class ManualClock:
    """A clock that stands still until :meth:`advance` moves it."""

    def __init__(self, now_ms: int = 1_776_859_200_000) -> None:
        self._now_ms = now_ms
        self._monotonic = 0.0
        self._order = itertools.count()
        self._calls: list[tuple[float, int, _ManualHandle]] = []

    def now_ms(self) -> int:
        """UTC in milliseconds since 1970."""
        return self._now_ms

    def monotonic(self) -> float:
        """Seconds by which the clock has been advanced."""
        return self._monotonic

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """Keep the call until :meth:`advance` reaches it."""
        handle = _ManualHandle(callback)
        heapq.heappush(self._calls, (when, next(self._order), handle))
        return handle

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks and make the calls that fall due, in order."""
        target = self._monotonic + seconds
        while self._calls and self._calls[0][0] <= target:
            when, _, handle = heapq.heappop(self._calls)
            self._move_to(max(when, self._monotonic))
            handle.run()
        self._move_to(target)

    def step_wall_clock(self, seconds: float) -> None:
        """Move UTC alone, as an operator or NTP does."""
        self._now_ms += round(seconds * 1000)

    def _move_to(self, monotonic: float) -> None:
        self._now_ms += round((monotonic - self._monotonic) * 1000)
        self._monotonic = monotonic


class _ManualHandle:
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self._callback = None

    def run(self) -> None:
        if self._callback is not None:
            self._callback()
