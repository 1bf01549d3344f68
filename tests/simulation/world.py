"""Virtual time, chance, and the list of what went wrong."""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

WALL_CLOCK_BEGINS = 1_776_859_200_000

LAG = 0.0002
"""Seconds that small things take at most: a turn of the event loop, a hop in the same machine."""


class World:
    """An agenda of calls, made in the order of their time; the seed decides every chance.

    Nothing here waits: time is whatever the next entry of the agenda says.

    Args:
        seed: The same seed gives the same history, to the last step.
        tracing: Keep a line for each step.
        emphasis: How much more often than usual which fault strikes.
    """

    def __init__(
        self, seed: int, *, tracing: bool = False, emphasis: Mapping[str, float] | None = None
    ) -> None:
        self.seed = seed
        self.now = 0.0
        self.rng = Random(seed)
        self.random = self.rng.random
        self.calm = False
        """No more faults: what was begun may come to its end."""
        self.faults: Counter[str] = Counter()
        self.violations: list[str] = []
        self.trace: list[str] | None = [] if tracing else None
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._entries = 0
        self._wall_steps: list[tuple[float, int]] = [(0.0, WALL_CLOCK_BEGINS)]
        # How often which kind of fault strikes, other in every seed: some bugs show only where
        # one kind is frequent and another one rare.
        self._intensity: dict[str, float] = dict(emphasis or {})

    def after(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        """Put a call on the agenda."""
        self._entries += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._entries, call, args))

    def at(self, moment: float, call: Callable[..., None], *args: Any) -> None:
        """The same for a moment: calls for the same one are made in the order they came in."""
        self._entries += 1
        heapq.heappush(self._agenda, (max(moment, self.now), self._entries, call, args))

    def run(self, until: float) -> None:
        """Make the calls of the agenda up to a time, or until something is wrong."""
        agenda, pop = self._agenda, heapq.heappop
        while agenda and agenda[0][0] <= until and not self.violations:
            self.now, _, call, args = pop(agenda)
            call(*args)
        if not self.violations:
            self.now = until

    # Chance.

    def strikes(self, fault: str, probability: float) -> bool:
        """Whether a fault happens now; it is counted."""
        if self.calm or self.random() >= probability * self.intensity(fault):
            return False
        self.struck(fault)
        return True

    def struck(self, fault: str) -> None:
        """A fault has happened."""
        self.faults[fault] += 1
        if self.trace is not None:
            self.note("fault", fault)

    def intensity(self, fault: str) -> float:
        """How much more often than usual a fault strikes in this history."""
        intensity = self._intensity.get(fault)
        if intensity is None:
            intensity = self._intensity[fault] = self.rng.choice((0.2, 0.7, 1.0, 1.0, 3.0, 8.0))
        return intensity

    def between(self, low: float, high: float) -> float:
        """A number between the two."""
        return low + (high - low) * self.random()

    # The wall clock.

    def wall_ms(self) -> int:
        """UTC in milliseconds, as the gateway's machine believes it to be."""
        return self._wall_steps[-1][1] + int(self.now * 1000)

    def step_wall_clock(self, seconds: float) -> None:
        """Move UTC alone, as an operator or NTP does."""
        self._wall_steps.append((self.now, self._wall_steps[-1][1] + round(seconds * 1000)))

    def moments_of(self, wall_ms: int, since: float) -> tuple[float, float]:
        """When the wall clock shows a time: the earliest and the latest answer.

        Args:
            wall_ms: The time on the wall clock.
            since: When somebody began to work it out; the clock may have stepped meanwhile.
        """
        offsets = [offset for at, offset in self._wall_steps if at >= since]
        since = max(0.0, since)
        offsets.append(next(o for at, o in reversed(self._wall_steps) if at <= since))
        return (wall_ms - max(offsets)) / 1000, (wall_ms - min(offsets)) / 1000

    # What is told.

    def note(self, who: str, what: str, *details: object) -> None:
        """Keep a line of the trace; callers ask ``trace`` first where composing it costs time."""
        if self.trace is not None:
            self.trace.append(f"{self.now:12.6f}  {who:<9} {what} {' '.join(map(str, details))}")

    def violate(self, what: str) -> None:
        """Something that must hold does not; the history ends here."""
        self.violations.append(f"{what} (at {self.now:.6f} s)")
        self.note("VIOLATION", what)
