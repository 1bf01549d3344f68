"""Wakes those who watch devices; each then looks at the devices that have changed since."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dockgate_server.hub import Watcher


class Changed(Watcher):
    """One who watches, and what has changed since it last looked."""

    __slots__ = ("_changed",)

    def __init__(self) -> None:
        super().__init__()
        self._changed: set[str] = set()

    def take(self) -> set[str]:
        """The serial numbers of the devices that have changed since the last time."""
        changed, self._changed = self._changed, set()
        return changed

    def note(self, serial_number: str) -> None:
        """A device has changed."""
        self._changed.add(serial_number)
        self.wake()


class DeviceFeed:
    """Knows who watches devices."""

    def __init__(self) -> None:
        self._watchers: set[Changed] = set()
        self._listeners: list[Callable[[], None]] = []
        self._closed = False
        self._reported: dict[str, int] = {}
        """The number of each device's latest report of its state."""
        self.reports = 0
        """How many reports there have been: the number of the latest one."""

    def listen(self, listener: Callable[[], None]) -> None:
        """Have somebody told at once that devices have come, gone, moved, or got another name."""
        self._listeners.append(listener)

    def changed(self, *serial_numbers: str) -> None:
        """Devices have come, gone, moved, or got another name."""
        for watcher in self._watchers:
            for serial_number in serial_numbers:
                watcher.note(serial_number)
        for listener in self._listeners:
            listener()

    def state_changed(self, serial_number: str) -> None:
        """A device has reported its state.

        That comes all the time: it wakes nobody, and costs the same however many watch.
        """
        self.reports += 1
        self._reported[serial_number] = self.reports

    def has_reported(self, serial_number: str, behind: int) -> bool:
        """Whether a device has reported its state behind a report."""
        return self._reported.get(serial_number, 0) > behind

    def forget(self, serial_number: str) -> None:
        """A device is no longer known."""
        self._reported.pop(serial_number, None)

    @contextmanager
    def watch(self) -> Iterator[Changed]:
        """Be told of what changes."""
        watcher = Changed()
        watcher.closed = self._closed
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def close(self) -> None:
        """End every watch, and each one that still comes."""
        self._closed = True
        for watcher in self._watchers:
            watcher.closed = True
            watcher.wake()
