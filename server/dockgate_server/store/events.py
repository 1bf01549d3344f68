"""What the gateway asks of a store about the events of devices.

What :class:`~dockgate_server.store.interface.Store` says of changes holds here too.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from dockgate_server.model.event import DeviceEvent, NewEvent, Repetition
from dockgate_server.store.interface import Swept

Recorded = tuple[DeviceEvent | Repetition, ...]
"""What became of each event that was to be recorded, in order."""


class DeviceEvents(Protocol):
    """The record of what devices told, bounded: the oldest go first."""

    def record(self, told: Sequence[NewEvent]) -> asyncio.Future[Recorded]:
        """Insert events, with what they say of jobs; a repetition changes nothing.

        They belong to the tenants of the devices that tell them.
        """

    def answered(self, seqs: Sequence[int], at: int) -> asyncio.Future[None]:
        """Remember that the devices have been told that these have arrived."""

    async def behind(self, after: int, limit: int) -> Sequence[DeviceEvent]:
        """Events of every tenant behind a seq, oldest first: fewer where they are large.

        Raises:
            DockgateError: CURSOR_EXPIRED, when some of them have been removed.
        """

    async def newest_seq(self) -> int:
        """The seq of the last event there was, removed or not; 0 when there was none."""

    def remove_old(self, cutoff: int, now: int, after: int) -> asyncio.Future[Swept]:
        """A step along the order of recording, behind a seq: what came before ``cutoff`` goes."""
