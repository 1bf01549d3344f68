"""What a run of a fuzz target found; each target has a ``run(seed, seconds) -> Report``."""

import asyncio
import gc
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

GROWTH: Final = 1.1
"""By which factor the objects of the process may become more after the warm-up."""


@dataclass
class Report:
    """Figures and failures of one run.

    Attributes:
        target: Which target: ``mqtt`` or ``http``.
        seed: What the run was drawn from.
        rounds: How many independent histories there were; each has a seed of its own.
        inputs: How many messages or requests went in.
        seconds: How long it took.
        failing_seed: The seed of the round that failed; ``run(failing_seed, 0)`` repeats it alone.
        seen: What was done and what came of it, for people: a run that reaches nothing shows it.
        failures: What did not hold; a run ends with the first round that has any.
    """

    target: str
    seed: int
    rounds: int = 0
    inputs: int = 0
    seconds: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    failing_seed: int | None = None

    @property
    def is_good(self) -> bool:
        """Whether everything held."""
        return not self.failures


def in_rounds(
    report: Report,
    seconds: float,
    one: Callable[[int, Path, Report], Coroutine[Any, Any, list[str]]],
    *,
    warm_up: int,
) -> Report:
    """Run one round after the other until the time is over, but at least one.

    Args:
        report: Says with which seed to begin, and is filled in.
        seconds: How long to go on.
        one: A round with a seed, in a folder of its own; answers with what did not hold.
        warm_up: Rounds after which the process has all that it goes on to have.
    """
    began, objects = time.monotonic(), 0
    while not report.rounds or time.monotonic() < began + seconds:
        of_round = report.seed + report.rounds
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(one(of_round, Path(folder), report))
        report.rounds += 1
        gc.collect()
        count = len(gc.get_objects())
        if report.rounds <= warm_up:
            objects = max(objects, count)
        elif count > objects * GROWTH:
            found.append(f"objects have grown from {objects:,} to {count:,}")
        if found:
            report.failures, report.failing_seed = found, of_round
            break
    report.seconds = time.monotonic() - began
    return report
