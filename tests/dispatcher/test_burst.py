"""Accepting goes before sending while many are submitted at once, and not for long."""

import pytest
from support.rig import Rig

from dockgate_server.dispatcher.burst import (
    FEWEST_SUBMITTED,
    FEWEST_WAITING,
    LONGEST_SECONDS,
    SUBMITTED_FOR_ONE_SENT,
    Burst,
)
from dockgate_server.dispatcher.window import WINDOW

MANY = FEWEST_WAITING + 1
FREE = 64


def a_burst(accepted: int = 80) -> Burst:
    """So many have just been accepted."""
    burst = Burst()
    burst.accepted = accepted
    return burst


def test_while_few_wait_all_may_be_sent() -> None:
    """Whatever is submitted meanwhile."""
    assert a_burst().room(FREE, FEWEST_WAITING - 1, 80, 10.0) == FREE


def test_in_a_burst_one_is_sent_for_so_many_submitted() -> None:
    """Whether they have been accepted or are about to be; those accepted count once."""
    burst = a_burst(2 * SUBMITTED_FOR_ONE_SENT)
    assert burst.room(FREE, MANY, 6 * SUBMITTED_FOR_ONE_SENT, 10.0) == 8
    assert burst.room(FREE, MANY, 6 * SUBMITTED_FOR_ONE_SENT, 10.0) == 6


def test_no_more_are_sent_than_there_is_room_for() -> None:
    """The window holds in a burst as well."""
    assert a_burst(400).room(3, MANY, 0, 10.0) == 3
    assert a_burst(400).room(0, MANY, 0, 10.0) == 0


def test_a_few_submissions_hold_up_nobody() -> None:
    """Those that wait, after a start perhaps, go out as fast as they can."""
    assert a_burst(FEWEST_SUBMITTED - 1).room(FREE, MANY, 0, 10.0) == FREE
    assert a_burst(0).room(FREE, MANY, 0, 10.0) == FREE


def test_a_burst_that_does_not_end_does_not_keep_others_waiting() -> None:
    """Sending has the same right then, until few wait again."""
    burst = a_burst()
    assert burst.room(FREE, MANY, 0, 10.0) == 10
    burst.accepted = 80
    late = 10.1 + LONGEST_SECONDS
    assert burst.room(FREE, MANY, 0, late) == FREE
    burst.room(FREE, FEWEST_WAITING - 1, 0, late)
    burst.accepted = 80
    assert burst.room(FREE, MANY, 0, late) == 10


async def test_the_dispatcher_asks_how_many_to_send(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And tells how many were accepted, how many wait, and how many are being accepted."""
    asked = []

    class OneAtATime(Burst):
        def room(self, free: int, waiting: int, accepting: int, now: float) -> int:
            asked.append((waiting, accepting, now))
            return min(free, 1)

    burst = OneAtATime()
    monkeypatch.setattr(rig.dispatcher, "_burst", burst)
    rig.connect(False)
    ids = [await rig.accept() for _ in range(3)]
    assert burst.accepted == 3
    rig.connect()
    await rig.bridge.wait_published(3)
    assert rig.sent() == ids
    assert asked[:3] == [(left, 0, rig.clock.monotonic()) for left in (3, 2, 1)]


async def test_only_half_a_window_is_sent_as_it_is_accepted(rig: Rig) -> None:
    """The rest of a burst waits for its turn; all of it is sent, in order."""
    rig.bridge.acknowledge_at_once = True
    asked = [rig.submit() for _ in range(WINDOW)]
    assert rig.dispatcher._window.reserved == WINDOW // 2
    ids = [(await one).command.id for one in asked]
    await rig.bridge.wait_published(WINDOW)
    assert rig.sent() == ids
