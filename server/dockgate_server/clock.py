"""The two clocks: UTC for what is stored and shown, monotonic for what is waited for.

A step of the wall clock must neither end a command early nor keep it alive, so deadlines are
stored as UTC and run on the monotonic clock. Tests put a clock of their own in place of
:class:`SystemClock` and decide themselves when time passes.
"""

import asyncio
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
