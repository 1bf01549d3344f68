"""Keeping lines in the log few."""

from collections.abc import Callable

from dockgate_server.clock import Clock

SECONDS = 1.0
"""The time for which they are counted."""

MOST_FROM_DEVICES = 10
"""Lines in a second about messages of devices that are of no use, of each kind: a device can send
any number of them."""


class Lines:
    """Lets so many lines a second be written, and counts those that it leaves out.

    Args:
        most: How many in a second.
        clock: The time; its monotonic one.
    """

    __slots__ = ("_clock", "_left_out", "_most", "_until", "_written")

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._until = clock.monotonic()
        self._written = 0
        self._left_out = 0

    @property
    def is_quiet(self) -> bool:
        """Whether it can be forgotten: the next line will be written."""
        now = self._clock.monotonic()
        # A clock that was set back must not silence anything for long.
        return not now < self._until <= now + SECONDS

    def one_more(self) -> int | None:
        """Count a line.

        Returns:
            None when it is to be left out; else how many were since the one before.
        """
        if self.is_quiet:
            self._until = self._clock.monotonic() + SECONDS
            self._written = 0
        elif self._written >= self._most:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return left_out

    def write(self, write: Callable[..., object], event: str, **about: object) -> None:
        """Write a line, unless it is to be left out; it says how many were before it.

        Args:
            write: The logger's method.
            event: What the line is called.
            about: What it says.
        """
        left_out = self.one_more()
        if left_out is None:
            return
        if left_out:
            about["left_out"] = left_out
        write(event, **about)
