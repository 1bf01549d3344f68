"""Whether the broker keeps up with what is streamed to it.

Nobody acknowledges a stream. When the broker's process stands still, its kernel and ours go on
taking what is sent for minutes, and all of that reaches the device when it goes on. So while there
is a stream the broker is asked now and then whether it is there: it answers behind all that it has
read.
"""

from collections.abc import Callable
from typing import Final

ASK_SECONDS: Final = 0.5
"""How long after an answer it is asked again."""

PATIENCE_SECONDS: Final = 1.0
"""How long an answer may take: what is streamed is outdated then."""


class Pulse:
    """Asks, and notes whether there is an answer.

    Args:
        now: The time in seconds, on a clock that does not step.
        ask: Asks the broker; is told of the answer by :meth:`answered`.
    """

    def __init__(self, now: Callable[[], float], ask: Callable[[], object]) -> None:
        self._now = now
        self._ask = ask
        self._asked_at: float | None = None  # and not answered
        self._ask_again_at = 0.0

    def beats(self) -> bool:
        """Whether more can be streamed; asks the broker if it is time to."""
        now = self._now()
        if self._asked_at is not None:
            return now < self._asked_at + PATIENCE_SECONDS
        if now >= self._ask_again_at:
            self._asked_at = now
            self._ask()
        return True

    def answered(self) -> None:
        """The broker has read all that was sent before it was asked."""
        self._asked_at = None
        self._ask_again_at = self._now() + ASK_SECONDS
