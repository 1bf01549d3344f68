"""The storm of events in small, with the real server and a real broker."""

from pathlib import Path

import pytest
from support import brokers

from load import events
from load.events import StormPlan

SMALL = StormPlan(docks=10, rate=500, seconds=2, quiet_seconds=1, delay_seconds=5)


@pytest.mark.broker
@pytest.mark.parametrize("copies", [1, 10])
async def test_every_event_of_a_storm_is_stored_once_and_answered_once(
    tmp_path: Path, copies: int
) -> None:
    """Also when each comes ten times; `make storm` does it with 5,000 a second."""
    if brokers.binary("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    plan = StormPlan(**{**SMALL.__dict__, "copies": copies, "rate": SMALL.rate / copies})
    result = await events.run(plan, tmp_path)
    assert result.problems == []
    assert result.is_good
