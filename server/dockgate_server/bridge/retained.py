"""What a broker had retained, and brings as if it were said now.

It may be from last year, and it comes again with every subscription: an event that is answered
once more, a reply, a last will that makes a living dock look gone.
"""

import structlog

_log = structlog.get_logger(__name__)

MOST_NAMED = 100
"""Topics that are named in the log for one connection; there may be some for each device."""


class RetainedLog:
    """Says of each topic once that something retained there was dropped; one for a connection."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def dropped(self, topic: str) -> None:
        """Something that was retained there came, and nobody is given it."""
        if topic not in self._named and len(self._named) < MOST_NAMED:
            self._named.add(topic)
            _log.warning("retained_message_dropped", topic=topic)
