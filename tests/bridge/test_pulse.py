"""Whether the broker keeps up, asked now and then while there is a stream."""

from dataclasses import dataclass, field

import pytest

from dockgate_server.bridge.pulse import ASK_SECONDS, PATIENCE_SECONDS, Pulse


@dataclass
class Asked:
    """A pulse, and the time, which the test moves."""

    now: float = 1_000.0
    times: list[float] = field(default_factory=list)
    """When the broker was asked."""

    def __post_init__(self) -> None:
        self.pulse = Pulse(lambda: self.now, lambda: self.times.append(self.now))


@pytest.fixture
def asked() -> Asked:
    """Nothing has been streamed yet."""
    return Asked()


def test_a_broker_that_does_not_answer_is_behind_after_a_second(asked: Asked) -> None:
    """Until it answers."""
    assert asked.pulse.beats()
    asked.now += PATIENCE_SECONDS - 0.01
    assert asked.pulse.beats()
    asked.now += 0.01
    assert not asked.pulse.beats()
    asked.now += 100
    assert not asked.pulse.beats()
    assert len(asked.times) == 1
    asked.pulse.answered()
    assert asked.pulse.beats()


def test_a_broker_that_answers_is_asked_again_only_after_a_while(asked: Asked) -> None:
    """Streams come fifty times a second."""
    for _ in range(100):
        before = len(asked.times)
        assert asked.pulse.beats()
        if len(asked.times) > before:
            asked.pulse.answered()
        asked.now += ASK_SECONDS / 25
    assert len(asked.times) == 4


def test_the_time_in_which_nothing_is_streamed_is_not_held_against_the_broker(
    asked: Asked,
) -> None:
    """It was not asked then."""
    asked.pulse.beats()
    asked.pulse.answered()
    asked.now += 3_600
    assert asked.pulse.beats()
