"""How much may wait for the store of what the broker does not keep for us (QoS 0)."""

import structlog

_log = structlog.get_logger(__name__)

MOST_WAITING = 50_000
"""Messages of one kind."""

MOST_WAITING_BYTES = 64 * 2**20
"""The same by their size."""


class Room:
    """Bounds the messages of one kind that wait and that nobody else keeps.

    What comes when there is none left is lost: the newest, as what waits longest may be in the
    store's hands already. That is said once, and with their number when all is well again.

    Args:
        kind: What they are, for the log.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._waiting = 0
        self._bytes = 0
        self._lost = 0

    def take(self, size: int) -> bool:
        """Whether there is room for one of so many bytes, which it then takes."""
        if self._waiting >= MOST_WAITING or self._bytes + size > MOST_WAITING_BYTES:
            if not self._lost:
                about = {"kind": self._kind, "waiting": self._waiting, "bytes": self._bytes}
                _log.error("messages_are_being_lost", **about)
            self._lost += 1
            return False
        self._waiting += 1
        self._bytes += size
        return True

    def free(self, size: int) -> None:
        """Give back what one of so many bytes has taken."""
        self._waiting -= 1
        self._bytes -= size
        if self._lost and not self._waiting:
            _log.warning("messages_were_lost", kind=self._kind, lost=self._lost)
            self._lost = 0
