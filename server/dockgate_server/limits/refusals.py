"""Saying no: to the caller each time, to the log now and then."""

import math
from collections.abc import Callable

import structlog

from dockgate_server import lines
from dockgate_server.clock import Clock
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.lines import Lines
from dockgate_server.model.caller import LOCAL, Caller

LOG_SECONDS = lines.SECONDS
"""How often a line is written of one credential and one limit, however often it is refused."""

MOST_UNPROVEN_LINES = 10
"""Lines in a second about callers of whom nothing is proven, of all of them together: whoever can
connect can make as many bad calls as he likes."""

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
        self._unproven = Lines(MOST_UNPROVEN_LINES, clock)
        self._quiet: dict[tuple[str, str], Lines] = {}
        """By limit and credential."""
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

    def note(self, limit: str, who: str, *, proven: bool = True) -> None:
        """Write a line, unless there was one just now; the next one counts those left out.

        Args:
            limit: The name of the setting.
            who: The credential, or the address where nothing is proven.
            proven: Whether it is a credential.
        """
        about = self._quiet.get((limit, who))
        if about is None:
            about = self._quiet[limit, who] = Lines(1, self._clock)
        if (left_out := about.one_more()) is not None:
            said = {"limit": limit, "who": who, "refused": left_out + 1}
            self._write(_log.warning, "limit_reached", proven, said)
        if len(self._quiet) > self._sweep_at:
            self._quiet = {key: one for key, one in self._quiet.items() if not one.is_quiet}
            self._sweep_at = max(_FEWEST_KEPT, 2 * len(self._quiet))

    def tell(self, event: str, reason: str, *, proven: bool, **about: object) -> None:
        """Write a line about a call that was refused: about each one of a caller who is known.

        Whoever has sent too much has had a line already, see :meth:`reached`.

        Args:
            event: What the line is called.
            reason: Why it was refused.
            proven: Whether the caller is known.
            about: What else to say.
        """
        if reason != Reason.RATE_LIMITED:
            self._write(_log.info, event, proven, {**about, "code": reason})

    def _write(
        self, write: Callable[..., object], event: str, proven: bool, said: dict[str, object]
    ) -> None:
        if proven:
            write(event, **said)
        else:
            self._unproven.write(write, event, **said)
