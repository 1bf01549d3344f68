"""What the record must be at the end: complete, truthful to what clients saw, without gaps."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from chaos.evidence import OPEN, Evidence, SeenEvent, Span, View, Violation

LATE_MS = 2000
"""How long after its deadline a command may still be open, with a server there to end it."""

_BAD_LEVELS = frozenset({"error", "critical"})
_FOREIGN = re.compile(r"mqtt: |[IWE]\d{4} |WARNING: All log messages before absl")
"""What paho says of a broken connection, and what gRPC's core writes past every logger."""


def lost(evidence: Evidence) -> Iterator[Violation]:
    """What was acknowledged is there, in the file and in the API."""
    places = (
        ("the database", evidence.stored),
        ("GetCommand", evidence.got),
        ("ListCommands", evidence.listed),
    )
    for accepted in evidence.accepted:
        for name, place in places:
            if accepted.command_id not in place:
                text = f"acknowledged for key {accepted.key} and not in {name}"
                yield Violation("lost", accepted.command_id, text)


def altered(evidence: Evidence) -> Iterator[Violation]:
    """A command is what was submitted, and was accepted when its submitter was told."""
    same = ("key", "device_id", "method", "data", "timeout_seconds", "accepted_at")
    for accepted in evidence.accepted:
        stored = evidence.stored.get(accepted.command_id)
        if stored is None:
            continue
        names = same + (("offline_policy",) if accepted.offline_policy else ())
        for name in names:
            said, is_now = getattr(accepted, name), getattr(stored, name)
            if said != is_now:
                text = f"{name} was {said!r} and is stored as {is_now!r}"
                yield Violation("content changed", accepted.command_id, text)
        if stored.deadline_at != accepted.accepted_at + accepted.timeout_seconds * 1000:
            text = f"its deadline is {stored.deadline_at}"
            yield Violation("content changed", accepted.command_id, text)


def invented(evidence: Evidence) -> Iterator[Violation]:
    """Every key has one command, the one that its submitter was told of."""
    told: dict[str, str] = {}
    for accepted in evidence.accepted:
        first = told.setdefault(accepted.key, accepted.command_id)
        if first != accepted.command_id:
            text = f"its key {accepted.key} also got {first}"
            yield Violation("accepted twice", accepted.command_id, text)
    for command_id, stored in evidence.stored.items():
        if told.get(stored.key) != command_id:
            text = f"nobody was told of it for key {stored.key}"
            yield Violation("invented", command_id, text)


def unended(evidence: Evidence) -> Iterator[Violation]:
    """Every command has come to an end."""
    for command_id, stored in evidence.stored.items():
        if not stored.view.is_end:
            yield Violation("not ended", command_id, f"it is still {stored.view.status}")


def late(evidence: Evidence) -> Iterator[Violation]:
    """Every end came in time, as far as there was a server to see to it."""
    for command_id, stored in evidence.stored.items():
        ended = stored.view.completed_at
        if ended is None:
            continue
        served = served_ms(evidence.outages, stored.deadline_at, ended)
        if served > LATE_MS:
            text = f"ended {ended - stored.deadline_at} ms after its deadline"
            yield Violation("late", command_id, f"{text}, {served} ms of them served")


def changed(evidence: Evidence) -> Iterator[Violation]:
    """An end that any client has seen is the end that is stored."""
    seen: Sequence[tuple[str, dict[str, View]]] = (
        ("seen", evidence.ends),
        ("got at the end", evidence.got),
        ("listed at the end", evidence.listed),
    )
    for how, views in seen:
        for command_id, view in views.items():
            stored = evidence.stored.get(command_id)
            if stored is not None and view.end != stored.view.end:
                text = f"{how} as {view.end}, stored as {stored.view.end}"
                yield Violation("end changed", command_id, text)


def gaps(evidence: Evidence) -> Iterator[Violation]:
    """The events of a command are numbered without a gap and lead to the command as it is."""
    lives = by_command(evidence.events)
    for command_id, stored in evidence.stored.items():
        life = lives.get(command_id, [])
        revisions = [event.revision for event in life]
        if revisions != list(range(1, stored.view.revision + 1)):
            text = f"revision {stored.view.revision}, and events {revisions}"
            yield Violation("gap", command_id, text)
            continue
        statuses = [event.status for event in life]
        ends = [status for status in statuses if status not in OPEN]
        if statuses[-1] != stored.view.status or len({*ends}) > 1 or ends != statuses[-len(ends) :]:
            text = f"{stored.view.status}, and its events say {statuses}"
            yield Violation("end changed", command_id, text)


def watched(evidence: Evidence) -> Iterator[Violation]:
    """A watch has shown each event once, in order, up to the end and no further."""
    lives = by_command(evidence.events)
    for watch in evidence.watches:
        life = lives.get(watch.command_id, [])
        ends = [event.revision for event in life if event.status not in OPEN]
        expected = life[: ends[0]] if ends else life
        if watch.events != expected:
            text = f"showed {_short(watch.events)} instead of {_short(expected)}"
            yield Violation("watch", watch.command_id, f"{text}, over {watch.breaks} breaks")
        elif not watch.ended:
            yield Violation("watch", watch.command_id, "did not end behind the end")


def watched_all(evidence: Evidence) -> Iterator[Violation]:
    """The fleet watch has shown every event once, in the order of recording."""
    pairs = zip_longest(evidence.fleet, evidence.events)
    for place, (shown, recorded) in enumerate(pairs, start=1):
        if shown != recorded:
            text = f"as event {place} showed {shown}, stored is {recorded}"
            yield Violation("fleet watch", (recorded or shown).command_id, text)
            return  # all that follows is shifted


def logged(evidence: Evidence) -> Iterator[Violation]:
    """The log holds neither errors nor anything that is not a line of ours."""
    for line in evidence.log:
        try:
            is_bad = json.loads(line)["level"] in _BAD_LEVELS
        except (ValueError, TypeError, KeyError):
            is_bad = not _FOREIGN.match(line)
        if is_bad:
            yield Violation("log", "", line)


def served_ms(outages: Sequence[Span], since: int, until: int) -> int:
    """How much of a time a server was serving; negative for a time that runs backwards."""
    down = (min(until, one.ended) - max(since, one.began) for one in outages)
    return until - since - sum(overlap for overlap in down if overlap > 0)


def by_command(events: Sequence[SeenEvent]) -> dict[str, list[SeenEvent]]:
    """The events of each command."""
    lives: dict[str, list[SeenEvent]] = defaultdict(list)
    for event in events:
        lives[event.command_id].append(event)
    return lives


def _short(events: Sequence[SeenEvent]) -> str:
    return " ".join(f"{event.revision}:{event.kind}" for event in events) or "nothing"
