"""Wakes those who watch devices; each then looks at the devices that have changed since."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dockgate_server.hub import Watcher


class Changed(Watcher):
    """One who watches, and what has changed since it last looked."""

    __slots__ = ("_changed", "_reported")

    def __init__(self) -> None:
        super().__init__()
        self._changed: set[str] = set()
        self._reported: set[str] = set()

    def take(self, *, with_state: bool) -> set[str]:
        """The serial numbers of the devices that have changed since the last time."""
        changed, self._changed = self._changed, set()
        if with_state:
            changed |= self._reported
            self._reported = set()
        return changed

    def note(self, serial_number: str) -> None:
        """A device has changed."""
        self._changed.add(serial_number)
        self.wake()

    def note_state(self, serial_number: str) -> None:
        """A device has reported its state: that comes all the time, and wakes nobody."""
        self._reported.add(serial_number)


class DeviceFeed:
    """Knows who watches devices."""

    def __init__(self) -> None:
        self._watchers: set[Changed] = set()
        self._listeners: list[Callable[[], None]] = []
        self._closed = False

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
        """A device has reported its state."""
        for watcher in self._watchers:
            watcher.note_state(serial_number)

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
