"""Accepting goes before sending while many are submitted at once, and not for long."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.clock import ManualClock
from support.rig import Rig, starting

from dockgate_server.dispatcher.burst import (
    ACCEPTED_FOR_ONE_SENT,
    FEWEST_ACCEPTED,
    FEWEST_WAITING,
    LONGEST_SECONDS,
    SPAN_SECONDS,
    Burst,
)
from dockgate_server.dispatcher.window import WINDOW

MANY = FEWEST_WAITING + 1
FREE = 64


@dataclass
class Asked:
    """A burst, and the question that is put to it."""

    clock: ManualClock = field(default_factory=ManualClock)
    again: int = 0
    """How often it wanted to be asked again."""

    def __post_init__(self) -> None:
        self.burst = Burst(self.clock, self._ask)

    def _ask(self) -> None:
        self.again += 1

    def room(self, accepted: int, waiting: int = MANY, free: int = FREE) -> int:
        """How many may be sent after so many have been accepted."""
        for _ in range(accepted):
            self.burst.accepted()
        return self.burst.room(free, waiting)

    def pass_spans(self, spans: float) -> None:
        """Let time pass."""
        self.clock.advance(spans * SPAN_SECONDS)


@pytest.fixture
def asked() -> Asked:
    """Nothing has been accepted yet."""
    return Asked()


def test_while_few_wait_all_may_be_sent(asked: Asked) -> None:
    """Whatever is submitted meanwhile."""
    assert asked.room(80, waiting=FEWEST_WAITING - 1) == FREE


def test_in_a_burst_one_is_sent_for_so_many_accepted(asked: Asked) -> None:
    """What does not divide counts the next time."""
    assert asked.room(11 * ACCEPTED_FOR_ONE_SENT - 3) == 10
    assert asked.room(2) == 0
    assert asked.room(1) == 1


def test_no_more_are_sent_than_there_is_room_for(asked: Asked) -> None:
    """The window holds in a burst as well."""
    assert asked.room(400, free=3) == 3
    assert asked.room(400, free=0) == 0


def test_a_burst_is_told_by_how_many_come_in_a_span_of_time(asked: Asked) -> None:
    """However many are told of at once."""
    rooms = [asked.room(1) for _ in range(FEWEST_ACCEPTED)]
    assert rooms == [FREE] * (FEWEST_ACCEPTED - 1) + [0]


def test_a_burst_goes_on_into_the_next_span(asked: Asked) -> None:
    """Else each span would begin with a gap, through which everything is sent."""
    asked.room(FEWEST_ACCEPTED)
    asked.pass_spans(1.5)
    assert asked.room(FEWEST_ACCEPTED - 1) == 0
    asked.pass_spans(1)
    assert asked.room(0) == FREE


def test_a_burst_of_long_ago_is_over(asked: Asked) -> None:
    """Nobody need have asked meanwhile."""
    asked.room(FEWEST_ACCEPTED)
    asked.pass_spans(3.5)
    assert asked.room(1) == FREE


def test_a_few_submissions_hold_up_nobody(asked: Asked) -> None:
    """Those that wait, after a start perhaps, go out as fast as they can."""
    assert asked.room(0) == FREE
    assert asked.room(FEWEST_ACCEPTED - 1) == FREE


def test_whoever_is_held_back_is_asked_for_again(asked: Asked) -> None:
    """When nothing is submitted any more, nothing else would."""
    asked.room(FEWEST_ACCEPTED - 1)
    asked.pass_spans(0.5)
    assert asked.again == 0
    asked.room(1)
    asked.room(1)
    asked.pass_spans(1)
    assert asked.again == 1
    asked.room(1)
    asked.pass_spans(1)
    assert asked.again == 2
    asked.pass_spans(5)
    assert asked.again == 2


def test_a_burst_that_does_not_end_does_not_keep_others_waiting(asked: Asked) -> None:
    """Sending has the same right then, until few wait again."""
    assert asked.room(10 * ACCEPTED_FOR_ONE_SENT) == 10
    asked.clock.advance(LONGEST_SECONDS + 0.01)
    assert asked.room(80) == FREE
    asked.room(0, waiting=FEWEST_WAITING - 1)
    assert asked.room(10 * ACCEPTED_FOR_ONE_SENT) == 10


async def test_the_dispatcher_asks_how_many_to_send(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And tells of what was accepted, for how many there is room, and how many wait."""
    asked = []

    class OneAtATime(Burst):
        told = 0

        def accepted(self) -> None:
            self.told += 1

        def room(self, free: int, waiting: int) -> int:
            asked.append((free, waiting))
            return min(free, 1)

    burst = OneAtATime(rig.clock, lambda: None)
    monkeypatch.setattr(rig.dispatcher, "_burst", burst)
    rig.connect(False)
    ids = [await rig.accept() for _ in range(3)]
    assert burst.told == 3
    rig.connect()
    await rig.bridge.wait_published(3)
    assert rig.sent() == ids
    assert asked[:3] == [(WINDOW - sent, 3 - sent) for sent in range(3)]


async def test_a_burst_that_has_ended_is_sent_though_nothing_else_happens(tmp_path: Path) -> None:
    """Nothing is acknowledged, and nothing else is submitted."""
    async with starting(tmp_path / "dockgate.db", bursts=True) as rig:
        rig.connect(False)
        # So many that there are many also behind those that are sent.
        ids = [await rig.accept() for _ in range(FEWEST_WAITING + WINDOW)]
        rig.connect()
        await rig.settle()
        assert rig.sent() == ids[: len(ids) // ACCEPTED_FOR_ONE_SENT]
        rig.clock.advance(2 * SPAN_SECONDS)
        await rig.bridge.wait_published(WINDOW)
        assert rig.sent() == ids[:WINDOW]


async def test_only_half_a_window_is_sent_as_it_is_accepted(rig: Rig) -> None:
    """The rest of a burst waits for its turn; all of it is sent, in order."""
    rig.bridge.acknowledge_at_once = True
    asked = [rig.submit() for _ in range(WINDOW)]
    assert rig.dispatcher._window.reserved == WINDOW // 2
    ids = [(await one).command.id for one in asked]
    await rig.bridge.wait_published(WINDOW)
    assert rig.sent() == ids
