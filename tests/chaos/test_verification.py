"""The verification finds each kind of violation, in a run that is sound but for that."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chaos.evidence import (
    Accepted,
    Answered,
    Evidence,
    Published,
    SeenEvent,
    Span,
    Stored,
    View,
    Violation,
    Watch,
)
from chaos.record_checks import served_ms
from chaos.sending_checks import calm_ms, held_back
from chaos.verification import verify
from chaos.wire_checks import NOBODY

AT = 1_776_859_200_000
DEADLINE = AT + 10_000
LIFE = (("ACCEPTED", "ACCEPTED"), ("SENDING", "ACCEPTED"), ("REPLIED", "SUCCEEDED"))


def add(evidence: Evidence, command_id: str, seq: int, method: str = "cover_open") -> None:
    """A command that was accepted, published once, answered, and seen by everybody."""
    view = View(
        command_id=command_id,
        revision=len(LIFE),
        status="SUCCEEDED",
        basis="DEVICE_REPLY",
        completed_at=AT + 50,
    )
    same: dict[str, Any] = {
        "key": f"key-{seq}",
        "device_id": "drone-001",
        "method": method,
        "data": None,
        "timeout_seconds": 10,
        "offline_policy": "FAIL_FAST",
        "accepted_at": AT,
    }
    events = [SeenEvent(command_id, n, *one) for n, one in enumerate(LIFE, start=1)]
    evidence.accepted.append(Accepted(command_id=command_id, **same))
    evidence.stored[command_id] = Stored(
        seq=seq, gateway_id="dock-001", deadline_at=DEADLINE, view=view, **same
    )
    evidence.published.append(copy(command_id, reason=0))
    evidence.received["dock-001", command_id] = 1
    evidence.answered.append(Answered("dock-001", command_id, None))
    evidence.events += events
    evidence.fleet += events
    evidence.watches.append(Watch(command_id, list(events), ended=True))
    for views in (evidence.ends, evidence.got, evidence.listed):
        views[command_id] = view


def copy(tid: str | None, seq: int | None = None, **changed: Any) -> Published:
    """A publish of a command."""
    values = {"at": AT + 5, "gateway_id": "dock-001", "data": None, "expiry_seconds": 9}
    return Published(**{**values, **changed}, tid=tid, seq=seq)


def sound() -> Evidence:
    """A run without a fault: c-1 must not be repeated, c-2 may be."""
    evidence = Evidence(log=[json.dumps({"event": "serving", "level": "info"})])
    add(evidence, "c-1", 1)
    add(evidence, "c-2", 2, "charge_open")
    return evidence


def store(evidence: Evidence, command_id: str, **changed: Any) -> None:
    """Change what is stored of a command, and what is seen of it at the end."""
    stored = evidence.stored[command_id]
    view = replace(stored.view, **{n: changed.pop(n) for n in View.__slots__ if n in changed})
    evidence.stored[command_id] = replace(stored, view=view, **changed)
    for views in (evidence.ends, evidence.got, evidence.listed):
        views[command_id] = view


def kinds(evidence: Evidence) -> set[str]:
    """The kinds of violation that are found."""
    return {violation.kind for violation in verify(evidence)}


def test_a_run_that_kept_its_promises_has_no_violation() -> None:
    """Otherwise the cases below would show nothing."""
    assert verify(sound()) == []


def _timed_out(evidence: Evidence, completed_at: int) -> None:
    evidence.answered.remove(Answered("dock-001", "c-1", None))
    for events in (evidence.events, evidence.fleet, evidence.watches[0].events):
        place = events.index(SeenEvent("c-1", 3, *LIFE[2]))
        events[place] = SeenEvent("c-1", 3, "EXPIRED", "TIMED_OUT")
    end = {"status": "TIMED_OUT", "basis": "", "failure_code": "OUTCOME_UNKNOWN"}
    store(evidence, "c-1", completed_at=completed_at, **end)


def _forget(*places: str) -> Callable[[Evidence], None]:
    def spoil(evidence: Evidence) -> None:
        for place in places:
            del getattr(evidence, place)["c-1"]

    return spoil


def _one_key_two_commands(evidence: Evidence) -> None:
    evidence.accepted[1] = replace(evidence.accepted[1], key="key-1")
    store(evidence, "c-2", key="key-1")


def _stay_open(evidence: Evidence) -> None:
    store(evidence, "c-1", status="DELIVERED", basis="", completed_at=None)


def _end_seen_otherwise(evidence: Evidence) -> None:
    evidence.ends["c-1"] = replace(evidence.ends["c-1"], status="TIMED_OUT")


def _end_in_the_history(evidence: Evidence) -> None:
    early = SeenEvent("c-1", 2, "EXPIRED", "TIMED_OUT")
    for events in (evidence.events, evidence.fleet):
        events[1] = early
    evidence.watches[0].events[1:] = [early]


def _revive(evidence: Evidence) -> None:
    # Ended, open again, and ended the same way.
    for events in (evidence.events, evidence.fleet):
        events[0] = SeenEvent("c-1", 1, "ACCEPTED", "SUCCEEDED")
    evidence.watches[0].events[:] = [evidence.events[0]]


def _skip_a_revision(evidence: Evidence) -> None:
    for events in (evidence.events, evidence.fleet, evidence.watches[0].events):
        del events[1]


def _watch_twice(evidence: Evidence) -> None:
    evidence.watches[0].events.insert(1, evidence.watches[0].events[0])


def _watch_too_little(evidence: Evidence) -> None:
    del evidence.watches[0].events[-1]


def _watch_without_end(evidence: Evidence) -> None:
    evidence.watches[0].ended = False


def _swap_in_fleet(evidence: Evidence) -> None:
    evidence.fleet[2], evidence.fleet[3] = evidence.fleet[3], evidence.fleet[2]


def _say_untruth(code: str) -> Callable[[Evidence], None]:
    def spoil(evidence: Evidence) -> None:
        _timed_out(evidence, DEADLINE)
        store(evidence, "c-1", failure_code=code)
        evidence.published[0].reason = None

    return spoil


def _delivered(reason: int) -> Callable[[Evidence], None]:
    """Said to be taken by the broker, which said something else."""

    def spoil(evidence: Evidence) -> None:
        for events in (evidence.events, evidence.fleet, evidence.watches[0].events):
            events[1] = SeenEvent("c-1", 2, "DELIVERED", "DELIVERED")
        evidence.published[0].reason = reason

    return spoil


def _late_reply(evidence: Evidence) -> None:
    """Something is recorded behind the end, which no watch is there to see."""
    for events in (evidence.events, evidence.fleet):
        events.append(SeenEvent("c-1", 4, "REPLIED", "SUCCEEDED"))
    store(evidence, "c-1", revision=4)


def _watch_too_long(evidence: Evidence) -> None:
    _late_reply(evidence)
    evidence.watches[0].events.append(evidence.events[-1])


def _no_intent(evidence: Evidence) -> None:
    for events in (evidence.events, evidence.fleet, evidence.watches[0].events):
        events[1] = SeenEvent("c-1", 2, "JOB_PROGRESSED", "ACCEPTED")


def _failed(code: str, at: int) -> Callable[[Evidence], None]:
    """Ended without ever leaving."""

    def spoil(evidence: Evidence) -> None:
        _timed_out(evidence, at)
        for events in (evidence.events, evidence.fleet, evidence.watches[0].events):
            events[1] = SeenEvent("c-1", 2, "JOB_PROGRESSED", "ACCEPTED")
        store(evidence, "c-1", failure_code=code)
        del evidence.published[0], evidence.received["dock-001", "c-1"]

    return spoil


def _no_reply(evidence: Evidence) -> None:
    _timed_out(evidence, DEADLINE)
    evidence.answered.append(Answered("dock-001", None, seq=1))


def _changing(place: str, index: Any, **changed: Any) -> Callable[[Evidence], None]:
    def spoil(evidence: Evidence) -> None:
        found = getattr(evidence, place)
        found[index] = replace(found[index], **changed)

    return spoil


def _storing(**changed: Any) -> Callable[[Evidence], None]:
    return lambda evidence: store(evidence, "c-1", **changed)


def _adding(place: str, *found: Any) -> Callable[[Evidence], None]:
    return lambda evidence: getattr(evidence, place).extend(found)


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("lost", _forget("stored")),
        ("lost", _forget("got")),
        ("lost", _forget("listed")),
        ("content changed", _storing(data={"a": 1})),
        ("content changed", _storing(device_id="drone-002")),
        ("content changed", _storing(timeout_seconds=9)),
        ("content changed", _storing(deadline_at=DEADLINE + 1)),
        ("content changed", _storing(offline_policy="QUEUE")),
        ("accepted twice", _one_key_two_commands),
        ("invented", lambda evidence: evidence.accepted.pop()),
        ("not ended", _stay_open),
        ("late", lambda evidence: _timed_out(evidence, DEADLINE + 2001)),
        ("end changed", _end_seen_otherwise),
        ("end changed", _end_in_the_history),
        ("end changed", _revive),
        ("end changed", _storing(status="FAILED", failure_code="DEVICE_EXECUTION_FAILED")),
        ("end changed", _changing("got", "c-1", failure_code="CANCELLED")),
        ("end changed", _changing("listed", "c-1", completed_at=AT + 51)),
        ("gap", _skip_a_revision),
        ("watch", _watch_twice),
        ("watch", _watch_too_little),
        ("watch", _watch_too_long),
        ("watch", _watch_without_end),
        ("fleet watch", _swap_in_fleet),
        ("fleet watch", lambda evidence: evidence.fleet.pop()),
        ("fleet watch", _adding("fleet", SeenEvent("c-1", 4, "REPLIED", "SUCCEEDED"))),
        ("log", _adding("log", '{"event": "internal_error", "level": "error"}')),
        ("log", _adding("log", "Traceback (most recent call last):")),
        ("held back", _failed("DELIVERY_TIMEOUT", DEADLINE)),
        ("refused", _failed("DEVICE_OFFLINE", AT + 50)),
        ("published unrecorded", _adding("published", copy("c-9"))),
        ("published unrecorded", _adding("published", copy(None, seq=9))),
        ("published unrecorded", _no_intent),
        ("tap", lambda evidence: evidence.received.update([("dock-001", "c-9")])),
        ("reply forgotten", _no_reply),
        ("published twice", _adding("published", copy("c-1"))),
        ("published twice", _adding("published", copy(None, seq=1))),
        ("out of order", lambda evidence: evidence.published.reverse()),
        ("published otherwise", _changing("published", 0, data={"a": 1})),
        ("published otherwise", _changing("published", 0, gateway_id="dock-002")),
        ("published late", _changing("published", 0, at=DEADLINE + 1001, expiry_seconds=1)),
        ("published late", _changing("published", 0, expiry_seconds=None)),
        ("published late", _changing("published", 0, expiry_seconds=13)),
        ("published late", _changing("published", 0, retain=True)),
        ("untrue", _say_untruth("DELIVERY_TIMEOUT")),
        ("untrue", _say_untruth("DEVICE_OFFLINE")),
        ("untrue", _say_untruth("CANCELLED")),
        ("untrue", _say_untruth("RESPONSE_TIMEOUT")),
        ("untrue", _delivered(NOBODY)),
        ("untrue", _delivered(0x87)),
        ("untrue", lambda evidence: evidence.published.pop(0)),
        ("noticed", _adding("noticed", Violation("noticed", "", "while it happened"))),
    ],
)
def test_a_broken_promise_is_found(kind: str, spoil: Callable[[Evidence], None]) -> None:
    """Each kind, in each of the ways in which it can come about."""
    evidence = sound()
    spoil(evidence)
    assert kind in kinds(evidence)


def _queued(evidence: Evidence, *reasons: int | None) -> None:
    """c-1 waits for its dock, and was published so often, with these answers."""
    store(evidence, "c-1", offline_policy="QUEUE")
    evidence.accepted[0] = replace(evidence.accepted[0], offline_policy="QUEUE")
    evidence.published[:1] = [copy("c-1", reason=reason) for reason in reasons]


def test_what_nobody_got_may_be_published_again_if_it_waits_for_its_dock() -> None:
    """The broker has thrown the earlier ones away."""
    evidence = sound()
    _queued(evidence, NOBODY, NOBODY, 0)
    assert verify(evidence) == []


@pytest.mark.parametrize("reasons", [(None, 0), (0, 0), (NOBODY, None, 0)])
def test_what_may_have_arrived_must_not_be_published_again(reasons: tuple[int | None, ...]) -> None:
    """Waiting for a dock is no permission to send it something twice."""
    evidence = sound()
    _queued(evidence, *reasons)
    assert kinds(evidence) == {"published twice"}


def test_what_fails_fast_is_not_published_again_though_nobody_got_it() -> None:
    """It has ended by then."""
    evidence = sound()
    evidence.published[:1] = [copy("c-1", reason=NOBODY), copy("c-1", reason=0)]
    assert kinds(evidence) == {"published twice"}


def test_what_is_safe_to_repeat_may_be_published_again() -> None:
    """Also with DRC, where the number stands for the command."""
    evidence = sound()
    evidence.published.append(copy(None, seq=2))
    assert verify(evidence) == []


@pytest.mark.parametrize(
    ("first", "method", "later", "found"),
    [
        (None, "charge_close", 0, {"repeated too late"}),
        (NOBODY, "charge_close", 0, set()),
        (None, "charge_close", NOBODY, set()),
        (None, "heart_beat", 0, set()),
    ],
    ids=["both may have arrived", "nobody got the first", "nobody got the later", "a stream"],
)
def test_what_is_safe_to_repeat_is_not_repeated_behind_a_later_command(
    first: int | None, method: str, later: int | None, found: set[str]
) -> None:
    """charge_open, charge_close, charge_open again would charge."""
    evidence = sound()
    add(evidence, "c-3", 3, method)
    evidence.published[1].reason = first
    evidence.published[2] = copy("c-3", reason=later)
    evidence.published.append(copy("c-2", reason=0))
    assert kinds(evidence) == found


@pytest.mark.parametrize(
    ("method", "answered"),
    [
        ("cover_open", Answered("dock-001", "nobody's", None)),
        ("cover_open", Answered("dock-002", "c-3", None)),
        ("heart_beat", Answered("dock-001", None, 3)),
    ],
    ids=["unknown", "of another gateway", "an echo"],
)
def test_a_reply_that_is_no_answer_need_not_be_recorded(method: str, answered: Answered) -> None:
    """It goes to the ledger, or nowhere."""
    evidence = sound()
    add(evidence, "c-3", 3, method)
    del evidence.events[-1], evidence.fleet[-1], evidence.watches[-1].events[-1]
    evidence.answered[-1] = answered
    assert "reply forgotten" not in kinds(evidence)


@pytest.mark.parametrize("method", ["return_home", "heart_beat"])
def test_what_does_not_queue_may_leave_before_what_was_accepted_first(method: str) -> None:
    """An emergency overtakes, a control stream is sent at once or not at all."""
    evidence = sound()
    add(evidence, "c-3", 3, method)
    evidence.published.insert(0, evidence.published.pop())
    assert verify(evidence) == []


@pytest.mark.parametrize(
    ("code", "at"), [("DELIVERY_TIMEOUT", DEADLINE), ("DEVICE_OFFLINE", AT + 50)]
)
@pytest.mark.parametrize("away", ["outages", "absences"])
def test_what_cannot_be_sent_may_end_unsent(code: str, at: int, away: str) -> None:
    """For want of a server, a broker or a dock."""
    evidence = sound()
    _failed(code, at)(evidence)
    spans = [Span(AT - 5000, AT), Span(AT + 1500, AT + 8500)]
    if away == "outages":
        evidence.outages = spans
    else:
        evidence.absences["dock-001"] = spans
    assert verify(evidence) == []


@pytest.mark.parametrize(
    ("away", "calm"),
    [
        ([], [9500]),
        ([Span(1000, 2000), Span(3000, 4000)], [500, 500, 5500]),
        ([Span(3000, 4000), Span(1000, 3500)], [500, 0, 5500]),
        ([Span(1000, 5000), Span(2000, 3000)], [500, 0, 4500]),
        ([Span(-100, 1000), Span(9800, 20_000)], [0, 8300, 0]),
        ([Span(10_000, 11_000)], [9500]),
    ],
)
def test_the_time_in_which_nothing_was_away(away: list[Span], calm: list[int]) -> None:
    """Stretch by stretch, without half a second to settle in each."""
    assert calm_ms(away, 0, 10_000) == calm


def test_a_watch_does_not_show_what_is_recorded_behind_the_end() -> None:
    """It has ended by then; the fleet watch shows it."""
    evidence = sound()
    _late_reply(evidence)
    assert verify(evidence) == []


def test_a_late_end_is_excused_by_the_time_without_a_server_and_no_more() -> None:
    """Two seconds of a server that serves, however they are spread."""
    evidence = sound()
    _timed_out(evidence, DEADLINE + 4000)
    evidence.outages = [
        Span(DEADLINE - 500, DEADLINE + 1000),
        Span(DEADLINE + 1500, DEADLINE + 2500),
    ]
    assert verify(evidence) == []
    evidence.outages[1] = Span(DEADLINE + 1500, DEADLINE + 2499)
    assert kinds(evidence) == {"late"}


@pytest.mark.parametrize(
    ("since", "until", "served"),
    [(0, 10, 10), (0, 30, 20), (22, 28, 0), (15, 25, 5), (30, 40, 10), (30, 20, -10)],
)
def test_the_time_that_was_served(since: int, until: int, served: int) -> None:
    """All of it but what lies in an outage."""
    assert served_ms([Span(20, 30)], since, until) == served


@pytest.mark.parametrize(
    ("reason", "method", "later", "found"),
    [
        (NOBODY, "cover_close", 0, []),
        (NOBODY, "cover_open", 0, []),
        (NOBODY, "charge_open", 0, ["held back"]),
        (NOBODY, "cover_close", NOBODY, ["held back"]),
        (None, "cover_close", 0, ["held back"]),
    ],
)
def test_what_would_undo_a_later_command_may_wait_for_its_end(
    reason: int | None, method: str, later: int, found: list[str]
) -> None:
    """It had reached nobody, and the broker has taken the later one."""
    evidence = sound()
    store(evidence, "c-1", failure_code="DELIVERY_TIMEOUT")
    add(evidence, "c-3", 3, method)
    evidence.published = [copy("c-1", reason=reason), copy("c-3", reason=later)]
    assert [one.kind for one in held_back(evidence)] == found
