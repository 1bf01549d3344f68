"""Which devices are there, as far as their messages tell.

Whatever a device publishes shows that it is there; a gateway device's last will that it is not.
Nothing heard means unknown, and unknown is treated as there: only the broker can tell then.
"""

from collections.abc import Callable, Iterable

from dockgate_server.clock import Clock
from dockgate_server.model.device import Presence, Whereabouts

_MOST_KNOWN = 100_000
"""Serial numbers come from topics, which anybody at the broker may make up."""

Listener = Callable[[str, Presence], None]
"""Is given the serial number of a device of which something else is known now, and what."""


class PresenceBook:
    """Keeps who is there, and tells when somebody comes or goes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, Presence] = {}
        self._heard_at: dict[str, int] = {}
        self._heard_since: set[str] = set()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have somebody told of each change."""
        self._listeners.append(listener)

    def load(self, found: Iterable[Whereabouts]) -> None:
        """Take over what was written down."""
        for one in found:
            if one.presence is not Presence.UNKNOWN:
                self._known[one.id] = one.presence
            if one.heard_at is not None:
                self._heard_at[one.id] = one.heard_at

    def of(self, serial_number: str) -> Presence:
        """What is known of the device."""
        return self._known.get(serial_number, Presence.UNKNOWN)

    def heard_at(self, serial_number: str) -> int | None:
        """When the device last spoke or was named, UTC in milliseconds; None when it never was."""
        return self._heard_at.get(serial_number)

    def heard(self, serial_number: str) -> None:
        """A message of the device came."""
        self._hear(serial_number, self._clock.now_ms())
        self._note(serial_number, Presence.ONLINE)

    def named(self, serial_number: str, at: int) -> None:
        """The device's gateway device said that it is connected.

        A drone may be silent for hours; whether it can be reached is its gateway device's presence.

        Args:
            serial_number: The device.
            at: When that was said, UTC in milliseconds.
        """
        self._hear(serial_number, max(at, self._heard_at.get(serial_number, at)))

    def left(self, serial_number: str) -> None:
        """The device's last will came."""
        self._note(serial_number, Presence.OFFLINE)

    def doubt(self, serial_number: str) -> None:
        """Nobody listened for the device: whatever was known no longer holds."""
        self._note(serial_number, Presence.UNKNOWN)

    def forget(self) -> None:
        """Doubt all: messages may have been missed, last wills among them."""
        for serial_number in list(self._known):
            self.doubt(serial_number)

    def take_heard(self) -> set[str]:
        """Who was heard of since the last time this was asked."""
        heard, self._heard_since = self._heard_since, set()
        return heard

    def _hear(self, serial_number: str, at: int) -> None:
        self._heard_at[serial_number] = at
        self._heard_since.add(serial_number)
        if len(self._heard_at) > _MOST_KNOWN:
            self._drop(next(iter(self._heard_at)))

    def _drop(self, serial_number: str) -> None:
        """Know nothing of a device any more."""
        self._known.pop(serial_number, None)
        self._heard_at.pop(serial_number, None)
        self._heard_since.discard(serial_number)

    def _note(self, serial_number: str, presence: Presence) -> None:
        if self.of(serial_number) is presence:
            return
        if presence is Presence.UNKNOWN:
            del self._known[serial_number]
        else:
            if len(self._known) >= _MOST_KNOWN and serial_number not in self._known:
                self._drop(next(iter(self._known)))
            self._known[serial_number] = presence
        for listener in self._listeners:
            listener(serial_number, presence)
