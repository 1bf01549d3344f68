"""Removes what is older than it is to be kept, for as long as the gateway runs.

Once an hour, in small steps with pauses between them, so that those who submit hardly wait. Age is
told by the wall clock, which may be wrong: a clock that has jumped ahead is believed only when it
has stayed there for an hour, and one that was set back only keeps things for longer.
"""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from dockgate_server.clock import Clock, pause
from dockgate_server.errors import DockgateError
from dockgate_server.store.interface import Swept

_log = structlog.get_logger(__name__)

ROUND_SECONDS = 3600.0
"""From one round to the next, and from the start to the first."""

PAUSE_SECONDS = 0.05
"""Between two steps of a round: many times what a step takes, and still some 2,000 commands a
second."""

_HOUR_MS = 3_600_000

Remove = Callable[[int, int, int], asyncio.Future[Swept]]
"""A step: of what came before the first time goes some, behind the place; the second is now."""


class Retention:
    """Has the store remove what is old.

    Args:
        removing: What there is, by name, and how a step of removing it is made.
        clock: The time.
        keep_hours: How long it is kept: an ended command after its last change.
    """

    def __init__(self, removing: Mapping[str, Remove], clock: Clock, keep_hours: int) -> None:
        self._removing = removing
        self._clock = clock
        self._keep_ms = keep_hours * _HOUR_MS

    async def run(self) -> None:
        """A round an hour, until cancelled."""
        wall, monotonic = self._clock.now_ms(), self._clock.monotonic()
        while True:
            await pause(self._clock, ROUND_SECONDS)
            passed = round((self._clock.monotonic() - monotonic) * 1000)
            believed = min(self._clock.now_ms(), wall + passed)
            wall, monotonic = self._clock.now_ms(), self._clock.monotonic()
            await self._round(believed)

    async def _round(self, now: int) -> None:
        for what, remove in self._removing.items():
            try:
                removed = await self._remove_all(remove, now)
            except DockgateError as error:
                # The next round takes up what this one has left.
                _log.warning(f"old_{what}_not_removed", error=error.message)
            else:
                if removed:
                    _log.info(f"old_{what}_removed", **{what: removed})

    async def _remove_all(self, remove: Remove, now: int) -> int:
        removed = 0
        after: int | None = 0
        while after is not None:
            swept = await remove(now - self._keep_ms, now, after)
            removed += swept.removed
            after = swept.position
            await pause(self._clock, PAUSE_SECONDS)
        return removed
