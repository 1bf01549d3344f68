"""Whether accepting goes before sending.

Somebody waits for each acceptance; and the commands of a burst wait for each other anyway. So while
many are submitted at once, and more wait than go out together, few are sent: one for so many that
are submitted. Not for long, as then the deadlines of those that wait come nearer.
"""

from dockgate_server.dispatcher.window import WINDOW

SUBMITTED_FOR_ONE_SENT = 8
FEWEST_SUBMITTED = 3 * WINDOW // 4
FEWEST_WAITING = WINDOW // 2
"""With fewer there is no burst."""

LONGEST_SECONDS = 5.0
"""After so long sending and accepting have the same right, until few wait again."""


class Burst:
    """Counts what is submitted, and says how many may be sent meanwhile."""

    def __init__(self) -> None:
        self._began: float | None = None
        self.accepted = 0
        """Commands accepted since it was asked last."""

    def room(self, free: int, waiting: int, accepting: int, now: float) -> int:
        """How many may be sent together.

        Args:
            free: For so many there is room.
            waiting: So many are accepted and have not been sent.
            accepting: So many are being accepted.
            now: By the monotonic clock, in seconds.
        """
        submitted, self.accepted = self.accepted + accepting, 0
        if waiting < FEWEST_WAITING:
            self._began = None
            return free
        self._began = now if self._began is None else self._began
        if submitted < FEWEST_SUBMITTED or now > self._began + LONGEST_SECONDS:
            return free
        return min(free, max(1, submitted // SUBMITTED_FOR_ONE_SENT))
