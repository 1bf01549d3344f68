"""When the bridge tries again, and what the log says: beginnings and ends, never each attempt."""

import pytest
from support.clock import ManualClock
from support.log import Log, events

from dockgate_server.bridge.steadiness import (
    FIRST_PAUSE_SECONDS,
    LAST_PAUSE_SECONDS,
    STEADY_SECONDS,
    Steadiness,
)


@pytest.fixture
def clock() -> ManualClock:
    """Stands still."""
    return ManualClock()


@pytest.fixture
def steadiness(clock: ManualClock) -> Steadiness:
    """Of a client that is called dockgate."""
    return Steadiness("127.0.0.1:1883", "dockgate", clock)


def fail(steadiness: Steadiness, problem: str = "connection lost", *, taken: bool = False) -> float:
    """A connection ends, or is not made; answers the pause."""
    steadiness.disconnected()
    return steadiness.failed(problem, taken_over=taken)


def test_the_pause_doubles_up_to_a_limit_and_is_never_the_same_for_all(
    steadiness: Steadiness,
) -> None:
    """After a broker's restart its clients must not all come at once."""
    pauses = [fail(steadiness) for _ in range(2000)]
    for number, pause in enumerate(pauses[:5]):
        longest = FIRST_PAUSE_SECONDS * 2**number
        assert longest / 2 <= pause <= longest
    last = pauses[10:]
    assert min(last) >= LAST_PAUSE_SECONDS / 2
    assert max(last) <= LAST_PAUSE_SECONDS
    assert max(last) - min(last) > LAST_PAUSE_SECONDS / 4


def test_only_a_connection_that_has_lasted_begins_the_pauses_anew(
    steadiness: Steadiness, clock: ManualClock
) -> None:
    """Two clients with one id have both been connected each time, and go on for ever."""
    for _ in range(12):
        fail(steadiness)
    steadiness.connected("5")
    clock.advance(STEADY_SECONDS - 1)
    assert fail(steadiness) >= LAST_PAUSE_SECONDS / 2
    steadiness.connected("5")
    clock.advance(STEADY_SECONDS)
    assert fail(steadiness) <= FIRST_PAUSE_SECONDS


def test_a_trouble_is_told_once_when_it_begins_and_once_when_it_ends(
    steadiness: Steadiness, clock: ManualClock, log: Log
) -> None:
    """However many attempts lie in between; what is new about it is told as well."""
    steadiness.connected("5")
    clock.advance(STEADY_SECONDS)
    for problem in ("connection lost", "Connection refused", "timed out") * 30:
        fail(steadiness, problem)
    steadiness.connected("5")

    assert events(log) == ["broker_connected", *["broker_unreachable"] * 3, "broker_connected"]
    assert log[1] == {
        "event": "broker_unreachable",
        "log_level": "warning",
        "broker": "127.0.0.1:1883",
        "problem": "connection lost",
    }
    clock.advance(STEADY_SECONDS)
    fail(steadiness)
    assert events(log)[5:] == ["broker_unreachable"]


@pytest.mark.parametrize("taken", [True, False])
def test_connections_that_do_not_last_are_not_told_each_time(
    steadiness: Steadiness, clock: ManualClock, log: Log, taken: bool
) -> None:
    """But what may be behind it is: some brokers do not say that another client took over."""
    for _ in range(100):
        steadiness.connected("5")
        clock.advance(1)
        fail(steadiness, taken=taken)
    known = len(log)
    assert known == 4  # connected and broken, twice
    told = "broker_session_taken_over" if taken else "broker_connection_does_not_last"
    assert log[-1]["event"] == told
    assert "'dockgate'" in log[-1]["hint"]

    steadiness.connected("5")
    assert len(log) == known
    clock.advance(STEADY_SECONDS)
    assert events(log)[known:] == ["broker_connected"]


def test_a_broker_that_is_away_is_not_taken_for_another_client(
    steadiness: Steadiness, log: Log
) -> None:
    """Only a connection that was there and did not last hints at one."""
    for _ in range(3):
        steadiness.connected("5")
        fail(steadiness)
    fail(steadiness, "Connection refused")
    assert events(log)[-1] == "broker_unreachable"
    assert "hint" not in log[-1]
