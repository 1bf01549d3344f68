"""What was, in numbers."""

from collections import Counter

from chaos.evidence import Evidence
from chaos.load import Load
from chaos.record_checks import LATE_MS, served_ms
from chaos.storm import Storm
from chaos.wire_checks import NOBODY, key, sort


def of_storm(storm: Storm, load: Load) -> dict[str, int]:
    """What was done to the processes, and how hard the submitters had it."""
    return {
        "server kills": storm.kills,
        "broker restarts, polite": storm.polite_restarts,
        "broker restarts, hard": storm.hard_restarts,
        "calls repeated": load.repeated,
        "commands cancelled": load.cancelled,
    }


def of_evidence(evidence: Evidence) -> dict[str, int]:
    """What became of the commands."""
    views = [stored.view for stored in evidence.stored.values()]
    ends = Counter(f"{view.status} {view.failure_code}".strip() for view in views)
    copies = sort(evidence).by_command.values()
    lateness = [
        (ended - stored.deadline_at, served_ms(evidence.outages, stored.deadline_at, ended))
        for stored in evidence.stored.values()
        if (ended := stored.view.completed_at) is not None
    ]
    outages = [outage.ended - outage.began for outage in evidence.outages]
    return {
        "commands accepted": len(evidence.accepted),
        **{f"  {end}": count for end, count in sorted(ends.items())},
        "events": len(evidence.events),
        "publishes": len(evidence.published),
        "  of commands published again": sum(len(one) - 1 for one in copies),
        "  because nobody had listened": sum(
            copy.reason == NOBODY for one in copies for copy in one[:-1]
        ),
        "watches of one command": len(evidence.watches),
        "  resumed": sum(watch.breaks for watch in evidence.watches),
        "longest outage, ms": max(outages, default=0),
        "latest end after its deadline, ms": max((late for late, _ in lateness), default=0),
        "  with a server there, ms": max((served for _, served in lateness), default=0),
        "  ends late for want of a server": sum(late > LATE_MS for late, _ in lateness),
    }


def of_redeliveries(evidence: Evidence, to_server: int) -> dict[str, int]:
    """What the broker delivered more than once: it may, and with the same tid."""
    published = Counter(key(one) for one in evidence.published)
    return {
        "commands that reached a dock": len(evidence.received),
        "replies acknowledged": len(evidence.answered),
        "redelivered by the broker to docks": (evidence.received - published).total(),
        "  to the server": to_server,
    }
