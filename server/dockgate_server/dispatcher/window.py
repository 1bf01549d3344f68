"""How many messages may be on their way to the broker at once."""

from dockgate_server.bridge.interface import Bridge

WINDOW = 64
"""Messages that may wait for the broker's acknowledgement, if the broker allows so many.
Measured: throughput peaks here."""

_EMERGENCY_PLACES = 2
"""How many of the messages that the broker allows are kept for emergencies, which do not wait
for the window: with one more than it allows, the broker would end the connection."""


class Window:
    """Counts the places that are taken.

    By messages that wait for their acknowledgement, and by commands that are being accepted and are
    to be sent at once.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.in_flight = 0
        self.reserved = 0
        self.unplaced = 0
        """Commands that are being accepted without a place."""
        self._streaming = 0

    @property
    def room(self) -> int:
        """Places that are free."""
        window = min(WINDOW, max(1, self._bridge.receive_maximum - _EMERGENCY_PLACES))
        return window - self.in_flight - self.reserved

    @property
    def room_in_acceptance(self) -> int:
        """Places for those that are sent as soon as they are accepted; a burst waits instead."""
        return min(self.room, WINDOW // 2 - self.accepting)

    @property
    def room_for_emergencies(self) -> int:
        """Places that are free for those who need not wait for the window."""
        return self._bridge.receive_maximum - self.in_flight - self.reserved

    @property
    def accepting(self) -> int:
        """Commands that are being accepted."""
        return self.reserved + self.unplaced

    @property
    def is_in_use(self) -> bool:
        """Whether something is on its way, or goes out as soon as it is accepted."""
        return bool(self.in_flight or self.reserved or self._streaming)

    def enter(self, *, with_place: bool, streams: bool) -> None:
        """A command is being accepted.

        Those that stream wait for no acknowledgement and take nobody's place.
        """
        if streams:
            self._streaming += 1
        elif with_place:
            self.reserved += 1
        else:
            self.unplaced += 1

    def leave(self, *, with_place: bool, streams: bool) -> None:
        """It has been, or could not be."""
        if streams:
            self._streaming -= 1
        elif with_place:
            self.reserved -= 1
        else:
            self.unplaced -= 1
