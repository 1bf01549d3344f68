"""What is measured, and what must come out of it."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

IN_FLIGHT: Final = 64
"""Calls, or lives of commands, that go on at once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done. Each figure is the median of so many rounds."""

    rounds: int = 3
    burst: int = 20_000
    """Submissions of one burst, and calls of one round of the echo."""
    life_seconds: int = 30
    """For how long whole lives are sustained."""
    single: int = 700
    """Lives one after another, in each round."""
    watchers: int = 1000
    """Of one command, in each round of the fan-out."""
    pushes: int = 50
    """Messages to each of them."""
    idle_watchers: int = 10_000
    requests: int = 6000
    """Over HTTP, in each round."""
    stored: int = 1_000_000
    few_stored: int = 1000
    open_commands: int = 100_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a figure, or its ratio to the limit beside it, must keep to."""

    at_least: float = -math.inf
    at_most: float = math.inf

    def fits(self, value: float) -> bool:
        """Whether it does."""
        return self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        """``≥ 0.45`` or ``≤ 1.5``."""
        return f"≥ {self.at_least:g}" if self.at_least > -math.inf else f"≤ {self.at_most:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table."""

    name: str
    value: float
    unit: str
    beside: str = ""
    """What limits it."""
    limit: float | None = None
    """That, in the same unit, from the same rounds."""
    wanted: Wanted | None = None
    """Of the ratio where there is a limit, of the value elsewhere."""

    @property
    def ratio(self) -> float | None:
        """The figure by its limit."""
        return None if not self.limit else self.value / self.limit

    @property
    def is_missed(self) -> bool:
        """Whether it is not as wanted."""
        judged = self.value if self.ratio is None else self.ratio
        return self.wanted is not None and not self.wanted.fits(judged)


@dataclass(slots=True)
class Result:
    """What came of a run."""

    figures: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What must not be, whatever the figures."""

    @property
    def is_good(self) -> bool:
        """Whether everything is as wanted."""
        return not self.problems and not any(one.is_missed for one in self.figures)

    def show(
        self,
        name: str,
        values: Sequence[float] | float,
        unit: str,
        beside: tuple[str, Sequence[float]] | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        """Add a figure: the median of its rounds, and the median of the rounds of its limit."""
        rounds = [values] if isinstance(values, int | float) else values
        limit = None if beside is None else statistics.median(beside[1])
        what = "" if beside is None else beside[0]
        self.figures.append(Figure(name, statistics.median(rounds), unit, what, limit, wanted))


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
