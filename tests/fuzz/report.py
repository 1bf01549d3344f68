"""What a run of a fuzz target found; each target has a ``run(seed, seconds) -> Report``."""

from collections import Counter
from dataclasses import dataclass, field


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
