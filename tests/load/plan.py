"""What a run is to do, and what came of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

WINDOW: Final = 64
"""How many messages may wait for the broker's acknowledgement."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do, and what it must keep to."""

    commands: int = 100_000
    """Open commands that a start finds."""
    gateways: int = 100
    waiting: int = 10_000
    """Commands that a silent dock leaves unanswered at once."""
    serving_seconds: float = 5.0
    """From the start of the process until it serves."""
    late_seconds: float = 0.5
    """From a deadline until a watcher sees TIMED_OUT."""
    submit_seconds: float = 0.5
    """The slowest answer to a submission meanwhile."""
    end_microseconds: float = 300.0
    """For each command that is ended together with all others, at a start after the deadlines."""
    send_microseconds: float = 2000.0
    """For each command that a start finds unsent."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that a scene shows."""

    name: str
    value: float
    unit: str = ""
    limit: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether it is beyond its limit."""
        return self.limit is not None and not self.value <= self.limit


@dataclass(slots=True)
class Result:
    """What came of one scene."""

    scene: str
    figures: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What must not be, whatever the figures."""

    def show(self, name: str, value: float, unit: str = "", *, limit: float | None = None) -> None:
        """Add a figure."""
        self.figures.append(Figure(name, value, unit, limit))

    def show_times(
        self, name: str, seconds: Sequence[float], *, limit: float | None = None
    ) -> None:
        """Add the median, the 99th percentile and the worst of times; the worst has the limit."""
        if not seconds:
            self.problems.append(f"{name}: there is none")
            return
        ordered = [1000 * one for one in sorted(seconds)]
        self.show(f"{name}, p50", _quantile(ordered, 0.50), "ms")
        self.show(f"{name}, p99", _quantile(ordered, 0.99), "ms")
        most = None if limit is None else 1000 * limit
        self.show(f"{name}, most", ordered[-1], "ms", limit=most)

    @property
    def is_good(self) -> bool:
        """Whether everything is as it must be."""
        return not self.problems and not any(figure.is_missed for figure in self.figures)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    results: list[Result]
    folder: Path | None
    """Where databases and logs are kept; None when nothing was wrong."""
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether everything is as it must be."""
        return all(result.is_good for result in self.results)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
