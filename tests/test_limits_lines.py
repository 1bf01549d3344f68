"""Refusals in the log: few lines, however many calls."""

from structlog.testing import capture_logs
from support.clock import ManualClock

from dockgate_server.limits.refusals import LOG_SECONDS, MOST_UNPROVEN_LINES, Refusals
from dockgate_server.lines import SECONDS, Lines


def test_so_many_a_second_and_the_next_counts_the_rest() -> None:
    """Those that are left out are counted once."""
    clock = ManualClock()
    lines = Lines(2, clock)
    assert [lines.one_more() for _ in range(5)] == [0, 0, None, None, None]
    clock.advance(SECONDS - 0.01)
    assert lines.one_more() is None
    clock.advance(0.01)
    assert [lines.one_more() for _ in range(3)] == [4, 0, None]


def test_a_clock_that_was_set_back_silences_nothing() -> None:
    """A monotonic one should not be; but it would be for as long as it went back."""
    clock = ManualClock()
    clock.advance(1000)
    lines = Lines(1, clock)
    assert (lines.one_more(), lines.one_more()) == (0, None)
    clock.advance(-500)
    assert lines.one_more() == 1


def test_of_all_who_are_not_known_there_are_few_lines() -> None:
    """Whatever is refused, by whichever transport, from however many addresses."""
    clock = ManualClock()
    refusals = Refusals(clock)
    with capture_logs() as lines:
        for number in range(100):
            refusals.tell("grpc_refused", "UNAUTHORIZED", proven=False, rpc="GetCommand")
            refusals.tell("http_refused", "NOT_FOUND", proven=False, path="/")
            refusals.note("http.max_connections", f"192.0.2.{number}", proven=False)
            refusals.tell("grpc_refused", "FORBIDDEN", proven=True, rpc="SubmitCommand")
        assert len(lines) == 100 + MOST_UNPROVEN_LINES
        clock.advance(LOG_SECONDS)
        refusals.tell("http_refused", "NOT_FOUND", proven=False, path="/")
        refusals.tell("http_refused", "NOT_FOUND", proven=False, path="/")
    assert lines[-2]["left_out"] == 300 - MOST_UNPROVEN_LINES
    assert "left_out" not in lines[-1]
    assert lines[-1]["code"] == "NOT_FOUND"


def test_who_is_not_known_does_not_silence_who_is() -> None:
    """A credential that reaches its limit has its line in any case."""
    refusals = Refusals(ManualClock())
    with capture_logs() as lines:
        for _ in range(100):
            refusals.tell("grpc_refused", "UNAUTHORIZED", proven=False)
        refusals.note("limits.requests_per_second", "dk_1")
    assert lines[-1]["who"] == "dk_1"
