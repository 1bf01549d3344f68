"""The reports of a job: what a dock tells about it, and in which state the job then is. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

State = Literal[
    "sent",
    "running",
    "paused",
    "done",
    "failed",
    "canceled",
    "partially_done",
    "rejected",
    "timeout",
]
Step = str | int | None

ENDS = frozenset[State](
    ("done", "failed", "canceled", "partially_done", "rejected", "timeout"),
)
"""The states after which a job reports no more."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a job is when it reports.

    Attributes:
        percent: 0..100.
        step: what the device is at, by DJI's name or number.
        state: whether the job goes on.
        result: 0, or the code with which the job ended.
        place: how many reports came before, of those that its script has for the way.
    """

    percent: int
    step: Step
    state: State
    result: int
    place: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """One event of a job, without what is known only when it is sent (tid, timestamp, gateway).

    Attributes:
        event: method of the event.
        bid: what the event carries as bid; None asks for a new one.
        data: the event's data.
        need_reply: 1 asks the cloud to answer, 0 does not, None leaves the member out.
        percent: 0..100, how far the job is.
        state: whether the job goes on after this report.
        after_requests: the job gets here only when the cloud has answered what a dock asks before
            a drone takes off.
    """

    event: str
    bid: str | None
    data: dict[str, Any]
    need_reply: int | None
    percent: int
    state: State
    after_requests: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """What follows a command. A second job with the same key takes the place of the first.

    Attributes:
        key: tells it from the others that are under way.
        reports: what it reports, in order.
        flight_id: the flight that it is, None for any other job.
    """

    key: str
    reports: tuple[Report, ...]
    flight_id: str | None = None


def word(moment: Moment, failed: str = "failed") -> str:
    """Return DJI's `status` for the state; some events have their own word for failure."""
    words = {"running": "in_progress", "done": "ok", "failed": failed}
    return words.get(moment.state, moment.state)


Data = Callable[[Any, Moment], dict[str, Any]]
"""Makes the data of a report from the command and the moment."""
