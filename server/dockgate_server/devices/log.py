"""Writes down where devices are, so that a restart knows it.

Comings and goings at once, the times at which devices were last heard of now and then: those change
with every message.
"""

import asyncio
from functools import partial

from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.model.device import Presence, Whereabouts
from dockgate_server.store.devices import DeviceStore

WRITE_SECONDS = 30.0


class WhereaboutsLog:
    """Keeps the store's record of presence near what is known.

    Of whom the store cannot take it now, the next round writes what is known then: a device that
    has left says nothing more by itself.

    Args:
        store: The record.
        presence: What is known.
        registry: Knows which devices there are; nothing is written of others.
    """

    def __init__(self, store: DeviceStore, presence: PresenceBook, registry: Registry) -> None:
        self._store = store
        self._presence = presence
        self._registry = registry
        self._not_taken: set[str] = set()
        presence.listen(self._changed)

    async def run(self) -> None:
        """Write now and then, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            self.write()

    def write(self) -> None:
        """Write of those who were heard of since the last time, or could not be written of."""
        not_taken, self._not_taken = self._not_taken, set()
        self._write(self._presence.take_heard() | not_taken)

    def _changed(self, serial_number: str, presence: Presence) -> None:
        self._write({serial_number})

    def _write(self, serial_numbers: set[str]) -> None:
        known = [
            Whereabouts(one, self._presence.of(one), self._presence.heard_at(one))
            for one in sorted(serial_numbers)
            if self._registry.knows(one)
        ]
        if known:
            writing = self._store.note_whereabouts(known)
            writing.add_done_callback(partial(self._written, {one.id for one in known}))

    def _written(self, serial_numbers: set[str], writing: "asyncio.Future[None]") -> None:
        if not writing.cancelled() and writing.exception() is not None:
            self._not_taken |= serial_numbers
