"""The life of a command as a table: which status may follow which, and by what event.

    ACCEPTED ──► DELIVERED ──► SUCCEEDED | FAILED | TIMED_OUT | UNMATCHED_RESPONSE
       └─────────────────────────▲

An answer may overtake the broker's acknowledgement, and a command that could not be sent was
never delivered: both end a command straight from ACCEPTED. An end never changes. The store does
so with guarded updates and, beneath them, constraints and a trigger; the tests hold these to the
table.
"""

from dockgate_server.model.command import EventKind, FailureCode, Status

_ENDS_BY_REPLY = frozenset({Status.SUCCEEDED, Status.FAILED})

TRANSITIONS: dict[EventKind, dict[Status, frozenset[Status]]] = {
    EventKind.SENDING: {Status.ACCEPTED: frozenset({Status.ACCEPTED})},
    EventKind.NOT_SENT: {Status.ACCEPTED: frozenset({Status.ACCEPTED})},
    EventKind.CANCELLED: {Status.ACCEPTED: frozenset({Status.FAILED})},
    EventKind.DELIVERED: {Status.ACCEPTED: frozenset({Status.DELIVERED})},
    EventKind.REPLIED: {
        Status.ACCEPTED: _ENDS_BY_REPLY,
        Status.DELIVERED: _ENDS_BY_REPLY,
    },
    EventKind.UNMATCHED_REPLY: {
        Status.ACCEPTED: frozenset({Status.UNMATCHED_RESPONSE}),
        Status.DELIVERED: frozenset({Status.UNMATCHED_RESPONSE}),
    },
    EventKind.EXPIRED: {
        Status.ACCEPTED: frozenset({Status.TIMED_OUT}),
        Status.DELIVERED: frozenset({Status.TIMED_OUT}),
    },
    EventKind.REFUSED: {Status.ACCEPTED: frozenset({Status.FAILED})},
    EventKind.SENT: {Status.ACCEPTED: frozenset({Status.SUCCEEDED})},
    EventKind.JOB_PROGRESSED: {},
    EventKind.JOB_STALLED: {Status.SUCCEEDED: frozenset({Status.SUCCEEDED})},
}
"""For each event, the statuses it may change. On every other status the event changes nothing:
it is recorded (a late reply, a job's progress) or does not happen at all (a guard that fails)."""

RECORDED_WITHOUT_CHANGE = frozenset(
    {EventKind.REPLIED, EventKind.UNMATCHED_REPLY, EventKind.JOB_PROGRESSED}
)
"""The events that are still recorded on a command whose status they cannot change."""


def is_legal(kind: EventKind, before: Status | None, after: Status) -> bool:
    """Whether an event of this kind may lead from one status to the other."""
    if before is None:
        return kind is EventKind.ACCEPTED and after is Status.ACCEPTED
    if after in TRANSITIONS.get(kind, {}).get(before, frozenset()):
        return True
    may_be_recorded = before.is_end or kind is EventKind.JOB_PROGRESSED
    return before is after and may_be_recorded and kind in RECORDED_WITHOUT_CHANGE


CANCELLED_REASON = "the caller withdrew the command before it was sent"
"""The failure reason of every command that was cancelled."""

EXPIRY_REASONS: dict[FailureCode, str] = {
    FailureCode.DELIVERY_TIMEOUT: "the command was not sent before its deadline",
    FailureCode.RESPONSE_TIMEOUT: (
        "the broker took the message; no answer reached the gateway before the deadline"
    ),
    FailureCode.OUTCOME_UNKNOWN: (
        "the message may have left, but neither the broker nor the device was heard of it; "
        "the device may have carried it out"
    ),
}
"""What a timeout says of how far the command had come."""
