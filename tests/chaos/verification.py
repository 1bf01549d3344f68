"""All checks of a run's evidence."""

from collections.abc import Callable, Iterator

from chaos import record_checks, sending_checks, wire_checks
from chaos.evidence import Evidence, Violation

CHECKS: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    record_checks.lost,
    record_checks.altered,
    record_checks.invented,
    record_checks.unended,
    record_checks.late,
    record_checks.changed,
    record_checks.gaps,
    record_checks.watched,
    record_checks.watched_all,
    record_checks.logged,
    sending_checks.held_back,
    sending_checks.refused,
    wire_checks.strays,
    wire_checks.missed,
    wire_checks.forgotten,
    wire_checks.twice,
    wire_checks.undoing,
    wire_checks.out_of_order,
    wire_checks.changed,
    wire_checks.too_late,
    wire_checks.untrue,
)


def verify(evidence: Evidence) -> list[Violation]:
    """Every promise that was not kept."""
    found = [violation for check in CHECKS for violation in check(evidence)]
    return [*evidence.noticed, *found]
