"""Saying no to whoever has reached a limit: to the caller each time, to the log now and then."""

import math

import structlog

from dockgate_server.clock import Clock
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL, Caller

LOG_SECONDS = 1.0
"""How often a line is written of one credential and one limit, however often it is refused."""

_FEWEST_KEPT = 1000

_log = structlog.get_logger(__name__)


def is_exempt(caller: Caller) -> bool:
    """Whether limits of a credential do not count: on this machine without TLS there is none."""
    return caller.principal == LOCAL.principal


class Refusals:
    """Makes the errors, and keeps a flood of calls from becoming a flood of lines.

    Args:
        clock: The time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._quiet: dict[tuple[str, str], tuple[float, int]] = {}
        """By limit and credential: until when no line is written, and how many it leaves out."""
        self._sweep_at = _FEWEST_KEPT

    def reached(
        self, caller: Caller, limit: str, why: str, retry_after_seconds: float = 1.0
    ) -> DockgateError:
        """The error for a call that is refused.

        Args:
            caller: Who is refused.
            limit: The name of the setting.
            why: What is too much, as a sentence.
            retry_after_seconds: When trying again may help; told in whole seconds, at least one.
        """
        self.note(limit, caller.principal)
        seconds = max(1, math.ceil(retry_after_seconds))
        return DockgateError(
            Reason.RATE_LIMITED,
            f"{why}; try again in {seconds} s",
            metadata={"limit": limit, "retry_after_seconds": str(seconds)},
        )

    def note(self, limit: str, who: str) -> None:
        """Write a line, unless there was one just now; the next one counts those left out."""
        now = self._clock.monotonic()
        until, left_out = self._quiet.get((limit, who), (now, 0))
        if now < until <= now + LOG_SECONDS:
            self._quiet[limit, who] = (until, left_out + 1)
            return
        self._quiet[limit, who] = (now + LOG_SECONDS, 0)
        _log.warning("limit_reached", limit=limit, who=who, refused=left_out + 1)
        if len(self._quiet) > self._sweep_at:
            self._quiet = {key: one for key, one in self._quiet.items() if now < one[0]}
            self._sweep_at = max(_FEWEST_KEPT, 2 * len(self._quiet))
