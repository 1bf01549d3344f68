"""The table of the lifecycle says what the picture says."""

import pytest

from dockgate_server.model.command import EventKind, FailureCode, Status
from dockgate_server.model.lifecycle import EXPIRY_REASONS, TRANSITIONS, is_legal

ENDS = [status for status in Status if status.is_end]


def test_nothing_leads_out_of_an_end() -> None:
    """By no kind of event."""
    for kind in EventKind:
        for end in ENDS:
            assert not [
                after for after in Status if after is not end and is_legal(kind, end, after)
            ]


def test_the_picture_has_these_ways_and_no_other() -> None:
    """Only one event makes a command, only these change its status."""
    drawn = {
        (kind, before, after)
        for kind in EventKind
        for before in Status
        for after in Status
        if before is not after and is_legal(kind, before, after)
    }
    open_ones = (Status.ACCEPTED, Status.DELIVERED)
    assert drawn == {
        (EventKind.DELIVERED, Status.ACCEPTED, Status.DELIVERED),
        (EventKind.REFUSED, Status.ACCEPTED, Status.FAILED),
        (EventKind.CANCELLED, Status.ACCEPTED, Status.FAILED),
        (EventKind.SENT, Status.ACCEPTED, Status.SUCCEEDED),
        *((EventKind.REPLIED, one, Status.SUCCEEDED) for one in open_ones),
        *((EventKind.REPLIED, one, Status.FAILED) for one in open_ones),
        *((EventKind.UNMATCHED_REPLY, one, Status.UNMATCHED_RESPONSE) for one in open_ones),
        *((EventKind.EXPIRED, one, Status.TIMED_OUT) for one in open_ones),
    }


def test_a_life_begins_accepted() -> None:
    """And never twice."""
    assert is_legal(EventKind.ACCEPTED, None, Status.ACCEPTED)
    assert not is_legal(EventKind.ACCEPTED, Status.ACCEPTED, Status.ACCEPTED)
    others = set(EventKind) - {EventKind.ACCEPTED}
    assert not [kind for kind in others for after in Status if is_legal(kind, None, after)]


@pytest.mark.parametrize("end", ENDS)
def test_only_what_a_device_says_or_does_not_say_is_recorded_after_the_end(end: Status) -> None:
    """A late answer, an odd one, a job's progress; not a delivery or a deadline."""
    recorded = {kind for kind in EventKind if is_legal(kind, end, end)}
    said = {EventKind.REPLIED, EventKind.UNMATCHED_REPLY, EventKind.JOB_PROGRESSED}
    assert recorded == said | ({EventKind.JOB_STALLED} if end is Status.SUCCEEDED else set())


def test_every_event_but_the_first_has_its_row() -> None:
    """A new kind of event must say what it may change."""
    assert set(TRANSITIONS) == set(EventKind) - {EventKind.ACCEPTED}


def test_a_timeout_says_how_far_the_command_had_come() -> None:
    """Three ways to time out, each in words."""
    codes = {
        FailureCode.DELIVERY_TIMEOUT,
        FailureCode.RESPONSE_TIMEOUT,
        FailureCode.OUTCOME_UNKNOWN,
    }
    assert set(EXPIRY_REASONS) == codes
    assert all(EXPIRY_REASONS.values())
