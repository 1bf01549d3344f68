"""Whether accepting goes before sending.

Somebody waits for each acceptance; and the commands of a burst wait for each other anyway. So while
many are submitted in a short time, and more wait than go out together, few are sent: one for so
many that are accepted. Not for long, as then the deadlines of those that wait come nearer.
"""

from collections.abc import Callable

from dockgate_server.clock import Clock
from dockgate_server.dispatcher.window import WINDOW

ACCEPTED_FOR_ONE_SENT = 64
SPAN_SECONDS = 0.05
FEWEST_ACCEPTED = WINDOW
"""In one span of time; with fewer there is no burst."""
FEWEST_WAITING = 4 * WINDOW
"""With fewer there is none either: who submits the next one after an answer needs that answer."""

LONGEST_SECONDS = 5.0
"""After so long sending and accepting have the same right, until few wait again."""


class Burst:
    """Counts what is accepted, and says how many may be sent meanwhile.

    Args:
        clock: The time; its monotonic one.
        ask: Is called when more may be sent than was said, though nothing has happened since.
    """

    def __init__(self, clock: Clock, ask: Callable[[], None]) -> None:
        self._clock = clock
        self._ask = ask
        self._is_to_ask = False
        self._earned = 0  # commands accepted for which none has been sent
        self._span_began = 0.0
        self._in_span = 0
        self._many_before = False  # in the span before this one
        self._began: float | None = None

    def accepted(self) -> None:
        """A command has been accepted."""
        self._look_at(self._clock.monotonic())
        self._in_span += 1
        self._earned += 1

    def room(self, free: int, waiting: int) -> int:
        """How many may be sent together.

        Args:
            free: For so many there is room.
            waiting: So many are accepted and have not been sent.
        """
        now = self._clock.monotonic()
        self._look_at(now)
        if waiting < FEWEST_WAITING:
            self._began = None
            return self._all(free)
        self._began = now if self._began is None else self._began
        many = self._many_before or self._in_span >= FEWEST_ACCEPTED
        if not many or now > self._began + LONGEST_SECONDS:
            return self._all(free)
        if not self._is_to_ask:
            self._is_to_ask = True
            self._clock.call_at(now + SPAN_SECONDS, self._ask_again)
        may, self._earned = divmod(self._earned, ACCEPTED_FOR_ONE_SENT)
        return min(free, may)

    def _all(self, free: int) -> int:
        self._earned = 0
        return free

    def _look_at(self, now: float) -> None:
        """Begin another span when this one is over."""
        if now >= self._span_began + SPAN_SECONDS:
            ended_just_now = now < self._span_began + 2 * SPAN_SECONDS
            self._many_before = ended_just_now and self._in_span >= FEWEST_ACCEPTED
            self._span_began, self._in_span = now, 0

    def _ask_again(self) -> None:
        self._is_to_ask = False
        self._ask()
