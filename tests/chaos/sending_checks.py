"""That what can be sent is sent: a server that sends nothing would break no other promise."""

from collections.abc import Iterator, Sequence

from chaos.evidence import Evidence, Span, Stored, Violation
from chaos.wire_checks import NOBODY
from dockgate_server.codec import catalogue

_TAKEN = 0x00

SETTLING_MS = 500
"""How long server, broker and dock may take to find each other again."""
PATIENCE_MS = 2000
"""How long a command may wait, or a dock be taken for absent, while all of them are there."""


def held_back(evidence: Evidence) -> Iterator[Violation]:
    """No command waits until its deadline while it could be sent."""
    for command_id, stored in evidence.stored.items():
        if stored.view.failure_code != "DELIVERY_TIMEOUT":
            continue
        calm = sum(_calm(evidence, stored, stored.accepted_at, stored.deadline_at))
        if calm > PATIENCE_MS and not _would_undo(evidence, command_id, stored):
            text = f"not sent, with server, broker and {stored.gateway_id} there for {calm} ms"
            yield Violation("held back", command_id, text)


def _would_undo(evidence: Evidence, command_id: str, stored: Stored) -> bool:
    """Whether it reached nobody, and the broker has since taken what it would undo."""
    if not any(one.tid == command_id and one.reason == NOBODY for one in evidence.published):
        return False
    undone = catalogue.undone_behind(stored.method)
    taken = {one.tid for one in evidence.published if one.reason == _TAKEN}
    return any(
        other.gateway_id == stored.gateway_id
        and other.seq > stored.seq
        and bool(undone & {other.method, ""})
        for tid, other in evidence.stored.items()
        if tid in taken
    )


def refused(evidence: Evidence) -> Iterator[Violation]:
    """No command is refused for the absence of a dock that has been there for long."""
    for command_id, stored in evidence.stored.items():
        ended = stored.view.completed_at
        if stored.view.failure_code != "DEVICE_OFFLINE" or ended is None:
            continue
        *_, calm = _calm(evidence, stored, ended - 2 * (PATIENCE_MS + SETTLING_MS), ended)
        if calm > PATIENCE_MS:
            text = f"refused, with server, broker and {stored.gateway_id} there for {calm} ms"
            yield Violation("refused", command_id, text)


def _calm(evidence: Evidence, stored: Stored, since: int, until: int) -> list[int]:
    return calm_ms([*evidence.outages, *evidence.absences.get(stored.gateway_id, ())], since, until)


def calm_ms(away: Sequence[Span], since: int, until: int) -> list[int]:
    """How long nothing was away, each time, but for the settling; the last one ends at ``until``.

    Args:
        away: When something was away, in any order.
        since: From when on.
        until: Until when.
    """
    calm = []
    for span in sorted(away, key=lambda span: span.began):
        if span.began >= until:
            break
        calm.append(max(0, span.began - since - SETTLING_MS))
        since = max(since, span.ended)
    return [*calm, max(0, until - since - SETTLING_MS)]
