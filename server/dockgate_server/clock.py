"""The two clocks: UTC for what is stored and shown, monotonic for what is waited for.

A step of the wall clock must neither end a command early nor keep it alive, so deadlines are
stored as UTC and run on the monotonic clock. Tests put :class:`ManualClock` in place of
:class:`SystemClock` and decide themselves when time passes.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol


class Handle(Protocol):
    """A call that has been arranged and can be cancelled."""

    def cancel(self) -> None:
        """The call will not be made."""


class Clock(Protocol):
    """What the gateway asks of time."""

    def now_ms(self) -> int:
        """UTC in milliseconds since 1970."""

    def monotonic(self) -> float:
        """Seconds on a clock that never steps."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """Call ``callback`` from the event loop when ``monotonic()`` reaches ``when``."""


async def pause(clock: Clock, seconds: float) -> None:
    """Wait so long by a clock."""
    over = asyncio.Event()
    handle = clock.call_at(clock.monotonic() + seconds, over.set)
    try:
        await over.wait()
    finally:
        handle.cancel()


class SystemClock:
    """The machine's clocks, on the running event loop."""

    def now_ms(self) -> int:
        """UTC in milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """The clock that asyncio's event loop goes by, so that ``call_at`` agrees with it."""
        # Not by asking for the running loop, which costs a system call each time.
        return time.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """Arrange a call with the event loop."""
        return asyncio.get_running_loop().call_at(when, callback)


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
