"""What a run is to do, and what came of it."""

from dataclasses import dataclass
from pathlib import Path

from chaos.evidence import Violation


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do."""

    kills: int = 200
    broker_restarts: int = 50
    docks: int = 4
    rate: float = 40.0
    """Submissions a second."""
    seed: int = 1
    longest_timeout: int = 15
    """In seconds; the shortest is 2."""
    workers: int = 0
    """Processes that speak gRPC in front of the server's own; they are not killed with it."""
    calm_seconds: float = 5.0
    """How long the load goes on behind the storm, to see that everything works by itself again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    figures: dict[str, int]
    violations: list[Violation]
    folder: Path | None
    """Where database and logs are kept; None when nothing was wrong."""
    seconds: float
