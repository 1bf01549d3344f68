"""What many open commands cost grows with their number, not with its square.

Measured as the processor's time in this process, so that a busy machine does not matter.
"""

import gc
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bridge import ScriptedBridge
from support.records import NOW
from support.rig import starting

from load.database import fill, mixture
from load.scenes import to_be_sent

FEW, MANY = 2000, 12_000
MOST = 2.2
"""How many times as much a command may cost among many; with the square it would be six."""


class Costs:
    """Microseconds for each command, of one thing after another."""

    def __init__(self, commands: int) -> None:
        self.of: dict[str, float] = {}
        self._commands = commands
        self._began = time.process_time()

    def note(self, what: str) -> None:
        """This has been done since the last note."""
        now = time.process_time()
        self.of[what] = 1e6 * (now - self._began) / self._commands
        self._began = now


async def costs_of(database: Path, commands: int) -> dict[str, float]:
    """Recover so many open commands, send those that wait, and let all deadlines pass together."""
    left = list(mixture(commands, gateways=50, deadline_at=NOW + 300_000))
    await fill(database, left, lambda _: None)
    waiting = sum(map(len, to_be_sent(left).values()))
    bridge = ScriptedBridge(connected=False, acknowledge_at_once=True)
    costs = Costs(commands)
    async with starting(database, bridge) as rig:
        costs.note("recovering")
        rig.connect()
        await bridge.wait_published(waiting)
        await rig.settle()
        costs.note("sending")
        ended = len(rig.told) + commands
        rig.clock.advance(300)
        await rig.until(lambda: len(rig.told) >= ended)
        costs.note("ending")
    return costs.of


@pytest.fixture
def _without_collections() -> Iterator[None]:
    """Python's collector looks at all that other tests have left as well, whenever it likes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_without_collections")
async def test_no_cost_grows_with_the_square(tmp_path: Path) -> None:
    """Of recovering, sending and ending."""
    few = await costs_of(tmp_path / "few.db", FEW)
    many = await costs_of(tmp_path / "many.db", MANY)
    grown = {what: many[what] / few[what] for what in few}
    assert {what: times for what, times in grown.items() if times > MOST} == {}, (few, many)
